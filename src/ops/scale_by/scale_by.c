/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: s is read when the kernel runs; nothing of it is in the graph. */
#include "ops/scale_by/scale_by.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *x = n->in[0], *s = n->in[1], *c = n->n_in > 2 ? n->in[2] : NULL;
    if (!lmf_is_activation(x) || s->v.dtype != LMF_F32 || (c && c->v.dtype != x->v.dtype))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x and c are f32 or bf16, both alike, and s is f32");
    if (s->v.n_dims != 1 || s->v.dim[0] != 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "s must be one number, [1]");
    if (c && !lmf_same_shape(x, c))
        return lmf_refuse(g, n, LMF_E_SHAPE, "c must have the shape of x");
    lmf_out_like(n, 0, x, x->v.dtype);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->out[0]);
    double s = lmf_get(&c->in[1], 0);
    for (int64_t i = 0; i < n; i++)
        lmf_set(&c->out[0], i, lmf_get(&c->in[0], i) * s + (c->n_in > 2 && c->in[2].n_dims ? lmf_get(&c->in[2], i) : 0));
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (n->in[1]->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "s has no gradient");
    if (n->in[0]->needs_grad)
        d_in[0] = (lmf_scale_by)(g, d_out[0], n->in[1], d_in[0]);
    if (n->n_in > 2 && n->in[2] && n->in[2]->needs_grad)
        lmf_grad_add(g, &d_in[2], d_out[0]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double e = (double)lmf_view_count(&n->in[0]->v);
    *flops = 2 * e;
    *bytes = (n->n_in > 2 && n->in[2] ? 3 : 2) * n->in[0]->v.fmt->block_bytes * e;
}

const lmf_op lmf_op_scale_by = {
    .name = "scale_by", .n_in_min = 2, .n_in_max = 3, .n_out = 1, .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_scale_by)(lmf_graph *g, lmf_tensor *x, lmf_tensor *s, lmf_tensor *c)
{
    return lmf_node_add1(g, &lmf_op_scale_by, NULL, (lmf_tensor *[]){ x, s, c }, 3);
}

lmf_status lmf_scale_by_kept(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    for (int j = 1; j < n->n_out; j++)
        if (d_out[j])
            return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "only its loss has a gradient");
    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i] || !n->in[i]->needs_grad)
            continue;
        if (2 + i >= n->n_out)
            return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "input %d has no gradient", i);
        d_in[i] = (lmf_scale_by)(g, n->out[2 + i], d_out[0], d_in[i]);
    }
    return g->status;
}
