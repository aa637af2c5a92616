/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/adamw_8bit/adamw_8bit.h"
#include "device/cuda/cuda.h"
#include "ops/adamw_8bit/adamw_8bit_job.h"

_Static_assert(LMF_ADAMW_8BIT_LR == 0 && LMF_ADAMW_8BIT_EPS == 3 && LMF_ADAMW_8BIT_DECAY == 4 && LMF_ADAMW_8BIT_BIAS1 == 5 &&
               LMF_ADAMW_8BIT_MAX_NORM == 7 && LMF_ADAMW_8BIT_BLOCK == 256,
               "adamw_8bit_cuda.cu reads hyper by number, an element a thread");

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
    lmf_adamw_8bit_job j = { .p = c->out[0].data, .m = c->out[1].data, .v = c->out[2].data, .s = c->out[3].data, .g = c->in[4].data,
                             .norm = c->in[5].data, .hyper = c->in[6].data, .n = lmf_view_count(&c->in[0]),
                             .blocks = lmf_view_count(&c->in[3]) / 2 };
    lmf_dynamic8_map(true, j.map_m), lmf_dynamic8_map(false, j.map_v);
    return lmf_cuda_launch(wk, "adamw_8bit", "adamw_8bit_f32", lmf_cuda_blocks(j.blocks, 8), 256, 0, LMF_CUDA_ARGS(&j));
}

LMF_CUDA_ROWS(adamw_8bit) = { { .name = "adamw_8bit_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 } };
