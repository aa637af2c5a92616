/* SPDX-License-Identifier: Apache-2.0 */
/* gguf_fuzz: any bytes as a GGUF file. What is accepted is read through, then broken promises (gguf.h) are crashes. */
#include <string.h>
#include "format/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_pair(lmf_ctx *ctx, const lmf_gguf *g, const lmf_gguf_kv *kv, uint64_t *sum)
{
    lmf_arena arena;
    lmf_bytes s, *strings;
    int32_t *ints;
    float *reals;
    int64_t whole;
    double real;
    size_t at = 0, n, n_strings = 0;
    lmf_arena_init(&arena, ctx, SIZE_MAX / 2);
    LMF_ASSERT(lmf_gguf_find(g, kv->key) == kv);
    LMF_ASSERT(kv->item_type != LMF_GGUF_ARRAY);
    for (; lmf_gguf_kv_next_string(kv, &at, &s); n_strings++)
        for (size_t i = 0; i < s.n; i++)
            *sum += (uint8_t)s.p[i];
    LMF_ASSERT(kv->item_type != LMF_GGUF_STRING || n_strings == kv->n);
    for (size_t i = 0; i < kv->n && kv->item_type != LMF_GGUF_STRING; i++)
        *sum += lmf_gguf_kv_f64(kv, i, &real) + lmf_gguf_kv_i64(kv, i, &whole);
    if (kv->type == LMF_GGUF_ARRAY)
        *sum += lmf_gguf_get_strings(g, kv->key, &arena, &strings, &n) == LMF_OK || lmf_gguf_get_i32s(g, kv->key, &arena, &ints, &n) == LMF_OK ||
                lmf_gguf_get_f32s(g, kv->key, &arena, &reals, &n) == LMF_OK;
    lmf_arena_clear(&arena);
}

static void check_tensor(const lmf_ctx *ctx, const lmf_gguf *g, const lmf_gguf_tensor *t, const uint8_t *data, size_t n, uint64_t *sum)
{
    lmf_file_type type;
    size_t bytes;
    LMF_ASSERT(lmf_gguf_tensor_find(g, t->name) == t && lmf_name_is_clean(t->name, strlen(t->name), 255));
    LMF_ASSERT(lmf_file_type_get(ctx, t->dtype, &type) && lmf_file_type_bytes(&type, t->dim, t->n_dims, &bytes) && bytes == t->bytes);
    LMF_ASSERT(t->data >= data && t->bytes <= n && (size_t)(t->data - data) <= n - t->bytes);
    LMF_ASSERT((size_t)(t->data - data) % lmf_gguf_alignment(g) == 0);
    *sum += t->data[0] + t->data[t->bytes - 1] + lmf_floats_are_finite(t->dtype, t->data, t->bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_gguf *g;
    uint64_t sum = 0;
    lmf_ctx_init(&ctx, NULL);
    lmf_status s = lmf_gguf_parse(&ctx, data, n, "fuzz", &g);
    LMF_ASSERT((s == LMF_OK) == (g != NULL) && (!s || *lmf_error(&ctx)));
    if (g) {
        for (size_t i = 0; i < lmf_gguf_n_kv(g); i++)
            check_pair(&ctx, g, lmf_gguf_kv_at(g, i), &sum);
        for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++)
            check_tensor(&ctx, g, lmf_gguf_tensor_at(g, i), data, n, &sum);
    }
    lmf_gguf_close(g);
    LMF_ASSERT(ctx.live_bytes == 0 && ctx.peak_bytes <= 8 * n + (64u << 20));
    lmf_ctx_clear(&ctx);
    return sum == UINT64_MAX; /* keeps the reads; never so */
}
