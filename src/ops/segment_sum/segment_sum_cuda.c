/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/segment_sum/segment_sum.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && (!lmf_view_is_dense(&c->in[i]) || lmf_view_count(&c->in[i]) > INT32_MAX / 2))
            return false;
    return true;
}

static const void *optional(const lmf_call *c, int i) { return c->n_in > i && c->in[i].n_dims ? c->in[i].data : NULL; }

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    int n = (int)lmf_view_count(&c->in[0]);
    const void *weight = optional(c, 2);
    return lmf_cuda_launch(wk, "segment_sum", "segment_sum_fwd_f32", lmf_cuda_blocks(c->out[0].dim[0], 1), 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &weight, &c->out[0].data, &n));
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int n = (int)lmf_view_count(&c->out[0]);
    const void *weight = optional(c, 3);
    LMF_TRY(lmf_cuda_fill(wk, c->out[0].data, 0, (size_t)n * sizeof(float)));
    return lmf_cuda_launch(wk, "segment_sum", "segment_sum_bwd_f32", lmf_cuda_blocks(c->in[0].dim[0], 1), 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &weight, &c->out[0].data, &n));
}

LMF_CUDA_ROWS(segment_sum) = {
    { .name = "segment_sum_fwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = fwd }, { 0 }
};
LMF_CUDA_ROWS(segment_sum_bwd) = {
    { .name = "segment_sum_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = bwd }, { 0 }
};
