/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/accumulate/accumulate.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]);
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "accumulate", "accumulate_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->out[0].data, &c->in[1].data, &c->in[2].data, &n));
}

LMF_CUDA_ROWS(accumulate) = {
    { .name = "accumulate_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
