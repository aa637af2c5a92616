/* SPDX-License-Identifier: Apache-2.0 */
/* half: f16 and bf16 to f32 and back, round to nearest even, NaN kept quiet. */
#ifndef LMF_BASE_HALF_H
#define LMF_BASE_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t lmf_f32_bits(float f) { uint32_t u; memcpy(&u, &f, 4); return u; }
static inline float lmf_bits_f32(uint32_t u) { float f; memcpy(&f, &u, 4); return f; }

static inline float lmf_bf16_to_f32(uint16_t h) { return lmf_bits_f32((uint32_t)h << 16); }
static inline uint16_t lmf_f32_to_bf16(float f)
{
    uint32_t u = lmf_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

static inline float lmf_f16_to_f32(uint16_t h)
{
#if defined(__F16C__) || defined(__AVX512F__)
    return __builtin_ia32_vcvtph2ps((__attribute__((vector_size(16))) short){ (short)h, 0, 0, 0, 0, 0, 0, 0 })[0];
#else
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3ff;
    if (exp == 31)
        return lmf_bits_f32(sign | 0x7f800000u | man << 13 | (man ? 0x400000u : 0));
    if (exp == 0) {
        float f = (float)man * 0x1p-24f; /* exact */
        return sign ? -f : f;
    }
    return lmf_bits_f32(sign | (exp + 112) << 23 | man << 13);
#endif
}

static inline uint16_t lmf_f32_to_f16(float f)
{
    uint32_t u = lmf_f32_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00 | (a >> 13 & 0x3ff));
    if (a >= 0x47800000u) /* 65536 and up, or infinity */
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x38800000u) { /* subnormal: adding 0.5 rounds at the right bit */
        float r = lmf_bits_f32(a) + 0.5f;
        return (uint16_t)(sign | (lmf_f32_bits(r) - 0x3f000000u));
    }
    a += 0xfff + (a >> 13 & 1); /* may carry into infinity, as it should */
    return (uint16_t)(sign | (a - 0x38000000u) >> 13);
}

#endif
