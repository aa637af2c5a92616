/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: same bits as bf16.c, NaN included: widening is a shift. */
#include "base/half.h"
#include "device/kernel.h"

#if defined(__AVX2__) && !defined(__AVX512F__)
#include <immintrin.h>
static void unpack_avx2(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i u = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(p + 2 * i)));
        _mm256_storeu_ps(dst + i, _mm256_castsi256_ps(_mm256_slli_epi32(u, 16)));
    }
    for (; i < n; i++)
        dst[i] = lmf_bf16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}
#endif

LMF_FORMAT_ROWS(bf16) = {
#if defined(__AVX2__) && !defined(__AVX512F__) /* the level avx512 falls through to this row */
    { LMF_BF16, LMF_ISA_NEEDS, unpack_avx2, NULL },
#endif
    { 0 } };
