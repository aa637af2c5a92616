/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: each element stands alone. */
#include "ops/geglu/geglu.h"
#include <math.h>

static const double root = 0.79788456080286536, cubic = 0.044715; /* sqrt(2/pi) */

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    for (int i = 0; i < n->n_in; i++) {
        if (!lmf_is_activation(n->in[i]) || n->in[i]->v.dtype != n->in[0]->v.dtype)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32, or all bf16");
        if (!lmf_same_shape(n->in[0], n->in[i]))
            return lmf_refuse(g, n, LMF_E_SHAPE, "all inputs have one shape");
    }
    for (int j = 0; j < n->n_out; j++)
        lmf_out_like(n, j, n->in[0], n->in[0]->v.dtype);
    return LMF_OK;
}

/* (1 + tanh(u)) / 2 without the cancellation that the far negative side has. */
static double half_of(double x) { return 1 / (1 + exp(-2 * root * (x + cubic * x * x * x))); }

static lmf_status ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->out[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = lmf_get(&c->in[0], i);
        lmf_set(&c->out[0], i, x * half_of(x) * lmf_get(&c->in[1], i));
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_node *b = lmf_node_add(g, &lmf_op_geglu_bwd, NULL, (lmf_tensor *[]){ n->in[0], n->in[1], d_out[0] }, 3);
    for (int i = 0; b && i < 2; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double e = (double)lmf_view_count(&n->in[0]->v);
    *flops = 26 * e; /* an exp is about 15 */
    *bytes = n->in[0]->v.fmt->block_bytes * (double)(n->n_in + n->n_out) * e;
}

const lmf_op lmf_op_geglu = {
    .name = "geglu", .n_in_min = 2, .n_in_max = 2, .n_out = 1, .flags = LMF_OP_CHEAP, .infer = infer, .grad = grad, .cost = cost,
    .ref = ref,
};

lmf_tensor *(lmf_geglu)(lmf_graph *g, lmf_tensor *gate, lmf_tensor *up)
{
    return lmf_node_add1(g, &lmf_op_geglu, NULL, (lmf_tensor *[]){ gate, up }, 2);
}

static lmf_status bwd_ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->out[0]);
    for (int64_t i = 0; i < n; i++) {
        double x = lmf_get(&c->in[0], i), dy = lmf_get(&c->in[2], i), s = half_of(x), slope = s * (1 - s);
        double d = s + (slope == 0 ? 0 : x * slope * 2 * root * (1 + 3 * cubic * x * x));
        lmf_set(&c->out[0], i, dy * lmf_get(&c->in[1], i) * d);
        lmf_set(&c->out[1], i, dy * x * s);
    }
    return LMF_OK;
}

const lmf_op lmf_op_geglu_bwd = {
    .name = "geglu_bwd", .n_in_min = 3, .n_in_max = 3, .n_out = 2, .infer = infer, .cost = cost, .ref = bwd_ref,
};
