/* SPDX-License-Identifier: Apache-2.0 */
/* f32 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_F32_F32_CUH
#define LMF_QUANT_F32_F32_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_F32>(const void *row, int64_t i) { return ((const float *)row)[i]; }
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_F32>(const uint8_t *row, int i)
{
    const float4 *p = (const float4 *)row + 2 * i;
    return lmf_eight_of(p[0], p[1]);
}

#endif
