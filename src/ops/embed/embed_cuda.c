/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/embed/embed.h"
#include "device/cuda/cuda.h"
#include "device/cuda/formats.h"

enum { PIECE = 4096 };                                                   /* embed_cuda.cu */
static const struct { const char *name, *f32, *bf16; } kernels[] = {
#define ROW(name, dtype) { #name, "embed_fwd_" #name, "embed_fwd_" #name "_as_bf16" },
    LMF_EACH_FORMAT(ROW)
#undef ROW
};

static const char *kernel(const lmf_call *c)
{
    int i = LMF_CUDA_FORMAT(kernels, c->in[1].fmt);
    return i < 0 ? NULL : c->out[0].dtype == LMF_BF16 ? kernels[i].bf16 : kernels[i].f32;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_view *w = &c->in[1];
    (void)dev;
    return kernel(c) && lmf_cuda_row_stride(w) >= 0 && lmf_cuda_row_stride(w) % w->fmt->block == 0 && w->dim[1] <= INT32_MAX / 2 &&
           c->in[0].dim[0] <= INT32_MAX;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *w = &c->in[1];
    int64_t row_bytes = lmf_cuda_row_stride(w) / w->fmt->block * w->fmt->block_bytes;
    int d = (int)w->dim[1];
    return lmf_cuda_launch(wk, "embed", kernel(c), lmf_cuda_blocks(c->in[0].dim[0], 1), 128, 0,
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
    bool bf16 = c->in[1].dtype == LMF_BF16;
    LMF_TRY(lmf_cuda_fill(wk, dw->data, 0, (size_t)lmf_view_count(dw) * sizeof(float)));
    for (int at = 0; at < rows; at += PIECE) { /* a piece's rows are compared with each other */
        const int *token = (const int *)c->in[0].data + at;
        const char *dy = (const char *)c->in[1].data + (size_t)at * (size_t)stride * (bf16 ? sizeof(uint16_t) : sizeof(float));
        int n = rows - at < PIECE ? rows - at : PIECE;
        LMF_TRY(lmf_cuda_launch(wk, "embed", bf16 ? "embed_bwd_bf16" : "embed_bwd_f32", lmf_cuda_blocks(n, 1), 256, 0,
                                LMF_CUDA_ARGS(&token, &dy, &dw->data, &stride, &n, &dw->dim[0], &d)));
    }
    return LMF_OK;
}

LMF_CUDA_ROWS(embed_bwd) = {
    { .name = "embed_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = bwd_fits, .run = bwd }, { 0 }
};
