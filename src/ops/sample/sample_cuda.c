/* SPDX-License-Identifier: Apache-2.0 */
/* scratch: the logits after bias, penalties and mask, then what sample_parts found. */
#include "ops/sample/sample.h"
#include "device/cuda/cuda.h"

enum { PART_V = 512, MOST_PARTS = 32, PART_BYTES = 12 };
enum { MOST_V = 1 << 20 };    /* sums of 2^43 fit in 64 bits: sample_cuda.cu */

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dim[0] <= INT32_MAX && c->in[0].dim[1] > 0 && c->in[0].dim[1] <= MOST_V && c->in[3].dim[0] <= INT32_MAX;
}

static bool parts_fit(const lmf_call *c, const lmf_device *dev)
{
    return fits(c, dev) && c->in[0].dim[0] <= 65535 && c->in[0].dim[1] >= PART_V;
}

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)lmf_view_count(&c->in[0]) * sizeof(float);
}

/* A block's share is worth its start. */
static int n_parts(const lmf_call *c)
{
    int64_t n = c->in[0].dim[1] / PART_V;
    return (int)(n > MOST_PARTS ? MOST_PARTS : n);
}

static size_t parts_scratch(const lmf_call *c, const lmf_device *dev)
{
    return scratch(c, dev) + (size_t)(c->in[0].dim[0] * n_parts(c)) * PART_BYTES;
}

static lmf_status select_from(const lmf_call *c, const lmf_worker *wk, const void *parts, int n)
{
    bool masked = c->n_in > 4 && c->in[4].n_dims;
    int n_v = (int)c->in[0].dim[1], n_slots = (int)c->in[3].dim[0], n_words = masked ? (int)c->in[4].dim[1] : 0;
    const void *mask = masked ? c->in[4].data : NULL;
    bool biased = c->n_in > 6 && c->in[5].n_dims;
    const void *bias_token = biased ? c->in[5].data : NULL, *bias = biased ? c->in[6].data : NULL;
    int n_bias = biased ? (int)c->in[5].dim[1] : 0;
    return lmf_cuda_launch(wk, "sample", "sample_select", lmf_cuda_blocks(c->in[0].dim[0], 1), 1024, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->out[2].data, &mask, &bias_token, &bias,
                                         &c->scratch, &c->out[0].data, &c->out[1].data, &n_v, &n_slots, &n_words, &n_bias, &parts, &n));
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk) { return select_from(c, wk, NULL, 0); }

static lmf_status run_parts(const lmf_call *c, const lmf_worker *wk)
{
    int n = n_parts(c), n_v = (int)c->in[0].dim[1];
    const void *parts = (char *)c->scratch + scratch(c, NULL);
    LMF_TRY(lmf_cuda_launch(wk, "sample", "sample_parts", (lmf_cuda_grid){ .x = (uint32_t)n, .y = (uint32_t)c->in[0].dim[0], .z = 1 }, 256, 0,
                            LMF_CUDA_ARGS(&c->in[0].data, &c->in[2].data, &parts, &n_v)));
    return select_from(c, wk, parts, n);
}

LMF_CUDA_ROWS(sample) = {
    { .name = "sample_parts", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = parts_fit, .scratch = parts_scratch,
      .run = run_parts },
    { .name = "sample_select", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .scratch = scratch, .run = run }, { 0 }
};
