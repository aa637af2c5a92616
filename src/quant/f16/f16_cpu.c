/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: same values as f16.c; 8 at a time by the F16C instruction, the rest one by one. */
#include "base/half.h"
#include "device/kernel.h"

#if defined(__AVX2__) && !defined(__AVX512F__)
#include <immintrin.h>
static void unpack_avx2(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 2 * i))));
    for (; i < n; i++)
        dst[i] = lmf_f16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}
#endif

LMF_FORMAT_ROWS(f16) = {
#if defined(__AVX2__) && !defined(__AVX512F__) /* the level avx512 falls through to this row */
    { LMF_F16, LMF_ISA_NEEDS, unpack_avx2, NULL },
#endif
    { 0 } };
