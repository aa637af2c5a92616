/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an array's or object's inside is made of calls of rules, one a set of schemas, so that the expression of a schema has its size. */
#include <stdio.h>
#include <string.h>
#include "text/grammar/schema.h"

#define SEQ lmf__gr_seq

enum { MAX_STATES = 100000 };

lmf_status lmf__js_quote(js *c, const char *p, size_t n, lmf_buf *out)
{
    (void)c; /* may be NULL */
    static const char letter[32] = { [8] = 'b', [9] = 't', [10] = 'n', [12] = 'f', [13] = 'r' };
    for (size_t i = 0; i < n; i++) {
        uint8_t b = (uint8_t)p[i];
        if (b == '"' || b == '\\' || (b < 32 && letter[b]))
            LMF_TRY(lmf_buf_printf(out, "\\%c", b < 32 ? letter[b] : b));
        else if (b < 32)
            LMF_TRY(lmf_buf_printf(out, "\\u%04x", b));
        else
            LMF_TRY(lmf_buf_putc(out, (char)b));
    }
    return LMF_OK;
}

static lmf_status quoted(js *c, const char *p, size_t n, gr_ex *out)
{
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, LMF_GRAMMAR_MAX_BYTES);
    lmf_buf_putc(&text, '"');
    lmf__js_quote(c, p, n, &text);
    lmf_buf_putc(&text, '"');
    lmf_status s = text.status ? LMF_FAIL(c->ctx, text.status, "a text in the schema is too long") : LMF_OK;
    *out = lmf__gr_lit(c->s, lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    return s;
}

static lmf_status value(js *c, const json_t *v, gr_ex *out)
{
    char text[512];
    size_t i;
    json_t *x;
    const char *key;
    gr_ex all = GR_EMPTY, part;
    switch (json_typeof(v)) {
    case JSON_NULL: *out = lmf__gr_str(c->s, "null"); return LMF_OK;
    case JSON_TRUE: *out = lmf__gr_str(c->s, "true"); return LMF_OK;
    case JSON_FALSE: *out = lmf__gr_str(c->s, "false"); return LMF_OK;
    case JSON_STRING: return quoted(c, json_string_value(v), json_string_length(v), out);
    case JSON_INTEGER: case JSON_REAL: {
        LMF_TRY(lmf__js_number_text(c, v, text, sizeof text));
        *out = lmf__gr_str(c->s, text);
        if (json_is_real(v) && !strpbrk(text, ".e"))
            *out = SEQ(c->s, *out, lmf__gr_opt(c->s, lmf__gr_str(c->s, ".0")));
        return LMF_OK;
    }
    case JSON_ARRAY:
        json_array_foreach(v, i, x) {
            LMF_TRY(value(c, x, &part));
            all = SEQ(c->s, all, i ? SEQ(c->s, c->comma, part) : part);
        }
        *out = SEQ(c->s, lmf__gr_str(c->s, "["), SEQ(c->s, all, lmf__gr_str(c->s, "]")));
        return LMF_OK;
    case JSON_OBJECT:
        json_object_foreach((json_t *)v, key, x) {
            gr_ex name;
            LMF_TRY(quoted(c, key, strlen(key), &name));
            LMF_TRY(value(c, x, &part));
            part = SEQ(c->s, name, SEQ(c->s, c->colon, part));
            all = SEQ(c->s, all, all == GR_EMPTY ? part : SEQ(c->s, c->comma, part));
        }
        *out = SEQ(c->s, lmf__gr_str(c->s, "{"), SEQ(c->s, all, lmf__gr_str(c->s, "}")));
        return LMF_OK;
    }
    return LMF_OK;
}

static gr_ex string(js *c, const js_case *k)
{
    const lmf_grammar_vocab *v = c->g->v;
    gr_store *s = c->s;
    gr_ex quote = lmf__gr_str(s, "\""), text = k->text;
    bool bounded = k->least || k->most != GR_INF;
    if (k->has_text && bounded)
        text = lmf__gr_and(s, text, lmf__gr_rep(s, v->plain, k->least, k->most));
    else if (!k->has_text && bounded)
        text = lmf__gr_rep(s, v->character, k->least, k->most);
    return SEQ(s, quote, k->has_text || bounded ? lmf__gr_lex(s, SEQ(s, text, quote)) : v->string);
}

