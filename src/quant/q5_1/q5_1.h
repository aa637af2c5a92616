/* SPDX-License-Identifier: Apache-2.0 */
/* q5_1: 32 weights in 24 bytes, 6 bits each: w = d * q + m, q 0 .. 31.
 * The low four bits of element e are the low nibble of qs[e] for e < 16, the high nibble of qs[e - 16] above; its fifth
 * bit is bit e of qh, read as a little-endian 32-bit number.
 * Packing: m = least element, d = (greatest - m) / 31, q = trunc((x - m) / d + 0.5), at most 31. d and m are kept as
 * f16, but q is taken with the f32 values.
 * Source: ggml's block_q5_1 and its reference quantizer; gguf-python's Q5_1. */
#ifndef LMF_QUANT_Q5_1_Q5_1_H
#define LMF_QUANT_Q5_1_Q5_1_H
#include <stdint.h>

enum { LMF_Q5_1 = 7 };

typedef struct lmf_q5_1 {
    uint8_t d[2], m[2];    /* f16 */
    uint8_t qh[4];
    uint8_t qs[16];
} lmf_q5_1;
_Static_assert(sizeof(lmf_q5_1) == 24, "layout of q5_1");

#endif
