/* SPDX-License-Identifier: Apache-2.0 */
/* formats: host code's side of device/cuda/unpack.cuh. A *_cuda.c file makes its table of kernels from LMF_EACH_FORMAT(X) or
 * LMF_EACH_EIGHT(X), X(q4_1, LMF_Q4_1), and finds its row by the name of a view's format:
 *
 *     static const struct { const char *name, *kernel; } rows[] = {
 *     #define ROW(name, dtype) { #name, "embed_fwd_" #name },
 *         LMF_EACH_FORMAT(ROW)
 *     #undef ROW
 *     };
 *     int i = LMF_CUDA_FORMAT(rows, v->fmt);      // -1: no kernel reads it */
#ifndef LMF_DEVICE_CUDA_FORMATS_H
#define LMF_DEVICE_CUDA_FORMATS_H
#include <string.h>
#include "device/dtype.h"
#include "cuda_formats.h"

#define LMF_CUDA_FORMAT(rows, fmt) lmf__cuda_format(&(rows)[0].name, sizeof (rows) / sizeof *(rows), sizeof *(rows), fmt)
static inline int lmf__cuda_format(const char *const *name, size_t n, size_t row_bytes, const lmf_format *fmt)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(*(const char *const *)((const char *)name + i * row_bytes), fmt->name) == 0)
            return (int)i;
    return -1;
}

/* lmf_eight reads a row in words of so many bytes: rows begin on one. */
static inline int64_t lmf_cuda_word(const lmf_format *fmt) { return fmt->block == 1 ? 16 : fmt->block_bytes % 4 ? 2 : 4; }

#endif
