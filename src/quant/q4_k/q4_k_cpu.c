/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: as q4_1 with (d * s, -dmin * m) for (d, m), both exact in f32. The kernel decodes the eight pairs of a block at
 * once, 4 bytes an instruction. */
#include "quant/q4_k/q4_k.h"
#include "quant/dot_tile.h"

#ifdef __AVX2__
/* dm[g]: d * s and -dmin * m of group g. */
LMF_INLINE void decode(const lmf_q4_k *p, float dm[8][2])
{
    uint32_t v[3];
    memcpy(v, p->sm, 12);
    uint64_t s = (v[0] & 0x3f3f3f3fu) | (uint64_t)((v[2] & 0x0f0f0f0fu) | (v[0] >> 2 & 0x30303030u)) << 32;
    uint64_t m = (v[1] & 0x3f3f3f3fu) | (uint64_t)((v[2] >> 4 & 0x0f0f0f0fu) | (v[1] >> 2 & 0x30303030u)) << 32;
    __m256 d = lmf_half256(p->d), dmin = _mm256_xor_ps(lmf_half256(p->dmin), _mm256_set1_ps(-0.0f));
    __m256 ds = _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)s))));
    __m256 dmm = _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)m))));
    __m256 even = _mm256_unpacklo_ps(ds, dmm), odd = _mm256_unpackhi_ps(ds, dmm); /* groups 0 1 4 5, 2 3 6 7 */
    _mm_storeu_ps(dm[0], _mm256_castps256_ps128(even));
    _mm_storeu_ps(dm[2], _mm256_castps256_ps128(odd));
    _mm_storeu_ps(dm[4], _mm256_extractf128_ps(even, 1));
    _mm_storeu_ps(dm[6], _mm256_extractf128_ps(odd, 1));
}
LMF_INLINE lmf_block256 block_of(__m256i q, const float dm[2])
{
    __m128 t = _mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)dm));
    return (lmf_block256){ q, _mm256_broadcastss_ps(t), t };
}
LMF_INLINE __m256i low_nibbles(__m256i b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }

LMF_INLINE void kernel(lmf_mul256 mul, const void *w, const lmf_act *x, int64_t x_stride, const int n, int64_t k, float *out)
{
    const lmf_q4_k *p = w;
    __m256 acc[4];
    __m128 off[4];
    for (int j = 0; j < n; j++)
        acc[j] = _mm256_setzero_ps(), off[j] = _mm_setzero_ps();
    for (int64_t i = 0; i < k / 256; i++, p++) {
        float dm[8][2];
        decode(p, dm);
        for (int c = 0; c < 4; c++, x += 2) {
            lmf_ahead256(p->qs + 32 * c);
            __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p->qs + 32 * c));
            lmf_step256_offset(block_of(low_nibbles(b), dm[2 * c]), mul, x, x_stride, n, acc, off);
            lmf_step256_offset(block_of(low_nibbles(_mm256_srli_epi16(b, 4)), dm[2 * c + 1]), mul, x + 1, x_stride, n, acc, off);
        }
    }
    for (int j = 0; j < n; j++)
        out[j] = lmf_sum256(acc[j]) + _mm_cvtss_f32(_mm_movehdup_ps(off[j]));
}

LMF_INLINE lmf_block256 load(const void *w, int64_t i)
{
    const lmf_q4_k *p = (const lmf_q4_k *)w + i / 8;
    int g = (int)(i % 8);
    float dm[8][2];
    decode(p, dm);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p->qs + g / 2 * 32));
    return block_of(low_nibbles(_mm256_srl_epi16(b, _mm_cvtsi32_si128(g % 2 * 4))), dm[g]);
}
/* Scale g of eight in two words of bytes, as f32. */
LMF_INLINE lmf_tf scale_of(const lmf_ti s[2], const int g)
{
    return LMF_TI(cvtepi32_ps)(LMF_TI_AND(LMF_TI(srli_epi32)(s[g / 4], 8 * (g % 4)), LMF_TI(set1_epi32)(255)));
}
LMF_INLINE void tile_kernel(lmf_tile_mul mul, const uint8_t *w, size_t stride, const lmf_act *x, int64_t x_stride, const int n, int64_t k,
                            float *out)
{
    const lmf_ti low4 = LMF_TI(set1_epi8)(15), low6 = LMF_TI(set1_epi8)(63), top2 = LMF_TI(set1_epi8)(48);
    lmf_tf acc[8], off[8];
    for (int j = 0; j < n; j++)
        acc[j] = off[j] = LMF_TI(setzero_ps)();
    for (int64_t i = 0; i < k / 256; i++) {
        const uint8_t *p = w + i * (int64_t)sizeof(lmf_q4_k);
        lmf_ti v[4]; /* d and dmin, sm */
        lmf_tile_turn(p, stride, v);
        lmf_tf d = lmf_tile_half(v[0]), dmin = lmf_tile_half(LMF_TI(srli_epi32)(v[0], 16));
        dmin = LMF_TI(sub_ps)(LMF_TI(setzero_ps)(), dmin);
        lmf_ti s[2] = { LMF_TI_AND(v[1], low6),
                        LMF_TI_OR(LMF_TI_AND(v[3], low4), LMF_TI_AND(LMF_TI(srli_epi32)(v[1], 2), top2)) };
        lmf_ti m[2] = { LMF_TI_AND(v[2], low6),
                        LMF_TI_OR(LMF_TI_AND(LMF_TI(srli_epi32)(v[3], 4), low4), LMF_TI_AND(LMF_TI(srli_epi32)(v[2], 2), top2)) };
#pragma GCC unroll 4
        for (int c = 0; c < 4; c++, x += 2) {
            lmf_ti both[8];
            lmf_tile t;
            lmf_tile_ahead(w, stride, 4 * i + c, sizeof(lmf_q4_k) / 4);
            lmf_tile_turn(p + 16 + 32 * c, stride, both);
            lmf_tile_turn(p + 32 + 32 * c, stride, both + 4);
            for (int e = 0; e < 8; e++)
                t.q[e] = LMF_TI_AND(both[e], low4);
            t.d = LMF_TI(mul_ps)(d, scale_of(s, 2 * c)), t.m = LMF_TI(mul_ps)(dmin, scale_of(m, 2 * c));
            lmf_tile_step(&t, mul, -1, x, x_stride, n, acc, off);
            for (int e = 0; e < 8; e++)
                t.q[e] = LMF_TI_AND(LMF_TI(srli_epi16)(both[e], 4), low4);
            t.d = LMF_TI(mul_ps)(d, scale_of(s, 2 * c + 1)), t.m = LMF_TI(mul_ps)(dmin, scale_of(m, 2 * c + 1));
            lmf_tile_step(&t, mul, -1, x + 1, x_stride, n, acc, off);
        }
    }
    for (int j = 0; j < n; j++)
        LMF_TI(storeu_ps)(out + j * LMF_TILE, LMF_TI(add_ps)(acc[j], off[j]));
}
#endif
LMF_FORMAT_UNPACK_256(offset, load)
LMF_FORMAT_DOTS_256(kernel)
LMF_FORMAT_TILES(tile_kernel)
LMF_FORMAT_ROWS(q4_k) = LMF_ROWS_256(LMF_Q4_K);
