/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dora/dora.h"
#include <math.h>
#include "ops/add/add.h"

static const lmf_field fields[] = { { "scale", LMF_FIELD_F32, offsetof(lmf_dora_attrs, scale), "", -1e30, 1e30 }, { 0 } };

enum { X, W, P, Q, M, C };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[X]->v, *w = &n->in[W]->v, *p = &n->in[P]->v, *q = &n->in[Q]->v, *m = &n->in[M]->v;
    const lmf_view *c = n->n_in > C && n->in[C] ? &n->in[C]->v : NULL;
    if (x->dtype != LMF_F32 || p->dtype != LMF_F32 || q->dtype != LMF_F32 || m->dtype != LMF_F32 || (c && c->dtype != LMF_F32) ||
        !w->fmt->unpack || !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x, p, q, m and c are f32, w of a float or block format");
    if (x->n_dims != 2 || w->n_dims != 2 || p->n_dims != 2 || q->n_dims != 2 || m->n_dims != 1 || (c && c->n_dims != 1))
        return lmf_refuse(g, n, LMF_E_SHAPE, "x, w, p and q have two dimensions, m and c one");
    int64_t rows = w->dim[0];
    if (x->dim[1] != rows || p->dim[1] != w->dim[1] || q->dim[0] != rows || q->dim[1] != p->dim[0] || m->dim[0] != rows ||
        (c && c->dim[0] != rows))
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, N], w [N, K], p [R, K], q [N, R], m and c [N]");
    lmf_out_like(n, 0, n->in[X], LMF_F32);
    lmf_out_like(n, 1, n->in[M], LMF_F32);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_view *w = &c->in[W], *p = &c->in[P], *q = &c->in[Q], *bias = c->n_in > C && c->in[C].n_dims ? &c->in[C] : NULL;
    int64_t n = w->dim[0], k = w->dim[1], r = p->dim[0];
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            double low = 0;
            for (int64_t e = 0; e < r; e++)
                low += lmf_get(q, i * r + e) * lmf_get(p, e * k + j);
            low = lmf_get(w, i * k + j) + (double)((const lmf_dora_attrs *)c->attrs)->scale * low;
            sum += low * low;
        }
        double v = sum > 0 ? 1 / sqrt(sum) : 0;
        lmf_set(&c->out[1], i, v);
        for (int64_t t = 0; t < c->in[X].dim[0]; t++)
            lmf_set(&c->out[0], t * n + i, lmf_get(&c->in[X], t * n + i) * lmf_get(&c->in[M], i) * v + (bias ? lmf_get(bias, i) : 0));
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_tensor *c = n->n_in > C ? n->in[C] : NULL;
    if (d_out[1] || n->in[W]->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "w has no gradient, nor has what is made of v");
    lmf_node *b = lmf_node_add(g, &lmf_op_dora_bwd, NULL, (lmf_tensor *[]){ d_out[0], n->in[X], n->in[M], n->out[1] }, 4);
    if (b && n->in[X]->needs_grad)
        lmf_grad_add(g, &d_in[X], b->out[0]);
    if (b && n->in[M]->needs_grad)
        lmf_grad_add(g, &d_in[M], b->out[1]);
    if (c && c->needs_grad)
        lmf_grad_add(g, &d_in[C], (lmf_sum_rows)(g, d_out[0]));
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[W]->v;
    double e = (double)lmf_view_count(w), r = (double)n->in[P]->v.dim[0], x = (double)lmf_view_count(&n->in[X]->v);
    *flops = 2 * e * (r + 1) + 2 * x;
    *bytes = e / w->fmt->block * w->fmt->block_bytes + 4 * r * (double)(w->dim[0] + w->dim[1]) + 8 * x;
}

const lmf_op lmf_op_dora = {
    .name = "dora", .n_in_min = 5, .n_in_max = 6, .n_out = 2, .attr_bytes = sizeof(lmf_dora_attrs), .fields = fields,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_dora)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, lmf_tensor *m, lmf_tensor *c, float scale)
{
    return lmf_node_add1(g, &lmf_op_dora, &(lmf_dora_attrs){ scale }, (lmf_tensor *[]){ x, w, p, q, m, c }, 6);
}

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *dy = &n->in[0]->v;
    for (int i = 0; i < 4; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "dy, x, m and v are f32");
    if (dy->n_dims != 2 || !lmf_same_shape(n->in[0], n->in[1]) || !lmf_same_shape(n->in[2], n->in[3]) || n->in[2]->v.n_dims != 1 ||
        n->in[2]->v.dim[0] != dy->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "dy and x are [T, N], m and v [N]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    lmf_out_like(n, 1, n->in[2], LMF_F32);
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    int64_t n = c->in[0].dim[1];
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, m = lmf_get(&c->in[2], i), v = lmf_get(&c->in[3], i);
        for (int64_t t = 0; t < c->in[0].dim[0]; t++) {
            double dy = lmf_get(&c->in[0], t * n + i);
            sum += dy * lmf_get(&c->in[1], t * n + i);
            lmf_set(&c->out[0], t * n + i, dy * m * v);
        }
        lmf_set(&c->out[1], i, sum * v);
    }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    double x = (double)lmf_view_count(&n->in[0]->v);
    *flops = 4 * x;
    *bytes = 12 * x;
}

const lmf_op lmf_op_dora_bwd = { .name = "dora_bwd", .n_in_min = 4, .n_in_max = 4, .n_out = 2, .infer = bwd_infer, .cost = bwd_cost,
                                 .ref = bwd_ref };
