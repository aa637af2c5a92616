/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/odds_loss/odds_loss.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]) && lmf_view_count(&c->in[0]) <= INT32_MAX / 2;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_odds_loss_attrs *a = c->attrs;
    int n = (int)lmf_view_count(&c->in[1]);
    return lmf_cuda_launch(wk, "odds_loss", "odds_loss_f32", (lmf_cuda_grid){ 1, 1, 1 }, 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &c->out[1].data, &c->out[2].data, &n, &a->beta));
}

LMF_CUDA_ROWS(odds_loss) = {
    { .name = "odds_loss_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
