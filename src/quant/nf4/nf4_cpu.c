/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/nf4/nf4.h"
#include "device/kernel.h"
#include "quant/block.h"
#ifdef __AVX2__
#include <immintrin.h>

/* Eight elements of a block: each lane has the same four bytes and takes its own nibble, the higher one first. */
LMF_INLINE __m256 levels8(const uint8_t *qs, __m256 low, __m256 high)
{
    int32_t four;
    __builtin_memcpy(&four, qs, sizeof four);
    __m256i q = _mm256_srlv_epi32(_mm256_set1_epi32(four), _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24));
    __m256 a = _mm256_permutevar8x32_ps(low, q), b = _mm256_permutevar8x32_ps(high, q); /* by the lowest three bits */
    return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(q, 28)));       /* by the fourth */
}

static void unpack(const void *src, float *dst, int64_t n)
{
    const lmf_nf4 *p = src;
    __m256 low = _mm256_loadu_ps(lmf_nf4_levels), high = _mm256_loadu_ps(lmf_nf4_levels + 8);
    for (int64_t i = 0; i < n / LMF_NF4_BLOCK; i++, p++, dst += LMF_NF4_BLOCK) {
        __m256 d = _mm256_set1_ps(lmf_nf4_scale(p));
        for (int e = 0; e < 32; e += 4)
            _mm256_storeu_ps(dst + 2 * e, _mm256_mul_ps(d, levels8(p->qs + e, low, high)));
    }
}
LMF_FORMAT_ROWS(nf4) = { { LMF_NF4, LMF_ISA_NEEDS, unpack, NULL }, { 0 } };
#else
LMF_FORMAT_ROWS(nf4) = { { 0 } };
#endif
