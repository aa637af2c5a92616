/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every gradient is a matmul again. With B the gradient's two factors in order and (ta tb):
 *   ta tb    da = alpha *       db = alpha *
 *    0  1    dy b     (0 0)     dy^T a    (1 0)
 *    0  0    dy b^T   (0 1)     a^T dy    (1 0)
 *    1  0    b dy^T   (0 1)     a dy      (0 0)
 *    1  1    b^T dy^T (1 1)     dy^T a^T  (1 1) */
#include "ops/matmul/matmul.h"
#include "ops/add/add.h"

static const lmf_field fields[] = {
    { "ta", LMF_FIELD_I32, offsetof(lmf_matmul_attrs, ta), "", 0, 1 },
    { "tb", LMF_FIELD_I32, offsetof(lmf_matmul_attrs, tb), "", 0, 1 },
    { "alpha", LMF_FIELD_F32, offsetof(lmf_matmul_attrs, alpha), "", -1e30, 1e30 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_matmul_attrs, compute), "", 0, 1 },
    { "y", LMF_FIELD_DTYPE, offsetof(lmf_matmul_attrs, y), "", LMF_F32, LMF_BF16 },
    { 0 }
};

static bool is_real(const lmf_view *v) { return v->fmt && (v->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)) && v->fmt->unpack; }
static int64_t width(const lmf_view *v) { return v->dim[v->n_dims - 1]; }

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_matmul_attrs *t = n->attrs;
    const lmf_view *a = &n->in[0]->v, *b = &n->in[1]->v, *c = n->n_in > 2 && n->in[2] ? &n->in[2]->v : NULL;
    if (!is_real(a) || !is_real(b) || (t->y != LMF_F32 && t->y != LMF_BF16))
        return lmf_refuse(g, n, LMF_E_DTYPE, "a and b are of a float or block format, y is f32 or bf16");
    if (a->n_dims < 1 || b->n_dims < 1 || (t->tb && b->n_dims != 2))
        return lmf_refuse(g, n, LMF_E_SHAPE, "a and b need a dimension, b needs two with tb");
    int64_t ka = t->ta ? lmf_view_rows(a) : width(a), kb = t->tb ? width(b) : lmf_view_rows(b);
    if (ka != kb)
        return lmf_refuse(g, n, LMF_E_SHAPE, "a sums over %lld elements, b over %lld", (long long)ka, (long long)kb);
    int64_t dim[LMF_MAX_DIMS];
    int n_dims = t->ta ? 2 : a->n_dims;
    for (int i = 0; i + 1 < n_dims; i++)
        dim[i] = t->ta ? width(a) : a->dim[i];
    dim[n_dims - 1] = t->tb ? b->dim[0] : width(b);
    lmf_out_set(n, 0, (uint16_t)t->y, n_dims, dim);
    if (c && !lmf_same_shape(n->in[2], n->out[0]) && (c->n_dims != 1 || c->dim[0] != dim[n_dims - 1]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "c must have the shape of the product, or be one row of its width");
    if (c && c->dtype != (c->n_dims == n_dims && n_dims > 1 ? t->y : LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "c has the type of y; as one row for all it is f32");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *call)
{
    const lmf_matmul_attrs *t = call->attrs;
    const lmf_view *a = &call->in[0], *b = &call->in[1], *c = call->n_in > 2 && call->in[2].n_dims ? &call->in[2] : NULL;
    int64_t m = lmf_view_rows(&call->out[0]), n = width(&call->out[0]), k = t->tb ? width(b) : lmf_view_rows(b);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t p = 0; p < k; p++)
                sum += lmf_get(a, t->ta ? p * m + i : i * k + p) * lmf_get(b, t->tb ? j * k + p : p * n + j);
            double add = c ? lmf_get(c, c->n_dims == 1 ? j : i * n + j) : 0;
            lmf_set(&call->out[0], i * n + j, (double)t->alpha * sum + add);
        }
    return LMF_OK;
}

/* d_in = product of u and v + d_in, in the shape of in and of the type of the sum so far, if there is one. */
static lmf_status add_product(lmf_graph *g, const lmf_node *n, int i, lmf_tensor *u, lmf_tensor *v, lmf_matmul_attrs t, lmf_tensor **d_in)
{
    t.y = d_in[i] ? d_in[i]->v.dtype : t.y;
    lmf_tensor *d = (lmf_matmul)(g, u, v, d_in[i], t);
    if (d && !lmf_same_shape(d, n->in[i]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "the gradient of %s needs it to have two dimensions", i ? "b" : "a");
    d_in[i] = d;
    return g->status;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    const lmf_matmul_attrs *t = n->attrs;
    lmf_tensor *a = n->in[0], *b = n->in[1], *c = n->n_in > 2 ? n->in[2] : NULL, *dy = d_out[0];
    if (a->needs_grad && !t->ta)
        LMF_TRY(add_product(g, n, 0, dy, b, (lmf_matmul_attrs){ 0, !t->tb, t->alpha, t->compute, t->y }, d_in));
    else if (a->needs_grad)
        LMF_TRY(add_product(g, n, 0, b, dy, (lmf_matmul_attrs){ t->tb, 1, t->alpha, t->compute, t->y }, d_in));
    if (b->needs_grad && t->tb)
        LMF_TRY(add_product(g, n, 1, dy, a, (lmf_matmul_attrs){ 1, t->ta, t->alpha, t->compute, LMF_F32 }, d_in));
    else if (b->needs_grad)
        LMF_TRY(add_product(g, n, 1, a, dy, (lmf_matmul_attrs){ !t->ta, 0, t->alpha, t->compute, LMF_F32 }, d_in));
    if (c && c->needs_grad)
        lmf_grad_add(g, &d_in[2], lmf_same_shape(c, dy) ? dy : (lmf_sum_rows)(g, dy));
    return g->status;
}

static double view_bytes(const lmf_view *v) { return (double)lmf_view_count(v) / v->fmt->block * v->fmt->block_bytes; }

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_matmul_attrs *t = n->attrs;
    const lmf_view *b = &n->in[1]->v;
    *flops = 2 * (double)lmf_view_count(&n->out[0]->v) * (double)(t->tb ? width(b) : lmf_view_rows(b));
    *bytes = view_bytes(&n->out[0]->v);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i])
            *bytes += view_bytes(&n->in[i]->v);
}

const lmf_op lmf_op_matmul = {
    .name = "matmul", .n_in_min = 2, .n_in_max = 3, .n_out = 1, .attr_bytes = sizeof(lmf_matmul_attrs), .fields = fields,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_matmul)(lmf_graph *g, lmf_tensor *a, lmf_tensor *b, lmf_tensor *c, lmf_matmul_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_matmul, &attrs, (lmf_tensor *[]){ a, b, c }, 3);
}

lmf_tensor *(lmf_matmul_nt)(lmf_graph *g, lmf_tensor *a, lmf_tensor *b)
{
    return (lmf_matmul)(g, a, b, NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = 1 });
}
