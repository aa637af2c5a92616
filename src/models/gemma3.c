/* SPDX-License-Identifier: Apache-2.0 */
/* gemma3: Gemma 3's text models (270M, 1B and more). Llama's decoder with the embedding times the root of the width, norms that multiply
 * by 1 + w, a norm before and behind attention and feed-forward, one on each head of q and k, and gelu. As a rule five layers of six look
 * back over a window and turn by a base of their own. GGUF has the norms as 1 + w, no key for the factor of the scores, and layers by
 * their period alone. Gemma Team 2025, arXiv 2503.19786; transformers' Gemma3ForCausalLM.
 * oracle: {"model_type": "gemma3_text", "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 9, "num_hidden_layers": 4,
 *          "sliding_window_pattern": 2, "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
 *          "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}}}
 * oracle: {"model_type": "gemma3_text", "head_dim": 16, "query_pre_attn_scalar": 40, "sliding_window": 20, "gguf": false,
 *          "layer_types": ["full_attention", "sliding_attention", "sliding_attention"], "tie_word_embeddings": true, "pad_token_id": 0} */
#include <math.h>
#include <string.h>
#include "models/llama.h"
#include "ops/add/add.h"
#include "ops/embed/embed.h"
#include "ops/geglu/geglu.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/scale_by/scale_by.h"

typedef struct gemma3_config {
    lmf_llama_config llama;         /* its rope is the full layers' */
    lmf_rope_spec    local;         /* of layers with a window */
    lmf_hparam_list  local_layer;   /* 1: it has one; whole after check */
    int32_t          pattern;       /* each pattern-th layer is full; 0: no such rule */
    int32_t          query;         /* scores are divided by its root */
    char             activation[LMF_HPARAM_TEXT_BYTES];
} gemma3_config;

#define AT(field) offsetof(gemma3_config, field)
#define ROPE(kind, key) "rope_parameters." kind "_attention." key
static const lmf_hparam hparams[] = {
    { "vocab", "vocab_size", "{arch}.vocab_size", LMF_HPARAM_I32, AT(llama.base.vocab), 262208, false },
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, AT(llama.base.context), 131072, false },
    { "n_heads", "num_attention_heads", "{arch}.attention.head_count", LMF_HPARAM_I32, AT(llama.n_heads), 8, false },
    { "n_kv_heads", "num_key_value_heads", "{arch}.attention.head_count_kv", LMF_HPARAM_I32, AT(llama.n_kv_heads), 4, false },
    { "head_size", "head_dim", "{arch}.attention.key_length", LMF_HPARAM_I32, AT(llama.head_size), 256, false },
    { "eps", "rms_norm_eps", "{arch}.attention.layer_norm_rms_epsilon", LMF_HPARAM_F32, AT(llama.eps), 1e-6, false },
    { "activation", "hidden_activation", NULL, LMF_HPARAM_TEXT, AT(activation), 0, false, .flags = LMF_HPARAM_IMPLIED },
    { "tied", "tie_word_embeddings", NULL, LMF_HPARAM_BOOL, AT(llama.tied), 1, false, .flags = LMF_HPARAM_IMPLIED },
    { "query", "query_pre_attn_scalar", NULL, LMF_HPARAM_I32, AT(query), 256, false, .flags = LMF_HPARAM_IMPLIED | LMF_HPARAM_GGUF_0 },
    { "window", "sliding_window", "{arch}.attention.sliding_window", LMF_HPARAM_I32, AT(llama.window), 4096, false,
      .flags = LMF_HPARAM_NULL_IS_0 | LMF_HPARAM_GGUF_0 },
    { "pattern", "sliding_window_pattern|_sliding_window_pattern", "{arch}.attention.sliding_window_pattern", LMF_HPARAM_I32, AT(pattern),
      6, false },
    { "layers", "layer_types", NULL, LMF_HPARAM_LIST, AT(local_layer), 0, false, .words = "full_attention|sliding_attention",
      .flags = LMF_HPARAM_IMPLIED },
    { "rope_base", ROPE("full", "rope_theta") "|rope_theta", "{arch}.rope.freq_base", LMF_HPARAM_F32, AT(llama.rope.base), 1e6, false },
    { "rope_type", ROPE("full", "rope_type") "|rope_parameters.rope_type", "{arch}.rope.scaling.type", LMF_HPARAM_TEXT,
      AT(llama.rope.type), 0, false },
    { "rope_factor", ROPE("full", "factor") "|rope_parameters.factor", "{arch}.rope.scaling.factor", LMF_HPARAM_F32,
      AT(llama.rope.factor), 1, false },
    { "local_base", ROPE("sliding", "rope_theta") "|rope_local_base_freq", "{arch}.rope.freq_base_swa", LMF_HPARAM_F32, AT(local.base), 1e4,
      false },
    { "local_type", ROPE("sliding", "rope_type"), NULL, LMF_HPARAM_TEXT, AT(local.type), 0, false, .flags = LMF_HPARAM_IMPLIED },
    { "rope_low" }, { "rope_high" }, { "rope_context" }, { "attention_bias" }, { "mlp_bias" },
    { 0 }
};

