/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack gives the bits of the reference quantizer, so x * (1 / d) + 8.5 is two f32 roundings, never an fma. */
#include "quant/q4_0/q4_0.h"
#include "quant/block.h"
#include <math.h>

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_q4_0 *p = (const lmf_q4_0 *)w + i;
    b->d = lmf_half_get(p->d), b->m = 0;
    for (int e = 0; e < 16; e++)
        b->q[e] = (int8_t)((p->qs[e] & 15) - 8), b->q[e + 16] = (int8_t)((p->qs[e] >> 4) - 8);
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
    lmf_q4_0 *p = dst;
    for (const float *x = src; x < src + n / 32 * 32; x += 32, p++) {
        float amax = 0, top = 0;
        for (int e = 0; e < 32; e++)
            if (fabsf(x[e]) > amax)
                amax = fabsf(x[e]), top = x[e];
        float d = top / -8, r = lmf_reciprocal(d);
        lmf_half_put(p->d, d);
        for (int e = 0; e < 16; e++) {
            int lo = lmf_code_clamp(x[e] * r + 8.5f, 0, 15), hi = lmf_code_clamp(x[e + 16] * r + 8.5f, 0, 15);
            p->qs[e] = (uint8_t)(lo | hi << 4);
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
    memset(block, 0, sizeof(lmf_q4_0));
    lmf_half_put(((lmf_q4_0 *)block)->d, scale[0]);
    scale[0] = lmf_half_get(((lmf_q4_0 *)block)->d);
}

static void put(void *block, const uint8_t *code)
{
    for (int e = 0; e < 16; e++)
        ((lmf_q4_0 *)block)->qs[e] = (uint8_t)(code[e] | code[e + 16] << 4);
}

static const lmf_grid grid = { 16, 32, LMF_OFFSET_NONE, -8, NULL, set, put };

const lmf_format lmf_format_q4_0 = { .dtype = LMF_Q4_0, .block = 32, .block_bytes = sizeof(lmf_q4_0), .flags = LMF_FORMAT_QUANT,
                                     .name = "q4_0", .n_scales = 1, .scale = { offsetof(lmf_q4_0, d) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 2, .written = { "a scale to 32 weights", .error = 0.18, .kl = 3 }, .grid = &grid };
