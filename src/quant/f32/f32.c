/* SPDX-License-Identifier: Apache-2.0 */
/* f32: IEEE 754 single, little-endian, at any address. */
#include "device/dtype.h"
#include <string.h>

static void unpack(const void *src, float *dst, int64_t n) { memcpy(dst, src, (size_t)n * 4); }
static void pack(const float *src, void *dst, int64_t n) { memcpy(dst, src, (size_t)n * 4); }

const lmf_format lmf_format_f32 = { .dtype = LMF_F32, .block = 1, .block_bytes = 4, .flags = LMF_FORMAT_FLOAT, .name = "f32",
                                    .unpack = unpack, .pack = pack,
                                    .written = { "exact", .error = 1e-06, .dlogit = 0.001, .kl = 1e-06 } };
