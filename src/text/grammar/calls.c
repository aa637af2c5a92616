/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of tools as expressions. Rule: each tool's schema is a root of its own, so that $ref looks into it. */
#include "text/grammar/schema.h"
#include <string.h>

#define SEQ lmf__gr_seq

/* "key": and what follows. */
static gr_ex member(lmf_grammar *g, const char *key, gr_ex value)
{
    gr_store *s = &g->s;
    lmf_buf text;
    lmf_buf_init(&text, g->ctx, LMF_GRAMMAR_MAX_BYTES);
    lmf_buf_putc(&text, '"');
    lmf__js_quote(NULL, key, strlen(key), &text);
    lmf_buf_putc(&text, '"');
    gr_ex name = text.status ? lmf__gr_fail(s, text.status) : lmf__gr_lit(s, lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    return SEQ(s, name, SEQ(s, lmf__js_mark(g, ":"), value));
}

static lmf_status call(lmf_grammar *g, const lmf_grammar_calls *calls, const lmf_grammar_tool *t, const json_t *object, size_t *n_values,
                       gr_ex *out)
{
    const json_t *schema[2] = { t->schema, object };
    gr_ex arguments = lmf__gr_str(&g->s, "{}"), name = GR_NONE;
    json_t *text = json_string(t->name), *only = json_pack("{s:o?}", "const", text);
    lmf_status s = only ? LMF_OK : LMF_NO_MEMORY(g->ctx, 64, "a tool's name");
    if (!s && t->schema)
        s = lmf__js_schema(g, schema, 2, n_values, &arguments);
    if (s)
        s = lmf_fail_prefix(g->ctx, s, "the tool %.60s", t->name);
    if (!s)
        s = lmf__js_schema(g, (const json_t *const[]){ only }, 1, n_values, &name);
    json_decref(only);
    gr_ex both = SEQ(&g->s, member(g, "name", name), SEQ(&g->s, lmf__js_mark(g, ","), member(g, calls->arguments, arguments)));
    *out = SEQ(&g->s, lmf__gr_str(&g->s, "{"), SEQ(&g->s, both, lmf__gr_str(&g->s, "}")));
    return s;
}

static lmf_status make(lmf_grammar *g, const lmf_grammar_calls *calls, const json_t *object, gr_ex *start)
{
    gr_store *s = &g->s;
    gr_ex any = GR_NONE, one, other;
    size_t n_values = 0;
    for (size_t i = 0; i < calls->n_tools; i++) {
        LMF_TRY(call(g, calls, &calls->tool[i], object, &n_values, &one));
        any = lmf__gr_or(s, any, one);
    }
    gr_ex more = lmf__gr_rep(s, SEQ(s, lmf__gr_str(s, calls->between), any), 0, (uint32_t)calls->max_calls - 1);
    *start = SEQ(s, lmf__gr_str(s, calls->open), SEQ(s, any, SEQ(s, more, lmf__gr_str(s, calls->close))));
    if (calls->otherwise) {
        LMF_TRY(lmf__js_schema(g, &calls->otherwise, 1, &n_values, &other));
        *start = lmf__gr_or(s, *start, other);
    }
    return LMF_OK;
}

lmf_status lmf_grammar_compile_calls(lmf_ctx *ctx, const lmf_grammar_vocab *v, const lmf_grammar_calls *calls, const lmf_grammar_opts *opts,
                                     lmf_grammar **out)
{
    gr_ex start = GR_NONE;
    json_t *object = json_pack("{s:s}", "type", "object");
    *out = NULL;
    lmf_status s = object ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a schema");
    if (!s && (calls->n_tools < 1 || calls->max_calls < 1))
        s = LMF_FAIL(ctx, LMF_E_ARG, "calls of %zu tools, at most %d; one at least of each is needed", calls->n_tools, calls->max_calls);
    if (!s)
        s = lmf__gr_grammar_new(ctx, v, opts, out);
    if (!s) {
        uint32_t first_node = (*out)->s.n_node, first_rule = (*out)->s.n_rule;
        s = make(*out, calls, object, &start);
        s = lmf__js_done(out, s, first_node, first_rule, start);
    }
    json_decref(object);
    return s;
}