static lmf_status array(js *c, const js_case *k, gr_ex *out)
{
    gr_store *s = c->s;
    gr_ex item, x;
    LMF_TRY(lmf__js_rule(c, k->rest, &item));
    uint32_t n = k->n_prefix, least = k->least > n ? k->least - n : 0, most = k->most == GR_INF ? GR_INF : k->most > n ? k->most - n : 0;
    if (n)
        x = lmf__gr_rep(s, SEQ(s, c->comma, item), least, most);
    else if (most == 0)
        x = GR_EMPTY;
    else
        x = lmf__gr_or(s, least ? GR_NONE : GR_EMPTY, SEQ(s, item, lmf__gr_rep(s, SEQ(s, c->comma, item), least ? least - 1 : 0,
                                                                             most == GR_INF ? GR_INF : most - 1)));
    for (uint32_t i = n; i-- > 0;) {
        gr_ex e;
        LMF_TRY(lmf__js_rule(c, k->prefix[i], &e));
        e = SEQ(s, i ? SEQ(s, c->comma, e) : e, x);
        x = lmf__gr_or(s, i >= k->least ? GR_EMPTY : GR_NONE, i < k->most ? e : GR_NONE);
    }
    *out = SEQ(s, lmf__gr_str(s, "["), SEQ(s, x, lmf__gr_str(s, "]")));
    return LMF_OK;
}

/* A key that is none of the names, behind its first quote, the last one included. */
static lmf_status other_key(js *c, const js_case *k, gr_ex *out)
{
    gr_store *s = c->s;
    if (!k->n_prop) {
        *out = c->g->v->string;
        return LMF_OK;
    }
    const char **name = lmf_arena_array(&c->arena, k->n_prop, sizeof *name);
    size_t *n = lmf_arena_array(&c->arena, k->n_prop, sizeof *n);
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, LMF_GRAMMAR_MAX_BYTES);
    for (uint32_t i = 0; name && n && i < k->n_prop; i++) {
        size_t begin = text.n;
        lmf__js_quote(c, k->prop[i].name, k->prop[i].n_name, &text);
        n[i] = text.n - begin;
    }
    lmf_status failed = !name || !n || text.status ? LMF_FAIL(c->ctx, LMF_E_LIMIT,
        "the names of the schema take more memory than they may") : LMF_OK;
    if (!failed) {
        size_t at = 0;
        for (uint32_t i = 0; i < k->n_prop; at += n[i++])
            name[i] = lmf_buf_str(&text) + at;
        gr_ex any = lmf__gr_rep(s, c->g->v->plain, 0, GR_INF), names = lmf__gr_words(s, name, n, k->n_prop);
        *out = lmf__gr_lex(s, SEQ(s, lmf__gr_and(s, any, lmf__gr_not(s, names)), lmf__gr_str(s, "\"")));
    }
    lmf_buf_clear(&text);
    return failed;
}

static bool is_never(js_all a)
{
    for (uint32_t i = 0; i < a.n; i++)
        if (json_is_false(a.of[i]))
            return true;
    return false;
}

/* Members without a name in the schema, behind n others. */
static gr_ex others(js *c, const js_case *k, gr_ex member, uint32_t n)
{
    gr_store *s = c->s;
    uint32_t least = k->least > n ? k->least - n : 0, most = k->most == GR_INF ? GR_INF : k->most - n;
    if (n || !most)
        return lmf__gr_rep(s, SEQ(s, c->comma, member), least, most);
    gr_ex more = lmf__gr_rep(s, SEQ(s, c->comma, member), least ? least - 1 : 0, most == GR_INF ? GR_INF : most - 1);
    return lmf__gr_or(s, least ? GR_NONE : GR_EMPTY, SEQ(s, member, more));
}

/* state [n]: what may follow when n members are there; above the last number they count as that many. From the last property to the
 * first. */
