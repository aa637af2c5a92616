/* SPDX-License-Identifier: Apache-2.0 */
/* Evaluation of expressions.
 * Rule: every node costs a step and a level of depth, so that neither time nor the C stack can run away. */
#include "text/template/eval.h"

lmf_status lmf__tpl_lookup(tpl_run *r, const tpl_str *name, tpl_value *out)
{
    tpl_value *found;
    for (const tpl_scope *s = r->scope; s; s = s->parent) {
        for (size_t i = s->n; i-- > 0;)
            if (s->vars[i].name == name)
                return *out = s->vars[i].value, LMF_OK;
        if (!s->special)
            continue;
        LMF_TRY(lmf__tpl_dict_find_str(r, s->special, name, &found));
        if (found)
            return *out = *found, LMF_OK;
    }
    LMF_TRY(lmf__tpl_dict_find_str(r, r->vars, name, &found));
    if (found)
        *out = *found;
    else if (!lmf__tpl_global(name, out))
        out->kind = TPL_MISSING;
    return LMF_OK;
}

static lmf_status eval_name(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    LMF_TRY(lmf__tpl_lookup(r, n->name, out));
    if (out->kind == TPL_MISSING)
        *out = lmf__tpl_undefined(r, "'%.*s' is undefined", (int)(n->name->n < 100 ? n->name->n : 100), n->name->data);
    if (out->kind == TPL_FUNC && out->u.i == TPL_F_UNSUPPORTED)
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the function '%.*s' is not supported", (int)n->name->n, n->name->data);
    return LMF_OK;
}

static lmf_status push_star(tpl_run *r, const tpl_node *star, tpl_list *pos)
{
    tpl_value v;
    tpl_seq *s;
    LMF_TRY(lmf__tpl_eval(r, star, &v));
    LMF_TRY(lmf__tpl_iterate(r, &v, &s));
    for (size_t i = 0; i < s->n; i++) {
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_push(pos, lmf__tpl_at(s, i)));
    }
    return LMF_OK;
}

lmf_status lmf__tpl_eval_args(tpl_run *r, const tpl_call_args *c, tpl_args *out)
{
    tpl_list pos = { .r = r };
    tpl_value v, more = { .kind = TPL_MISSING };
    *out = (tpl_args){ 0 };
    if (!c)
        return LMF_OK;
    for (size_t i = 0; i < c->n_pos; i++) {
        LMF_TRY(lmf__tpl_eval(r, c->pos[i], &v));
        LMF_TRY(lmf__tpl_push(&pos, v));
    }
    if (c->star)
        LMF_TRY(push_star(r, c->star, &pos));
    out->pos = pos.items;
    out->n_pos = pos.n;
    if (c->star_star) {
        LMF_TRY(lmf__tpl_eval(r, c->star_star, &more));
        if (more.kind != TPL_DICT)
            return TPL_FAIL(r, LMF_E_ARG, "** needs a mapping, not a %s", lmf__tpl_type(&more));
    }
    size_t cap = c->n_kw + (more.kind == TPL_DICT ? more.u.d->n : 0);
    if (!cap)
        return LMF_OK;
    out->names = lmf__tpl_alloc(r, cap, sizeof *out->names);
    out->kw = out->names ? lmf__tpl_alloc(r, cap, sizeof *out->kw) : NULL;
    if (!out->kw)
        return r->status;
    for (; out->n_kw < c->n_kw; out->n_kw++) {
        out->names[out->n_kw] = c->names[out->n_kw];
        LMF_TRY(lmf__tpl_eval(r, c->kw[out->n_kw], &out->kw[out->n_kw]));
    }
    for (size_t i = 0; out->n_kw < cap; i++, out->n_kw++) {
        const tpl_value *key = &more.u.d->entries[i].key;
        if (key->kind != TPL_STR)
            return TPL_FAIL(r, LMF_E_ARG, "an argument's name must be a str");
        for (size_t k = 0; k < c->n_kw; k++)
            if (c->names[k]->n == key->u.s->n && memcmp(c->names[k]->data, key->u.s->data, key->u.s->n) == 0)
                return TPL_FAIL(r, LMF_E_ARG, "two values for the argument '%.*s'", (int)(key->u.s->n < 60 ? key->u.s->n : 60), key->u.s->data);
        out->names[out->n_kw] = key->u.s;
        out->kw[out->n_kw] = more.u.d->entries[i].value;
    }
    return LMF_OK;
}

