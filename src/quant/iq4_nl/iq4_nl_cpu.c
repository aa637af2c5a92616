/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a nibble becomes its level by one shuffle; levels are signed, so the dot moves the sign to x. */
#include "quant/iq4_nl/iq4_nl.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_iq4_nl *p = (const lmf_iq4_nl *)w + i;
    lmf_ahead256(p);
    const __m256i level = _mm256_broadcastsi128_si256(_mm_setr_epi8(LMF_IQ4_NL_LEVELS));
    return (lmf_block256){ _mm256_shuffle_epi8(level, lmf_nibbles256(p->qs)), lmf_half256(p->d), _mm_setzero_ps() };
}
#endif
LMF_FORMAT_CODE_256(signed, load, signed, load)
LMF_FORMAT_ROWS(iq4_nl) = LMF_ROWS_256(LMF_IQ4_NL);
