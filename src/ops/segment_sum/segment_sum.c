/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: both directions walk the segments by the same bounds, so that an element that was summed gets its gradient and no other does. */
#include "ops/segment_sum/segment_sum.h"

/* Inputs of forward: x, start, weight; of backward: d_y, start, x, weight. The last may be absent. */
static lmf_status check(lmf_graph *g, const lmf_node *n, const lmf_tensor *x, const lmf_tensor *d_y)
{
    int i_weight = d_y ? 3 : 2;
    const lmf_tensor *start = n->in[1], *weight = n->n_in > i_weight ? n->in[i_weight] : NULL;
    if (x->v.dtype != LMF_F32 || start->v.dtype != LMF_I32 || (d_y && d_y->v.dtype != LMF_F32) || (weight && weight->v.dtype != LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x and weight are f32, start i32");
    if (weight && !lmf_same_shape(weight, x))
        return lmf_refuse(g, n, LMF_E_SHAPE, "a weight belongs to each element of x");
    if (x->v.n_dims != 1 || start->v.n_dims != 1 || start->v.dim[0] < 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T] and start [S + 1]");
    if (d_y && (d_y->v.n_dims != 1 || d_y->v.dim[0] != start->v.dim[0] - 1))
        return lmf_refuse(g, n, LMF_E_SHAPE, "the gradient has one number a segment");
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n, n->in[0], NULL));
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ n->in[1]->v.dim[0] - 1 });
    return LMF_OK;
}

/* Elements [begin, end) of segment s of n_x. */
static void bounds(const lmf_view *start, int64_t s, int64_t n_x, int64_t *begin, int64_t *end)
{
    int64_t a = lmf_get_int(start, s), b = lmf_get_int(start, s + 1);
    *begin = a < 0 ? 0 : a;
    *end = b > n_x ? n_x : b;
}

/* Of element t; 1 where input i_weight is absent. */
static double weight_of(const lmf_call *c, int i_weight, int64_t t)
{
    return c->n_in > i_weight && c->in[i_weight].n_dims ? lmf_get(&c->in[i_weight], t) : 1;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->in[0]), begin, end;
    for (int64_t s = 0; s < lmf_view_count(&c->out[0]); s++) {
        double sum = 0;
        bounds(&c->in[1], s, n, &begin, &end);
        for (int64_t t = begin; t < end; t++) {
            double w = weight_of(c, 2, t);
            sum += w != 0 ? w * lmf_get(&c->in[0], t) : 0;
        }
        lmf_set(&c->out[0], s, sum);
    }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_tensor *weight = n->n_in > 2 ? n->in[2] : NULL;
    if (weight && weight->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "weight has no gradient");
    lmf_node *b = lmf_node_add(g, &lmf_op_segment_sum_bwd, NULL, (lmf_tensor *[]){ d_out[0], n->in[1], n->in[0], weight }, 4);
    if (b)
        lmf_grad_add(g, &d_in[0], b->out[0]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = (double)lmf_view_count(&n->in[0]->v);
    *bytes = 4 * (*flops + 2 * (double)lmf_view_count(&n->in[1]->v));
}

const lmf_op lmf_op_segment_sum = { .name = "segment_sum", .n_in_min = 2, .n_in_max = 3, .n_out = 1, .infer = infer, .grad = grad,
                                    .cost = cost, .ref = ref };

lmf_tensor *(lmf_segment_sum)(lmf_graph *g, lmf_tensor *x, lmf_tensor *start, lmf_tensor *weight)
{
    return lmf_node_add1(g, &lmf_op_segment_sum, NULL, (lmf_tensor *[]){ x, start, weight }, 3);
}

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    LMF_TRY(check(g, n, n->in[2], n->in[0]));
    lmf_out_like(n, 0, n->in[2], LMF_F32);
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    int64_t n = lmf_view_count(&c->out[0]), begin, end;
    for (int64_t t = 0; t < n; t++)
        lmf_set(&c->out[0], t, 0);
    for (int64_t s = 0; s < lmf_view_count(&c->in[0]); s++) {
        bounds(&c->in[1], s, n, &begin, &end);
        for (int64_t t = begin; t < end; t++)
            lmf_set(&c->out[0], t, weight_of(c, 3, t) * lmf_get(&c->in[0], s));
    }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 0;
    *bytes = 4 * ((double)lmf_view_count(&n->in[2]->v) + 2 * (double)lmf_view_count(&n->in[1]->v));
}

const lmf_op lmf_op_segment_sum_bwd = { .name = "segment_sum_bwd", .n_in_min = 3, .n_in_max = 4, .n_out = 1, .infer = bwd_infer,
                                        .cost = bwd_cost, .ref = bwd_ref };
