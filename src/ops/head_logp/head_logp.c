/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: backward makes the logits again and takes lse from forward; a row skipped in one is skipped in the other. */
#include "ops/head_logp/head_logp.h"
#include <math.h>
#include <stdint.h>

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_head_logp_attrs, scale), "", -1e30, 1e30 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_head_logp_attrs, compute), "", 0, 1 },
    { 0 }
};

/* Inputs of forward: x, w, target, weight; of backward: x, w, target, lse, d_logp, weight. The last may be absent. */
static lmf_status check(lmf_graph *g, const lmf_node *n)
{
    const lmf_view *x = &n->in[0]->v, *w = &n->in[1]->v, *target = &n->in[2]->v;
    bool floats = true, long_enough = true;
    for (int i = 3; i < n->n_in; i++)
        floats &= !n->in[i] || n->in[i]->v.dtype == LMF_F32;
    if (!lmf_is_activation(n->in[0]) || !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)) || target->dtype != LMF_I32 || !floats)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, all numbers of a row f32, w of a float or block format, target i32");
    if (x->n_dims < 2 || w->n_dims != 2 || x->dim[x->n_dims - 1] != w->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, D] and w [V, D]");
    int64_t t = lmf_view_rows(x);
    for (int i = 2; i < n->n_in; i++)
        long_enough &= !n->in[i] || lmf_view_count(&n->in[i]->v) == t;
    if (!long_enough)
        return lmf_refuse(g, n, LMF_E_SHAPE, "target and all numbers of a row have one element for each row of x");
    if (t >= INT32_MAX || w->dim[0] > INT32_MAX)
        return lmf_refuse(g, n, LMF_E_LIMIT, "at most 2^31 - 1 rows");
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n));
    lmf_out_set(n, 0, LMF_F32, n->in[0]->v.n_dims - 1, n->in[0]->v.dim);
    lmf_out_like(n, 1, n->out[0], LMF_F32);
    return LMF_OK;
}

static double logit(const lmf_call *c, int64_t t, int64_t v)
{
    const lmf_head_logp_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[1];
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += lmf_get(&c->in[0], t * d + i) * lmf_get(&c->in[1], v * d + i);
    return (double)a->scale * sum;
}

/* The row's target, or -1 if it is skipped. */
static int64_t counted(const lmf_call *c, int i_weight, int64_t t)
{
    bool weighed = c->n_in > i_weight && c->in[i_weight].n_dims;
    int64_t target = lmf_get_int(&c->in[2], t);
    return (weighed && lmf_get(&c->in[i_weight], t) == 0) || target < 0 || target >= c->in[1].dim[0] ? -1 : target;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t rows = lmf_view_rows(&c->in[0]), n_v = c->in[1].dim[0];
    for (int64_t t = 0; t < rows; t++) {
        int64_t target = counted(c, 3, t);
        double top = -INFINITY, sum = 0, lse = 0;
        for (int64_t v = 0; target >= 0 && v < n_v; v++)
            top = fmax(top, logit(c, t, v));
        for (int64_t v = 0; target >= 0 && v < n_v; v++)
            sum += exp(logit(c, t, v) - top);
        if (target >= 0)
            lse = top + log(sum);
        lmf_set(&c->out[0], t, target >= 0 ? logit(c, t, target) - lse : 0);
        lmf_set(&c->out[1], t, lse);
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (d_out[1])
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "lse has no gradient");
    if (n->n_in > 3 && n->in[3] && n->in[3]->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "weight has no gradient");
    lmf_tensor *in[] = { n->in[0], n->in[1], n->in[2], n->out[1], d_out[0], n->n_in > 3 ? n->in[3] : NULL };
    lmf_node *b = lmf_node_add(g, n->in[1]->needs_grad ? &lmf_op_head_logp_bwd_w : &lmf_op_head_logp_bwd, n->attrs, in, 6);
    if (!b)
        return g->status;
    for (int i = 0; i < 2; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}

static double product_flops(const lmf_node *n) { return 2 * (double)lmf_view_count(&n->in[0]->v) * (double)n->in[1]->v.dim[0]; }
static double input_bytes(const lmf_node *n)
{
    const lmf_view *w = &n->in[1]->v;
    return n->in[0]->v.fmt->block_bytes * (double)lmf_view_count(&n->in[0]->v) +
           (double)lmf_view_count(w) / w->fmt->block * w->fmt->block_bytes;
}
static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = product_flops(n);
    *bytes = input_bytes(n);
}

