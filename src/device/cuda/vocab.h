/* SPDX-License-Identifier: Apache-2.0 */
/* vocab: softmax over the rows of a large matrix w [V, D] on CUDA, for *_cuda.c files of loss heads; formulas and names as in
 * device/cpu/vocab.h. Rows that count are listed first; then, a chunk of them at a time: logits [rows, V], each row's log sum exp and
 * what its logits become for the gradients, dx by parts of V, dw onto what the chunks before gave. A chunk past the list
 * costs its empty launches. On the matrix units the factors lie in bf16: w whole, once a call, x and the gradients of logits a chunk at a
 * time. The op's .cu includes device/cuda/vocab.cuh, so that its module has the kernels.
 * Rule: a row's bits depend on that row and w alone; dw sums rows in order. Scratch is at most 64 MB and 4 bytes a row, and for products in
 * bf16 w once more in bf16, where it is not so stored. */
#ifndef LMF_DEVICE_CUDA_VOCAB_H
#define LMF_DEVICE_CUDA_VOCAB_H
#include "base/checked.h"
#include "device/cuda/cuda.h"
#include "device/cuda/formats.h"
#include "device/cuda/vocab_job.h"

enum { LMF_VOCAB_F32, LMF_VOCAB_MMA, LMF_VOCAB_WG }; /* the products: in f32; in bf16 by warps, by warpgroups (sm_90a) */
enum { LMF_VOCAB_TILE = 64, LMF_VOCAB_PART = 2048, LMF_VOCAB_MOST_PARTS = 32, LMF_VOCAB_ROOM = 64 << 20 };

/* Kernels for a w of this format: logits, sums for dx, w in bf16. NULL: none. */
typedef struct lmf_vocab_format { const char *name, *logits, *sums, *round; } lmf_vocab_format;
static inline const lmf_vocab_format *lmf_vocab_format_of(const lmf_format *f)
{
    static const lmf_vocab_format all[] = {
#define LMF__ROW(name, dtype) { #name, "vocab_logits_" #name, "vocab_sums_" #name, "vocab_round_" #name },
        LMF_EACH_FORMAT(LMF__ROW)
#undef LMF__ROW
    };
    int i = LMF_CUDA_FORMAT(all, f);
    return i < 0 ? NULL : &all[i];
}

/* x and w of a call lie so that the kernels can read them, whatever x's type. */
static inline bool lmf__vocab_lies(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return lmf_vocab_format_of(c->in[1].fmt) && c->in[1].dim[0] <= (int64_t)LMF_VOCAB_TILE * 65535 &&
           c->in[1].dim[1] <= INT32_MAX / 2 && lmf_view_rows(&c->in[0]) <= INT32_MAX / 2;
}

static inline bool lmf_vocab_fits(const lmf_call *c) { return c->in[0].dtype == LMF_F32 && lmf__vocab_lies(c); }

/* The kernels on the matrix units take it: x and dx may be bf16 there. */
static inline bool lmf_vocab_fits_mma(const lmf_call *c)
{
    return lmf__vocab_lies(c) && c->in[1].dim[1] % 32 == 0;
}

static inline int64_t lmf__vocab_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* w is read where it lies. */
static inline bool lmf__vocab_w_is_bf16(const lmf_call *c) { return c->in[1].dtype == LMF_BF16 && c->in[1].cls != LMF_STATE; }

