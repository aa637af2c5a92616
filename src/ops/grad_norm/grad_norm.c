/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/grad_norm/grad_norm.h"
#include <math.h>

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    if (n->in[0]->v.dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    double sum = 0;
    for (int64_t i = 0; i < lmf_view_count(&c->in[0]); i++)
        sum += lmf_get(&c->in[0], i) * lmf_get(&c->in[0], i);
    lmf_set(&c->out[0], 0, sqrt(sum));
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 2 * (double)lmf_view_count(&n->in[0]->v);
    *bytes = 2 * *flops;
}

const lmf_op lmf_op_grad_norm = { .name = "grad_norm", .n_in_min = 1, .n_in_max = 1, .n_out = 1, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_grad_norm)(lmf_graph *g, lmf_tensor *x) { return lmf_node_add1(g, &lmf_op_grad_norm, NULL, &x, 1); }
