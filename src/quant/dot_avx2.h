/* SPDX-License-Identifier: Apache-2.0 */
/* dot_avx2: the fast dot and unpack that the block formats share; a format gives only its loader. Compiled in
 * <name>_cpu.c at the levels avx2 and avx512. VNNI rows sum the same integers, so all fast rows give the same bits.
 * They differ from the reference's bits, which adds blocks in f64: here 8 lanes of f32, blocks in order.
 *
 * Rule: what happens to one activation row must not depend on n_x. Each has its own accumulator, and takes the blocks
 * in order. Loader and multiplier come in as constant function pointers, which the compiler folds into each kernel. */
#ifndef LMF_QUANT_DOT_AVX2_H
#define LMF_QUANT_DOT_AVX2_H
#include "device/kernel.h"
#include "quant/block.h"
#ifdef __AVX2__
#include <immintrin.h>

typedef struct lmf_block256 { /* 32 weights */
    __m256i q;                /* codes in order: signed, or 0 .. 127 for the kind offset */
    __m256  d;                /* scale of 4 weights a lane */
    __m128  dm;               /* lanes 0 and 1: d and offset, for the kind offset alone; others hold anything */
} lmf_block256;
typedef lmf_block256 (*lmf_load256)(const void *w, int64_t i); /* i-th group of 32 of the row that begins at w */
typedef __m256i (*lmf_mul256)(__m256i u, __m256i s);

/* 8 sums of 4 products u8 * s8. Exact while no pair passes 32767, that is for u <= 129, as |s| <= 127. */
LMF_INLINE __m256i lmf_mul256_avx2(__m256i u, __m256i s)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
}
#define LMF_TARGET_AVXVNNI __attribute__((target("avxvnni")))
LMF_TARGET_AVXVNNI static inline __m256i lmf_mul256_avxvnni(__m256i u, __m256i s)
{
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, s);
}
#ifdef __AVX512F__
#define LMF_TARGET_AVX512VNNI __attribute__((target("avx512vnni")))
LMF_TARGET_AVX512VNNI static inline __m256i lmf_mul256_avx512vnni(__m256i u, __m256i s)
{
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s);
}
#endif

LMF_INLINE float lmf_sum256(__m256 v)
{
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
/* Asks for the weights that come 2 KiB later, over the row's end into the next: measured, 10 to 30 % from memory. */
LMF_INLINE void lmf_ahead256(const void *p) { _mm_prefetch((const char *)((uintptr_t)p + 2048), _MM_HINT_T0); }
/* 16 bytes of nibbles: low ones are codes 0 .. 15, high ones 16 .. 31. */
LMF_INLINE __m256i lmf_nibbles256(const uint8_t *p)
{
    __m128i b = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(b, 4), b), _mm256_set1_epi8(15));
}
/* 32 bits at p as bytes: `one` where bit e is set, else 0. */
LMF_INLINE __m256i lmf_bits256(const uint8_t *p, int one)
{
    uint32_t h;
    memcpy(&h, p, 4);
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i own = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)h), byte_of), bit_of);
    return _mm256_and_si256(_mm256_cmpeq_epi8(own, bit_of), _mm256_set1_epi8((char)one));
}
LMF_INLINE __m256 lmf_half256(const uint8_t *p) /* f16 in all lanes */
{
    uint16_t h;
    memcpy(&h, p, 2);
    return _mm256_cvtph_ps(_mm_set1_epi16((short)h));
}

/* Adds one block to the sums of n activation rows that begin at a. w = d * q, q signed: |q| times x with q's sign. */
LMF_INLINE void lmf_step256_signed(lmf_block256 b, lmf_mul256 mul, const lmf_act *a, int64_t x_stride, const int n, __m256 *acc, __m128 *off)
{
    (void)off;
    __m256i u = _mm256_abs_epi8(b.q);
    for (int j = 0; j < n; j++, a += x_stride) {
        __m256i p = mul(u, _mm256_sign_epi8(_mm256_loadu_si256((const __m256i *)(const void *)a->q), b.q));
        acc[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), _mm256_mul_ps(b.d, _mm256_broadcast_ss(&a->d)), acc[j]);
    }
}
/* w = d * q + m, q unsigned: one multiply gives d * a.d and m * a.s, whose sum grows in lane 1 of off (measured: a fused
 * add of m * a.s alone is slower). */
LMF_INLINE void lmf_step256_offset(lmf_block256 b, lmf_mul256 mul, const lmf_act *a, int64_t x_stride, const int n, __m256 *acc, __m128 *off)
{
    for (int j = 0; j < n; j++, a += x_stride) {
        __m256i p = mul(b.q, _mm256_loadu_si256((const __m256i *)(const void *)a->q));
        __m128 ds = _mm_mul_ps(b.dm, _mm_castsi128_ps(_mm_loadu_si64(&a->d)));
        acc[j] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p), _mm256_broadcastss_ps(ds), acc[j]);
        off[j] = _mm_add_ps(off[j], ds);
    }
}

