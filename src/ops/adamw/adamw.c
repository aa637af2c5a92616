/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/adamw/adamw.h"
#include <math.h>

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    for (int i = 0; i < 6; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    for (int i = 1; i < 4; i++)
        if (!lmf_same_shape(n->in[0], n->in[i]))
            return lmf_refuse(g, n, LMF_E_SHAPE, "p, m, v and g have one shape");
    if (lmf_view_count(&n->in[4]->v) != 1 || lmf_view_count(&n->in[5]->v) != LMF_ADAMW_HYPER)
        return lmf_refuse(g, n, LMF_E_SHAPE, "norm is [1] and hyper [%d]", LMF_ADAMW_HYPER);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    double h[LMF_ADAMW_HYPER], norm = lmf_get(&c->in[4], 0);
    for (int i = 0; i < LMF_ADAMW_HYPER; i++)
        h[i] = lmf_get(&c->in[5], i);
    if (!isfinite(norm))
        return LMF_OK;
    double clip = h[LMF_ADAMW_MAX_NORM] > 0 ? fmin(1, h[LMF_ADAMW_MAX_NORM] / (norm + 1e-6)) : 1;
    for (int64_t i = 0; i < lmf_view_count(&c->in[0]); i++) {
        double g = lmf_get(&c->in[3], i) * clip;
        double m = h[LMF_ADAMW_BETA1] * lmf_get(&c->in[1], i) + (1 - h[LMF_ADAMW_BETA1]) * g;
        double v = h[LMF_ADAMW_BETA2] * lmf_get(&c->in[2], i) + (1 - h[LMF_ADAMW_BETA2]) * g * g;
        double p = lmf_get(&c->in[0], i) * (1 - h[LMF_ADAMW_LR] * h[LMF_ADAMW_DECAY]);
        lmf_set(&c->out[0], i, p - h[LMF_ADAMW_LR] / h[LMF_ADAMW_BIAS1] * m / (sqrt(v) / sqrt(h[LMF_ADAMW_BIAS2]) + h[LMF_ADAMW_EPS]));
        lmf_set(&c->out[1], i, m);
        lmf_set(&c->out[2], i, v);
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 15 * (double)lmf_view_count(&n->in[0]->v);
    *bytes = 28 * (double)lmf_view_count(&n->in[0]->v);
}

const lmf_op lmf_op_adamw = { .name = "adamw", .n_in_min = 6, .n_in_max = 6, .n_out = 3, .writes = { 1, 2, 3 }, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_adamw)(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *v, lmf_tensor *grad, lmf_tensor *norm, lmf_tensor *hyper)
{
    return lmf_node_add1(g, &lmf_op_adamw, NULL, (lmf_tensor *[]){ p, m, v, grad, norm, hyper }, 6);
}