#define LAYER(role) "layers.{l}." role
#define HF(name) "model.layers.{l}." name ".weight"
#define GGUF(name) "blk.{l}." name ".weight"
#define NORM(role, hf_name, gguf_name, shape_text) \
    { role, hf_name, gguf_name, shape_text, .hf_form = LMF_FORM_LESS_ONE, .split = -1, .flags = LMF_ROW_NO_QUANT }
static const lmf_weight_row weights[] = {
    NORM(LAYER("attn_norm"), HF("input_layernorm"), GGUF("attn_norm"), "D"),
    NORM(LAYER("attn_post_norm"), HF("post_attention_layernorm"), GGUF("post_attention_norm"), "D"),
    NORM(LAYER("mlp_norm"), HF("pre_feedforward_layernorm"), GGUF("ffn_norm"), "D"),
    NORM(LAYER("mlp_post_norm"), HF("post_feedforward_layernorm"), GGUF("post_ffw_norm"), "D"),
    NORM(LAYER("attn.q_norm"), HF("self_attn.q_norm"), GGUF("attn_q_norm"), "C"),
    NORM(LAYER("attn.k_norm"), HF("self_attn.k_norm"), GGUF("attn_k_norm"), "C"),
    NORM("norm", "model.norm.weight", "output_norm.weight", "D"),
    { LAYER("attn.q"), HF("self_attn.q_proj"), GGUF("attn_q"), "H*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.k"), HF("self_attn.k_proj"), GGUF("attn_k"), "K*C,D", .split = 0, .flags = LMF_ROW_LORA_TARGET },
    { LAYER("attn.q_bias") }, { LAYER("attn.k_bias") }, { LAYER("attn.v_bias") }, { LAYER("attn.o_bias") }, /* it has none of these */
    { LAYER("mlp.gate_bias") }, { LAYER("mlp.up_bias") }, { LAYER("mlp.down_bias") }, { "rope_factors" },
    { 0 }
};

static bool follows(const gemma3_config *c, int period)
{
    bool same = period > 0;
    for (int l = 0; l < c->local_layer.n && same; l++)
        same = (c->local_layer.v[l] != 0) == ((l + 1) % period != 0);
    return same;
}

/* Layers by a list, or by their period; then the one says what the other does, as far as it can. */
static lmf_status check_layers(lmf_ctx *ctx, gemma3_config *c)
{
    lmf_hparam_list *list = &c->local_layer;
    int n = c->llama.base.n_layers, period = c->pattern;
    bool named = list->n != 0;
    if (named && list->n != n)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "layer_types has %d items for %d layers", list->n, n);
    if (!named && period < 1)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "sliding_window_pattern is %d and there are no layer_types: it is not said which layers look "
                        "back over a window", period);
    list->n = n;
    for (int l = 0; l < n; l++) {
        if (!named)
            list->v[l] = c->llama.window && (l + 1) % period != 0; /* without a window all are full */
        if (list->v[l] != 0 && !c->llama.window)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "layer %d is a sliding_attention, but there is no sliding_window", l);
    }
    if (!c->llama.window)
        c->llama.window = c->llama.base.context; /* that no layer uses: readers want one */
    c->pattern = follows(c, period) ? period : follows(c, 6) ? 6 : 0;
    for (int p = 1; p <= n + 1 && !c->pattern; p++)
        c->pattern = follows(c, p) ? p : 0;
    return LMF_OK;
}

/* What GGUF's readers divide scores by: a head's size; in the model of 27B, known by its layers, the width for each head. */
static int32_t usual_query(const lmf_llama_config *c)
{
    return c->base.n_layers == 62 ? c->base.width / c->n_heads : c->head_size;
}