typedef void (*lmf_step256)(lmf_block256 b, lmf_mul256 mul, const lmf_act *a, int64_t x_stride, const int n, __m256 *acc, __m128 *off);
LMF_INLINE void lmf_dot256_n(lmf_step256 step, lmf_load256 load, lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out)
{
    __m256 acc[4];
    __m128 off[4];
    for (int j = 0; j < n; j++)
        acc[j] = _mm256_setzero_ps(), off[j] = _mm_setzero_ps();
    for (int64_t i = 0; i < k / 32; i++)
        step(load(w, i), mul, x + i, x_stride, n, acc, off);
    for (int j = 0; j < n; j++)
        out[j] = lmf_sum256(acc[j]) + _mm_cvtss_f32(_mm_movehdup_ps(off[j]));
}
/* The dot of n activation rows, n 1, 2 or 4 and constant where it is called. */
typedef void (*lmf_kernel256)(lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out);
/* Rows go four at a time: more sums than that leave the registers. */
LMF_INLINE void lmf_dot256(lmf_kernel256 kernel, lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    for (; n_x >= 4; n_x -= 4, x += 4 * x_stride, out += 4)
        kernel(mul, w, x, x_stride, 4, k, out);
    if (n_x >= 2) {
        kernel(mul, w, x, x_stride, 2, k, out);
        n_x -= 2, x += 2 * x_stride, out += 2;
    }
    if (n_x)
        kernel(mul, w, x, x_stride, 1, k, out);
}

/* 8 codes, from byte 8 * part on, as f32. */
LMF_INLINE __m256 lmf_codes256(__m256i q, const int part)
{
    __m128i h = part < 2 ? _mm256_castsi256_si128(q) : _mm256_extracti128_si256(q, 1);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(part & 1 ? _mm_srli_si128(h, 8) : h));
}
LMF_INLINE void lmf_unpack256_signed(lmf_load256 load, const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++, dst += 32) {
        lmf_block256 b = load(src, i);
        __m256 lo = _mm256_permute2f128_ps(b.d, b.d, 0x00), hi = _mm256_permute2f128_ps(b.d, b.d, 0x11);
        for (int part = 0; part < 4; part++)
            _mm256_storeu_ps(dst + 8 * part, _mm256_mul_ps(lmf_codes256(b.q, part), part < 2 ? lo : hi));
    }
}
/* d and q have at most 24 bits together, so d * q is exact and the fma rounds as multiply and add do. */
LMF_INLINE void lmf_unpack256_offset(lmf_load256 load, const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++, dst += 32) {
        lmf_block256 b = load(src, i);
        __m256 m = _mm256_broadcastss_ps(_mm_movehdup_ps(b.dm));
        for (int part = 0; part < 4; part++)
            _mm256_storeu_ps(dst + 8 * part, _mm256_fmadd_ps(lmf_codes256(b.q, part), b.d, m));
    }
}

/* What <name>_cpu.c says after its loaders, for the dot and for unpacking; a kind is signed or offset:
 *
 *     LMF_FORMAT_CODE_256(offset, load, offset, load)
 *     LMF_FORMAT_ROWS(q4_1) = LMF_ROWS_256(LMF_Q4_1);
 *
 * A format with a kernel of its own writes LMF_FORMAT_UNPACK_256(kind, load) LMF_FORMAT_DOTS_256(kernel) instead. */
#define LMF_FORMAT_CODE_256(kind, load, kind_unpack, load_unpack)                                                      \
    LMF_INLINE void kernel256(lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out) \
    {                                                                                                                  \
        lmf_dot256_n(lmf_step256_##kind, load, mul, w, x, x_stride, n, k, out);                                        \
    }                                                                                                                  \
    LMF_FORMAT_UNPACK_256(kind_unpack, load_unpack)                                                                    \
    LMF_FORMAT_DOTS_256(kernel256)
#define LMF__DOT_256(kernel, suffix)                                                                                   \
    static void dot_##suffix(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)        \
    {                                                                                                                  \
        lmf_dot256(kernel, lmf_mul256_##suffix, w, x, x_stride, n_x, k, out);                                          \
    }
#ifdef __AVX512F__
#define LMF_FORMAT_UNPACK_256(kind, load)
#define LMF_FORMAT_DOTS_256(kernel) LMF_TARGET_AVX512VNNI LMF__DOT_256(kernel, avx512vnni)
#define LMF_ROWS_256(type) { { type, LMF_ISA_NEEDS | LMF_CPU_AVX512_VNNI, NULL, dot_avx512vnni, tile_avx512vnni }, { 0 } }
#define LMF_ROWS_256_VNNI LMF_ROWS_256
#else
#define LMF_FORMAT_UNPACK_256(kind, load)                                                                              \
    static void unpack_avx2(const void *src, float *dst, int64_t n)                                                    \
    {                                                                                                                  \
        lmf_unpack256_##kind(load, src, dst, n);                                                                       \
    }
#define LMF_FORMAT_DOTS_256(kernel) LMF_TARGET_AVXVNNI LMF__DOT_256(kernel, avxvnni) LMF__DOT_256(kernel, avx2)
#define LMF_ROWS_256(type) LMF__ROWS_256(type, tile_avx2)
#define LMF_ROWS_256_VNNI(type) LMF__ROWS_256(type, NULL) /* codes above 127: no tile without VNNI */
#define LMF__ROWS_256(type, tile)                                                                                      \
    { { type, LMF_ISA_NEEDS | LMF_CPU_AVXVNNI, unpack_avx2, dot_avxvnni, tile_avxvnni },                               \
      { type, LMF_ISA_NEEDS, unpack_avx2, dot_avx2, tile }, { 0 } }
#endif
#else
#define LMF_FORMAT_CODE_256(kind, load, kind_unpack, load_unpack)
#define LMF_FORMAT_UNPACK_256(kind, load)
#define LMF_FORMAT_DOTS_256(kernel)
#define LMF_ROWS_256(type) { { 0 } }
#define LMF_ROWS_256_VNNI(type) { { 0 } }
#endif

#endif
