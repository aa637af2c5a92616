/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_fuzz: any bytes as a safetensors file, and the same bytes as the JSON files of a model folder. Broken
 * promises (safetensors.h, hf_json.h) are crashes. */
#include <string.h>
#include "format/hf_json.h"
#include "format/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_tensors(const lmf_safetensors *st, const uint8_t *data, size_t n, uint64_t *sum)
{
    size_t total = 0;
    for (size_t i = 0; i < lmf_safetensors_n(st); i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(st, i);
        LMF_ASSERT(lmf_safetensors_find(st, t->name) == t && t->n_dims >= 0 && t->n_dims <= LMF_FILE_MAX_DIMS);
        LMF_ASSERT(t->data >= data && t->bytes <= n && (size_t)(t->data - data) <= n - t->bytes);
        if (t->bytes)
            *sum += t->data[0] + t->data[t->bytes - 1] + lmf_floats_are_finite(t->dtype, t->data, t->bytes);
        total += t->bytes;
    }
    LMF_ASSERT(total <= n); /* no two share a byte */
    *sum += lmf_safetensors_metadata(st, "format") != NULL;
}

static void check_tokenizer(const lmf_hf_tokenizer *t, uint64_t *sum)
{
    LMF_ASSERT(t->n_tokens > 0 && t->token[t->n_tokens - 1].p);
    for (size_t i = 0; i < t->n_tokens; i++)
        for (size_t k = 0; k < t->token[i].n; k++)
            *sum += (uint8_t)t->token[i].p[k];
    for (size_t i = 0; i < t->n_merges; i++)
        LMF_ASSERT(t->merge[i].left.n && t->merge[i].right.n);
    for (size_t i = 0; i < t->n_added; i++)
        LMF_ASSERT(t->added[i].id >= 0 && (size_t)t->added[i].id < t->n_tokens);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_safetensors *st;
    lmf_hf_config config;
    lmf_hf_tokenizer tokenizer;
    uint64_t sum = 0;
    lmf_ctx_init(&ctx, NULL);
    lmf_status s = lmf_safetensors_parse(&ctx, data, n, "fuzz", &st);
    LMF_ASSERT((s == LMF_OK) == (st != NULL) && (!s || *lmf_error(&ctx)));
    if (st)
        check_tensors(st, data, n, &sum);
    lmf_safetensors_close(st);
    if (!lmf_hf_config_parse(&ctx, (const char *)data, n, &config)) {
        sum += strlen(config.arch) + strlen(config.model_type) + strlen(config.dtype);
        lmf_hf_config_close(&config);
    }
    if (!lmf_hf_tokenizer_parse(&ctx, (const char *)data, n, &tokenizer)) {
        check_tokenizer(&tokenizer, &sum);
        lmf_hf_tokenizer_close(&tokenizer);
    }
    LMF_ASSERT(ctx.live_bytes == 0 && ctx.peak_bytes <= 64 * n + (64u << 20));
    lmf_ctx_clear(&ctx);
    return sum == UINT64_MAX; /* keeps the reads; never so */
}
