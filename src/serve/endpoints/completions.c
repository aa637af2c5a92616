/* SPDX-License-Identifier: Apache-2.0 */
/* Plain text that goes on. Prompts: a text, a list of token ids, or a list of either. */
#include <string.h>
#include "format/json.h"
#include "serve/choices.h"
#include "serve/params.h"
#include "serve/prompt.h"

enum { DEFAULT_MAX_TOK = 16 };

/* The older form: parallel lists. */
static json_t *logprobs_form(lmf_candidate *c, const json_t *tokens)
{
    json_t *text = json_array(), *logp = json_array(), *tops = json_array(), *offset = json_array();
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
        bool known = json_is_number(json_object_get(t, "logprob")); /* not of a prompt's first token */
        if (!known)
            json_decref(top);
        json_array_append_new(tops, known ? top : json_null());
        json_array_append_new(offset, json_integer((json_int_t)c->n_told));
        for (const char *p = json_string_value(token); p && *p; p++)
            c->n_told += (*p & 0xc0) != 0x80;
    }
    json_t *j = json_pack("{s:o, s:o, s:o?, s:o}", "tokens", text, "token_logprobs", logp, "top_logprobs",
        c->g->r.n_top > 0 ? json_incref(tops) : NULL, "text_offset",
                          offset);
    json_decref(tops);
    return j;
}

static json_t *spell(lmf_candidate *c, const char *text, size_t n, const json_t *logprobs, const char *finish)
{
    return json_pack("{s:i, s:o, s:o?, s:s?}", "index", c->index, "text", lmf_json_stringn(text ? text : "", n), "logprobs",
                     logprobs ? logprobs_form(c, logprobs) : NULL, "finish_reason", finish);
}

#define OBJECT "text_completion"

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    lmf__choices_send(c->g, OBJECT, spell(c, text, n, logprobs, NULL));
    json_decref(logprobs);
}

static void finish(lmf_candidate *c, json_t *logprobs)
{
    lmf__choices_send(c->g, OBJECT, spell(c, NULL, 0, logprobs, c->finish));
    json_decref(logprobs);
}

static void end(lmf_generation *g) { lmf__choices_send_usage(g, OBJECT); }

static json_t *whole(lmf_candidate *c)
{
    size_t n;
    const char *text = lmf__candidate_text(c, &n);
    return spell(c, text, n, c->tokens, c->finish);
}

static json_t *reply(lmf_generation *g) { return lmf__choices_reply(g, OBJECT, whole); }

static const lmf_shape shape = { .id_prefix = "cmpl-", .reply = reply, .piece = piece, .finish = finish, .end = end, .done_mark = true };

static const lmf_param own[] = { { "logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP },
                                 { "echo", LMF_PARAM_BOOL, offsetof(lmf_request, echo), 0, 0 }, { 0 } };

static bool read_own(lmf_generation *g, lmf_fault *f)
{
    const json_t *logprobs = json_object_get(g->body, "logprobs");
    if (!lmf__params_read(g->body, own, &g->r, f))
        return false;
    g->r.logprobs = logprobs && !json_is_null(logprobs);
    g->r.max_tok = g->r.max_tok < 0 ? DEFAULT_MAX_TOK : g->r.max_tok;
    return true;
}

/* A text, or a list of ids. */
static bool add_one(lmf_generation *g, const json_t *prompt, lmf_fault *f)
{
    lmf_ids ids;
    bool bos_added = false;
    lmf_ids_init(&ids, g->server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = (json_is_string(prompt) ? lmf__prompt_text(g->x, prompt, true, &ids, &bos_added, f)
                                        : lmf__prompt_ids(g->x, prompt, "prompt", &ids, f)) &&
                lmf__generation_add_prompt(g, ids.data, ids.n, f);
    if (good)
        g->part[g->n_parts - 1].bos_added = bos_added;
    lmf_ids_clear(&ids);
    return good;
}

static bool add_prompts(lmf_generation *g, lmf_fault *f)
{
    const json_t *p = json_object_get(g->body, "prompt");
    if (json_is_string(p))
        return add_one(g, p, f);
    if (!json_is_array(p) || json_array_size(p) == 0)
        return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text, a list of token ids, or a list of either, and not empty");
    if (json_is_number(json_array_get(p, 0)))
        return add_one(g, p, f);
    for (size_t i = 0; i < json_array_size(p); i++) {
        const json_t *one = json_array_get(p, i);
        if (!json_is_string(one) && !json_is_array(one))
            return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text, a list of token ids, or a list of either, and not empty");
        if (!add_one(g, one, f))
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

static const lmf_param *const params[] = { lmf__request_params, own, NULL };

#define PROMPT_MEMBER \
    "\"prompt\":{\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\",\"minItems\":1,\"maxItems\":64,\"items\":{" \
    "\"type\":\"string\",\"minLength\":1}},{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"integer\",\"minimum\":0}}]}"

const lmf_endpoint lmf_endpoint_completions = { "POST", "/v1/completions", run, "How a text goes on", .params = params,
    .required = "prompt", .members = LMF_REQUEST_MEMBERS "," PROMPT_MEMBER };
