/* SPDX-License-Identifier: Apache-2.0 */
/* attention_tile: what the CPU rows of attention share. A tile is some query rows of one sequence times the heads of one kv
 * head, row by row, head by head ("q rows"); it meets the keys in blocks of 64, held transposed so that a vector is 8 keys.
 *
 * One order of sums serves training, prefill and decode: block b covers keys 64 b .. 64 b + 63 of the sequence, a score sums
 * over c in order, the softmax is online within a chunk of 256 keys and chunks merge in order. Masked keys add exact zeros.
 * So a row's bits don't depend on the tile that it sits in, nor on who computes which chunk. */
#ifndef LMF_OPS_ATTENTION_TILE_H
#define LMF_OPS_ATTENTION_TILE_H
#include "base/simd.h"
#include "device/device.h"
#include "ops/attention/attention.h"

enum { LMF__AT_KEYS = 64, LMF__AT_CHUNK = 256, LMF__AT_GROUP = 6, LMF__AT_TILE = 192 };
#define LMF__AT_INLINE static inline __attribute__((always_inline))
#define LMF__AT_FN static __attribute__((unused))

static inline int64_t lmf__at_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t lmf__at_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t lmf__at_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- y[r][:] = start[r] * y[r][:] + sum over i of a[r * sr + i * si] * b[i][:], i in order ---- */

typedef struct lmf__at_mul {
    const float *a; int64_t sr, si, n;
    const float *b; int64_t sb;
    float *y; int64_t sy;
    const float *start;          /* NULL: y starts at zero */
} lmf__at_mul;

