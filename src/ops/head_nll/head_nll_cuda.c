/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_nll/head_nll.h"
#include "device/cuda/vocab_wide.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_vocab_fits(c);
}

static bool mma_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return ((const lmf_head_nll_attrs *)c->attrs)->compute == 1 && lmf_vocab_fits_mma(c);
}

static bool wg_fits(const lmf_call *c, const lmf_device *dev) { return lmf_cuda_has_wgmma(dev) && mma_fits(c, dev); }

static bool wide_fits(const lmf_call *c, const lmf_device *dev)
{
    return ((const lmf_head_nll_attrs *)c->attrs)->compute == 1 && lmf_wide_fits(c, dev);
}

static size_t wide_scratch(const lmf_call *c, const lmf_device *dev)
{
    size_t bytes;
    (void)dev;
    lmf_wide_job_of(c, NULL, true, &bytes);
    return bytes;
}

static size_t room(const lmf_call *c, int products)
{
    size_t bytes;
    lmf_vocab_job_of(c, NULL, products, true, &bytes);
    return bytes;
}
static size_t scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_F32); }
static size_t scratch_mma(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_MMA); }

static void aim(const lmf_call *c, lmf_vocab_job *to)
{
    const lmf_head_nll_attrs *a = c->attrs;
    lmf_vocab_job j = *to;
    j.weight = j.u = c->in[3].data;
    j.loss = c->out[0].data, j.logp = c->out[1].data, j.dx = c->out[2].data, j.dw = c->n_out == 4 ? c->out[3].data : NULL;
    j.scale = a->scale, j.sign = -1;
    *to = j;
}

static lmf_status head(const lmf_call *c, const lmf_worker *wk, int products)
{
    size_t bytes;
    lmf_vocab_job j = lmf_vocab_job_of(c, c->scratch, products, true, &bytes);
    aim(c, &j);
    return lmf_vocab_launch(wk, "head_nll", c->in[1].fmt, products, &j);
}
static lmf_status run_wide(const lmf_call *c, const lmf_worker *wk)
{
    size_t bytes;
    lmf_vocab_job j = lmf_wide_job_of(c, c->scratch, true, &bytes);
    aim(c, &j);
    return lmf_wide_launch(wk, "head_nll", c->in[1].fmt, &j);
}
static lmf_status run(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_F32); }
static lmf_status run_mma(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_MMA); }
static lmf_status run_wg(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_WG); }

enum { FLAGS = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT };
LMF_CUDA_ROWS(head_nll) = {
    { .name = "head_nll_fwd_bf16_wide", .flags = FLAGS, .needs = 90, .match = wide_fits, .scratch = wide_scratch, .run = run_wide },
    { .name = "head_nll_fwd_bf16_wgmma", .flags = FLAGS, .needs = 90, .match = wg_fits, .scratch = scratch_mma, .run = run_wg },
    { .name = "head_nll_fwd_bf16", .flags = FLAGS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = run_mma },
    { .name = "head_nll_fwd_f32", .flags = FLAGS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
LMF_CUDA_ROWS(head_nll_w) = {
    { .name = "head_nll_w_fwd_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wg_fits, .scratch = scratch_mma,
      .run = run_wg },
    { .name = "head_nll_w_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = run_mma },
    { .name = "head_nll_w_fwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
