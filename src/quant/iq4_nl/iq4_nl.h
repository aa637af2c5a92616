/* SPDX-License-Identifier: Apache-2.0 */
/* iq4_nl: 32 weights in 18 bytes, 4.5 bits each: w = d * level[q], q 0 .. 15. Levels lie closer together near zero, where most
 * weights are. Element e is the low nibble of qs[e] for e < 16, the high nibble of qs[e - 16] above.
 * Packing: q by the nearest level (halves upwards) to x / d0, d0 = (the element of greatest magnitude, with its sign) / -127; then d is the
 * scale that suits these codes best with weights x^2, kept as f16. A block of nothing (all under 1e-15) becomes zero bytes.
 * Source: ggml's block_iq4_nl and its reference quantizer, which leaves the codes of a block of nothing undefined; gguf-python's
 * IQ4_NL. */
#ifndef LMF_QUANT_IQ4_NL_IQ4_NL_H
#define LMF_QUANT_IQ4_NL_IQ4_NL_H
#include <stdint.h>

enum { LMF_IQ4_NL = 20 };

typedef struct lmf_iq4_nl {
    uint8_t d[2];    /* f16 */
    uint8_t qs[16];
} lmf_iq4_nl;
_Static_assert(sizeof(lmf_iq4_nl) == 18, "layout of iq4_nl");

#define LMF_IQ4_NL_LEVELS -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

#endif
