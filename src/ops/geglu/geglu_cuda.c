/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/geglu/geglu.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return true;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "geglu", c->in[0].dtype == LMF_BF16 ? "geglu_fwd_bf16" : "geglu_fwd_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &n));
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "geglu", c->in[0].dtype == LMF_BF16 ? "geglu_bwd_bf16" : "geglu_bwd_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[0].data, &c->out[1].data, &n));
}

LMF_CUDA_ROWS(geglu) = {
    { .name = "geglu_fwd_bf16", .dtypes = (const uint16_t[]){ LMF_BF16, LMF_BF16, LMF_BF16 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd },
    { .name = "geglu_fwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32 }, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT,
      .needs = 75, .match = fits, .run = fwd }, { 0 }
};
LMF_CUDA_ROWS(geglu_bwd) = {
    { .name = "geglu_bwd_bf16", .dtypes = (const uint16_t[]){ LMF_BF16, LMF_BF16, LMF_BF16, LMF_BF16, LMF_BF16 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = bwd },
    { .name = "geglu_bwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = bwd }, { 0 }
};
