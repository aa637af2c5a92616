/* SPDX-License-Identifier: Apache-2.0 */
/* vocab_wide: vocab.h's job for a frozen w on Hopper, by the kernels of device/cuda/vocab_wide.cuh (what they do stands there). No dw.
 * The op's .cu includes device/cuda/vocab_wide.cuh. Scratch: at most 64 MB besides w in bf16, which is made where w is of another type or
 * V is no multiple of 64. */
#ifndef LMF_DEVICE_CUDA_VOCAB_WIDE_H
#define LMF_DEVICE_CUDA_VOCAB_WIDE_H
#include "device/cuda/vocab.h"

enum { LMF_WIDE_ROWS = 128, LMF_WIDE_V = 256, LMF_WIDE_D = 192, LMF_WIDE_BLOCKS = 132, LMF_WIDE_MOST = 1024 };

static inline int64_t lmf__wide_tiles(int64_t n, int64_t tile) { return (n + tile - 1) / tile; }

static inline bool lmf_wide_fits(const lmf_call *c, const lmf_device *dev)
{
    return lmf_cuda_has_wgmma(dev) && lmf__vocab_lies(c) && c->in[1].dim[1] % 8 == 0 && c->in[1].dim[1] >= 8 && c->in[1].dim[0] > 0;
}

/* Sizes for chunks of `rows`; scratch beside w's. */
static inline int64_t lmf__wide_part(lmf_vocab_job *j, int64_t rows, bool with_dx)
{
    int64_t tall = rows / LMF_WIDE_ROWS, tiles = lmf__wide_tiles(j->v, LMF_WIDE_V), wide = lmf__wide_tiles(j->d, LMF_WIDE_D);
    int64_t subs = LMF_WIDE_BLOCKS / tall, parts = LMF_WIDE_BLOCKS / (tall * wide);
    j->sub_tiles = (int)lmf__wide_tiles(tiles, subs < 1 ? 1 : subs);
    j->n_subs = (int)lmf__wide_tiles(tiles, j->sub_tiles);
    j->v_part = lmf__vocab_up(lmf__wide_tiles(j->v, parts < 1 ? 1 : parts), 64);
    j->n_parts = (int)lmf__wide_tiles(j->v, j->v_part);
    return rows * ((with_dx ? j->v_stride * 2 + (int64_t)j->n_parts * j->d * 4 : 0) + j->d * 2 + 4 * (1 + j->n_subs));
}

static inline lmf_vocab_job lmf_wide_job_of(const lmf_call *c, void *scratch, bool with_dx, size_t *bytes)
{
    const lmf_view *w = &c->in[1];
    lmf_vocab_job j = lmf_vocab_sizes(&c->in[0], w, w->dim[0]);
    int64_t rows = LMF_WIDE_MOST;
    bool in_place = lmf__vocab_w_is_bf16(w) && j.v % 64 == 0;
    j.v_stride = lmf__vocab_up(j.v, 64);
    while (lmf__wide_part(&j, rows, with_dx) > LMF_VOCAB_ROOM && rows > LMF_WIDE_ROWS)
        rows -= LMF_WIDE_ROWS;
    j.target = c->in[2].data;
    j.rows = (int)(rows < j.t ? rows : j.t < 1 ? 1 : j.t);
    rows = j.rows;
    *bytes = 0;
    j.live = lmf_vocab_take(scratch, bytes, (size_t)(j.t + 1) * sizeof(int));
    j.logits = lmf_vocab_take(scratch, bytes, with_dx ? (size_t)(rows * j.v_stride) * 2 : 0);
    j.part = lmf_vocab_take(scratch, bytes, with_dx ? (size_t)(rows * j.n_parts * j.d) * sizeof(float) : 0);
    j.x16 = lmf_vocab_take(scratch, bytes, (size_t)(rows * j.d) * 2);
    j.ref = lmf_vocab_take(scratch, bytes, (size_t)rows * sizeof(float));
    j.sum = lmf_vocab_take(scratch, bytes, (size_t)(rows * j.n_subs) * sizeof(float));
    j.w16 = in_place ? (void *)(uintptr_t)w->data : lmf_vocab_take(scratch, bytes, (size_t)(j.v_stride * j.d) * 2);
    return j;
}

