/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: backward draws the same numbers; nothing that keep depends on may differ between the two. */
#include "ops/dropout/dropout.h"

static const lmf_field fields[] = {
    { "p", LMF_FIELD_F32, offsetof(lmf_dropout_attrs, p), "", 0, 0.99999994 },
    { "stream", LMF_FIELD_I32, offsetof(lmf_dropout_attrs, stream), "", 0, 2147483647 },
    { 0 }
};

enum { X, POS, ITEM, NOISE, C };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[X]->v;
    const lmf_tensor *c = n->n_in > C ? n->in[C] : NULL;
    if (x->dtype != LMF_F32 || (c && c->v.dtype != LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x and c are f32");
    for (int i = POS; i <= NOISE; i++)
        if (n->in[i]->v.dtype != LMF_I32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "pos, item and noise are i32");
    if (x->n_dims != 2 || (c && !lmf_same_shape(n->in[X], c)))
        return lmf_refuse(g, n, LMF_E_SHAPE, "x has two dimensions, and c its shape");
    for (int i = POS; i <= ITEM; i++)
        if (n->in[i]->v.n_dims != 1 || n->in[i]->v.dim[0] != x->dim[0])
            return lmf_refuse(g, n, LMF_E_SHAPE, "pos and item are [T], one for each row of x");
    if (n->in[NOISE]->v.n_dims != 1 || n->in[NOISE]->v.dim[0] != 3)
        return lmf_refuse(g, n, LMF_E_SHAPE, "noise is [3]: the seed's halves and the step");
    lmf_out_like(n, 0, n->in[X], LMF_F32);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *call)
{
    const lmf_dropout_attrs *a = call->attrs;
    int64_t t = call->out[0].dim[0], k = call->out[0].dim[1];
    int32_t noise[3];
    for (int i = 0; i < 3; i++)
        noise[i] = (int32_t)lmf_get_int(&call->in[NOISE], i);
    for (int64_t i = 0; i < t; i++) {
        uint64_t key = lmf_dropout_row(noise, a->stream, (int32_t)lmf_get_int(&call->in[ITEM], i), (int32_t)lmf_get_int(&call->in[POS], i));
        for (int64_t j = 0; j < k; j++) {
            uint32_t r[4];
            lmf_philox4x32(key, (uint64_t)j / 4, 0, r);
            double y = (double)(r[j % 4] >> 8) * 0x1p-24 >= (double)a->p ? lmf_get(&call->in[X], i * k + j) / (1 - (double)a->p) : 0;
            lmf_set(&call->out[0], i * k + j, y + (call->n_in > C && call->in[C].n_dims ? lmf_get(&call->in[C], i * k + j) : 0));
        }
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (n->in[X]->needs_grad)
        d_in[X] = (lmf_dropout)(g, d_out[0], n->in[POS], n->in[ITEM], n->in[NOISE], d_in[X], *(const lmf_dropout_attrs *)n->attrs);
    if (n->n_in > C && n->in[C] && n->in[C]->needs_grad)
        lmf_grad_add(g, &d_in[C], d_out[0]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double e = (double)lmf_view_count(&n->in[X]->v);
    *flops = 2 * e;
    *bytes = (n->n_in > C && n->in[C] ? 12 : 8) * e;
}

const lmf_op lmf_op_dropout = {
    .name = "dropout", .n_in_min = 4, .n_in_max = 5, .n_out = 1, .flags = LMF_OP_AGAIN, .attr_bytes = sizeof(lmf_dropout_attrs),
    .fields = fields, .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_dropout)(lmf_graph *g, lmf_tensor *x, lmf_tensor *pos, lmf_tensor *item, lmf_tensor *noise, lmf_tensor *c,
                          lmf_dropout_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_dropout, &attrs, (lmf_tensor *[]){ x, pos, item, noise, c }, 5);
}
