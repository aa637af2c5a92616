/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/rope/rope.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_cuda_row_stride(&c->in[0]) >= 0 && lmf_view_is_dense(&c->in[2]) && lmf_view_is_dense(&c->out[0]) &&
           c->in[0].dim[1] <= INT32_MAX / 2 && c->in[0].dim[0] <= INT32_MAX;
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

LMF_CUDA_ROWS(rope) = {
    { .name = "rope_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};