/* Sizes, and scratch laid out from `scratch` (NULL: to measure). *bytes gets its size. */
static inline lmf_vocab_job lmf_vocab_job_of(const lmf_call *c, void *scratch, int products, bool with_dx, size_t *bytes)
{
    bool mma = products != LMF_VOCAB_F32;
    int64_t t = lmf_view_rows(&c->in[0]), d = c->in[1].dim[1], v = c->in[1].dim[0], tile = mma ? 2 * LMF_VOCAB_TILE : LMF_VOCAB_TILE;
    lmf_vocab_job j = { .x = c->in[0].data, .w = c->in[1].data, .target = c->in[2].data, .t = (int)t, .d = (int)d, .v = (int)v,
                        .x_is_bf16 = c->in[0].dtype == LMF_BF16 };
    j.w_bytes = (int64_t)lmf_format_bytes(c->in[1].fmt, d);
    j.v_stride = lmf__vocab_up(v, 32);
    j.n_parts = (int)((v + LMF_VOCAB_PART - 1) / LMF_VOCAB_PART);
    j.n_parts = j.n_parts < 1 ? 1 : j.n_parts > LMF_VOCAB_MOST_PARTS ? LMF_VOCAB_MOST_PARTS : j.n_parts;
    j.v_part = lmf__vocab_up((v + j.n_parts - 1) / j.n_parts, 32);
    int64_t row = (j.v_stride + (with_dx ? j.n_parts * d : 0)) * (int64_t)sizeof(float) + (mma ? d * 2 : 0), rows = LMF_VOCAB_ROOM / row;
    rows = rows >= tile ? rows / tile * tile : rows < 1 ? 1 : rows;
    j.rows = (int)(rows < t ? rows : t < 1 ? 1 : t);
    char *p = scratch;
    size_t n[] = { (size_t)(t + 1) * sizeof(int), (size_t)(j.rows * j.v_stride) * sizeof(float),
                   with_dx ? (size_t)(j.rows * j.n_parts * d) * sizeof(float) : 0,
                   mma ? (size_t)(j.rows * d) * 2 : 0, mma && !lmf__vocab_w_is_bf16(c) ? (size_t)(v * d) * 2 : 0 };
    void *at[sizeof n / sizeof *n];
    *bytes = 0;
    for (size_t i = 0; i < sizeof n / sizeof *n; *bytes += lmf_align_up(n[i++], 256))
        at[i] = p ? p + *bytes : NULL;
    j.live = at[0], j.logits = at[1], j.part = at[2], j.x16 = at[3], j.w16 = at[4];
    if (lmf__vocab_w_is_bf16(c))
        j.w16 = c->in[1].data;
    return j;
}

/* All of it; module: the op's. dx of rows that don't count, and their logp and lse, become 0. */
static inline lmf_status lmf_vocab_launch(const lmf_worker *wk, const char *module, const lmf_format *fmt, int products, lmf_vocab_job *j)
{
    const lmf_vocab_format *f = lmf_vocab_format_of(fmt);
    bool mma = products != LMF_VOCAB_F32, wg = products == LMF_VOCAB_WG;
    const char *logits = wg ? "vocab_logits_wg" : mma ? "vocab_logits16" : f->logits;
    const char *dw = wg ? "vocab_dw_wg" : mma ? "vocab_dw16" : "vocab_dw", *sums = wg ? "vocab_sums_wg" : mma ? "vocab_sums16" : f->sums;
    uint32_t tile = mma ? 2 * LMF_VOCAB_TILE : LMF_VOCAB_TILE, rows = (uint32_t)j->rows;
    uint32_t shared = wg ? LMF_VOCAB_WG_SHARED : mma ? LMF_VOCAB_SHARED : 0;
    uint32_t columns = ((uint32_t)j->v + tile - 1) / tile, wide = ((uint32_t)j->d + tile - 1) / tile, tall = (rows + tile - 1) / tile;
    const lmf_cuda_grid each = { rows, 1, 1 }, one = { 1, 1, 1 };
    LMF_TRY(lmf_cuda_launch(wk, module, "vocab_count", one, 1024, 0, LMF_CUDA_ARGS(j)));
    if (j->dx)
        LMF_TRY(lmf_cuda_fill(wk, j->dx, 0, (size_t)j->t * (size_t)j->d * (j->x_is_bf16 ? sizeof(uint16_t) : sizeof(float))));
    if (mma && j->w16 != j->w)
        LMF_TRY(lmf_cuda_launch(wk, module, f->round, lmf_cuda_blocks((int64_t)j->v * (j->d / 8), 256), 256, 0, LMF_CUDA_ARGS(j)));
    for (j->begin = 0; j->begin < j->t || j->begin == 0; j->begin += j->rows) {
        if (mma)
            LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_gather_bf16" : "vocab_gather", each, 256, 0, LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_cuda_launch(wk, module, logits, mma ? (lmf_cuda_grid){ tall, columns, 1 } :
                                (lmf_cuda_grid){ columns, tall, 1 }, 256, shared, LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_cuda_launch(wk, module, mma ? "vocab_rows16" : "vocab_rows", each, 512, 0, LMF_CUDA_ARGS(j)));
        if (j->dx) {
            LMF_TRY(lmf_cuda_launch(wk, module, sums, (lmf_cuda_grid){ wide, tall, (uint32_t)j->n_parts }, 256,
                                    shared, LMF_CUDA_ARGS(j)));
            LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_dx_bf16" : "vocab_dx", each, 256, 0, LMF_CUDA_ARGS(j)));
        }
        if (j->dw)
            LMF_TRY(lmf_cuda_launch(wk, module, dw, (lmf_cuda_grid){ wide, columns, 1 }, 256, shared,
                                    LMF_CUDA_ARGS(j)));
    }
    return j->loss ? lmf_cuda_launch(wk, module, "vocab_loss", one, 1024, 0, LMF_CUDA_ARGS(j)) : LMF_OK;
}

#endif
