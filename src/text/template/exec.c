/* SPDX-License-Identifier: Apache-2.0 */
/* Execution of statements, and the public functions.
 * Rule: output goes straight to the caller's buffer; what a macro or set block holds back is the tail of it, copied
 * away and cut off at the end of the block. So the buffer's length is the whole of what is pending. */
#include <stdio.h>
#include <utf8proc.h>
#include "text/template/eval.h"

enum { MAX_SOURCE = 1 << 20, PARSE_MEMORY = 256 << 20, MAX_DEPTH = 2000 };

tpl_scope *lmf__tpl_scope(tpl_run *r, tpl_scope *parent)
{
    tpl_scope *s = lmf__tpl_alloc(r, 1, sizeof *s);
    if (s)
        s->parent = parent;
    return s;
}

lmf_status lmf__tpl_assign(tpl_run *r, tpl_scope *s, const tpl_str *name, tpl_value v)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->vars[i].name == name)
            return s->vars[i].value = v, LMF_OK;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 4;
        struct tpl_var *vars = lmf__tpl_alloc(r, cap, sizeof *vars);
        if (!vars)
            return r->status;
        if (s->n)
            memcpy(vars, s->vars, s->n * sizeof *vars);
        s->vars = vars;
        s->cap = cap;
    }
    s->vars[s->n++] = (struct tpl_var){ name, v };
    return LMF_OK;
}

static lmf_status assign_attribute(tpl_run *r, const tpl_node *target, const tpl_value *v)
{
    tpl_value ns;
    LMF_TRY(lmf__tpl_lookup(r, target->name, &ns));
    if (ns.kind != TPL_NAMESPACE)
        return TPL_FAIL(r, LMF_E_ARG, "'%.*s' is no namespace, so its attributes can't be set", (int)(target->name->n < 60 ? target->name->n : 60), target->name->data);
    if (target->value.u.s->data[0] == '_')
        return TPL_FAIL(r, LMF_E_ARG, "a namespace can't hold names that begin with an underscore");
    return lmf__tpl_dict_set(r, ns.u.d, target->value, *v);
}

lmf_status lmf__tpl_unpack(tpl_run *r, tpl_scope *scope, const tpl_node *target, const tpl_value *v)
{
    tpl_seq *s;
    if (target->kind == TPL_N_NAME)
        return lmf__tpl_assign(r, scope, target->name, *v);
    if (target->kind == TPL_N_NSREF)
        return assign_attribute(r, target, v);
    LMF_TRY(lmf__tpl_step(r, 0));
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    if (s->n != target->n)
        return TPL_FAIL(r, LMF_E_ARG, "%zu values for %zu names", s->n, target->n);
    for (size_t i = 0; i < target->n; i++) {
        tpl_value x = lmf__tpl_at(s, i);
        LMF_TRY(lmf__tpl_unpack(r, scope, target->items[i], &x));
    }
    return LMF_OK;
}

/* Namespaces among the targets are checked before the value is evaluated. */
static lmf_status check_namespaces(tpl_run *r, const tpl_node *target)
{
    tpl_value ns;
    if (target->kind == TPL_N_NSREF) {
        LMF_TRY(lmf__tpl_lookup(r, target->name, &ns));
        if (ns.kind != TPL_NAMESPACE)
            return assign_attribute(r, target, &(tpl_value){ .kind = TPL_NONE });
    }
    for (size_t i = 0; target->kind == TPL_N_TUPLE && i < target->n; i++)
        LMF_TRY(check_namespaces(r, target->items[i]));
    return LMF_OK;
}

static lmf_status emit(tpl_run *r, const tpl_str *s)
{
    if (s->n > r->opts.max_output || r->out->n - r->base > r->opts.max_output - s->n)
        return TPL_FAIL(r, LMF_E_LIMIT, "the template's output is larger than %zu bytes", r->opts.max_output);
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    return lmf_buf_append(r->out, s->data, s->n);
}

static lmf_status emit_str(tpl_run *r, const tpl_value *v, const char *what)
{
    return v->kind == TPL_STR ? emit(r, v->u.s) : TPL_FAIL(r, LMF_E_ARG, "%s must give a str, not a %s", what, lmf__tpl_type(v));
}

