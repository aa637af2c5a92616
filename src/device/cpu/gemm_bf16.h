/* SPDX-License-Identifier: Apache-2.0 */
/* gemm_bf16: the product of gemm.h with factors rounded to bf16 and sums in f32, for *_bf16.c files, compiled for sets that
 * multiply bf16: AMX tiles, or AVX-512's vdpbf16ps. Elsewhere a plain kernel stands in, so that all else is tested
 * everywhere: in gemm_bf16_test.c, and by rows in sanitized builds (LMF_BF16_PLAIN).
 *
 *     lmf_gemm_bf16 o = { .y = g };
 *     lmf_gemm_bf16_pack(&o, scratch, i_worker, n_workers);   // lmf_gemm_bf16_bytes(&o, n_workers) bytes, 64-byte aligned
 *     (all workers meet; with u: lmf_gemm_bf16_low(&o, scratch, i_worker, n_workers), and they meet again)
 *     lmf_gemm_bf16_run(&o, scratch, i_worker, n_workers);
 *
 * With u and low a product of low rank is added on the way, y += low.alpha u op(q), u = a op(p): a row of u is made as soon as its
 * row of a is packed, and then is more of K.
 *
 * Packed, either side is panels of 32 (rows of a, columns of b), padded with zeros, each cut along K into steps of 32; a step
 * is two tiles of 16 rows of 64 bytes:
 *     a   [panel][step][2][16 rows][16 pairs of k]
 *     b   [panel][step][2][16 pairs of k][16 columns]
 * so one is the other with its tiles turned. b is packed once, by all. So is a where several workers multiply each panel of it; else a
 * panel of a is packed by who is about to multiply it, so that it is still in the cache. Where a is one panel (gradients of thin
 * matrices), b is packed chunk by chunk likewise.
 *
 * Rule: a y is one chain of sums over K in order: its bits depend on its row of a, its column of b and the set alone. */
#ifndef LMF_DEVICE_CPU_GEMM_BF16_H
#define LMF_DEVICE_CPU_GEMM_BF16_H
#include "base/half.h"
#include "device/cpu/gemm.h"
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AMX_BF16__)
#define LMF_BF16_SET "bf16_amx" /* how rows are called after it */
#elif defined(__AVX512BF16__)
#define LMF_BF16_SET "bf16_avx512"
#else
#define LMF_BF16_SET "bf16_plain"
#endif

enum { LMF_BF16_LEAST = 128 * 128 * 128, /* m * n * k: below, packing would be most of the work */
       LMF_BF16_PANEL = 32, LMF_BF16_STEP = 32, LMF_BF16_TILE = 512, /* bf16 of a tile */
       LMF_BF16_PIECE = 512,      /* elements unpacked at a time; a multiple of every block */
       LMF_BF16_ROOM = 2 * (LMF_BF16_PIECE + 2 * 256) + 16 * LMF_BF16_PIECE / 2, /* floats: two pieces, whole blocks around them; 16 rows of bf16 */
       LMF_BF16_L2 = 1 << 19,     /* bf16 of packed b that stay in L2 */
       LMF_BF16_MOST = 64 << 20 };/* bytes of scratch: a head of 50,000 rows just fits, larger ones stay with other rows */
static inline bool lmf_gemm_bf16_pays(const lmf_gemm *g) { return (double)g->m * (double)g->n * (double)g->k >= LMF_BF16_LEAST; }

typedef struct lmf_gemm_bf16 {
    lmf_gemm y;
    const lmf_gemm *u;   /* a op(p), a as in y; written too. NULL: nothing of low rank */
    const lmf_gemm *low; /* of it alpha, k and b, which is q */
} lmf_gemm_bf16;

