/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sgd/sgd.h"
#include "device/cuda/cuda.h"

_Static_assert(LMF_SGD_LR == 0 && LMF_SGD_MOMENTUM == 1 && LMF_SGD_DECAY == 2 && LMF_SGD_MAX_NORM == 3,
               "sgd_cuda.cu reads hyper by number");

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "sgd", "sgd_f32", lmf_cuda_blocks(n, 1024), 256, 0,
                           LMF_CUDA_ARGS(&c->out[0].data, &c->out[1].data, &c->in[2].data, &c->in[3].data, &c->in[4].data, &n));
}

LMF_CUDA_ROWS(sgd) = { { .name = "sgd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 } };
