/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a lane of products covers 4 elements, so lanes 0 .. 3 take the scale of the first 16 elements and lanes 4 .. 7
 * that of the rest: d of a block256 holds both. d * scale is exact in f32. */
#include "quant/q6_k/q6_k.h"
#include "quant/dot_tile.h"

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
/* One step of 32 whose halves have scales of their own, d[0] and d[1]. */
LMF_INLINE void step(const lmf_ti q[8], const lmf_tf d[2], lmf_tile_mul mul, const lmf_act *x, int64_t x_stride, const int n, lmf_tf *acc)
{
#pragma GCC unroll 8
    for (int j = 0; j < n; j++, x += x_stride) {
        lmf_ti sums = lmf_tile_four(x->sum);
        lmf_ti s = LMF_TI(madd_epi16)(LMF_TI(set1_epi32)(-32 & 0xffff), sums);
        lmf_ti r = LMF_TI(madd_epi16)(LMF_TI(set1_epi32)(-32 * 65536), sums);
        lmf_tf a = LMF_TI(set1_ps)(x->d);
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++) {
            s = mul(s, q[c], lmf_tile_four(x->q + 4 * c));
            r = mul(r, q[4 + c], lmf_tile_four(x->q + 16 + 4 * c));
        }
        acc[j] = LMF_TI(fmadd_ps)(LMF_TI(cvtepi32_ps)(s), LMF_TI(mul_ps)(d[0], a), acc[j]);
        acc[j] = LMF_TI(fmadd_ps)(LMF_TI(cvtepi32_ps)(r), LMF_TI(mul_ps)(d[1], a), acc[j]);
    }
}
/* Row r of half h for all lanes: its codes 0 .. 63. */
LMF_INLINE void tile_row(const uint8_t *p, size_t stride, int h, const int r, lmf_ti q[8])
{
    lmf_ti high[8];
    lmf_tile_turn(p + 64 * h + 32 * (r % 2), stride, q);
    lmf_tile_turn(p + 64 * h + 32 * (r % 2) + 16, stride, q + 4);
    lmf_tile_turn(p + 128 + 32 * h, stride, high);
    lmf_tile_turn(p + 128 + 32 * h + 16, stride, high + 4);
    for (int e = 0; e < 8; e++) {
        lmf_ti two = r < 2 ? LMF_TI(slli_epi16)(high[e], r ? 2 : 4) : r == 2 ? high[e] : LMF_TI(srli_epi16)(high[e], 2);
        q[e] = LMF_TI_AND(r < 2 ? q[e] : LMF_TI(srli_epi16)(q[e], 4), LMF_TI(set1_epi8)(15));
        q[e] = LMF_TI_OR(q[e], LMF_TI_AND(two, LMF_TI(set1_epi8)(48)));
    }
}
LMF_INLINE void tile_kernel(lmf_tile_mul mul, const uint8_t *w, size_t stride, const lmf_act *x, int64_t x_stride, const int n, int64_t k,
                            float *out)
{
    lmf_tf acc[8];
    for (int j = 0; j < n; j++)
        acc[j] = LMF_TI(setzero_ps)();
    for (int64_t i = 0; i < k / 256; i++) {
        const uint8_t *p = w + i * (int64_t)sizeof(lmf_q6_k);
        lmf_ti s[4], end[4]; /* scales; the last 16 bytes, whose last two are d */
        lmf_tile_turn(p + 192, stride, s);
        lmf_tile_turn(p + 194, stride, end);
        lmf_tf d = lmf_tile_half(LMF_TI(srli_epi32)(end[3], 16));
        for (int h = 0; h < 2; h++)
#pragma GCC unroll 4
            for (int r = 0; r < 4; r++, x++) {
                lmf_ti q[8], two = LMF_TI(slli_epi32)(s[2 * h + r / 2], r % 2 ? 0 : 16);
                lmf_tf by[2] = { LMF_TI(mul_ps)(d, LMF_TI(cvtepi32_ps)(LMF_TI(srai_epi32)(LMF_TI(slli_epi32)(two, 8), 24))),
                                 LMF_TI(mul_ps)(d, LMF_TI(cvtepi32_ps)(LMF_TI(srai_epi32)(two, 24))) };
                lmf_tile_ahead(w, stride, 8 * i + 4 * h + r, 27);
                tile_row(p, stride, h, r, q);
                step(q, by, mul, x, x_stride, n, acc);
            }
    }
    for (int j = 0; j < n; j++)
        LMF_TI(storeu_ps)(out + j * LMF_TILE, acc[j]);
}
#endif
LMF_FORMAT_UNPACK_256(signed, load)
LMF_FORMAT_DOTS_256(kernel)
LMF_FORMAT_TILES(tile_kernel)
LMF_FORMAT_ROWS(q6_k) = LMF_ROWS_256(LMF_Q6_K);