static lmf_status members(js *c, const js_case *k, gr_ex member, gr_ex *state, uint32_t n_state)
{
    gr_store *s = c->s;
    for (uint32_t n = 0; n < n_state; n++)
        state[n] = others(c, k, member, n);
    for (uint32_t i = k->n_prop; i-- > 0;) {
        const js_prop *p = &k->prop[i];
        gr_ex key, is;
        LMF_TRY(quoted(c, p->name, p->n_name, &key));
        LMF_TRY(lmf__js_rule(c, p->is, &is));
        is = SEQ(s, key, SEQ(s, c->colon, is));
        for (uint32_t n = 0; n < n_state; n++) {
            gr_ex next = n + 1 < n_state ? state[n + 1] : k->most == GR_INF ? state[n] : GR_NONE;
            gr_ex with = is_never(p->is) ? GR_NONE : SEQ(s, n ? SEQ(s, c->comma, is) : is, next);
            state[n] = p->required ? with : lmf__gr_or(s, state[n], with);
        }
    }
    return LMF_OK;
}

static lmf_status object(js *c, const js_case *k, gr_ex *out)
{
    gr_store *s = c->s;
    gr_ex member = GR_NONE, key;
    uint32_t n_required = 0;
    bool closed = c->g->opts.closed && !k->open && k->n_prop && k->least <= k->n_prop;
    for (uint32_t i = 0; i < k->n_prop; i++)
        n_required += k->prop[i].required;
    if (!is_never(k->rest) && !closed) {
        if (k->least > n_required + 1)
            return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED,
                "the schema's keyword \"minProperties\" is not supported where names are free, above one more than are required");
        LMF_TRY(other_key(c, k, &key));
        LMF_TRY(lmf__js_rule(c, k->rest, &member));
        member = SEQ(s, lmf__gr_str(s, "\""), SEQ(s, key, SEQ(s, c->colon, member)));
    }
    uint32_t n_state = 2;
    if (k->most != GR_INF)
        n_state = (k->most < k->n_prop || member != GR_NONE || k->least > 1 ? k->most : k->n_prop) + 1;
    else if (k->least > 1)
        n_state = k->least + 1;
    if ((uint64_t)n_state * (k->n_prop + 1) > MAX_STATES)
        return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema's bound on the number of properties is too large");
    gr_ex *state = lmf_arena_array(&c->arena, n_state, sizeof *state);
    if (!state)
        return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema takes more memory than it may");
    LMF_TRY(members(c, k, member, state, n_state));
    *out = SEQ(s, lmf__gr_str(s, "{"), SEQ(s, state[0], lmf__gr_str(s, "}")));
    return LMF_OK;
}

lmf_status lmf__js_emit(js *c, const js_case *k, gr_ex *out)
{
    switch (k->kind) {
    case JS_NULL: *out = lmf__gr_str(c->s, "null"); return LMF_OK;
    case JS_BOOL: *out = lmf__gr_or(c->s, lmf__gr_str(c->s, "true"), lmf__gr_str(c->s, "false")); return LMF_OK;
    case JS_NUMBER: return lmf__js_number(c, k, out);
    case JS_STRING: *out = string(c, k); return LMF_OK;
    case JS_ARRAY: return array(c, k, out);
    case JS_OBJECT: return object(c, k, out);
    case JS_VALUE: return value(c, k->value, out);
    }
    return LMF_OK;
}

lmf_status lmf__js_rule(js *c, js_all all, gr_ex *call)
{
    for (uint32_t i = 0; i < c->n_rule; i++)
        if (c->rule[i].n == all.n && (!all.n || !memcmp(c->rule[i].of, all.of, all.n * sizeof *all.of))) {
            *call = lmf__gr_call(c->s, c->first_rule + i, false);
            return LMF_OK;
        }
    if (c->n_rule == LMF_GRAMMAR_MAX_RULES)
        return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema has more than %d parts", LMF_GRAMMAR_MAX_RULES);
    if (c->n_rule == c->cap_rule) {
        uint32_t cap = 2 * c->cap_rule + 64;
        js_all *p = lmf_arena_array(&c->arena, cap, sizeof *p);
        if (!p)
            return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema takes more memory than it may");
        if (c->n_rule)
            memcpy(p, c->rule, c->n_rule * sizeof *p);
        c->rule = p, c->cap_rule = cap;
    }
    c->rule[c->n_rule++] = all;
    *call = lmf__gr_call(c->s, lmf__gr_rule(c->s), false);
    return LMF_OK;
}

