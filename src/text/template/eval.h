/* SPDX-License-Identifier: Apache-2.0 */
/* eval: what eval.c (expressions), exec.c (statements) and call.c (functions,
 * macros, loops' attributes) share. */
#ifndef LMF_TEXT_TEMPLATE_EVAL_H
#define LMF_TEXT_TEMPLATE_EVAL_H
#include "text/template/ast.h"

typedef struct tpl_loop {
    tpl_seq        *seq;
    size_t          pos;      /* of seq, the next to be taken */
    const tpl_node *node;     /* the for; its test is applied while taking, as the generator in jinja2 does */
    tpl_scope      *outer;    /* where the test looks names up */
    bool            tested;   /* seq holds only what passed */
    int64_t         index0, length; /* length -1: not asked for yet */
    tpl_value       before, current, after, changed; /* MISSING: none */
} tpl_loop;

typedef enum tpl_func { TPL_F_RANGE, TPL_F_DICT, TPL_F_NAMESPACE, TPL_F_RAISE, TPL_F_STRFTIME, TPL_F_UNSUPPORTED } tpl_func;

lmf_status lmf__tpl_eval(tpl_run *r, const tpl_node *n, tpl_value *out);
lmf_status lmf__tpl_eval_args(tpl_run *r, const tpl_call_args *c, tpl_args *out);
lmf_status lmf__tpl_apply_filter(tpl_run *r, const tpl_node *n, const tpl_value *v, tpl_value *out);
lmf_status lmf__tpl_lookup(tpl_run *r, const tpl_str *name, tpl_value *out); /* TPL_MISSING where there is none */
bool       lmf__tpl_global(const tpl_str *name, tpl_value *out);

lmf_status lmf__tpl_exec(tpl_run *r, const tpl_node *n);
tpl_scope *lmf__tpl_scope(tpl_run *r, tpl_scope *parent);
lmf_status lmf__tpl_assign(tpl_run *r, tpl_scope *scope, const tpl_str *name, tpl_value v);
lmf_status lmf__tpl_unpack(tpl_run *r, tpl_scope *scope, const tpl_node *target, const tpl_value *v);
/* Runs body in a scope of its own under parent, and gives its text instead of writing it. */
lmf_status lmf__tpl_capture(tpl_run *r, const tpl_node *body, tpl_scope *scope, tpl_value *out);

lmf_status lmf__tpl_loop_next(tpl_run *r, tpl_loop *l, bool *more);
lmf_status lmf__tpl_call_macro(tpl_run *r, const tpl_macro *m, const tpl_args *args, tpl_value *out);

#endif
