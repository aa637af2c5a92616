/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/grad_norm/grad_norm.h"
#include "device/cuda/cuda.h"

enum { PIECE = 16384 };

static int64_t n_pieces(const lmf_call *c) { return (lmf_view_count(&c->in[0]) + PIECE - 1) / PIECE; }

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && n_pieces(c) <= INT32_MAX;
}

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)(n_pieces(c) + 1) * sizeof(double);
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]), pieces = n_pieces(c);
    LMF_TRY(lmf_cuda_launch(wk, "grad_norm", "grad_norm_f32_pieces", lmf_cuda_blocks(n, PIECE), 256, 0,
                            LMF_CUDA_ARGS(&c->in[0].data, &c->scratch, &n)));
    return lmf_cuda_launch(wk, "grad_norm", "grad_norm_f32", (lmf_cuda_grid){ 1, 1, 1 }, 1, 0,
                           LMF_CUDA_ARGS(&c->scratch, &c->out[0].data, &pieces));
}

LMF_CUDA_ROWS(grad_norm) = {
    { .name = "grad_norm_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = scratch, .run = run }, { 0 }
};
