/* SPDX-License-Identifier: Apache-2.0 */
/* smollm3: SmolLM3 3B. Llama's decoder, where some layers, as a rule every fourth, don't turn q and k. Bakouch et al. 2025,
 * huggingface.co/blog/smollm3; transformers' SmolLM3ForCausalLM. In GGUF it is always every fourth layer.
 * oracle: {"model_type": "smollm3", "num_hidden_layers": 5, "pad_token_id": 259}
 * oracle: {"model_type": "smollm3", "no_rope_layers": [0, 1, 0], "pad_token_id": 259, "gguf": false} */
#include "models/llama.h"
#include "ops/rms_norm/rms_norm.h"

enum { EVERY = 4 };
typedef struct smollm3_config { lmf_llama_config llama; lmf_hparam_list turns; int32_t interval; bool windowed; } smollm3_config;

static const lmf_hparam hparams[] = {
    { "context", "max_position_embeddings", "{arch}.context_length", LMF_HPARAM_I32, offsetof(lmf_config_base, context), 32768, false },
    { "rope_base", "rope_theta", "{arch}.rope.freq_base", LMF_HPARAM_F32, offsetof(lmf_llama_config, rope.base), 2e6, false },
    { "turns", "no_rope_layers", NULL, LMF_HPARAM_LIST, offsetof(smollm3_config, turns), 0, false }, /* 1: the layer does turn */
    { "interval", "no_rope_layer_interval", NULL, LMF_HPARAM_I32, offsetof(smollm3_config, interval), EVERY, false },
    { "windowed", "use_sliding_window", NULL, LMF_HPARAM_BOOL, offsetof(smollm3_config, windowed), 0, false },
    { 0 }
};

static bool turns(const smollm3_config *c, int layer)
{
    return c->turns.n ? c->turns.v[layer] != 0 : (layer + 1) % c->interval != 0;
}

/* A list that says what the interval says goes: GGUF has no place for it. */
static lmf_status check(lmf_ctx *ctx, void *config)
{
    smollm3_config *c = config;
    int n_layers = c->llama.base.n_layers;
    bool same = true;
    if (c->windowed)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "use_sliding_window is true; smollm3 is supported without a window");
    if (c->interval < 1 || (c->turns.n && c->turns.n != n_layers))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "no_rope_layers has %d items for %d layers, with an interval of %d", c->turns.n, n_layers,
                        c->interval);
    for (int l = 0; l < n_layers; l++)
        same = same && turns(c, l) == ((l + 1) % EVERY != 0);
    for (int l = 0; l < n_layers && !same; l++)
        c->turns.v[l] = turns(c, l);
    c->turns.n = same ? 0 : n_layers;
    c->interval = EVERY;
    return lmf__llama_check(ctx, config);
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const smollm3_config *own = g->config;
    const lmf_llama_config *c = &own->llama;
    lmf_llama_heads heads = lmf__llama_heads(g, c);
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->eps, "attn.q", "attn.k", "attn.v");
        lmf_tensor *h = turns(own, l) ? lmf_nn_rotary_attention(g, in, p, heads.freq, heads.rope, heads.attn) :
                                        lmf_nn_attention(g, in, p.q, p.k, p.v, heads.attn);
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "attn.o", x), "attn_out");
        h = lmf_nn_norm_swiglu(g, x, "mlp_norm", c->eps, "mlp.gate", "mlp.up");
        x = lmf_nn_label(g, lmf_nn_linear_add(g, h, "mlp.down", x), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

const lmf_arch lmf_arch_smollm3 = {
    .name = "smollm3", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "SmolLM3ForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "smollm3", NULL }, .hf_model_type = "smollm3", .config_bytes = sizeof(smollm3_config),
    .hparams = hparams, .check = check, .body = body,
    .harmless = (const char *const[]){ "sliding_window", "max_window_layers", NULL }, /* read with use_sliding_window alone */
};
