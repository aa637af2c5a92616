/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lora_gate/lora_gate.h"

static const lmf_field fields[] = { { "rank", LMF_FIELD_I32, offsetof(lmf_lora_gate_attrs, rank), "columns", 1, 65536 }, { 0 } };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *u = &n->in[0]->v, *seq = &n->in[1]->v, *ad = &n->in[2]->v;
    if (u->dtype != LMF_F32 || seq->dtype != LMF_I32 || ad->dtype != LMF_I32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "u is f32, seq and adapter are i32");
    if (u->n_dims != 2 || seq->n_dims != 1 || ad->n_dims != 1 || seq->dim[0] != u->dim[0] ||
        u->dim[1] % ((const lmf_lora_gate_attrs *)n->attrs)->rank)
        return lmf_refuse(g, n, LMF_E_SHAPE, "u is [T, N*rank], seq [T], adapter [S]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t width = c->in[0].dim[1], rank = ((const lmf_lora_gate_attrs *)c->attrs)->rank;
    for (int64_t t = 0; t < c->in[0].dim[0]; t++) {
        int64_t s = lmf_get_int(&c->in[1], t), slot = s < 0 ? -1 : lmf_get_int(&c->in[2], s);
        for (int64_t i = 0; i < width; i++)
            lmf_set(&c->out[0], t * width + i, i / rank == slot ? lmf_get(&c->in[0], t * width + i) : 0);
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 0;
    *bytes = 8 * (double)lmf_view_count(&n->in[0]->v);
}

const lmf_op lmf_op_lora_gate = { .name = "lora_gate", .n_in_min = 3, .n_in_max = 3, .n_out = 1, .attr_bytes = sizeof(lmf_lora_gate_attrs),
    .fields = fields, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_lora_gate)(lmf_graph *g, lmf_tensor *u, lmf_tensor *seq, lmf_tensor *adapter, int32_t rank)
{
    return lmf_node_add1(g, &lmf_op_lora_gate, &(lmf_lora_gate_attrs){ rank }, (lmf_tensor *[]){ u, seq, adapter }, 3);
}
