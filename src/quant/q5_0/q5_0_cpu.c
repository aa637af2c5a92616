/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: as in q4_0, the dot takes q unsigned and -16 d as an offset; unpacking takes q - 16. */
#include "quant/q5_0/q5_0.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
LMF_INLINE __m256i codes(const lmf_q5_0 *p)
{
    uint32_t h;
    memcpy(&h, p->qh, 4);
    const __m256i byte_of = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit_of = _mm256_set1_epi64x((int64_t)0x8040201008040201);
    __m256i own = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32((int)h), byte_of), bit_of);
    __m256i set = _mm256_and_si256(_mm256_cmpeq_epi8(own, bit_of), _mm256_set1_epi8(16));
    return _mm256_or_si256(lmf_nibbles256(p->qs), set);
}
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q5_0 *p = (const lmf_q5_0 *)w + i;
    lmf_ahead256(p);
    __m256 d = lmf_half256(p->d);
    return (lmf_block256){ codes(p), d, _mm_mul_ps(_mm256_castps256_ps128(d), _mm_setr_ps(1, -16, 0, 0)) };
}
LMF_INLINE lmf_block256 load_signed(const void *w, int64_t i)
{
    const lmf_q5_0 *p = (const lmf_q5_0 *)w + i;
    return (lmf_block256){ _mm256_sub_epi8(codes(p), _mm256_set1_epi8(16)), lmf_half256(p->d), _mm_setzero_ps() };
}
#endif
LMF_FORMAT_CODE_256(offset, load, signed, load_signed)
LMF_FORMAT_ROWS(q5_0) = LMF_ROWS_256(LMF_Q5_0);
