/* SPDX-License-Identifier: Apache-2.0 */
/* bf16 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_BF16_BF16_CUH
#define LMF_QUANT_BF16_BF16_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_BF16>(const void *row, int64_t i)
{
    return __uint_as_float((unsigned)((const uint16_t *)row)[i] << 16);
}
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_BF16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = lmf_bhalves(p.x), b = lmf_bhalves(p.y), c = lmf_bhalves(p.z), d = lmf_bhalves(p.w);
    return lmf_eight_of(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y));
}

#endif
