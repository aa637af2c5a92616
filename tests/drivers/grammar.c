/* SPDX-License-Identifier: Apache-2.0 */
/* driver_grammar MODEL: grammars over a model's vocabulary. A line of JSON in, a line out:
 *   {"schema": S} | {"gbnf": "..."} | {"regex": "..."} | {"choices": [...]}, all with "space": 0 to 2   -> {"us": compile time} or
 * {"error"}
 *   {"walk": seed, "limit": tokens}   among allowed tokens, each as likely -> {"text", "n_tok", "ended"} or {"error"}
 *   {"accepts": "text"}               its own tokens, each looked for in the mask -> {"ok": true} or {"ok": false, "at": byte, "error"}
 *   {"shortest": true}                -> {"n_tok", "text"}
 *   {"forced": true}                  -> {"text"} from the start */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "models/model.h"
#include "registry/registry.h"
#include "text/grammar/grammar.h"

typedef struct driver {
    lmf_ctx *ctx;
    lmf_model *model;
    lmf_grammar_vocab *vocab;
    lmf_grammar *g;
    lmf_matcher *m;
    uint32_t *bits;
    size_t n_words;
} driver;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static json_t *failure(driver *d) { return json_pack("{s:s, s:b}", "error", lmf_error(d->ctx), "ok", 0); }

static json_t *compile(driver *d, const json_t *q)
{
    lmf_grammar_opts o = lmf_grammar_opts_default();
    const json_t *x;
    const char *list[1000];
    o.space = (lmf_json_space)json_integer_value(json_object_get(q, "space"));
    lmf_matcher_close(d->m);
    lmf_grammar_destroy(d->g);
    d->m = NULL, d->g = NULL;
    double t = now();
    lmf_status s = LMF_E_ARG;
    if ((x = json_object_get(q, "schema")))
        s = lmf_grammar_compile_json_schema(d->ctx, d->vocab, x, &o, &d->g);
    else if ((x = json_object_get(q, "gbnf")))
        s = lmf_grammar_compile_gbnf(d->ctx, d->vocab, json_string_value(x), json_string_length(x), &o, &d->g);
    else if ((x = json_object_get(q, "regex")))
        s = lmf_grammar_compile_regex(d->ctx, d->vocab, json_string_value(x), json_string_length(x), &o, &d->g);
    else if ((x = json_object_get(q, "choices"))) {
        size_t n = json_array_size(x);
        for (size_t i = 0; i < n && i < 1000; i++)
            list[i] = json_string_value(json_array_get(x, i));
        s = lmf_grammar_compile_choices(d->ctx, d->vocab, list, n, &o, &d->g);
    }
    t = now() - t;
    if (s || lmf_matcher_open(d->g, &d->m))
        return failure(d);
    return json_pack("{s:f}", "us", 1e6 * t);
}

static json_t *walk(driver *d, uint64_t seed, int limit)
{
    lmf_buf text;
    lmf_status s = LMF_OK;
    int n = 0;
    lmf_buf_init(&text, d->ctx, 1 << 24);
    lmf_matcher_reset(d->m);
    while (!s && !lmf_matcher_ended(d->m) && n < 20000) {
        if ((s = lmf_matcher_mask(d->m, limit >= 0 ? limit - n : -1, d->bits)))
            break;
        uint64_t count = 0, pick;
        for (size_t i = 0; i < d->n_words; i++)
            count += (uint64_t)__builtin_popcount(d->bits[i]);
        if (!count) {
            s = LMF_FAIL(d->ctx, LMF_E_INTERNAL, "a mask without a token behind %zu bytes", text.n);
            break;
        }
        pick = next(&seed) % count;
        int32_t id = -1;
        for (size_t i = 0; id < 0; i++) {
            uint32_t w = d->bits[i], k = (uint32_t)__builtin_popcount(w);
            if (pick >= k) {
                pick -= k;
                continue;
            }
            while (pick--)
                w &= w - 1;
            id = (int32_t)(32 * i) + __builtin_ctz(w);
        }
        n++;
        if ((s = lmf_matcher_accept(d->m, id)))
            break;
        if (!lmf_matcher_ended(d->m))
            s = lmf_tokenizer_decode(d->model->tokenizer, &id, 1, 0, &text);
    }
    json_t *out = s ? failure(d) : json_pack("{s:s#, s:i, s:b}", "text", lmf_buf_str(&text), (int)text.n, "n_tok", n, "ended",
        lmf_matcher_ended(d->m));
    if (!out)
        out = json_pack("{s:s}", "error", "the answer is not UTF-8");
    lmf_buf_clear(&text);
    return out;
}

