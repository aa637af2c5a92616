/* SPDX-License-Identifier: Apache-2.0 */
/* f16 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_F16_F16_CUH
#define LMF_QUANT_F16_F16_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_F16>(const void *row, int64_t i) { return __half2float(((const __half *)row)[i]); }
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_F16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = lmf_halves(p.x), b = lmf_halves(p.y), c = lmf_halves(p.z), d = lmf_halves(p.w);
    return lmf_eight_of(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y));
}

#endif
