/* SPDX-License-Identifier: Apache-2.0 */
/* q4_1: 32 weights in 20 bytes, 5 bits each: w = d * q + m, q 0 .. 15.
 * Element e is the low nibble of qs[e] for e < 16, the high nibble of qs[e - 16] above.
 * Packing: m = least element, d = (greatest - m) / 15, q = trunc((x - m) / d + 0.5), at most 15. d and m are kept as
 * f16, but q is taken with the f32 values.
 * Source: ggml's block_q4_1 and its reference quantizer; gguf-python's Q4_1. */
#ifndef LMF_QUANT_Q4_1_Q4_1_H
#define LMF_QUANT_Q4_1_Q4_1_H
#include <stdint.h>

typedef struct lmf_q4_1 {
    uint8_t d[2];    /* f16 */
    uint8_t m[2];    /* f16 */
    uint8_t qs[16];
} lmf_q4_1;
_Static_assert(sizeof(lmf_q4_1) == 20, "layout of q4_1");

#endif
