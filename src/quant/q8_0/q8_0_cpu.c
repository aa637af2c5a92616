/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q8_0/q8_0.h"
#include "quant/dot_avx2.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q8_0 *p = (const lmf_q8_0 *)w + i;
    lmf_ahead256(p);
    return (lmf_block256){ _mm256_loadu_si256((const __m256i *)(const void *)p->qs), lmf_half256(p->d), _mm_setzero_ps() };
}
#endif
LMF_FORMAT_CODE_256(signed, load, signed, load)
LMF_FORMAT_ROWS(q8_0) = LMF_ROWS_256(LMF_Q8_0);
