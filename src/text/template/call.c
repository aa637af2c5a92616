/* SPDX-License-Identifier: Apache-2.0 */
/* Calls: the global functions, methods, macros, and what the loop variable offers.
 * Rule: the functions a template can call are those named here and in the method tables; none reaches outside of
 * the run. */
#include "text/template/eval.h"

enum { MAX_RANGE = 100000 };

bool lmf__tpl_global(const tpl_str *name, tpl_value *out)
{
    static const struct { const char *name; tpl_func func; } globals[] = {
        { "range", TPL_F_RANGE }, { "dict", TPL_F_DICT }, { "namespace", TPL_F_NAMESPACE }, { "raise_exception", TPL_F_RAISE },
        { "strftime_now", TPL_F_STRFTIME }, { "lipsum", TPL_F_UNSUPPORTED }, { "cycler", TPL_F_UNSUPPORTED }, { "joiner", TPL_F_UNSUPPORTED },
        { "self", TPL_F_UNSUPPORTED },
    };
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (!lmf__tpl_str_eq(name, globals[i].name))
            continue;
        *out = (tpl_value){ TPL_FUNC, { .i = globals[i].func } };
        return true;
    }
    return false;
}

static lmf_status call_range(tpl_run *r, const tpl_args *args, tpl_value *out)
{
    int64_t v[3] = { 0, 0, 1 };
    if (args->n_kw || args->n_pos < 1 || args->n_pos > 3)
        return TPL_FAIL(r, LMF_E_ARG, "range takes one to three integers");
    for (size_t i = 0; i < args->n_pos; i++) {
        LMF_TRY(lmf__tpl_need_defined(r, &args->pos[i]));
        LMF_TRY(lmf__tpl_need_int(r, &args->pos[i], "range's argument", &v[args->n_pos == 1 ? 1 : i]));
    }
    if (v[2] == 0)
        return TPL_FAIL(r, LMF_E_ARG, "range's step is zero");
    uint64_t span = v[2] > 0 ? (v[1] > v[0] ? (uint64_t)v[1] - (uint64_t)v[0] : 0) : (v[0] > v[1] ? (uint64_t)v[0] - (uint64_t)v[1] : 0);
    uint64_t step = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2], n = span ? (span - 1) / step + 1 : 0;
    if (n > MAX_RANGE)
        return TPL_FAIL(r, LMF_E_LIMIT, "a range has at most %d items", MAX_RANGE);
    tpl_seq *s = lmf__tpl_alloc(r, 1, sizeof *s);
    if (!s)
        return r->status;
    *s = (tpl_seq){ .kind = TPL_RANGE, .n = (size_t)n, .start = v[0], .stop = v[1], .step = v[2] };
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

lmf_status lmf__tpl_make_dict(tpl_run *r, const tpl_args *args, tpl_dict **out)
{
    tpl_dict *d = lmf__tpl_dict(r);
    tpl_seq *s, *pair;
    if (!d)
        return r->status;
    if (args->n_pos > 1)
        return TPL_FAIL(r, LMF_E_ARG, "dict and namespace take at most one argument by position");
    if (args->n_pos) {
        const tpl_value *from = &args->pos[0];
        LMF_TRY(lmf__tpl_need_defined(r, from));
        if (from->kind == TPL_DICT) {
            for (size_t i = 0; i < from->u.d->n; i++)
                LMF_TRY(lmf__tpl_dict_set(r, d, from->u.d->entries[i].key, from->u.d->entries[i].value));
        } else {
            LMF_TRY(lmf__tpl_iterate(r, from, &s));
            for (size_t i = 0; i < s->n; i++) {
                tpl_value x = lmf__tpl_at(s, i);
                LMF_TRY(lmf__tpl_iterate(r, &x, &pair));
                if (pair->n != 2)
                    return TPL_FAIL(r, LMF_E_ARG, "dict needs pairs; element %zu has %zu parts", i, pair->n);
                LMF_TRY(lmf__tpl_dict_set(r, d, lmf__tpl_at(pair, 0), lmf__tpl_at(pair, 1)));
            }
        }
    }
    for (size_t i = 0; i < args->n_kw; i++)
        LMF_TRY(lmf__tpl_dict_set(r, d, lmf__tpl_of_str((tpl_str *)args->names[i]), args->kw[i]));
    *out = d;
    return LMF_OK;
}

