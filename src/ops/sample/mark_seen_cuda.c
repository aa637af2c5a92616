/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sample/sample.h"
#include "device/cuda/cuda.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dim[0] <= 65535;
}

/* A slot or token out of range marks nothing: a kernel can't refuse. */
static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n_slots = c->in[0].dim[0], n_v = c->in[0].dim[1], n = c->in[2].dim[0];
    lmf_cuda_grid slots = { lmf_cuda_blocks(n_v, 4096).x, (uint32_t)n_slots, 1 };
    LMF_TRY(lmf_cuda_launch(wk, "mark_seen", "mark_seen_clear", slots, 256, 0, LMF_CUDA_ARGS(&c->out[0].data, &c->in[1].data, &n_v)));
    return lmf_cuda_launch(wk, "mark_seen", "mark_seen_mark", lmf_cuda_blocks(n, 256), 256, 0,
                           LMF_CUDA_ARGS(&c->out[0].data, &c->in[2].data, &c->in[3].data, &n_slots, &n_v, &n));
}

LMF_CUDA_ROWS(mark_seen) = {
    { .name = "mark_seen", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = dense, .run = run }, { 0 }
};
