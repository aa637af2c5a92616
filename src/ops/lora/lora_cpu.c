/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: y's two products are split alike (device/cpu/gemm.h goes by m and n), so a worker adds to what it wrote itself. */
#include "device/device.h"
#include "ops/lora/lora_gemm.h"

static bool fits(const lmf_call *call, const lmf_device *dev)
{
    lora_products o;
    (void)dev;
    return lora_describe(call, &o);
}
static int64_t room(const lora_products *o)
{
    int64_t u = lmf_gemm_floats(&o->u), y = lmf_gemm_floats(&o->y), low = lmf_gemm_floats(&o->low), most = u > y ? u : y;
    return lmf__gemm_up(most > low ? most : low, 16);
}
static size_t scratch(const lmf_call *call, const lmf_device *dev)
{
    lora_products o;
    return lora_describe(call, &o) ? (size_t)room(&o) * sizeof(float) * (size_t)dev->n_workers : 0;
}
static lmf_status run(const lmf_call *call, const lmf_worker *wk)
{
    lora_products o;
    if (!lora_describe(call, &o))
        return LMF_E_INTERNAL;
    float *own = (float *)call->scratch + wk->i_worker * room(&o);
    if (wk->phase == 0) {
        lmf_gemm_run(&o.u, wk->i_worker, wk->n_workers, own);
        return LMF_OK;
    }
    lmf_gemm_run(&o.y, wk->i_worker, wk->n_workers, own);
    lmf_gemm_run(&o.low, wk->i_worker, wk->n_workers, own);
    return LMF_OK;
}

LMF_CPU_ROWS(lora) = {
    { .name = "lora_fwd_f32_blocked", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .n_phases = 2, .needs = LMF_ISA_NEEDS,
      .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
