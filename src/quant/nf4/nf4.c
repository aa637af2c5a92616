/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: codes are those of bitsandbytes for the same numbers: a reciprocal, a product, middles between levels in f32. */
#include "quant/nf4/nf4.h"
#include <math.h>
#include <string.h>
#include "device/dtype.h"
#include "quant/dynamic8.h"

const float lmf_nf4_levels[16] = {
    -1, -0x1.647362p-1f, -0x1.0cd66p-1f, -0x1.94654p-2f, -0x1.23449ap-2f, -0x1.7a6a7ep-3f, -0x1.74f0e2p-4f, 0,
    0x1.45f5fep-4f, 0x1.4995c6p-3f, 0x1.f809bap-3f, 0x1.5a0674p-2f, 0x1.c3497p-2f, 0x1.200f56p-1f, 0x1.722766p-1f, 1
};

static void unpack(const void *src, float *dst, int64_t n)
{
    const lmf_nf4 *p = src;
    for (int64_t i = 0; i < n / LMF_NF4_BLOCK; i++, p++) {
        float d = lmf_nf4_scale(p);
        for (int e = 0; e < 32; e++) {
            dst[64 * i + 2 * e] = d * lmf_nf4_levels[p->qs[e] >> 4];
            dst[64 * i + 2 * e + 1] = d * lmf_nf4_levels[p->qs[e] & 15];
        }
    }
}

static unsigned code(float x)
{
    unsigned q = 0;
    for (unsigned i = 0; i < 15; i++)
        q += (lmf_nf4_levels[i] + lmf_nf4_levels[i + 1]) / 2 < x;
    return q;
}

static void pack(const float *src, void *dst, int64_t n)
{
    lmf_nf4 *p = dst;
    for (const float *x = src; x < src + n / LMF_NF4_BLOCK * LMF_NF4_BLOCK; x += LMF_NF4_BLOCK, p++) {
        float d = 0;
        for (int e = 0; e < LMF_NF4_BLOCK; e++)
            d = fabsf(x[e]) > d ? fabsf(x[e]) : d;
        d = d < 3.40282347e38f ? d : 3.40282347e38f; /* finite, whatever stands in a broken block */
        float r = 1 / (d > 1e-38f ? d : 1e-38f);
        memcpy(p->d, &d, sizeof d);
        for (int e = 0; e < 32; e++)
            p->qs[e] = (uint8_t)(code(x[2 * e] * r) << 4 | code(x[2 * e + 1] * r));
    }
}

lmf_status lmf_nf4_double(lmf_ctx *ctx, lmf_nf4 *blocks, int64_t n)
{
    float *map = lmf_alloc(ctx, 256 * sizeof *map);
    double sum = 0;
    if (!map)
        return LMF_NO_MEMORY(ctx, 256 * sizeof *map, "a table of scales");
    lmf_dynamic8_map(true, map);
    for (int64_t i = 0; i < n; i++)
        sum += (double)lmf_nf4_scale(&blocks[i]);
    float offset = n ? (float)(sum / (double)n) : 0;
    for (int64_t first = 0; first < n; first += LMF_NF4_NESTED) {
        int64_t end = first + LMF_NF4_NESTED < n ? first + LMF_NF4_NESTED : n;
        float top = 0;
        for (int64_t i = first; i < end; i++)
            top = fmaxf(top, fabsf(lmf_nf4_scale(&blocks[i]) - offset));
        float r = 1 / (top > 1e-38f ? top : 1e-38f);
        for (int64_t i = first; i < end; i++) {
            float kept = map[lmf_dynamic8_code(map, (lmf_nf4_scale(&blocks[i]) - offset) * r)] * top;
            kept += offset;
            memcpy(blocks[i].d, &kept, sizeof kept);
        }
    }
    lmf_free(ctx, map, 256 * sizeof *map);
    return LMF_OK;
}

const lmf_format lmf_format_nf4 = { .dtype = LMF_NF4, .block = LMF_NF4_BLOCK, .block_bytes = sizeof(lmf_nf4), .flags = LMF_FORMAT_QUANT,
                                    .name = "nf4", .n_scales = 1, .scale = { offsetof(lmf_nf4, d) + 2 }, .scale_mask = 0x7f80,
                                    .unpack = unpack, .pack = pack };