static inline int64_t lmf__bf16_up(int64_t n) { return (n + LMF_BF16_STEP - 1) / LMF_BF16_STEP; } /* steps of K, and panels of the sides */
static inline int64_t lmf__bf16_size(int64_t steps) { return steps * 2 * LMF_BF16_TILE; }          /* bf16 of a panel */
static inline int64_t lmf__bf16_steps(const lmf_gemm_bf16 *o) { return lmf__bf16_up(o->y.k) + (o->low ? lmf__bf16_up(o->low->k) : 0); }
static inline bool lmf__bf16_thin(const lmf_gemm_bf16 *o) { return !o->low && o->y.m <= LMF_BF16_PANEL; }
/* Panels of b packed at a time where a is thin: no more than b has, so that fewer rows of a never take more scratch. */
static inline int64_t lmf__bf16_chunk(const lmf_gemm_bf16 *o)
{
    int64_t fit = LMF_BF16_L2 / lmf__bf16_size(lmf__bf16_steps(o)), most = LMF_BF16_PIECE / LMF_BF16_PANEL, all = lmf__bf16_up(o->y.n);
    fit = fit < most ? fit : most;
    fit = fit < all ? fit : all;
    return fit < 1 ? 1 : fit;
}

/* y's panels are cut among workers into m parts of a's rows and n of b's columns. */
typedef struct lmf__bf16_grid { int64_t m, n; } lmf__bf16_grid;
/* The cheapest grid, by what its largest part costs: multiplying a step of two panels (40 ns where b's stays in L2, by AMX), fetching a
 * packed one from another cache (100), packing one (300). */
static inline lmf__bf16_grid lmf__bf16_cut(const lmf_gemm_bf16 *o, int n_workers)
{
    const int64_t m_all = lmf__bf16_up(o->y.m), n_all = lmf__bf16_up(o->y.n), size = lmf__bf16_size(lmf__bf16_steps(o));
    lmf__bf16_grid best = { 1, 1 };
    double least = INFINITY;
    for (int64_t m = 1; m <= n_workers && m <= m_all; m++) {
        int64_t n = n_workers / m < n_all ? n_workers / m : n_all;
        double rows = (double)((m_all + m - 1) / m), cols = (double)((n_all + n - 1) / n);
        bool stays = cols * (double)size <= LMF_BF16_L2;
        double cost = rows * cols * (stays ? 40 : 100) + (stays ? cols * 100 : 0) + rows * (n > 1 ? 100 : 300);
        cost += n > 1 ? 300.0 * (double)m_all / n_workers : 0;
        if (cost < least)
            least = cost, best = (lmf__bf16_grid){ m, n };
    }
    return best;
}
/* Whether a is packed by all before, as several workers multiply each panel of it. */
static inline bool lmf__bf16_shares(const lmf_gemm_bf16 *o, int n_workers)
{
    return !lmf__bf16_thin(o) && lmf__bf16_cut(o, n_workers).n > 1;
}

/* Scratch: packed b (a chunk a worker where a is thin) with q below it, p, a where it is shared, then a panel of a and a room for each
 * worker; in bytes. */
typedef struct lmf__bf16_layout { size_t b, p, a, own, room, total; } lmf__bf16_layout;
static inline lmf__bf16_layout lmf__bf16_lay(const lmf_gemm_bf16 *o, int n_workers)
{
    size_t panel = (size_t)lmf__bf16_size(lmf__bf16_steps(o)) * sizeof(uint16_t);
    lmf__bf16_layout l = { .b = panel * (size_t)(lmf__bf16_thin(o) ? lmf__bf16_chunk(o) * n_workers : lmf__bf16_up(o->y.n)), .room = panel,
                           .own = panel + LMF_BF16_ROOM * sizeof(float) };
    l.p = o->u ? (size_t)(lmf__bf16_up(o->u->n) * lmf__bf16_size(lmf__bf16_up(o->u->k))) * sizeof(uint16_t) : 0;
    l.a = lmf__bf16_shares(o, n_workers) ? panel * (size_t)lmf__bf16_up(o->y.m) : 0;
    l.total = l.b + l.p + l.a + l.own * (size_t)n_workers;
    return l;
}
static inline size_t lmf_gemm_bf16_bytes(const lmf_gemm_bf16 *o, int n_workers) { return lmf__bf16_lay(o, n_workers).total; }
/* Whether b is small enough to be packed whole. */
static inline bool lmf_gemm_bf16_holds(const lmf_gemm_bf16 *o, int n_workers)
{
    lmf__bf16_layout l = lmf__bf16_lay(o, n_workers);
    return l.total - l.a <= LMF_BF16_MOST;
}
static inline char *lmf__bf16_own(const lmf__bf16_layout *l, void *scratch, int i_worker)
{
    return (char *)scratch + l->b + l->p + l->a + l->own * (size_t)i_worker;
}

