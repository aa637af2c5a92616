/* SPDX-License-Identifier: Apache-2.0 */
/* q4_1 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q4_1_Q4_1_CUH
#define LMF_QUANT_Q4_1_Q4_1_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q4_1>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 20;
    int q = p[4 + (i & 15)];
    return lmf_half_at(p) * (float)(i & 16 ? q >> 4 : q & 15) + lmf_half_at(p + 2);
}
template <> constexpr bool lmf_eight_has_halves<LMF_Q4_1> = true;
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_Q4_1>(const uint8_t *row, int i)
{
    const unsigned *p = (const unsigned *)(row + (i >> 2) * 20); /* 20 bytes: always on a word */
    float2 s = lmf_halves(p[0]);
    return lmf_nibbles(p[1 + (i & 3)], s.x, s.y, 0);
}

#endif