lmf_status lmf__tpl_capture(tpl_run *r, const tpl_node *body, tpl_scope *scope, tpl_value *out)
{
    size_t begin = r->out->n, root_n = r->root_n;
    tpl_scope *saved = r->scope;
    if (root_n == SIZE_MAX)
        r->root_n = begin;
    r->scope = scope;
    LMF_TRY(lmf__tpl_exec(r, body));
    r->scope = saved;
    r->root_n = root_n;
    LMF_TRY(TPL_STEP_BYTES(r, r->out->n - begin));
    LMF_TRY(lmf__tpl_str_value(r, lmf_buf_str(r->out) + begin, r->out->n - begin, out));
    lmf_buf_truncate(r->out, begin);
    return LMF_OK;
}

static lmf_status exec_print(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    tpl_str *s;
    LMF_TRY(lmf__tpl_eval(r, n->a, &v));
    r->line = n->line;
    LMF_TRY(lmf__tpl_soft_str(r, &v, &s));
    return emit(r, s);
}

static lmf_status exec_if(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    for (size_t i = 0; i + 1 < n->n; i += 2) {
        LMF_TRY(lmf__tpl_eval(r, n->items[i], &v));
        if (lmf__tpl_truth(&v))
            return lmf__tpl_exec(r, n->items[i + 1]);
    }
    return n->n % 2 ? lmf__tpl_exec(r, n->items[n->n - 1]) : LMF_OK;
}

static lmf_status exec_for(tpl_run *r, const tpl_node *n)
{
    static const tpl_str loop_name = { .data = "loop", .n = 4 };
    tpl_loop *l = lmf__tpl_alloc(r, 1, sizeof *l);
    tpl_scope *outer = r->scope;
    tpl_value v;
    bool more, ran = false;
    if (!l)
        return r->status;
    *l = (tpl_loop){ .node = n, .outer = outer, .index0 = -1, .length = -1 };
    LMF_TRY(lmf__tpl_eval(r, n->b, &v));
    r->line = n->line;
    LMF_TRY(lmf__tpl_iterate(r, &v, &l->seq));
    tpl_dict *special = lmf__tpl_dict(r);
    if (!special)
        return r->status;
    LMF_TRY(lmf__tpl_dict_set(r, special, lmf__tpl_of_str((tpl_str *)&loop_name), (tpl_value){ TPL_LOOP, { .loop = l } }));
    for (;; ran = true) {
        LMF_TRY(lmf__tpl_loop_next(r, l, &more));
        if (!more)
            break;
        tpl_scope *scope = lmf__tpl_scope(r, outer);
        if (!scope)
            return r->status;
        scope->special = special;
        LMF_TRY(lmf__tpl_unpack(r, scope, n->a, &l->current));
        r->scope = scope;
        LMF_TRY(lmf__tpl_exec(r, n->items[0]));
        r->scope = outer;
        bool stop = r->flow == TPL_FLOW_BREAK;
        r->flow = TPL_FLOW_NONE;
        if (stop)
            return LMF_OK;
    }
    if (ran || !n->d)
        return LMF_OK;
    r->scope = lmf__tpl_scope(r, outer);
    if (!r->scope)
        return r->status;
    LMF_TRY(lmf__tpl_exec(r, n->d));
    r->scope = outer;
    return LMF_OK;
}

static lmf_status capture_scoped(tpl_run *r, const tpl_node *body, tpl_value *out)
{
    tpl_scope *scope = lmf__tpl_scope(r, r->scope);
    return scope ? lmf__tpl_capture(r, body, scope, out) : r->status;
}

static lmf_status exec_set(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    if (n->kind == TPL_N_SET) {
        LMF_TRY(check_namespaces(r, n->a));
        LMF_TRY(lmf__tpl_eval(r, n->b, &v));
    } else {
        LMF_TRY(capture_scoped(r, n->b, &v));
        if (r->flow)
            return LMF_OK;
        if (n->c)
            LMF_TRY(lmf__tpl_apply_filter(r, n->c, &v, &v));
    }
    r->line = n->line;
    return lmf__tpl_unpack(r, r->scope, n->a, &v);
}

static lmf_status exec_filter_block(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    LMF_TRY(capture_scoped(r, n->b, &v));
    if (r->flow)
        return LMF_OK;
    LMF_TRY(lmf__tpl_apply_filter(r, n->c, &v, &v));
    return emit_str(r, &v, "the filter of a filter block");
}

static lmf_status make_macro(tpl_run *r, const tpl_node *n, tpl_value *out)
{
    tpl_macro *m = lmf__tpl_alloc(r, 1, sizeof *m);
    if (!m)
        return r->status;
    *m = (tpl_macro){ n, n->name, r->scope };
    *out = (tpl_value){ TPL_MACRO, { .macro = m } };
    return LMF_OK;
}

