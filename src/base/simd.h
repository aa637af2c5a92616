/* SPDX-License-Identifier: Apache-2.0 */
/* simd: a vector of LMF_VF floats as wide as the ISA level that the file is compiled for (4, 8 or 16), in GCC's vector
 * types, so that one source serves all levels. Sums across a vector go in a fixed tree: the same bits at every call. */
#ifndef LMF_BASE_SIMD_H
#define LMF_BASE_SIMD_H
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define LMF_VF 16
#elif defined(__AVX2__)
#define LMF_VF 8
#else
#define LMF_VF 4
#endif

typedef float   lmf_vf __attribute__((vector_size(LMF_VF * 4), aligned(4)));
typedef int32_t lmf_vi __attribute__((vector_size(LMF_VF * 4), aligned(4)));

static inline lmf_vf lmf_vf_load(const float *p) { return *(const lmf_vf *)p; }
static inline void   lmf_vf_store(float *p, lmf_vf x) { *(lmf_vf *)p = x; }
/* x - 0 is x, also for -0, so that the compiler folds it to a broadcast */
static inline lmf_vf lmf_vf_set1(float x) { return x - (lmf_vf){ 0 }; }
static inline lmf_vf lmf_vf_fma(lmf_vf a, lmf_vf b, lmf_vf c)
{
#if defined(__AVX512F__)
    return (lmf_vf)__builtin_ia32_vfmaddps512_mask((__attribute__((vector_size(64))) float)a, (__attribute__((vector_size(64))) float)b,
                                                   (__attribute__((vector_size(64))) float)c, (unsigned short)-1, 4);
#elif defined(__FMA__)
    return (lmf_vf)__builtin_ia32_vfmaddps256((__attribute__((vector_size(32))) float)a, (__attribute__((vector_size(32))) float)b,
                                              (__attribute__((vector_size(32))) float)c);
#else
    return a * b + c;
#endif
}
static inline float lmf_vf_sum(lmf_vf x)
{
    float t[LMF_VF];
    lmf_vf_store(t, x);
    for (int n = LMF_VF / 2; n; n /= 2)
        for (int i = 0; i < n; i++)
            t[i] += t[i + n];
    return t[0];
}
static inline float lmf_vf_max(lmf_vf x)
{
    float m = x[0];
    for (int i = 1; i < LMF_VF; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}
/* mask lanes are all ones (a comparison's result) or zero. */
static inline lmf_vf lmf_vf_select(lmf_vi mask, lmf_vf yes, lmf_vf no) { return (lmf_vf)((mask & (lmf_vi)yes) | (~mask & (lmf_vi)no)); }
static inline lmf_vf lmf_vf_maximum(lmf_vf a, lmf_vf b) { return lmf_vf_select(a > b, a, b); }

/* exp: 2 ulp over the finite range; 0 below -87.3, inf above 88.7. Cephes' reduction and polynomial degree. */
static inline lmf_vf lmf_vf_exp(lmf_vf x)
{
    lmf_vf lo = lmf_vf_set1(-87.33654f), hi = lmf_vf_set1(88.72283f);
    lmf_vi under = x < lo, over = x > hi, nan = x != x;
    lmf_vf z = lmf_vf_select(under, lo, lmf_vf_select(over, hi, x));
    lmf_vf magic = lmf_vf_set1(12582912.0f); /* 1.5 * 2^23: adds and subtracts to round */
    lmf_vf n = lmf_vf_fma(z, lmf_vf_set1(1.44269504f), magic) - magic;
    lmf_vf r = lmf_vf_fma(n, lmf_vf_set1(-0.693359375f), z);
    r = lmf_vf_fma(n, lmf_vf_set1(2.12194440e-4f), r);
    lmf_vf p = lmf_vf_set1(1.9875691500e-4f);
    p = lmf_vf_fma(p, r, lmf_vf_set1(1.3981999507e-3f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(8.3334519073e-3f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(4.1665795894e-2f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(1.6666665459e-1f));
    p = lmf_vf_fma(p, r, lmf_vf_set1(5.0000001201e-1f));
    p = lmf_vf_fma(p, r * r, r + 1.0f);
    /* 2^n in two factors: n reaches 128 and -126 */
    lmf_vi e = __builtin_convertvector(n, lmf_vi), half = e >> 1;
    lmf_vi a = (half + 127) << 23, b = (e - half + 127) << 23;
    p = p * (lmf_vf)a * (lmf_vf)b;
    p = lmf_vf_select(under, (lmf_vf){ 0 }, p);
    p = lmf_vf_select(over, lmf_vf_set1(INFINITY), p);
    return lmf_vf_select(nan, x, p);
}

/* tanh: 3 ulp; of NaN NaN. Cephes' polynomial below 0.625, above it 1 - 2 / (exp(2 |x|) + 1). */
static inline lmf_vf lmf_vf_tanh(lmf_vf x)
{
    lmf_vi sign = (lmf_vi)x & (int32_t)0x80000000;
    lmf_vf a = (lmf_vf)((lmf_vi)x ^ sign), z = x * x, p = lmf_vf_set1(-5.70498872745e-3f);
    p = lmf_vf_fma(p, z, lmf_vf_set1(2.06390887954e-2f));
    p = lmf_vf_fma(p, z, lmf_vf_set1(-5.37397155531e-2f));
    p = lmf_vf_fma(p, z, lmf_vf_set1(1.33314422036e-1f));
    p = lmf_vf_fma(p, z, lmf_vf_set1(-3.33332819422e-1f));
    lmf_vf far = 1 - 2 / (lmf_vf_exp(2 * a) + 1);
    return lmf_vf_select(a < lmf_vf_set1(0.625f), lmf_vf_fma(p * z, x, x), (lmf_vf)((lmf_vi)far | sign));
}

#endif
