/* SPDX-License-Identifier: Apache-2.0 */
/* constraint: an answer that fits a schema, an expression, a grammar or one of several texts.
 * Rule: the matcher has seen just the tokens of the answer so far; the mask's maker, on the engine's thread, catches up before each mask.
 * The user's thread touches it only before the answer begins and behind its finish. */
#include <string.h>
#include "api/api.h"

lmf_status lmf__api_constraint_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits)
{
    lmf_api_constraint *c = grammar;
    (void)user;
    for (; c->n_prompt + c->n_seen < n_tok; c->n_seen++)
        LMF_TRY(lmf_matcher_accept(c->matcher, tok[c->n_prompt + c->n_seen]));
    return lmf_matcher_mask(c->matcher, c->n_most - c->n_seen, bits);
}

void lmf__api_constraint_close(lmf_api_constraint *c)
{
    lmf_matcher_close(c->matcher);
    lmf_grammar_destroy(c->grammar);
    *c = (lmf_api_constraint){ 0 };
}

/* Made once a model: what each token is in bytes. */
static lmf_status vocab_of(lmfast_model *model, const lmf_grammar_vocab **out)
{
    const lmf_tokenizer *t = model->m->tokenizer;
    lmf_status s = LMF_OK;
    pthread_mutex_lock(&model->lock);
    if (!model->vocab) {
        lmf_ids end;
        lmf_ids_init(&end, model->c->ctx, lmf_tokenizer_n_tokens(t));
        for (int i = 0; !s && i < model->m->chat.n_eos; i++)
            s = lmf_ids_append(&end, &model->m->chat.eos[i], 1);
        s = s ? s : lmf_grammar_vocab_create(model->c->ctx, t, end.n ? end.data : NULL, end.n, &model->vocab);
        lmf_ids_clear(&end);
    }
    *out = model->vocab;
    pthread_mutex_unlock(&model->lock);
    return s;
}

static lmf_status compile(lmf_ctx *ctx, const lmf_grammar_vocab *v, const lmfast_gen_opts *o, lmf_grammar **out)
{
    json_error_t e;
    if (o->choices) {
        for (int i = 0; i < o->n_choices; i++)
            if (!o->choices[i])
                return LMF_FAIL(ctx, LMF_E_ARG, "choice %d is NULL", i);
        return o->n_choices > 0 ? lmf_grammar_compile_choices(ctx, v, o->choices, (size_t)o->n_choices, NULL, out)
                                : LMF_FAIL(ctx, LMF_E_ARG, "n_choices is %d: there is nothing to choose from", (int)o->n_choices);
    }
    if (o->regex)
        return lmf_grammar_compile_regex(ctx, v, o->regex, strlen(o->regex), NULL, out);
    if (o->grammar)
        return lmf_grammar_compile_gbnf(ctx, v, o->grammar, strlen(o->grammar), NULL, out);
    if (strnlen(o->json_schema, LMF_GRAMMAR_MAX_BYTES + 1) > LMF_GRAMMAR_MAX_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "json_schema has more than %d bytes", LMF_GRAMMAR_MAX_BYTES);
    json_t *schema = json_loads(o->json_schema, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    if (!schema)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "json_schema is no JSON: %s (line %d, column %d)", e.text, e.line, e.column);
    lmf_status s = lmf_grammar_compile_json_schema(ctx, v, schema, NULL, out);
    json_decref(schema);
    return s;
}

lmf_status lmf__api_constraint_open(lmfast_session *s, const lmfast_gen_opts *o, lmf_gen_opts *gen)
{
    const lmf_grammar_vocab *v;
    lmf_api_constraint *c = &s->constraint;
    lmf_ctx *ctx = s->engine->model->c->ctx;
    int n = (o->json_schema != NULL) + (o->regex != NULL) + (o->grammar != NULL) + (o->choices != NULL), least;
    if (n > 1)
        return LMF_FAIL(ctx, LMF_E_ARG, "give one of json_schema, regex, grammar and choices");
    if (n == 0)
        return LMF_OK;
    if (!s->engine->model->m->tokenizer)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", s->engine->model->m->path);
    LMF_TRY(vocab_of(s->engine->model, &v));
    LMF_TRY(compile(ctx, v, o, &c->grammar));
    LMF_TRY(lmf_matcher_open(c->grammar, &c->matcher));
    LMF_TRY(lmf_matcher_shortest(c->matcher, &least, NULL));
    c->n_prompt = lmf_session_n_tok(s->s), c->n_seen = 0;
    int32_t room = s->engine->context - c->n_prompt;
    c->n_most = o->max_tok < room ? o->max_tok : room;
    if (least > c->n_most)
        return LMF_FAIL(ctx, LMF_E_ARG, "the shortest answer that fits has %d tokens, and there is room for %d; raise max_tok or context",
                        least,
                        c->n_most < 0 ? 0 : c->n_most);
    gen->grammar = c;
    return LMF_OK;
}
