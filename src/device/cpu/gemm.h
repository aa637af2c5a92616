/* SPDX-License-Identifier: Apache-2.0 */
/* gemm: all that a blocked product needs, for *_cpu.c files, compiled for their ISA level.
 *
 *     y[m, n] = alpha * sum over k of a[m, k] b[n, k] + c[m, n]
 *
 * Either side lies k innermost (rows of K) or k outermost (rows of M or N), in any format with an unpack: packing
 * unpacks it. c is absent, like y (it may be y itself), or one row (c_stride 0).
 *
 *     lmf_gemm g = { .m = m, .n = n, .k = k, .a = { x, f32, k, true }, .b = { w, fmt, k, true }, .alpha = 1, .y = y, .y_stride = n };
 *     lmf_gemm_run(&g, i_worker, n_workers, scratch);   // lmf_gemm_floats(&g) floats for each worker, 64-byte aligned
 *
 * Rule: each y is one chain of fma over k in blocks of lmf_gemm_kc, blocks added in order. So its bits don't depend on
 * tile, worker, m or n, nor on how many rows there are; only on k and the ISA level. */
#ifndef LMF_DEVICE_CPU_GEMM_H
#define LMF_DEVICE_CPU_GEMM_H
#include "base/simd.h"
#include "base/team.h"
#include "device/kernel.h"

#if defined(__AVX512F__)
enum { LMF_GEMM_MR = 8, LMF_GEMM_NV = 3 };   /* 24 sums, 3 of b, 1 of a: 28 of 32 registers */
#elif defined(__AVX2__)
enum { LMF_GEMM_MR = 6, LMF_GEMM_NV = 2 };   /* 12 sums, 2 of b, 1 of a: 15 of 16 */
#else
enum { LMF_GEMM_MR = 4, LMF_GEMM_NV = 2 };
#endif
enum { LMF_GEMM_NR = LMF_GEMM_NV * LMF_VF,
       LMF_GEMM_MC = 48,      /* rows of a that stay in L2 */
       LMF_GEMM_MC_TURNED = 192, /* where a lies k outermost: long enough pieces of its rows */
       LMF_GEMM_NC = 768,     /* columns of b packed at a time; a multiple of every NR and of 256 */
       LMF_GEMM_NC_FEW = 96,  /* where one block of a is all: b is packed as it is used and stays in L2 */
       LMF_GEMM_KC = 576,     /* longer blocks, fewer passes over y */
       LMF_GEMM_B_L2 = 32768 }; /* floats of packed b that stay in L2 beside a */

typedef struct lmf_gemm_side {
    const void *data;
    const lmf_format *fmt;
    int64_t stride;           /* elements from row to row */
    bool    k_inner;          /* rows of K elements; else K rows */
} lmf_gemm_side;

typedef struct lmf_gemm {
    int64_t m, n, k;
    lmf_gemm_side a, b;
    float   alpha;
    const float *c; int64_t c_stride;
    float  *y; int64_t y_stride;
    bool    turned;           /* y and c lie as [n, m]; of device/cpu/gemm_bf16.h alone */
} lmf_gemm;

#define LMF__GEMM_INLINE static inline __attribute__((always_inline))
static inline int64_t lmf__gemm_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
LMF__GEMM_INLINE lmf_vf lmf__gemm_all(float x) { return x - (lmf_vf){ 0 }; } /* 0 + x would cost an add: it turns -0 to 0 */

static inline int64_t lmf_gemm_kc(const lmf_gemm *g)
{
    int64_t unit = 32, blocks = (g->k + LMF_GEMM_KC - 1) / LMF_GEMM_KC;
    if (g->a.k_inner && g->a.fmt->block > unit)
        unit = g->a.fmt->block;
    if (g->b.k_inner && g->b.fmt->block > unit)
        unit = g->b.fmt->block;
    return blocks ? lmf__gemm_up((g->k + blocks - 1) / blocks, unit) : unit;
}
static inline int64_t lmf__gemm_mc(const lmf_gemm *g) { return g->a.k_inner ? LMF_GEMM_MC : LMF_GEMM_MC_TURNED; }
static inline int64_t lmf__gemm_nc(const lmf_gemm *g) { return g->m <= lmf__gemm_mc(g) ? LMF_GEMM_NC_FEW : LMF_GEMM_NC; }
static inline int64_t lmf__gemm_piece(const lmf_gemm *g) /* floats of one unpacked row piece */
{
    int64_t kc = lmf_gemm_kc(g), nc = lmf__gemm_nc(g), mc = lmf__gemm_mc(g), wide = nc > mc ? nc : mc;
    wide += 2 * (g->a.fmt->block > g->b.fmt->block ? g->a.fmt->block : g->b.fmt->block); /* whole blocks around the piece */
    return lmf__gemm_up(kc > wide ? kc : wide, 16);
}
static inline int64_t lmf_gemm_floats(const lmf_gemm *g)
{
    int64_t kc = lmf_gemm_kc(g);
    return lmf__gemm_mc(g) * (kc + 16) + lmf__gemm_nc(g) * kc + 8 * lmf__gemm_piece(g);
}

