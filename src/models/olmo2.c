/* SPDX-License-Identifier: Apache-2.0 */
/* olmo2: OLMo 2 (1B and more). Llama's layers with the norms behind attention and feed-forward, and norms over all of q and of k before
 * they turn; in GGUF q and k are in the order of Hugging Face. Team OLMo 2024, arXiv 2501.00656; transformers' Olmo2ForCausalLM.
 * oracle: {"model_type": "olmo2", "pad_token_id": 259} */
#include "models/llama.h"
#include "ops/add/add.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/swiglu/swiglu.h"

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}." name ".weight"
#define GGUF(name) "blk.{l}." name ".weight"
static const lmf_hparam hparams[] = { { "mlp_bias" }, { "attention_bias" }, { 0 } };
static const lmf_weight_row weights[] = {
    { LAYER("attn_norm"), HF("post_attention_layernorm"), GGUF("post_attention_norm"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("mlp_norm"), HF("post_feedforward_layernorm"), GGUF("post_ffw_norm"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.q"), HF("self_attn.q_proj"), GGUF("attn_q"), "H*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.k"), HF("self_attn.k_proj"), GGUF("attn_k"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.q_norm"), HF("self_attn.q_norm"), GGUF("attn_q_norm"), "H*C", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.k_norm"), HF("self_attn.k_norm"), GGUF("attn_k_norm"), "K*C", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.q_bias") }, { LAYER("attn.k_bias") }, { LAYER("attn.v_bias") }, { LAYER("attn.o_bias") }, /* it has none of these */
    { LAYER("mlp.gate_bias") }, { LAYER("mlp.up_bias") }, { LAYER("mlp.down_bias") }, { "rope_factors" },
    { 0 }
};

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const lmf_llama_config *c = g->config;
    lmf_llama_heads heads = lmf__llama_heads(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = { .v = lmf_linear(g, x, "attn.v") };
        p.q = lmf_rms_norm(g, lmf_linear(g, x, "attn.q"), lmf_nn_weight(g, "attn.q_norm", false), c->eps);
        p.k = lmf_rms_norm(g, lmf_linear(g, x, "attn.k"), lmf_nn_weight(g, "attn.k_norm", false), c->eps);
        lmf_tensor *h = lmf_linear(g, lmf_nn_rotary_attention(g, in, p, heads.freq, heads.rope, heads.attn), "attn.o");
        x = lmf_nn_label(g, lmf_add(g, x, lmf_rms_norm(g, h, lmf_nn_weight(g, "attn_norm", false), c->eps)), "attn_out");
        h = lmf_linear(g, lmf_swiglu(g, lmf_linear(g, x, "mlp.gate"), lmf_linear(g, x, "mlp.up")), "mlp.down");
        x = lmf_nn_label(g, lmf_add(g, x, lmf_rms_norm(g, h, lmf_nn_weight(g, "mlp_norm", false), c->eps)), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

const lmf_arch lmf_arch_olmo2 = {
    .name = "olmo2", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "Olmo2ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "olmo2", NULL }, .hf_model_type = "olmo2", .config_bytes = sizeof(lmf_llama_config),
    .hparams = hparams, .weights = weights, .body = body,
};
