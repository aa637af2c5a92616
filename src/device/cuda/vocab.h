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

static inline bool lmf_vocab_dense(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return true;
}
/* The kernels can read x and w, whatever x's type. */
static inline bool lmf_vocab_takes(const lmf_view *x, const lmf_view *w)
{
    return lmf_vocab_format_of(w->fmt) && w->dim[0] <= (int64_t)LMF_VOCAB_TILE * 65535 && w->dim[1] <= INT32_MAX / 2 &&
           lmf_view_rows(x) <= INT32_MAX / 2;
}
static inline bool lmf__vocab_lies(const lmf_call *c) { return lmf_vocab_dense(c) && lmf_vocab_takes(&c->in[0], &c->in[1]); }

static inline bool lmf_vocab_fits(const lmf_call *c) { return c->in[0].dtype == LMF_F32 && lmf__vocab_lies(c); }

/* The kernels on the matrix units take it: x and dx may be bf16 there. */
static inline bool lmf_vocab_fits_mma(const lmf_call *c)
{
    return lmf__vocab_lies(c) && c->in[1].dim[1] % 32 == 0;
}

static inline int64_t lmf__vocab_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* w is read where it lies. */
static inline bool lmf__vocab_w_is_bf16(const lmf_view *w) { return w->dtype == LMF_BF16 && w->cls != LMF_STATE; }

/* Sizes of the products of x and the first v rows of w; rows and all of scratch are still to be set. */
static inline lmf_vocab_job lmf_vocab_sizes(const lmf_view *x, const lmf_view *w, int64_t v)
{
    int64_t d = w->dim[1];
    lmf_vocab_job j = { .x = x->data, .w = w->data, .t = (int)lmf_view_rows(x), .d = (int)d, .v = (int)v,
                        .x_is_bf16 = x->dtype == LMF_BF16 };
    j.w_bytes = (int64_t)lmf_format_bytes(w->fmt, d);
    j.v_stride = lmf__vocab_up(v, 32);
    j.n_parts = (int)((v + LMF_VOCAB_PART - 1) / LMF_VOCAB_PART);
    j.n_parts = j.n_parts < 1 ? 1 : j.n_parts > LMF_VOCAB_MOST_PARTS ? LMF_VOCAB_MOST_PARTS : j.n_parts;
    j.v_part = lmf__vocab_up((v + j.n_parts - 1) / j.n_parts, 32);
    return j;
}
/* Bytes of scratch that a row of a chunk takes. */
static inline int64_t lmf_vocab_row_bytes(const lmf_vocab_job *j, int products, bool with_dx)
{
    int64_t floats = j->v_stride + (with_dx ? (int64_t)j->n_parts * j->d : 0);
    return floats * (int64_t)sizeof(float) + (products != LMF_VOCAB_F32 ? (int64_t)j->d * 2 : 0);
}
/* Rows of a chunk of which each takes so many bytes. */
static inline int lmf_vocab_chunk(int64_t t, int64_t row_bytes, int products)
{
    int64_t tile = products != LMF_VOCAB_F32 ? 2 * LMF_VOCAB_TILE : LMF_VOCAB_TILE, rows = LMF_VOCAB_ROOM / row_bytes;
    rows = rows >= tile ? rows / tile * tile : rows < 1 ? 1 : rows;
    return (int)(rows < t ? rows : t < 1 ? 1 : t);
}
/* The next n bytes of scratch (NULL: to measure), of which *bytes are taken. */
static inline void *lmf_vocab_take(void *scratch, size_t *bytes, size_t n)
{
    void *at = scratch ? (char *)scratch + *bytes : NULL;
    *bytes += lmf_align_up(n, 256);
    return at;
}
/* What the products of a job with its rows set need of scratch. w: as lmf_vocab_sizes'. */
static inline void lmf_vocab_lay(lmf_vocab_job *j, const lmf_view *w, void *scratch, int products, bool with_dx, size_t *bytes)
{
    bool mma = products != LMF_VOCAB_F32, in_place = lmf__vocab_w_is_bf16(w);
    int64_t rows = j->rows;
    j->logits = lmf_vocab_take(scratch, bytes, (size_t)(rows * j->v_stride) * sizeof(float));
    j->part = lmf_vocab_take(scratch, bytes, with_dx ? (size_t)(rows * j->n_parts * j->d) * sizeof(float) : 0);
    j->x16 = lmf_vocab_take(scratch, bytes, mma ? (size_t)(rows * j->d) * 2 : 0);
    j->w16 = lmf_vocab_take(scratch, bytes, mma && !in_place ? (size_t)((int64_t)j->v * j->d) * 2 : 0);
    if (in_place)
        j->w16 = w->data;
}

/* The job of a call (x, w, target, ...), and scratch laid out from `scratch` (NULL: to measure). *bytes gets its size. */
static inline lmf_vocab_job lmf_vocab_job_of(const lmf_call *c, void *scratch, int products, bool with_dx, size_t *bytes)
{
    lmf_vocab_job j = lmf_vocab_sizes(&c->in[0], &c->in[1], c->in[1].dim[0]);
    *bytes = 0;
    j.target = c->in[2].data;
    j.rows = lmf_vocab_chunk(j.t, lmf_vocab_row_bytes(&j, products, with_dx), products);
    j.live = lmf_vocab_take(scratch, bytes, (size_t)(j.t + 1) * sizeof(int));
    lmf_vocab_lay(&j, &c->in[1], scratch, products, with_dx, bytes);
    return j;
}

