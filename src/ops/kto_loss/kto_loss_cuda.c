/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/kto_loss/kto_loss.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]) || lmf_view_count(&c->in[i]) > INT32_MAX / 2)
            return false;
    return true;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_kto_loss_attrs *a = c->attrs;
    int n = (int)lmf_view_count(&c->in[0]);
    return lmf_cuda_launch(wk, "kto_loss", "kto_loss_f32", (lmf_cuda_grid){ 1, 1, 1 }, 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->in[3].data, &c->in[4].data, &c->in[5].data,
                                         &c->out[0].data, &c->out[1].data, &c->out[2].data, &n, &a->beta));
}

LMF_CUDA_ROWS(kto_loss) = {
    { .name = "kto_loss_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
