/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/rope/rope.h"
#include <math.h>

static const lmf_field fields[] = {
    { "head_size", LMF_FIELD_I32, offsetof(lmf_rope_attrs, head_size), "elements", 2, 65536 },
    { "n_rot", LMF_FIELD_I32, offsetof(lmf_rope_attrs, n_rot), "elements", 2, 65536 },
    { "scale", LMF_FIELD_F32, offsetof(lmf_rope_attrs, scale), "", 1e-6, 1e6 },
    { "inverse", LMF_FIELD_I32, offsetof(lmf_rope_attrs, inverse), "", 0, 1 }, { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_rope_attrs *a = n->attrs;
    const lmf_view *x = &n->in[0]->v, *pos = &n->in[1]->v, *freq = &n->in[2]->v;
    if (!lmf_is_activation(n->in[0]) || pos->dtype != LMF_I32 || freq->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32 or bf16, freq f32, pos i32");
    if (a->n_rot % 2 || a->n_rot > a->head_size)
        return lmf_refuse(g, n, LMF_E_ARG, "n_rot %d must be even and at most head_size %d", a->n_rot, a->head_size);
    if (x->n_dims != 2 || pos->n_dims != 1 || freq->n_dims != 1 || x->dim[0] != pos->dim[0] || x->dim[1] % a->head_size || freq->dim[0] != a->n_rot / 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, H*%d], pos [T], freq [%d]", a->head_size, a->n_rot / 2);
    lmf_out_like(n, 0, n->in[0], x->dtype);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_rope_attrs *a = c->attrs;
    int64_t width = c->in[0].dim[1], half = a->n_rot / 2;
    for (int64_t t = 0; t < c->in[0].dim[0]; t++) {
        double p = lmf_get(&c->in[1], t);
        for (int64_t i = 0; i < width; i++) {
            int64_t in_head = i % a->head_size, k = in_head % (half ? half : 1);
            double x = lmf_get(&c->in[0], t * width + i);
            if (in_head < a->n_rot) {
                double angle = p * lmf_get(&c->in[2], k), cs = cos(angle) * (double)a->scale, sn = sin(angle) * (double)a->scale;
                sn = a->inverse ? -sn : sn;
                x = in_head < half ? x * cs - lmf_get(&c->in[0], t * width + i + half) * sn
                                   : x * cs + lmf_get(&c->in[0], t * width + i - half) * sn;
            }
            lmf_set(&c->out[0], t * width + i, x);
        }
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_rope_attrs a = *(const lmf_rope_attrs *)n->attrs;
    a.inverse = !a.inverse;
    if (n->in[0]->needs_grad)
        lmf_grad_add(g, &d_in[0], lmf_node_add1(g, &lmf_op_rope, &a, (lmf_tensor *[]){ d_out[0], n->in[1], n->in[2] }, 3));
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 3 * (double)lmf_view_count(&n->in[0]->v);
    *bytes = 2 * n->in[0]->v.fmt->block_bytes * (double)lmf_view_count(&n->in[0]->v);
}

const lmf_op lmf_op_rope = { .name = "rope", .n_in_min = 3, .n_in_max = 3, .n_out = 1, .attr_bytes = sizeof(lmf_rope_attrs),
    .fields = fields, .infer = infer, .grad = grad, .cost = cost, .ref = ref };

lmf_tensor *(lmf_rope)(lmf_graph *g, lmf_tensor *x, lmf_tensor *pos, lmf_tensor *freq, lmf_rope_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_rope, &attrs, (lmf_tensor *[]){ x, pos, freq }, 3);
}
