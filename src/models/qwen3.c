/* SPDX-License-Identifier: Apache-2.0 */
/* qwen3: Qwen3 (0.6B to 4B and more), without experts. Llama's decoder with a norm on each head of q and k before they turn; in GGUF q
 * and k are in the order of Hugging Face. Yang et al. 2025, arXiv 2505.09388; transformers' Qwen3ForCausalLM.
 * oracle: {"model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": true} */
#include "models/llama.h"
#include "ops/rms_norm/rms_norm.h"

typedef struct qwen3_config { lmf_llama_config llama; bool windowed; } qwen3_config;

static const lmf_hparam hparams[] = {
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(lmf_config_base, context), 32768, false },
    { "windowed", "use_sliding_window", NULL, LMF_HPARAM_BOOL, offsetof(qwen3_config, windowed), 0, false },
    { "attention_bias" }, { "mlp_bias" },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}.self_attn." name ".weight"
#define GGUF(name) "blk.{l}." name ".weight"
static const lmf_weight_row weights[] = {
    { LAYER("attn.q"), HF("q_proj"), GGUF("attn_q"), "H*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.k"), HF("k_proj"), GGUF("attn_k"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.q_norm"), HF("q_norm"), GGUF("attn_q_norm"), "C", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.k_norm"), HF("k_norm"), GGUF("attn_k_norm"), "C", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.q_bias") }, { LAYER("attn.k_bias") }, { LAYER("attn.v_bias") }, { LAYER("attn.o_bias") }, /* it has none of these */
    { LAYER("mlp.gate_bias") }, { LAYER("mlp.up_bias") }, { LAYER("mlp.down_bias") }, { "rope_factors" },
    { 0 }
};

static lmf_status check(lmf_ctx *ctx, void *config)
{
    const qwen3_config *c = config;
    if (c->windowed)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "use_sliding_window is true; qwen3 is supported without a window");
    return lmf__llama_check(ctx, config);
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const lmf_llama_config *c = g->config;
    lmf_llama_heads heads = lmf__llama_heads(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->eps, "attn.q", "attn.k", "attn.v");
        p.q = lmf_rms_norm(g, p.q, lmf_nn_weight(g, "attn.q_norm", false), c->eps);
        p.k = lmf_rms_norm(g, p.k, lmf_nn_weight(g, "attn.k_norm", false), c->eps);
        lmf_tensor *h = lmf_nn_rotary_attention(g, in, p, heads.freq, heads.rope, heads.attn);
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "attn.o", x), "attn_out");
        h = lmf_nn_norm_swiglu(g, x, "mlp_norm", c->eps, "mlp.gate", "mlp.up");
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "mlp.down", x), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

const lmf_arch lmf_arch_qwen3 = {
    .name = "qwen3", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "Qwen3ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "qwen3", NULL }, .hf_model_type = "qwen3", .config_bytes = sizeof(qwen3_config), .hparams = hparams,
    .weights = weights, .check = check, .body = body,
    .harmless = (const char *const[]){ "sliding_window", "max_window_layers", NULL }, /* read with use_sliding_window alone */
};
