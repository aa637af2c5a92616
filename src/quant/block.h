/* SPDX-License-Identifier: Apache-2.0 */
/* block: what the reference code of all block formats shares. A format's bytes lie at any address (a file is mapped),
 * so every layout struct is made of bytes, alignment 1, little-endian.
 *
 * lmf_dot_ref is the reference dot of every format whose weight is d * q + m over 32 elements: integer sums inside a
 * block are exact, blocks are added in order in f64, and one rounding to f32 ends it. It is plain C and gives the
 * same bits on every machine. */
#ifndef LMF_QUANT_BLOCK_H
#define LMF_QUANT_BLOCK_H
#include "base/half.h"
#include "device/dtype.h"

#define LMF_INLINE static inline __attribute__((always_inline, unused)) /* unused: some levels need no unpacking */

static inline float lmf_half_get(const uint8_t p[2]) { return lmf_f16_to_f32((uint16_t)(p[0] | p[1] << 8)); }
static inline void lmf_half_put(uint8_t p[2], float f)
{
    uint16_t h = lmf_f32_to_f16(f);
    p[0] = (uint8_t)h, p[1] = (uint8_t)(h >> 8);
}

/* Truncates v into [lo, hi]; NaN gives lo. A plain cast would be undefined for what a broken model holds. */
static inline int lmf_code_clamp(float v, int lo, int hi)
{
    return !(v > (float)lo) ? lo : v >= (float)hi ? hi : (int)v;
}
/* Rounds v to nearest even, into [lo, hi]; NaN gives lo. */
static inline int lmf_code_round(float v, int lo, int hi)
{
    v = v > (float)lo ? v < (float)hi ? v : (float)hi : (float)lo;
    return (int)(lmf_f32_bits(v + 0x1.8p23f) - 0x4b400000u);
}
static inline float lmf_reciprocal(float d) { return d != 0 ? 1.0f / d : 0.0f; }

typedef struct lmf_block {  /* 32 weights: w[e] = d * q[e] + m */
    float  d, m;
    int8_t q[32];
} lmf_block;

/* i-th group of 32 elements of a row that begins at w. */
typedef void (*lmf_block_load)(const void *w, int64_t i, lmf_block *b);

LMF_INLINE void lmf_dot_ref(lmf_block_load load, const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    double sum[8] = { 0 };
    for (int64_t i = 0; i < k / 32; i++) {
        lmf_block b;
        load(w, i, &b);
        for (int j = 0; j < n_x; j++) {
            const lmf_act *a = x + j * x_stride + i;
            int isum = 0;
            for (int e = 0; e < 32; e++)
                isum += b.q[e] * a->q[e];
            sum[j] += (double)b.d * a->d * isum + (double)b.m * a->s;
        }
    }
    for (int j = 0; j < n_x; j++)
        out[j] = (float)sum[j];
}

#endif
