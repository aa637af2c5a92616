/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1. Both products are one pass over x and y (device/cpu/gemm_bf16.h). */
#include "device/device.h"
#include "device/cpu/gemm_bf16.h"
#include "ops/lora/lora_gemm.h"

static bool fits(const lmf_call *call, const lmf_device *dev)
{
    lora_products p;
    return ((const lmf_lora_attrs *)call->attrs)->compute == 1 && lora_describe(call, &p) && lmf_gemm_bf16_pays(&p.y) &&
           lmf_gemm_bf16_holds(&(lmf_gemm_bf16){ p.y, &p.u, &p.low }, dev->n_workers);
}
static size_t scratch(const lmf_call *call, const lmf_device *dev)
{
    lora_products p;
    return lora_describe(call, &p) ? lmf_gemm_bf16_bytes(&(lmf_gemm_bf16){ p.y, &p.u, &p.low }, dev->n_workers) : 0;
}
static lmf_status run(const lmf_call *call, const lmf_worker *wk)
{
    lora_products p;
    if (!lora_describe(call, &p))
        return LMF_E_INTERNAL;
    lmf_gemm_bf16 o = { p.y, &p.u, &p.low };
    if (wk->phase == 0)
        lmf_gemm_bf16_pack(&o, call->scratch, wk->i_worker, wk->n_workers);
    else if (wk->phase == 1)
        lmf_gemm_bf16_low(&o, call->scratch, wk->i_worker, wk->n_workers);
    else
        lmf_gemm_bf16_run(&o, call->scratch, wk->i_worker, wk->n_workers);
    return LMF_OK;
}

LMF_CPU_ROWS(lora) = {
    { .name = "lora_fwd_" LMF_BF16_SET, .flags = LMF_ROW_ANY_WORKERS, .n_phases = 3, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