static lmf_status check(lmf_ctx *ctx, void *config)
{
    gemma3_config *c = config;
    lmf_rope_spec *full = &c->llama.rope;
    LMF_TRY(lmf__llama_check_sizes(ctx, &c->llama));
    if (c->activation[0] && strcmp(c->activation, "gelu_pytorch_tanh"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the activation \"%s\" is not supported; gelu_pytorch_tanh is", c->activation);
    if (full->n_rot && full->n_rot != c->llama.head_size)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%d of a head's %d dimensions rotate; all of them must", full->n_rot, c->llama.head_size);
    if (full->type[0] && strcmp(full->type, "default") && strcmp(full->type, "none") && strcmp(full->type, "linear"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the rope scaling \"%s\" of full layers is not supported; linear is", full->type);
    if (c->local.type[0] && strcmp(c->local.type, "default"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the rope scaling \"%s\" of layers with a window is not supported; they turn unscaled",
                        c->local.type);
    LMF_TRY(check_layers(ctx, c));
    if (!c->query)
        c->query = usual_query(&c->llama);
    full->n_rot = c->local.n_rot = c->llama.head_size;
    c->local.factor = 1;
    LMF_TRY(lmf_rope_check(ctx, full));
    return lmf_rope_check(ctx, &c->local);
}

static lmf_status check_gguf(lmf_ctx *ctx, const void *config)
{
    const gemma3_config *c = config;
    if (c->query != usual_query(&c->llama))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the model's query_pre_attn_scalar is %d, for which a GGUF file of gemma3 has no key; its "
                        "readers take %d", c->query, usual_query(&c->llama));
    if (!c->pattern)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the model's layer_types follow no period, for which a GGUF file of gemma3 has no key");
    return LMF_OK;
}

static lmf_layer_state state(const void *config, int layer)
{
    const gemma3_config *c = config;
    return (lmf_layer_state){ .kv_width = 2 * (int64_t)c->llama.n_kv_heads * c->llama.head_size,
                              .window = c->local_layer.v[layer] != 0 ? c->llama.window : 0 };
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    const gemma3_config *c = g->config;
    float root = sqrtf((float)c->llama.base.width);
    int64_t one = 1;
    lmf_tensor *scale = lmf_graph_const(g, "embed_scale", LMF_F32, 1, &one, &root);
    return lmf_scale_by(g, lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false)), scale, NULL);
}

static lmf_tensor *norm(lmf_graph *g, lmf_tensor *x, const char *role, const gemma3_config *c)
{
    return lmf_rms_norm(g, x, lmf_nn_weight(g, role, false), c->llama.eps);
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const gemma3_config *c = g->config;
    lmf_llama_heads heads = lmf__llama_heads(g, &c->llama);
    lmf_tensor *full = heads.freq, *local = lmf_nn_rope_freq(g, &c->local, "rope_freq_local");
    heads.attn.scale = 1 / sqrtf((float)c->query);
    for (int l = 0; l < c->llama.base.n_layers; l++) {
        bool windowed = c->local_layer.v[l] != 0;
        lmf_graph_block(g, l);
        heads.attn.window = windowed ? c->llama.window : 0;
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->llama.eps, "attn.q", "attn.k", "attn.v");
        p.q = norm(g, p.q, "attn.q_norm", c);
        p.k = norm(g, p.k, "attn.k_norm", c);
        lmf_tensor *h = lmf_nn_rotary_attention(g, in, p, windowed ? local : full, heads.rope, heads.attn);
        x = lmf_nn_label(g, lmf_add(g, x, norm(g, lmf_linear(g, h, "attn.o"), "attn_post_norm", c)), "attn_out");
        h = norm(g, x, "mlp_norm", c);
        h = lmf_linear(g, lmf_geglu(g, lmf_linear(g, h, "mlp.gate"), lmf_linear(g, h, "mlp.up")), "mlp.down");
        x = lmf_nn_label(g, lmf_add(g, x, norm(g, h, "mlp_post_norm", c)), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return norm(g, x, "norm", c);
}

const lmf_arch lmf_arch_gemma3 = {
    .name = "gemma3", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "Gemma3ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "gemma3", NULL }, .hf_model_type = "gemma3_text", .config_bytes = sizeof(gemma3_config),
    .hparams = hparams, .weights = weights, .check = check, .check_gguf = check_gguf, .state = state, .embed = embed, .body = body,
    .harmless = (const char *const[]){ "hidden_act", NULL }, /* hidden_activation is read */
};
