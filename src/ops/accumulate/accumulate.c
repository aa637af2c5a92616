/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/accumulate/accumulate.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    for (int i = 0; i < 3; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "acc, x and keep are f32");
    if (!lmf_same_shape(n->in[0], n->in[1]) || lmf_view_count(&n->in[2]->v) != 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x has the shape of acc, keep is [1]");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    double keep = lmf_get(&c->in[2], 0);
    for (int64_t i = 0; i < lmf_view_count(&c->in[0]); i++)
        lmf_set(&c->out[0], i, keep == 0 ? lmf_get(&c->in[1], i) : keep * lmf_get(&c->in[0], i) + lmf_get(&c->in[1], i));
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = (double)lmf_view_count(&n->in[0]->v);
    *bytes = 12 * *flops;
}

const lmf_op lmf_op_accumulate = { .name = "accumulate", .n_in_min = 3, .n_in_max = 3, .n_out = 1, .writes = { 1 }, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_accumulate)(lmf_graph *g, lmf_tensor *acc, lmf_tensor *x, lmf_tensor *keep)
{
    return lmf_node_add1(g, &lmf_op_accumulate, NULL, (lmf_tensor *[]){ acc, x, keep }, 3);
}
