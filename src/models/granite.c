/* SPDX-License-Identifier: Apache-2.0 */
/* granite: Granite 3 (1B to 8B), without experts. Llama's decoder with four factors: of the embedding, of attention's scores, of what a
 * layer adds, and under the logits. IBM 2024, github.com/ibm-granite/granite-3.0-language-models; transformers' GraniteForCausalLM.
 * oracle: {"model_type": "granite", "embedding_multiplier": 3.0, "attention_multiplier": 0.2, "residual_multiplier": 0.6,
 *          "logits_scaling": 1.5} */
#include "models/llama.h"
#include "ops/embed/embed.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/scale_by/scale_by.h"

typedef struct granite_config { lmf_llama_config llama; float embed, attn, residual, logits; } granite_config;

static const lmf_hparam hparams[] = {
    { "embed_scale", "embedding_multiplier", "{arch}.embedding_scale", LMF_HPARAM_F32, offsetof(granite_config, embed), 1, false },
    { "attn_scale", "attention_multiplier", "{arch}.attention.scale", LMF_HPARAM_F32, offsetof(granite_config, attn), 1, false },
    { "residual_scale", "residual_multiplier", "{arch}.residual_scale", LMF_HPARAM_F32, offsetof(granite_config, residual), 1, false },
    { "logit_divisor", "logits_scaling", "{arch}.logit_scale", LMF_HPARAM_F32, offsetof(granite_config, logits), 1, false },
    { 0 }
};

static lmf_status check(lmf_ctx *ctx, void *config)
{
    const granite_config *c = config;
    if (!(c->attn > 0) || !(c->logits > 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "attention's factor %g and the logits' divisor %g must be positive", (double)c->attn,
                        (double)c->logits);
    return lmf__llama_check(ctx, config);
}

static lmf_tensor *factor(lmf_graph *g, const char *name, float value)
{
    int64_t one = 1;
    return lmf_graph_const(g, name, LMF_F32, 1, &one, &value);
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    const granite_config *c = g->config;
    return lmf_scale_by(g, lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false)), factor(g, "embed_scale", c->embed), NULL);
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const granite_config *own = g->config;
    const lmf_llama_config *c = &own->llama;
    lmf_llama_heads heads = lmf__llama_heads(g, c);
    lmf_tensor *scale = factor(g, "residual_scale", own->residual);
    heads.attn.scale = own->attn;
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_qkv p = lmf_nn_norm_qkv(g, x, "attn_norm", c->eps, "attn.q", "attn.k", "attn.v");
        lmf_tensor *h = lmf_nn_rotary_attention(g, in, p, heads.freq, heads.rope, heads.attn);
        x = lmf_nn_label(g, lmf_scale_by(g, lmf_linear(g, h, "attn.o"), scale, x), "attn_out");
        h = lmf_nn_norm_swiglu(g, x, "mlp_norm", c->eps, "mlp.gate", "mlp.up");
        x = lmf_nn_label(g, lmf_scale_by(g, lmf_linear(g, h, "mlp.down"), scale, x), "mlp_out");
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), c->eps);
}

static void head(const void *config, lmf_head_spec *s)
{
    *s = (lmf_head_spec){ "head", 1 / ((const granite_config *)config)->logits };
}

const lmf_arch lmf_arch_granite = {
    .name = "granite", .like = &lmf_arch_llama, .hf_class = (const char *const[]){ "GraniteForCausalLM", NULL },
    .gguf_arch = (const char *const[]){ "granite", NULL }, .hf_model_type = "granite", .config_bytes = sizeof(granite_config),
    .hparams = hparams, .check = check, .embed = embed, .body = body, .head = head,
};
