/* SPDX-License-Identifier: Apache-2.0 */
/* llama: what its relatives build on. Their config begins with this one, and they call its check. Not for others. */
#ifndef LMF_MODELS_LLAMA_H
#define LMF_MODELS_LLAMA_H
#include "models/arch.h"

typedef struct lmf_llama_config {
    lmf_config_base base;            /* n_layers, width, vocab, context */
    int32_t n_heads, n_kv_heads, head_size, ffn;
    float   eps, rope_base, rope_factor, rope_low, rope_high;
    int32_t rope_context;            /* original context of llama3 scaling */
    char    rope_type[LMF_HPARAM_TEXT_BYTES];
    char    activation[LMF_HPARAM_TEXT_BYTES];
    int32_t n_rot;                   /* dimensions of a head that rotate, where a file says so */
    bool    tied, attention_bias, mlp_bias;
} lmf_llama_config;

extern const lmf_arch lmf_arch_llama;
lmf_status lmf__llama_check(lmf_ctx *ctx, void *config);

#endif
