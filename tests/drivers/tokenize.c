/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize: what tools/oracle/tokenizer.py talks to.
 *     driver_tokenize VOCAB                    requests on stdin, replies on stdout until the end of input
 *     driver_tokenize --model PATH             the same with a model's own tokenizer
 *     driver_tokenize VOCAB --bench FILE N     encodes FILE N times, prints the best seconds and the ids
 * VOCAB, all numbers u32 or i32 little endian, strings with their length in front: n_tokens, n_merges, bos, eos, eot, pad, unk,
 * add_bos, add_eos, whole_words, pretok, tokens, kinds (a byte each), added flags (a byte each), merges.
 * Request: flags, text. Reply: n_dropped, ids, decoded bytes, decoded stream. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/arena.h"
#include "base/file.h"
#include "models/model.h"
#include "text/tokenizer/tokenizer.h"

extern const lmf_tables lmf_all_tables;

typedef struct reader { const char *p, *end; bool bad; } reader;

static uint32_t read_u32(reader *r)
{
    uint32_t x = 0;
    if (r->end - r->p < 4)
        return r->bad = true, 0;
    memcpy(&x, r->p, 4);
    r->p += 4;
    return x;
}

static const char *read_bytes(reader *r, size_t n)
{
    const char *p = r->p;
    if ((size_t)(r->end - p) < n)
        return r->bad = true, "";
    r->p += n;
    return p;
}

static void read_strings(reader *r, lmf_arena *a, size_t n, const char *const **text, const uint32_t **bytes)
{
    const char **t = lmf_arena_array(a, n, sizeof *t);
    uint32_t *b = lmf_arena_array(a, n, sizeof *b);
    for (size_t i = 0; t && b && i < n; i++) {
        b[i] = read_u32(r);
        t[i] = read_bytes(r, b[i]);
    }
    r->bad |= !t || !b;
    *text = t;
    *bytes = b;
}

static lmf_status load(lmf_ctx *ctx, const char *path, lmf_tokenizer **out)
{
    char *data;
    size_t n;
    lmf_arena a;
    lmf_vocab v;
    LMF_TRY(lmf_file_read(ctx, path, 1u << 30, &data, &n));
    lmf_arena_init(&a, ctx, 1u << 30);
    lmf_vocab_init(&v);
    reader r = { data, data + n, false };
    v.n_tokens = read_u32(&r);
    v.n_merges = read_u32(&r);
    v.bos = (int32_t)read_u32(&r);
    v.eos = (int32_t)read_u32(&r);
    v.eot = (int32_t)read_u32(&r);
    v.pad = (int32_t)read_u32(&r);
    v.unk = (int32_t)read_u32(&r);
    v.add_bos = (lmf_choice)read_u32(&r);
    v.add_eos = read_u32(&r);
    v.whole_words = (lmf_choice)read_u32(&r);
    uint32_t k = read_u32(&r);
    v.pretok = lmf_arena_strndup(&a, read_bytes(&r, k), r.bad ? 0 : k);
    read_strings(&r, &a, v.n_tokens, &v.token, &v.token_bytes);
    v.kind = (const uint8_t *)read_bytes(&r, v.n_tokens);
    v.added = (const uint8_t *)read_bytes(&r, v.n_tokens);
    read_strings(&r, &a, v.n_merges, &v.merge, &v.merge_bytes);
    lmf_status s = r.bad ? LMF_FAIL(ctx, LMF_E_FORMAT, "%s: cut short", path) : lmf_tokenizer_create(ctx, &v, out);
    lmf_arena_clear(&a);
    lmf_free(ctx, data, n + 1);
    return s;
}

static void put(const void *p, size_t n, size_t count)
{
    uint32_t c = (uint32_t)count;
    fwrite(&c, 4, 1, stdout);
    if (n)
        fwrite(p, 1, n, stdout);
}

