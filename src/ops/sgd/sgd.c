/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sgd/sgd.h"
#include <math.h>

enum { P, M, G, NORM, HYPER, N_IN };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    if (!lmf_same_shape(n->in[P], n->in[M]) || !lmf_same_shape(n->in[P], n->in[G]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "p, m and g have one shape");
    if (lmf_view_count(&n->in[NORM]->v) != 1 || lmf_view_count(&n->in[HYPER]->v) != LMF_SGD_HYPER)
        return lmf_refuse(g, n, LMF_E_SHAPE, "norm is [1] and hyper [%d]", LMF_SGD_HYPER);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    double h[LMF_SGD_HYPER], norm = lmf_get(&c->in[NORM], 0);
    for (int i = 0; i < LMF_SGD_HYPER; i++)
        h[i] = lmf_get(&c->in[HYPER], i);
    if (!isfinite(norm))
        return LMF_OK;
    double clip = h[LMF_SGD_MAX_NORM] > 0 ? fmin(1, h[LMF_SGD_MAX_NORM] / (norm + 1e-6)) : 1;
    for (int64_t i = 0; i < lmf_view_count(&c->in[P]); i++) {
        double p = lmf_get(&c->in[P], i), g = lmf_get(&c->in[G], i) * clip + h[LMF_SGD_DECAY] * p;
        double m = h[LMF_SGD_MOMENTUM] * lmf_get(&c->in[M], i) + g;
        lmf_set(&c->out[0], i, p - h[LMF_SGD_LR] * m);
        lmf_set(&c->out[1], i, m);
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 7 * (double)lmf_view_count(&n->in[P]->v);
    *bytes = 20 * (double)lmf_view_count(&n->in[P]->v);
}

const lmf_op lmf_op_sgd = { .name = "sgd", .n_in_min = N_IN, .n_in_max = N_IN, .n_out = 2, .writes = { 1, 2 }, .infer = infer, .cost = cost,
                            .ref = ref };

lmf_tensor *(lmf_sgd)(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *grad, lmf_tensor *norm, lmf_tensor *hyper)
{
    return lmf_node_add1(g, &lmf_op_sgd, NULL, (lmf_tensor *[]){ p, m, grad, norm, hyper }, N_IN);
}
