/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1, and for few rows of activations not at all, since there its promise is about bits. */
#include "ops/matmul/matmul.h"
#include "device/device.h"
#include "device/cpu/gemm_bf16.h"
#include "ops/matmul/matmul_gemm.h"

/* Where a lies k outermost and is the larger side (the gradient of LoRA's B), y's transpose is computed: then a is read along its rows, once. */
static bool describe(const lmf_call *call, lmf_gemm_bf16 *o)
{
    lmf_gemm *g = &o->y;
    *o = (lmf_gemm_bf16){ 0 };
    const lmf_matmul_attrs *t = call->attrs;
    if (!lmf__matmul_gemm(call, g))
        return false;
    if (t->ta && g->m > g->n && (!g->c || g->c_stride)) {
        lmf_gemm_side a = g->a;
        int64_t m = g->m;
        g->a = g->b, g->b = a, g->m = g->n, g->n = m, g->turned = true;
    }
    return true;
}
static bool fits(const lmf_call *call, const lmf_device *dev)
{
    const lmf_matmul_attrs *t = call->attrs;
    lmf_gemm_bf16 o;
    return t->compute == 1 && describe(call, &o) && (t->ta || o.y.m > lmf__matmul_few(call, &o.y)) && lmf_gemm_bf16_pays(&o.y) &&
           lmf_gemm_bf16_holds(&o, dev->n_workers);
}
static size_t scratch(const lmf_call *call, const lmf_device *dev)
{
    lmf_gemm_bf16 o;
    return describe(call, &o) ? lmf_gemm_bf16_bytes(&o, dev->n_workers) : 0;
}
static lmf_status run(const lmf_call *call, const lmf_worker *wk)
{
    lmf_gemm_bf16 o;
    if (!describe(call, &o))
        return LMF_E_INTERNAL;
    if (wk->phase == 0)
        lmf_gemm_bf16_pack(&o, call->scratch, wk->i_worker, wk->n_workers);
    else
        lmf_gemm_bf16_run(&o, call->scratch, wk->i_worker, wk->n_workers);
    return LMF_OK;
}

LMF_CPU_ROWS(matmul) = {
    { .name = "matmul_fwd_" LMF_BF16_SET, .flags = LMF_ROW_ANY_WORKERS, .n_phases = 2, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
