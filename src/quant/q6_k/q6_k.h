/* SPDX-License-Identifier: Apache-2.0 */
/* q6_k: 256 weights in 210 bytes, 6.5625 bits each, as 16 groups of 16: w = (d * scale_g) * (q - 32), q 0 .. 63.
 * A half h holds 4 rows r of 32 elements, 128 h + 32 r + e: the low four bits are a nibble of ql[64 h + 32 (r % 2) + e],
 * low for r < 2 and high above; the upper two are bits 2r and 2r+1 of qh[32 h + e].
 * Packing searches, per group, 19 scales near (element of greatest magnitude) / -32 for the least square error weighted
 * by x^2, each with its best fit; the scale of greatest magnitude becomes -128; then codes are taken anew with what is
 * stored. A block whose scales are all under 1e-15 becomes zero bytes.
 * Source: ggml's block_q6_K and its reference quantizer; gguf-python's Q6_K. */
#ifndef LMF_QUANT_Q6_K_Q6_K_H
#define LMF_QUANT_Q6_K_Q6_K_H
#include <stdint.h>

enum { LMF_Q6_K = 14 };

typedef struct lmf_q6_k {
    uint8_t ql[128], qh[64];
    int8_t  scale[16];
    uint8_t d[2];             /* f16 */
} lmf_q6_k;
_Static_assert(sizeof(lmf_q6_k) == 210, "layout of q6_k");

#endif
