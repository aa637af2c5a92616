/* SPDX-License-Identifier: Apache-2.0 */
/* qwen2: Qwen2 and Qwen2.5 (0.5B to 3B and more), also their DeepSeek-R1 distillations. Llama's decoder with biases on q, k and v (and
 * nowhere else) and, in GGUF, q and k in the order of Hugging Face. Yang et al. 2024, arXiv 2407.10671; transformers' Qwen2ForCausalLM.
 * oracle: {"model_type": "qwen2", "tie_word_embeddings": true} */
#include "models/llama.h"

typedef struct qwen2_config { lmf_llama_config llama; bool windowed; } qwen2_config;

static const lmf_hparam hparams[] = {
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(lmf_config_base, context), 32768, false },
    { "eps", "rms_norm_eps", "{arch}.attention.layer_norm_rms_epsilon", LMF_HPARAM_F32, offsetof(lmf_llama_config, eps), 1e-6, false },
    { "windowed", "use_sliding_window", NULL, LMF_HPARAM_BOOL, offsetof(qwen2_config, windowed), 0, false },
    { "attention_bias" }, { "mlp_bias" },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}.self_attn." name
#define GGUF(name) "blk.{l}." name
static const lmf_weight_row weights[] = {
    { LAYER("attn.q"), HF("q_proj.weight"), GGUF("attn_q.weight"), "H*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.q_bias"), HF("q_proj.bias"), GGUF("attn_q.bias"), "H*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.k"), HF("k_proj.weight"), GGUF("attn_k.weight"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.k_bias"), HF("k_proj.bias"), GGUF("attn_k.bias"), "K*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.v_bias"), HF("v_proj.bias"), GGUF("attn_v.bias"), "K*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.o_bias") }, { LAYER("mlp.gate_bias") }, { LAYER("mlp.up_bias") }, { LAYER("mlp.down_bias") }, { "rope_factors" }, /* it has none of these */
    { 0 }
};

static lmf_status check(lmf_ctx *ctx, void *config)
{
    const qwen2_config *c = config;
    if (c->windowed)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "use_sliding_window is true; qwen2 is supported without a window");
    return lmf__llama_check(ctx, config);
}

const lmf_arch lmf_arch_qwen2 = {
    .name = "qwen2", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "Qwen2ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "qwen2", NULL }, .hf_model_type = "qwen2", .config_bytes = sizeof(qwen2_config), .hparams = hparams,
    .weights = weights, .check = check,
    .harmless = (const char *const[]){ "sliding_window", "max_window_layers", NULL }, /* read with use_sliding_window alone */
};
