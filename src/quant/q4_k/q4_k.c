/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pack makes the choices of the reference quantizer. They hang on f32 sums, so the order and rounding of every
 * sum is part of it: element after element, (w * l) * l, no fma. */
#include "quant/q4_k/q4_k.h"
#include "quant/block.h"
#include <math.h>

enum { GROUP = 32, TOP = 15, N_TRIES = 21 };

static inline int scale_of(const lmf_q4_k *p, int g) { return g < 4 ? p->sm[g] & 63 : (p->sm[g + 4] & 15) | p->sm[g - 4] >> 6 << 4; }
static inline int offset_of(const lmf_q4_k *p, int g) { return g < 4 ? p->sm[g + 4] & 63 : p->sm[g + 4] >> 4 | p->sm[g] >> 6 << 4; }

static inline void load(const void *w, int64_t i, lmf_block *b)
{
    const lmf_q4_k *p = (const lmf_q4_k *)w + i / 8;
    int g = (int)(i % 8);
    b->d = lmf_half_get(p->d) * (float)scale_of(p, g);
    b->m = -(lmf_half_get(p->dmin) * (float)offset_of(p, g));
    for (int e = 0; e < 32; e++)
        b->q[e] = (int8_t)(p->qs[g / 2 * 32 + e] >> (g % 2 * 4) & 15);
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

typedef struct fit { float scale, low; } fit; /* x ~ scale * code + low, low <= 0 */

static float error_of(const float *x, const float *weight, const int8_t *code, fit f)
{
    float sum = 0;
    for (int e = 0; e < GROUP; e++) {
        float diff = f.scale * (float)code[e] + f.low - x[e];
        sum += weight[e] * (diff * diff);
    }
    return sum;
}

/* One try: codes at `steps` a unit above low, then the scale and offset that fit them best. False: none do. */
static bool fit_codes(const float *x, const float *weight, float sum_w, float sum_x, float low, float steps, int8_t *code, fit *f)
{
    float sum_l = 0, sum_l2 = 0, sum_xl = 0;
    for (int e = 0; e < GROUP; e++) {
        code[e] = (int8_t)lmf_code_round(steps * (x[e] - low), 0, TOP);
        float l = code[e], w = weight[e];
        sum_l += w * l;
        sum_l2 += w * l * l;
        sum_xl += w * l * x[e];
    }
    float det = sum_w * sum_l2 - sum_l * sum_l;
    if (!(det > 0))
        return false;
    f->scale = (sum_w * sum_xl - sum_x * sum_l) / det;
    f->low = (sum_l2 * sum_x - sum_l * sum_xl) / det;
    if (f->low > 0)
        f->low = 0, f->scale = sum_xl / sum_l2;
    return true;
}

static fit fit_group(const float *x, int8_t *code)
{
    float weight[GROUP], sum_x2 = 0, low = x[0], high = x[0];
    for (int e = 0; e < GROUP; e++)
        sum_x2 += x[e] * x[e];
    float rms = sqrtf(sum_x2 / GROUP), sum_w = 0, sum_x = 0;
    for (int e = 0; e < GROUP; e++) {
        low = x[e] < low ? x[e] : low;
        high = x[e] > high ? x[e] : high;
        weight[e] = rms + fabsf(x[e]);
        sum_w += weight[e];
        sum_x += weight[e] * x[e];
    }
    low = low > 0 ? 0 : low;
    memset(code, 0, GROUP);
    if (high == low)
        return (fit){ 0, low };
    float steps = TOP / (high - low);
    fit best = { 1 / steps, low };
    for (int e = 0; e < GROUP; e++)
        code[e] = (int8_t)lmf_code_round(steps * (x[e] - low), 0, TOP);
    float best_error = error_of(x, weight, code, best);
    for (int t = 0; t < N_TRIES; t++) {
        int8_t tried[GROUP];
        fit f;
        float reach = -1.0f + 0.1f * (float)t + TOP; /* from the best offset so far, as the reference does */
        if (!fit_codes(x, weight, sum_w, sum_x, best.low, reach / (high - best.low), tried, &f))
            continue;
        float error = error_of(x, weight, tried, f);
        if (error < best_error) {
            best = f, best_error = error;
            memcpy(code, tried, GROUP);
        }
    }
    return best;
}

/* Scales and offsets (as -low) of the groups in 6 bits each; codes are left. */
static void put_scales(lmf_q4_k *p, const float *scale, const float *low)
{
    float top_scale = 0, top_offset = 0;
    memset(p->sm, 0, sizeof p->sm);
    for (int g = 0; g < 8; g++) {
        top_scale = scale[g] > top_scale ? scale[g] : top_scale;
        top_offset = -low[g] > top_offset ? -low[g] : top_offset;
    }
    float per_scale = top_scale > 0 ? 63.0f / top_scale : 0, per_offset = top_offset > 0 ? 63.0f / top_offset : 0;
    for (int g = 0; g < 8; g++) {
        int s = lmf_code_round(per_scale * scale[g], 0, 63), m = lmf_code_round(per_offset * -low[g], 0, 63);
        if (g < 4) {
            p->sm[g] = (uint8_t)s, p->sm[g + 4] = (uint8_t)m;
        } else {
            p->sm[g + 4] = (uint8_t)((s & 15) | (m & 15) << 4);
            p->sm[g - 4] |= (uint8_t)(s >> 4 << 6);
            p->sm[g] |= (uint8_t)(m >> 4 << 6);
        }
    }
    lmf_half_put(p->d, top_scale / 63.0f);
    lmf_half_put(p->dmin, top_offset / 63.0f);
}

static void pack_block(const float *x, lmf_q4_k *p)
{
    int8_t code[8][GROUP];
    float scale[8], low[8];
    memset(p, 0, sizeof *p);
    for (int g = 0; g < 8; g++) {
        fit f = fit_group(x + GROUP * g, code[g]);
        scale[g] = f.scale, low[g] = f.low;
    }
    put_scales(p, scale, low);
    for (int g = 0; g < 8; g++) {
        float d = lmf_half_get(p->d) * (float)scale_of(p, g), m = lmf_half_get(p->dmin) * (float)offset_of(p, g);
        for (int e = 0; e < GROUP; e++) {
            int q = d != 0 ? lmf_code_round((x[GROUP * g + e] + m) / d, 0, TOP) : code[g][e];
            p->qs[g / 2 * 32 + e] |= (uint8_t)(q << (g % 2 * 4));
        }
    }
}

static void pack(const float *src, void *dst, int64_t n)
{
    for (int64_t i = 0; i < n / 256; i++)
        pack_block(src + 256 * i, (lmf_q4_k *)dst + i);
}

static void dot(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out)
{
    lmf_dot_ref(load, w, x, x_stride, n_x, k, out);
}

static void set(void *block, float *scale, float *offset)
{
    lmf_q4_k *p = block;
    memset(p, 0, sizeof *p);
    put_scales(p, scale, offset);
    for (int g = 0; g < 8; g++) {
        scale[g] = lmf_half_get(p->d) * (float)scale_of(p, g);
        offset[g] = -(lmf_half_get(p->dmin) * (float)offset_of(p, g));
    }
}

static void put(void *block, const uint8_t *code)
{
    lmf_q4_k *p = block;
    for (int g = 0; g < 8; g += 2)
        for (int e = 0; e < GROUP; e++)
            p->qs[16 * g + e] = (uint8_t)(code[GROUP * g + e] | code[GROUP * (g + 1) + e] << 4);
}

static const lmf_grid grid = { TOP + 1, GROUP, LMF_OFFSET_BELOW, 0, NULL, set, put };

const lmf_format lmf_format_q4_k = { .dtype = LMF_Q4_K, .block = 256, .block_bytes = sizeof(lmf_q4_k), .flags = LMF_FORMAT_QUANT,
                                     .name = "q4_k", .n_scales = 2, .scale = { offsetof(lmf_q4_k, d), offsetof(lmf_q4_k, dmin) },
                                     .unpack = unpack, .pack = pack, .dot = dot,
                                     .file_type = 14, .written = { "scales and offsets searched", .error = 0.15, .kl = 2 }, .grid = &grid };