/* ---- launches; module: the op's ---- */
static inline uint32_t lmf__vocab_tiles(int64_t n, int products)
{
    int64_t tile = products != LMF_VOCAB_F32 ? 2 * LMF_VOCAB_TILE : LMF_VOCAB_TILE;
    return (uint32_t)((n + tile - 1) / tile);
}
static inline uint32_t lmf__vocab_shared(int products)
{
    return products == LMF_VOCAB_WG ? LMF_VOCAB_WG_SHARED : products == LMF_VOCAB_MMA ? LMF_VOCAB_SHARED : 0;
}

/* The list, zeroes for what is not in it. */
static inline lmf_status lmf_vocab_list(const lmf_worker *wk, const char *module, const lmf_vocab_job *j)
{
    LMF_TRY(lmf_cuda_launch(wk, module, "vocab_count", (lmf_cuda_grid){ 1, 1, 1 }, 1024, 0, LMF_CUDA_ARGS(j)));
    return j->dx ? lmf_cuda_fill(wk, j->dx, 0, (size_t)j->t * (size_t)j->d * (j->x_is_bf16 ? sizeof(uint16_t) : sizeof(float))) : LMF_OK;
}
/* w in bf16, where the products want it. */
static inline lmf_status lmf_vocab_prepare(const lmf_worker *wk, const char *module, const lmf_format *fmt, int products,
                                           const lmf_vocab_job *j)
{
    if (products == LMF_VOCAB_F32 || j->w16 == j->w)
        return LMF_OK;
    return lmf_cuda_launch(wk, module, lmf_vocab_format_of(fmt)->round, lmf_cuda_blocks((int64_t)j->v * (j->d / 8), 256), 256, 0,
                           LMF_CUDA_ARGS(j));
}
/* The chunk's logits. */
static inline lmf_status lmf_vocab_multiply(const lmf_worker *wk, const char *module, const lmf_format *fmt, int products,
                                            const lmf_vocab_job *j)
{
    uint32_t rows = (uint32_t)j->rows, columns = lmf__vocab_tiles(j->v, products), tall = lmf__vocab_tiles(j->rows, products);
    if (products == LMF_VOCAB_F32)
        return lmf_cuda_launch(wk, module, lmf_vocab_format_of(fmt)->logits, (lmf_cuda_grid){ columns, tall, 1 }, 256, 0, LMF_CUDA_ARGS(j));
    LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_gather_bf16" : "vocab_gather", (lmf_cuda_grid){ rows, 1, 1 }, 256, 0,
                            LMF_CUDA_ARGS(j)));
    return lmf_cuda_launch(wk, module, products == LMF_VOCAB_WG ? "vocab_logits_wg" : "vocab_logits16", (lmf_cuda_grid){ tall, columns, 1 },
                           256, lmf__vocab_shared(products), LMF_CUDA_ARGS(j));
}
/* dx and dw of the chunk, whose logits have become gradients. */
static inline lmf_status lmf_vocab_gradients(const lmf_worker *wk, const char *module, const lmf_format *fmt, int products,
                                             const lmf_vocab_job *j)
{
    bool mma = products != LMF_VOCAB_F32, wg = products == LMF_VOCAB_WG;
    const char *dw = wg ? "vocab_dw_wg" : mma ? "vocab_dw16" : "vocab_dw";
    const char *sums = wg ? "vocab_sums_wg" : mma ? "vocab_sums16" : lmf_vocab_format_of(fmt)->sums;
    uint32_t wide = lmf__vocab_tiles(j->d, products), tall = lmf__vocab_tiles(j->rows, products), shared = lmf__vocab_shared(products);
    if (j->dx) {
        LMF_TRY(lmf_cuda_launch(wk, module, sums, (lmf_cuda_grid){ wide, tall, (uint32_t)j->n_parts }, 256, shared, LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_dx_bf16" : "vocab_dx", (lmf_cuda_grid){ (uint32_t)j->rows, 1, 1 }, 256, 0,
                                LMF_CUDA_ARGS(j)));
    }
    if (!j->dw)
        return LMF_OK;
    return lmf_cuda_launch(wk, module, dw, (lmf_cuda_grid){ wide, lmf__vocab_tiles(j->v, products), 1 }, 256, shared, LMF_CUDA_ARGS(j));
}
static inline lmf_status lmf_vocab_loss(const lmf_worker *wk, const char *module, const lmf_vocab_job *j)
{
    return j->loss ? lmf_cuda_launch(wk, module, "vocab_loss", (lmf_cuda_grid){ 1, 1, 1 }, 1024, 0, LMF_CUDA_ARGS(j)) : LMF_OK;
}

/* All of it. dx of rows that don't count, and their logp and lse, become 0. */
static inline lmf_status lmf_vocab_launch(const lmf_worker *wk, const char *module, const lmf_format *fmt, int products, lmf_vocab_job *j)
{
    const char *rows = products == LMF_VOCAB_F32 ? "vocab_rows" : "vocab_rows16";
    LMF_TRY(lmf_vocab_list(wk, module, j));
    LMF_TRY(lmf_vocab_prepare(wk, module, fmt, products, j));
    for (j->begin = 0; j->begin < j->t || j->begin == 0; j->begin += j->rows) {
        LMF_TRY(lmf_vocab_multiply(wk, module, fmt, products, j));
        LMF_TRY(lmf_cuda_launch(wk, module, rows, (lmf_cuda_grid){ (uint32_t)j->rows, 1, 1 }, 512, 0, LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_vocab_gradients(wk, module, fmt, products, j));
    }
    return lmf_vocab_loss(wk, module, j);
}

#endif
