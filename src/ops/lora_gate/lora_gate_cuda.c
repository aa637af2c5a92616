/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lora_gate/lora_gate.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_cuda_row_stride(&c->in[0]) >= 0 && c->in[0].dim[1] <= INT32_MAX / 2 && c->in[0].dim[0] <= INT32_MAX;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_lora_gate_attrs *a = c->attrs;
    int64_t stride = lmf_cuda_row_stride(&c->in[0]);
    int width = (int)c->in[0].dim[1];
    return lmf_cuda_launch(wk, "lora_gate", "lora_gate_fwd_f32", lmf_cuda_blocks(c->in[0].dim[0], 1), 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[0].data, &stride, &width, &a->rank));
}

LMF_CUDA_ROWS(lora_gate) = {
    { .name = "lora_gate_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};