static lmf_status call_namespace(tpl_run *r, const tpl_args *args, tpl_value *out)
{
    tpl_dict *d;
    LMF_TRY(lmf__tpl_make_dict(r, args, &d));
    for (size_t i = 0; i < d->n; i++)
        if (d->entries[i].key.kind == TPL_STR && d->entries[i].key.u.s->n && d->entries[i].key.u.s->data[0] == '_')
            return TPL_FAIL(r, LMF_E_ARG, "a namespace can't hold names that begin with an underscore");
    *out = (tpl_value){ TPL_NAMESPACE, { .d = d } };
    return LMF_OK;
}

static lmf_status call_text_function(tpl_run *r, tpl_func f, const tpl_args *args, tpl_value *out)
{
    tpl_value a[TPL_MAX_PARAMS];
    tpl_str *s;
    if (f == TPL_F_RAISE) {
        LMF_TRY(lmf__tpl_bind(r, "raise_exception", "message", 1, args, a));
        LMF_TRY(lmf__tpl_to_str(r, &a[0], &s));
        return TPL_FAIL(r, LMF_E_ARG, "%.*s", (int)(s->n < 600 ? s->n : 600), s->data);
    }
    LMF_TRY(lmf__tpl_bind(r, "strftime_now", "format", 1, args, a));
    if (a[0].kind != TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "strftime_now needs a str, not a %s", lmf__tpl_type(&a[0]));
    return lmf__tpl_strftime(r, a[0].u.s, out);
}

static lmf_status call_method(tpl_run *r, const tpl_method *m, const tpl_args *args, tpl_value *out)
{
    tpl_value a[TPL_MAX_PARAMS] = { 0 };
    if (m->row->params[0] != '*')
        LMF_TRY(lmf__tpl_bind(r, m->row->name, m->row->params, m->row->n_required, args, a));
    return m->row->call(r, &m->self, a, args, out);
}

lmf_status lmf__tpl_call(tpl_run *r, const tpl_value *fn, const tpl_args *args, tpl_value *out)
{
    tpl_dict *d;
    LMF_TRY(lmf__tpl_step(r, 0));
    LMF_TRY(lmf__tpl_need_defined(r, fn));
    switch (fn->kind) {
    case TPL_METHOD: return call_method(r, fn->u.method, args, out);
    case TPL_MACRO: return lmf__tpl_call_macro(r, fn->u.macro, args, out);
    case TPL_FUNC:
        if (fn->u.i == TPL_F_RANGE)
            return call_range(r, args, out);
        if (fn->u.i == TPL_F_NAMESPACE)
            return call_namespace(r, args, out);
        if (fn->u.i != TPL_F_DICT)
            return call_text_function(r, (tpl_func)fn->u.i, args, out);
        LMF_TRY(lmf__tpl_make_dict(r, args, &d));
        *out = lmf__tpl_of_dict(d);
        return LMF_OK;
    default: return TPL_FAIL(r, LMF_E_ARG, "a %s can't be called", lmf__tpl_type(fn));
    }
}

/* ---- macros ---- */

static lmf_status take_kw(tpl_run *r, const tpl_args *args, bool *used, const tpl_str *name, tpl_value *out)
{
    for (size_t k = 0; k < args->n_kw; k++) {
        if (used[k] || args->names[k]->n != name->n || memcmp(args->names[k]->data, name->data, name->n) != 0)
            continue;
        used[k] = true;
        *out = args->kw[k];
    }
    return lmf__tpl_step(r, args->n_kw / 8);
}

