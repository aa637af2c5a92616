/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/request.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ops/sample/sample.h"
#include "serve/params.h"

lmf_status lmf__rule_mask(void *user, void *rule, const int32_t *tok, int n_tok, uint32_t *bits)
{
    const lmf_rule *r = rule;
    (void)user;
    if (r->mask)
        LMF_TRY(r->mask(r->state, tok, n_tok, bits));
    else if (!r->only->n)
        memset(bits, 0xFF, (size_t)(r->vocab + 31) / 32 * sizeof *bits);
    for (size_t i = 0; i < r->only->n && !r->mask; i++)
        bits[r->only->data[i] / 32] |= UINT32_C(1) << r->only->data[i] % 32;
    for (size_t i = 0; i < r->banned->n; i++)
        bits[r->banned->data[i] / 32] &= ~(UINT32_C(1) << r->banned->data[i] % 32);
    return LMF_OK;
}

int32_t lmf__rule_force(void *user, void *rule, const int32_t *tok, int n_tok, int32_t *out, int cap)
{
    const lmf_rule *r = rule;
    (void)user;
    return r->force ? r->force(r->state, tok, n_tok, out, cap) : 0;
}

void lmf__request_init(lmf_request *r, lmf_ctx *ctx)
{
    *r = (lmf_request){ .adapter = -1, .temperature = 1, .top_p = 1, .repetition_penalty = 1, .n = 1, .max_tok = -1 };
    lmf_ids_init(&r->only, ctx, LMF_REQUEST_MAX_BIAS);
    lmf_ids_init(&r->banned, ctx, LMF_REQUEST_MAX_BIAS);
}

void lmf__request_clear(lmf_request *r)
{
    json_decref(r->any_object);
    json_decref(r->wish.tools);
    lmf_ids_clear(&r->only);
    lmf_ids_clear(&r->banned);
}

static bool read_model(lmf_request *r, const lmf_server *s, const json_t *body, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "model");
    r->model = s->o.model_name;
    if (!v || json_is_null(v))
        return true;
    if (!json_is_string(v))
        return lmf__refuse(f, 400, "model", NULL, "model must be a text");
    const char *name = json_string_value(v);
    r->adapter = lmf__served_find(&s->adapters, name, strlen(name));
    if (r->adapter >= 0)
        r->model = s->adapters.of[r->adapter].name;
    return r->adapter >= 0 || strcmp(name, s->o.model_name) == 0 || lmf__refuse(f, 404, "model", "model_not_found",
        "the model \"%.100s\" is not served here; GET /v1/models lists "
                                                             "those that are", name);
}

static bool read_stop(lmf_request *r, const json_t *body, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "stop");
    size_t n = json_is_string(v) ? 1 : json_array_size(v);
    if (!v || json_is_null(v))
        return true;
    if ((!json_is_string(v) && !json_is_array(v)) || n > LMF_REQUEST_MAX_STOPS)
        return lmf__refuse(f, 400, "stop", NULL, "stop must be a text, or a list of at most %d texts", LMF_REQUEST_MAX_STOPS);
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_is_string(v) ? v : json_array_get(v, i);
        size_t bytes = json_string_length(text);
        if (!json_is_string(text) || bytes == 0 || bytes > LMF_REQUEST_STOP_BYTES || strlen(json_string_value(text)) != bytes)
            return lmf__refuse(f, 400, "stop", NULL, "a stop text has 1 to %d bytes, and no NUL", LMF_REQUEST_STOP_BYTES);
        r->stop[r->n_stops++] = json_string_value(text);
    }
    return true;
}

static bool read_bias(lmf_request *r, const lmf_server *s, const json_t *body, lmf_fault *f)
{
    json_t *v = json_object_get(body, "logit_bias"), *item;
    const char *key;
    if (!v || json_is_null(v))
        return true;
    if (!json_is_object(v) || json_object_size(v) > LMF_REQUEST_MAX_BIAS)
        return lmf__refuse(f, 400, "logit_bias", NULL, "logit_bias must be an object of at most %d token ids with a number each",
            LMF_REQUEST_MAX_BIAS);
    json_object_foreach(v, key, item) {
        char *end;
        double size;
        errno = 0;
        long long id = strtoll(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || errno || id >= s->engine_info.vocab)
            return lmf__refuse(f, 400, "logit_bias", NULL, "logit_bias: \"%.40s\" is no token id from 0 to %d", key,
                s->engine_info.vocab - 1);
        if (!lmf__param_number(item, "logit_bias", -100, 100, &size, f))
            return false;
        for (int32_t i = 0; i < r->n_bias; i++)
            if (r->bias_token[i] == id)
                return lmf__refuse(f, 400, "logit_bias", NULL, "logit_bias gives token %lld twice", id);
        if (size != 0)
            r->bias_token[r->n_bias] = (int32_t)id, r->bias[r->n_bias++] = (float)size;
    }
    return true;
}

