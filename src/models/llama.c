/* SPDX-License-Identifier: Apache-2.0 */
/* llama: Llama 1 to 3, SmolLM, SmolLM2, TinyLlama. Pre-norm decoder with grouped-query attention,
 * rotary positions and SwiGLU. Touvron et al. 2023, arXiv 2302.13971; transformers' LlamaForCausalLM.
 * oracle: {"model_type": "llama", "attention_bias": true, "mlp_bias": true}
 * oracle: {"model_type": "llama", "head_dim": 32, "tie_word_embeddings": true, "rope_parameters": {"rope_type": "llama3", "rope_theta": 5000.0,
 *          "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}} */
#include <math.h>
#include <string.h>
#include "models/llama.h"
#include "ops/embed/embed.h"
#include "ops/rms_norm/rms_norm.h"

typedef lmf_llama_config llama_config;

static const lmf_hparam hparams[] = {
    { "n_layers", "num_hidden_layers", "{arch}.block_count", LMF_HPARAM_I32, offsetof(llama_config, base.n_layers), 0, true },
    { "width", "hidden_size", "{arch}.embedding_length", LMF_HPARAM_I32, offsetof(llama_config, base.width), 0, true },
    { "vocab", "vocab_size", "{arch}.vocab_size", LMF_HPARAM_I32, offsetof(llama_config, base.vocab), 0, false },
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(llama_config, base.context), 2048, false },
    { "n_heads", "num_attention_heads", "{arch}.attention.head_count", LMF_HPARAM_I32, offsetof(llama_config, n_heads), 0, true },
    { "n_kv_heads", "num_key_value_heads", "{arch}.attention.head_count_kv", LMF_HPARAM_I32, offsetof(llama_config, n_kv_heads), 0, false },
    { "head_size", "head_dim", "{arch}.attention.key_length", LMF_HPARAM_I32, offsetof(llama_config, head_size), 0, false },
    { "ffn", "intermediate_size", "{arch}.feed_forward_length", LMF_HPARAM_I32, offsetof(llama_config, ffn), 0, true },
    { "eps", "rms_norm_eps", "{arch}.attention.layer_norm_rms_epsilon", LMF_HPARAM_F32, offsetof(llama_config, eps), 0, true },
    { "rope_base", "rope_theta", "{arch}.rope.freq_base", LMF_HPARAM_F32, offsetof(llama_config, rope.base), 10000, false },
    { "rope_type", "rope_parameters.rope_type", "{arch}.rope.scaling.type", LMF_HPARAM_TEXT, offsetof(llama_config, rope.type), 0, false },
    { "rope_factor", "rope_parameters.factor", "{arch}.rope.scaling.factor", LMF_HPARAM_F32, offsetof(llama_config, rope.factor), 1, false },
    { "rope_low", "rope_parameters.low_freq_factor", NULL, LMF_HPARAM_F32, offsetof(llama_config, rope.low), 1, false, .flags = LMF_HPARAM_IMPLIED },
    { "rope_high", "rope_parameters.high_freq_factor", NULL, LMF_HPARAM_F32, offsetof(llama_config, rope.high), 4, false, .flags = LMF_HPARAM_IMPLIED },
    { "rope_context", "rope_parameters.original_max_position_embeddings", NULL, LMF_HPARAM_I32, offsetof(llama_config, rope.context), 8192, false, .flags = LMF_HPARAM_IMPLIED },
    { "activation", "hidden_act", NULL, LMF_HPARAM_TEXT, offsetof(llama_config, activation), 0, false, .flags = LMF_HPARAM_IMPLIED },
    { "n_rot", NULL, "{arch}.rope.dimension_count", LMF_HPARAM_I32, offsetof(llama_config, rope.n_rot), 0, false, .flags = LMF_HPARAM_IMPLIED },
    { "tied", "tie_word_embeddings", NULL, LMF_HPARAM_BOOL, offsetof(llama_config, tied), 0, false, .flags = LMF_HPARAM_IMPLIED },
    { "attention_bias", "attention_bias", NULL, LMF_HPARAM_BOOL, offsetof(llama_config, attention_bias), 0, false, "layers.0.attn.q_bias" },
    { "mlp_bias", "mlp_bias", NULL, LMF_HPARAM_BOOL, offsetof(llama_config, mlp_bias), 0, false, "layers.0.mlp.gate_bias" },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}." name ".weight"
#define GGUF(name) "blk.{l}." name ".weight"
/* Llama itself has no biases; some of its kin (attention_bias, mlp_bias) do. */
#define BIAS(role, hf_name, gguf_name, shape_text, ...) \
    { LAYER(role "_bias"), "model.layers.{l}." hf_name ".bias", "blk.{l}." gguf_name ".bias", shape_text, .split = -1, \
      .flags = LMF_ROW_OPTIONAL | LMF_ROW_NO_QUANT, __VA_ARGS__ }
