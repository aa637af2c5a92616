/* SPDX-License-Identifier: Apache-2.0 */
/* q4_0: 32 weights in 18 bytes, 4.5 bits each: w = d * (q - 8), q 0 .. 15.
 * Element e is the low nibble of qs[e] for e < 16, the high nibble of qs[e - 16] above.
 * Packing: d = (the element of greatest magnitude, with its sign) / -8, so that element gets q = 0; the others
 * q = trunc(x / d + 8.5), at most 15. d is kept as f16, but q is taken with the f32 d.
 * Source: ggml's block_q4_0 and its reference quantizer; gguf-python's Q4_0. */
#ifndef LMF_QUANT_Q4_0_Q4_0_H
#define LMF_QUANT_Q4_0_Q4_0_H
#include <stdint.h>

typedef struct lmf_q4_0 {
    uint8_t d[2];    /* f16 */
    uint8_t qs[16];
} lmf_q4_0;
_Static_assert(sizeof(lmf_q4_0) == 18, "layout of q4_0");

#endif
