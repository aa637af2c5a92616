/* SPDX-License-Identifier: Apache-2.0 */
/* mistral: Mistral 7B and small ones of its kind: Llama's decoder whose layers look back over a window, or over all. In GGUF it is a llama,
 * whose keys know no window. Jiang et al. 2023, arXiv 2310.06825; transformers' MistralForCausalLM.
 * oracle: {"model_type": "mistral", "sliding_window": 9, "head_dim": 16, "gguf": false}
 * oracle: {"model_type": "mistral", "sliding_window": null, "head_dim": 32} */
#include "models/llama.h"

static const lmf_hparam hparams[] = {
    { "window", "sliding_window", NULL, LMF_HPARAM_I32, offsetof(lmf_llama_config, window), 4096, false, .flags = LMF_HPARAM_NULL_IS_0 },
    { "attention_bias" }, { "mlp_bias" },
    { 0 }
};

#define LAYER(role) { "layers.{l}." role }
static const lmf_weight_row weights[] = { /* it has none of these */
    LAYER("attn.q_bias"), LAYER("attn.k_bias"), LAYER("attn.v_bias"), LAYER("attn.o_bias"), LAYER("mlp.gate_bias"), LAYER("mlp.up_bias"),
    LAYER("mlp.down_bias"), { 0 }
};

static lmf_status check(lmf_ctx *ctx, void *config)
{
    lmf_llama_config *c = config;
    if (c->window >= c->base.context)
        c->window = 0; /* sees all */
    return lmf__llama_check(ctx, config);
}

const lmf_arch lmf_arch_mistral = {
    .name = "mistral", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "MistralForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "llama", NULL }, .hf_model_type = "mistral", .config_bytes = sizeof(lmf_llama_config),
    .hparams = hparams, .weights = weights, .check = check,
};
