/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: both heads' products are of one kind, and one chunk of rows is in work for both. */
#include "ops/head_kl/head_kl.h"
#include <math.h>
#include "device/cuda/vocab.h"
#include "ops/head_kl/head_kl_job.h"

typedef struct heads { lmf_vocab_job student, teacher; size_t bytes; } heads;

static bool lies(const lmf_call *c)
{
    return lmf_vocab_dense(c) && lmf_vocab_takes(&c->in[0], &c->in[1]) && lmf_vocab_takes(&c->in[2], &c->in[3]);
}
static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return c->in[0].dtype == LMF_F32 && c->in[2].dtype == LMF_F32 && lies(c);
}
static bool mma_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return ((const lmf_head_kl_attrs *)c->attrs)->compute == 1 && c->in[1].dim[1] % 32 == 0 && c->in[3].dim[1] % 32 == 0 && lies(c);
}
static bool wg_fits(const lmf_call *c, const lmf_device *dev) { return lmf_cuda_has_wgmma(dev) && mma_fits(c, dev); }

static heads heads_of(const lmf_call *c, void *room, int products)
{
    const lmf_head_kl_attrs *a = c->attrs;
    int64_t n_w = c->in[1].dim[0], n_head = c->in[3].dim[0], v = n_w < n_head ? n_w : n_head;
    heads h = { .student = lmf_vocab_sizes(&c->in[0], &c->in[1], v), .teacher = lmf_vocab_sizes(&c->in[2], &c->in[3], v) };
    int64_t row = lmf_vocab_row_bytes(&h.student, products, true) + lmf_vocab_row_bytes(&h.teacher, products, false);
    h.student.rows = h.teacher.rows = lmf_vocab_chunk(h.student.t, row, products);
    h.student.live = h.teacher.live = lmf_vocab_take(room, &h.bytes, (size_t)(h.student.t + 1) * sizeof(int));
    lmf_vocab_lay(&h.student, &c->in[1], room, products, true, &h.bytes);
    lmf_vocab_lay(&h.teacher, &c->in[3], room, products, false, &h.bytes);
    h.student.weight = c->in[4].data, h.student.loss = c->out[0].data, h.student.logp = c->out[1].data, h.student.dx = c->out[2].data;
    h.student.dw = c->n_out == 4 ? c->out[3].data : NULL;
    h.student.scale = a->scale / a->temperature, h.teacher.scale = a->teacher_scale / a->temperature;
    return h;
}
static size_t scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, heads_of(c, NULL, LMF_VOCAB_F32).bytes; }
static size_t scratch_mma(const lmf_call *c, const lmf_device *dev) { return (void)dev, heads_of(c, NULL, LMF_VOCAB_MMA).bytes; }

static lmf_status head(const lmf_call *c, const lmf_worker *wk, int products)
{
    const lmf_head_kl_attrs *a = c->attrs;
    const lmf_format *w = c->in[1].fmt, *teacher = c->in[3].fmt;
    heads h = heads_of(c, c->scratch, products);
    lmf_vocab_job *s = &h.student, *t = &h.teacher;
    lmf_head_kl_job k = { .mix = c->n_in > 5 && c->in[5].n_dims ? c->in[5].data : NULL, .temperature = a->temperature, .beta = a->beta,
                          .log_beta = logf(a->beta), .log_rest = log1pf(-a->beta) };
    const char *module = "head_kl", *rows = products == LMF_VOCAB_F32 ? "head_kl_rows" : "head_kl_rows16";
    LMF_TRY(lmf_vocab_list(wk, module, s));
    if (s->dw) /* rows of w that the teacher lacks */
        LMF_TRY(lmf_cuda_fill(wk, s->dw + (int64_t)s->v * s->d, 0, (size_t)(c->in[1].dim[0] - s->v) * (size_t)s->d * sizeof(float)));
    LMF_TRY(lmf_vocab_prepare(wk, module, w, products, s));
    LMF_TRY(lmf_vocab_prepare(wk, module, teacher, products, t));
    for (s->begin = 0; s->begin < s->t || s->begin == 0; s->begin += s->rows) {
        t->begin = s->begin;
        LMF_TRY(lmf_vocab_multiply(wk, module, w, products, s));
        LMF_TRY(lmf_vocab_multiply(wk, module, teacher, products, t));
        LMF_TRY(lmf_cuda_launch(wk, module, rows, (lmf_cuda_grid){ (uint32_t)s->rows, 1, 1 }, 512, 0, LMF_CUDA_ARGS(s, t, &k)));
        LMF_TRY(lmf_vocab_gradients(wk, module, w, products, s));
    }
    return lmf_vocab_loss(wk, module, s);
}
static lmf_status run(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_F32); }
static lmf_status run_mma(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_MMA); }
static lmf_status run_wg(const lmf_call *c, const lmf_worker *wk) { return head(c, wk, LMF_VOCAB_WG); }

enum { FLAGS = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT };
LMF_CUDA_ROWS(head_kl) = {
    { .name = "head_kl_fwd_bf16_wgmma", .flags = FLAGS, .needs = 90, .match = wg_fits, .scratch = scratch_mma, .run = run_wg },
    { .name = "head_kl_fwd_bf16", .flags = FLAGS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = run_mma },
    { .name = "head_kl_fwd_f32", .flags = FLAGS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
LMF_CUDA_ROWS(head_kl_w) = {
    { .name = "head_kl_w_fwd_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wg_fits, .scratch = scratch_mma,
      .run = run_wg },
    { .name = "head_kl_w_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = scratch_mma, .run = run_mma },
    { .name = "head_kl_w_fwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = scratch, .run = run },
    { 0 }
};
