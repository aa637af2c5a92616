/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_topk/head_topk.h"
#include "device/cuda/vocab.h"
#include "ops/head_topk/head_topk_job.h"

typedef struct topk { lmf_vocab_job h; lmf_head_topk_job tokens; size_t bytes; } topk;

static bool lies(const lmf_call *c) { return lmf_vocab_dense(c) && lmf_vocab_takes(&c->in[0], &c->in[1]); }
static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return c->in[0].dtype == LMF_F32 && lies(c);
}
static bool mma_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return ((const lmf_head_topk_attrs *)c->attrs)->compute == 1 && c->in[1].dim[1] % 32 == 0 && lies(c);
}
static bool wg_fits(const lmf_call *c, const lmf_device *dev) { return lmf_cuda_has_wgmma(dev) && mma_fits(c, dev); }

static topk topk_of(const lmf_call *c, void *room, int products)
{
    const lmf_head_topk_attrs *a = c->attrs;
    int64_t k = c->in[2].dim[1];
    topk o = { .h = lmf_vocab_sizes(&c->in[0], &c->in[1], c->in[1].dim[0]) };
    o.h.rows = lmf_vocab_chunk(o.h.t, lmf_vocab_row_bytes(&o.h, products, true) + k * (int64_t)sizeof(float), products);
    o.h.live = lmf_vocab_take(room, &o.bytes, (size_t)(o.h.t + 1) * sizeof(int));
    lmf_vocab_lay(&o.h, &c->in[1], room, products, true, &o.bytes);
    o.tokens = (lmf_head_topk_job){ .id = c->in[2].data, .logp = c->in[3].data, .rest = c->in[4].data, .k = k,
                                    .temperature = a->temperature, .beta = a->beta };
    o.tokens.top = lmf_vocab_take(room, &o.bytes, (size_t)(o.h.rows * k) * sizeof(float));
    o.h.weight = c->in[5].data, o.h.loss = c->out[0].data, o.h.logp = c->out[1].data, o.h.dx = c->out[2].data;
    o.h.dw = c->n_out == 4 ? c->out[3].data : NULL;
    o.h.scale = a->scale / a->temperature;
    return o;
}
static size_t scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, topk_of(c, NULL, LMF_VOCAB_F32).bytes; }
static size_t scratch_mma(const lmf_call *c, const lmf_device *dev) { return (void)dev, topk_of(c, NULL, LMF_VOCAB_MMA).bytes; }

static lmf_status head(const lmf_call *c, const lmf_worker *wk, int products)
{
    const lmf_format *w = c->in[1].fmt;
    topk o = topk_of(c, c->scratch, products);
    lmf_vocab_job *h = &o.h;
    const char *module = "head_topk", *rows = products == LMF_VOCAB_F32 ? "head_topk_rows" : "head_topk_rows16";
    LMF_TRY(lmf_vocab_list(wk, module, h));
    LMF_TRY(lmf_vocab_prepare(wk, module, w, products, h));
    for (h->begin = 0; h->begin < h->t || h->begin == 0; h->begin += h->rows) {
        LMF_TRY(lmf_vocab_multiply(wk, module, w, products, h));
        LMF_TRY(lmf_cuda_launch(wk, module, rows, (lmf_cuda_grid){ (uint32_t)h->rows, 1, 1 }, 512, 0, LMF_CUDA_ARGS(h, &o.tokens)));
        LMF_TRY(lmf_vocab_gradients(wk, module, w, products, h));
    }
    return lmf_vocab_loss(wk, module, h);
}
static lmf_status run(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_F32); }
static lmf_status run_mma(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_MMA); }
static lmf_status run_wg(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_WG); }

enum { FLAGS = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT };
LMF_CUDA_ROWS(head_topk) = {
    { .name = "head_topk_fwd_bf16_wgmma", .flags = FLAGS, .needs = 90, .match = wg_fits, .scratch = scratch_mma, .run = run_wg },
    { .name = "head_topk_fwd_bf16", .flags = FLAGS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = run_mma },
    { .name = "head_topk_fwd_f32", .flags = FLAGS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
LMF_CUDA_ROWS(head_topk_w) = {
    { .name = "head_topk_w_fwd_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wg_fits, .scratch = scratch_mma,
      .run = run_wg },
    { .name = "head_topk_w_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = scratch_mma,
      .run = run_mma },
    { .name = "head_topk_w_fwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
