/* SPDX-License-Identifier: Apache-2.0 */
/* llama: what its relatives build on. Their config begins with this one, and they call its check. Not for others. */
#ifndef LMF_MODELS_LLAMA_H
#define LMF_MODELS_LLAMA_H
#include "models/arch.h"
#include "nn/nn.h"
#include "nn/rope_freq.h"

typedef struct lmf_llama_config {
    lmf_config_base base;            /* n_layers, width, vocab, context */
    int32_t  n_heads, n_kv_heads, head_size, ffn;
    float    eps;
    lmf_rope_spec rope;
    char     activation[LMF_HPARAM_TEXT_BYTES];
    int32_t  window;                 /* of every layer; 0: none */
    bool     tied, attention_bias, mlp_bias;
} lmf_llama_config;

/* What attention of every layer shares: relatives with a body of their own begin with it. */
typedef struct lmf_llama_heads { lmf_tensor *freq; lmf_rope_attrs rope; lmf_attention_attrs attn; } lmf_llama_heads;
lmf_llama_heads lmf__llama_heads(lmf_graph *g, const lmf_llama_config *c);

extern const lmf_arch lmf_arch_llama;
lmf_status lmf__llama_check(lmf_ctx *ctx, void *config);
lmf_status lmf__llama_check_sizes(lmf_ctx *ctx, lmf_llama_config *c); /* of heads, alone: fills what the file did not say */

#endif