bool lmf__request_refuse(const json_t *body, const char *const *names, lmf_fault *f)
{
    for (const char *const *name = names; *name; name++) {
        const json_t *v = json_object_get(body, *name);
        bool nothing = !v || json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) ||
                       (json_is_string(v) && json_string_length(v) == 0) || (json_is_array(v) && json_array_size(v) == 0);
        if (!nothing)
            return lmf__refuse(f, 400, *name, NULL, "%s is not supported by this server", *name);
    }
    return true;
}

static bool refuse_unfollowed(const json_t *body, lmf_fault *f)
{
    static const char *const names[] = { "functions", "function_call", "min_tokens", "audio", "prediction", "web_search_options", "suffix",
                                         "prompt_logprobs", "logits_processors", "bad_words", "length_penalty", "use_beam_search", NULL };
    return lmf__request_refuse(body, names, f);
}

/* One way of asking for a form; a second one is refused. */
static bool take_wish(lmf_wish *w, lmf_wish_kind kind, const json_t *value, const char *param, lmf_fault *f)
{
    static const char *const forms[] = { [LMF_WISH_SCHEMA] = "a JSON schema", [LMF_WISH_REGEX] = "a text", [LMF_WISH_GRAMMAR] = "a text",
                                         [LMF_WISH_CHOICE] = "a list of texts" };
    bool right = json_is_string(value);
    if (kind == LMF_WISH_SCHEMA)
        right = json_is_object(value) || json_is_boolean(value);
    else if (kind == LMF_WISH_CHOICE)
        right = json_is_array(value);
    if (!right)
        return lmf__refuse(f, 400, param, NULL, "%s must be %s", param, forms[kind]);
    if (w->kind)
        return lmf__refuse(f, 400, param, NULL, "%s and %s each ask for a form of the answer; give one of them", w->param, param);
    w->kind = kind, w->value = value;
    snprintf(w->param, sizeof w->param, "%s", param);
    return true;
}

/* Names of other servers for the same. */
static bool read_guided(lmf_request *r, const json_t *body, lmf_fault *f)
{
    static const struct { const char *name, *inner; lmf_wish_kind kind; } table[] = {
        { "guided_json", "json", LMF_WISH_SCHEMA }, { "guided_regex", "regex", LMF_WISH_REGEX }, { "guided_choice", "choice",
            LMF_WISH_CHOICE },
        { "guided_grammar", "grammar", LMF_WISH_GRAMMAR }, { "json_schema", NULL, LMF_WISH_SCHEMA }, { "grammar", NULL,
            LMF_WISH_GRAMMAR } };
    const json_t *more = json_object_get(body, "structured_outputs");
    if (more && !json_is_null(more) && !json_is_object(more))
        return lmf__refuse(f, 400, "structured_outputs", NULL, "structured_outputs must be an object with json, regex, choice or grammar");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const json_t *v = json_object_get(body, table[i].name), *inner = table[i].inner ? json_object_get(more, table[i].inner) : NULL;
        char param[64];
        snprintf(param, sizeof param, "structured_outputs.%s", table[i].inner ? table[i].inner : "");
        if (v && !json_is_null(v) && !take_wish(&r->wish, table[i].kind, v, table[i].name, f))
            return false;
        if (inner && !json_is_null(inner) && !take_wish(&r->wish, table[i].kind, inner, param, f))
            return false;
    }
    return true;
}

static bool read_format(lmf_request *r, const json_t *body, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "response_format");
    const char *type = json_string_value(json_object_get(v, "type"));
    if (v && !json_is_null(v)) {
        if (!type)
            return lmf__refuse(f, 400, "response_format", NULL, "response_format must be an object with a type");
        if (strcmp(type, "json_object") == 0) {
            if (!(r->any_object = json_pack("{s:s}", "type", "object")))
                return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
            if (!take_wish(&r->wish, LMF_WISH_SCHEMA, r->any_object, "response_format", f))
                return false;
        } else if (strcmp(type, "json_schema") == 0) {
            const json_t *schema = json_object_get(json_object_get(v, "json_schema"), "schema");
            if (!schema)
                return lmf__refuse(f, 400, "response_format", NULL,
                    "response_format of the type json_schema has its schema at json_schema.schema");
            if (!take_wish(&r->wish, LMF_WISH_SCHEMA, schema, "response_format", f))
                return false;
        } else if (strcmp(type, "text")) {
            return lmf__refuse(f, 400, "response_format", NULL,
                "response_format of the type \"%.40s\" is not supported by this server; text, "
                               "json_object and json_schema are", type);
        }
    }
    return read_guided(r, body, f);
}

static bool read_stream(lmf_request *r, const json_t *body, lmf_fault *f)
{
    static const lmf_param table[] = { { "include_usage", LMF_PARAM_BOOL, offsetof(lmf_request, include_usage), 0, 0 }, { 0 } };
    const json_t *v = json_object_get(body, "stream_options");
    if (!v || json_is_null(v))
        return true;
    if (!json_is_object(v))
        return lmf__refuse(f, 400, "stream_options", NULL, "stream_options must be an object");
    if (!r->stream)
        return lmf__refuse(f, 400, "stream_options", NULL, "stream_options goes with stream: true");
    return lmf__params_read(v, table, r, f);
}

