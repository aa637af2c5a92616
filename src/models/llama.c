/* SPDX-License-Identifier: Apache-2.0 */
/* llama: Llama 1 to 3, SmolLM, SmolLM2, TinyLlama, Mistral without a window. Pre-norm decoder with grouped-query attention,
 * rotary positions and SwiGLU. Touvron et al. 2023, arXiv 2302.13971; transformers' LlamaForCausalLM. */
#include <math.h>
#include <string.h>
#include "models/llama.h"
#include "nn/nn.h"
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
    { "rope_base", "rope_theta", "{arch}.rope.freq_base", LMF_HPARAM_F32, offsetof(llama_config, rope_base), 10000, false },
    { "rope_type", "rope_parameters.rope_type", "{arch}.rope.scaling.type", LMF_HPARAM_TEXT, offsetof(llama_config, rope_type), 0, false },
    { "rope_factor", "rope_parameters.factor", "{arch}.rope.scaling.factor", LMF_HPARAM_F32, offsetof(llama_config, rope_factor), 1, false },
    { "rope_low", "rope_parameters.low_freq_factor", NULL, LMF_HPARAM_F32, offsetof(llama_config, rope_low), 1, false },
    { "rope_high", "rope_parameters.high_freq_factor", NULL, LMF_HPARAM_F32, offsetof(llama_config, rope_high), 4, false },
    { "rope_context", "rope_parameters.original_max_position_embeddings", NULL, LMF_HPARAM_I32, offsetof(llama_config, rope_context), 8192, false },
    { "activation", "hidden_act", NULL, LMF_HPARAM_TEXT, offsetof(llama_config, activation), 0, false },
    { "n_rot", NULL, "{arch}.rope.dimension_count", LMF_HPARAM_I32, offsetof(llama_config, n_rot), 0, false },
    { "tied", "tie_word_embeddings", NULL, LMF_HPARAM_BOOL, offsetof(llama_config, tied), 0, false },
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

lmf_status lmf__llama_check(lmf_ctx *ctx, void *config)
{
    llama_config *c = config;
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
    if (c->rope_type[0] && strcmp(c->rope_type, "default") && strcmp(c->rope_type, "none") && strcmp(c->rope_type, "linear") && strcmp(c->rope_type, "llama3"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "rope scaling \"%s\" is not supported; linear and llama3 are", c->rope_type);
    if (c->rope_factor != 1 && (!c->rope_type[0] || strcmp(c->rope_type, "default") == 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the rope scaling has a factor of %g but no type; it must say linear or llama3", (double)c->rope_factor);
    if (strcmp(c->rope_type, "llama3") == 0 && !(c->rope_low > 0 && c->rope_high > c->rope_low && c->rope_context > 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "llama3 rope scaling from %g to %g over a context of %d is not possible", (double)c->rope_low, (double)c->rope_high, c->rope_context);
    if (c->n_rot && c->n_rot != c->head_size)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%d of a head's %d dimensions rotate; all of them must", c->n_rot, c->head_size);
    if (c->activation[0] && strcmp(c->activation, "silu") && strcmp(c->activation, "swish"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the activation \"%s\" is not supported; silu is", c->activation);
    return LMF_OK;
}

static void state(const void *config, lmf_state_spec *s)
{
    const llama_config *c = config;
    *s = (lmf_state_spec){ .kv_width = 2 * (int64_t)c->n_kv_heads * c->head_size, .n_kv_layers = c->base.n_layers };
}

/* Radians a position for each pair. Long-context factors come from the file (GGUF) or from llama3's rule (config.json). */
static lmf_tensor *rope_freq(lmf_graph *g, const llama_config *c)
{
    float freq[512];
    int64_t half = c->head_size / 2;
    const lmf_weight *factors = lmf_weights_find(lmf_nn_of(g)->weights, "rope_factors");
    for (int64_t i = 0; factors && i < half; i++)
        if (!(lmf_get(&factors->v, i) > 0)) {
            g->status = LMF_FAIL(g->ctx, LMF_E_FORMAT, "rope_freqs.weight: factor %lld is %g; it must be positive", (long long)i, lmf_get(&factors->v, i));
            return NULL;
        }
    for (int64_t i = 0; i < half; i++) {
        double f = pow((double)c->rope_base, -2.0 * (double)i / c->head_size), wave = 2 * M_PI / f;
        if (factors) {
            f /= lmf_get(&factors->v, i);
        } else if (strcmp(c->rope_type, "linear") == 0) {
            f /= (double)c->rope_factor;
        } else if (strcmp(c->rope_type, "llama3") == 0) {
            double low = c->rope_context / (double)c->rope_low, high = c->rope_context / (double)c->rope_high;
            double smooth = (c->rope_context / wave - (double)c->rope_low) / (double)(c->rope_high - c->rope_low);
            if (wave > low)
                f /= (double)c->rope_factor;
            else if (wave >= high)
                f = (1 - smooth) * f / (double)c->rope_factor + smooth * f;
        }
        freq[i] = (float)f;
    }
    return lmf_graph_const(g, "rope_freq", LMF_F32, 1, &half, freq);
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    return lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false));
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const llama_config *c = g->config;
    lmf_rope_attrs rope = { .head_size = c->head_size, .n_rot = c->head_size, .scale = 1 };
    lmf_attention_attrs attn = { c->n_heads, c->n_kv_heads, c->head_size, 0, 1 / sqrtf((float)c->head_size) };
    lmf_tensor *freq = rope_freq(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->eps, "attn.q", "attn.k", "attn.v");
        lmf_tensor *h = lmf_nn_rotary_attention(g, in, p, freq, rope, attn);
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
    .name = "llama", .hf_class = (const char *const[]){ "LlamaForCausalLM", "MistralForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "llama", NULL },
    .hf_model_type = "llama", .config_bytes = sizeof(llama_config), .hparams = hparams, .weights = weights, .dim = dim, .check = lmf__llama_check,
    .state = state, .embed = embed, .body = body, .head = head,
};
