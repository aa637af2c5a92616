/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sample/sample.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *seen = &n->in[0]->v, *clear = &n->in[1]->v, *slot = &n->in[2]->v, *token = &n->in[3]->v;
    if (seen->dtype != LMF_I32 || clear->dtype != LMF_I32 || slot->dtype != LMF_I32 || token->dtype != LMF_I32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "seen, clear, slot and token are i32");
    if (seen->n_dims != 2 || clear->n_dims != 1 || slot->n_dims != 1 || token->n_dims != 1 || clear->dim[0] != seen->dim[0] || token->dim[0] != slot->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "seen is [N, V], clear [N], slot and token [R]");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t N = c->in[0].dim[0], V = c->in[0].dim[1];
    for (int64_t i = 0; i < N * V; i++)
        if (lmf_get_int(&c->in[1], i / V))
            lmf_set(&c->out[0], i, 0);
    for (int64_t r = 0; r < c->in[2].dim[0]; r++) {
        int64_t slot = lmf_get_int(&c->in[2], r), token = lmf_get_int(&c->in[3], r);
        if (slot < 0)
            continue;
        if (slot >= N || token < 0 || token >= V)
            return LMF_E_INTERNAL;
        lmf_set(&c->out[0], slot * V + token, (double)(lmf_get_int(&c->out[0], slot * V + token) | LMF_SEEN_PROMPT));
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 0;
    *bytes = 12 * (double)n->in[2]->v.dim[0];
}

const lmf_op lmf_op_mark_seen = { .name = "mark_seen", .n_in_min = 4, .n_in_max = 4, .n_out = 1, .writes = { 1 }, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_mark_seen)(lmf_graph *g, lmf_tensor *seen, lmf_tensor *clear, lmf_tensor *slot, lmf_tensor *token)
{
    return lmf_node_add1(g, &lmf_op_mark_seen, NULL, (lmf_tensor *[]){ seen, clear, slot, token }, 4);
}
