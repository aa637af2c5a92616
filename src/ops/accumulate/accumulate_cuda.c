/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/accumulate/accumulate.h"
#include "device/cuda/cuda.h"
#include "ops/accumulate/accumulate_job.h"

_Static_assert((int)LMF_ACCUMULATE_PARTS == LMF_ACCUMULATE_MOST, "the kernel takes what the op does");

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
    lmf_accumulate_job j = { .keep = c->in[2].data, .acc = c->out[0].data };
    int n = lmf_accumulate_n(c->n_in);
    int64_t most = 0;
    for (int i = 0; i < n; i++) {
        const lmf_view *x = &c->in[lmf_accumulate_at(i)];
        int64_t count = lmf_view_count(x);
        j.x[i] = x->data;
        j.begin[i + 1] = j.begin[i] + count;
        most = count > most ? count : most;
    }
    lmf_cuda_grid grid = lmf_cuda_blocks(most, 1024);
    grid.y = (uint32_t)n;
    return lmf_cuda_launch(wk, "accumulate", "accumulate_f32", grid, 256, 0, LMF_CUDA_ARGS(&j));
}

LMF_CUDA_ROWS(accumulate) = {
    { .name = "accumulate_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
