/* SPDX-License-Identifier: Apache-2.0 */
/* parse: what parse.c (statements) and expr.c (expressions) share. */
#ifndef LMF_TEXT_TEMPLATE_PARSE_H
#define LMF_TEXT_TEMPLATE_PARSE_H
#include "text/template/ast.h"

enum { TPL_MAX_PARSE_DEPTH = 150 };

typedef struct tpl_parser {
    tpl_run         *r;
    const tpl_token *tok;       /* the current one; the last is END */
    tpl_dict        *names;     /* interned */
    int              depth;
    bool             soft;      /* inside of an if: unknown filters are refused when they are reached only */
    bool             in_loop;   /* break is allowed */
    unsigned         uses;      /* TPL_USES_*: special names seen in the innermost function */
    int              n_unknown; /* filters and tests not known, in the expression being parsed */
    const tpl_node  *unknown;   /* the first of them */
} tpl_parser;

typedef struct tpl_nodes { tpl_node **items; size_t n, cap; } tpl_nodes;

enum { TPL_TUPLE_NO_COND = 1, TPL_TUPLE_ENDS_RECURSIVE = 2, TPL_TUPLE_PARENS = 4, TPL_TUPLE_SIMPLE = 8, TPL_TUPLE_NAMESPACE = 16, TPL_TUPLE_FOR_TARGET = 32 };

tpl_node  *lmf__tpl_node(tpl_parser *p, tpl_node_kind kind);
lmf_status lmf__tpl_push_node(tpl_parser *p, tpl_nodes *l, tpl_node *n);
lmf_status lmf__tpl_parse_fail(tpl_parser *p, const char *wanted);
lmf_status lmf__tpl_enter(tpl_parser *p); /* one level deeper; leave with p->depth-- */
lmf_status lmf__tpl_intern(tpl_parser *p, tpl_str *s, const tpl_str **out);
bool       lmf__tpl_is_op(const tpl_parser *p, int op);
bool       lmf__tpl_is_name(const tpl_parser *p, const char *name);
bool       lmf__tpl_skip_op(tpl_parser *p, int op);
bool       lmf__tpl_skip_name(tpl_parser *p, const char *name);
lmf_status lmf__tpl_expect_op(tpl_parser *p, int op);
lmf_status lmf__tpl_expect_name(tpl_parser *p, const tpl_str **out);
lmf_status lmf__tpl_check_unknown(tpl_parser *p);

lmf_status lmf__tpl_parse_expr(tpl_parser *p, bool with_cond, tpl_node **out);
lmf_status lmf__tpl_parse_tuple(tpl_parser *p, int flags, tpl_node **out);
lmf_status lmf__tpl_parse_target(tpl_parser *p, int flags, tpl_node **out);
/* The chain `| name(args) | ...` behind a; inline_start: the first '|' is left out. */
lmf_status lmf__tpl_parse_filters(tpl_parser *p, tpl_node *a, bool inline_start, tpl_node **out);

#endif
