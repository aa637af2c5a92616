/* SPDX-License-Identifier: Apache-2.0 */
/* qwen2: Qwen2 and Qwen2.5 (0.5B to 3B and more), also their DeepSeek-R1 distillations. Llama's decoder with biases on q, k and v, a
 * rope base of 1e6 and, in the small ones, a tied head. Yang et al. 2024, arXiv 2407.10671; transformers' Qwen2ForCausalLM. */
#include <math.h>
#include <string.h>
#include "models/arch.h"
#include "nn/nn.h"
#include "ops/add/add.h"
#include "ops/embed/embed.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/swiglu/swiglu.h"

typedef struct qwen2_config {
    lmf_config_base base;            /* n_layers, width, vocab, context */
    int32_t n_heads, n_kv_heads, head_size, ffn;
    float   eps, rope_base, rope_factor;
    char    rope_type[LMF_HPARAM_TEXT_BYTES], activation[LMF_HPARAM_TEXT_BYTES];
    bool    windowed;
} qwen2_config;

static const lmf_hparam hparams[] = {
    { "n_layers", "num_hidden_layers", "{arch}.block_count", LMF_HPARAM_I32, offsetof(qwen2_config, base.n_layers), 0, true },
    { "width", "hidden_size", "{arch}.embedding_length", LMF_HPARAM_I32, offsetof(qwen2_config, base.width), 0, true },
    { "vocab", "vocab_size", "{arch}.vocab_size", LMF_HPARAM_I32, offsetof(qwen2_config, base.vocab), 0, false },
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(qwen2_config, base.context), 32768, false },
    { "n_heads", "num_attention_heads", "{arch}.attention.head_count", LMF_HPARAM_I32, offsetof(qwen2_config, n_heads), 0, true },
    { "n_kv_heads", "num_key_value_heads", "{arch}.attention.head_count_kv", LMF_HPARAM_I32, offsetof(qwen2_config, n_kv_heads), 0, false },
    { "head_size", "head_dim", "{arch}.attention.key_length", LMF_HPARAM_I32, offsetof(qwen2_config, head_size), 0, false },
    { "ffn", "intermediate_size", "{arch}.feed_forward_length", LMF_HPARAM_I32, offsetof(qwen2_config, ffn), 0, true },
    { "eps", "rms_norm_eps", "{arch}.attention.layer_norm_rms_epsilon", LMF_HPARAM_F32, offsetof(qwen2_config, eps), 1e-6, false },
    { "rope_base", "rope_theta", "{arch}.rope.freq_base", LMF_HPARAM_F32, offsetof(qwen2_config, rope_base), 10000, false },
    { "rope_type", "rope_parameters.rope_type", "{arch}.rope.scaling.type", LMF_HPARAM_TEXT, offsetof(qwen2_config, rope_type), 0, false },
    { "rope_factor", "rope_parameters.factor", "{arch}.rope.scaling.factor", LMF_HPARAM_F32, offsetof(qwen2_config, rope_factor), 1, false },
    { "activation", "hidden_act", NULL, LMF_HPARAM_TEXT, offsetof(qwen2_config, activation), 0, false },
    { "windowed", "use_sliding_window", NULL, LMF_HPARAM_BOOL, offsetof(qwen2_config, windowed), 0, false },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}." name
