/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/kv_append/kv_append.h"
#include "device/cuda/cuda.h"

static const char *kernel(const lmf_call *c)
{
    switch (c->in[0].dtype) {
    case LMF_F32: return "kv_append_f32";
    case LMF_F16: return "kv_append_f16";
    case LMF_BF16: return "kv_append_bf16";
    }
    return NULL;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return kernel(c) && lmf_view_is_dense(&c->in[0]) && lmf_cuda_row_stride(&c->in[1]) >= 0 && lmf_view_is_dense(&c->in[4]) &&
           c->in[0].dim[0] <= INT32_MAX && c->in[0].dim[2] <= INT32_MAX / 2 && c->in[1].dim[0] <= INT32_MAX;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t stride = lmf_cuda_row_stride(&c->in[1]);
    int width = (int)c->in[0].dim[2], n_pages = (int)c->in[0].dim[0], page_size = (int)c->in[0].dim[1], pages = (int)c->in[4].dim[1];
    return lmf_cuda_launch(wk, "kv_append", kernel(c), lmf_cuda_blocks(c->in[1].dim[0], 1), 128, 0,
                           LMF_CUDA_ARGS(&c->out[0].data, &c->in[1].data, &c->in[2].data, &c->in[3].data, &c->in[4].data, &stride, &width,
                                         &n_pages, &page_size, &pages));
}

LMF_CUDA_ROWS(kv_append) = {
    { .name = "kv_append_any", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = run }, { 0 }
};
