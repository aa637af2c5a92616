/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: p and q are what m was made of: their gradients hold for y only then, so nobody but nn/ writes this node. */
#include "ops/lora_product/lora_product.h"
#include "ops/add/add.h"
#include "ops/matmul/matmul.h"

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_lora_product_attrs, scale), "", -1e30, 1e30 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_lora_product_attrs, compute), "", 0, 1 },
    { 0 }
};

enum { X, M, P, Q, C };

static lmf_status check_pair(lmf_graph *g, const lmf_node *n, int64_t rows, int64_t width)
{
    const lmf_view *p = &n->in[P]->v, *q = &n->in[Q]->v;
    if (p->dtype != LMF_F32 || q->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "p and q are f32");
    if (p->n_dims != 2 || q->n_dims != 2 || p->dim[1] != width || q->dim[0] != rows || q->dim[1] != p->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "p is [R, K] and q [N, R]");
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[X]->v, *m = &n->in[M]->v, *c = n->n_in > C && n->in[C] ? &n->in[C]->v : NULL;
    if (!lmf_is_activation(n->in[X]) || !lmf_is_activation(n->in[M]))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x and m are f32 or bf16");
    if (x->n_dims != 2 || m->n_dims != 2 || x->dim[1] != m->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, K] and m [N, K]");
    LMF_TRY(check_pair(g, n, m->dim[0], m->dim[1]));
    lmf_out_set(n, 0, x->dtype, 2, (int64_t[]){ x->dim[0], m->dim[0] });
    if (c && !lmf_same_shape(n->in[C], n->out[0]) && (c->n_dims != 1 || c->dim[0] != m->dim[0]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "c must have the shape of y, or be one row of its width");
    if (c && c->dtype != (c->n_dims == 2 ? x->dtype : LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "c has the type of y; as one row for all it is f32");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *call)
{
    const lmf_view *x = &call->in[X], *m = &call->in[M], *c = call->n_in > C && call->in[C].n_dims ? &call->in[C] : NULL;
    int64_t n = m->dim[0], k = m->dim[1];
    for (int64_t i = 0; i < x->dim[0]; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = c ? lmf_get(c, c->n_dims == 1 ? j : i * n + j) : 0;
            for (int64_t e = 0; e < k; e++)
                sum += lmf_get(x, i * k + e) * lmf_get(m, j * k + e);
            lmf_set(&call->out[0], i * n + j, sum);
        }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    const lmf_lora_product_attrs *a = n->attrs;
    lmf_tensor *x = n->in[X], *dy = d_out[0], *c = n->n_in > C ? n->in[C] : NULL;
    if (x->needs_grad)
        d_in[X] = (lmf_matmul)(g, dy, n->in[M], d_in[X], (lmf_matmul_attrs){ 0, 0, 1, a->compute, x->v.dtype });
    if (n->in[P]->needs_grad || n->in[Q]->needs_grad) {
        lmf_node *b = lmf_node_add(g, &lmf_op_lora_product_bwd, a, (lmf_tensor *[]){ x, dy, n->in[P], n->in[Q] }, 4);
        for (int i = P; b && i <= Q; i++)
            if (n->in[i]->needs_grad)
                lmf_grad_add(g, &d_in[i], b->out[i - P]);
    }
    if (c && c->needs_grad)
        lmf_grad_add(g, &d_in[C], c->v.n_dims == 2 ? dy : (lmf_sum_rows)(g, dy));
    return g->status;
}

static lmf_status expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_lora_product_attrs *a = n->attrs;
    lmf_matmul_attrs t = { .tb = 1, .alpha = 1, .compute = a->compute, .y = n->in[X]->v.dtype };
    out[0] = (lmf_matmul)(g, n->in[X], n->in[M], n->n_in > C ? n->in[C] : NULL, t);
    return g->status;
}

static double view_bytes(const lmf_tensor *t) { return t ? (double)lmf_view_count(&t->v) * t->v.fmt->block_bytes : 0; }

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 2 * (double)lmf_view_count(&n->in[X]->v) * (double)n->in[M]->v.dim[0];
    *bytes = view_bytes(n->in[X]) + view_bytes(n->in[M]) + view_bytes(n->out[0]) + (n->n_in > C ? view_bytes(n->in[C]) : 0);
}

const lmf_op lmf_op_lora_product = {
    .name = "lora_product", .n_in_min = 4, .n_in_max = 5, .n_out = 1, .attr_bytes = sizeof(lmf_lora_product_attrs), .fields = fields,
    .infer = infer, .grad = grad, .expand = expand, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_lora_product)(lmf_graph *g, lmf_tensor *x, lmf_tensor *m, lmf_tensor *p, lmf_tensor *q, lmf_tensor *c,
                               lmf_lora_product_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_lora_product, &attrs, (lmf_tensor *[]){ x, m, p, q, c }, 5);
}

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[0]->v, *dy = &n->in[1]->v;
    if (!lmf_is_activation(n->in[0]) || dy->dtype != x->dtype)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, dy of its type");
    if (x->n_dims != 2 || dy->n_dims != 2 || x->dim[0] != dy->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, K] and dy [T, N]");
    LMF_TRY(check_pair(g, n, dy->dim[1], x->dim[1]));
    lmf_out_like(n, 0, n->in[P], LMF_F32);
    lmf_out_like(n, 1, n->in[Q], LMF_F32);
    return LMF_OK;
}

enum { PIECE = 1024 };

/* The pair's side that z's columns belong to: scale * low^T z, with low[t, e] the sum of other[t, ..] times by's rank e. of_q: by is p, and
 * what comes is dq, ranks innermost. */
static void sum_side(const lmf_call *c, const lmf_view *z, const lmf_view *other, const lmf_view *by, bool of_q, const lmf_view *out)
{
    const lmf_lora_product_attrs *a = c->attrs;
    int64_t t = z->dim[0], n = z->dim[1], width = other->dim[1], r = c->in[P].dim[0];
    for (int64_t e = 0; e < r; e++)
        for (int64_t j0 = 0; j0 < n; j0 += PIECE) {
            double sum[PIECE] = { 0 };
            int64_t m = n - j0 < PIECE ? n - j0 : PIECE;
            for (int64_t i = 0; i < t; i++) {
                double low = 0;
                for (int64_t k = 0; k < width; k++)
                    low += lmf_get(other, i * width + k) * lmf_get(by, of_q ? e * width + k : k * r + e);
                for (int64_t j = 0; j < m; j++)
                    sum[j] += low * lmf_get(z, i * n + j0 + j);
            }
            for (int64_t j = 0; j < m; j++)
                lmf_set(out, of_q ? (j0 + j) * r + e : e * n + j0 + j, (double)a->scale * sum[j]);
        }
}

static lmf_status bwd_ref(const lmf_call *c)
{
    sum_side(c, &c->in[0], &c->in[1], &c->in[Q], false, &c->out[0]);
    sum_side(c, &c->in[1], &c->in[0], &c->in[P], true, &c->out[1]);
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    double elements = (double)(lmf_view_count(&n->in[0]->v) + lmf_view_count(&n->in[1]->v));
    *flops = 4 * elements * (double)n->in[P]->v.dim[0];
    *bytes = view_bytes(n->in[0]) + view_bytes(n->in[1]) + 2 * (view_bytes(n->in[P]) + view_bytes(n->in[Q]));
}

const lmf_op lmf_op_lora_product_bwd = {
    .name = "lora_product_bwd", .n_in_min = 4, .n_in_max = 4, .n_out = 2, .attr_bytes = sizeof(lmf_lora_product_attrs), .fields = fields,
    .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref,
};
