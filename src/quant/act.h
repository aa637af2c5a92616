/* SPDX-License-Identifier: Apache-2.0 */
/* act: activations to lmf_act, for the integer dots of the block formats.
 *
 *     d = amax / 127,  q = round-to-nearest-even(x * (127 / amax)),  s = d * sum(q),  over blocks of 32
 * and sum[h], of q over the first and the last 16.
 *
 *   x    [k]       f32, k a multiple of 32
 *   out  [k / 32]
 * A block with an infinity or NaN gets d = s = NaN, q = 0, so that every dot with it is NaN: a broken layer shows.
 * A block whose amax is under 2^-100 becomes zero (127 / amax could overflow).
 * lmf_act_quantize is compiled for the ISA level of the including file; its bits are those of lmf_act_quantize_ref.
 * Error: |x - d * q| <= 0.5001 d. */
#ifndef LMF_QUANT_ACT_H
#define LMF_QUANT_ACT_H
#include "base/half.h"
#include "device/dtype.h"
#ifdef __AVX2__
#include <immintrin.h>
#endif

enum { LMF__ACT_INF = 0x7f800000, LMF__ACT_TINY = 0x0d800000 }; /* bits of infinity and of 2^-100 */

static inline void lmf__act_block_ref(const float *x, lmf_act *out)
{
    uint32_t top = 0;
    for (int e = 0; e < 32; e++) { /* of finite floats without sign, the greater has the greater bits */
        uint32_t u = lmf_f32_bits(x[e]) & 0x7fffffffu;
        top = u > top ? u : top;
    }
    if (top >= LMF__ACT_INF || top < LMF__ACT_TINY) {
        memset(out, 0, sizeof *out);
        if (top >= LMF__ACT_INF)
            out->d = out->s = lmf_bits_f32(0x7fc00000u);
        return;
    }
    float amax = lmf_bits_f32(top), scale = 127.0f / amax;
    int32_t sum[2] = { 0 };
    for (int e = 0; e < 32; e++) {
        int32_t q = (int32_t)(lmf_f32_bits(x[e] * scale + 0x1.8p23f) - 0x4b400000u); /* rounds to even, |q| < 2^22 */
        out->q[e] = (int8_t)q;
        sum[e / 16] += q;
    }
    out->d = amax / 127.0f;
    out->s = out->d * (float)(sum[0] + sum[1]);
    out->sum[0] = (int16_t)sum[0], out->sum[1] = (int16_t)sum[1];
}

static inline void lmf_act_quantize_ref(const float *x, lmf_act *out, int64_t k)
{
    for (int64_t i = 0; i < k / 32; i++)
        lmf__act_block_ref(x + 32 * i, out + i);
}

#ifdef __AVX2__
static inline void lmf_act_quantize(const float *x, lmf_act *out, int64_t k)
{
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff), order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int64_t i = 0; i < k / 32; i++, x += 32, out++) {
        __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8), c = _mm256_loadu_ps(x + 16), d = _mm256_loadu_ps(x + 24);
        __m256i t = _mm256_max_epu32(_mm256_max_epu32(_mm256_and_si256(_mm256_castps_si256(a), no_sign), _mm256_and_si256(_mm256_castps_si256(b), no_sign)),
                                     _mm256_max_epu32(_mm256_and_si256(_mm256_castps_si256(c), no_sign), _mm256_and_si256(_mm256_castps_si256(d), no_sign)));
        __m128i u = _mm_max_epu32(_mm256_castsi256_si128(t), _mm256_extracti128_si256(t, 1));
        u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0x4e));
        u = _mm_max_epu32(u, _mm_shuffle_epi32(u, 0xb1));
        uint32_t top = (uint32_t)_mm_cvtsi128_si32(u);
        if (top >= LMF__ACT_INF || top < LMF__ACT_TINY) {
            lmf__act_block_ref(x, out);
            continue;
        }
        float amax = lmf_bits_f32(top), step = amax / 127.0f;
        __m256 scale = _mm256_set1_ps(127.0f / amax);
        __m256i qa = _mm256_cvtps_epi32(_mm256_mul_ps(a, scale)), qb = _mm256_cvtps_epi32(_mm256_mul_ps(b, scale));
        __m256i qc = _mm256_cvtps_epi32(_mm256_mul_ps(c, scale)), qd = _mm256_cvtps_epi32(_mm256_mul_ps(d, scale));
        __m256i h = _mm256_hadd_epi32(_mm256_add_epi32(qa, qb), _mm256_add_epi32(qc, qd)); /* 2 sums of the first 16, 2 of the rest */
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        int32_t first = _mm_cvtsi128_si32(s), rest = _mm_extract_epi32(s, 2);
        __m256i q = _mm256_packs_epi16(_mm256_packs_epi32(qa, qb), _mm256_packs_epi32(qc, qd));
        _mm256_storeu_si256((__m256i *)out->q, _mm256_permutevar8x32_epi32(q, order));
        out->d = step;
        out->s = step * (float)(first + rest);
        out->sum[0] = (int16_t)first, out->sum[1] = (int16_t)rest;
    }
}
#else
static inline void lmf_act_quantize(const float *x, lmf_act *out, int64_t k) { lmf_act_quantize_ref(x, out, k); }
#endif

/* The same for code that is not compiled by level (tests, benches), from act_cpu.c. */
void lmf__act_quantize_scalar(const float *x, lmf_act *out, int64_t k);
void lmf__act_quantize_avx2(const float *x, lmf_act *out, int64_t k);   /* needs LMF_CPU_AVX2 */
void lmf__act_quantize_avx512(const float *x, lmf_act *out, int64_t k); /* needs LMF_CPU_AVX512 */

#endif
