/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack gives the bits of the reference quantizer, so x * (1 / d) + 16.5 is two f32 roundings, never an fma. */
#include "quant/q5_0/q5_0.h"
#include "quant/block.h"
#include <math.h>

static inline int fifth_bit(const lmf_q5_0 *p, int e) { return (p->qh[e / 8] >> (e % 8) & 1) << 4; }

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_q5_0 *p = (const lmf_q5_0 *)w + i;
    b->d = lmf_half_get(p->d), b->m = 0;
    for (int e = 0; e < 16; e++) {
        b->q[e] = (int8_t)((p->qs[e] & 15) + fifth_bit(p, e) - 16);
        b->q[e + 16] = (int8_t)((p->qs[e] >> 4) + fifth_bit(p, e + 16) - 16);
    }
}

static void unpack(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++) {
        lmf_block b;
        load(src, i, &b);
        for (int e = 0; e < 32; e++)
            dst[32 * i + e] = b.d * (float)b.q[e];
    }
}

static void pack(const float *src, void *dst, int64_t n)
{
    lmf_q5_0 *p = dst;
    for (const float *x = src; x < src + n / 32 * 32; x += 32, p++) {
        float amax = 0, top = 0;
        for (int e = 0; e < 32; e++)
            if (fabsf(x[e]) > amax)
                amax = fabsf(x[e]), top = x[e];
        float d = top / -16, r = lmf_reciprocal(d);
        memset(p, 0, sizeof *p);
        lmf_half_put(p->d, d);
        for (int e = 0; e < 32; e++) {
            int q = lmf_code_clamp(x[e] * r + 16.5f, 0, 31);
            p->qs[e % 16] |= (uint8_t)((q & 15) << (e / 16 * 4));
            p->qh[e / 8] |= (uint8_t)(q >> 4 << e % 8);
        }
    }
}

static void dot(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    lmf_dot_ref(load, w, x, x_stride, n_x, k, out);
}

static void set(void *block, float *scale, float *offset)
{
    (void)offset;
    memset(block, 0, sizeof(lmf_q5_0));
    lmf_half_put(((lmf_q5_0 *)block)->d, scale[0]);
    scale[0] = lmf_half_get(((lmf_q5_0 *)block)->d);
}

static void put(void *block, const uint8_t *code)
{
    lmf_q5_0 *p = block;
    memset(p->qh, 0, sizeof p->qh);
    for (int e = 0; e < 32; e++)
        p->qh[e / 8] |= (uint8_t)(code[e] >> 4 << e % 8);
    for (int e = 0; e < 16; e++)
        p->qs[e] = (uint8_t)((code[e] & 15) | code[e + 16] << 4);
}

static const lmf_grid grid = { 32, 32, LMF_OFFSET_NONE, -16, NULL, set, put };

const lmf_format lmf_format_q5_0 = { .dtype = LMF_Q5_0, .block = 32, .block_bytes = sizeof(lmf_q5_0), .flags = LMF_FORMAT_QUANT,
                                     .name = "q5_0", .n_scales = 1, .scale = { offsetof(lmf_q5_0, d) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 8, .written = { "a scale to 32 weights", .error = 0.08, .kl = 1 }, .grid = &grid };
