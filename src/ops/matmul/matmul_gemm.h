/* SPDX-License-Identifier: Apache-2.0 */
/* matmul_gemm: a call of matmul as a product of device/cpu/gemm.h, for matmul's row files. */
#ifndef LMF_OPS_MATMUL_GEMM_H
#define LMF_OPS_MATMUL_GEMM_H
#include "device/cpu/gemm.h"
#include "ops/matmul/matmul.h"

/* True if all rows are one stride apart, so that leading dims collapse. */
static inline bool lmf__matmul_stride(const lmf_view *v, int64_t *stride)
{
    int64_t width = v->dim[v->n_dims - 1], next = 0;
    *stride = width;
    if (width > 1 && v->stride[v->n_dims - 1] != 1)
        return false;
    for (int i = v->n_dims - 2; i >= 0; i--) {
        if (v->dim[i] == 1)
            continue;
        if (!next)
            *stride = v->stride[i];
        else if (v->stride[i] != next)
            return false;
        next = v->stride[i] * v->dim[i];
    }
    return *stride % v->fmt->block == 0;
}

/* False where strides or formats are none that a blocked product can take. */
static inline bool lmf__matmul_gemm(const lmf_call *call, lmf_gemm *g)
{
    const lmf_matmul_attrs *t = call->attrs;
    const lmf_view *a = &call->in[0], *b = &call->in[1], *c = call->n_in > 2 && call->in[2].n_dims ? &call->in[2] : NULL, *y = &call->out[0];
    *g = (lmf_gemm){ .m = lmf_view_rows(y), .n = y->dim[y->n_dims - 1], .k = t->tb ? b->dim[b->n_dims - 1] : lmf_view_rows(b),
                     .a = { a->data, a->fmt, 0, !t->ta }, .b = { b->data, b->fmt, 0, t->tb }, .alpha = t->alpha, .y = y->data };
    if (y->dtype != LMF_F32 || !a->fmt->unpack || !b->fmt->unpack || !lmf__matmul_stride(a, &g->a.stride) ||
        !lmf__matmul_stride(b, &g->b.stride) || !lmf__matmul_stride(y, &g->y_stride))
        return false;
    if (!c)
        return true;
    g->c = c->data;
    return lmf__matmul_stride(c, &g->c_stride) && (c->n_dims > 1 || y->n_dims == 1 || (g->c_stride = 0, true));
}

/* Up to how many rows of a are few for a described call: for these a row's bits don't depend on their number, so rows for many leave them
 * alone. Tiles share a pass over the weights among all of them. */
static inline int64_t lmf__matmul_few(const lmf_call *call, const lmf_gemm *g)
{
    const lmf_matmul_attrs *t = call->attrs;
    bool tiles = t->tb && !t->ta && call->in[0].dtype == LMF_F32 && g->b.fmt->tile && g->n >= LMF_TILE && g->k % LMF_ACT_BLOCK == 0;
    return tiles ? 32 : 16;
}

#endif