LMF__AT_INLINE void lmf__at_mul_part(const lmf__at_mul *p, const int rows, const int vecs, int64_t at)
{
    lmf_vf acc[LMF__AT_GROUP][4];
    const float *a = p->a, *b = p->b + at;
    float *y = p->y + at;
    const int64_t sr = p->sr, si = p->si, sb = p->sb, sy = p->sy;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            acc[r][v] = p->start ? lmf_vf_load(y + r * sy + v * LMF_VF) * lmf_vf_set1(p->start[r]) : (lmf_vf){ 0 };
    for (int64_t i = p->n; i > 0; i--, a += si, b += sb) {
        lmf_vf x[4];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            x[v] = lmf_vf_load(b + v * LMF_VF);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            lmf_vf w = lmf_vf_set1(a[r * sr]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++)
                acc[r][v] = lmf_vf_fma(w, x[v], acc[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++)
            lmf_vf_store(y + r * sy + v * LMF_VF, acc[r][v]);
}

/* rows 1 .. 6; width a multiple of LMF_VF. */
LMF__AT_INLINE void lmf__at_mul_rows(const lmf__at_mul *p, const int rows, int64_t width)
{
    int64_t at = 0;
    if (rows <= 3 || LMF_VF == 16)
        for (; at + 4 * LMF_VF <= width; at += 4 * LMF_VF)
            lmf__at_mul_part(p, rows, 4, at);
    for (; at + 2 * LMF_VF <= width; at += 2 * LMF_VF)
        lmf__at_mul_part(p, rows, 2, at);
    if (at < width)
        lmf__at_mul_part(p, rows, 1, at);
}
#define LMF__AT_MUL(rows) \
    static __attribute__((noinline, unused)) void lmf__at_mul_##rows(const lmf__at_mul *p, int64_t width) { lmf__at_mul_rows(p, rows, width); }
LMF__AT_MUL(1) LMF__AT_MUL(2) LMF__AT_MUL(3) LMF__AT_MUL(4) LMF__AT_MUL(5) LMF__AT_MUL(6)

static inline void lmf__at_mul_run(const lmf__at_mul *p, int64_t rows, int64_t width)
{
    switch (rows) {
    case 1: lmf__at_mul_1(p, width); break;
    case 2: lmf__at_mul_2(p, width); break;
    case 3: lmf__at_mul_3(p, width); break;
    case 4: lmf__at_mul_4(p, width); break;
    case 5: lmf__at_mul_5(p, width); break;
    default: lmf__at_mul_6(p, width);
    }
}

/* ---- keys ---- */

typedef struct lmf__at_side { const char *data; const lmf_format *fmt; size_t stride; } lmf__at_side; /* of one kv head; bytes a row */
typedef struct lmf__at_keys {
    lmf__at_side k, v;
    const int32_t *page;         /* NULL: key u is row u */
    int64_t page_size, n_pages, most; /* most: keys that page has room for */
    bool    ahead;               /* the next chunk asked for is of the same keys, next kv head: fetch that in time */
} lmf__at_keys;

/* Rows of keys [u0, u0 + n); false where a key has no page. */
static inline bool lmf__at_find(const lmf__at_keys *s, int64_t u0, int64_t n, int64_t *row)
{
    if (!s->page) {
        for (int64_t i = 0; i < n; i++)
            row[i] = u0 + i;
        return true;
    }
    if (u0 + n > s->most)
        return false;
    int64_t slot = u0 / s->page_size, in = u0 % s->page_size;
    for (int64_t i = 0; i < n; slot++, in = 0) {
        int64_t page = s->page[slot];
        if (page < 0 || page >= s->n_pages)
            return false;
        for (; in < s->page_size && i < n; in++)
            row[i++] = page * s->page_size + in;
    }
    return true;
}

static inline const float *lmf__at_row(const lmf__at_side *s, int64_t row, int64_t c, float *room)
{
    const char *p = s->data + (size_t)row * s->stride;
    if (s->fmt->dtype == LMF_F32)
        return (const float *)p;
    s->fmt->unpack(p, room, c);
    return room;
}

#ifdef __AVX2__
typedef float    lmf__at_f8 __attribute__((vector_size(32), aligned(2)));
typedef uint32_t lmf__at_u8 __attribute__((vector_size(32), aligned(4)));
#define LMF__AT_MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
/* out[i][r] = the i-th 32 bits of the 8 at byte `at` of row r: pairs, pairs of pairs, halves. */
LMF__AT_INLINE void lmf__at_turn8(const char *const row[8], int64_t at, lmf__at_f8 out[8])
{
    lmf__at_f8 t[8], u[8];
#pragma GCC unroll 4
    for (int r = 0; r < 8; r += 2) {
        lmf__at_f8 x = *(const lmf__at_f8 *)(const void *)(row[r] + at), y = *(const lmf__at_f8 *)(const void *)(row[r + 1] + at);
        t[r] = LMF__AT_MIX(x, y, 0, 8, 1, 9, 4, 12, 5, 13);
        t[r + 1] = LMF__AT_MIX(x, y, 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 2
    for (int r = 0; r < 8; r += 4)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            u[r + 2 * h] = LMF__AT_MIX(t[r + h], t[r + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            u[r + 2 * h + 1] = LMF__AT_MIX(t[r + h], t[r + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        out[r] = LMF__AT_MIX(u[r], u[r + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        out[r + 4] = LMF__AT_MIX(u[r], u[r + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}
/* Elements i .. of 8 keys, f32: 8 of each; bf16: 16, as pairs, the first of which lies in the low half. */
LMF__AT_INLINE void lmf__at_turn_f32(const char *const row[8], int64_t i, float *out)
{
    lmf__at_f8 x[8];
    lmf__at_turn8(row, i * 4, x);
#pragma GCC unroll 8
    for (int e = 0; e < 8; e++)
        *(lmf__at_f8 *)(out + (i + e) * LMF__AT_KEYS) = x[e];
}
LMF__AT_INLINE void lmf__at_turn_bf16(const char *const row[8], int64_t i, float *out)
{
    lmf__at_f8 x[8];
    lmf__at_turn8(row, i * 2, x);
#pragma GCC unroll 8
    for (int e = 0; e < 8; e++) {
        *(lmf__at_u8 *)(void *)(out + (i + 2 * e) * LMF__AT_KEYS) = (lmf__at_u8)x[e] << 16;
        *(lmf__at_u8 *)(void *)(out + (i + 2 * e + 1) * LMF__AT_KEYS) = (lmf__at_u8)x[e] & 0xffff0000u;
    }
}
#endif

/* Rows are too short and scattered for the hardware to foresee; next: those of the block after, NULL: none; beside: of the
 * next head. */
static inline void lmf__at_ahead(const lmf__at_side *s, const int64_t *next, bool beside, int64_t j, int64_t n, size_t bytes)
{
    const char *data = s->data + (beside ? bytes : 0);
    for (int64_t i = j; next && i < j + n; i++)
        for (size_t at = 0; at < bytes; at += 64)
            __builtin_prefetch(data + (size_t)next[i] * s->stride + at, 0, 2);
}

/* out[i][j] = element i of key j, [c][64]; keys past n, up to a whole vector, repeat the last. room: 8 c floats. */
LMF__AT_FN void lmf__at_turn(const lmf__at_side *s, const int64_t *row, const int64_t *next, bool beside, int64_t n, int64_t c, float *out, float *room)
{
    size_t bytes = lmf_format_bytes(s->fmt, c);
    int64_t wide = lmf__at_up(n, LMF_VF > 8 ? LMF_VF : 8);
    const bool bf16 = LMF_VF >= 8 && s->fmt->dtype == LMF_BF16 && c % 16 == 0; /* else rows are unpacked */
    for (int64_t j = 0; j < wide; j += 8) {
        const char *x[8];
        int64_t i = 0;
        lmf__at_ahead(s, next, beside, j, lmf__at_min(8, n - j), bytes);
        for (int r = 0; r < 8; r++) {
            int64_t at = row[lmf__at_min(j + r, n - 1)];
            if (j + r >= n && r > 0)
                x[r] = x[r - 1];
            else
                x[r] = bf16 ? s->data + (size_t)at * s->stride : (const char *)lmf__at_row(s, at, c, room + r * c);
        }
#ifdef __AVX2__
        for (; bf16 && i < c; i += 16)
            lmf__at_turn_bf16(x, i, out + j);
        for (; i + 8 <= c; i += 8)
            lmf__at_turn_f32(x, i, out + j);
#endif
        for (; i < c; i++)
            for (int r = 0; r < 8; r++)
                out[i * LMF__AT_KEYS + j + r] = ((const float *)(const void *)x[r])[i];
    }
}

/* Keys as rows of cp floats; where they lie if they are f32 of whole vectors, evenly spaced. */
LMF__AT_FN const float *lmf__at_flat(const lmf__at_side *s, const int64_t *row, const int64_t *next, bool beside, int64_t n, int64_t c, int64_t cp, float *room,
                                     int64_t *stride)
{
    size_t bytes = lmf_format_bytes(s->fmt, c);
    if (s->fmt->dtype == LMF_F32 && c == cp && row[n - 1] - row[0] == n - 1) {
        int64_t i = 1;
        while (i < n && row[i] == row[0] + i)
            i++;
        if (i >= n) {
            *stride = (int64_t)(s->stride / sizeof(float));
            return (const float *)(s->data + (size_t)row[0] * s->stride);
        }
    }
    *stride = cp;
    for (int64_t j = 0; j < n; j++) {
        float *out = room + j * cp;
        lmf__at_ahead(s, next, beside, j, 1, bytes);
        const float *x = lmf__at_row(s, row[j], c, out);
        if (x != out)
            memcpy(out, x, (size_t)c * sizeof *out);
        memset(out + c, 0, (size_t)(cp - c) * sizeof *out);
    }
    return room;
}

/* ---- a tile of queries ---- */

typedef struct lmf__at_tile {
    int64_t c, cp, g;            /* head size, the same in whole vectors, heads of the kv head */
    int64_t n, last;             /* query rows; row i sees keys up to last + i of its sequence */
    int64_t window;              /* 0: all */
    float   scale, cap;          /* cap 0: none */
} lmf__at_tile;

static inline lmf__at_tile lmf__at_tile_of(const lmf_attention_attrs *a)
{
    return (lmf__at_tile){ .c = a->head_size, .cp = lmf__at_up(a->head_size, LMF_VF), .g = a->n_heads / a->n_kv_heads, .window = a->window,
                           .scale = a->scale, .cap = a->cap };
}
static inline int64_t lmf__at_first(const lmf__at_tile *t, int64_t i)
{
    return t->window ? lmf__at_max(0, t->last + i - t->window + 1) : 0;
}
/* Query rows of a tile at most `most` q rows, fewer where else n_workers would find too few tiles. */
static inline int64_t lmf__at_tile_rows(int64_t g, int64_t most, int64_t rows, int64_t heads, int64_t n_workers)
{
    int64_t n = lmf__at_max(1, lmf__at_min(most / g, 64));
    while (n > 8 && (rows + n - 1) / n * heads < 8 * n_workers)
        n /= 2;
    return n;
}
/* Keys that rows [i, i + n) see together. */
static inline double lmf__at_cost(const lmf__at_tile *t, int64_t i, int64_t n)
{
    double a = (double)(t->last + i + 1 - lmf__at_first(t, i)), b = (double)(t->last + i + n - lmf__at_first(t, i + n - 1));
    return (a + b + 32) / 2 * (double)n;
}

/* Heads of one kv head, row by row, to rows of cp. x: the first row's first head; stride: of a row. */
static inline void lmf__at_gather(const lmf__at_tile *t, const float *x, int64_t stride, float *out)
{
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->g; j++, out += t->cp) {
            memcpy(out, x + i * stride + j * t->c, (size_t)t->c * sizeof *out);
            memset(out + t->c, 0, (size_t)(t->cp - t->c) * sizeof *out);
        }
}

/* In lanes j .. of a row of scores, those that it sees: [lo, hi). */
LMF__AT_INLINE lmf_vi lmf__at_seen(int64_t j, int64_t lo, int64_t hi)
{
    lmf_vi at;
    for (int i = 0; i < LMF_VF; i++)
        at[i] = i;
    at += (int32_t)j;
    return (at >= (int32_t)lo) & (at < (int32_t)hi);
}

/* a if it is greater, else b: b if either is NaN. */
LMF__AT_INLINE lmf_vf lmf__at_greater(lmf_vf a, lmf_vf b)
{
#if LMF_VF == 8
    return (lmf_vf)__builtin_ia32_maxps256((__attribute__((vector_size(32))) float)a, (__attribute__((vector_size(32))) float)b);
#else
    return lmf_vf_maximum(a, b);
#endif
}

/* exp(x), 2 ulp, for x at most 88; 0 below -86. NaN stays. lmf_vf_exp without what cannot happen below a maximum. */
LMF__AT_INLINE lmf_vf lmf__at_exp(lmf_vf x)
{
    const lmf_vf lo = lmf_vf_set1(-86.0f), magic = lmf_vf_set1(12582912.0f); /* 1.5 * 2^23: adds and subtracts to round */
    lmf_vi under = x < lo;
    lmf_vf z = lmf__at_greater(lo, x), t = lmf_vf_fma(z, lmf_vf_set1(1.44269504f), magic), n = t - magic;
    lmf_vf r = lmf_vf_fma(n, lmf_vf_set1(-0.693359375f), z);
    r = lmf_vf_fma(n, lmf_vf_set1(2.12194440e-4f), r);
    lmf_vf p = lmf_vf_set1(1.9875691500e-4f);
    p = lmf_vf_fma(p, r, lmf_vf_set1(1.3981999507e-3f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(8.3334519073e-3f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(4.1665795894e-2f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(1.6666665459e-1f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(5.0000001201e-1f));
    p = lmf_vf_fma(p, r * r, r + lmf_vf_set1(1));
    return (lmf_vf)(~under & ((lmf_vi)p + ((lmf_vi)t << 23))); /* the low bits of t are n */
}
static inline float lmf__at_exp1(float x) { return lmf__at_exp(lmf_vf_set1(x))[0]; }

static inline float lmf__at_most(lmf_vf x)
{
#if LMF_VF == 8
    x = lmf__at_greater(x, LMF__AT_MIX(x, x, 4, 5, 6, 7, 0, 1, 2, 3));
    x = lmf__at_greater(x, LMF__AT_MIX(x, x, 2, 3, 0, 1, 6, 7, 4, 5));
    return lmf__at_greater(x, LMF__AT_MIX(x, x, 1, 0, 3, 2, 5, 4, 7, 6))[0];
#else
    return lmf_vf_max(x);
#endif
}

/* Scores s[j0 .. j1) times scale, capped. */
LMF__AT_FN void lmf__at_cap(float *s, int64_t j0, int64_t j1, float scale, float cap)
{
    for (int64_t j = j0; j < j1; j += LMF_VF)
        lmf_vf_store(s + j, lmf_vf_set1(cap) * lmf_vf_tanh(lmf_vf_load(s + j) * lmf_vf_set1(scale) / lmf_vf_set1(cap)));
}

/* Scores s[j0 .. j1) are scaled, -inf outside [lo, hi); returns the greatest of them and m. */
static inline float lmf__at_scale(float *s, int64_t j0, int64_t j1, int64_t lo, int64_t hi, float scale, float m)
{
    const lmf_vf none = lmf_vf_set1(-INFINITY), by = lmf_vf_set1(scale);
    lmf_vf top = lmf_vf_set1(m);
    for (int64_t j = j0; j < j1; j += LMF_VF) {
        lmf_vf x = lmf_vf_load(s + j) * by;
        if (j < lo || j + LMF_VF > hi)
            x = lmf_vf_select(lmf__at_seen(j, lo, hi), x, none);
        lmf_vf_store(s + j, x);
        top = lmf__at_greater(x, top);
    }
    return lmf__at_most(top);
}

/* Scaled scores become p = exp(s - m), their sums go to the lanes of l; *m was the greatest before. Returns what earlier sums
 * are to be multiplied by. */
static inline float lmf__at_softmax(float *s, int64_t j0, int64_t j1, float most, float *m, float *l)
{
    float old = *m, base = most == -INFINITY ? 0 : most, corr = old != base ? lmf__at_exp1(old - base) : 1;
    lmf_vf sum = { 0 };
    *m = most;
    for (int64_t j = j0; j < j1; j += LMF_VF) {
        lmf_vf p = lmf__at_exp(lmf_vf_load(s + j) - lmf_vf_set1(base));
        lmf_vf_store(s + j, p);
        sum += p;
    }
    lmf_vf_store(l, lmf_vf_load(l) * lmf_vf_set1(corr) + sum);
    return corr;
}

typedef struct lmf__at_room { float *kt, *v, *rows, *s, *l; } lmf__at_room;
static inline int64_t lmf__at_room_floats(const lmf__at_tile *t, int64_t n_q)
{
    return lmf__at_up((t->c + t->cp + LMF__AT_GROUP) * LMF__AT_KEYS + 8 * t->c + n_q * LMF_VF, 16);
}
static inline lmf__at_room lmf__at_room_at(const lmf__at_tile *t, float *p)
{
    lmf__at_room r = { .kt = p, .v = p + t->c * LMF__AT_KEYS };
    r.s = r.v + t->cp * LMF__AT_KEYS;
    r.rows = r.s + LMF__AT_GROUP * LMF__AT_KEYS, r.l = r.rows + 8 * t->c;
    return r;
}

/* The tile's q rows [n g][cp] meet keys [begin, end), a chunk: m, l [n g] and o [n g][cp], started here. False: no page. */
LMF__AT_FN bool lmf__at_chunk(const lmf__at_tile *t, const lmf__at_keys *keys, const lmf__at_room *room, const float *q, int64_t begin, int64_t end,
                              float *m, float *l, float *o)
{
    int64_t n_q = t->n * t->g, from = lmf__at_max(begin, lmf__at_first(t, 0)) / LMF__AT_KEYS * LMF__AT_KEYS, to = lmf__at_min(end, t->last + t->n);
    int64_t rows_of[2][LMF__AT_KEYS] = { { 0 } }, *row = rows_of[0], *next = rows_of[1], stride;
    float corr[LMF__AT_GROUP], most[LMF__AT_GROUP];
    for (int64_t r = 0; r < n_q; r++)
        m[r] = -INFINITY;
    memset(room->l, 0, (size_t)(n_q * LMF_VF) * sizeof *room->l);
    memset(o, 0, (size_t)(n_q * t->cp) * sizeof *o);
    for (int64_t u = from; u < to; u += LMF__AT_KEYS) {
        int64_t n = lmf__at_min(LMF__AT_KEYS, to - u);
        if (!lmf__at_find(keys, u, n, row))
            return false;
        bool back = u + LMF__AT_KEYS >= to && keys->ahead;
        int64_t u2 = back ? from : u + LMF__AT_KEYS, n2 = lmf__at_min(LMF__AT_KEYS, to - u2);
        const int64_t *then = n2 >= n && lmf__at_find(keys, u2, n2, next) ? next : NULL;
        lmf__at_turn(&keys->k, row, then, back, n, t->c, room->kt, room->rows);
        const float *v = lmf__at_flat(&keys->v, row, then, back, n, t->c, t->cp, room->v, &stride);
        for (int64_t r = 0; r < n_q; r += LMF__AT_GROUP) {
            int64_t rows = lmf__at_min(LMF__AT_GROUP, n_q - r), i0 = r / t->g, i1 = (r + rows - 1) / t->g;
            int64_t lo = lmf__at_max(0, lmf__at_first(t, i0) - u), hi = lmf__at_min(n, t->last + i1 + 1 - u);
            if (lo >= hi)
                continue;
            int64_t j0 = lo / LMF_VF * LMF_VF, j1 = lmf__at_up(hi, LMF_VF);
            lmf__at_mul_run(&(lmf__at_mul){ q + r * t->cp, t->cp, 1, t->c, room->kt + j0, LMF__AT_KEYS, room->s + j0, LMF__AT_KEYS, NULL }, rows, j1 - j0);
            for (int64_t k = 0; k < rows; k++) {
                int64_t i = (r + k) / t->g, first = lmf__at_max(0, lmf__at_first(t, i) - u), last = lmf__at_min(n, t->last + i + 1 - u);
                if (t->cap > 0)
                    lmf__at_cap(room->s + k * LMF__AT_KEYS, j0, j1, t->scale, t->cap);
                most[k] = lmf__at_scale(room->s + k * LMF__AT_KEYS, j0, j1, first, last, t->cap > 0 ? 1 : t->scale, m[r + k]);
            }
            for (int64_t k = 0; k < rows; k++)
                corr[k] = lmf__at_softmax(room->s + k * LMF__AT_KEYS, j0, j1, most[k], &m[r + k], room->l + (r + k) * LMF_VF);
            lmf__at_mul_run(&(lmf__at_mul){ room->s + lo, LMF__AT_KEYS, 1, hi - lo, v + lo * stride, stride, o + r * t->cp, t->cp, corr }, rows, t->cp);
        }
    }
    for (int64_t r = 0; r < n_q; r++)
        l[r] = lmf_vf_sum(lmf_vf_load(room->l + r * LMF_VF));
    return true;
}

/* One q row's chunk onto what the chunks before gave; the first meets m = -inf, l = 0, o = 0. */
static inline void lmf__at_merge(int64_t cp, float *m, float *l, float *o, float m2, float l2, const float *o2)
{
    float base = m2 > *m ? m2 : *m, at = base == -INFINITY ? 0 : base, a = lmf__at_exp1(*m - at), b = lmf__at_exp1(m2 - at);
    for (int64_t i = 0; i < cp; i += LMF_VF)
        lmf_vf_store(o + i, lmf_vf_load(o + i) * lmf_vf_set1(a) + lmf_vf_load(o2 + i) * lmf_vf_set1(b));
    *l = *l * a + l2 * b;
    *m = base;
}

/* The whole of a tile, chunk by chunk. q [n g][cp]; m, l, o as in lmf__at_chunk, room for a second set behind: part. */
LMF__AT_FN bool lmf__at_whole(const lmf__at_tile *t, const lmf__at_keys *keys, const lmf__at_room *room, const float *q, float *m, float *l, float *o,
                              float *m2, float *l2, float *o2)
{
    int64_t begin = lmf__at_first(t, 0) / LMF__AT_CHUNK * LMF__AT_CHUNK, end = t->last + t->n;
    if (!lmf__at_chunk(t, keys, room, q, begin, begin + LMF__AT_CHUNK, m, l, o))
        return false;
    for (int64_t u = begin + LMF__AT_CHUNK; u < end; u += LMF__AT_CHUNK) {
        if (!lmf__at_chunk(t, keys, room, q, u, u + LMF__AT_CHUNK, m2, l2, o2))
            return false;
        for (int64_t r = 0; r < t->n * t->g; r++)
            lmf__at_merge(t->cp, &m[r], &l[r], o + r * t->cp, m2[r], l2[r], o2 + r * t->cp);
    }
    return true;
}

/* Room of one worker for lmf__at_whole: tile, q, and two sets of m, l, o. */
typedef struct lmf__at_desk { lmf__at_room room; float *q, *m, *l, *o, *m2, *l2, *o2; } lmf__at_desk;
static inline int64_t lmf__at_desk_floats(const lmf__at_tile *t, int64_t n_q)
{
    return lmf__at_room_floats(t, n_q) + lmf__at_up(n_q * (3 * t->cp + 4), 16);
}
static inline lmf__at_desk lmf__at_desk_at(const lmf__at_tile *t, int64_t n_q, float *p)
{
    lmf__at_desk d = { .room = lmf__at_room_at(t, p) };
    d.q = p + lmf__at_room_floats(t, n_q), d.o = d.q + n_q * t->cp, d.o2 = d.o + n_q * t->cp, d.m = d.o2 + n_q * t->cp;
    d.l = d.m + n_q, d.m2 = d.l + n_q, d.l2 = d.m2 + n_q;
    return d;
}
static inline void lmf__at_write(const lmf__at_tile *t, const float *l, const float *o, float *out, int64_t stride)
{
    for (int64_t i = 0; i < t->n; i++)
        for (int64_t j = 0; j < t->g; j++, o += t->cp, l++) {
            float by = 1 / *l;
            for (int64_t e = 0; e < t->c; e++)
                out[i * stride + j * t->c + e] = o[e] * by;
        }
}

/* ---- work for workers: tasks in order, each to the worker in whose part of the whole cost its middle lies ---- */
typedef struct lmf__at_share { double total, at; int i_worker, n_workers; } lmf__at_share;
static inline bool lmf__at_mine(lmf__at_share *s, double cost)
{
    int64_t to = s->total > 0 ? (int64_t)((s->at + cost / 2) / s->total * s->n_workers) : 0;
    s->at += cost;
    return lmf__at_min(to, s->n_workers - 1) == s->i_worker;
}

/* ---- sequences of a training batch ---- */

/* Rows [*begin, *end) of sequence s, within the batch; rows that say otherwise are cut off behind. */
static inline void lmf__at_segment(const lmf_view *seq, const lmf_view *q_start, int64_t s, int64_t *begin, int64_t *end)
{
    const int32_t *of = seq->data, *start = q_start->data;
    *begin = lmf__at_min(lmf__at_max(start[s], 0), seq->dim[0]);
    *end = lmf__at_min(start[s + 1], seq->dim[0]);
    while (*end > *begin && of[*end - 1] != s)
        --*end;
}
/* Whether row t belongs to no sequence: its outputs are zero. */
static inline bool lmf__at_dead(const lmf_view *seq, const lmf_view *q_start, int64_t t)
{
    const int32_t *start = q_start->data;
    int64_t s = ((const int32_t *)seq->data)[t];
    return s < 0 || s + 1 >= q_start->dim[0] || t < start[s] || t >= start[s + 1];
}

#endif
