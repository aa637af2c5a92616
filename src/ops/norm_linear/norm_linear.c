/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the expansions are what a model would write without these ops, node for node, so that a device without rows gives the bits that
 * it gave before they were there. */
#include "ops/norm_linear/norm_linear.h"
#include <math.h>
#include "ops/add/add.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/swiglu/swiglu.h"

static const lmf_field fields[] = {
    { "eps", LMF_FIELD_F32, offsetof(lmf_norm_linear_attrs, eps), "", 1e-12, 1.0 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_norm_linear_attrs, compute), "", 0, 1 }, { 0 }
};
static const lmf_field add_fields[] = { { "compute", LMF_FIELD_I32, offsetof(lmf_linear_add_attrs, compute), "", 0, 1 }, { 0 } };

/* Inputs of the first two: x, w, n matrices, n biases. Of linear_add: x, r, W, b. */
enum { X, W, FIRST };

static lmf_tensor *input(const lmf_node *n, int i) { return i < n->n_in ? n->in[i] : NULL; }

static lmf_status check(lmf_graph *g, lmf_node *n, int n_matrices)
{
    const lmf_view *x = &n->in[X]->v;
    if (x->dtype != LMF_F32 || n->in[W]->v.dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "x is f32, and so is the next input");
    if (x->n_dims != 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x has two dimensions");
    for (int i = FIRST; i < FIRST + n_matrices; i++) {
        const lmf_view *m = &n->in[i]->v, *b = input(n, i + n_matrices) ? &n->in[i + n_matrices]->v : NULL;
        if (!m->fmt->unpack || !(m->fmt->flags & (LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT)) || (b && b->dtype != LMF_F32))
            return lmf_refuse(g, n, LMF_E_DTYPE, "matrices are of a float or block format, biases f32");
        if (m->n_dims != 2 || m->dim[1] != x->dim[1] || (b && (b->n_dims != 1 || b->dim[0] != m->dim[0])))
            return lmf_refuse(g, n, LMF_E_SHAPE, "matrices are [N, %lld], biases [N]", (long long)x->dim[1]);
    }
    return LMF_OK;
}

static lmf_status check_norm(lmf_graph *g, lmf_node *n)
{
    const lmf_view *w = &n->in[W]->v;
    if (w->n_dims != 1 || w->dim[0] != n->in[X]->v.dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "w must have the width of x");
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n, 3));
    LMF_TRY(check_norm(g, n));
    for (int j = 0; j < 3; j++)
        lmf_out_set(n, j, LMF_F32, 2, (int64_t[]){ n->in[X]->v.dim[0], n->in[FIRST + j]->v.dim[0] });
    return LMF_OK;
}

static lmf_status swiglu_infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n, 2));
    LMF_TRY(check_norm(g, n));
    if (n->in[FIRST]->v.dim[0] != n->in[FIRST + 1]->v.dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "both matrices have as many rows");
    lmf_out_set(n, 0, LMF_F32, 2, (int64_t[]){ n->in[X]->v.dim[0], n->in[FIRST]->v.dim[0] });
    return LMF_OK;
}

static lmf_status add_infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n, 1));
    lmf_out_set(n, 0, LMF_F32, 2, (int64_t[]){ n->in[X]->v.dim[0], n->in[FIRST]->v.dim[0] });
    if (!lmf_same_shape(n->in[W], n->out[0]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "r must have the shape of y");
    return LMF_OK;
}

/* 1 / sqrt(mean of squares + eps) of a row of x. */
static double rstd(const lmf_call *c, int64_t t)
{
    int64_t d = c->in[X].dim[1];
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += lmf_get(&c->in[X], t * d + i) * lmf_get(&c->in[X], t * d + i);
    return 1 / sqrt(sum / (double)d + (double)((const lmf_norm_linear_attrs *)c->attrs)->eps);
}

/* Row col of matrix i times row t of x, by w where there is a norm; plus the bias. */
static double dot(const lmf_call *c, int i, int bias, int64_t t, int64_t col, bool normed)
{
    int64_t d = c->in[X].dim[1];
    double sum = 0;
    for (int64_t k = 0; k < d; k++)
        sum += lmf_get(&c->in[X], t * d + k) * lmf_get(&c->in[i], col * d + k) * (normed ? lmf_get(&c->in[W], k) : 1);
    return (normed ? sum * rstd(c, t) : sum) + (bias < c->n_in && c->in[bias].n_dims ? lmf_get(&c->in[bias], col) : 0);
}

static lmf_status ref(const lmf_call *c)
{
    for (int j = 0; j < 3; j++) {
        int64_t n = c->out[j].dim[1];
        for (int64_t e = 0; e < lmf_view_count(&c->out[j]); e++)
            lmf_set(&c->out[j], e, dot(c, FIRST + j, FIRST + 3 + j, e / n, e % n, true));
    }
    return LMF_OK;
}

