/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_logp/head_logp.h"
#include "device/cuda/vocab_wide.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_vocab_fits(c);
}

enum { WIDE = 3 }; /* products: vocab_wide's */

static lmf_vocab_job describe(const lmf_call *c, void *room, int products, bool with_dx, size_t *bytes)
{
    const lmf_head_logp_attrs *a = c->attrs;
    lmf_vocab_job j = products == WIDE ? lmf_wide_job_of(c, room, with_dx, bytes) : lmf_vocab_job_of(c, room, products, with_dx, bytes);
    int i_weight = with_dx ? 5 : 3;
    j.weight = c->n_in > i_weight && c->in[i_weight].n_dims ? c->in[i_weight].data : NULL;
    j.scale = a->scale, j.sign = 1;
    return j;
}

static bool mma_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return ((const lmf_head_logp_attrs *)c->attrs)->compute == 1 && lmf_vocab_fits_mma(c);
}

static bool wg_fits(const lmf_call *c, const lmf_device *dev) { return lmf_cuda_has_wgmma(dev) && mma_fits(c, dev); }

static bool wide_fits(const lmf_call *c, const lmf_device *dev)
{
    return ((const lmf_head_logp_attrs *)c->attrs)->compute == 1 && lmf_wide_fits(c, dev);
}

static size_t room(const lmf_call *c, int products, bool with_dx)
{
    size_t bytes;
    describe(c, NULL, products, with_dx, &bytes);
    return bytes;
}
static size_t scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_F32, false); }
static size_t scratch_mma(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_MMA, false); }
static size_t bwd_scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_F32, true); }
static size_t bwd_scratch_mma(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, LMF_VOCAB_MMA, true); }

static lmf_status forward(const lmf_call *c, const lmf_worker *wk, int products)
{
    size_t bytes;
    lmf_vocab_job j = describe(c, c->scratch, products, false, &bytes);
    j.logp = c->out[0].data, j.lse = c->out[1].data;
    return products == WIDE ? lmf_wide_launch(wk, "head_logp", c->in[1].fmt, &j)
                            : lmf_vocab_launch(wk, "head_logp", c->in[1].fmt, products, &j);
}

static lmf_status backward(const lmf_call *c, const lmf_worker *wk, int products)
{
    size_t bytes;
    lmf_vocab_job j = describe(c, c->scratch, products, true, &bytes);
    j.lse_given = c->in[3].data, j.u = c->in[4].data;
    j.dx = c->out[0].data, j.dw = c->n_out == 2 ? c->out[1].data : NULL;
    return products == WIDE ? lmf_wide_launch(wk, "head_logp", c->in[1].fmt, &j)
                            : lmf_vocab_launch(wk, "head_logp", c->in[1].fmt, products, &j);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk) { return forward(c, wk, LMF_VOCAB_F32); }
static lmf_status fwd_mma(const lmf_call *c, const lmf_worker *wk) { return forward(c, wk, LMF_VOCAB_MMA); }
static lmf_status fwd_wg(const lmf_call *c, const lmf_worker *wk) { return forward(c, wk, LMF_VOCAB_WG); }
static lmf_status bwd(const lmf_call *c, const lmf_worker *wk) { return backward(c, wk, LMF_VOCAB_F32); }
static lmf_status bwd_mma(const lmf_call *c, const lmf_worker *wk) { return backward(c, wk, LMF_VOCAB_MMA); }
static lmf_status bwd_wg(const lmf_call *c, const lmf_worker *wk) { return backward(c, wk, LMF_VOCAB_WG); }

static size_t scratch_wide(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, WIDE, false); }
static size_t bwd_scratch_wide(const lmf_call *c, const lmf_device *dev) { return (void)dev, room(c, WIDE, true); }
static lmf_status fwd_wide(const lmf_call *c, const lmf_worker *wk) { return forward(c, wk, WIDE); }
static lmf_status bwd_wide(const lmf_call *c, const lmf_worker *wk) { return backward(c, wk, WIDE); }

enum { FLAGS = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT };
LMF_CUDA_ROWS(head_logp) = {
    { .name = "head_logp_fwd_bf16_wide", .flags = FLAGS, .needs = 90, .match = wide_fits, .scratch = scratch_wide, .run = fwd_wide },
    { .name = "head_logp_fwd_bf16_wgmma", .flags = FLAGS, .needs = 90, .match = wg_fits, .scratch = scratch_mma, .run = fwd_wg },
    { .name = "head_logp_fwd_bf16", .flags = FLAGS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = fwd_mma },
    { .name = "head_logp_fwd_f32", .flags = FLAGS, .needs = 75, .match = fits, .scratch = scratch, .run = fwd },
    { 0 }
};
LMF_CUDA_ROWS(head_logp_bwd) = {
    { .name = "head_logp_bwd_bf16_wide", .flags = FLAGS, .needs = 90, .match = wide_fits, .scratch = bwd_scratch_wide, .run = bwd_wide },
    { .name = "head_logp_bwd_bf16_wgmma", .flags = FLAGS, .needs = 90, .match = wg_fits, .scratch = bwd_scratch_mma, .run = bwd_wg },
    { .name = "head_logp_bwd_bf16", .flags = FLAGS, .needs = 80, .match = mma_fits, .scratch = bwd_scratch_mma, .run = bwd_mma },
    { .name = "head_logp_bwd_f32", .flags = FLAGS, .needs = 75, .match = fits, .scratch = bwd_scratch, .run = bwd },
    { 0 }
};
LMF_CUDA_ROWS(head_logp_bwd_w) = {
    { .name = "head_logp_bwd_w_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wg_fits, .scratch = bwd_scratch_mma,
      .run = bwd_wg },
    { .name = "head_logp_bwd_w_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = bwd_scratch_mma, .run = bwd_mma },
    { .name = "head_logp_bwd_w_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = bwd_scratch, .run = bwd },
    { 0 }
};