#define AT(kind, member) LMF_PARAM_##kind, offsetof(lmf_request, member)
const lmf_param lmf__request_params[] = {
    { "temperature", AT(NUMBER, temperature), 0, 2 }, { "top_p", AT(NUMBER, top_p), 0, 1 }, { "min_p", AT(NUMBER, min_p), 0, 1 },
    { "repetition_penalty", AT(NUMBER, repetition_penalty), 0.01, 100 }, { "presence_penalty", AT(NUMBER, presence_penalty), -2, 2 },
    { "frequency_penalty", AT(NUMBER, frequency_penalty), -2, 2 }, { "top_k", AT(INT, top_k), -1, INT32_MAX },
    { "n", AT(INT, n), 1, LMF_REQUEST_MAX_N }, { "best_of", AT(INT, best_of), 1, LMF_REQUEST_MAX_N },
    { "seed", AT(INT, seed), -9.2e18, 9.2e18 },
    { "max_tokens", AT(INT, max_tok), 0, INT32_MAX }, { "max_completion_tokens", AT(INT, max_tok), 0, INT32_MAX },
    { "stream", AT(BOOL, stream), 0, 0 }, { "ignore_eos", AT(BOOL, ignore_eos), 0, 0 }, { 0 } };
#undef AT

bool lmf__request_read(lmf_request *r, const lmf_server *s, const json_t *body, lmf_fault *f)
{
    const json_t *seed = json_object_get(body, "seed");
    if (!read_model(r, s, body, f) || !lmf__params_read(body, lmf__request_params, r, f) || !read_stream(r, body, f) || !read_stop(r, body,
        f) ||
        !read_bias(r, s, body, f) || !read_format(r, body, f) || !refuse_unfollowed(body, f))
        return false;
    if (r->best_of && r->best_of != r->n)
        return lmf__refuse(f, 400, "best_of", NULL, "best_of is %lld; it must equal n, %lld", (long long)r->best_of, (long long)r->n);
    if (r->ignore_eos && lmf__wish_is_any(&r->wish))
        return lmf__refuse(f, 400, "ignore_eos", NULL, "ignore_eos does not go with %s: an answer of that form has an end", r->wish.param);
    r->has_seed = seed && !json_is_null(seed);
    return true;
}

bool lmf__request_finish(lmf_request *r, lmf_fault *f)
{
    int32_t n = 0;
    bool free = !lmf__wish_is_any(&r->wish); /* a form goes before a ban; there -100 is much, and not all */
    for (int32_t i = 0; i < r->n_bias; i++) {
        lmf_ids *to = r->bias[i] >= 100 ? &r->only : &r->banned;
        if (!free || fabsf(r->bias[i]) < 100)
            r->bias_token[n] = r->bias_token[i], r->bias[n++] = r->bias[i];
        else if (lmf_ids_append(to, &r->bias_token[i], 1))
            return lmf__refuse(f, 503, "logit_bias", NULL, "there is no memory for the request");
    }
    r->n_bias = n;
    if (r->max_tok == 0 && (!r->echo || !free))
        return lmf__refuse(f, 400, "max_tokens", NULL, "max_tokens must be 1 or more; 0 goes with echo in /v1/completions, without a form");
    if (n > LMF_GEN_MAX_BIAS)
        return lmf__refuse(f, 400, "logit_bias", NULL, "logit_bias changes %d tokens; at most %d beside those that are banned (-100) "
            "or the "
                           "only ones (100)", n, LMF_GEN_MAX_BIAS);
    return true;
}

lmf_gen_opts lmf__request_gen(const lmf_request *r, lmf_server *s)
{
    lmf_gen_opts g = lmf_gen_opts_default();
    g.max_tok = r->max_tok < 0 ? s->engine_info.context : (int32_t)r->max_tok;
    g.temperature = (float)r->temperature;
    g.top_k = r->top_k < 0 ? 0 : r->top_k < s->engine_info.vocab ? (int32_t)r->top_k : 0;
    g.top_p = r->top_p < 1e-6 ? 1e-6f : (float)r->top_p; /* 0 is the likeliest alone */
    g.min_p = (float)r->min_p;
    g.repetition_penalty = (float)r->repetition_penalty;
    g.presence_penalty = (float)r->presence_penalty, g.frequency_penalty = (float)r->frequency_penalty;
    g.seed = r->has_seed ? (uint64_t)r->seed : lmf__server_random(s);
    g.ignore_eos = r->ignore_eos;
    g.n_top = (int32_t)r->n_top;
    g.bias_token = r->bias_token, g.bias = r->bias, g.n_bias = r->n_bias;
    g.echo = r->echo && r->logprobs;
    return g;
}
