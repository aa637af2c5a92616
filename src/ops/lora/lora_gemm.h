/* SPDX-License-Identifier: Apache-2.0 */
/* lora_gemm: a call of lora as three products of device/cpu/gemm.h, for lora's row files. */
#ifndef LMF_OPS_LORA_GEMM_H
#define LMF_OPS_LORA_GEMM_H
#include "device/cpu/gemm.h"
#include "ops/lora/lora.h"

typedef struct lora_products { lmf_gemm u, y, low; } lora_products; /* u = x op(p); y = x op(w) + c; low: y += scale * u op(q) */

/* False where a view isn't dense. */
static inline bool lora_describe(const lmf_call *call, lora_products *o)
{
    const lmf_lora_attrs *a = call->attrs;
    const lmf_view *x = &call->in[0], *w = &call->in[1], *p = &call->in[2], *q = &call->in[3], *y = &call->out[0], *u = &call->out[1];
    const lmf_view *c = call->n_in > 4 && call->in[4].n_dims ? &call->in[4] : NULL;
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].n_dims && !lmf_view_is_dense(&call->in[i]))
            return false;
    int64_t t = x->dim[0], k = x->dim[1], n = y->dim[1], r = u->dim[1];
    o->u = (lmf_gemm){ .m = t, .n = r, .k = k, .a = { x->data, x->fmt, k, true }, .b = { p->data, p->fmt, p->dim[1], a->tb },
                       .alpha = 1, .y = u->data, .y_stride = r };
    o->y = (lmf_gemm){ .m = t, .n = n, .k = k, .a = o->u.a, .b = { w->data, w->fmt, w->dim[1], a->tb },
                       .alpha = 1, .c = c ? c->data : NULL, .c_stride = c && c->n_dims > 1 ? n : 0, .y = y->data, .y_stride = n };
    o->low = (lmf_gemm){ .m = t, .n = n, .k = r, .a = { u->data, u->fmt, r, true }, .b = { q->data, q->fmt, q->dim[1], a->tb },
                         .alpha = a->scale, .c = y->data, .c_stride = n, .y = y->data, .y_stride = n };
    return lmf_view_is_dense(y) && lmf_view_is_dense(u);
}

#endif