/* ---- packing ---- */

typedef uint32_t lmf__bf16_u16 __attribute__((vector_size(64), aligned(4)));
typedef uint16_t lmf__bf16_h16 __attribute__((vector_size(32), aligned(2)));
typedef float    lmf__bf16_f16 __attribute__((vector_size(64), aligned(4)));

/* 16 floats as bf16 in the upper halves: to nearest even, NaN kept. By pointer: a level without such vectors has no way to return one. */
LMF__GEMM_INLINE void lmf__bf16_round(const float *x, lmf__bf16_u16 *out)
{
    lmf__bf16_f16 f = *(const lmf__bf16_f16 *)x;
    lmf__bf16_u16 u = (lmf__bf16_u16)f, r = u + 0x7fff + (u >> 16 & 1), nan = (lmf__bf16_u16)(f != f);
    *out = (r & ~nan) | ((u | 0x400000) & nan);
}
static inline void lmf__bf16_row(const float *x, uint16_t *out, int64_t n) /* n floats to bf16 */
{
    int64_t i = 0;
#if defined(__AVX512BF16__)
    for (; i + 32 <= n; i += 32)
        _mm512_storeu_si512(out + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + i + 16), _mm512_loadu_ps(x + i)));
#endif
    for (lmf__bf16_u16 u; i + 16 <= n; i += 16) {
        lmf__bf16_round(x + i, &u);
        *(lmf__bf16_h16 *)(out + i) = __builtin_convertvector(u >> 16, lmf__bf16_h16);
    }
    for (int64_t left = n - i; left > 0; left--, i++)
        out[i] = lmf_f32_to_bf16(x[i]);
}
/* Columns [0, n) of two rows of floats as pairs. y NULL: zeros. */
static inline void lmf__bf16_pairs(const float *x, const float *y, uint32_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = lmf_f32_to_bf16(x[i]) | (y ? (uint32_t)lmf_f32_to_bf16(y[i]) << 16 : 0);
}
LMF__GEMM_INLINE void lmf__bf16_pairs16(const float *x, const float *y, uint32_t *out)
{
    lmf__bf16_u16 lo, hi = { 0 };
    lmf__bf16_round(x, &lo);
    if (y)
        lmf__bf16_round(y, &hi);
    *(lmf__bf16_u16 *)out = lo >> 16 | (hi & 0xffff0000u);
}