const lmf_op lmf_op_head_logp = {
    .name = "head_logp", .n_in_min = 3, .n_in_max = 4, .n_out = 2, .attr_bytes = sizeof(lmf_head_logp_attrs), .fields = fields,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_head_logp)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *target, lmf_tensor *weight, lmf_head_logp_attrs attrs)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_head_logp, &attrs, (lmf_tensor *[]){ x, w, target, weight }, 4);
    return n ? n->out[0] : NULL;
}

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n));
    lmf_out_like(n, 0, n->in[0], n->in[0]->v.dtype);
    if (n->op == &lmf_op_head_logp_bwd_w)
        lmf_out_like(n, 1, n->in[1], LMF_F32);
    return LMF_OK;
}

enum { PIECE = 1024 };

/* A piece of the row's d loss / d logit at a time, so that dx rounds once a piece. */
static void bwd_ref_row(const lmf_call *c, int64_t t, int64_t target)
{
    const lmf_head_logp_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[1], n_v = c->in[1].dim[0];
    double k[PIECE], u = (double)a->scale * lmf_get(&c->in[4], t), lse = lmf_get(&c->in[3], t);
    for (int64_t v0 = 0; v0 < n_v; v0 += PIECE) {
        int64_t n = n_v - v0 < PIECE ? n_v - v0 : PIECE;
        for (int64_t v = 0; v < n; v++)
            k[v] = u * ((v0 + v == target) - exp(logit(c, t, v0 + v) - lse));
        for (int64_t i = 0; i < d; i++) {
            double dx = lmf_get(&c->out[0], t * d + i), x = lmf_get(&c->in[0], t * d + i);
            for (int64_t v = 0; v < n; v++) {
                dx += k[v] * lmf_get(&c->in[1], (v0 + v) * d + i);
                if (c->n_out == 2)
                    lmf_set(&c->out[1], (v0 + v) * d + i, lmf_get(&c->out[1], (v0 + v) * d + i) + k[v] * x);
            }
            lmf_set(&c->out[0], t * d + i, dx);
        }
    }
}

static lmf_status bwd_ref(const lmf_call *c)
{
    int64_t rows = lmf_view_rows(&c->in[0]);
    for (int j = 0; j < c->n_out; j++)
        for (int64_t i = 0; i < lmf_view_count(&c->out[j]); i++)
            lmf_set(&c->out[j], i, 0);
    for (int64_t t = 0; t < rows; t++) {
        int64_t target = counted(c, 5, t);
        if (target >= 0)
            bwd_ref_row(c, t, target);
    }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    bool with_w = n->op == &lmf_op_head_logp_bwd_w;
    *flops = (with_w ? 4 : 2) * product_flops(n);
    *bytes = input_bytes(n) + n->out[0]->v.fmt->block_bytes * (double)lmf_view_count(&n->out[0]->v) +
             (with_w ? 4 * (double)lmf_view_count(&n->out[1]->v) : 0);
}

const lmf_op lmf_op_head_logp_bwd = {
    .name = "head_logp_bwd", .n_in_min = 5, .n_in_max = 6, .n_out = 1, .attr_bytes = sizeof(lmf_head_logp_attrs), .fields = fields,
    .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref,
};
const lmf_op lmf_op_head_logp_bwd_w = {
    .name = "head_logp_bwd_w", .n_in_min = 5, .n_in_max = 6, .n_out = 2, .attr_bytes = sizeof(lmf_head_logp_attrs), .fields = fields,
    .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref,
};
