/* SPDX-License-Identifier: Apache-2.0 */
/* Plain text that goes on. Prompts: a text, a list of token ids, or a list of either. */
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/params.h"

enum { DEFAULT_MAX_TOK = 16, MAX_PROMPT_TOK = 1 << 20 };

/* The older form: parallel lists. */
static json_t *logprobs_form(const json_t *tokens, bool with_tops)
{
    json_t *text = json_array(), *logp = json_array(), *tops = json_array(), *offset = json_array();
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *t = json_array_get(tokens, i), *list = json_object_get(t, "top_logprobs");
        json_t *token = json_object_get(t, "token"), *top = json_object();
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *other = json_array_get(list, k);
            const char *key = json_string_value(json_object_get(other, "token"));
            if (key && !json_object_get(top, key))
                json_object_set(top, key, json_object_get(other, "logprob"));
        }
        if (json_string_value(token) && !json_object_get(top, json_string_value(token)))
            json_object_set(top, json_string_value(token), json_object_get(t, "logprob")); /* the one that was picked is always there */
        json_array_append(text, token);
        json_array_append(logp, json_object_get(t, "logprob"));
        json_array_append_new(tops, top);
        json_array_append_new(offset, json_integer((json_int_t)at));
        at += json_string_length(token);
    }
    json_t *j = json_pack("{s:o, s:o, s:o?, s:o}", "tokens", text, "token_logprobs", logp, "top_logprobs",
        with_tops ? json_incref(tops) : NULL, "text_offset",
                          offset);
    json_decref(tops);
    return j;
}

static json_t *spell(lmf_candidate *c, const char *text, size_t n, const json_t *logprobs, const char *finish)
{
    return json_pack("{s:i, s:o, s:o?, s:s?}", "index", c->index, "text", lmf_json_stringn(text ? text : "", n), "logprobs",
                     logprobs ? logprobs_form(logprobs, c->g->r.n_top > 0) : NULL, "finish_reason", finish);
}

static json_t *piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs, const char *finish)
{
    json_t *j = spell(c, text, n, logprobs, finish);
    json_decref(logprobs);
    return j;
}

static json_t *whole(lmf_candidate *c) { return spell(c, lmf_buf_str(&c->text), c->stream.n_out, c->tokens, c->finish); }

static const lmf_shape shape = { "cmpl-", "text_completion", "text_completion", piece, NULL, NULL, whole };

static bool read_own(lmf_generation *g, lmf_fault *f)
{
    static const lmf_param table[] = { { "logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP }, { 0 } };
    const json_t *logprobs = json_object_get(g->body, "logprobs"), *echo = json_object_get(g->body, "echo");
    if (!lmf__params_read(g->body, table, &g->r, f))
        return false;
    if (echo && !json_is_null(echo) && !json_is_boolean(echo))
        return lmf__refuse(f, 400, "echo", NULL, "echo must be true or false");
    if (json_is_true(echo))
        return lmf__refuse(f, 400, "echo", NULL, "echo is not supported by this server");
    g->r.logprobs = logprobs && !json_is_null(logprobs);
    g->r.max_tok = g->r.max_tok < 0 ? DEFAULT_MAX_TOK : g->r.max_tok;
    return true;
}

static bool add_ids(lmf_generation *g, const json_t *list, lmf_fault *f)
{
    lmf_ids ids;
    bool good = true;
    int64_t id = 0;
    lmf_ids_init(&ids, g->server->ctx, MAX_PROMPT_TOK);
    for (size_t i = 0; i < json_array_size(list) && good; i++) {
        good = lmf__param_int(json_array_get(list, i), "prompt", 0, g->server->engine_info.vocab - 1, &id, f);
        if (good && lmf_ids_append(&ids, &(int32_t){ (int32_t)id }, 1))
            good = lmf__refuse(f, 503, "prompt", NULL, "there is no memory for the prompt");
    }
    good = good && lmf__generation_add_prompt(g, ids.data, ids.n, f);
    lmf_ids_clear(&ids);
    return good;
}

static bool add_text(lmf_generation *g, const json_t *text, lmf_fault *f)
{
    lmf_server *s = g->server;
    lmf_ids ids;
    lmf_ids_init(&ids, s->ctx, MAX_PROMPT_TOK);
    lmf_status status = lmf_chat_encode_plain(&s->chat, json_string_value(text), json_string_length(text), LMF_ENCODE_DEFAULTS, &ids);
    bool good = status ? lmf__refuse_status(f, s->ctx, status, "prompt") : lmf__generation_add_prompt(g, ids.data, ids.n, f);
    lmf_ids_clear(&ids);
    return good;
}

static bool add_prompts(lmf_generation *g, lmf_fault *f)
{
    const json_t *p = json_object_get(g->body, "prompt");
    if (json_is_string(p))
        return add_text(g, p, f);
    if (!json_is_array(p) || json_array_size(p) == 0)
        return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text, a list of token ids, or a list of either, and not empty");
    if (json_is_number(json_array_get(p, 0)))
        return add_ids(g, p, f);
    for (size_t i = 0; i < json_array_size(p); i++) {
        const json_t *one = json_array_get(p, i);
        if (!json_is_string(one) && !json_is_array(one))
            return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text, a list of token ids, or a list of either, and not empty");
        if (!(json_is_string(one) ? add_text(g, one, f) : add_ids(g, one, f)))
            return false;
    }
    return true;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    json_t *body = lmf__body_parse(x, &f);
    lmf_generation *g = body ? lmf__generation_create(x, &shape, body, &f) : NULL;
    if (!g || !read_own(g, &f) || !add_prompts(g, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(x, g, &f);
}

const lmf_endpoint lmf_endpoint_completions = { "POST", "/v1/completions", run };
