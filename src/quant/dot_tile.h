/* SPDX-License-Identifier: Apache-2.0 */
/* dot_tile: dots of 16 weight rows at once, a lane of a vector each (AVX2: two times 8). Blocks are turned on the way, so that
 * 4 neighbours of k of all rows lie in one vector, and meet 4 bytes of an activation row in all lanes: no sum crosses lanes, a block's
 * scales are applied to all rows at once, and a block that has been unpacked serves up to 8 activation rows.
 *
 * Rule: an integer sum over a block (or half of it) is exact; blocks are added in order, each by one fma. So a lane's bits depend on its
 * weight row and its activation row alone, and rows with and without VNNI give the same. Loader and multiplier are constant function
 * pointers, as in dot_avx2.h. */
#ifndef LMF_QUANT_DOT_TILE_H
#define LMF_QUANT_DOT_TILE_H
#include "quant/dot_avx2.h"
#ifdef __AVX2__

#ifdef __AVX512F__
enum { LMF_TILE_LANES = 16 };
typedef __m512i lmf_ti;
typedef __m512  lmf_tf;
#define LMF_TI(op) _mm512_##op
#define LMF_TI_ZERO _mm512_setzero_si512
#define LMF_TI_AND _mm512_and_si512
#define LMF_TI_OR _mm512_or_si512
#define LMF_TI_XOR _mm512_xor_si512
LMF_INLINE lmf_ti lmf_tile_load(const uint8_t *p, size_t stride) /* 16 bytes of rows 0, 4, 8, 12 */
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)p));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 4 * stride)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 8 * stride)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 12 * stride)), 3);
}
LMF_INLINE lmf_tf lmf_tile_half(lmf_ti v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); } /* f16 in the lower half of a lane */
LMF_INLINE lmf_ti lmf_tile_bytes(const __m128i table) { return _mm512_broadcast_i32x4(table); }
#else
enum { LMF_TILE_LANES = 8 };
typedef __m256i lmf_ti;
typedef __m256  lmf_tf;
#define LMF_TI(op) _mm256_##op
#define LMF_TI_ZERO _mm256_setzero_si256
#define LMF_TI_AND _mm256_and_si256
#define LMF_TI_OR _mm256_or_si256
#define LMF_TI_XOR _mm256_xor_si256
LMF_INLINE lmf_ti lmf_tile_load(const uint8_t *p, size_t stride) /* 16 bytes of rows 0 and 4 */
{
    __m256i v = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_inserti128_si256(v, _mm_loadu_si128((const __m128i *)(const void *)(p + 4 * stride)), 1);
}
LMF_INLINE lmf_tf lmf_tile_half(lmf_ti v)
{
    v = _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)), v);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(_mm256_permute4x64_epi64(v, 0x08)));
}
LMF_INLINE lmf_ti lmf_tile_bytes(const __m128i table) { return _mm256_broadcastsi128_si256(table); }
#endif

typedef lmf_ti (*lmf_tile_mul)(lmf_ti sum, lmf_ti u, lmf_ti s); /* sum + 4 products u8 * s8 a lane */

#ifdef __AVX512F__
LMF_TARGET_AVX512VNNI static inline lmf_ti lmf_tile_mul_avx512vnni(lmf_ti sum, lmf_ti u, lmf_ti s)
{
    return _mm512_dpbusd_epi32(sum, u, s);
}
#else
LMF_TARGET_AVXVNNI static inline lmf_ti lmf_tile_mul_avxvnni(lmf_ti sum, lmf_ti u, lmf_ti s)
{
    return _mm256_dpbusd_avx_epi32(sum, u, s);
}
LMF_INLINE lmf_ti lmf_tile_mul_avx2(lmf_ti sum, lmf_ti u, lmf_ti s) /* u <= 129 */
{
    return _mm256_add_epi32(sum, lmf_mul256_avx2(u, s));
}
#endif

