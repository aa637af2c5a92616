/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack gives the bits of the reference quantizer, so (x - m) * (1 / d) + 0.5 is three f32 roundings. */
#include "quant/q5_1/q5_1.h"
#include "quant/block.h"

static inline int fifth_bit(const lmf_q5_1 *p, int e) { return (p->qh[e / 8] >> (e % 8) & 1) << 4; }

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_q5_1 *p = (const lmf_q5_1 *)w + i;
    b->d = lmf_half_get(p->d), b->m = lmf_half_get(p->m);
    for (int e = 0; e < 16; e++) {
        b->q[e] = (int8_t)((p->qs[e] & 15) + fifth_bit(p, e));
        b->q[e + 16] = (int8_t)((p->qs[e] >> 4) + fifth_bit(p, e + 16));
    }
}

static void unpack(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++) {
        lmf_block b;
        load(src, i, &b);
        for (int e = 0; e < 32; e++)
            dst[32 * i + e] = b.d * (float)b.q[e] + b.m;
    }
}

static void pack(const float *src, void *dst, int64_t n)
{
    lmf_q5_1 *p = dst;
    for (const float *x = src; x < src + n / 32 * 32; x += 32, p++) {
        float lo = x[0], hi = x[0];
        for (int e = 1; e < 32; e++) {
            lo = x[e] < lo ? x[e] : lo;
            hi = x[e] > hi ? x[e] : hi;
        }
        float d = (hi - lo) / 31, r = lmf_reciprocal(d);
        memset(p, 0, sizeof *p);
        lmf_half_put(p->d, d);
        lmf_half_put(p->m, lo);
        for (int e = 0; e < 32; e++) {
            int q = lmf_code_clamp((x[e] - lo) * r + 0.5f, 0, 31);
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
    lmf_q5_1 *p = block;
    memset(p, 0, sizeof *p);
    lmf_half_put(p->d, scale[0]);
    lmf_half_put(p->m, offset[0]);
    scale[0] = lmf_half_get(p->d), offset[0] = lmf_half_get(p->m);
}

static void put(void *block, const uint8_t *code)
{
    lmf_q5_1 *p = block;
    memset(p->qh, 0, sizeof p->qh);
    for (int e = 0; e < 32; e++)
        p->qh[e / 8] |= (uint8_t)(code[e] >> 4 << e % 8);
    for (int e = 0; e < 16; e++)
        p->qs[e] = (uint8_t)((code[e] & 15) | code[e + 16] << 4);
}

static const lmf_grid grid = { 32, 32, LMF_OFFSET_ANY, 0, NULL, set, put };

const lmf_format lmf_format_q5_1 = { .dtype = LMF_Q5_1, .block = 32, .block_bytes = sizeof(lmf_q5_1), .flags = LMF_FORMAT_QUANT,
                                     .name = "q5_1", .n_scales = 2, .scale = { offsetof(lmf_q5_1, d), offsetof(lmf_q5_1, m) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 9, .written = { "a scale and an offset to 32 weights",
                                                    .error = 0.075, .kl = 1 }, .grid = &grid };
