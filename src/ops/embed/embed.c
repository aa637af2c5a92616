/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/embed/embed.h"

static const lmf_field fields[] = { { "y", LMF_FIELD_DTYPE, offsetof(lmf_embed_attrs, y), "", LMF_F32, LMF_BF16 }, { 0 } };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_tensor *tok = n->in[0], *w = n->in[1];
    if (tok->v.dtype != LMF_I32 || (w->v.fmt->flags & LMF_FORMAT_INT))
        return lmf_refuse(g, n, LMF_E_DTYPE, "token is i32, w a float or block format");
    if (tok->v.n_dims != 1 || w->v.n_dims != 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "token is [T] and w [V, D]");
    int32_t y = ((const lmf_embed_attrs *)n->attrs)->y;
    if (y != LMF_F32 && y != LMF_BF16)
        return lmf_refuse(g, n, LMF_E_DTYPE, "y is f32 or bf16");
    lmf_out_set(n, 0, (uint16_t)y, 2, (int64_t[]){ tok->v.dim[0], w->v.dim[1] });
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t d = c->in[1].dim[1];
    for (int64_t t = 0; t < c->in[0].dim[0]; t++) {
        int64_t v = lmf_get_int(&c->in[0], t);
        for (int64_t i = 0; i < d; i++)
            lmf_set(&c->out[0], t * d + i, v >= 0 && v < c->in[1].dim[0] ? lmf_get(&c->in[1], v * d + i) : 0);
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_embed_bwd_attrs a = { (int32_t)n->in[1]->v.dim[0] };
    if (n->in[1]->needs_grad)
        lmf_grad_add(g, &d_in[1], lmf_node_add1(g, &lmf_op_embed_bwd, &a, (lmf_tensor *[]){ n->in[0], d_out[0] }, 2));
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double e = (double)lmf_view_count(&n->out[0]->v);
    *flops = 0;
    *bytes = n->out[0]->v.fmt->block_bytes * e + e / n->in[1]->v.fmt->block * n->in[1]->v.fmt->block_bytes;
}

const lmf_op lmf_op_embed = { .name = "embed", .n_in_min = 2, .n_in_max = 2, .n_out = 1, .attr_bytes = sizeof(lmf_embed_attrs),
    .fields = fields, .infer = infer, .grad = grad, .cost = cost, .ref = ref };

lmf_tensor *(lmf_embed)(lmf_graph *g, lmf_tensor *token, lmf_tensor *w)
{
    return lmf_node_add1(g, &lmf_op_embed, &(lmf_embed_attrs){ g->between }, (lmf_tensor *[]){ token, w }, 2);
}

/* embed_bwd: (token [T], dy [T, D]) -> dw [n_vocab, D]. */
static const lmf_field bwd_fields[] = {
    { "n_vocab", LMF_FIELD_I32, offsetof(lmf_embed_bwd_attrs, n_vocab), "rows", 1, 1 << 24 }, { 0 }
};

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_embed_bwd_attrs *a = n->attrs;
    if (n->in[0]->v.dtype != LMF_I32 || !lmf_is_activation(n->in[1]))
        return lmf_refuse(g, n, LMF_E_DTYPE, "token is i32, dy f32 or bf16");
    if (n->in[0]->v.n_dims != 1 || n->in[1]->v.n_dims != 2 || n->in[0]->v.dim[0] != n->in[1]->v.dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "token is [T] and dy [T, D]");
    lmf_out_set(n, 0, LMF_F32, 2, (int64_t[]){ a->n_vocab, n->in[1]->v.dim[1] });
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    int64_t v = c->out[0].dim[0], d = c->out[0].dim[1];
    for (int64_t i = 0; i < v * d; i++)
        lmf_set(&c->out[0], i, 0);
    for (int64_t t = 0; t < c->in[0].dim[0]; t++) {
        int64_t row = lmf_get_int(&c->in[0], t);
        for (int64_t i = 0; row >= 0 && row < v && i < d; i++)
            lmf_set(&c->out[0], row * d + i, lmf_get(&c->out[0], row * d + i) + lmf_get(&c->in[1], t * d + i));
    }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = (double)lmf_view_count(&n->in[1]->v);
    *bytes = 4 * (*flops + (double)lmf_view_count(&n->out[0]->v));
}

const lmf_op lmf_op_embed_bwd = { .name = "embed_bwd", .n_in_min = 2, .n_in_max = 2, .n_out = 1, .attr_bytes = sizeof(lmf_embed_bwd_attrs),
    .fields = bwd_fields, .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref };
