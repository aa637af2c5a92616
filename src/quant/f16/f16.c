/* SPDX-License-Identifier: Apache-2.0 */
/* f16: IEEE 754 half: 1 sign, 5 exponent, 10 fraction bits. Little-endian, at any address. Packing rounds to
 * nearest even; NaN stays NaN. */
#include "base/half.h"
#include "device/dtype.h"

static void unpack(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++)
        dst[i] = lmf_f16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}
static void pack(const float *src, void *dst, int64_t n)
{
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = lmf_f32_to_f16(src[i]);
        p[2 * i] = (uint8_t)h, p[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

const lmf_format lmf_format_f16 = { .dtype = LMF_F16, .block = 1, .block_bytes = 2, .flags = LMF_FORMAT_FLOAT, .name = "f16",
                                   .unpack = unpack, .pack = pack,
                                   .file_type = 1, .written = { "nearly exact", .error = 0.001, .kl = 0.001 } };