typedef struct lmf_wide_maps { lmf_cuda_map x, w_rows, e, w; } lmf_wide_maps;

static inline lmf_status lmf__wide_maps_make(const lmf_worker *wk, const lmf_vocab_job *j, lmf_wide_maps *m)
{
    uint64_t d = (uint64_t)j->d, line = d * 2, v = (uint64_t)j->v, blocks = (uint64_t)j->v_stride / 64, rows = (uint64_t)j->rows;
    LMF_TRY(lmf_cuda_map_make(wk, &m->x, j->x16, 2, (const uint64_t[]){ d, rows }, &line, (const uint32_t[]){ 64, LMF_WIDE_ROWS }));
    LMF_TRY(lmf_cuda_map_make(wk, &m->w_rows, j->w16, 5, (const uint64_t[]){ d, 2, 4, 8, blocks },
                              (const uint64_t[]){ line, 16 * line, 2 * line, 64 * line }, (const uint32_t[]){ 64, 2, 4, 8, 2 }));
    if (!j->dx)
        return LMF_OK;
    LMF_TRY(lmf_cuda_map_make(wk, &m->e, j->logits, 2, (const uint64_t[]){ v, rows }, &(uint64_t){ (uint64_t)j->v_stride * 2 },
                              (const uint32_t[]){ 64, LMF_WIDE_ROWS }));
    return lmf_cuda_map_make(wk, &m->w, j->w16, 2, (const uint64_t[]){ d, v }, &line, (const uint32_t[]){ 64, 32 });
}

/* All of it, as lmf_vocab_launch. */
static inline lmf_status lmf_wide_launch(const lmf_worker *wk, const char *module, const lmf_format *fmt, lmf_vocab_job *j)
{
    lmf_wide_maps m = { 0 };
    lmf_cuda_grid each = { (uint32_t)j->rows, 1, 1 };
    uint32_t tall = (uint32_t)lmf__vocab_up(j->rows, 2 * LMF_WIDE_ROWS) / LMF_WIDE_ROWS;
    LMF_TRY(lmf_vocab_list(wk, module, j));
    if (j->w16 != j->w) {
        size_t line = (size_t)j->d * 2;
        LMF_TRY(lmf_cuda_launch(wk, module, lmf_vocab_format_of(fmt)->round, lmf_cuda_blocks((int64_t)j->v * (j->d / 8), 256), 256, 0,
                                LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_cuda_fill(wk, (char *)j->w16 + (size_t)j->v * line, 0, (size_t)(j->v_stride - j->v) * line));
    }
    LMF_TRY(lmf__wide_maps_make(wk, j, &m));
    for (j->begin = 0; j->begin < j->t; j->begin += j->rows) {
        LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_wide_gather_bf16" : "vocab_wide_gather", each, 128, 0,
                                LMF_CUDA_ARGS(j)));
        LMF_TRY(lmf_cuda_launch(wk, module, j->dx ? "vocab_wide_exps" : "vocab_wide_total",
                                (lmf_cuda_grid){ (uint32_t)j->n_subs, 1, tall, 2 }, 384, LMF_VOCAB_WIDE_SHARED,
                                LMF_CUDA_ARGS(j, &m.x, &m.w_rows)));
        if (j->dx)
            LMF_TRY(lmf_cuda_launch(wk, module, "vocab_wide_sums",
                                    (lmf_cuda_grid){ (uint32_t)lmf__wide_tiles(j->d, LMF_WIDE_D), (uint32_t)j->n_parts, tall, 2 }, 384,
                                    LMF_VOCAB_WIDE_SHARED, LMF_CUDA_ARGS(j, &m.e, &m.w)));
        LMF_TRY(lmf_cuda_launch(wk, module, j->x_is_bf16 ? "vocab_wide_end_bf16" : "vocab_wide_end", each, 256, 0, LMF_CUDA_ARGS(j)));
    }
    return lmf_vocab_loss(wk, module, j);
}

#endif
