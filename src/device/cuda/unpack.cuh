/* SPDX-License-Identifier: Apache-2.0 */
/* unpack: one element of a row in any format that CUDA kernels read, as f32: lmf_load<LMF_Q4_1>(row, i). The values are those
 * of lmf_format.unpack (src/quant), bit for bit. LMF_EACH_FORMAT(X) instantiates a kernel for each: X(q4_1, LMF_Q4_1). */
#ifndef LMF_DEVICE_CUDA_UNPACK_CUH
#define LMF_DEVICE_CUDA_UNPACK_CUH
#include "device/cuda/kernel.cuh"

enum { LMF_F32 = 0, LMF_F16 = 1, LMF_Q4_0 = 2, LMF_Q4_1 = 3, LMF_Q8_0 = 8, LMF_F64 = 28, LMF_BF16 = 30 }; /* device/dtype.h */

#define LMF_EACH_FORMAT(X) X(f32, LMF_F32) X(f16, LMF_F16) X(bf16, LMF_BF16) X(f64, LMF_F64) X(q4_0, LMF_Q4_0) X(q4_1, LMF_Q4_1) X(q8_0, LMF_Q8_0)

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

#endif
