/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a lane of products covers 4 elements, so lanes 0 .. 3 take the scale of the first 16 elements and lanes 4 .. 7
 * that of the rest: d of a block256 holds both. d * scale is exact in f32. */
#include "quant/q6_k/q6_k.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
/* Row r of half h; s: d * scale of that half's eight groups. */
LMF_INLINE lmf_block256 row_of(const lmf_q6_k *p, int h, const int r, __m256 s)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(p->ql + 64 * h + 32 * (r % 2)));
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(p->qh + 32 * h));
    low = _mm256_and_si256(r < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    high = r == 0 ? _mm256_slli_epi16(high, 4) : r == 1 ? _mm256_slli_epi16(high, 2) : r == 2 ? high : _mm256_srli_epi16(high, 2);
    high = _mm256_and_si256(high, _mm256_set1_epi8(48)); /* bits 2r and 2r+1 now in places 4 and 5 */
    __m256i q = _mm256_sub_epi8(_mm256_or_si256(low, high), _mm256_set1_epi8(32));
    __m256i first = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    return (lmf_block256){ q, _mm256_permutevar8x32_ps(s, _mm256_add_epi32(first, _mm256_set1_epi32(2 * r))), _mm_setzero_ps() };
}
LMF_INLINE __m256 scales_of(const lmf_q6_k *p, int h)
{
    __m128i b = _mm_loadl_epi64((const __m128i *)(const void *)(p->scale + 8 * h));
    return _mm256_mul_ps(lmf_half256(p->d), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(b)));
}

LMF_INLINE void kernel(lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out)
{
    __m256 acc[4];
    for (int j = 0; j < n; j++)
        acc[j] = _mm256_setzero_ps();
    for (int64_t i = 0; i < k / 128; i++, x += 4) {
        const lmf_q6_k *p = (const lmf_q6_k *)w + i / 2;
        int h = i & 1;
        lmf_ahead256(p->ql + 105 * h);
        lmf_ahead256(p->ql + 105 * h + 64);
        __m256 s = scales_of(p, h);
        lmf_step256_signed(row_of(p, h, 0, s), mul, x, x_stride, n, acc, NULL);
        lmf_step256_signed(row_of(p, h, 1, s), mul, x + 1, x_stride, n, acc, NULL);
        lmf_step256_signed(row_of(p, h, 2, s), mul, x + 2, x_stride, n, acc, NULL);
        lmf_step256_signed(row_of(p, h, 3, s), mul, x + 3, x_stride, n, acc, NULL);
    }
    for (int j = 0; j < n; j++)
        out[j] = lmf_sum256(acc[j]);
}

LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q6_k *p = (const lmf_q6_k *)w + i / 8;
    int h = (int)(i % 8) / 4;
    __m256 s = scales_of(p, h);
    switch (i % 4) {
    case 0:  return row_of(p, h, 0, s);
    case 1:  return row_of(p, h, 1, s);
    case 2:  return row_of(p, h, 2, s);
    default: return row_of(p, h, 3, s);
    }
}
#endif
LMF_FORMAT_UNPACK_256(signed, load)
LMF_FORMAT_DOTS_256(kernel)
LMF_FORMAT_ROWS(q6_k) = LMF_ROWS_256(LMF_Q6_K);