/* 16 bytes of each row: v[c] is the c-th 4 of all rows. */
LMF_INLINE void lmf_tile_turn(const uint8_t *p, size_t stride, lmf_ti v[4])
{
    lmf_ti r0 = lmf_tile_load(p, stride), r1 = lmf_tile_load(p + stride, stride);
    lmf_ti r2 = lmf_tile_load(p + 2 * stride, stride), r3 = lmf_tile_load(p + 3 * stride, stride);
    lmf_ti a = LMF_TI(unpacklo_epi32)(r0, r1), b = LMF_TI(unpacklo_epi32)(r2, r3);
    lmf_ti c = LMF_TI(unpackhi_epi32)(r0, r1), d = LMF_TI(unpackhi_epi32)(r2, r3);
    v[0] = LMF_TI(unpacklo_epi64)(a, b), v[1] = LMF_TI(unpackhi_epi64)(a, b);
    v[2] = LMF_TI(unpacklo_epi64)(c, d), v[3] = LMF_TI(unpackhi_epi64)(c, d);
}
/* The first 4 of the 16 bytes at p of each row. */
LMF_INLINE lmf_ti lmf_tile_word(const uint8_t *p, size_t stride)
{
    lmf_ti a = LMF_TI(unpacklo_epi32)(lmf_tile_load(p, stride), lmf_tile_load(p + stride, stride));
    lmf_ti b = LMF_TI(unpacklo_epi32)(lmf_tile_load(p + 2 * stride, stride), lmf_tile_load(p + 3 * stride, stride));
    return LMF_TI(unpacklo_epi64)(a, b);
}
/* 16 bytes of nibbles of each row: q[c] is elements 4c .. 4c + 3, low nibbles first. */
LMF_INLINE void lmf_tile_nibbles(const uint8_t *p, size_t stride, lmf_ti q[8])
{
    const lmf_ti low = LMF_TI(set1_epi8)(15);
    lmf_tile_turn(p, stride, q);
    for (int c = 0; c < 4; c++) {
        q[4 + c] = LMF_TI_AND(LMF_TI(srli_epi16)(q[c], 4), low);
        q[c] = LMF_TI_AND(q[c], low);
    }
}

/* Bits 4c .. 4c + 3 of each row's word h as bytes: `one` where a bit is set, else 0. */
LMF_INLINE lmf_ti lmf_tile_bits(lmf_ti h, const int c, int one)
{
    const int b = c / 2;
    const __m128i at = _mm_setr_epi8(b, b, b, b, 4 + b, 4 + b, 4 + b, 4 + b, 8 + b, 8 + b, 8 + b, 8 + b, 12 + b, 12 + b, 12 + b, 12 + b);
    const lmf_ti own = LMF_TI(set1_epi32)(c & 1 ? (int)0x80402010 : 0x08040201);
    h = LMF_TI(shuffle_epi8)(h, lmf_tile_bytes(at));
#ifdef __AVX512F__
    return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(h, own), _mm512_set1_epi8((char)one));
#else
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(h, own), own), _mm256_set1_epi8((char)one));
#endif
}

typedef struct lmf_tile {
    lmf_ti q[8]; /* codes of 32 elements, 0 .. 255 (AVX2 without VNNI: .. 127), 4 a vector */
    lmf_tf d, m; /* scale; offset, for formats that have one */
} lmf_tile;
typedef void (*lmf_tile_from)(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t); /* i-th group of 32 of the rows from w on */

LMF_INLINE lmf_ti lmf_tile_four(const void *p) /* 4 bytes in all lanes */
{
    int32_t x;
    memcpy(&x, p, 4);
    return LMF_TI(set1_epi32)(x);
}
/* Adds one group. w = d * (q - center), center a constant; or, center < 0, w = d * q + m. */
LMF_INLINE void lmf_tile_step(const lmf_tile *t, lmf_tile_mul mul, const int center, const lmf_act *x, int64_t x_stride, const int n,
                              lmf_tf *acc, lmf_tf *off)
{
#pragma GCC unroll 8
    for (int j = 0; j < n; j++, x += x_stride) {
        lmf_ti s = LMF_TI_ZERO(), r = s;
        if (center >= 0)
            r = LMF_TI(madd_epi16)(LMF_TI(set1_epi16)((int16_t)-center), lmf_tile_four(x->sum));
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            s = mul(s, t->q[c], lmf_tile_four(x->q + 4 * c));
            r = mul(r, t->q[4 + c], lmf_tile_four(x->q + 16 + 4 * c));
        }
        acc[j] = LMF_TI(fmadd_ps)(LMF_TI(cvtepi32_ps)(LMF_TI(add_epi32)(s, r)), LMF_TI(mul_ps)(t->d, LMF_TI(set1_ps)(x->d)), acc[j]);
        if (center < 0)
            off[j] = LMF_TI(fmadd_ps)(t->m, LMF_TI(set1_ps)(x->s), off[j]);
    }
}
/* Asks for the rows behind these, as far as group i of `bytes` each has come. */
LMF_INLINE void lmf_tile_ahead(const uint8_t *w, size_t stride, int64_t i, const int bytes)
{
    const uintptr_t p = (uintptr_t)w + LMF_TILE_LANES * (stride + (size_t)i * (size_t)bytes);
    for (int at = 0; at < LMF_TILE_LANES * bytes; at += 64)
        _mm_prefetch((const char *)(p + (uintptr_t)at), _MM_HINT_T0);
}
LMF_INLINE void lmf_tile_dots(lmf_tile_from from, lmf_tile_mul mul, const int center, const int bytes, const uint8_t *w, size_t stride,
                              const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out)
{
    lmf_tf acc[8], off[8];
    for (int j = 0; j < n; j++)
        acc[j] = off[j] = LMF_TI(setzero_ps)();
    for (int64_t i = 0; i < k / 32; i++) {
        lmf_tile t;
        lmf_tile_ahead(w, stride, i, bytes);
        from(w, stride, i, &t);
        lmf_tile_step(&t, mul, center, x + i, x_stride, n, acc, off);
    }
    for (int j = 0; j < n; j++)
        LMF_TI(storeu_ps)(out + j * LMF_TILE, center < 0 ? LMF_TI(add_ps)(acc[j], off[j]) : acc[j]);
}