#define GGUF(name) "blk.{l}." name
static const lmf_weight_row weights[] = {
    { "embed", "model.embed_tokens.weight", "token_embd.weight", "V,D", .split = 0 },
    { LAYER("attn_norm"), HF("input_layernorm.weight"), GGUF("attn_norm.weight"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.q"), HF("self_attn.q_proj.weight"), GGUF("attn_q.weight"), "H*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.q_bias"), HF("self_attn.q_proj.bias"), GGUF("attn_q.bias"), "H*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.k"), HF("self_attn.k_proj.weight"), GGUF("attn_k.weight"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.k_bias"), HF("self_attn.k_proj.bias"), GGUF("attn_k.bias"), "K*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.v"), HF("self_attn.v_proj.weight"), GGUF("attn_v.weight"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.v_bias"), HF("self_attn.v_proj.bias"), GGUF("attn_v.bias"), "K*C", .split = 0, .flags = LMF_ROW_NO_QUANT },
    { LAYER("attn.o"), HF("self_attn.o_proj.weight"), GGUF("attn_output.weight"), "D,H*C", .split = 1, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("mlp_norm"), HF("post_attention_layernorm.weight"), GGUF("ffn_norm.weight"), "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { LAYER("mlp.gate"), HF("mlp.gate_proj.weight"), GGUF("ffn_gate.weight"), "F,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("mlp.up"), HF("mlp.up_proj.weight"), GGUF("ffn_up.weight"), "F,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("mlp.down"), HF("mlp.down_proj.weight"), GGUF("ffn_down.weight"), "D,F", .split = 1, .flags = LMF_ROW_LORA_TARGET },
    { "norm", "model.norm.weight", "output_norm.weight", "D", .split = -1, .flags = LMF_ROW_NO_QUANT },
    { "head", "lm_head.weight", "output.weight", "V,D", .tied = "embed", .split = 0 },
    { 0 }
};

static int64_t dim(const void *config, char letter)
{
    const qwen2_config *c = config;
    switch (letter) {
    case 'V': return c->base.vocab;
    case 'D': return c->base.width;
    case 'F': return c->ffn;
    case 'H': return c->n_heads;
    case 'K': return c->n_kv_heads;
    case 'C': return c->head_size;
    }
    return -1;
}

static lmf_status check(lmf_ctx *ctx, void *config)
{
    qwen2_config *c = config;
    if (c->n_kv_heads == 0)
        c->n_kv_heads = c->n_heads;
    if (c->head_size == 0 && c->base.width % c->n_heads)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the model's width %d is no multiple of its %d heads", c->base.width, c->n_heads);
    if (c->head_size == 0)
        c->head_size = c->base.width / c->n_heads;
    if (c->n_heads % c->n_kv_heads)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the model's %d heads are no multiple of its %d key/value heads", c->n_heads, c->n_kv_heads);
    if (c->head_size % 2 || c->head_size > 1024)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "heads of %d can't be rotated: an even size up to 1024 is needed", c->head_size);
    if (!(c->rope_base > 0) || !(c->rope_factor > 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "rope base %g and rope factor %g must be positive", (double)c->rope_base, (double)c->rope_factor);
    if (!((double)c->eps >= 1e-12 && c->eps <= 1))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the norms' epsilon %g must lie between 1e-12 and 1", (double)c->eps);
    if (c->rope_type[0] && strcmp(c->rope_type, "default") && strcmp(c->rope_type, "none") && strcmp(c->rope_type, "linear"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "rope scaling \"%s\" is not supported; linear is", c->rope_type);
    if (c->activation[0] && strcmp(c->activation, "silu") && strcmp(c->activation, "swish"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the activation \"%s\" is not supported; qwen2 has silu", c->activation);
    if (c->windowed)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "use_sliding_window is true; qwen2 is supported without a window");
    return LMF_OK;
}

static void state(const void *config, lmf_state_spec *s)
{
    const qwen2_config *c = config;
    *s = (lmf_state_spec){ .kv_width = 2 * (int64_t)c->n_kv_heads * c->head_size, .n_kv_layers = c->base.n_layers };
}

/* Radians a position for each pair of a head. */
static lmf_tensor *rope_freq(lmf_graph *g, const qwen2_config *c)
{
    float freq[512];
    int64_t half = c->head_size / 2;
    double factor = strcmp(c->rope_type, "linear") == 0 ? (double)c->rope_factor : 1;
    for (int64_t i = 0; i < half; i++)
        freq[i] = (float)(pow((double)c->rope_base, -2.0 * (double)i / c->head_size) / factor);
    return lmf_graph_const(g, "rope_freq", LMF_F32, 1, &half, freq);
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    return lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false));
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const qwen2_config *c = g->config;
    lmf_rope_attrs rope = { .head_size = c->head_size, .n_rot = c->head_size, .scale = 1 };
    lmf_attention_attrs attn = { c->n_heads, c->n_kv_heads, c->head_size, 0, 1 / sqrtf((float)c->head_size) };
    lmf_tensor *freq = rope_freq(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_tensor *h = lmf_rms_norm(g, x, lmf_nn_weight(g, "attn_norm", false), c->eps);
        lmf_tensor *q = lmf_rope(g, lmf_linear(g, h, "attn.q"), in->pos, freq, rope);
        lmf_tensor *k = lmf_rope(g, lmf_linear(g, h, "attn.k"), in->pos, freq, rope);
        lmf_tensor *v = lmf_linear(g, h, "attn.v");
        lmf_tensor *o = lmf_nn_attention(g, in, q, k, v, attn);
        x = lmf_nn_label(g, lmf_add(g, x, lmf_linear(g, o, "attn.o")), "attn_out");
        h = lmf_rms_norm(g, x, lmf_nn_weight(g, "mlp_norm", false), c->eps);
        h = lmf_swiglu(g, lmf_linear(g, h, "mlp.gate"), lmf_linear(g, h, "mlp.up"));
        x = lmf_nn_label(g, lmf_add(g, x, lmf_linear(g, h, "mlp.down")), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

static void head(const void *config, lmf_head_spec *s)
{
    (void)config;
    *s = (lmf_head_spec){ "head", 1 };
}

const lmf_arch lmf_arch_qwen2 = {
    .name = "qwen2", .hf_class = (const char *const[]){ "Qwen2ForCausalLM", NULL }, .gguf_arch = (const char *const[]){ "qwen2", NULL },
    .hf_model_type = "qwen2", .config_bytes = sizeof(qwen2_config), .hparams = hparams, .weights = weights, .dim = dim, .check = check,
    .state = state, .embed = embed, .body = body, .head = head,
};
