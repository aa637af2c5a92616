/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack makes the choices of the reference quantizer. They hang on f32 sums, so the order and rounding of every
 * sum is part of it: element after element, (w * x) * l and (w * l) * l, no fma. */
#include "quant/q6_k/q6_k.h"
#include "quant/block.h"
#include <math.h>

enum { GROUP = 16, HALF = 32 };
#define NOTHING 1e-15f

/* Codes of the i-th 32 elements of a row, -32 .. 31. */
static inline const lmf_q6_k *codes(const void *w, int64_t i, int8_t q[32])
{
    const lmf_q6_k *p = (const lmf_q6_k *)w + i / 8;
    int h = (int)(i % 8) / 4, r = (int)(i % 4);
    for (int e = 0; e < 32; e++) {
        int low = p->ql[64 * h + 32 * (r % 2) + e] >> (r / 2 * 4) & 15, high = p->qh[32 * h + e] >> 2 * r & 3;
        q[e] = (int8_t)((low | high << 4) - HALF);
    }
    return p;
}

static void unpack(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 32; i++) {
        int8_t q[32];
        const lmf_q6_k *p = codes(src, i, q);
        for (int e = 0; e < 32; e++)
            dst[32 * i + e] = lmf_half_get(p->d) * (float)p->scale[i % 8 * 2 + e / GROUP] * (float)q[e];
    }
}

static void dot(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    double sum[8] = { 0 };
    for (int64_t i = 0; i < k / 32; i++) {
        int8_t q[32];
        const lmf_q6_k *p = codes(w, i, q);
        for (int j = 0; j < n_x; j++) {
            const lmf_act *a = x + j * x_stride + i;
            int isum = 0;
            for (int e = 0; e < 32; e++)
                isum += q[e] * a->q[e] * p->scale[i % 8 * 2 + e / GROUP];
            sum[j] += (double)lmf_half_get(p->d) * a->d * isum;
        }
    }
    for (int j = 0; j < n_x; j++)
        out[j] = (float)sum[j];
}

/* The best x ~ scale * (code - 32): its scale. A group of nothing has codes 0. */
static float fit_group(const float *x, uint8_t code[GROUP])
{
    memset(code, 0, GROUP);
    float amax = 0, top = 0, scale = 0, best = 0;
    for (int e = 0; e < GROUP; e++)
        if (fabsf(x[e]) > amax)
            amax = fabsf(x[e]), top = x[e];
    if (amax < NOTHING)
        return 0;
    for (int t = -10; t <= 9; t++) { /* the plain scale first, then 18 beside it */
        if (t == 0)
            continue;
        uint8_t tried[GROUP];
        float steps = t == -10 ? -HALF / top : -(HALF + 0.1f * (float)t) / top, sum_xl = 0, sum_l2 = 0;
        for (int e = 0; e < GROUP; e++) {
            float l = (float)lmf_code_round(steps * x[e], -HALF, HALF - 1), w = x[e] * x[e];
            sum_xl += w * x[e] * l;
            sum_l2 += w * l * l;
            tried[e] = (uint8_t)((int)l + HALF);
        }
        if (t == -10 || (sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2)) {
            scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
            best = scale * sum_xl;
            memcpy(code, tried, GROUP);
        }
    }
    return scale;
}

/* Scales of the groups in 8 bits each, that of greatest magnitude -128. False: all are nothing, and so is the block. */
static bool put_scales(lmf_q6_k *p, const float *scale)
{
    float top = 0, top_abs = 0;
    for (int g = 0; g < 16; g++)
        if (fabsf(scale[g]) > top_abs)
            top_abs = fabsf(scale[g]), top = scale[g];
    if (top_abs < NOTHING)
        return false;
    float steps = -128.0f / top;
    lmf_half_put(p->d, 1 / steps);
    for (int g = 0; g < 16; g++)
        p->scale[g] = (int8_t)lmf_code_round(steps * scale[g], -128, 127);
    return true;
}

static void put(void *block, const uint8_t *code)
{
    lmf_q6_k *p = block;
    memset(p->ql, 0, sizeof p->ql);
    memset(p->qh, 0, sizeof p->qh);
    for (int i = 0; i < 256; i++) {
        int h = i / 128, r = i / 32 % 4, e = i % 32;
        p->ql[64 * h + 32 * (r % 2) + e] |= (uint8_t)((code[i] & 15) << (r / 2 * 4));
        p->qh[32 * h + e] |= (uint8_t)(code[i] >> 4 << 2 * r);
    }
}

static void pack_block(const float *x, lmf_q6_k *p)
{
    float scale[16];
    uint8_t code[256];
    memset(p, 0, sizeof *p);
    for (int g = 0; g < 16; g++)
        scale[g] = fit_group(x + GROUP * g, code + GROUP * g);
    if (!put_scales(p, scale))
        return;
    for (int i = 0; i < 256; i++) {
        float d = lmf_half_get(p->d) * (float)p->scale[i / GROUP];
        if (d != 0)
            code[i] = (uint8_t)(lmf_code_round(x[i] / d, -HALF, HALF - 1) + HALF);
    }
    put(p, code);
}

static void pack(const float *src, void *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 256; i++)
        pack_block(src + 256 * i, (lmf_q6_k *)dst + i);
}

static void set(void *block, float *scale, float *offset)
{
    lmf_q6_k *p = block;
    (void)offset;
    memset(p, 0, sizeof *p);
    put_scales(p, scale);
    for (int g = 0; g < 16; g++)
        scale[g] = lmf_half_get(p->d) * (float)p->scale[g];
}

static const lmf_grid grid = { 2 * HALF, GROUP, LMF_OFFSET_NONE, -HALF, NULL, set, put };

const lmf_format lmf_format_q6_k = { .dtype = LMF_Q6_K, .block = 256, .block_bytes = sizeof(lmf_q6_k), .flags = LMF_FORMAT_QUANT,
                                     .name = "q6_k", .n_scales = 1, .scale = { offsetof(lmf_q6_k, d) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 18, .written = { "little loss", .error = 0.04, .kl = 0.05 }, .grid = &grid };
