/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: backward is this op again with p and q exchanged: one kernel row serves both directions. */
#include "ops/lora/lora.h"
#include "ops/add/add.h"
#include "ops/matmul/matmul.h"

static const lmf_field fields[] = {
    { "tb", LMF_FIELD_I32, offsetof(lmf_lora_attrs, tb), "", 0, 1 },
    { "scale", LMF_FIELD_F32, offsetof(lmf_lora_attrs, scale), "", -1e30, 1e30 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_lora_attrs, compute), "", 0, 1 },
    { 0 }
};

enum { X, W, P, Q, C };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    int tb = ((const lmf_lora_attrs *)n->attrs)->tb;
    const lmf_view *x = &n->in[X]->v, *w = &n->in[W]->v, *p = &n->in[P]->v, *q = &n->in[Q]->v, *c = n->n_in > C && n->in[C] ? &n->in[C]->v : NULL;
    if (x->dtype != LMF_F32 || p->dtype != LMF_F32 || q->dtype != LMF_F32 || (c && c->dtype != LMF_F32) || !w->fmt->unpack ||
        !(w->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x, p, q and c are f32, w of a float or block format");
    if (x->n_dims != 2 || w->n_dims != 2 || p->n_dims != 2 || q->n_dims != 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x, w, p and q have two dimensions");
    int64_t k = x->dim[1], width = w->dim[!tb], r = p->dim[!tb];
    if (w->dim[tb] != k || p->dim[tb] != k || q->dim[!tb] != width || q->dim[tb] != r)
        return lmf_refuse(g, n, LMF_E_SHAPE, tb ? "x is [T, K], w [N, K], p [R, K] and q [N, R]" : "x is [T, K], w [K, N], p [K, R] and q [R, N]");
    lmf_out_set(n, 0, LMF_F32, 2, (int64_t[]){ x->dim[0], width });
    lmf_out_set(n, 1, LMF_F32, 2, (int64_t[]){ x->dim[0], r });
    if (c && !lmf_same_shape(n->in[C], n->out[0]) && (c->n_dims != 1 || c->dim[0] != width))
        return lmf_refuse(g, n, LMF_E_SHAPE, "c must have the shape of y, or be one row of its width");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *call)
{
    const lmf_lora_attrs *a = call->attrs;
    const lmf_view *x = &call->in[X], *w = &call->in[W], *p = &call->in[P], *q = &call->in[Q];
    const lmf_view *c = call->n_in > C && call->in[C].n_dims ? &call->in[C] : NULL;
    int64_t t = x->dim[0], k = x->dim[1], n = call->out[0].dim[1], r = call->out[1].dim[1];
    for (int64_t i = 0; i < t; i++) {
        for (int64_t j = 0; j < r; j++) {
            double sum = 0;
            for (int64_t e = 0; e < k; e++)
                sum += lmf_get(x, i * k + e) * lmf_get(p, a->tb ? j * k + e : e * r + j);
            lmf_set(&call->out[1], i * r + j, sum);
        }
        for (int64_t j = 0; j < n; j++) {
            double sum = 0, low = 0;
            for (int64_t e = 0; e < k; e++)
                sum += lmf_get(x, i * k + e) * lmf_get(w, a->tb ? j * k + e : e * n + j);
            for (int64_t e = 0; e < r; e++)
                low += lmf_get(&call->out[1], i * r + e) * lmf_get(q, a->tb ? j * r + e : e * n + j);
            lmf_set(&call->out[0], i * n + j, sum + (double)a->scale * low + (c ? lmf_get(c, c->n_dims == 1 ? j : i * n + j) : 0));
        }
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    const lmf_lora_attrs *a = n->attrs;
    lmf_tensor *x = n->in[X], *w = n->in[W], *p = n->in[P], *q = n->in[Q], *c = n->n_in > C ? n->in[C] : NULL, *dy = d_out[0], *du = NULL;
    if (!a->tb || d_out[1] || w->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "x, p, q and c have gradients, with tb = 1; w has none, nor has what is made of u");
    if (x->needs_grad) {
        lmf_node *back = lmf_node_add(g, &lmf_op_lora, &(lmf_lora_attrs){ 0, a->scale, a->compute }, (lmf_tensor *[]){ dy, w, q, p, d_in[X] }, 5);
        d_in[X] = back ? back->out[0] : NULL;
        du = back ? back->out[1] : NULL;
    } else if (p->needs_grad) {
        du = (lmf_matmul)(g, dy, q, NULL, (lmf_matmul_attrs){ .alpha = 1, .compute = a->compute });
    }
    if (p->needs_grad)
        d_in[P] = (lmf_matmul)(g, du, x, d_in[P], (lmf_matmul_attrs){ .ta = 1, .alpha = a->scale, .compute = a->compute });
    if (q->needs_grad)
        d_in[Q] = (lmf_matmul)(g, dy, n->out[1], d_in[Q], (lmf_matmul_attrs){ .ta = 1, .alpha = a->scale, .compute = a->compute });
    if (c && c->needs_grad)
        lmf_grad_add(g, &d_in[C], lmf_same_shape(c, dy) ? dy : (lmf_sum_rows)(g, dy));
    return g->status;
}

/* y's low part is added to the frozen product, so that the sum costs no pass of its own. */
static lmf_status expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_lora_attrs *a = n->attrs;
    lmf_matmul_attrs t = { .tb = a->tb, .alpha = 1, .compute = a->compute };
    lmf_tensor *y = (lmf_matmul)(g, n->in[X], n->in[W], n->n_in > C ? n->in[C] : NULL, t);
    out[1] = (lmf_matmul)(g, n->in[X], n->in[P], NULL, t);
    t.alpha = a->scale;
    out[0] = (lmf_matmul)(g, out[1], n->in[Q], y, t);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *w = &n->in[W]->v;
    double t = (double)n->in[X]->v.dim[0], weights = (double)lmf_view_count(w), low = (double)(lmf_view_count(&n->in[P]->v) + lmf_view_count(&n->in[Q]->v));
    *flops = 2 * t * (weights + low);
    *bytes = 4 * low + weights / w->fmt->block * w->fmt->block_bytes;
    for (int j = 0; j < 2; j++)
        *bytes += 4 * (double)lmf_view_count(&n->out[j]->v);
    for (int i = X; i < n->n_in; i += C)
        *bytes += n->in[i] ? 4 * (double)lmf_view_count(&n->in[i]->v) : 0;
}

const lmf_op lmf_op_lora = {
    .name = "lora", .n_in_min = 4, .n_in_max = 5, .n_out = 2, .attr_bytes = sizeof(lmf_lora_attrs), .fields = fields,
    .infer = infer, .grad = grad, .expand = expand, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_lora)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, lmf_tensor *c, lmf_lora_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_lora, &attrs, (lmf_tensor *[]){ x, w, p, q, c }, 5);
}
