/* SPDX-License-Identifier: Apache-2.0 */
/* Texts as vectors: the mean of the model's hidden states behind its last norm, of length 1. As OpenAI's clients ask, and as Ollama's. */
#include <math.h>
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/ollama.h"
#include "serve/prompt.h"
#include "serve/translate.h"

typedef struct own { int64_t dimensions; bool base64; } own;

/* ---- answers ---- */

/* The first n members of a part's vector, of length 1; a zero vector stays one. */
static void to_unit(const lmf_part *p, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)p->vector[i] * (double)p->vector[i];
    for (size_t i = 0; i < n && sum > 0; i++)
        p->vector[i] = (float)((double)p->vector[i] / sqrt(sum));
}

static json_t *numbers(const lmf_part *p, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)p->vector[i]));
    return list;
}

/* Little-endian f32 in base64. */
static json_t *base64(lmf_ctx *ctx, const lmf_part *p, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    lmf_buf text;
    lmf_buf_init(&text, ctx, 16 * n + 16);
    size_t n_bytes = 4 * n;
    for (size_t i = 0; i < n_bytes; i += 3) {
        uint32_t group = 0, left = n_bytes - i < 3 ? (uint32_t)(n_bytes - i) : 3;
        for (size_t k = 0; k < left; k++) {
            uint32_t bits;
            memcpy(&bits, &p->vector[(i + k) / 4], sizeof bits);
            group |= (bits >> 8 * ((i + k) % 4) & 0xff) << (16 - 8 * k);
        }
        for (uint32_t k = 0; k < 4; k++)
            lmf_buf_putc(&text, k <= left ? digit[group >> (18 - 6 * k) & 63] : '=');
    }
    json_t *j = text.status ? NULL : json_stringn(lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    return j;
}

static size_t n_dimensions(const lmf_generation *g)
{
    const own *o = g->own;
    return o->dimensions ? (size_t)o->dimensions : (size_t)lmf_model_config(g->server->model)->width;
}

static json_t *reply(lmf_generation *g)
{
    const own *o = g->own;
    json_t *data = json_array();
    size_t n = n_dimensions(g);
    lmf_usage u = lmf__generation_usage(g);
    for (int32_t i = 0; i < g->n_parts; i++) {
        to_unit(&g->part[i], n);
        json_array_append_new(data, json_pack("{s:s, s:i, s:o}", "object", "embedding", "index", i, "embedding",
                                              o->base64 ? base64(g->server->ctx, &g->part[i], n) : numbers(&g->part[i], n)));
    }
    return json_pack("{s:s, s:o, s:s, s:{s:I, s:I}}", "object", "list", "data", data, "model", g->r.model, "usage", "prompt_tokens",
                     (json_int_t)u.prompt, "total_tokens", (json_int_t)u.prompt);
}

static json_t *ollama_reply(lmf_generation *g)
{
    json_t *list = json_array();
    size_t n = n_dimensions(g);
    for (int32_t i = 0; i < g->n_parts; i++) {
        to_unit(&g->part[i], n);
        json_array_append_new(list, numbers(&g->part[i], n));
    }
    return json_pack("{s:s, s:o, s:I, s:i, s:I}", "model", g->r.model, "embeddings", list, "total_duration",
                     (json_int_t)(lmf__now_us() - g->begun_us) * 1000, "load_duration", 0, "prompt_eval_count",
                     (json_int_t)lmf__generation_usage(g).prompt);
}

static json_t *ollama_single(lmf_generation *g)
{
    to_unit(&g->part[0], n_dimensions(g));
    return json_pack("{s:o}", "embedding", numbers(&g->part[0], n_dimensions(g)));
}

static void clear(lmf_generation *g)
{
    if (g->own)
        lmf_delete(g->server->ctx, (own *)g->own);
}

static const lmf_shape shape = { .id_prefix = "embd-", .embeds = true, .reply = reply, .clear = clear };
static const lmf_shape ollama_shape = { .id_prefix = "", .embeds = true, .reply = ollama_reply, .clear = clear };
static const lmf_shape single_shape = { .id_prefix = "", .embeds = true, .reply = ollama_single, .clear = clear };

/* ---- questions ---- */

static bool add_one(lmf_generation *g, const json_t *input, bool truncates, lmf_fault *f)
{
    lmf_ids ids;
    lmf_ids_init(&ids, g->server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = json_is_string(input) ? lmf__prompt_text(g->x, input, true, &ids, NULL, f)
                                      : lmf__prompt_ids(g->x, input, "input", &ids, f);
    size_t most = (size_t)g->server->engine_info.context - 1, n = truncates && ids.n > most ? most : ids.n;
    if (good && n == 0)
        good = lmf__refuse(f, 400, "input", NULL, "input holds an empty text, which has no tokens");
    good = good && lmf__generation_add_prompt(g, ids.data, n, f);
    lmf_ids_clear(&ids);
    return good;
}

static bool add_all(lmf_generation *g, const json_t *v, const char *name, bool ids, bool truncates, lmf_fault *f)
{
    if (json_is_string(v) || (ids && json_is_number(json_array_get(v, 0))))
        return add_one(g, v, truncates, f);
    bool good = json_is_array(v) && json_array_size(v);
    for (size_t i = 0; good && i < json_array_size(v); i++) {
        const json_t *one = json_array_get(v, i);
        if (!json_is_string(one) && !(ids && json_is_array(one)))
            return lmf__refuse(f, 400, name, NULL, "%s[%zu] must be a text%s", name, i, ids ? " or a list of token ids" : "");
        if (!add_one(g, one, truncates, f))
            return false;
    }
    return good || lmf__refuse(f, 400, name, NULL, "%s must be a text or a list of them, and not empty", name);
}

/* What an endpoint of vectors reads: {"model"} in the one form, and how they are wanted. Takes named. */
static lmf_generation *begin(lmf_exchange *x, const lmf_shape *of, const json_t *body, json_t *named, lmf_fault *f)
{
    lmf_generation *g = lmf__generation_create(x, of, named, f);
    int64_t n = 0;
    const json_t *dimensions = json_object_get(body, "dimensions");
    if (!g)
        return NULL;
    own *o = g->own = lmf_new(x->server->ctx, own);
    if (o && dimensions && !json_is_null(dimensions) &&
        !lmf__param_int(dimensions, "dimensions", 1, lmf_model_config(x->server->model)->width, &n, f)) {
        lmf__generation_destroy(g);
        return NULL;
    }
    if (!o) {
        lmf__generation_destroy(g);
        lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
        return NULL;
    }
    *o = (own){ .dimensions = n };
    return g;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    json_t *body = lmf__body_parse(x, &f), *named = body ? json_object() : NULL;
    const json_t *format = json_object_get(body, "encoding_format");
    const char *word = format && !json_is_null(format) ? json_string_value(format) : "float";
    lmf_generation *g = NULL;
    bool good = body && (lmf__carry(body, "model", named, "model", &f));
    if (good && (!word || (strcmp(word, "float") && strcmp(word, "base64"))))
        good = lmf__refuse(&f, 400, "encoding_format", NULL, "encoding_format must be float or base64");
    if (good)
        g = begin(x, &shape, body, json_incref(named), &f);
    if (g)
        ((own *)g->own)->base64 = strcmp(word, "base64") == 0;
    if (!g || !add_all(g, json_object_get(body, "input"), "input", true, false, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(x, g, &f);
    json_decref(named);
    json_decref(body);
}

static void run_ollama(lmf_exchange *x, const lmf_shape *of, const char *name)
{
    static const lmf_param table[] = { { "truncate", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    lmf_fault f;
    bool truncates = true, unload;
    json_t *body = lmf__body_parse(x, &f), *named = body ? json_object() : NULL;
    lmf_generation *g = NULL;
    if (body && lmf__ollama_model(x->server, body, named, &f) && lmf__ollama_keep_alive(body, &unload, &f) &&
        lmf__params_read(body, table, &truncates, &f))
        g = begin(x, of, body, json_incref(named), &f);
    const json_t *input = json_object_get(body, name);
    bool single = of == &single_shape;
    if (g && single && !json_is_string(input)) {
        lmf__refuse(&f, 400, name, NULL, "%s must be a text", name);
        lmf__generation_refuse(x, g, &f);
    } else if (!g || !add_all(g, input, name, false, truncates, &f) || !lmf__generation_start(g, &f)) {
        lmf__generation_refuse(x, g, &f);
    }
    json_decref(named);
    json_decref(body);
}

static void run_embed(lmf_exchange *x) { run_ollama(x, &ollama_shape, "input"); }
static void run_single(lmf_exchange *x) { run_ollama(x, &single_shape, "prompt"); }

#define INPUT \
    "\"input\":{\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\",\"minItems\":1,\"maxItems\":2048,\"items\":{" \
    "\"type\":\"string\",\"minLength\":1}}]},\"dimensions\":{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1},{\"type\":\"null\"}]},"

const lmf_endpoint lmf_endpoint_embeddings = { "POST", "/v1/embeddings", run, "Texts as vectors of length 1",
    .required = "input", .members = INPUT "\"model\":{\"type\":[\"string\",\"null\"]},\"encoding_format\":{\"enum\":[\"float\",\"base64\","
                                    "null]}" };
const lmf_endpoint lmf_endpoint_ollama_embed = { "POST", "/api/embed", run_embed, "Texts as vectors, as Ollama's clients ask",
    .required = "model input", .fault = lmf__ollama_fault,
    .members = INPUT "\"model\":{\"type\":\"string\"},\"truncate\":{\"type\":[\"boolean\",\"null\"]}" };
const lmf_endpoint lmf_endpoint_ollama_embeddings = { "POST", "/api/embeddings", run_single, "One text as a vector, as older clients ask",
    .required = "model prompt", .fault = lmf__ollama_fault,
    .members = "\"model\":{\"type\":\"string\"},\"prompt\":{\"type\":\"string\",\"minLength\":1}" };