static lmf_status swiglu_ref(const lmf_call *c)
{
    int64_t n = c->out[0].dim[1];
    for (int64_t e = 0; e < lmf_view_count(&c->out[0]); e++) {
        double z = dot(c, FIRST, FIRST + 2, e / n, e % n, true);
        lmf_set(&c->out[0], e, z / (1 + exp(-z)) * dot(c, FIRST + 1, FIRST + 3, e / n, e % n, true));
    }
    return LMF_OK;
}

static lmf_status add_ref(const lmf_call *c)
{
    int64_t n = c->out[0].dim[1];
    for (int64_t e = 0; e < lmf_view_count(&c->out[0]); e++)
        lmf_set(&c->out[0], e, lmf_get(&c->in[W], e) + dot(c, FIRST, FIRST + 1, e / n, e % n, false));
    return LMF_OK;
}

static lmf_tensor *product(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *bias, int compute)
{
    return (lmf_matmul)(g, x, w, bias, (lmf_matmul_attrs){ .tb = 1, .alpha = 1, .compute = compute });
}

static lmf_status expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_norm_linear_attrs *a = n->attrs;
    lmf_tensor *h = (lmf_rms_norm)(g, n->in[X], n->in[W], a->eps);
    for (int j = 0; j < 3; j++)
        out[j] = product(g, h, n->in[FIRST + j], input(n, FIRST + 3 + j), a->compute);
    return g->status;
}

static lmf_status swiglu_expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_norm_linear_attrs *a = n->attrs;
    /* up before gate: gradients of h are summed in this order, and their bits are kept from version to version */
    lmf_tensor *h = (lmf_rms_norm)(g, n->in[X], n->in[W], a->eps), *up = product(g, h, n->in[FIRST + 1], input(n, FIRST + 3), a->compute);
    out[0] = (lmf_swiglu)(g, product(g, h, n->in[FIRST], input(n, FIRST + 2), a->compute), up);
    return g->status;
}

static lmf_status add_expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_linear_add_attrs *a = n->attrs;
    out[0] = (lmf_add)(g, n->in[W], product(g, n->in[X], n->in[FIRST], input(n, FIRST + 1), a->compute));
    return g->status;
}

/* Each tensor once. */
static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = *bytes = 0;
    for (int i = 0; i < n->n_in + n->n_out; i++) {
        const lmf_tensor *t = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        double e = t ? (double)lmf_view_count(&t->v) : 0;
        *bytes += t ? e / t->v.fmt->block * t->v.fmt->block_bytes : 0;
        *flops += t && i >= FIRST && i < n->n_in && t->v.n_dims == 2 ? 2 * e * (double)n->in[X]->v.dim[0] : 0;
    }
}

const lmf_op lmf_op_norm_linear = {
    .name = "norm_linear", .n_in_min = 5, .n_in_max = 8, .n_out = 3, .flags = LMF_OP_FUSED, .attr_bytes = sizeof(lmf_norm_linear_attrs),
    .fields = fields, .infer = infer, .expand = expand, .cost = cost, .ref = ref,
};
const lmf_op lmf_op_norm_swiglu = {
    .name = "norm_swiglu", .n_in_min = 4, .n_in_max = 6, .n_out = 1, .flags = LMF_OP_FUSED, .attr_bytes = sizeof(lmf_norm_linear_attrs),
    .fields = fields, .infer = swiglu_infer, .expand = swiglu_expand, .cost = cost, .ref = swiglu_ref,
};
const lmf_op lmf_op_linear_add = {
    .name = "linear_add", .n_in_min = 3, .n_in_max = 4, .n_out = 1, .flags = LMF_OP_FUSED, .attr_bytes = sizeof(lmf_linear_add_attrs),
    .fields = add_fields, .infer = add_infer, .expand = add_expand, .cost = cost, .ref = add_ref,
};

void (lmf_norm_linear)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *const *weight, lmf_tensor *const *bias,
                       lmf_norm_linear_attrs attrs, lmf_tensor **out)
{
    lmf_tensor *in[] = { x, w, weight[0], weight[1], weight[2], bias[0], bias[1], bias[2] };
    lmf_node *n = lmf_node_add(g, &lmf_op_norm_linear, &attrs, in, 8);
    for (int j = 0; j < 3; j++)
        out[j] = n ? n->out[j] : NULL;
}

lmf_tensor *(lmf_norm_swiglu)(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *const *weight, lmf_tensor *const *bias,
                              lmf_norm_linear_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_norm_swiglu, &attrs, (lmf_tensor *[]){ x, w, weight[0], weight[1], bias[0], bias[1] }, 6);
}

lmf_tensor *(lmf_linear_add)(lmf_graph *g, lmf_tensor *x, lmf_tensor *weight, lmf_tensor *bias, lmf_tensor *r, int32_t compute)
{
    return lmf_node_add1(g, &lmf_op_linear_add, &(lmf_linear_add_attrs){ compute }, (lmf_tensor *[]){ x, r, weight, bias }, 4);
}
