/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack gives the bits of the reference quantizer: q = round(x * (1 / d)), halves away from zero. */
#include "quant/q8_0/q8_0.h"
#include "quant/block.h"
#include <math.h>

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_q8_0 *p = (const lmf_q8_0 *)w + i;
    b->d = lmf_half_get(p->d), b->m = 0;
    memcpy(b->q, p->qs, 32);
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
    lmf_q8_0 *p = dst;
    for (const float *x = src; x < src + n / 32 * 32; x += 32, p++) {
        float amax = 0;
        for (int e = 0; e < 32; e++)
            amax = fabsf(x[e]) > amax ? fabsf(x[e]) : amax;
        float d = amax / 127, r = lmf_reciprocal(d);
        lmf_half_put(p->d, d);
        for (int e = 0; e < 32; e++)
            p->qs[e] = (int8_t)lmf_code_clamp(roundf(x[e] * r), -127, 127);
    }
}

static void dot(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    lmf_dot_ref(load, w, x, x_stride, n_x, k, out);
}

static void set(void *block, float *scale, float *offset)
{
    (void)offset;
    memset(block, 0, sizeof(lmf_q8_0));
    lmf_half_put(((lmf_q8_0 *)block)->d, scale[0]);
    scale[0] = lmf_half_get(((lmf_q8_0 *)block)->d);
}

static void put(void *block, const uint8_t *code)
{
    for (int e = 0; e < 32; e++)
        ((lmf_q8_0 *)block)->qs[e] = (int8_t)(code[e] - 127);
}

static const lmf_grid grid = { 255, 32, LMF_OFFSET_NONE, -127, NULL, set, put };

const lmf_format lmf_format_q8_0 = { .dtype = LMF_Q8_0, .block = 32, .block_bytes = sizeof(lmf_q8_0), .flags = LMF_FORMAT_QUANT,
                                     .name = "q8_0", .n_scales = 1, .scale = { offsetof(lmf_q8_0, d) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 7, .written = { "hardly any loss", .error = 0.012, .kl = 0.02 }, .grid = &grid };