static json_t *accepts(driver *d, const char *text, size_t n)
{
    lmf_ids ids;
    lmf_ids_init(&ids, d->ctx, 1 << 20);
    lmf_matcher_reset(d->m);
    lmf_status s = lmf_tokenizer_encode(d->model->tokenizer, text, n, LMF_ENCODE_PLAIN, &ids);
    for (size_t i = 0; !s && i < ids.n; i++) {
        s = lmf_matcher_mask(d->m, -1, d->bits);
        bool in_mask = d->bits[ids.data[i] / 32] >> ids.data[i] % 32 & 1;
        lmf_status by_accept = s ? s : lmf_matcher_accept(d->m, ids.data[i]);
        if (!s && in_mask != !by_accept)
            s = LMF_FAIL(d->ctx, LMF_E_INTERNAL, "mask and accept differ");
        s = s ? s : by_accept;
    }
    if (!s && !lmf_matcher_complete(d->m))
        s = LMF_FAIL(d->ctx, LMF_E_ARG, "the text is not complete");
    lmf_ids_clear(&ids);
    return s ? json_pack("{s:b, s:i, s:s}", "ok", 0, "at", (int)lmf_matcher_n_bytes(d->m), "error", lmf_error(d->ctx)) : json_pack("{s:b}",
        "ok", 1);
}

static json_t *text_of(driver *d, bool shortest)
{
    lmf_buf text;
    int n = 0;
    lmf_buf_init(&text, d->ctx, 1 << 24);
    lmf_matcher_reset(d->m);
    lmf_status s = shortest ? lmf_matcher_shortest(d->m, &n, &text) : lmf_matcher_forced(d->m, &text);
    json_t *out = s ? failure(d) : json_pack("{s:i, s:s#}", "n_tok", n, "text", lmf_buf_str(&text), (int)text.n);
    lmf_buf_clear(&text);
    return out;
}

static json_t *answer(driver *d, const json_t *q)
{
    const json_t *x, *limit = json_object_get(q, "limit");
    if (!d->m && !json_object_get(q, "schema") && !json_object_get(q, "gbnf") && !json_object_get(q, "regex") && !json_object_get(q,
        "choices"))
        return json_pack("{s:s}", "error", "no grammar");
    if ((x = json_object_get(q, "walk")))
        return walk(d, (uint64_t)json_integer_value(x), limit ? (int)json_integer_value(limit) : -1);
    if ((x = json_object_get(q, "accepts")))
        return accepts(d, json_string_value(x), json_string_length(x));
    if (json_object_get(q, "shortest") || json_object_get(q, "forced"))
        return text_of(d, json_object_get(q, "shortest"));
    return compile(d, q);
}

int main(int argc, char **argv)
{
    driver d = { 0 };
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    if (argc != 2) {
        fprintf(stderr, "usage: %s MODEL < requests\n", argv[0]);
        return 2;
    }
    lmf_status s = lmf_ctx_create(&d.ctx);
    if (!s)
        s = lmf_model_open(d.ctx, argv[1], &d.model);
    if (!s)
        s = lmf_grammar_vocab_create(d.ctx, d.model->tokenizer, NULL, 0, &d.vocab);
    if (s) {
        fprintf(stderr, "%s\n", d.ctx ? lmf_error(d.ctx) : "no context");
        return 1;
    }
    d.n_words = (lmf_tokenizer_n_tokens(d.model->tokenizer) + 31) / 32;
    d.bits = calloc(d.n_words, sizeof *d.bits);
    while (d.bits && (n = getline(&line, &cap, stdin)) > 0) {
        json_t *q = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL), *out = q ? answer(&d, q) : json_pack("{s:s}", "error", "no JSON");
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(out);
        json_decref(q);
    }
    free(line);
    free(d.bits);
    lmf_matcher_close(d.m);
    lmf_grammar_destroy(d.g);
    lmf_grammar_vocab_destroy(d.vocab);
    lmf_model_close(d.model);
    lmf_ctx_destroy(d.ctx);
    return 0;
}
