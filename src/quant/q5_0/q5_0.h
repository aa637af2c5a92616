/* SPDX-License-Identifier: Apache-2.0 */
/* q5_0: 32 weights in 22 bytes, 5.5 bits each: w = d * (q - 16), q 0 .. 31.
 * The low four bits of element e are the low nibble of qs[e] for e < 16, the high nibble of qs[e - 16] above; its fifth
 * bit is bit e of qh, read as a little-endian 32-bit number.
 * Packing: d = (the element of greatest magnitude, with its sign) / -16, so that element gets q = 0; the others
 * q = trunc(x / d + 16.5), at most 31. d is kept as f16, but q is taken with the f32 d.
 * Source: ggml's block_q5_0 and its reference quantizer; gguf-python's Q5_0. */
#ifndef LMF_QUANT_Q5_0_Q5_0_H
#define LMF_QUANT_Q5_0_Q5_0_H
#include <stdint.h>

enum { LMF_Q5_0 = 6 };

typedef struct lmf_q5_0 {
    uint8_t d[2];    /* f16 */
    uint8_t qh[4];
    uint8_t qs[16];
} lmf_q5_0;
_Static_assert(sizeof(lmf_q5_0) == 22, "layout of q5_0");

#endif
