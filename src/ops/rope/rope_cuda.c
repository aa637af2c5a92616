/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/rope/rope.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return c->in[0].dtype == LMF_F32 && lmf_cuda_row_stride(&c->in[0]) >= 0 && lmf_view_is_dense(&c->in[2]) &&
           lmf_view_is_dense(&c->out[0]) && c->in[0].dim[1] <= INT32_MAX / 2 && c->in[0].dim[0] <= INT32_MAX;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rope_attrs *a = c->attrs;
    int64_t stride = lmf_cuda_row_stride(&c->in[0]);
    int width = (int)c->in[0].dim[1], half = a->n_rot / 2;
    return lmf_cuda_launch(wk, "rope", "rope_fwd_f32", lmf_cuda_blocks(c->in[0].dim[0], 1), 64, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[0].data, &stride, &width, &a->head_size, &half,
                                         &a->scale, &a->inverse));
}

enum { WARPS = 4, MOST_HALF = 1024 };

static bool fits16(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return c->in[0].dtype == LMF_BF16 && lmf_cuda_row_stride(&c->in[0]) >= 0 && lmf_view_is_dense(&c->in[2]) &&
           lmf_view_is_dense(&c->out[0]) && ((const lmf_rope_attrs *)c->attrs)->n_rot <= 2 * MOST_HALF &&
           c->in[0].dim[1] <= INT32_MAX / 2 && c->in[0].dim[0] <= INT32_MAX / 2;
}

static lmf_status fwd16(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rope_attrs *a = c->attrs;
    int64_t stride = lmf_cuda_row_stride(&c->in[0]);
    int rows = (int)c->in[0].dim[0], width = (int)c->in[0].dim[1], half = a->n_rot / 2;
    bool fours = half % 4 == 0 && a->head_size % 4 == 0 && stride % 4 == 0;
    return lmf_cuda_launch(wk, "rope", fours ? "rope_fwd_bf16_4" : "rope_fwd_bf16_1", lmf_cuda_blocks(rows, WARPS), 32 * WARPS,
                           (uint32_t)(WARPS * half * 2 * (int)sizeof(float)),
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[0].data, &stride, &rows, &width,
                                         &a->head_size, &half, &a->scale, &a->inverse));
}

LMF_CUDA_ROWS(rope) = {
    { .name = "rope_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits16, .run = fwd16 },
    { .name = "rope_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};
