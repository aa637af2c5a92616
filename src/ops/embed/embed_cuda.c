/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/embed/embed.h"
#include "device/cuda/cuda.h"
#include "quant/q4_k/q4_k.h"
#include "quant/q5_0/q5_0.h"
#include "quant/q6_k/q6_k.h"

static const char *kernel(uint16_t dtype)
{
    switch (dtype) {
    case LMF_F32: return "embed_fwd_f32";
    case LMF_F16: return "embed_fwd_f16";
    case LMF_BF16: return "embed_fwd_bf16";
    case LMF_F64: return "embed_fwd_f64";
    case LMF_Q4_0: return "embed_fwd_q4_0";
    case LMF_Q4_1: return "embed_fwd_q4_1";
    case LMF_Q5_0: return "embed_fwd_q5_0";
    case LMF_Q8_0: return "embed_fwd_q8_0";
    case LMF_Q4_K: return "embed_fwd_q4_k";
    case LMF_Q6_K: return "embed_fwd_q6_k";
    }
    return NULL;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_view *w = &c->in[1];
    (void)dev;
    return kernel(w->dtype) && lmf_cuda_row_stride(w) >= 0 && lmf_cuda_row_stride(w) % w->fmt->block == 0 && w->dim[1] <= INT32_MAX / 2 &&
           c->in[0].dim[0] <= INT32_MAX;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *w = &c->in[1];
    int64_t row_bytes = lmf_cuda_row_stride(w) / w->fmt->block * w->fmt->block_bytes;
    int d = (int)w->dim[1];
    return lmf_cuda_launch(wk, "embed", kernel(w->dtype), lmf_cuda_blocks(c->in[0].dim[0], 1), 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &w->data, &c->out[0].data, &row_bytes, &w->dim[0], &d));
}

LMF_CUDA_ROWS(embed) = {
    { .name = "embed_fwd_any", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};

static bool bwd_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_cuda_row_stride(&c->in[1]) >= 0 && lmf_view_is_dense(&c->out[0]) && c->out[0].dim[1] <= INT32_MAX / 2 &&
           c->in[0].dim[0] <= INT32_MAX;
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *dw = &c->out[0];
    int64_t stride = lmf_cuda_row_stride(&c->in[1]);
    int rows = (int)c->in[0].dim[0], d = (int)dw->dim[1];
    LMF_TRY(lmf_cuda_fill(wk, dw->data, 0, (size_t)lmf_view_count(dw) * sizeof(float)));
    return lmf_cuda_launch(wk, "embed", "embed_bwd_f32", lmf_cuda_blocks(rows, 1), 256, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &dw->data, &stride, &rows, &dw->dim[0], &d));
}

LMF_CUDA_ROWS(embed_bwd) = {
    { .name = "embed_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = bwd_fits, .run = bwd }, { 0 }
};