typedef void (*lmf_tile_kernel)(lmf_tile_mul mul, const uint8_t *w, size_t stride, const lmf_act *x, int64_t x_stride, const int n,
                                int64_t k, float *out);
/* n_x 1 .. 8 as calls whose n is a constant; AVX2 has registers for 4. */
LMF_INLINE void lmf_tile_run(lmf_tile_kernel kernel, lmf_tile_mul mul, const void *rows, size_t stride, const lmf_act *x,
                             int64_t x_stride, int n_x, int64_t k, float *out)
{
    for (int lane = 0; lane < LMF_TILE; lane += LMF_TILE_LANES) {
        const uint8_t *w = (const uint8_t *)rows + (size_t)lane * stride;
        const lmf_act *a = x;
        float *y = out + lane;
        int n = n_x;
        if (LMF_TILE_LANES == 16 && n == 8)
            kernel(mul, w, stride, a, x_stride, 8, k, y), n = 0;
        for (; n >= 4; n -= 4, a += 4 * x_stride, y += 4 * LMF_TILE)
            kernel(mul, w, stride, a, x_stride, 4, k, y);
        switch (n) {
        case 3: kernel(mul, w, stride, a, x_stride, 3, k, y); break;
        case 2: kernel(mul, w, stride, a, x_stride, 2, k, y); break;
        case 1: kernel(mul, w, stride, a, x_stride, 1, k, y); break;
        default: break;
        }
    }
}

/* What <name>_cpu.c says beside LMF_FORMAT_CODE_256: center as in lmf_tile_step, bytes of a group. A format with a kernel of its own writes
 * LMF_FORMAT_TILES(kernel) instead. _VNNI: codes above 127, which only those rows can multiply; then LMF_ROWS_256_VNNI. */
#define LMF_FORMAT_TILE(from, center, bytes) LMF__TILE_KERNEL(from, center, bytes) LMF_FORMAT_TILES(tile_kernel)
#define LMF_FORMAT_TILE_VNNI(from, center, bytes) LMF__TILE_KERNEL(from, center, bytes) LMF__TILES_VNNI(tile_kernel)
#define LMF__TILE_KERNEL(from, center, bytes)                                                                           \
    LMF_INLINE void tile_kernel(lmf_tile_mul mul, const uint8_t *w, size_t stride, const lmf_act *x, int64_t x_stride, \
                                const int n, int64_t k, float *out)                                                    \
    {                                                                                                                  \
        lmf_tile_dots(from, mul, center, bytes, w, stride, x, x_stride, n, k, out);                                    \
    }
#define LMF__TILES(kernel, suffix)                                                                                     \
    static void tile_##suffix(const void *w, size_t row_bytes, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out) \
    {                                                                                                                  \
        lmf_tile_run(kernel, lmf_tile_mul_##suffix, w, row_bytes, x, x_stride, n_x, k, out);                           \
    }
#ifdef __AVX512F__
#define LMF__TILES_VNNI(kernel) LMF_TARGET_AVX512VNNI LMF__TILES(kernel, avx512vnni)
#define LMF_FORMAT_TILES LMF__TILES_VNNI
#else
#define LMF__TILES_VNNI(kernel) LMF_TARGET_AVXVNNI LMF__TILES(kernel, avxvnni)
#define LMF_FORMAT_TILES(kernel) LMF__TILES_VNNI(kernel) LMF__TILES(kernel, avx2)
#endif
#else
#define LMF_FORMAT_TILE(from, center, bytes)
#define LMF_FORMAT_TILE_VNNI(from, center, bytes)
#define LMF_FORMAT_TILES(kernel)
#endif

#endif
