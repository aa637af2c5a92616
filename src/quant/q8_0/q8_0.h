/* SPDX-License-Identifier: Apache-2.0 */
/* q8_0: 32 weights in 34 bytes, 8.5 bits each: w = d * q, q -128 .. 127 (packing gives -127 .. 127).
 * Packing: d = (greatest magnitude) / 127, q = x / d rounded to nearest, halves away from zero. d is kept as f16, but
 * q is taken with the f32 d.
 * Source: ggml's block_q8_0 and its reference quantizer; gguf-python's Q8_0. */
#ifndef LMF_QUANT_Q8_0_Q8_0_H
#define LMF_QUANT_Q8_0_Q8_0_H
#include <stdint.h>

typedef struct lmf_q8_0 {
    uint8_t d[2];    /* f16 */
    int8_t  qs[32];
} lmf_q8_0;
_Static_assert(sizeof(lmf_q8_0) == 34, "layout of q8_0");

#endif
