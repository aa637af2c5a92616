/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/pair_loss/pair_loss.h"
#include "device/cuda/cuda.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && (!lmf_view_is_dense(&c->in[i]) || lmf_view_count(&c->in[i]) > INT32_MAX / 2))
            return false;
    return true;
}

static const void *optional(const lmf_call *c, int i) { return c->n_in > i && c->in[i].n_dims ? c->in[i].data : NULL; }

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_pair_loss_attrs *a = c->attrs;
    const void *ref = optional(c, 2), *norm = optional(c, 3);
    int n = (int)lmf_view_count(&c->in[1]);
    return lmf_cuda_launch(wk, "pair_loss", "pair_loss_f32", (lmf_cuda_grid){ 1, 1, 1 }, 128, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &ref, &norm, &c->out[0].data, &c->out[1].data, &c->out[2].data, &n,
                                         &a->beta, &a->label_smoothing, &a->gamma, &a->kind));
}

LMF_CUDA_ROWS(pair_loss) = {
    { .name = "pair_loss_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
