/* SPDX-License-Identifier: Apache-2.0 */
/* q4_k: 256 weights in 144 bytes, 4.5 bits each, as 8 groups of 32: w = (d * s_g) * q - (dmin * m_g), q 0 .. 15.
 * Codes: group 2c is the low nibbles of qs[32c .. 32c+31], group 2c+1 the high nibbles of the same bytes.
 * The 6-bit s and m of groups 0 .. 3 are the low 6 bits of sm[0 .. 3] and sm[4 .. 7]. Those of groups 4 .. 7: s has its
 * low 4 bits in the low nibble of sm[8 + g - 4], m in the high nibble; their upper 2 bits are the top bits of
 * sm[g - 4] and sm[g].
 * Packing searches, per group, 21 scales near (greatest - offset) / 15 for the least weighted square error, with weight
 * rms + |x| and an offset by least squares, never positive, from which the next try starts; then quantizes scales and offsets to 6 bits and takes the codes
 * anew with what is stored.
 * Source: ggml's block_q4_K and its reference quantizer; gguf-python's Q4_K. */
#ifndef LMF_QUANT_Q4_K_Q4_K_H
#define LMF_QUANT_Q4_K_Q4_K_H
#include <stdint.h>

enum { LMF_Q4_K = 12 };

typedef struct lmf_q4_k {
    uint8_t d[2], dmin[2];    /* f16 */
    uint8_t sm[12];           /* 6-bit scales and offsets of the groups */
    uint8_t qs[128];
} lmf_q4_k;
_Static_assert(sizeof(lmf_q4_k) == 144, "layout of q4_k");

#endif
