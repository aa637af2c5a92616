/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q5_1/q5_1.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q5_1 *p = (const lmf_q5_1 *)w + i;
    lmf_ahead256(p);
    __m128 dm = _mm_cvtph_ps(_mm_loadu_si32(p)); /* d and m lie side by side */
    __m256i q = _mm256_or_si256(lmf_nibbles256(p->qs), lmf_bits256(p->qh, 16));
    return (lmf_block256){ q, _mm256_broadcastss_ps(dm), dm };
}
#endif
LMF_FORMAT_CODE_256(offset, load, offset, load)
LMF_FORMAT_ROWS(q5_1) = LMF_ROWS_256(LMF_Q5_1);