static lmf_status serve(lmf_ctx *ctx, const lmf_tokenizer *t)
{
    uint32_t head[2]; /* flags, bytes */
    lmf_buf text, whole, streamed;
    lmf_ids ids;
    lmf_status s = LMF_OK;
    lmf_buf_init(&text, ctx, LMF_TEXT_MAX_BYTES);
    lmf_buf_init(&whole, ctx, 1u << 30);
    lmf_buf_init(&streamed, ctx, 1u << 30);
    lmf_ids_init(&ids, ctx, LMF_TEXT_MAX_BYTES);
    while (!s && fread(head, 4, 2, stdin) == 2) {
        lmf_decode_stream d = { 0 };
        text.n = whole.n = streamed.n = ids.n = ids.n_dropped = 0;
        LMF_TRY_TO(done, lmf_buf_reserve(&text, head[1]));
        if (fread(text.data, 1, head[1], stdin) != head[1])
            break;
        LMF_TRY_TO(done, lmf_tokenizer_encode(t, text.data, head[1], head[0], &ids));
        LMF_TRY_TO(done, lmf_tokenizer_decode(t, ids.data, ids.n, 0, &whole));
        for (size_t i = 0; i < ids.n; i++)
            LMF_TRY_TO(done, lmf_decode_stream_push(&d, t, ids.data[i], 0, &streamed));
        LMF_TRY_TO(done, lmf_decode_stream_end(&d, &streamed));
        put(NULL, 0, ids.n_dropped);
        put(ids.data, ids.n * sizeof *ids.data, ids.n);
        put(whole.data, whole.n, whole.n);
        put(streamed.data, streamed.n, streamed.n);
        fflush(stdout);
    }
done:
    lmf_buf_clear(&text);
    lmf_buf_clear(&whole);
    lmf_buf_clear(&streamed);
    lmf_ids_clear(&ids);
    return s;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lmf_status bench(lmf_ctx *ctx, const lmf_tokenizer *t, const char *path, int n_runs)
{
    char *text;
    size_t n;
    double best = 1e30;
    lmf_ids ids;
    LMF_TRY(lmf_file_read(ctx, path, LMF_TEXT_MAX_BYTES, &text, &n));
    lmf_ids_init(&ids, ctx, LMF_TEXT_MAX_BYTES);
    lmf_status s = LMF_OK;
    for (int i = 0; i < n_runs && !s; i++) {
        ids.n = 0;
        double t0 = now();
        s = lmf_tokenizer_encode(t, text, n, 0, &ids);
        double dt = now() - t0;
        best = dt < best ? dt : best;
    }
    if (!s)
        printf("%.9f %zu\n", best, ids.n);
    lmf_ids_clear(&ids);
    lmf_free(ctx, text, n + 1);
    return s;
}

int main(int argc, char **argv)
{
    lmf_ctx ctx;
    lmf_tokenizer *t = NULL;
    lmf_model *model = NULL;
    bool of_model = argc == 3 && !strcmp(argv[1], "--model");
    if (argc != 2 && !of_model && !(argc == 5 && !strcmp(argv[2], "--bench"))) {
        fprintf(stderr, "usage: %s VOCAB [--bench FILE N]\n", argv[0]);
        return 2;
    }
    lmf_ctx_init(&ctx, &lmf_all_tables);
    double t0 = now();
    lmf_status s = of_model ? lmf_model_open(&ctx, argv[2], &model) : load(&ctx, argv[1], &t);
    if (!s && argc == 5)
        fprintf(stderr, "loaded in %.1f ms\n", 1e3 * (now() - t0));
    if (!s)
        s = argc <= 3 ? serve(&ctx, model ? model->tokenizer : t) : bench(&ctx, t, argv[3], atoi(argv[4]));
    if (s)
        fprintf(stderr, "%s\n", lmf_error(&ctx));
    lmf_tokenizer_destroy(t);
    lmf_model_close(model);
    if (!s && ctx.live_bytes) {
        fprintf(stderr, "%zu bytes not given back\n", ctx.live_bytes);
        s = LMF_E_INTERNAL;
    }
    lmf_ctx_clear(&ctx);
    return s ? 1 : 0;
}
