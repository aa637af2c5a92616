/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a nibble becomes its level by one shuffle; levels are signed, so the dot moves the sign to x. */
#include "quant/iq4_nl/iq4_nl.h"
#include "quant/dot_tile.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_iq4_nl *p = (const lmf_iq4_nl *)w + i;
    lmf_ahead256(p);
    const __m256i level = _mm256_broadcastsi128_si256(_mm_setr_epi8(LMF_IQ4_NL_LEVELS));
    return (lmf_block256){ _mm256_shuffle_epi8(level, lmf_nibbles256(p->qs)), lmf_half256(p->d), _mm_setzero_ps() };
}
LMF_INLINE void tile(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t)
{
    const uint8_t *p = w + i * (int64_t)sizeof(lmf_iq4_nl);
    const lmf_ti level = LMF_TI_XOR(lmf_tile_bytes(_mm_setr_epi8(LMF_IQ4_NL_LEVELS)), LMF_TI(set1_epi8)(-128));
    t->d = lmf_tile_half(lmf_tile_word(p, stride));
    lmf_tile_nibbles(p + 2, stride, t->q);
    for (int c = 0; c < 8; c++)
        t->q[c] = LMF_TI(shuffle_epi8)(level, t->q[c]);
}
#endif
LMF_FORMAT_CODE_256(signed, load, signed, load)
LMF_FORMAT_TILE_VNNI(tile, 128, sizeof(lmf_iq4_nl))
LMF_FORMAT_ROWS(iq4_nl) = LMF_ROWS_256_VNNI(LMF_IQ4_NL);
