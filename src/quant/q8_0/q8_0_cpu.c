/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q8_0/q8_0.h"
#include "quant/dot_tile.h"

#ifdef __AVX2__
LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q8_0 *p = (const lmf_q8_0 *)w + i;
    lmf_ahead256(p);
    return (lmf_block256){ _mm256_loadu_si256((const __m256i *)(const void *)p->qs), lmf_half256(p->d), _mm_setzero_ps() };
}
LMF_INLINE void tile(const uint8_t *w, size_t stride, int64_t i, lmf_tile *t)
{
    const uint8_t *p = w + i * (int64_t)sizeof(lmf_q8_0);
    t->d = lmf_tile_half(lmf_tile_word(p, stride));
    lmf_tile_turn(p + 2, stride, t->q);
    lmf_tile_turn(p + 18, stride, t->q + 4);
    for (int c = 0; c < 8; c++)
        t->q[c] = LMF_TI_XOR(t->q[c], LMF_TI(set1_epi8)(-128)); /* signed to 0 .. 255 */
}
#endif
LMF_FORMAT_CODE_256(signed, load, signed, load)
LMF_FORMAT_TILE_VNNI(tile, 128, sizeof(lmf_q8_0))
LMF_FORMAT_ROWS(q8_0) = LMF_ROWS_256_VNNI(LMF_Q8_0);
