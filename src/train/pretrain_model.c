/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an element's first value depends on seed, tensor and place alone (Philox), so that it is the same however the file is written. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/philox.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "models/llama.h"
#include "models/model.h"
#include "train/pretrain.h"

enum { CHUNK = 1 << 14, MAX_TENSORS = 16384, STREAM_WEIGHTS = 0x11e7 };
static const double init_std = 0.02;

typedef struct tensor { int64_t n; float std; bool ones; } tensor; /* std 0: zeros, biases */

static lmf_status settle(lmf_ctx *ctx, const lmf_pretrain_config *c, int32_t n_tokens, lmf_llama_config *k)
{
    int64_t kv = c->n_kv_heads ? c->n_kv_heads : c->n_heads, ffn = c->ffn ? c->ffn : (c->width * 8 / 3 + 63) / 64 * 64;
    *k = (lmf_llama_config){ .base = { (int32_t)c->n_layers, (int32_t)c->width, n_tokens, (int32_t)c->train.seq_len },
                             .n_heads = (int32_t)c->n_heads, .n_kv_heads = (int32_t)kv, .ffn = (int32_t)ffn, .eps = 1e-5f,
                                 .tied = c->tied };
    k->rope.base = (float)c->rope_theta, k->rope.factor = 1;
    if (c->width % c->n_heads || c->width / c->n_heads % 2)
        return LMF_FAIL(ctx, LMF_E_ARG, "--hidden-size %lld is no multiple of --num-attention-heads %lld, or a head is not even",
            (long long)c->width,
                        (long long)c->n_heads);
    if (c->n_heads % kv)
        return LMF_FAIL(ctx, LMF_E_ARG, "--num-attention-heads %lld is no multiple of --num-key-value-heads %lld", (long long)c->n_heads,
            (long long)kv);
    return lmf_arch_llama.check(ctx, k);
}

static lmf_status write_config(lmf_ctx *ctx, const lmf_llama_config *k, int32_t border, const char *dir)
{
    char path[4096];
    double theta = (double)k->rope.base;
    json_t *root = json_pack("{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:s, s:f, s:{s:s, s:f}, s:b, s:b, s:b, s:f, "
        "s:i, s:i, s:s, s:s, s:b}",
        "architectures", "LlamaForCausalLM", "model_type", "llama", "vocab_size", k->base.vocab, "hidden_size", k->base.width,
            "intermediate_size",
        k->ffn, "num_hidden_layers", k->base.n_layers, "num_attention_heads", k->n_heads, "num_key_value_heads", k->n_kv_heads, "head_dim",
        k->head_size, "max_position_embeddings", k->base.context, "rms_norm_eps", 1e-5, "hidden_act", "silu", "rope_theta", theta,
        "rope_parameters", "rope_type", "default", "rope_theta", theta, "tie_word_embeddings", k->tied, "attention_bias", 0, "mlp_bias", 0,
        "initializer_range", init_std, "bos_token_id", border, "eos_token_id", border, "torch_dtype", "float32", "dtype", "float32",
        "use_cache", 1);
    lmf_status s = root ? lmf_path_join(ctx, path, sizeof path, dir, "config.json") : LMF_NO_MEMORY(ctx, 1024, "a configuration");
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    root = json_pack("{s:i, s:i}", "bos_token_id", border, "eos_token_id", border);
    if (!s)
        s = root ? lmf_path_join(ctx, path, sizeof path, dir, "generation_config.json") : LMF_NO_MEMORY(ctx, 64, "a configuration");
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    return s;
}

/* One of a pair of numbers of a standard normal distribution (Box and Muller 1958). */
static float normal(uint64_t seed, uint32_t number, int64_t i)
{
    uint32_t r[4];
    lmf_philox4x32(seed, (uint64_t)i >> 1, (uint64_t)number << 32 | STREAM_WEIGHTS, r);
    double radius = sqrt(-2 * log(((double)r[0] + 1) * 0x1p-32)), angle = 2 * 3.14159265358979323846 * (double)r[1] * 0x1p-32;
    return (float)(radius * (i & 1 ? sin(angle) : cos(angle)));
}

static lmf_status fill(lmf_safetensors_writer *w, const tensor *t, uint64_t seed, uint32_t number, float *chunk)
{
    for (int64_t at = 0; at < t->n; at += CHUNK) {
        int64_t n = t->n - at < CHUNK ? t->n - at : CHUNK;
        for (int64_t i = 0; i < n; i++)
            chunk[i] = t->ones ? 1 : t->std * normal(seed, number, at + i);
        LMF_TRY(lmf_safetensors_write(w, chunk, (size_t)n * sizeof *chunk));
    }
    return LMF_OK;
}

/* Each row of the architecture's table that a file has. */
static lmf_status declare(lmf_ctx *ctx, const lmf_llama_config *k, lmf_safetensors_writer *w, tensor *all)
{
    char name[256];
    int64_t dim[LMF_MAX_DIMS];
    int n = 0;
    for (const lmf_weight_row *r = lmf_arch_llama.weights; r->role; r++) {
        bool layered = strstr(r->role, "{l}") != NULL;
        if (!r->hf || (r->flags & LMF_ROW_OPTIONAL) || (r->tied && k->tied))
            continue;
        int n_dims = lmf_shape_eval(&lmf_arch_llama, k, r->shape, dim);
        for (int l = 0; l < (layered ? k->base.n_layers : 1); l++, n++) {
            if (n == MAX_TENSORS || !n_dims)
                return LMF_FAIL(ctx, LMF_E_ARG, "these sizes give no model");
            LMF_TRY(lmf_model_name(ctx, r->hf, l, "", name, sizeof name));
            LMF_TRY(lmf_safetensors_add(w, name, LMF_F32, dim, n_dims));
            all[n] = (tensor){ .n = 1, .ones = r->flags & LMF_ROW_NO_QUANT, .std = (float)(r->split == 1 ?
                init_std / sqrt(2.0 * k->base.n_layers) : init_std) };
            for (int i = 0; i < n_dims; i++)
                all[n].n *= dim[i];
        }
    }
    return LMF_OK;
}

lmf_status lmf__pretrain_write_model(lmf_ctx *ctx, const lmf_pretrain_config *c, int32_t n_tokens, int32_t border, const char *dir)
{
    char path[4096];
    lmf_llama_config k;
    lmf_safetensors_writer *w;
    LMF_TRY(settle(ctx, c, n_tokens, &k));
    LMF_TRY(write_config(ctx, &k, border, dir));
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "model.safetensors"));
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &w));
    tensor *all = lmf_alloc(ctx, MAX_TENSORS * sizeof *all);
    float *chunk = lmf_alloc(ctx, CHUNK * sizeof *chunk);
    lmf_status s = all && chunk ? declare(ctx, &k, w, all) : LMF_NO_MEMORY(ctx, CHUNK * sizeof *chunk, "first weights");
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;)
        s = fill(w, &all[i], (uint64_t)c->train.seed, (uint32_t)i, chunk);
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    lmf_free(ctx, all, MAX_TENSORS * sizeof *all);
    lmf_free(ctx, chunk, CHUNK * sizeof *chunk);
    return s;
}
