/* SPDX-License-Identifier: Apache-2.0 */
/* ast: what the lexer gives the parser, and the parser the evaluator. Shared by lex.c, parse.c, expr.c and eval.c.
 * Owner: nodes, names and constants live in the template's arena and never change after parsing. */
#ifndef LMF_TEXT_TEMPLATE_AST_H
#define LMF_TEXT_TEMPLATE_AST_H
#include "text/template/value.h"

typedef enum tpl_token_kind {
    TPL_T_END, TPL_T_DATA, TPL_T_VAR_BEGIN, TPL_T_VAR_END, TPL_T_BLOCK_BEGIN, TPL_T_BLOCK_END, TPL_T_NAME, TPL_T_STRING, TPL_T_NUMBER, TPL_T_OP
} tpl_token_kind;

/* Operators of two characters get a letter: // f, ** p, == e, != n, <= l, >= g. */
typedef struct tpl_token {
    tpl_token_kind kind;
    int            op, line;
    tpl_value      value; /* DATA, NAME, STRING: a str; NUMBER: the number */
} tpl_token;

typedef struct tpl_tokens { tpl_token *items; size_t n, cap; } tpl_tokens; /* the last one is END */

/* text: valid UTF-8 with \n line ends. Tokens go to scratch, their strings to r->arena. Linear in n. */
lmf_status lmf__tpl_lex(tpl_run *r, lmf_arena *scratch, const tpl_str *text, tpl_tokens *out);

typedef enum tpl_node_kind {
    /* statements */
    TPL_N_BLOCK,        /* items */
    TPL_N_TEXT,         /* value */
    TPL_N_PRINT,        /* a */
    TPL_N_IF,           /* items: condition, body, condition, body ..., and the else body if their number is odd */
    TPL_N_FOR,          /* a target, b iterable, c test or NULL, d else or NULL, items[0] body */
    TPL_N_SET,          /* a target, b expression */
    TPL_N_SET_BLOCK,    /* a target, b body, c filter chain or NULL */
    TPL_N_MACRO,        /* name, a body, items parameters, more defaults of the last ones; flags */
    TPL_N_CALL_BLOCK,   /* as MACRO; b the call */
    TPL_N_FILTER_BLOCK, /* b body, c filter chain */
    TPL_N_WITH,         /* items targets, more values, a body */
    TPL_N_GENERATION,   /* a body */
    TPL_N_BREAK, TPL_N_CONTINUE,
    /* expressions */
    TPL_N_CONST,        /* value */
    TPL_N_NAME,         /* name */
    TPL_N_NSREF,        /* a target: name . value */
    TPL_N_LIST, TPL_N_TUPLE, /* items */
    TPL_N_DICT,         /* items keys, more values */
    TPL_N_ATTR,         /* a . value */
    TPL_N_ITEM,         /* a [ b ] */
    TPL_N_SLICE,        /* a [ b : c : d ], each may be NULL */
    TPL_N_CALL,         /* a ( args ) */
    TPL_N_FILTER,       /* a | name(args); a NULL: the block's text */
    TPL_N_TEST,         /* a is name(args) */
    TPL_N_NOT, TPL_N_SIGN, TPL_N_BINARY, TPL_N_AND, TPL_N_OR, /* a op b */
    TPL_N_CONCAT,       /* items */
    TPL_N_COMPARE,      /* a, then items[i] by ops[i]: e n l g < > 'i' in, 'o' not in */
    TPL_N_COND          /* b if a else c, which may be NULL */
} tpl_node_kind;

enum { TPL_USES_VARARGS = 1, TPL_USES_KWARGS = 2, TPL_USES_CALLER = 4 };

typedef struct tpl_call_args {
    struct tpl_node **pos, **kw;
    const tpl_str   **names;
    size_t            n_pos, n_kw;
    struct tpl_node  *star, *star_star; /* *args, **kwargs or NULL */
} tpl_call_args;

typedef struct tpl_node {
    tpl_node_kind     kind;
    int               line, op;
    unsigned          flags;
    tpl_value         value;
    const tpl_str    *name;
    struct tpl_node  *a, *b, *c, *d;
    struct tpl_node **items, **more;
    size_t            n, n_more;
    int              *ops;
    tpl_call_args    *args;
    const void       *row;              /* tpl_filter_row, tpl_test_row; NULL: unknown, refused when it is reached */
} tpl_node;

struct lmf_template {
    lmf_ctx   *ctx;
    lmf_arena  arena;
    tpl_node  *root;
};

/* Names become interned: equal names have equal addresses. */
lmf_status lmf__tpl_parse(tpl_run *r, const tpl_tokens *tokens, tpl_node **out);

#endif