static lmf_status apply_one(tpl_run *r, const tpl_node *n, const tpl_value *v, tpl_value *out)
{
    tpl_args args;
    r->line = n->line;
    if (!n->row)
        return TPL_FAIL(r, lmf__tpl_known_filter(n->name) ? LMF_E_UNSUPPORTED : LMF_E_ARG, "the filter '%.*s' does not exist", (int)(n->name->n < 60 ? n->name->n : 60), n->name->data);
    LMF_TRY(lmf__tpl_step(r, 0));
    LMF_TRY(lmf__tpl_eval_args(r, n->args, &args));
    r->line = n->line;
    return lmf__tpl_call_filter(r, n->row, v, &args, out);
}

/* The chain is a list from its last filter to its first; a loop, because its length is the template's to choose. */
lmf_status lmf__tpl_apply_filter(tpl_run *r, const tpl_node *n, const tpl_value *v, tpl_value *out)
{
    const tpl_node *first = n;
    size_t n_chain = 1;
    tpl_value x = *v;
    for (; first->a && first->a->kind == TPL_N_FILTER; first = first->a)
        n_chain++;
    LMF_TRY(TPL_STEP_ITEMS(r, n_chain));
    const tpl_node **chain = lmf__tpl_alloc(r, n_chain, sizeof *chain);
    if (!chain)
        return r->status;
    for (size_t i = n_chain; i-- > 0; n = n->a)
        chain[i] = n;
    if (first->a)
        LMF_TRY(lmf__tpl_eval(r, first->a, &x));
    for (size_t i = 0; i < n_chain; i++) {
        tpl_value y;
        LMF_TRY(apply_one(r, chain[i], &x, &y));
        x = y;
    }
    *out = x;
    return LMF_OK;
}

static lmf_status eval_test(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_value v;
    tpl_args args;
    bool hit;
    LMF_TRY(lmf__tpl_eval(r, n->a, &v));
    r->line = n->line;
    if (!n->row)
        return TPL_FAIL(r, LMF_E_ARG, "the test '%.*s' does not exist", (int)(n->name->n < 60 ? n->name->n : 60), n->name->data);
    LMF_TRY(lmf__tpl_eval_args(r, n->args, &args));
    LMF_TRY(lmf__tpl_call_test(r, n->row, &v, &args, &hit));
    *out = lmf__tpl_bool(hit);
    return LMF_OK;
}