static lmf_status exec_call_block(tpl_run *r, const tpl_node *n)
{
    static const tpl_str caller_name = { .data = "caller", .n = 6 };
    tpl_value fn, v;
    tpl_args args;
    LMF_TRY(lmf__tpl_eval(r, n->b->a, &fn));
    LMF_TRY(lmf__tpl_eval_args(r, n->b->args, &args));
    const tpl_str **names = lmf__tpl_alloc(r, args.n_kw + 1, sizeof *names);
    tpl_value *kw = names ? lmf__tpl_alloc(r, args.n_kw + 1, sizeof *kw) : NULL;
    if (!kw)
        return r->status;
    for (size_t i = 0; i < args.n_kw; i++)
        names[i] = args.names[i], kw[i] = args.kw[i];
    names[args.n_kw] = &caller_name;
    LMF_TRY(make_macro(r, n, &kw[args.n_kw]));
    args.names = names;
    args.kw = kw;
    args.n_kw++;
    r->line = n->line;
    LMF_TRY(lmf__tpl_call(r, &fn, &args, &v));
    return emit_str(r, &v, "the call of a call block");
}

static lmf_status exec_with(tpl_run *r, const tpl_node *n)
{
    tpl_scope *outer = r->scope, *scope = lmf__tpl_scope(r, outer);
    tpl_value v;
    if (!scope)
        return r->status;
    for (size_t i = 0; i < n->n; i++) {
        LMF_TRY(lmf__tpl_eval(r, n->more[i], &v));
        LMF_TRY(lmf__tpl_unpack(r, scope, n->items[i], &v));
    }
    r->scope = scope;
    LMF_TRY(lmf__tpl_exec(r, n->a));
    r->scope = outer;
    return LMF_OK;
}

static lmf_status span_push(lmf_span_list *l, size_t begin, size_t end)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        lmf_span *items = lmf_realloc(l->ctx, l->items, l->cap * sizeof *items, cap * sizeof *items);
        if (!items)
            return LMF_NO_MEMORY(l->ctx, cap * sizeof *items, "spans of a chat template");
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = (lmf_span){ begin, end };
    return LMF_OK;
}

static lmf_status exec_generation(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    LMF_TRY(capture_scoped(r, n->a, &v));
    size_t begin = r->root_n == SIZE_MAX ? r->out->n : r->root_n;
    if (r->spans)
        LMF_TRY(span_push(r->spans, begin, begin + v.u.s->n));
    return emit(r, v.u.s);
}

static lmf_status exec_node(tpl_run *r, const tpl_node *n)
{
    tpl_value v;
    switch (n->kind) {
    case TPL_N_BLOCK:
        for (size_t i = 0; i < n->n && !r->flow; i++)
            LMF_TRY(lmf__tpl_exec(r, n->items[i]));
        return LMF_OK;
    case TPL_N_TEXT: return emit(r, n->value.u.s);
    case TPL_N_PRINT: return exec_print(r, n);
    case TPL_N_IF: return exec_if(r, n);
    case TPL_N_FOR: return exec_for(r, n);
    case TPL_N_SET: case TPL_N_SET_BLOCK: return exec_set(r, n);
    case TPL_N_MACRO:
        LMF_TRY(make_macro(r, n, &v));
        return lmf__tpl_assign(r, r->scope, n->name, v);
    case TPL_N_CALL_BLOCK: return exec_call_block(r, n);
    case TPL_N_FILTER_BLOCK: return exec_filter_block(r, n);
    case TPL_N_WITH: return exec_with(r, n);
    case TPL_N_GENERATION: return exec_generation(r, n);
    case TPL_N_BREAK: return r->flow = TPL_FLOW_BREAK, LMF_OK;
    case TPL_N_CONTINUE: return r->flow = TPL_FLOW_CONTINUE, LMF_OK;
    default: return TPL_FAIL(r, LMF_E_INTERNAL, "an expression where a statement should be");
    }
}

lmf_status lmf__tpl_exec(tpl_run *r, const tpl_node *n)
{
    r->line = n->line;
    LMF_TRY(lmf__tpl_step(r, 0));
    if (++r->depth > r->opts.max_depth)
        return TPL_FAIL(r, LMF_E_LIMIT, "the template nests deeper than %d levels; does a macro call itself for ever?", r->opts.max_depth);
    LMF_TRY(exec_node(r, n));
    r->depth--;
    return LMF_OK;
}

/* ---- public ---- */

void lmf_span_list_init(lmf_span_list *list, lmf_ctx *ctx) { *list = (lmf_span_list){ .ctx = ctx }; }

void lmf_span_list_clear(lmf_span_list *list)
{
    lmf_free(list->ctx, list->items, list->cap * sizeof *list->items);
    *list = (lmf_span_list){ .ctx = list->ctx };
}

