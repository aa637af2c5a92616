/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the forward pass makes the gradients of a loss of 1; backward only scales them. */
#include "ops/head_nll/head_nll.h"
#include <math.h>
#include <stdint.h>
#include "ops/scale_by/scale_by.h"

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_head_nll_attrs, scale), "", -1e30, 1e30 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_head_nll_attrs, compute), "", 0, 1 },
    { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[0]->v, *w = &n->in[1]->v, *target = &n->in[2]->v, *weight = &n->in[3]->v;
    if (!lmf_is_activation(n->in[0]) || !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)) || target->dtype != LMF_I32 ||
        weight->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, weight f32, w of a float or block format, target i32");
    if (x->n_dims < 2 || w->n_dims != 2 || x->dim[x->n_dims - 1] != w->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, D] and w [V, D]");
    int64_t t = lmf_view_rows(x);
    if (lmf_view_count(target) != t || lmf_view_count(weight) != t)
        return lmf_refuse(g, n, LMF_E_SHAPE, "target and weight have one element for each row of x");
    if (t >= INT32_MAX || w->dim[0] > INT32_MAX)
        return lmf_refuse(g, n, LMF_E_LIMIT, "at most 2^31 - 1 rows");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, x->n_dims - 1, x->dim);
    lmf_out_like(n, 2, n->in[0], x->dtype);
    if (n->op == &lmf_op_head_nll_w)
        lmf_out_like(n, 3, n->in[1], LMF_F32);
    return LMF_OK;
}

static double logit(const lmf_call *c, double scale, int64_t d, int64_t t, int64_t v)
{
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += lmf_get(&c->in[0], t * d + i) * lmf_get(&c->in[1], v * d + i);
    return scale * sum;
}

enum { PIECE = 1024 };

/* One row's share of all outputs: k = d loss / d logit, a piece at a time so that dx rounds once a piece. */
static double ref_row(const lmf_call *c, double scale, int64_t d, int64_t t, int64_t target, double weight)
{
    int64_t n_v = c->in[1].dim[0];
    double top = -INFINITY, sum = 0, k[PIECE];
    for (int64_t v = 0; v < n_v; v++)
        top = fmax(top, logit(c, scale, d, t, v));
    for (int64_t v = 0; v < n_v; v++)
        sum += exp(logit(c, scale, d, t, v) - top);
    double lse = top + log(sum);
    for (int64_t v0 = 0; v0 < n_v; v0 += PIECE) {
        int64_t n = n_v - v0 < PIECE ? n_v - v0 : PIECE;
        for (int64_t v = 0; v < n; v++)
            k[v] = scale * weight * (exp(logit(c, scale, d, t, v0 + v) - lse) - (v0 + v == target));
        for (int64_t i = 0; i < d; i++) {
            double dx = lmf_get(&c->out[2], t * d + i), x = lmf_get(&c->in[0], t * d + i);
            for (int64_t v = 0; v < n; v++) {
                dx += k[v] * lmf_get(&c->in[1], (v0 + v) * d + i);
                if (c->n_out == 4)
                    lmf_set(&c->out[3], (v0 + v) * d + i, lmf_get(&c->out[3], (v0 + v) * d + i) + k[v] * x);
            }
            lmf_set(&c->out[2], t * d + i, dx);
        }
    }
    return lse - logit(c, scale, d, t, target);
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_head_nll_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[1], rows = lmf_view_rows(&c->in[0]);
    double loss = 0;
    for (int j = 2; j < c->n_out; j++)
        for (int64_t i = 0; i < lmf_view_count(&c->out[j]); i++)
            lmf_set(&c->out[j], i, 0);
    for (int64_t t = 0; t < rows; t++) {
        double weight = lmf_get(&c->in[3], t), nll = 0;
        int64_t target = lmf_get_int(&c->in[2], t);
        if (weight != 0 && target >= 0 && target < c->in[1].dim[0])
            nll = ref_row(c, (double)a->scale, d, t, target, weight);
        lmf_set(&c->out[1], t, nll);
        loss += weight * nll;
    }
    lmf_set(&c->out[0], 0, loss);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[1]->v;
    double x = (double)lmf_view_count(&n->in[0]->v), v = (double)w->dim[0];
    *flops = (n->op == &lmf_op_head_nll_w ? 8 : 4) * x * v;
    *bytes = 2 * n->in[0]->v.fmt->block_bytes * x + (double)lmf_view_count(w) / w->fmt->block * w->fmt->block_bytes +
             (n->op == &lmf_op_head_nll_w ? 4 * v * (double)w->dim[1] : 0);
}

const lmf_op lmf_op_head_nll = {
    .name = "head_nll", .n_in_min = 4, .n_in_max = 4, .n_out = 3, .attr_bytes = sizeof(lmf_head_nll_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};
const lmf_op lmf_op_head_nll_w = {
    .name = "head_nll_w", .n_in_min = 4, .n_in_max = 4, .n_out = 4, .attr_bytes = sizeof(lmf_head_nll_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_head_nll)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *target, lmf_tensor *weight,
                           lmf_head_nll_attrs attrs, lmf_tensor **nll)
{
    lmf_node *n = lmf_node_add(g, w && w->needs_grad ? &lmf_op_head_nll_w : &lmf_op_head_nll, &attrs, (lmf_tensor *[]){ x, w, target, weight }, 4);
    if (nll)
        *nll = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