static lmf_status eval_items(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_seq *s = lmf__tpl_seq(r, n->kind == TPL_N_LIST ? TPL_LIST : TPL_TUPLE, n->n);
    if (!s)
        return r->status;
    for (size_t i = 0; i < n->n; i++)
        LMF_TRY(lmf__tpl_eval(r, n->items[i], &s->items[i]));
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

static lmf_status eval_dict(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_dict *d = lmf__tpl_dict(r);
    tpl_value key, value;
    if (!d)
        return r->status;
    for (size_t i = 0; i < n->n; i++) {
        LMF_TRY(lmf__tpl_eval(r, n->items[i], &key));
        LMF_TRY(lmf__tpl_eval(r, n->more[i], &value));
        LMF_TRY(lmf__tpl_dict_set(r, d, key, value));
    }
    *out = lmf__tpl_of_dict(d);
    return LMF_OK;
}

static lmf_status eval_concat(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_value v;
    tpl_str *s;
    *out = lmf__tpl_of_str(NULL);
    for (size_t i = 0; i < n->n; i++) {
        LMF_TRY(lmf__tpl_eval(r, n->items[i], &v));
        LMF_TRY(lmf__tpl_to_str(r, &v, &s));
        if (i == 0)
            out->u.s = s;
        else
            LMF_TRY(lmf__tpl_concat(r, out->u.s, s, out));
    }
    return LMF_OK;
}

static lmf_status compare(tpl_run *r, int op, const tpl_value *a, const tpl_value *b, bool *out)
{
    bool same;
    switch (op) {
    case 'e': return lmf__tpl_equal(r, a, b, out);
    case 'n':
        LMF_TRY(lmf__tpl_equal(r, a, b, out));
        return *out = !*out, LMF_OK;
    case '<': return lmf__tpl_less(r, a, b, out);
    case '>': return lmf__tpl_less(r, b, a, out);
    case 'i': return lmf__tpl_contains(r, b, a, out);
    case 'o':
        LMF_TRY(lmf__tpl_contains(r, b, a, out));
        return *out = !*out, LMF_OK;
    default: /* l, g */
        LMF_TRY(op == 'l' ? lmf__tpl_less(r, a, b, out) : lmf__tpl_less(r, b, a, out));
        LMF_TRY(lmf__tpl_equal(r, a, b, &same));
        return *out |= same, LMF_OK;
    }
}

static lmf_status eval_compare(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_value a, b;
    bool hit = true;
    LMF_TRY(lmf__tpl_eval(r, n->a, &a));
    for (size_t i = 0; i < n->n && hit; i++, a = b) {
        LMF_TRY(lmf__tpl_eval(r, n->items[i], &b));
        r->line = n->line;
        LMF_TRY(compare(r, n->ops[i], &a, &b, &hit));
    }
    *out = lmf__tpl_bool(hit);
    return LMF_OK;
}

static lmf_status eval_slice(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_value v, part[3] = { { .kind = TPL_MISSING }, { .kind = TPL_MISSING }, { .kind = TPL_MISSING } };
    const tpl_node *nodes[3] = { n->b, n->c, n->d };
    LMF_TRY(lmf__tpl_eval(r, n->a, &v));
    for (int i = 0; i < 3; i++)
        if (nodes[i])
            LMF_TRY(lmf__tpl_eval(r, nodes[i], &part[i]));
    r->line = n->line;
    bool constant = n->a->kind == TPL_N_CONST && (!n->b || n->b->kind == TPL_N_CONST) && (!n->c || n->c->kind == TPL_N_CONST) && (!n->d || n->d->kind == TPL_N_CONST);
    if (constant && v.kind != TPL_STR) /* jinja2 folds it into an undefined value, where it refuses it at run time */
        return *out = lmf__tpl_undefined(r, "a %s can't be sliced", lmf__tpl_type(&v)), LMF_OK;
    return lmf__tpl_slice(r, &v, &part[0], &part[1], &part[2], out);
}

static lmf_status eval_node(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_value a, b;
    tpl_args args;
    switch (n->kind) {
    case TPL_N_CONST: return *out = n->value, LMF_OK;
    case TPL_N_NAME: return eval_name(r, n, out);
    case TPL_N_LIST: case TPL_N_TUPLE: return eval_items(r, n, out);
    case TPL_N_DICT: return eval_dict(r, n, out);
    case TPL_N_ATTR:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        r->line = n->line;
        return lmf__tpl_getattr(r, &a, n->value.u.s, out);
    case TPL_N_ITEM:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        LMF_TRY(lmf__tpl_eval(r, n->b, &b));
        r->line = n->line;
        return lmf__tpl_getitem(r, &a, &b, out);
    case TPL_N_SLICE: return eval_slice(r, n, out);
    case TPL_N_CALL:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        LMF_TRY(lmf__tpl_eval_args(r, n->args, &args));
        r->line = n->line;
        return lmf__tpl_call(r, &a, &args, out);
    case TPL_N_FILTER: return lmf__tpl_apply_filter(r, n, &(tpl_value){ .kind = TPL_NONE }, out);
    case TPL_N_TEST: return eval_test(r, n, out);
    case TPL_N_NOT:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        return *out = lmf__tpl_bool(!lmf__tpl_truth(&a)), LMF_OK;
    case TPL_N_SIGN:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        return lmf__tpl_negate(r, &a, n->op == '-', out);
    case TPL_N_BINARY:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        LMF_TRY(lmf__tpl_eval(r, n->b, &b));
        r->line = n->line;
        return lmf__tpl_binary(r, n->op, &a, &b, out);
    case TPL_N_AND: case TPL_N_OR:
        LMF_TRY(lmf__tpl_eval(r, n->a, out));
        return lmf__tpl_truth(out) == (n->kind == TPL_N_AND) ? lmf__tpl_eval(r, n->b, out) : LMF_OK;
    case TPL_N_CONCAT: return eval_concat(r, n, out);
    case TPL_N_COMPARE: return eval_compare(r, n, out);
    case TPL_N_COND:
        LMF_TRY(lmf__tpl_eval(r, n->a, &a));
        if (lmf__tpl_truth(&a))
            return lmf__tpl_eval(r, n->b, out);
        if (n->c)
            return lmf__tpl_eval(r, n->c, out);
        return *out = lmf__tpl_undefined(r, "the inline if of line %d was false and has no else", n->line), LMF_OK;
    default: return TPL_FAIL(r, LMF_E_INTERNAL, "a statement where an expression should be");
    }
}

lmf_status lmf__tpl_eval(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    r->line = n->line;
    LMF_TRY(lmf__tpl_step(r, 0));
    if (++r->depth > r->opts.max_depth)
        return TPL_FAIL(r, LMF_E_LIMIT, "the template nests deeper than %d levels; does a macro call itself for ever?", r->opts.max_depth);
    LMF_TRY(eval_node(r, n, out));
    r->depth--;
    return LMF_OK;
}
