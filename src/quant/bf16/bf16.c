/* SPDX-License-Identifier: Apache-2.0 */
/* bf16: the upper half of an f32: 1 sign, 8 exponent, 7 fraction bits. Little-endian, at any address. Packing rounds to
 * nearest even; NaN stays NaN. */
#include "base/half.h"
#include "device/dtype.h"

static void unpack(const void *src, float *dst, int64_t n)
{
    const uint8_t *p = src;
    for (int64_t i = 0; i < n; i++)
        dst[i] = lmf_bf16_to_f32((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
}
static void pack(const float *src, void *dst, int64_t n)
{
    uint8_t *p = dst;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = lmf_f32_to_bf16(src[i]);
        p[2 * i] = (uint8_t)h, p[2 * i + 1] = (uint8_t)(h >> 8);
    }
}

const lmf_format lmf_format_bf16 = { .dtype = LMF_BF16, .block = 1, .block_bytes = 2, .flags = LMF_FORMAT_FLOAT, .name = "bf16",
                                   .unpack = unpack, .pack = pack,
                                   .file_type = 32, .written = { "as trained, where that was bf16", .error = 0.004, .kl = 0.01 } };
