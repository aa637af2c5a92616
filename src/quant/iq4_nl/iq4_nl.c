/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack makes the choices of the reference quantizer, so its sums are f32, element after element, (w * l) * x and
 * (w * l) * l, no fma. */
#include "quant/iq4_nl/iq4_nl.h"
#include "quant/block.h"
#include <math.h>

#define NOTHING 1e-15f
static const int8_t levels[16] = { LMF_IQ4_NL_LEVELS };

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_iq4_nl *p = (const lmf_iq4_nl *)w + i;
    b->d = lmf_half_get(p->d), b->m = 0;
    for (int e = 0; e < 16; e++)
        b->q[e] = levels[p->qs[e] & 15], b->q[e + 16] = levels[p->qs[e] >> 4];
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

/* NaN gives 0. */
static inline uint8_t nearest(float v)
{
    uint8_t q = 0;
    while (q < 15 && v - (float)levels[q] >= (float)levels[q + 1] - v)
        q++;
    return q;
}

static void put(void *block, const uint8_t *code)
{
    for (int e = 0; e < 16; e++)
        ((lmf_iq4_nl *)block)->qs[e] = (uint8_t)(code[e] | code[e + 16] << 4);
}

static void pack(const float *src, void *dst, int64_t n)
{
    lmf_iq4_nl *p = dst;
    for (const float *x = src; x < src + n / 32 * 32; x += 32, p++) {
        float amax = 0, top = 0, sum_lx = 0, sum_l2 = 0;
        uint8_t code[32];
        memset(p, 0, sizeof *p);
        for (int e = 0; e < 32; e++)
            if (fabsf(x[e]) > amax)
                amax = fabsf(x[e]), top = x[e];
        if (amax < NOTHING)
            continue;
        float steps = 1 / (top / (float)levels[0]);
        for (int e = 0; e < 32; e++) {
            code[e] = nearest(steps * x[e]);
            float l = (float)levels[code[e]], w = x[e] * x[e];
            sum_lx += w * l * x[e];
            sum_l2 += w * l * l;
        }
        lmf_half_put(p->d, sum_l2 > 0 ? sum_lx / sum_l2 : 0);
        put(p, code);
    }
}

static void dot(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    lmf_dot_ref(load, w, x, x_stride, n_x, k, out);
}

static void set(void *block, float *scale, float *offset)
{
    (void)offset;
    memset(block, 0, sizeof(lmf_iq4_nl));
    lmf_half_put(((lmf_iq4_nl *)block)->d, scale[0]);
    scale[0] = lmf_half_get(((lmf_iq4_nl *)block)->d);
}

static const lmf_grid grid = { 16, 32, LMF_OFFSET_NONE, 0, levels, set, put };

const lmf_format lmf_format_iq4_nl = { .dtype = LMF_IQ4_NL, .block = 32, .block_bytes = sizeof(lmf_iq4_nl), .flags = LMF_FORMAT_QUANT,
                                       .name = "iq4_nl", .n_scales = 1, .scale = { offsetof(lmf_iq4_nl, d) },
                                       .unpack = unpack, .pack = pack, .dot = dot, .file_type = 25,
                                       .written = { "levels closer together near zero", .error = 0.16, .kl = 3 }, .grid = &grid };
