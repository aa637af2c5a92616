/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the dot takes w as d * q - 8 d with q unsigned, which saves the signs of x; unpacking may not, it would lose the
 * sign of zero. */
#include "quant/q4_0/q4_0.h"
#include "quant/dot_tile.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q4_0 *p = (const lmf_q4_0 *)w + i;
    lmf_ahead256(p);
    __m256 d = lmf_half256(p->d);
    return (lmf_block256){ lmf_nibbles256(p->qs), d, _mm_mul_ps(_mm256_castps256_ps128(d), _mm_setr_ps(1, -8, 0, 0)) };
}
LMF_INLINE lmf_block256 load_signed(const void *w, int64_t i)
{
    const lmf_q4_0 *p = (const lmf_q4_0 *)w + i;
    return (lmf_block256){ _mm256_sub_epi8(lmf_nibbles256(p->qs), _mm256_set1_epi8(8)), lmf_half256(p->d), _mm_setzero_ps() };
}
LMF_INLINE void tile(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t)
{
    const uint8_t *p = w + i * (int64_t)sizeof(lmf_q4_0);
    t->d = lmf_tile_half(lmf_tile_word(p, stride));
    lmf_tile_nibbles(p + 2, stride, t->q);
}
#endif
LMF_FORMAT_CODE_256(offset, load, signed, load_signed)
LMF_FORMAT_TILE(tile, 8, sizeof(lmf_q4_0))
LMF_FORMAT_ROWS(q4_0) = LMF_ROWS_256(LMF_Q4_0);
