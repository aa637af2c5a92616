/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the forward pass makes the gradients of a loss of 1; backward only scales them. */
#include "ops/head_topk/head_topk.h"
#include <stdint.h>
#include "ops/head_kl/head_kl.h"
#include "ops/scale_by/scale_by.h"

enum { X, W, ID, LOGP, REST, WEIGHT };
enum { LOSS, KL, DX, DW };

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_head_topk_attrs, scale), "", -1e30, 1e30 },
    { "temperature", LMF_FIELD_F32, offsetof(lmf_head_topk_attrs, temperature), "", 0.999e-3, 1e3 },
    { "beta", LMF_FIELD_F32, offsetof(lmf_head_topk_attrs, beta), "", 0, 1 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_head_topk_attrs, compute), "", 0, 1 },
    { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[X]->v, *w = &n->in[W]->v, *id = &n->in[ID]->v, *logp = &n->in[LOGP]->v;
    const lmf_view *rest = &n->in[REST]->v, *weight = &n->in[WEIGHT]->v;
    if (!lmf_is_activation(n->in[X]) || !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)) || id->dtype != LMF_I32 ||
        logp->dtype != LMF_F32 || rest->dtype != LMF_F32 || weight->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, w of a float or block format, id i32, logp, rest and weight f32");
    if (x->n_dims != 2 || w->n_dims != 2 || x->dim[1] != w->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, D] and w [V, D]");
    if (id->n_dims != 2 || id->dim[0] != x->dim[0] || id->dim[1] < 1 || id->dim[1] > w->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "id is [T, K], K from 1 to V");
    if (logp->n_dims != 2 || logp->dim[0] != id->dim[0] || logp->dim[1] != id->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "logp has the shape of id");
    if (lmf_view_count(rest) != x->dim[0] || lmf_view_count(weight) != x->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "rest and weight have one element for each row of x");
    if (x->dim[0] >= INT32_MAX || w->dim[0] > INT32_MAX)
        return lmf_refuse(g, n, LMF_E_LIMIT, "at most 2^31 - 1 rows");
    lmf_out_set(n, LOSS, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, KL, LMF_F32, 1, x->dim);
    lmf_out_like(n, DX, n->in[X], x->dtype);
    if (n->op == &lmf_op_head_topk_w)
        lmf_out_like(n, DW, n->in[W], LMF_F32);
    return LMF_OK;
}

/* ---- the reference ---- */
static double logit(const lmf_call *c, int64_t t, int64_t v)
{
    const lmf_head_topk_attrs *a = c->attrs;
    int64_t d = c->in[W].dim[1];
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += lmf_get(&c->in[X], t * d + i) * lmf_get(&c->in[W], v * d + i);
    return (double)a->scale / (double)a->temperature * sum;
}

/* Of the k tokens of a row the one that v is, or k. */
static int64_t place(const lmf_call *c, int64_t t, int64_t k, int64_t v)
{
    int64_t i = 0;
    while (i < k && lmf_get_int(&c->in[ID], t * k + i) != v)
        i++;
    return i;
}

enum { PIECE = 4096 };

/* The gradient by the logits a piece at a time: a dx in bf16 rounds once a piece. */
static double ref_row(const lmf_call *c, int64_t t, double weight)
{
    const lmf_head_topk_attrs *a = c->attrs;
    int64_t n_v = c->in[W].dim[0], k = c->in[ID].dim[1], d = c->in[W].dim[1];
    double others = -INFINITY, lse = -INFINITY, kl = 0, mean = 0, rest_slope = 0, slope, beta = (double)a->beta;
    double u = weight * (double)a->temperature * (double)a->scale, dz[PIECE];
    for (int64_t v = 0; v < n_v; v++) {
        double z = logit(c, t, v);
        lmf__add_to_lse(&lse, z);
        if (place(c, t, k, v) == k)
            lmf__add_to_lse(&others, z);
    }
    for (int64_t i = 0; i < k; i++) {
        double ls = logit(c, t, lmf_get_int(&c->in[ID], t * k + i)) - lse;
        kl += lmf__bucket(beta, ls, lmf_get(&c->in[LOGP], t * k + i), &slope);
        mean += exp(ls) * slope;
    }
    if (k < n_v) {
        kl += lmf__bucket(beta, others - lse, lmf_get(&c->in[REST], t), &rest_slope);
        mean += exp(others - lse) * rest_slope;
    }
    for (int64_t v0 = 0; v0 < n_v; v0 += PIECE) {
        int64_t n = n_v - v0 < PIECE ? n_v - v0 : PIECE;
        for (int64_t v = 0; v < n; v++) {
            int64_t i = place(c, t, k, v0 + v);
            double ls = logit(c, t, v0 + v) - lse;
            slope = rest_slope;
            if (i < k)
                lmf__bucket(beta, ls, lmf_get(&c->in[LOGP], t * k + i), &slope);
            dz[v] = u * exp(ls) * (slope - mean);
        }
        for (int64_t e = 0; e < d; e++) {
            double dx = lmf_get(&c->out[DX], t * d + e), x = lmf_get(&c->in[X], t * d + e);
            for (int64_t v = 0; v < n; v++) {
                int64_t at = (v0 + v) * d + e;
                dx += dz[v] * lmf_get(&c->in[W], at);
                if (c->n_out > DW)
                    lmf_set(&c->out[DW], at, lmf_get(&c->out[DW], at) + dz[v] * x);
            }
            lmf_set(&c->out[DX], t * d + e, dx);
        }
    }
    return (double)a->temperature * (double)a->temperature * kl;
}

static lmf_status ref(const lmf_call *c)
{
    double loss = 0;
    for (int j = DX; j < c->n_out; j++)
        for (int64_t i = 0; i < lmf_view_count(&c->out[j]); i++)
            lmf_set(&c->out[j], i, 0);
    for (int64_t t = 0; t < c->in[X].dim[0]; t++) {
        double weight = lmf_get(&c->in[WEIGHT], t), kl = weight != 0 ? ref_row(c, t, weight) : 0;
        lmf_set(&c->out[KL], t, kl);
        loss += weight * kl;
    }
    lmf_set(&c->out[LOSS], 0, loss);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[W]->v;
    bool with_w = n->op == &lmf_op_head_topk_w;
    double x = (double)lmf_view_count(&n->in[X]->v), v = (double)w->dim[0];
    *flops = (with_w ? 10 : 6) * x * v;
    *bytes = 2 * n->in[X]->v.fmt->block_bytes * x + (double)lmf_view_count(w) / w->fmt->block * w->fmt->block_bytes +
             8 * (double)lmf_view_count(&n->in[ID]->v) + (with_w ? 4 * v * (double)w->dim[1] : 0);
}

const lmf_op lmf_op_head_topk = {
    .name = "head_topk", .n_in_min = 6, .n_in_max = 6, .n_out = 3, .attr_bytes = sizeof(lmf_head_topk_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};
const lmf_op lmf_op_head_topk_w = {
    .name = "head_topk_w", .n_in_min = 6, .n_in_max = 6, .n_out = 4, .attr_bytes = sizeof(lmf_head_topk_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_head_topk)(lmf_graph *g, lmf_head_topk_in in, lmf_head_topk_attrs attrs)
{
    lmf_tensor *list[] = { in.x, in.w, in.id, in.logp, in.rest, in.weight };
    lmf_node *n = lmf_node_add(g, in.w && in.w->needs_grad ? &lmf_op_head_topk_w : &lmf_op_head_topk, &attrs, list, 6);
    return n ? n->out[LOSS] : NULL;
}