/* Turns 16 x 16 of 32 bits: halves are swapped across the diagonal, then quarters, and so on. */
LMF__GEMM_INLINE void lmf__bf16_turn(lmf__bf16_u16 r[16])
{
    typedef int32_t mask __attribute__((vector_size(64)));
#define LMF__TURN(s, lo, hi)                                            \
    _Pragma("GCC unroll 16") for (int i = 0; i < 16; i++)               \
        if (!(i & s)) {                                                 \
            lmf__bf16_u16 x = r[i], y = r[i + s];                       \
            r[i] = __builtin_shuffle(x, y, (mask)lo), r[i + s] = __builtin_shuffle(x, y, (mask)hi); \
        }
#define LMF__LIST(...) { __VA_ARGS__ }
    LMF__TURN(8, LMF__LIST(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), LMF__LIST(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
    LMF__TURN(4, LMF__LIST(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27), LMF__LIST(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
    LMF__TURN(2, LMF__LIST(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29), LMF__LIST(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31))
    LMF__TURN(1, LMF__LIST(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30), LMF__LIST(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#undef LMF__LIST
#undef LMF__TURN
}

/* A panel of the rows from `row` on (those past `end` are zeros) that lie k innermost. turned: as b wants it. */
static inline void lmf__bf16_pack_inner(const lmf_gemm *g, const lmf_gemm_side *s, int64_t row, int64_t end, bool turned, uint16_t *panel, float *room)
{
    uint16_t *rows = (uint16_t *)(room + 2 * (LMF_BF16_PIECE + 2 * 256));
    for (int half = 0; half < 2; half++, row += 16) {
        uint16_t *tile = panel + half * LMF_BF16_TILE;
        for (int64_t p0 = 0; p0 < g->k; p0 += LMF_BF16_PIECE) {
            int64_t n = g->k - p0 < LMF_BF16_PIECE ? g->k - p0 : LMF_BF16_PIECE, padded = lmf__gemm_up(n, LMF_BF16_STEP);
            for (int64_t r = 0; r < 16; r++) {
                uint16_t *out = rows + r * LMF_BF16_PIECE;
                if (row + r < end)
                    lmf__bf16_row(lmf__gemm_row(s, row + r, p0, n, g->k, room), out, n);
                else
                    memset(out, 0, (size_t)n * sizeof *out);
                memset(out + n, 0, (size_t)(padded - n) * sizeof *out);
            }
            for (int64_t p = 0; p < padded; p += LMF_BF16_STEP, tile += 2 * LMF_BF16_TILE) {
                lmf__bf16_u16 v[16];
                for (int r = 0; r < 16; r++)
                    memcpy(&v[r], rows + r * LMF_BF16_PIECE + p, sizeof v[r]);
                if (turned)
                    lmf__bf16_turn(v);
                memcpy(tile, v, sizeof v);
            }
        }
    }
}

/* Panels in b's form, `size` apart, of columns [col, end) of rows of `width` that lie k outermost: each row is read in long pieces. */
static inline void lmf__bf16_pack_outer(const lmf_gemm *g, const lmf_gemm_side *s, int64_t width, int64_t col, int64_t end, uint16_t *panel, int64_t size,
                                        float *room)
{
    const int64_t pairs = lmf__bf16_up(g->k) * LMF_BF16_STEP / 2;
    const bool far = s->fmt->dtype == LMF_F32; /* activations: from memory, where pieces of rows are too short for the hardware to see ahead */
    float *second = room + LMF_BF16_PIECE + 2 * 256;
    for (; col < end; col += LMF_BF16_PIECE, panel += LMF_BF16_PIECE / LMF_BF16_PANEL * size) {
        int64_t n = end - col < LMF_BF16_PIECE ? end - col : LMF_BF16_PIECE, padded = lmf__gemm_up(n, LMF_BF16_PANEL);
        for (int64_t p = 0; p < pairs; p++) {
            const float *x = 2 * p < g->k ? lmf__gemm_row(s, 2 * p, col, n, width, room) : NULL;
            const float *y = 2 * p + 1 < g->k ? lmf__gemm_row(s, 2 * p + 1, col, n, width, second) : NULL;
            uint32_t *out = (uint32_t *)(void *)panel + p / 16 * LMF_BF16_TILE + p % 16 * 16; /* two tiles a step, of 256 pairs */
            const float *ahead = far && 2 * p + 9 < g->k ? (const float *)s->data + (2 * p + 8) * s->stride + col : NULL;
            for (int64_t j = 0; j < padded; j += 16) {
                if (ahead)
                    __builtin_prefetch(ahead + j), __builtin_prefetch(ahead + s->stride + j);
                uint32_t *to = out + j / LMF_BF16_PANEL * (size / 2) + j / 16 % 2 * (LMF_BF16_TILE / 2);
                if (x && j + 16 <= n) {
                    lmf__bf16_pairs16(x + j, y ? y + j : NULL, to);
                    continue;
                }
                memset(to, 0, 16 * sizeof *to);
                if (x && j < n)
                    lmf__bf16_pairs(x + j, y ? y + j : NULL, to, n - j);
            }
        }
    }
}

/* Panel i of a. */
static inline void lmf__bf16_pack_a(const lmf_gemm *g, int64_t i, uint16_t *panel, float *room)
{
    int64_t row = i * LMF_BF16_PANEL, end = g->m - row < LMF_BF16_PANEL ? g->m : row + LMF_BF16_PANEL;
    if (g->a.k_inner) {
        lmf__bf16_pack_inner(g, &g->a, row, end, false, panel, room);
        return;
    }
    lmf__bf16_pack_outer(g, &g->a, g->m, row, end, panel, 0, room);
    for (uint16_t *tile = panel, *last = panel + lmf__bf16_size(lmf__bf16_up(g->k)); tile < last; tile += LMF_BF16_TILE) {
        lmf__bf16_u16 v[16];
        memcpy(v, tile, sizeof v);
        lmf__bf16_turn(v);
        memcpy(tile, v, sizeof v);
    }
}
/* Panels [begin, end) of b, `size` apart. */
static inline void lmf__bf16_pack_b(const lmf_gemm *g, int64_t begin, int64_t end, uint16_t *out, int64_t size, float *room)
{
    if (!g->b.k_inner && begin < end)
        lmf__bf16_pack_outer(g, &g->b, g->n, begin * LMF_BF16_PANEL, end * LMF_BF16_PANEL < g->n ? end * LMF_BF16_PANEL : g->n, out, size, room);
    for (int64_t j = begin; j < end && g->b.k_inner; j++)
        lmf__bf16_pack_inner(g, &g->b, j * LMF_BF16_PANEL, g->n, true, out + (j - begin) * size, room);
}

/* This worker's share of b, p, q, and of a where it is shared: panels of b and a are one list, as they cost alike. */
static inline void lmf_gemm_bf16_pack(const lmf_gemm_bf16 *o, void *scratch, int i_worker, int n_workers)
{
    lmf__bf16_layout l = lmf__bf16_lay(o, n_workers);
    const int64_t size = lmf__bf16_size(lmf__bf16_steps(o)), n_all = lmf__bf16_up(o->y.n);
    float *room = (float *)(void *)(lmf__bf16_own(&l, scratch, i_worker) + l.room);
    uint16_t *a = (uint16_t *)(void *)((char *)scratch + l.b + l.p);
    int64_t begin, last, end;
    lmf_split(n_all + (l.a ? lmf__bf16_up(o->y.m) : 0), 1, i_worker, n_workers, &begin, &last);
    for (int64_t i = begin > n_all ? begin : n_all; i < last; i++)
        lmf__bf16_pack_a(&o->y, i - n_all, a + (i - n_all) * size, room);
    end = last < n_all ? last : n_all;
    if (!lmf__bf16_thin(o))
        lmf__bf16_pack_b(&o->y, begin, end, (uint16_t *)scratch + begin * size, size, room);
    if (o->low)
        lmf__bf16_pack_b(o->low, begin, end, (uint16_t *)scratch + begin * size + lmf__bf16_size(lmf__bf16_up(o->y.k)), size, room);
    if (!o->u)
        return;
    const int64_t p_size = lmf__bf16_size(lmf__bf16_up(o->u->k));
    lmf_split(lmf__bf16_up(o->u->n), 1, i_worker, n_workers, &begin, &end);
    lmf__bf16_pack_b(o->u, begin, end, (uint16_t *)(void *)((char *)scratch + l.b) + begin * p_size, p_size, room);
}

/* ---- the inner product: out [32, 32] = a panel times b panel ---- */

#if defined(__AMX_BF16__)
LMF__GEMM_INLINE void lmf__bf16_begin(void)
{
    uint8_t config[64] __attribute__((aligned(64))) = { 1 };
    for (int t = 0; t < 8; t++)
        config[16 + 2 * t] = 64, config[48 + t] = 16;
    _tile_loadconfig(config);
}
LMF__GEMM_INLINE void lmf__bf16_end(void) { _tile_release(); }
LMF__GEMM_INLINE void lmf__bf16_block(const uint16_t *a, const uint16_t *b, int64_t steps, float *out)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; steps > 0; steps--, a += 2 * LMF_BF16_TILE, b += 2 * LMF_BF16_TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + LMF_BF16_TILE, 64);
        _tile_loadd(5, a + LMF_BF16_TILE, 64);
        for (int l = 0; l < 2 * LMF_BF16_TILE; l += 32) /* b comes from L2; steps of the next panel at the end */
            __builtin_prefetch(b + 4 * 2 * LMF_BF16_TILE + l);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, out, 128);
    _tile_stored(1, out + 16, 128);
    _tile_stored(2, out + 16 * 32, 128);
    _tile_stored(3, out + 16 * 32 + 16, 128);
}
#else
static inline void lmf__bf16_begin(void) { }
static inline void lmf__bf16_end(void) { }
#if defined(__AVX512BF16__)
LMF__GEMM_INLINE void lmf__bf16_block(const uint16_t *a, const uint16_t *b, int64_t steps, float *out)
{
    enum { ROWS = 8 }; /* 16 sums, 2 of b */
    for (int i = 0; i < 32; i += ROWS) {
        __m512 sum[ROWS][2];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            sum[r][0] = sum[r][1] = _mm512_setzero_ps();
        for (int64_t s = 0; s < steps; s++)
            for (int p = 0; p < 16; p++) {
                const uint16_t *bp = b + s * 2 * LMF_BF16_TILE + p * 32, *ap = a + s * 2 * LMF_BF16_TILE + i * 32 + 2 * p;
                __m512bh b0 = (__m512bh)_mm512_load_si512(bp), b1 = (__m512bh)_mm512_load_si512(bp + LMF_BF16_TILE);
#pragma GCC unroll 8
                for (int r = 0; r < ROWS; r++) {
                    int32_t pair;
                    memcpy(&pair, ap + r * 32, sizeof pair);
                    __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
                    sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, b0);
                    sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, b1);
                }
            }
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++) {
            _mm512_store_ps(out + (i + r) * 32, sum[r][0]);
            _mm512_store_ps(out + (i + r) * 32 + 16, sum[r][1]);
        }
    }
}
#else
LMF__GEMM_INLINE void lmf__bf16_block(const uint16_t *a, const uint16_t *b, int64_t steps, float *out)
{
    for (int i = 0; i < 32; i++)
        for (int half = 0; half < 2; half++) {
            lmf__bf16_f16 sum = { 0 };
            for (int64_t s = 0; s < steps; s++)
                for (int p = 0; p < 16; p++) {
                    const uint16_t *pair = a + s * 2 * LMF_BF16_TILE + i * 32 + 2 * p;
                    lmf__bf16_u16 x = *(const lmf__bf16_u16 *)(const void *)(b + (s * 2 + half) * LMF_BF16_TILE + p * 32);
                    sum += lmf_bf16_to_f32(pair[0]) * (lmf__bf16_f16)(x << 16) + lmf_bf16_to_f32(pair[1]) * (lmf__bf16_f16)(x & 0xffff0000u);
                }
            *(lmf__bf16_f16 *)(out + i * 32 + half * 16) = sum;
        }
}
#endif
#endif

