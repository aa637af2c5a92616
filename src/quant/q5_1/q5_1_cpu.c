/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q5_1/q5_1.h"
#include "quant/dot_tile.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q5_1 *p = (const lmf_q5_1 *)w + i;
    lmf_ahead256(p);
    __m128 dm = _mm_cvtph_ps(_mm_loadu_si32(p)); /* d and m lie side by side */
    __m256i q = _mm256_or_si256(lmf_nibbles256(p->qs), lmf_bits256(p->qh, 16));
    return (lmf_block256){ q, _mm256_broadcastss_ps(dm), dm };
}
LMF_INLINE void tile(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t)
{
    const uint8_t *p = w + i * (int64_t)sizeof(lmf_q5_1);
    lmf_ti dm = lmf_tile_word(p, stride), high = lmf_tile_word(p + 4, stride);
    t->d = lmf_tile_half(dm), t->m = lmf_tile_half(LMF_TI(srli_epi32)(dm, 16));
    lmf_tile_nibbles(p + 8, stride, t->q);
    for (int c = 0; c < 8; c++)
        t->q[c] = LMF_TI_OR(t->q[c], lmf_tile_bits(high, c, 16));
}
#endif
LMF_FORMAT_CODE_256(offset, load, offset, load)
LMF_FORMAT_TILE(tile, -1, sizeof(lmf_q5_1))
LMF_FORMAT_ROWS(q5_1) = LMF_ROWS_256(LMF_Q5_1);
