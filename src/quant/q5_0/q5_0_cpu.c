/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: as in q4_0, the dot takes q unsigned and -16 d as an offset; unpacking takes q - 16. */
#include "quant/q5_0/q5_0.h"
#include "quant/dot_tile.h"

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
LMF_INLINE void tile(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t)
{
    const uint8_t *p = w + i * (int64_t)sizeof(lmf_q5_0);
    lmf_ti high = lmf_tile_word(p + 2, stride);
    t->d = lmf_tile_half(lmf_tile_word(p, stride));
    lmf_tile_nibbles(p + 6, stride, t->q);
    for (int c = 0; c < 8; c++)
        t->q[c] = LMF_TI_OR(t->q[c], lmf_tile_bits(high, c, 16));
}
#endif
LMF_FORMAT_CODE_256(offset, load, signed, load_signed)
LMF_FORMAT_TILE(tile, 16, sizeof(lmf_q5_0))
LMF_FORMAT_ROWS(q5_0) = LMF_ROWS_256(LMF_Q5_0);