/* Asks early for y's block at (i, j), whose rows lie pages apart, and for the part-th of n_parts of a's rows from `next` on. */
LMF__GEMM_INLINE void lmf__bf16_fetch(const lmf_gemm *g, int64_t i, int64_t j, int64_t next, int64_t part, int64_t n_parts)
{
    int64_t rows = g->m - i < 32 ? g->m - i : 32, last = g->n - j < 32 ? g->n - j - 1 : 31;
    for (int64_t r = 0; r < rows && !g->turned; r++) {
        const float *y = g->y + (i + r) * g->y_stride + j, *c = g->c ? g->c + (i + r) * g->c_stride + j : y;
        __builtin_prefetch(y, 1);
        __builtin_prefetch(y + last, 1);
        if (c != y)
            __builtin_prefetch(c), __builtin_prefetch(c + last);
    }
    if (next >= g->m || g->a.fmt->dtype != LMF_F32 || !g->a.k_inner)
        return;
    int64_t lines = (g->k + 15) / 16, begin = LMF_BF16_PANEL * lines * part / n_parts, end = LMF_BF16_PANEL * lines * (part + 1) / n_parts;
    for (; begin < end && next + begin / lines < g->m; begin++)
        __builtin_prefetch((const float *)g->a.data + (next + begin / lines) * g->a.stride + begin % lines * 16, 0, 2);
}
/* y's block at (i, j) from its sums. */
LMF__GEMM_INLINE void lmf__bf16_put(const lmf_gemm *g, int64_t i, int64_t j, const float *sum)
{
    int64_t rows = g->m - i < 32 ? g->m - i : 32, cols = g->n - j < 32 ? g->n - j : 32;
    lmf_vf alpha = lmf__gemm_all(g->alpha);
    for (int64_t e = 0; e < cols && g->turned; e++)
        for (int64_t r = 0; r < rows; r++) {
            const float *c = g->c ? g->c + (j + e) * g->c_stride + i + r : NULL;
            g->y[(j + e) * g->y_stride + i + r] = c ? fmaf(g->alpha, sum[r * 32 + e], *c) : g->alpha * sum[r * 32 + e];
        }
    for (int64_t r = 0; r < rows && !g->turned; r++, sum += 32) {
        float *y = g->y + (i + r) * g->y_stride + j;
        const float *c = g->c ? g->c + (i + r) * g->c_stride + j : NULL;
        int64_t e = 0;
        for (; e + LMF_VF <= cols; e += LMF_VF) {
            lmf_vf x = lmf_vf_load(sum + e);
            lmf_vf_store(y + e, c ? lmf_vf_fma(alpha, x, lmf_vf_load(c + e)) : alpha * x);
        }
        for (; e < cols; e++)
            y[e] = c ? fmaf(g->alpha, sum[e], c[e]) : g->alpha * sum[e];
    }
}

