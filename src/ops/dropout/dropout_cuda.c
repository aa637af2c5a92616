/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/dropout/dropout.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return lmf_view_is_dense(&c->out[0]) && c->out[0].dim[0] <= INT32_MAX;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_dropout_attrs *a = c->attrs;
    const void *onto = c->n_in > 4 && c->in[4].n_dims ? c->in[4].data : NULL;
    int64_t k = c->out[0].dim[1];
    float scale = 1 / (1 - a->p);
    uint32_t bound = lmf_dropout_bound(a->p), threads = k >= 1024 ? 256 : k >= 512 ? 128 : 64;
    return lmf_cuda_launch(wk, "dropout", "dropout_f32", (lmf_cuda_grid){ (uint32_t)c->out[0].dim[0], 1, 1 }, threads, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->in[3].data, &onto, &c->out[0].data, &k,
                                         &a->stream, &bound, &scale));
}

LMF_CUDA_ROWS(dropout) = {
    { .name = "dropout_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = run }, { 0 }
};
