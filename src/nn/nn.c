/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/nn.h"
#include <stdio.h>
#include <string.h>
#include "ops/add/add.h"
#include "ops/attention/attention_rotary.h"
#include "ops/dora/dora.h"
#include "ops/dropout/dropout.h"
#include "ops/kv_append/kv_append.h"
#include "ops/lora/lora.h"
#include "ops/lora_gate/lora_gate.h"
#include "ops/lora_merge/lora_merge.h"
#include "ops/lora_product/lora_product.h"
#include "ops/matmul/matmul.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/swiglu/swiglu.h"

enum { NAME_MAX_BYTES = LMF_NN_NAME_BYTES };

static const char *full_name(lmf_graph *g, char *text, const char *role, const char *suffix)
{
    if (g->block)
        snprintf(text, NAME_MAX_BYTES, "layers.%d.%s%s", g->block - 1, role, suffix);
    else
        snprintf(text, NAME_MAX_BYTES, "%s%s", role, suffix);
    return text;
}

/* The trainer's flat parameters are one STATE tensor "train.p"; all its parts are named at once, so that the graph's own index finds them. */
static void name_params(lmf_graph *g, const lmf_params *ps)
{
    if (!ps || !ps->n || lmf_graph_find(g, ps->items[0].name))
        return;
    lmf_tensor *flat = lmf_graph_find(g, "train.p");
    if (!flat)
        flat = lmf_graph_tensor(g, LMF_STATE, "train.p", LMF_F32, 1, &ps->n_total);
    for (int i = 0; i < ps->n && !g->status; i++) {
        const lmf_param *p = &ps->items[i];
        lmf_tensor *t = lmf_graph_part(g, flat, p->offset * (int64_t)sizeof(float), p->name, p->n_dims, p->dim);
        if (t)
            t->needs_grad = true;
    }
    for (int i = 0; i < ps->n_alias && !g->status; i++)
        lmf_graph_alias(g, lmf_graph_find(g, ps->items[ps->alias[i].item].name), ps->alias[i].name);
}

static lmf_tensor *find_weight(lmf_graph *g, const char *name)
{
    lmf_nn *nn = lmf_nn_of(g);
    name_params(g, nn->params);
    lmf_tensor *t = lmf_graph_find(g, name);
    if (t || g->status)
        return t;
    const lmf_weight *w = lmf_weights_find(nn->weights, name);
    if (!w && nn->adapters)
        w = lmf_weights_find(nn->adapters, name);
    return w ? lmf_graph_tensor(g, LMF_WEIGHT, name, w->v.dtype, w->v.n_dims, w->v.dim) : NULL;
}

lmf_tensor *lmf_nn_weight(lmf_graph *g, const char *role, bool optional)
{
    char name[NAME_MAX_BYTES];
    lmf_tensor *t = find_weight(g, full_name(g, name, role, ""));
    if (!t && !optional && !g->status)
        g->status = LMF_FAIL(g->ctx, LMF_E_NOT_FOUND, "the model has no tensor \"%s\"", name);
    return t;
}

/* Activations in bf16: w and its pair are one matrix for the step, and the sum so far is added while the product is made. */
static lmf_tensor *linear_bf16(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *a, lmf_tensor *b, lmf_tensor *bias, lmf_tensor *onto)
{
    lmf_nn *nn = lmf_nn_of(g);
    lmf_tensor *y, *c = bias ? bias : onto;
    if (a && b)
        y = (lmf_lora_product)(g, x, (lmf_lora_merge)(g, w, a, b, nn->lora_scale), a, b, c,
                               (lmf_lora_product_attrs){ nn->lora_scale, nn->compute });
    else
        y = (lmf_matmul)(g, x, w, c, (lmf_matmul_attrs){ .tb = 1, .alpha = 1, .compute = nn->compute, .y = g->between });
    return bias && onto ? (lmf_add)(g, onto, y) : y;
}

/* PEFT's LoRA with dropout: the pair sees x with gaps, which the slices of a fused matrix share; the layer sees all of it. */
static lmf_tensor *linear_dropped(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *a, lmf_tensor *b, lmf_tensor *bias)
{
    const lmf_nn *nn = lmf_nn_of(g);
    int32_t stream = 0;
    while (stream < nn->params->n && nn->params->items[stream].offset * (int64_t)sizeof(float) != a->base_offset)
        stream++;
    lmf_matmul_attrs attrs = { .tb = 1, .alpha = 1, .compute = nn->compute };
    lmf_tensor *seen = (lmf_dropout)(g, x, lmf_graph_find(g, "pos"), lmf_graph_find(g, "item"), lmf_graph_find(g, "noise"), NULL,
                                     (lmf_dropout_attrs){ nn->dropout, stream });
    lmf_tensor *y = (lmf_matmul)(g, x, w, bias, attrs), *u = (lmf_matmul)(g, seen, a, NULL, attrs);
    attrs.alpha = nn->lora_scale;
    return (lmf_matmul)(g, u, b, y, attrs);
}

