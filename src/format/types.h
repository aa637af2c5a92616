/* SPDX-License-Identifier: Apache-2.0 */
/* types: how many bytes a tensor of a file takes. GGUF numbers more types than LMFast computes with; a file that
 * holds one can still be listed, checked and copied. Numbers of our own (200 and up) come from the context's
 * table. Threads: read only. */
#ifndef LMF_FORMAT_TYPES_H
#define LMF_FORMAT_TYPES_H
#include "device/dtype.h"

enum { LMF_FILE_MAX_DIMS = 8, /* safetensors has no limit of its own; GGUF stops at 4 */
       LMF_DTYPE_RAW = 0xffff /* a type that has no number here: bytes with a name */ };

typedef struct lmf_file_type {
    uint16_t    dtype;       /* GGUF's type number */
    uint16_t    block;       /* elements */
    uint32_t    block_bytes;
    const char *name;        /* "Q4_1" */
} lmf_file_type;

/* False: no such number. */
bool lmf_file_type_get(const lmf_ctx *ctx, uint32_t dtype, lmf_file_type *out);
/* Bytes of dim[0] x ... x dim[n-1], innermost last. False: a dimension below 1, an innermost one that is no whole
 * number of blocks, or a size past 2^62. */
bool lmf_file_type_bytes(const lmf_file_type *type, const int64_t *dim, int n_dims, size_t *bytes);
/* No NaN, no infinity. dtype F32, F16, BF16 or F64; any other is true. Any alignment. */
bool lmf_floats_are_finite(uint16_t dtype, const void *data, size_t bytes);
/* The same of the scales of a block format; codes are always finite, so its values are finite then. Any other is true. */
bool lmf_scales_are_finite(const lmf_format *f, const void *data, size_t bytes);

#endif