/* Panel i of u, in f32 where this worker is the one to write it, and as more steps of a. */
static inline void lmf__bf16_low(const lmf_gemm_bf16 *o, int64_t i, uint16_t *a, const uint16_t *p, bool writes)
{
    const int64_t steps = lmf__bf16_up(o->y.k);
    float sum[32 * 32] __attribute__((aligned(64)));
    for (int64_t j = 0; j < lmf__bf16_up(o->u->n); j++) {
        lmf__bf16_block(a, p + j * lmf__bf16_size(steps), steps, sum);
        if (writes)
            lmf__bf16_put(o->u, i * LMF_BF16_PANEL, j * LMF_BF16_PANEL, sum);
        for (int e = 0; e < 32 * 32; e++)
            sum[e] *= o->low->alpha;
        lmf__bf16_row(sum, a + lmf__bf16_size(steps + j), 32 * 32);
    }
}

/* y's panel i from panels [n0, n1) of b, the first of which lies at b. packed: the next of a is too. */
static inline void lmf__bf16_sweep(const lmf_gemm_bf16 *o, int64_t i, const uint16_t *a, bool packed, const uint16_t *b, int64_t n0, int64_t n1)
{
    const int64_t steps = lmf__bf16_steps(o);
    float sum[32 * 32] __attribute__((aligned(64)));
    for (int64_t j = n0; j < n1; j++, b += lmf__bf16_size(steps)) {
        lmf__bf16_fetch(&o->y, i * LMF_BF16_PANEL, j * LMF_BF16_PANEL, packed ? o->y.m : (i + 1) * LMF_BF16_PANEL, j - n0, n1 - n0);
        lmf__bf16_block(a, b, steps, sum);
        lmf__bf16_put(&o->y, i * LMF_BF16_PANEL, j * LMF_BF16_PANEL, sum);
    }
}