/* varargs, kwargs and caller, for a body that uses them. */
static lmf_status bind_special(tpl_run *r, const tpl_node *n, const tpl_args *args, bool *used, tpl_dict *rest)
{
    static const tpl_str caller_name = { .data = "caller", .n = 6 };
    const char *name = n->name ? n->name->data : "caller";
    int len = n->name ? (int)n->name->n : 6;
    tpl_value caller = { .kind = TPL_MISSING };
    if (n->flags & TPL_USES_CALLER) {
        LMF_TRY(take_kw(r, args, used, &caller_name, &caller));
        if (caller.kind == TPL_MISSING)
            caller = lmf__tpl_undefined(r, "no caller: the macro '%.*s' is not used in a call block", len, name);
        LMF_TRY(lmf__tpl_dict_set(r, rest, lmf__tpl_of_str((tpl_str *)&caller_name), caller));
    }
    for (size_t k = 0; k < args->n_kw; k++)
        if (!used[k] && !(n->flags & TPL_USES_KWARGS))
            return TPL_FAIL(r, LMF_E_ARG, "the macro '%.*s' has no argument '%.*s'", len, name, (int)args->names[k]->n, args->names[k]->data);
    if (args->n_pos > n->n && !(n->flags & TPL_USES_VARARGS))
        return TPL_FAIL(r, LMF_E_ARG, "the macro '%.*s' takes at most %zu arguments, not %zu", len, name, n->n, args->n_pos);
    if (n->flags & TPL_USES_KWARGS) {
        tpl_dict *kw = lmf__tpl_dict(r);
        if (!kw)
            return r->status;
        for (size_t k = 0; k < args->n_kw; k++)
            if (!used[k])
                LMF_TRY(lmf__tpl_dict_set(r, kw, lmf__tpl_of_str((tpl_str *)args->names[k]), args->kw[k]));
        tpl_str *key = lmf__tpl_str(r, "kwargs", 6);
        if (!key)
            return r->status;
        LMF_TRY(lmf__tpl_dict_set(r, rest, lmf__tpl_of_str(key), lmf__tpl_of_dict(kw)));
    }
    if (n->flags & TPL_USES_VARARGS) {
        size_t more = args->n_pos > n->n ? args->n_pos - n->n : 0;
        tpl_seq *s = lmf__tpl_seq(r, TPL_TUPLE, more);
        tpl_str *key = s ? lmf__tpl_str(r, "varargs", 7) : NULL;
        if (!key)
            return r->status;
        if (more)
            memcpy(s->items, args->pos + n->n, more * sizeof *s->items);
        LMF_TRY(lmf__tpl_dict_set(r, rest, lmf__tpl_of_str(key), lmf__tpl_of_seq(s)));
    }
    return LMF_OK;
}

lmf_status lmf__tpl_call_macro(tpl_run *r, const tpl_macro *m, const tpl_args *args, tpl_value *out)
{
    const tpl_node *n = m->node;
    tpl_scope *scope = lmf__tpl_scope(r, m->scope), *saved = r->scope;
    bool *used = scope ? lmf__tpl_alloc(r, args->n_kw, sizeof *used) : NULL;
    if (!used)
        return r->status;
    if (++r->depth > r->opts.max_depth)
        return TPL_FAIL(r, LMF_E_LIMIT, "calls nest deeper than %d levels; does a macro call itself for ever?", r->opts.max_depth);
    scope->special = lmf__tpl_dict(r);
    if (!scope->special)
        return r->status;
    r->scope = scope;
    for (size_t i = 0; i < n->n; i++) {
        tpl_value v = i < args->n_pos ? args->pos[i] : (tpl_value){ .kind = TPL_MISSING };
        const tpl_str *name = n->items[i]->name;
        if (i >= args->n_pos)
            LMF_TRY(take_kw(r, args, used, name, &v));
        if (v.kind == TPL_MISSING) {
            if (i + n->n_more >= n->n)
                LMF_TRY(lmf__tpl_eval(r, n->more[i + n->n_more - n->n], &v));
            else
                v = lmf__tpl_undefined(r, "the argument '%.*s' was not given", (int)name->n, name->data);
        }
        LMF_TRY(lmf__tpl_assign(r, scope, name, v));
    }
    LMF_TRY(bind_special(r, n, args, used, scope->special));
    LMF_TRY(lmf__tpl_capture(r, n->a, scope, out));
    r->scope = saved;
    r->depth--;
    return LMF_OK;
}

/* ---- loops ---- */

/* The next item that passes the loop's test, or none. */
static lmf_status pull(tpl_run *r, tpl_loop *l, tpl_value *out)
{
    out->kind = TPL_MISSING;
    while (l->pos < l->seq->n) {
        tpl_value v = lmf__tpl_at(l->seq, l->pos++), hit = lmf__tpl_bool(true);
        LMF_TRY(lmf__tpl_step(r, 0));
        if (l->node->c && !l->tested) {
            tpl_scope *saved = r->scope, *scope = lmf__tpl_scope(r, l->outer);
            if (!scope)
                return r->status;
            r->scope = scope;
            LMF_TRY(lmf__tpl_unpack(r, scope, l->node->a, &v));
            LMF_TRY(lmf__tpl_eval(r, l->node->c, &hit));
            r->scope = saved;
        }
        if (lmf__tpl_truth(&hit))
            return *out = v, LMF_OK;
    }
    return LMF_OK;
}

static lmf_status peek(tpl_run *r, tpl_loop *l)
{
    return l->after.kind == TPL_MISSING ? pull(r, l, &l->after) : LMF_OK;
}

lmf_status lmf__tpl_loop_next(tpl_run *r, tpl_loop *l, bool *more)
{
    tpl_value v = l->after;
    if (v.kind == TPL_MISSING)
        LMF_TRY(pull(r, l, &v));
    *more = v.kind != TPL_MISSING;
    if (!*more)
        return LMF_OK;
    l->after.kind = TPL_MISSING;
    l->index0++;
    l->before = l->current;
    l->current = v;
    return LMF_OK;
}

