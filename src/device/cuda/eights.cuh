/* SPDX-License-Identifier: Apache-2.0 */
/* eights: eight elements of a row of a matrix [N, K] in whole words, for products that read it once: lmf_eight<dtype>(row, i) are those from
 * x0 on and those from x1 on, four each. Which eight the i-th are is up to the format; all i below K / 8 are all of the row. */
#ifndef LMF_DEVICE_CUDA_EIGHTS_CUH
#define LMF_DEVICE_CUDA_EIGHTS_CUH
#include "device/cuda/unpack.cuh"

typedef struct lmf_eight_t { float w[8]; } lmf_eight_t;
template <int dtype> static __device__ __forceinline__ lmf_eight_t lmf_eight(const uint8_t *row, int i);

/* Where they stand: a block of 32 has its low nibbles first, 16 elements before the high ones. */
template <int dtype> static __device__ __forceinline__ int lmf_eight_x0(int i)
{
    return dtype == LMF_Q4_0 || dtype == LMF_Q4_1 ? (i >> 2) * 32 + (i & 3) * 4 : 8 * i;
}
template <int dtype> static __device__ __forceinline__ int lmf_eight_x1(int i)
{
    return lmf_eight_x0<dtype>(i) + (dtype == LMF_Q4_0 || dtype == LMF_Q4_1 ? 16 : 4);
}

static __device__ __forceinline__ lmf_eight_t lmf_eight_of(float4 a, float4 b) { return { { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w } }; }
static __device__ __forceinline__ float2 lmf_halves(unsigned w)
{
    return make_float2(__half2float(__ushort_as_half((unsigned short)w)), __half2float(__ushort_as_half((unsigned short)(w >> 16))));
}
static __device__ __forceinline__ float2 lmf_bhalves(unsigned p)
{
    return make_float2(__uint_as_float(p << 16), __uint_as_float(p & 0xffff0000u));
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_F32>(const uint8_t *row, int i)
{
    const float4 *p = (const float4 *)row + 2 * i;
    return lmf_eight_of(p[0], p[1]);
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_F16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = lmf_halves(p.x), b = lmf_halves(p.y), c = lmf_halves(p.z), d = lmf_halves(p.w);
    return lmf_eight_of(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y));
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_BF16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = lmf_bhalves(p.x), b = lmf_bhalves(p.y), c = lmf_bhalves(p.z), d = lmf_bhalves(p.w);
    return lmf_eight_of(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y));
}
/* A quarter of a block of 32: four low nibbles and four high ones. */
static __device__ __forceinline__ lmf_eight_t lmf_nibbles(unsigned q, float scale, float add, int minus)
{
    lmf_eight_t e;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        e.w[j] = scale * (float)((int)(q >> 8 * j & 15) - minus) + add;
        e.w[4 + j] = scale * (float)((int)(q >> (8 * j + 4) & 15) - minus) + add;
    }
    return e;
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_Q4_1>(const uint8_t *row, int i)
{
    const unsigned *p = (const unsigned *)(row + (i >> 2) * 20); /* 20 bytes: always on a word */
    float2 s = lmf_halves(p[0]);
    return lmf_nibbles(p[1 + (i & 3)], s.x, s.y, 0);
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_Q4_0>(const uint8_t *row, int i)
{
    const uint16_t *p = (const uint16_t *)(row + (i >> 2) * 18);
    return lmf_nibbles(p[1 + 2 * (i & 3)] | (unsigned)p[2 + 2 * (i & 3)] << 16, __half2float(__ushort_as_half(p[0])), 0, 8);
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_Q8_0>(const uint8_t *row, int i)
{
    const uint16_t *p = (const uint16_t *)(row + (i >> 2) * 34);
    float scale = __half2float(__ushort_as_half(p[0]));
    lmf_eight_t e;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        unsigned q = p[1 + 4 * (i & 3) + j];
        e.w[2 * j] = scale * (float)(int8_t)(q & 255), e.w[2 * j + 1] = scale * (float)(int8_t)(q >> 8);
    }
    return e;
}

#endif
