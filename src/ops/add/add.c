/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: b is broadcast exactly when its shape is not that of a. */
#include "ops/add/add.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *a = n->in[0], *b = n->in[1];
    int last = a->v.n_dims - 1;
    if (!lmf_is_activation(a) || !lmf_is_activation(b))
        return lmf_refuse(g, n, LMF_E_DTYPE, "a and b are f32 or bf16");
    if (!lmf_same_shape(a, b) && (last < 0 || b->v.n_dims != 1 || b->v.dim[0] != a->v.dim[last]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "b must have the shape of a, or be one row of its width");
    lmf_out_like(n, 0, a, a->v.dtype);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->out[0]), nb = lmf_view_count(&c->in[1]);
    for (int64_t i = 0; i < n; i++)
        lmf_set(&c->out[0], i, lmf_get(&c->in[0], i) + lmf_get(&c->in[1], i % nb));
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (n->in[0]->needs_grad)
        lmf_grad_add(g, &d_in[0], d_out[0]);
    if (n->in[1]->needs_grad)
        lmf_grad_add(g, &d_in[1], lmf_same_shape(n->in[0], n->in[1]) ? d_out[0] : (lmf_sum_rows)(g, d_out[0]));
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double a = (double)lmf_view_count(&n->in[0]->v);
    *flops = a;
    *bytes = 2 * n->in[0]->v.fmt->block_bytes * a + n->in[1]->v.fmt->block_bytes * (double)lmf_view_count(&n->in[1]->v);
}

const lmf_op lmf_op_add = {
    .name = "add", .n_in_min = 2, .n_in_max = 2, .n_out = 1,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_add)(lmf_graph *g, lmf_tensor *a, lmf_tensor *b)
{
    return lmf_node_add1(g, &lmf_op_add, NULL, (lmf_tensor *[]){ a, b }, 2);
}

static lmf_status sum_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *x = n->in[0];
    if (!lmf_is_activation(x))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16");
    if (x->v.n_dims < 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x needs a dimension");
    lmf_out_set(n, 0, LMF_F32, 1, &x->v.dim[x->v.n_dims - 1]);
    return LMF_OK;
}

static lmf_status sum_ref(const lmf_call *c)
{
    int64_t n = c->out[0].dim[0], rows = lmf_view_rows(&c->in[0]);
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int64_t t = 0; t < rows; t++)
            sum += lmf_get(&c->in[0], t * n + i);
        lmf_set(&c->out[0], i, sum);
    }
    return LMF_OK;
}

static void sum_cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = (double)lmf_view_count(&n->in[0]->v);
    *bytes = n->in[0]->v.fmt->block_bytes * *flops;
}

const lmf_op lmf_op_sum_rows = {
    .name = "sum_rows", .n_in_min = 1, .n_in_max = 1, .n_out = 1, .infer = sum_infer, .cost = sum_cost, .ref = sum_ref,
};

lmf_tensor *(lmf_sum_rows)(lmf_graph *g, lmf_tensor *x)
{
    return lmf_node_add1(g, &lmf_op_sum_rows, NULL, (lmf_tensor *[]){ x }, 1);
}