static lmf_status loop_length(tpl_run *r, tpl_loop *l, int64_t *out)
{
    if (l->length < 0 && (!l->node->c || l->tested)) {
        l->length = (int64_t)l->seq->n;
    } else if (l->length < 0) { /* takes all that are left, now */
        tpl_list rest = { .r = r };
        tpl_value v;
        for (;;) {
            LMF_TRY(pull(r, l, &v));
            if (v.kind == TPL_MISSING)
                break;
            LMF_TRY(lmf__tpl_push(&rest, v));
        }
        l->length = (int64_t)rest.n + l->index0 + 1 + (l->after.kind != TPL_MISSING);
        LMF_TRY(lmf__tpl_listed(&rest, TPL_LIST, &v));
        l->seq = v.u.seq;
        l->pos = 0;
        l->tested = true;
    }
    *out = l->length;
    return LMF_OK;
}

static lmf_status loop_cycle(tpl_run *r, const tpl_value *self, const tpl_value *a, const tpl_args *raw, tpl_value *out)
{
    (void)a;
    if (!raw->n_pos || raw->n_kw)
        return TPL_FAIL(r, LMF_E_ARG, "loop.cycle needs values to cycle through");
    *out = raw->pos[(size_t)self->u.loop->index0 % raw->n_pos];
    return LMF_OK;
}

static lmf_status loop_changed(tpl_run *r, const tpl_value *self, const tpl_value *a, const tpl_args *raw, tpl_value *out)
{
    (void)a;
    bool same = false;
    tpl_seq *s = lmf__tpl_seq(r, TPL_TUPLE, raw->n_pos);
    if (!s)
        return r->status;
    if (raw->n_pos)
        memcpy(s->items, raw->pos, raw->n_pos * sizeof *s->items);
    tpl_value now = lmf__tpl_of_seq(s), *before = &self->u.loop->changed;
    if (before->kind != TPL_MISSING)
        LMF_TRY(lmf__tpl_equal(r, before, &now, &same));
    *before = now;
    *out = lmf__tpl_bool(!same);
    return LMF_OK;
}

lmf_status lmf__tpl_loop_attribute(tpl_run *r, struct tpl_loop *l, const tpl_str *name, tpl_value *out)
{
    static const tpl_method_row methods[] = { { "cycle", "*", 0, loop_cycle }, { "changed", "*", 0, loop_changed } };
    static const char *const lengths[] = { "length", "revindex", "revindex0" };
    int64_t n;
    out->kind = TPL_MISSING;
    if (lmf__tpl_str_eq(name, "index0") || lmf__tpl_str_eq(name, "index"))
        return *out = lmf__tpl_int(l->index0 + (name->n == 5)), LMF_OK;
    if (lmf__tpl_str_eq(name, "depth0") || lmf__tpl_str_eq(name, "depth"))
        return *out = lmf__tpl_int(name->n == 5), LMF_OK;
    if (lmf__tpl_str_eq(name, "first"))
        return *out = lmf__tpl_bool(l->index0 == 0), LMF_OK;
    if (lmf__tpl_str_eq(name, "last") || lmf__tpl_str_eq(name, "nextitem")) {
        LMF_TRY(peek(r, l));
        if (name->n == 4)
            *out = lmf__tpl_bool(l->after.kind == TPL_MISSING);
        else
            *out = l->after.kind == TPL_MISSING ? lmf__tpl_undefined(r, "there is no next item") : l->after;
        return LMF_OK;
    }
    if (lmf__tpl_str_eq(name, "previtem"))
        return *out = l->index0 == 0 ? lmf__tpl_undefined(r, "there is no previous item") : l->before, LMF_OK;
    for (size_t i = 0; i < 3; i++) {
        if (!lmf__tpl_str_eq(name, lengths[i]))
            continue;
        LMF_TRY(loop_length(r, l, &n));
        *out = lmf__tpl_int(i == 0 ? n : n - l->index0 - (i == 2));
        return LMF_OK;
    }
    for (size_t i = 0; i < 2; i++) {
        if (!lmf__tpl_str_eq(name, methods[i].name))
            continue;
        tpl_method *m = lmf__tpl_alloc(r, 1, sizeof *m);
        if (!m)
            return r->status;
        *m = (tpl_method){ &methods[i], { TPL_LOOP, { .loop = l } } };
        *out = (tpl_value){ TPL_METHOD, { .method = m } };
    }
    return LMF_OK;
}
