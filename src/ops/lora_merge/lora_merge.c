/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the draw depends on the element's index alone, so that forward, backward and a recomputed layer meet the same weight. */
#include "ops/lora_merge/lora_merge.h"
#include "base/half.h"
#include "ops/lora_merge/lora_merge_draw.h"

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_lora_merge_attrs, scale), "", -1e30, 1e30 },
    { 0 }
};

/* w or dy first, then p and q. */
static lmf_status check(lmf_graph *g, const lmf_node *n)
{
    const lmf_view *w = &n->in[0]->v, *p = &n->in[1]->v, *q = &n->in[2]->v;
    if (p->dtype != LMF_F32 || q->dtype != LMF_F32 || !w->fmt->unpack || !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)))
        return lmf_refuse(g, n, LMF_E_DTYPE, "p and q are f32, w of a float or block format");
    if (w->n_dims != 2 || p->n_dims != 2 || q->n_dims != 2 || p->dim[1] != w->dim[1] || q->dim[0] != w->dim[0] || p->dim[0] != q->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "w is [N, K], p [R, K] and q [N, R]");
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n));
    lmf_out_like(n, 0, n->in[0], LMF_BF16);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_lora_merge_attrs *a = c->attrs;
    int64_t n = c->in[0].dim[0], k = c->in[0].dim[1], r = c->in[1].dim[0];
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++) {
            double low = 0;
            for (int64_t e = 0; e < r; e++)
                low += lmf_get(&c->in[2], i * r + e) * lmf_get(&c->in[1], e * k + j);
            double y = lmf_get(&c->in[0], i * k + j) + (double)a->scale * low;
            if (c->out[0].dtype == LMF_BF16)
                y = (double)lmf_bf16_to_f32(lmf__merge_round(lmf_f32_bits((float)y), (uint64_t)(i * k + j)));
            lmf_set(&c->out[0], i * k + j, y);
        }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (n->in[0]->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "w has no gradient");
    lmf_node *b = lmf_node_add(g, &lmf_op_lora_merge_bwd, n->attrs, (lmf_tensor *[]){ d_out[0], n->in[1], n->in[2] }, 3);
    for (int i = 1; b && i < 3; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i - 1]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[0]->v;
    double e = (double)lmf_view_count(w), r = (double)n->in[1]->v.dim[0];
    *flops = 2 * e * r;
    *bytes = e / w->fmt->block * w->fmt->block_bytes + 2 * e + 4 * r * (double)(w->dim[0] + w->dim[1]);
}

const lmf_op lmf_op_lora_merge = {
    .name = "lora_merge", .n_in_min = 3, .n_in_max = 3, .n_out = 1, .attr_bytes = sizeof(lmf_lora_merge_attrs), .fields = fields,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_lora_merge)(lmf_graph *g, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, float scale)
{
    return lmf_node_add1(g, &lmf_op_lora_merge, &(lmf_lora_merge_attrs){ scale }, (lmf_tensor *[]){ w, p, q }, 3);
}

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    if (!lmf_is_activation(n->in[0]))
        return lmf_refuse(g, n, LMF_E_DTYPE, "dy is f32 or bf16");
    LMF_TRY(check(g, n));
    lmf_out_like(n, 0, n->in[1], LMF_F32);
    lmf_out_like(n, 1, n->in[2], LMF_F32);
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    const lmf_lora_merge_attrs *a = c->attrs;
    int64_t n = c->in[0].dim[0], k = c->in[0].dim[1], r = c->in[1].dim[0];
    for (int64_t e = 0; e < r; e++) {
        for (int64_t j = 0; j < k; j++) {
            double sum = 0;
            for (int64_t i = 0; i < n; i++)
                sum += lmf_get(&c->in[2], i * r + e) * lmf_get(&c->in[0], i * k + j);
            lmf_set(&c->out[0], e * k + j, (double)a->scale * sum);
        }
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t j = 0; j < k; j++)
                sum += lmf_get(&c->in[0], i * k + j) * lmf_get(&c->in[1], e * k + j);
            lmf_set(&c->out[1], i * r + e, (double)a->scale * sum);
        }
    }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[0]->v;
    double e = (double)lmf_view_count(w), r = (double)n->in[1]->v.dim[0];
    *flops = 4 * e * r;
    *bytes = w->fmt->block_bytes * e + 8 * r * (double)(w->dim[0] + w->dim[1]);
}

const lmf_op lmf_op_lora_merge_bwd = {
    .name = "lora_merge_bwd", .n_in_min = 3, .n_in_max = 3, .n_out = 2, .attr_bytes = sizeof(lmf_lora_merge_attrs), .fields = fields,
    .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref,
};