/* PEFT's DoRA: the layer and its pair, each output at the length that m says; of an adapter beside the model, whose B is scaled. */
static lmf_tensor *linear_dora(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *a, lmf_tensor *b, lmf_tensor *m, lmf_tensor *bias)
{
    const lmf_nn *nn = lmf_nn_of(g);
    float scale = nn->adapters ? 1 : nn->lora_scale;
    lmf_tensor *y = (lmf_lora)(g, x, w, a, b, NULL, (lmf_lora_attrs){ 1, scale, nn->compute });
    return (lmf_dora)(g, y, w, a, b, m, bias, scale);
}

/* What a linear layer of the tapped layer reads. */
static void note_input(lmf_graph *g, const char *role, lmf_tensor *x)
{
    lmf_nn_tap *tap = lmf_nn_of(g)->tap;
    if (!tap || g->block - 1 != tap->layer || !x)
        return;
    if (tap->n_seen == LMF_NN_MOST_TAPS) {
        g->status = LMF_FAIL(g->ctx, LMF_E_LIMIT, "a layer of more than %d linear layers can't be looked into", LMF_NN_MOST_TAPS);
        return;
    }
    full_name(g, tap->seen[tap->n_seen].role, role, "");
    tap->seen[tap->n_seen++].x = x;
}

static lmf_tensor *linear_onto(lmf_graph *g, lmf_tensor *x, const char *role, lmf_tensor *onto)
{
    char name[NAME_MAX_BYTES];
    lmf_nn *nn = lmf_nn_of(g);
    const char *file = g->file;
    int line = g->line;
    note_input(g, role, x);
    lmf_tensor *w = lmf_nn_weight(g, role, false), *bias = find_weight(g, full_name(g, name, role, "_bias"));
    lmf_tensor *a = find_weight(g, full_name(g, name, role, ".lora_a")), *b = find_weight(g, full_name(g, name, role, ".lora_b"));
    lmf_tensor *m = find_weight(g, full_name(g, name, role, ".lora_m"));
    lmf_graph_at(g, file, line);
    if (a && b && m) {
        lmf_tensor *y = linear_dora(g, x, w, a, b, m, bias);
        return onto ? (lmf_add)(g, onto, y) : y;
    }
    if (g->between == LMF_BF16)
        return linear_bf16(g, x, w, a, b, bias, onto);
    lmf_matmul_attrs attrs = { .tb = 1, .alpha = 1, .compute = nn->compute };
    lmf_tensor *y;
    if (a && b && nn->dropout > 0)
        y = linear_dropped(g, x, w, a, b, bias);
    else if (a && b && !nn->adapters)
        y = (lmf_lora)(g, x, w, a, b, bias, (lmf_lora_attrs){ 1, nn->lora_scale, nn->compute });
    else
        y = (lmf_matmul)(g, x, w, bias, attrs);
    if (a && b && y && nn->adapters) {
        lmf_tensor *seq = lmf_graph_find(g, "seq"), *adapter = lmf_graph_find(g, "adapter");
        y = (lmf_matmul)(g, (lmf_lora_gate)(g, (lmf_matmul)(g, x, a, NULL, attrs), seq, adapter, nn->slot_rank), b, y, attrs);
    }
    return onto ? (lmf_add)(g, onto, y) : y;
}

lmf_tensor *(lmf_linear)(lmf_graph *g, lmf_tensor *x, const char *role) { return linear_onto(g, x, role, NULL); }

/* ---- linear layers and what stands around them: one op each, unless a pair stands beside a layer ---- */
enum { MOST_LAYERS = 3 };
typedef struct layers { lmf_tensor *w[MOST_LAYERS], *bias[MOST_LAYERS]; bool plain; } layers;

static layers find_layers(lmf_graph *g, const char *const *role, int n)
{
    char name[NAME_MAX_BYTES];
    layers l = { .plain = g->between != LMF_BF16 && !lmf_nn_of(g)->tap };
    for (int i = 0; i < n; i++) {
        l.w[i] = lmf_nn_weight(g, role[i], false);
        l.bias[i] = find_weight(g, full_name(g, name, role[i], "_bias"));
        l.plain = l.plain && !find_weight(g, full_name(g, name, role[i], ".lora_a"));
    }
    return l;
}

lmf_tensor *(lmf_nn_linear_add)(lmf_graph *g, lmf_tensor *x, const char *role, lmf_tensor *r)
{
    const char *file = g->file;
    int line = g->line;
    layers l = find_layers(g, &role, 1);
    lmf_graph_at(g, file, line);
    if (l.plain)
        return (lmf_linear_add)(g, x, l.w[0], l.bias[0], r, lmf_nn_of(g)->compute);
    return linear_onto(g, x, role, r);
}

lmf_qkv (lmf_nn_norm_qkv)(lmf_graph *g, lmf_tensor *x, const char *norm, float eps, const char *q, const char *k, const char *v)
{
    const char *role[] = { q, k, v }, *file = g->file;
    int line = g->line;
    layers l = find_layers(g, role, 3);
    lmf_tensor *w = lmf_nn_weight(g, norm, false), *out[3];
    lmf_graph_at(g, file, line);
    if (l.plain) {
        (lmf_norm_linear)(g, x, w, l.w, l.bias, (lmf_norm_linear_attrs){ eps, lmf_nn_of(g)->compute }, out);
    } else {
        lmf_tensor *h = (lmf_rms_norm)(g, x, w, eps);
        for (int i = 0; i < 3; i++)
            out[i] = (lmf_linear)(lmf_graph_at(g, file, line), h, role[i]);
    }
    return (lmf_qkv){ out[0], out[1], out[2] };
}

lmf_tensor *(lmf_nn_norm_swiglu)(lmf_graph *g, lmf_tensor *x, const char *norm, float eps, const char *gate, const char *up)
{
    const char *file = g->file;
    int line = g->line;
    layers l = find_layers(g, (const char *const[]){ gate, up }, 2);
    lmf_tensor *w = lmf_nn_weight(g, norm, false);
    lmf_graph_at(g, file, line);
    if (l.plain)
        return (lmf_norm_swiglu)(g, x, w, l.w, l.bias, (lmf_norm_linear_attrs){ eps, lmf_nn_of(g)->compute });
    /* up before gate: gradients of h are summed in this order, and their bits are kept from version to version */
    lmf_tensor *h = (lmf_rms_norm)(g, x, w, eps), *u = (lmf_linear)(g, h, up);
    return (lmf_swiglu)(g, (lmf_linear)(lmf_graph_at(g, file, line), h, gate), u);
}

static lmf_tensor *cache_tensor(lmf_graph *g, const lmf_batch *in, const char *role, int64_t width)
{
    char name[NAME_MAX_BYTES];
    full_name(g, name, role, "");
    lmf_tensor *t = lmf_graph_find(g, name);
    return t ? t : lmf_graph_tensor(g, LMF_STATE, name, in->cache_dtype, 3, (int64_t[]){ in->n_pages, in->page_size, width });
}

lmf_kv (lmf_nn_kv)(lmf_graph *g, const lmf_batch *in, lmf_tensor *k, lmf_tensor *v)
{
    if (!in->page || !k || !v)
        return (lmf_kv){ k, v };
    lmf_tensor *kc = cache_tensor(g, in, "k_cache", k->v.dim[1]), *vc = cache_tensor(g, in, "v_cache", v->v.dim[1]);
    return (lmf_kv){ (lmf_kv_append)(g, in, kc, k), (lmf_kv_append)(g, in, vc, v) };
}

lmf_tensor *(lmf_nn_attend)(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_kv kv, lmf_attention_attrs attrs)
{
    if (in->page)
        return (lmf_attention_paged)(g, in, q, kv.k, kv.v, attrs);
    attrs.compute = lmf_nn_of(g)->compute;
    return (lmf_attention)(g, in, q, kv.k, kv.v, attrs);
}

lmf_tensor *(lmf_nn_attention)(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_attention_attrs attrs)
{
    return (lmf_nn_attend)(g, in, q, (lmf_nn_kv)(g, in, k, v), attrs);
}

lmf_tensor *(lmf_nn_rotary_attention)(lmf_graph *g, const lmf_batch *in, lmf_qkv p, lmf_tensor *freq, lmf_rope_attrs rope,
                                      lmf_attention_attrs attrs)
{
    if (!in->page || !p.k || !p.v) {
        lmf_tensor *q = (lmf_rope)(g, p.q, in->pos, freq, rope);
        return (lmf_nn_attention)(g, in, q, (lmf_rope)(g, p.k, in->pos, freq, rope), p.v, attrs);
    }
    attrs.compute = lmf_nn_of(g)->compute;
    lmf_tensor *kc = cache_tensor(g, in, "k_cache", p.k->v.dim[1]), *vc = cache_tensor(g, in, "v_cache", p.v->v.dim[1]);
    return (lmf_attention_rotary)(g, in, p.q, p.k, p.v, freq, kc, vc, (lmf_attention_rotary_attrs){ attrs, rope.n_rot, rope.scale });
}

/* Where a layer ends, the tapped one's stream is brought out, and that of the one before is replaced. */
static lmf_tensor *cut(lmf_graph *g, lmf_tensor *t)
{
    lmf_nn_tap *tap = lmf_nn_of(g)->tap;
    int layer = g->block - 1;
    if (layer == tap->layer) {
        lmf_graph_output(g, "stream_out", t);
        tap->left = true;
    }
    if (layer != tap->layer - 1 || !t)
        return t;
    tap->entered = true;
    return lmf_graph_tensor(g, LMF_INPUT, "stream", LMF_F32, t->v.n_dims, t->v.dim);
}

lmf_tensor *lmf_nn_label(lmf_graph *g, lmf_tensor *t, const char *name)
{
    char text[NAME_MAX_BYTES];
    if (lmf_nn_of(g)->tap && strcmp(name, "mlp_out") == 0)
        return cut(g, t);
    return lmf_graph_label(g, t, full_name(g, text, name, ""));
}