/* With u: this worker's share of it where a is shared; before lmf_gemm_bf16_run, and all workers meet between. */
static inline void lmf_gemm_bf16_low(const lmf_gemm_bf16 *o, void *scratch, int i_worker, int n_workers)
{
    lmf__bf16_layout l = lmf__bf16_lay(o, n_workers);
    uint16_t *p = (uint16_t *)(void *)((char *)scratch + l.b), *a = (uint16_t *)(void *)((char *)scratch + l.b + l.p);
    int64_t begin = 0, end = 0;
    if (o->u && l.a)
        lmf_split(lmf__bf16_up(o->y.m), 1, i_worker, n_workers, &begin, &end);
    if (begin == end)
        return;
    lmf__bf16_begin();
    for (int64_t i = begin; i < end; i++)
        lmf__bf16_low(o, i, a + i * lmf__bf16_size(lmf__bf16_steps(o)), p, true);
    lmf__bf16_end();
}

/* This worker's part of y: where a is thin, of b's columns; else of the grid. */
static inline void lmf_gemm_bf16_run(const lmf_gemm_bf16 *o, void *scratch, int i_worker, int n_workers)
{
    lmf__bf16_layout l = lmf__bf16_lay(o, n_workers);
    const int64_t size = lmf__bf16_size(lmf__bf16_steps(o)), m_all = lmf__bf16_up(o->y.m), n_all = lmf__bf16_up(o->y.n);
    const int64_t chunk = lmf__bf16_chunk(o);
    char *own = lmf__bf16_own(&l, scratch, i_worker);
    uint16_t *b = scratch, *p = (uint16_t *)(void *)((char *)scratch + l.b), *all = (uint16_t *)(void *)((char *)scratch + l.b + l.p);
    uint16_t *a = (uint16_t *)(void *)own;
    float *room = (float *)(void *)(own + l.room);
    bool thin = lmf__bf16_thin(o);
    lmf__bf16_grid cut = thin ? (lmf__bf16_grid){ 1, n_workers } : lmf__bf16_cut(o, n_workers);
    int64_t m0, m1, n0, n1;
    if (i_worker >= cut.m * cut.n)
        return;
    lmf_split(m_all, 1, (int)(i_worker / cut.n), (int)cut.m, &m0, &m1);
    lmf_split(n_all, 1, (int)(i_worker % cut.n), (int)cut.n, &n0, &n1);
    lmf__bf16_begin();
    for (int64_t i = m0; i < m1 && n0 < n1; i++) {
        if (l.a)
            a = all + i * size;
        else {
            lmf__bf16_pack_a(&o->y, i, a, room);
            if (o->u)
                lmf__bf16_low(o, i, a, p, n0 == 0);
        }
        if (!thin)
            lmf__bf16_sweep(o, i, a, l.a != 0, b + n0 * size, n0, n1);
    }
    for (int64_t j = n0; j < n1 && thin; j += chunk) {
        int64_t end = n1 - j < chunk ? n1 : j + chunk;
        lmf__bf16_pack_b(&o->y, j, end, b + i_worker * chunk * size, size, room);
        lmf__bf16_sweep(o, 0, a, false, b + i_worker * chunk * size, j, end);
    }
    lmf__bf16_end();
}

#endif
