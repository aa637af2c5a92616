/* SPDX-License-Identifier: Apache-2.0 */
/* phi3: Phi-3 mini with a context of 4k, and Phi-4. Llama's decoder whose q, k and v are one matrix, and gate and up another; a part of
 * each head may turn, and layers may look back over a window. longrope (contexts of 128k) is refused: its frequencies depend on the
 * length of what is computed. Abdin et al. 2024, arXiv 2404.14219; transformers' Phi3ForCausalLM.
 * oracle: {"model_type": "phi3", "sliding_window": null, "pad_token_id": 259, "partial_rotary_factor": 0.5, "tie_word_embeddings": true}
 * oracle: {"model_type": "phi3", "sliding_window": 9, "pad_token_id": 259, "llama_cpp": false, "why": "its phi3 ignores windows"} */
#include "models/llama.h"

typedef struct phi3_config { lmf_llama_config llama; float partial; } phi3_config;

static const lmf_hparam hparams[] = {
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(lmf_config_base, context), 4096, false },
    { "window", "sliding_window", "{arch}.attention.sliding_window", LMF_HPARAM_I32, offsetof(lmf_llama_config, window), 0, false,
      .flags = LMF_HPARAM_NULL_IS_0 },
    { "partial", "partial_rotary_factor|rope_parameters.partial_rotary_factor", NULL, LMF_HPARAM_F32, offsetof(phi3_config, partial), 1,
      false, .flags = LMF_HPARAM_IMPLIED },
    { "attention_bias" }, { "mlp_bias" },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define FUSED(role, hf_name, gguf_name, shape_text, at, of) \
    { LAYER(role), "model.layers.{l}." hf_name ".weight", "blk.{l}." gguf_name ".weight", shape_text, \
    .hf_form = LMF_FORM_SLICE, .gguf_form = LMF_FORM_SLICE, .hf_part = at, .parts = of, .split = 0, .flags = LMF_ROW_LORA_TARGET }
#define QKV(role, shape_text, at) FUSED(role, "self_attn.qkv_proj", "attn_qkv", shape_text, at, "H*C,K*C,K*C")
#define GATE_UP(role, at) FUSED(role, "mlp.gate_up_proj", "ffn_up", "F,D", at, "F,F")
static const lmf_weight_row weights[] = {
    QKV("attn.q", "H*C,D", 0), QKV("attn.k", "K*C,D", 1), QKV("attn.v", "K*C,D", 2), GATE_UP("mlp.gate", 0), GATE_UP("mlp.up", 1),
    { LAYER("attn.q_bias") }, { LAYER("attn.k_bias") }, { LAYER("attn.v_bias") }, { LAYER("attn.o_bias") }, /* it has none of these */
    { LAYER("mlp.gate_bias") }, { LAYER("mlp.up_bias") }, { LAYER("mlp.down_bias") }, { "rope_factors" },
    { 0 }
};

/* How much of a head turns: a share in config.json, a number in GGUF. */
static lmf_status check(lmf_ctx *ctx, void *config)
{
    phi3_config *c = config;
    lmf_rope_spec *rope = &c->llama.rope;
    LMF_TRY(lmf__llama_check_sizes(ctx, &c->llama));
    if (!(c->partial > 0 && c->partial <= 1) || rope->n_rot > c->llama.head_size)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "a share of %g of a head's %d dimensions rotates, or %d of them; all or less must",
                        (double)c->partial, c->llama.head_size, rope->n_rot);
    if (rope->n_rot == 0)
        rope->n_rot = (int32_t)((double)c->partial * c->llama.head_size);
    c->partial = (float)rope->n_rot / (float)c->llama.head_size;
    if (c->llama.window >= c->llama.base.context)
        c->llama.window = 0; /* sees all */
    return lmf_rope_check(ctx, rope);
}

const lmf_arch lmf_arch_phi3 = {
    .name = "phi3", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "Phi3ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "phi3", NULL }, .hf_model_type = "phi3", .config_bytes = sizeof(phi3_config), .hparams = hparams,
    .weights = weights, .check = check,
    .harmless = (const char *const[]){ "original_max_position_embeddings", NULL }, /* read with longrope alone */
};