lmf_template_opts lmf_template_opts_default(void)
{
    return (lmf_template_opts){ .max_steps = 1000000, .max_depth = 400, .max_output = 4 << 20, .max_memory = 64 << 20 };
}

/* The source with \n line ends and without its last one, as jinja2 reads it. */
static lmf_status normalize(tpl_run *r, const char *p, size_t n, tpl_str **out)
{
    for (size_t i = 0, at; i < n; i += at) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len = utf8proc_iterate((const utf8proc_uint8_t *)p + i, (utf8proc_ssize_t)(n - i), &c);
        if (len <= 0)
            return TPL_FAIL(r, LMF_E_FORMAT, "byte %zu is not UTF-8", i);
        at = (size_t)len;
    }
    char *text = lmf__tpl_alloc(r, n, 1);
    size_t k = 0;
    if (!text)
        return r->status;
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\r' && i + 1 < n && p[i + 1] == '\n')
            continue;
        text[k++] = p[i] == '\r' ? '\n' : p[i];
    }
    k -= k > 0 && text[k - 1] == '\n';
    *out = lmf__tpl_str(r, "", 0);
    if (!*out)
        return r->status;
    (*out)->data = text;
    (*out)->n = k;
    return LMF_OK;
}

lmf_status lmf_template_parse(lmf_ctx *ctx, const char *source, size_t n, lmf_template **out)
{
    lmf_status s = LMF_OK;
    lmf_arena scratch;
    tpl_tokens tokens = { 0 };
    tpl_str *text;
    *out = NULL;
    if (n > MAX_SOURCE)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "a chat template of %zu bytes; at most %d are allowed", n, MAX_SOURCE);
    lmf_template *t = lmf_new(ctx, lmf_template);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a chat template");
    t->ctx = ctx;
    lmf_arena_init(&t->arena, ctx, PARSE_MEMORY);
    lmf_arena_init(&scratch, ctx, PARSE_MEMORY);
    tpl_run r = { .ctx = ctx, .arena = &t->arena, .opts = { .max_steps = UINT64_MAX, .max_memory = PARSE_MEMORY }, .line = 1 };
    LMF_TRY_TO(done, normalize(&r, source, n, &text));
    LMF_TRY_TO(done, lmf__tpl_lex(&r, &scratch, text, &tokens));
    LMF_TRY_TO(done, lmf__tpl_parse(&r, &tokens, &t->root));
    *out = t, t = NULL;
done:
    lmf_arena_clear(&scratch);
    lmf_template_destroy(t);
    return s;
}

void lmf_template_destroy(lmf_template *t)
{
    if (!t)
        return;
    lmf_arena_clear(&t->arena);
    lmf_delete(t->ctx, t);
}

lmf_status lmf_template_render(const lmf_template *t, const json_t *vars, const lmf_template_opts *opts, lmf_buf *out, lmf_span_list *spans)
{
    lmf_status s = LMF_OK;
    lmf_arena arena;
    tpl_value v;
    size_t base = out->n, n_spans = spans ? spans->n : 0;
    tpl_run r = { .ctx = t->ctx, .arena = &arena, .opts = opts ? *opts : lmf_template_opts_default(), .out = out, .base = base, .root_n = SIZE_MAX, .spans = spans, .line = 1 };
    if (!json_is_object(vars))
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a chat template's variables must be a JSON object");
    if (r.opts.max_depth < 1 || r.opts.max_depth > MAX_DEPTH)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "max_depth of a chat template is 1 to %d, not %d", MAX_DEPTH, r.opts.max_depth);
    lmf_arena_init(&arena, t->ctx, r.opts.max_memory);
    LMF_TRY_TO(done, lmf__tpl_from_json(&r, vars, 0, &v));
    r.vars = v.u.d;
    r.scope = lmf__tpl_scope(&r, NULL);
    if (!r.scope) {
        s = r.status;
        goto done;
    }
    LMF_TRY_TO(done, lmf__tpl_exec(&r, t->root));
done:
    if (s) {
        lmf_buf_truncate(out, base);
        if (spans)
            spans->n = n_spans;
    }
    for (size_t i = n_spans; spans && i < spans->n; i++) { /* a block inside of a macro may lie where nothing was written */
        spans->items[i].end = spans->items[i].end < out->n ? spans->items[i].end : out->n;
        spans->items[i].begin = spans->items[i].begin < out->n ? spans->items[i].begin : out->n;
    }
    lmf_arena_clear(&arena);
    return s;
}
