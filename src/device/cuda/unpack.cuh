/* SPDX-License-Identifier: Apache-2.0 */
/* unpack: one element of a row in any format that CUDA kernels read, as f32: lmf_load<LMF_Q4_1>(row, i). The values are those
 * of lmf_format.unpack (src/quant), bit for bit. LMF_EACH_FORMAT(X) instantiates a kernel for each: X(q4_1, LMF_Q4_1). */
#ifndef LMF_DEVICE_CUDA_UNPACK_CUH
#define LMF_DEVICE_CUDA_UNPACK_CUH
#include "device/cuda/kernel.cuh"

/* device/dtype.h, and src/quant/<name>/<name>.h */
enum { LMF_F32 = 0, LMF_F16 = 1, LMF_Q4_0 = 2, LMF_Q4_1 = 3, LMF_Q5_0 = 6, LMF_Q8_0 = 8, LMF_Q4_K = 12, LMF_Q6_K = 14, LMF_F64 = 28, LMF_BF16 = 30 };

#define LMF_EACH_FORMAT(X) X(f32, LMF_F32) X(f16, LMF_F16) X(bf16, LMF_BF16) X(f64, LMF_F64) X(q4_0, LMF_Q4_0) X(q4_1, LMF_Q4_1) \
    X(q5_0, LMF_Q5_0) X(q8_0, LMF_Q8_0) X(q4_k, LMF_Q4_K) X(q6_k, LMF_Q6_K)

static __device__ __forceinline__ float lmf_half_at(const uint8_t *p)
{
    return __half2float(__ushort_as_half((unsigned short)(p[0] | p[1] << 8)));
}

template <int dtype> __device__ __forceinline__ float lmf_load(const void *row, int64_t i);
template <> __device__ __forceinline__ float lmf_load<LMF_F32>(const void *row, int64_t i) { return ((const float *)row)[i]; }
template <> __device__ __forceinline__ float lmf_load<LMF_F64>(const void *row, int64_t i) { return (float)((const double *)row)[i]; }
template <> __device__ __forceinline__ float lmf_load<LMF_F16>(const void *row, int64_t i) { return __half2float(((const __half *)row)[i]); }
template <> __device__ __forceinline__ float lmf_load<LMF_BF16>(const void *row, int64_t i)
{
    return __uint_as_float((unsigned)((const uint16_t *)row)[i] << 16);
}
template <> __device__ __forceinline__ float lmf_load<LMF_Q8_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 34;
    return lmf_half_at(p) * (float)(int8_t)p[2 + (i & 31)];
}
template <> __device__ __forceinline__ float lmf_load<LMF_Q4_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 18;
    int q = p[2 + (i & 15)];
    return lmf_half_at(p) * (float)((i & 16 ? q >> 4 : q & 15) - 8);
}
template <> __device__ __forceinline__ float lmf_load<LMF_Q4_1>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 20;
    int q = p[4 + (i & 15)];
    return lmf_half_at(p) * (float)(i & 16 ? q >> 4 : q & 15) + lmf_half_at(p + 2);
}

template <> __device__ __forceinline__ float lmf_load<LMF_Q5_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 22;
    int e = (int)(i & 31), q = p[6 + (e & 15)];
    return lmf_half_at(p) * (float)(((e & 16 ? q >> 4 : q & 15) | (p[2 + (e >> 3)] >> (e & 7) & 1) << 4) - 16);
}
template <> __device__ __forceinline__ float lmf_load<LMF_Q4_K>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 8) * 144, *sm = p + 4;
    int g = (int)(i >> 5 & 7), e = (int)(i & 31);
    int scale = g < 4 ? sm[g] & 63 : (sm[g + 4] & 15) | sm[g - 4] >> 6 << 4, offset = g < 4 ? sm[g + 4] & 63 : sm[g + 4] >> 4 | sm[g] >> 6 << 4;
    float d = lmf_half_at(p) * (float)scale, m = -(lmf_half_at(p + 2) * (float)offset);
    return d * (float)(p[16 + (g >> 1) * 32 + e] >> (g & 1) * 4 & 15) + m;
}
template <> __device__ __forceinline__ float lmf_load<LMF_Q6_K>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 8) * 210;
    int h = (int)(i >> 7 & 1), r = (int)(i >> 5 & 3), e = (int)(i & 31);
    int low = p[64 * h + 32 * (r & 1) + e] >> (r >> 1) * 4 & 15, high = p[128 + 32 * h + e] >> 2 * r & 3;
    float d = lmf_half_at(p + 208) * (float)(int8_t)p[192 + (i >> 4 & 15)];
    return d * (float)((low | high << 4) - 32);
}

#endif
