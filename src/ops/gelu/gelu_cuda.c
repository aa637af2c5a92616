/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/gelu/gelu.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return lmf_view_is_dense(&c->out[0]);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "gelu", c->in[0].dtype == LMF_BF16 ? "gelu_fwd_bf16" : "gelu_fwd_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->out[0].data, &n));
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "gelu", c->in[0].dtype == LMF_BF16 ? "gelu_bwd_bf16" : "gelu_bwd_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &n));
}

LMF_CUDA_ROWS(gelu) = {
    { .name = "gelu_fwd_bf16", .dtypes = (const uint16_t[]){ LMF_BF16, LMF_BF16 }, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT,
      .needs = 75, .match = fits, .run = fwd },
    { .name = "gelu_fwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32 }, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT,
      .needs = 75, .match = fits, .run = fwd }, { 0 }
};
LMF_CUDA_ROWS(gelu_bwd) = {
    { .name = "gelu_bwd_bf16", .dtypes = (const uint16_t[]){ LMF_BF16, LMF_BF16, LMF_BF16 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = bwd },
    { .name = "gelu_bwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32 }, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT,
      .needs = 75, .match = fits, .run = bwd }, { 0 }
};
