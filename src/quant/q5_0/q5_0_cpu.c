/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: as in q4_0, the dot takes q unsigned and -16 d as an offset; unpacking takes q - 16. */
#include "quant/q5_0/q5_0.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
LMF_INLINE __m256i codes(const lmf_q5_0 *p) { return _mm256_or_si256(lmf_nibbles256(p->qs), lmf_bits256(p->qh, 16)); }
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
