/* SPDX-License-Identifier: Apache-2.0 */
/* f64: IEEE 754 double, little-endian, at any address. Unpacking rounds to f32, nearest even; packing is exact. */
#include "device/dtype.h"
#include <string.h>

static void unpack(const void *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x;
        memcpy(&x, (const char *)src + 8 * i, 8);
        dst[i] = (float)x;
    }
}
static void pack(const float *src, void *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double x = src[i];
        memcpy((char *)dst + 8 * i, &x, 8);
    }
}

const lmf_format lmf_format_f64 = { .dtype = LMF_F64, .block = 1, .block_bytes = 8, .flags = LMF_FORMAT_FLOAT, .name = "f64",
                                    .unpack = unpack, .pack = pack };
