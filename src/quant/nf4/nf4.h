/* SPDX-License-Identifier: Apache-2.0 */
/* nf4: 64 weights in 36 bytes, 4.5 bits each: w = d * level(q), q 0 .. 15, levels the quantiles of a bell curve between -1 and 1.
 * Element 2 i is the high nibble of qs[i], 2 i + 1 the low one. d is f32: the greatest magnitude of the block, or what double
 * quantization made of it, so that values are bit by bit those of bitsandbytes in f32.
 * Packing: q is the level nearest to x * (1 / d), of two as near the lower one.
 * Double quantization, of all blocks of a tensor in order: the mean of their d is taken off, the rest kept in 8 bits (quant/dynamic8.h)
 * with one f32 to 256 blocks. bitsandbytes keeps those bits (4.13 a weight); here each block holds the d that they stand for.
 * Source: Dettmers et al. 2023, arXiv 2305.14314; bitsandbytes' Params4bit. */
#ifndef LMF_QUANT_NF4_NF4_H
#define LMF_QUANT_NF4_NF4_H
#include <stdint.h>
#include "base/ctx.h"

enum { LMF_NF4_BLOCK = 64, LMF_NF4_NESTED = 256 };
typedef struct lmf_nf4 {
    uint8_t d[4];    /* f32 */
    uint8_t qs[32];
} lmf_nf4;
_Static_assert(sizeof(lmf_nf4) == 36, "layout of nf4");

extern const float lmf_nf4_levels[16];

/* The blocks of one tensor, packed: their d becomes what double quantization keeps of it. */
lmf_status lmf_nf4_double(lmf_ctx *ctx, lmf_nf4 *blocks, int64_t n);
static inline float lmf_nf4_scale(const lmf_nf4 *b)
{
    float d;
    __builtin_memcpy(&d, b->d, sizeof d);
    return d;
}

#endif