static lmf_status make_rules(js *c)
{
    for (uint32_t i = 0; i < c->n_rule; i++) { /* grows meanwhile */
        js_case *k;
        gr_ex body = GR_NONE, x;
        c->n_case = 0, c->depth = 0;
        LMF_TRY(lmf__js_cases(c, c->rule[i], &k));
        size_t n = 0, cap = c->n_case + 1;
        gr_ex *part = lmf_arena_array(&c->arena, cap, sizeof *part);
        if (!part)
            return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema takes more memory than it may");
        for (; k && n < cap; k = k->next) {
            LMF_TRY(lmf__js_emit(c, k, &x));
            part[n++] = x;
        }
        body = n ? lmf__gr_alt(c->s, part, n) : GR_NONE;
        c->s->rule[c->first_rule + i] = body;
        LMF_TRY(lmf__gr_status(c->s, "the schema"));
    }
    return LMF_OK;
}

static lmf_status measure(lmf_ctx *ctx, const json_t *v, int depth, size_t *n)
{
    size_t i;
    const char *key;
    json_t *x;
    if (depth > LMF_SCHEMA_MAX_DEPTH || ++*n > LMF_SCHEMA_MAX_VALUES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the schema has more than %d values or is nested more than %d deep", LMF_SCHEMA_MAX_VALUES,
            LMF_SCHEMA_MAX_DEPTH);
    if (json_is_array(v))
        json_array_foreach(v, i, x)
            LMF_TRY(measure(ctx, x, depth + 1, n));
    if (json_is_object(v))
        json_object_foreach((json_t *)v, key, x)
            LMF_TRY(measure(ctx, x, depth + 1, n));
    return LMF_OK;
}

static const char *rule_name(void *arg, uint32_t rule)
{
    (void)arg, (void)rule;
    return "a part of the schema";
}

lmf_status lmf__js_schema(lmf_grammar *g, const json_t *const *schema, uint32_t n, size_t *n_values, gr_ex *out)
{
    js c = { .ctx = g->ctx, .g = g, .s = &g->s, .root = schema[0], .first_rule = g->s.n_rule };
    js_all root = { 0 };
    LMF_TRY(measure(g->ctx, schema[0], 0, n_values));
    lmf_arena_init(&c.arena, g->ctx, 16 << 20);
    lmf_status s = lmf__js_all(&c, schema, n, &root);
    c.comma = lmf__js_mark(g, ","), c.colon = lmf__js_mark(g, ":");
    s = s ? s : lmf__js_rule(&c, root, out);
    s = s ? s : make_rules(&c);
    lmf_arena_clear(&c.arena);
    return s;
}

gr_ex lmf__js_mark(lmf_grammar *g, const char *mark)
{
    gr_ex space = g->opts.space == LMF_JSON_SPACE_NONE ? GR_EMPTY : lmf__gr_str(&g->s, " ");
    space = g->opts.space == LMF_JSON_SPACE_OPTIONAL ? lmf__gr_opt(&g->s, space) : space;
    return SEQ(&g->s, lmf__gr_str(&g->s, mark), space);
}

lmf_status lmf__js_done(lmf_grammar **g, lmf_status status, uint32_t first_node, uint32_t first_rule, gr_ex start)
{
    status = status ? status : lmf__gr_finish_rules(&(*g)->s, first_node, first_rule, rule_name, NULL);
    if (!status || (*g)->s.status)
        status = lmf__gr_grammar_done(*g, start, "the schema");
    if (status) {
        lmf_grammar_destroy(*g);
        *g = NULL;
    }
    return status;
}

lmf_status lmf_grammar_compile_json_schema(lmf_ctx *ctx, const lmf_grammar_vocab *v, const json_t *schema, const lmf_grammar_opts *opts,
                                           lmf_grammar **out)
{
    size_t n = 0;
    gr_ex start = GR_NONE;
    LMF_TRY(lmf__gr_grammar_new(ctx, v, opts, out));
    uint32_t first_node = (*out)->s.n_node, first_rule = (*out)->s.n_rule;
    lmf_status s = lmf__js_schema(*out, &schema, 1, &n, &start);
    return lmf__js_done(out, s, first_node, first_rule, start);
}
