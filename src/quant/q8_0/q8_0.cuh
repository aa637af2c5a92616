/* SPDX-License-Identifier: Apache-2.0 */
/* q8_0 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q8_0_Q8_0_CUH
#define LMF_QUANT_Q8_0_Q8_0_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q8_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 34;
    return lmf_half_at(p) * (float)(int8_t)p[2 + (i & 31)];
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
