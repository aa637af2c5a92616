/* SPDX-License-Identifier: Apache-2.0 */
/* formats_test: what every block format is put through; a <name>_test.c says only what its format promises. */
#ifndef LMF_QUANT_FORMATS_TEST_H
#define LMF_QUANT_FORMATS_TEST_H
#include "device/dtype.h"
#include "test.h"

typedef struct lmf_format_promise {
    uint16_t dtype, block;
    uint32_t block_bytes;
    uint32_t flags;
    double   step;       /* pack then unpack: |error| <= step * (greatest - least element of the block, 0 included) */
    double   rel;        /* + rel * |x| (floats: half an ulp) */
    double   abs;        /* + abs (f16 below its normal range) */
    bool     has_dot;
    uint64_t packed, values; /* block formats: hashes of a formula's numbers, packed and unpacked by others (tools/golden/formats.py) */
} lmf_format_promise;

/* Sizes and name; fast unpack against the reference bit by bit on random bytes, any address; dots of all rows that
 * this machine can run against f64, and the same bits for n_x 1 .. 8; round trip; zero, NaN and infinite blocks; values are finite where the listed scales are. */
void lmf_format_check(const char *name, const lmf_format_promise *p);

#endif