static const lmf_weight_row weights[] = {
    { "embed", "model.embed_tokens.weight", "token_embd.weight", "V,D", .split = 0 },
    { LAYER("attn_norm"), HF("input_layernorm"), GGUF("attn_norm"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.q"), HF("self_attn.q_proj"), GGUF("attn_q"), "H*C,D", .gguf_form = LMF_FORM_QK_PERMUTED, .heads = 'H', .split = 0, .flags = LMF_ROW_LORA_TARGET },
    BIAS("attn.q", "self_attn.q_proj", "attn_q", "H*C", .gguf_form = LMF_FORM_QK_PERMUTED, .heads = 'H'),
    { LAYER("attn.k"), HF("self_attn.k_proj"), GGUF("attn_k"), "K*C,D", .gguf_form = LMF_FORM_QK_PERMUTED, .heads = 'K', .split = 0, .flags = LMF_ROW_LORA_TARGET },
    BIAS("attn.k", "self_attn.k_proj", "attn_k", "K*C", .gguf_form = LMF_FORM_QK_PERMUTED, .heads = 'K'),
    { LAYER("attn.v"), HF("self_attn.v_proj"), GGUF("attn_v"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    BIAS("attn.v", "self_attn.v_proj", "attn_v", "K*C", .heads = 0),
    { LAYER("attn.o"), HF("self_attn.o_proj"), GGUF("attn_output"), "D,H*C", .split = 1, .flags = LMF_ROW_LORA_TARGET },
    BIAS("attn.o", "self_attn.o_proj", "attn_output", "D", .heads = 0),
    { LAYER("mlp_norm"), HF("post_attention_layernorm"), GGUF("ffn_norm"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("mlp.gate"), HF("mlp.gate_proj"), GGUF("ffn_gate"), "F,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    BIAS("mlp.gate", "mlp.gate_proj", "ffn_gate", "F", .heads = 0),
    { LAYER("mlp.up"), HF("mlp.up_proj"), GGUF("ffn_up"), "F,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    BIAS("mlp.up", "mlp.up_proj", "ffn_up", "F", .heads = 0),
    { LAYER("mlp.down"), HF("mlp.down_proj"), GGUF("ffn_down"), "D,F", .split = 1, .flags = LMF_ROW_LORA_TARGET },
    BIAS("mlp.down", "mlp.down_proj", "ffn_down", "D", .heads = 0),
    { "norm", "model.norm.weight", "output_norm.weight", "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { "head", "lm_head.weight", "output.weight", "V,D", .tied = "embed", .split = 0 },
    { "rope_factors", NULL, "rope_freqs.weight", "R", .split = -1, .flags = LMF_ROW_OPTIONAL | LMF_ROW_NO_QUANT },
    { 0 }
};

static int64_t dim(const void *config, char letter)
{
    const llama_config *c = config;
    switch (letter) {
    case 'V': return c->base.vocab;
    case 'D': return c->base.width;
    case 'F': return c->ffn;
    case 'H': return c->n_heads;
    case 'K': return c->n_kv_heads;
    case 'C': return c->head_size;
    case 'R': return c->head_size / 2;
    }
    return -1;
}

lmf_status lmf__llama_check_sizes(lmf_ctx *ctx, lmf_llama_config *c)
{
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    if (c->head_size == 0 && c->base.width % c->n_heads)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the model's width %d is no multiple of its %d heads", c->base.width, c->n_heads);
    if (c->head_size == 0)
        c->head_size = c->base.width / c->n_heads;
    if (c->n_heads % c->n_kv_heads)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the model's %d heads are no multiple of its %d key/value heads", c->n_heads, c->n_kv_heads);
    if (!((double)c->eps >= 1e-12 && c->eps <= 1))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the norms' epsilon %g must lie between 1e-12 and 1", (double)c->eps);
    if (c->activation[0] && strcmp(c->activation, "silu") && strcmp(c->activation, "swish"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the activation \"%s\" is not supported; silu is", c->activation);
    return LMF_OK;
}

lmf_status lmf__llama_check(lmf_ctx *ctx, void *config)
{
    llama_config *c = config;
    LMF_TRY(lmf__llama_check_sizes(ctx, c));
    if (c->rope.n_rot && c->rope.n_rot != c->head_size)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%d of a head's %d dimensions rotate; all of them must", c->rope.n_rot, c->head_size);
    c->rope.n_rot = c->head_size;
    return lmf_rope_check(ctx, &c->rope);
}

static lmf_layer_state state(const void *config, int layer)
{
    const llama_config *c = config;
    (void)layer;
    return (lmf_layer_state){ .kv_width = 2 * (int64_t)c->n_kv_heads * c->head_size, .window = c->window };
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    return lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false));
}

lmf_llama_heads lmf__llama_heads(lmf_graph *g, const llama_config *c)
{
    return (lmf_llama_heads){ .freq = lmf_nn_rope_freq(g, &c->rope, "rope_freq"),
                              .rope = { .head_size = c->head_size, .n_rot = c->rope.n_rot, .scale = 1 },
                              .attn = { c->n_heads, c->n_kv_heads, c->head_size, c->window, 1 / sqrtf((float)c->head_size) } };
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const llama_config *c = g->config;
    lmf_llama_heads heads = lmf__llama_heads(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->eps, "attn.q", "attn.k", "attn.v");
        lmf_tensor *h = lmf_nn_rotary_attention(g, in, p, heads.freq, heads.rope, heads.attn);
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "attn.o", x), "attn_out");
        h = lmf_nn_norm_swiglu(g, x, "mlp_norm", c->eps, "mlp.gate", "mlp.up");
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "mlp.down", x), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

static void head(const void *config, lmf_head_spec *s)
{
    (void)config;
    *s = (lmf_head_spec){ "head", 1 };
}

const lmf_arch lmf_arch_llama = {
    .name = "llama", .hf_class = (const char *const[]){ "LlamaForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "llama", NULL },
    .hf_model_type = "llama", .config_bytes = sizeof(llama_config), .hparams = hparams, .weights = weights, .dim = dim, .check = lmf__llama_check,
    .state = state, .embed = embed, .body = body, .head = head,
};