/* ---- packing ---- */

/* Elements [begin, begin + n) of a row as f32: where they lie if they are f32, else unpacked into room. */
static inline const float *lmf__gemm_row(const lmf_gemm_side *s, int64_t row, int64_t begin, int64_t n, int64_t width, float *room)
{
    if (s->fmt->dtype == LMF_F32)
        return (const float *)s->data + row * s->stride + begin;
    int64_t block = s->fmt->block, first = begin / block * block, end = lmf__gemm_up(begin + n, block);
    if (end > width)
        end = width;
    s->fmt->unpack((const char *)s->data + lmf_format_bytes(s->fmt, row * s->stride + first), room, end - first);
    return room + (begin - first);
}

#ifdef __AVX2__
typedef float lmf__gemm_f8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t lmf__gemm_i8 __attribute__((vector_size(32)));
#define LMF__GEMM_MIX(x, y, ...) __builtin_shuffle(x, y, (lmf__gemm_i8){ __VA_ARGS__ })
/* out[c * stride + r] = row[r][c], 8 by 8. */
LMF__GEMM_INLINE void lmf__gemm_transpose8(const float *const row[8], int64_t c, float *out, int64_t stride)
{
    lmf__gemm_f8 t[8], u[8];
    for (int r = 0; r < 8; r += 2) {
        lmf__gemm_f8 x = *(const lmf__gemm_f8 *)(row[r] + c), y = *(const lmf__gemm_f8 *)(row[r + 1] + c);
        t[r] = LMF__GEMM_MIX(x, y, 0, 8, 1, 9, 4, 12, 5, 13);
        t[r + 1] = LMF__GEMM_MIX(x, y, 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int r = 0; r < 8; r += 4)
        for (int h = 0; h < 2; h++) {
            u[r + 2 * h] = LMF__GEMM_MIX(t[r + h], t[r + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            u[r + 2 * h + 1] = LMF__GEMM_MIX(t[r + h], t[r + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int r = 0; r < 4; r++) {
        *(lmf__gemm_f8 *)(out + r * stride) = LMF__GEMM_MIX(u[r], u[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(lmf__gemm_f8 *)(out + (r + 4) * stride) = LMF__GEMM_MIX(u[r], u[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}
#endif
/* 8 rows of n columns to n rows of which 8 columns are written. */
static inline void lmf__gemm_transpose(const float *const row[8], int64_t n, float *out, int64_t stride)
{
    int64_t c = 0;
#ifdef __AVX2__
    for (; c + 8 <= n; c += 8)
        lmf__gemm_transpose8(row, c, out + c * stride, stride);
#endif
    for (; c < n; c++)
        for (int r = 0; r < 8; r++)
            out[c * stride + r] = row[r][c];
}

/* b's columns [j0, j0 + nc), k [p0, p0 + kc) into panels [kc][NR], columns past the last repeat it or are 0. */
static inline void lmf__gemm_pack_b(const lmf_gemm *g, int64_t j0, int64_t nc, int64_t p0, int64_t kc, float *panel, float *room)
{
    const int64_t nr = LMF_GEMM_NR, piece = lmf__gemm_piece(g), padded = lmf__gemm_up(nc, nr);
    if (g->b.k_inner) {
        for (int64_t j = 0; j < padded; j += 8) {
            const float *row[8];
            for (int64_t r = 0; r < 8; r++)
                row[r] = lmf__gemm_row(&g->b, j0 + (j + r < nc ? j + r : nc - 1), p0, kc, g->k, room + r * piece);
            lmf__gemm_transpose(row, kc, panel + j / nr * nr * kc + j % nr, nr);
        }
        return;
    }
    for (int64_t p = 0; p < kc; p++) {
        const float *row = lmf__gemm_row(&g->b, p0 + p, j0, nc, g->n, room);
        float *out = panel + p * nr;
        int64_t j = 0;
        for (; j + nr <= nc; j += nr, out += nr * kc)
            for (int v = 0; v < LMF_GEMM_NV; v++)
                lmf_vf_store(out + v * LMF_VF, lmf_vf_load(row + j + v * LMF_VF));
        for (int64_t e = 0; j < nc && e < nr; e++)
            out[e] = j + e < nc ? row[j + e] : 0;
    }
}

/* a's rows [i0, i0 + mc), k [p0, p0 + kc) as rows of K; *lda is their stride. */
static inline const float *lmf__gemm_pack_a(const lmf_gemm *g, int64_t i0, int64_t mc, int64_t p0, int64_t kc, float *buf, float *room, int64_t *lda)
{
    *lda = kc + 16;
    if (g->a.k_inner && g->a.fmt->dtype == LMF_F32 && (g->n <= 2 * LMF_GEMM_NR || g->a.stride % 256)) {
        *lda = g->a.stride;
        return (const float *)g->a.data + i0 * g->a.stride + p0;
    }
    if (g->a.k_inner) {
        for (int64_t i = 0; i < mc; i++) {
            const float *row = lmf__gemm_row(&g->a, i0 + i, p0, kc, g->k, buf + i * *lda);
            if (row != buf + i * *lda)
                memcpy(buf + i * *lda, row, (size_t)kc * sizeof *row);
        }
        return buf;
    }
    const int64_t piece = lmf__gemm_piece(g);
    for (int64_t p = 0; p < kc; p += 8) {
        const float *row[8];
        for (int64_t r = 0; r < 8; r++)
            row[r] = lmf__gemm_row(&g->a, p0 + (p + r < kc ? p + r : kc - 1), i0, mc, g->m, room + r * piece);
        lmf__gemm_transpose(row, mc, buf + p, *lda); /* past kc it writes into the 16 spare columns */
    }
    return buf;
}

/* ---- the inner product ---- */

typedef struct lmf__gemm_tile {
    const float *a; int64_t lda;
    const float *b;             /* panel [kc][NR] */
    int64_t kc;
    int     rows, cols;         /* valid part of the tile */
    float   alpha;
    const float *add; int64_t add_stride; /* NULL: nothing */
    float  *y; int64_t y_stride;
} lmf__gemm_tile;

LMF__GEMM_INLINE void lmf__gemm_kernel(const lmf__gemm_tile *t, const int mr, const int nv)
{
    lmf_vf acc[LMF_GEMM_MR][LMF_GEMM_NV];
    const float *a[LMF_GEMM_MR], *b = t->b;
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        a[i] = t->a + (i < t->rows ? i : t->rows - 1) * t->lda;
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            acc[i][v] = (lmf_vf){ 0 };
        const float *out = t->y + (i < t->rows ? i : 0) * t->y_stride;
        __builtin_prefetch(out, 1);
        __builtin_prefetch(out + nv * LMF_VF - 1, 1);
    }
    for (int64_t p = 0, kc = t->kc; p < kc; p++, b += LMF_GEMM_NR) {
        lmf_vf bv[LMF_GEMM_NV];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
            bv[v] = lmf_vf_load(b + v * LMF_VF);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            lmf_vf av = lmf__gemm_all(a[i][p]);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++)
                acc[i][v] = lmf_vf_fma(av, bv[v], acc[i][v]);
        }
    }
    lmf_vf alpha = lmf__gemm_all(t->alpha);
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++) {
        if (i >= t->rows)
            break;
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) {
            float *y = t->y + i * t->y_stride + v * LMF_VF;
            const float *add = t->add ? t->add + i * t->add_stride + v * LMF_VF : NULL;
            int64_t n = t->cols - v * LMF_VF;
            if (n >= LMF_VF) {
                lmf_vf_store(y, add ? lmf_vf_fma(alpha, acc[i][v], lmf_vf_load(add)) : alpha * acc[i][v]);
            } else if (n > 0) {
                float part[LMF_VF] = { 0 };
                if (add)
                    memcpy(part, add, (size_t)n * sizeof *part);
                lmf_vf_store(part, add ? lmf_vf_fma(alpha, acc[i][v], lmf_vf_load(part)) : alpha * acc[i][v]);
                memcpy(y, part, (size_t)n * sizeof *part);
            }
        }
    }
}
#define LMF__GEMM_KERNEL(mr, nv) \
    static __attribute__((noinline, unused)) void lmf__gemm_kernel_##mr##x##nv(const lmf__gemm_tile *t) { lmf__gemm_kernel(t, mr, nv); }
LMF__GEMM_KERNEL(1, 1) LMF__GEMM_KERNEL(2, 1) LMF__GEMM_KERNEL(4, 1)
LMF__GEMM_KERNEL(1, 2) LMF__GEMM_KERNEL(2, 2) LMF__GEMM_KERNEL(4, 2)
#if defined(__AVX512F__)
LMF__GEMM_KERNEL(8, 1) LMF__GEMM_KERNEL(8, 2)
LMF__GEMM_KERNEL(1, 3) LMF__GEMM_KERNEL(2, 3) LMF__GEMM_KERNEL(4, 3) LMF__GEMM_KERNEL(8, 3)
#define LMF__GEMM_MOST(nv) lmf__gemm_kernel_8x##nv
#elif defined(__AVX2__)
LMF__GEMM_KERNEL(6, 1) LMF__GEMM_KERNEL(6, 2)
#define LMF__GEMM_MOST(nv) lmf__gemm_kernel_6x##nv
#else
#define LMF__GEMM_MOST(nv) lmf__gemm_kernel_4x##nv
#endif

static inline void lmf__gemm_any(const lmf__gemm_tile *t)
{
    static void (*const kernel[LMF_GEMM_NV][4])(const lmf__gemm_tile *) = {
        { lmf__gemm_kernel_1x1, lmf__gemm_kernel_2x1, lmf__gemm_kernel_4x1, LMF__GEMM_MOST(1) },
        { lmf__gemm_kernel_1x2, lmf__gemm_kernel_2x2, lmf__gemm_kernel_4x2, LMF__GEMM_MOST(2) },
#if defined(__AVX512F__)
        { lmf__gemm_kernel_1x3, lmf__gemm_kernel_2x3, lmf__gemm_kernel_4x3, LMF__GEMM_MOST(3) },
#endif
    };
    kernel[(t->cols - 1) / LMF_VF][t->rows > 4 ? 3 : t->rows > 2 ? 2 : t->rows - 1](t);
}

/* The tile at row i of a block of a, column j of packed b. */
LMF__GEMM_INLINE void lmf__gemm_at(const lmf_gemm *g, lmf__gemm_tile *t, const float *a, const float *b, int64_t i0, int64_t mc, int64_t j0,
                                   int64_t nc, int64_t i, int64_t j, bool first)
{
    t->a = a + i * t->lda, t->b = b + j * t->kc;
    t->rows = (int)(mc - i < LMF_GEMM_MR ? mc - i : LMF_GEMM_MR);
    t->cols = (int)(nc - j < LMF_GEMM_NR ? nc - j : LMF_GEMM_NR);
    t->y = g->y + (i0 + i) * g->y_stride + j0 + j;
    t->add = !first ? t->y : g->c ? g->c + (i0 + i) * g->c_stride + j0 + j : NULL;
    t->add_stride = first ? g->c_stride : g->y_stride;
    lmf__gemm_any(t);
}

/* Rows [m0, m1) and columns [n0, n1) of y. */
static inline void lmf_gemm_part(const lmf_gemm *g, int64_t m0, int64_t m1, int64_t n0, int64_t n1, float *scratch)
{
    const int64_t kc_max = lmf_gemm_kc(g), nc_max = lmf__gemm_nc(g), mc_max = lmf__gemm_mc(g);
    float *buf_a = scratch, *buf_b = buf_a + mc_max * (kc_max + 16), *room = buf_b + nc_max * kc_max;
    for (int64_t j0 = n0; j0 < n1 && m0 < m1; j0 += nc_max)
        for (int64_t p0 = 0; p0 < g->k || p0 == 0; p0 += kc_max) {
            int64_t nc = n1 - j0 < nc_max ? n1 - j0 : nc_max, kc = g->k - p0 < kc_max ? g->k - p0 : kc_max;
            lmf__gemm_tile t = { .kc = kc, .alpha = g->alpha, .y_stride = g->y_stride };
            lmf__gemm_pack_b(g, j0, nc, p0, kc, buf_b, room);
            for (int64_t i0 = m0; i0 < m1; i0 += mc_max) {
                int64_t mc = m1 - i0 < mc_max ? m1 - i0 : mc_max;
                const float *a = lmf__gemm_pack_a(g, i0, mc, p0, kc, buf_a, room, &t.lda);
                if (nc * kc <= LMF_GEMM_B_L2) { /* few k: y is most of the traffic, so go along its rows */
                    for (int64_t i = 0; i < mc; i += LMF_GEMM_MR)
                        for (int64_t j = 0; j < nc; j += LMF_GEMM_NR)
                            lmf__gemm_at(g, &t, a, buf_b, i0, mc, j0, nc, i, j, p0 == 0);
                    continue;
                }
                for (int64_t j = 0; j < nc; j += LMF_GEMM_NR)
                    for (int64_t i = 0; i < mc; i += LMF_GEMM_MR)
                        lmf__gemm_at(g, &t, a, buf_b, i0, mc, j0, nc, i, j, p0 == 0);
            }
        }
}

/* This worker's part: of n in whole panels, or of m where n has too few. */
static inline void lmf_gemm_run(const lmf_gemm *g, int i_worker, int n_workers, float *scratch)
{
    int64_t m0 = 0, m1 = g->m, n0 = 0, n1 = g->n, panels = (g->n + LMF_GEMM_NR - 1) / LMF_GEMM_NR;
    if (panels >= 4 * n_workers || panels * LMF_GEMM_MR >= g->m)
        lmf_split(g->n, LMF_GEMM_NR, i_worker, n_workers, &n0, &n1);
    else
        lmf_split(g->m, LMF_GEMM_MR, i_worker, n_workers, &m0, &m1);
    lmf_gemm_part(g, m0, m1, n0, n1, scratch);
}

#endif
