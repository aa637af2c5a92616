/* SPDX-License-Identifier: Apache-2.0 */
/* scratch: the logits after bias, penalties and mask. */
#include "ops/sample/sample.h"
#include "device/cuda/cuda.h"

enum { MOST_V = 1 << 20 };    /* sums of 2^43 fit in 64 bits: sample_cuda.cu */

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dim[0] <= INT32_MAX && c->in[0].dim[1] > 0 && c->in[0].dim[1] <= MOST_V && c->in[3].dim[0] <= INT32_MAX;
}

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)lmf_view_count(&c->in[0]) * sizeof(float);
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    bool masked = c->n_in > 4 && c->in[4].n_dims;
    int n_v = (int)c->in[0].dim[1], n_slots = (int)c->in[3].dim[0], n_words = masked ? (int)c->in[4].dim[1] : 0;
    const void *mask = masked ? c->in[4].data : NULL;
    bool biased = c->n_in > 6 && c->in[5].n_dims;
    const void *bias_token = biased ? c->in[5].data : NULL, *bias = biased ? c->in[6].data : NULL;
    int n_bias = biased ? (int)c->in[5].dim[1] : 0;
    return lmf_cuda_launch(wk, "sample", "sample_select", lmf_cuda_blocks(c->in[0].dim[0], 1), 1024, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[2].data, &mask, &bias_token, &bias, &c->scratch, &c->out[0].data,
                                         &c->out[1].data, &n_v, &n_slots, &n_words, &n_bias));
}

LMF_CUDA_ROWS(sample) = {
    { .name = "sample_select", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .scratch = scratch, .run = run }, { 0 }
};
