/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: dw is a sum over rows in index order; dx of a row needs that row alone. */
#include "ops/rms_norm/rms_norm.h"
#include <math.h>

static const lmf_field fields[] = {
    { "eps", LMF_FIELD_F32, offsetof(lmf_rms_norm_attrs, eps), "", 1e-12, 1.0 }, { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *x = n->in[0], *w = n->in[1];
    int last = x->v.n_dims - 1;
    if (!lmf_is_activation(x) || w->v.dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, w f32");
    int64_t dim[LMF_MAX_DIMS] = { 1 }, c = w->v.n_dims == 1 ? w->v.dim[0] : 0;
    if (last < 0 || w->v.n_dims != 1 || (c != x->v.dim[last] && (c < 1 || x->v.dim[last] % c)))
        return lmf_refuse(g, n, LMF_E_SHAPE, "w must have the width of x, or one that divides it");
    for (int i = 0; i <= last; i++)
        dim[i] = i < last ? x->v.dim[i] : c ? x->v.dim[last] / c : 1;
    lmf_out_like(n, 0, x, x->v.dtype);
    lmf_out_set(n, 1, LMF_F32, last && dim[last] == 1 ? last : last + 1, dim);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_rms_norm_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[0], rows = lmf_rms_norm_rows(c);
    for (int64_t t = 0; t < rows; t++) {
        double sum = 0;
        for (int64_t i = 0; i < d; i++)
            sum += lmf_get(&c->in[0], t * d + i) * lmf_get(&c->in[0], t * d + i);
        double r = 1 / sqrt(sum / (double)d + (double)a->eps);
        lmf_set(&c->out[1], t, r);
        for (int64_t i = 0; i < d; i++)
            lmf_set(&c->out[0], t * d + i, lmf_get(&c->in[0], t * d + i) * r * lmf_get(&c->in[1], i));
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_tensor *in[] = { n->in[0], n->in[1], n->out[1], d_out[0] };
    if (!n->in[1]->needs_grad && n->in[0]->v.dtype == LMF_BF16) {
        d_in[0] = lmf_node_add1(g, &lmf_op_rms_norm_dx, n->attrs, (lmf_tensor *[]){ in[0], in[1], in[2], in[3], d_in[0] }, 5);
        return g->status;
    }
    lmf_node *b = lmf_node_add(g, &lmf_op_rms_norm_bwd, n->attrs, in, 4);
    if (!b)
        return g->status;
    if (n->in[0]->needs_grad)
        lmf_grad_add(g, &d_in[0], b->out[0]);
    if (n->in[1]->needs_grad)
        lmf_grad_add(g, &d_in[1], b->out[1]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double e = (double)lmf_view_count(&n->in[0]->v);
    *flops = 4 * e;
    *bytes = n->in[0]->v.fmt->block_bytes * (n->n_in > 2 ? 3.0 : 2.0) * e;
}

const lmf_op lmf_op_rms_norm = {
    .name = "rms_norm", .n_in_min = 2, .n_in_max = 2, .n_out = 2, .flags = LMF_OP_CHEAP,
    .attr_bytes = sizeof(lmf_rms_norm_attrs), .fields = fields, .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_rms_norm)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, float eps)
{
    return lmf_node_add1(g, &lmf_op_rms_norm, &(lmf_rms_norm_attrs){ eps }, (lmf_tensor *[]){ x, w }, 2);
}

/* rms_norm_bwd: (x, w, rstd, dy) -> dx [..., D], dw [D]. With xn = x rstd: dx = rstd (dy w - xn mean(dy w xn)). */
static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *x = n->in[0], *c = n->n_in > 4 ? n->in[4] : NULL;
    if (!lmf_same_shape(x, n->in[3]) || (c && !lmf_same_shape(x, c)))
        return lmf_refuse(g, n, LMF_E_SHAPE, "dy and c have the shape of x");
    if (!lmf_is_activation(x) || n->in[3]->v.dtype != x->v.dtype || (c && c->v.dtype != x->v.dtype))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, dy and c are of its type");
    lmf_out_like(n, 0, x, x->v.dtype);
    if (n->op == &lmf_op_rms_norm_bwd)
        lmf_out_like(n, 1, n->in[1], LMF_F32);
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    const lmf_view *x = &c->in[0], *w = &c->in[1], *rstd = &c->in[2], *dy = &c->in[3];
    int64_t d = w->dim[0], rows = lmf_rms_norm_rows(c);
    const lmf_view *add = c->n_in > 4 && c->in[4].n_dims ? &c->in[4] : NULL;
    for (int64_t i = 0; i < d && c->n_out > 1; i++) {
        double sum = 0;
        for (int64_t t = 0; t < rows; t++)
            sum += lmf_get(dy, t * d + i) * lmf_get(x, t * d + i) * lmf_get(rstd, t);
        lmf_set(&c->out[1], i, sum);
    }
    for (int64_t t = 0; t < rows; t++) {
        double r = lmf_get(rstd, t), dot = 0;
        for (int64_t i = 0; i < d; i++)
            dot += lmf_get(dy, t * d + i) * lmf_get(w, i) * lmf_get(x, t * d + i) * r;
        for (int64_t i = 0; i < d; i++)
            lmf_set(&c->out[0], t * d + i, r * (lmf_get(dy, t * d + i) * lmf_get(w, i) - lmf_get(x, t * d + i) * r * dot / (double)d) +
                                               (add ? lmf_get(add, t * d + i) : 0));
    }
    return LMF_OK;
}

const lmf_op lmf_op_rms_norm_bwd = {
    .name = "rms_norm_bwd", .n_in_min = 4, .n_in_max = 4, .n_out = 2, .attr_bytes = sizeof(lmf_rms_norm_attrs),
    .fields = fields, .infer = bwd_infer, .cost = cost, .ref = bwd_ref,
};
const lmf_op lmf_op_rms_norm_dx = {
    .name = "rms_norm_dx", .n_in_min = 4, .n_in_max = 5, .n_out = 1, .attr_bytes = sizeof(lmf_rms_norm_attrs),
    .fields = fields, .infer = bwd_infer, .cost = cost, .ref = bwd_ref,
};
