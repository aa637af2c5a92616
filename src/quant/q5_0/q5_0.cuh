/* SPDX-License-Identifier: Apache-2.0 */
/* q5_0 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q5_0_Q5_0_CUH
#define LMF_QUANT_Q5_0_Q5_0_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q5_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 22;
    int e = (int)(i & 31), q = p[6 + (e & 15)];
    return lmf_half_at(p) * (float)(((e & 16 ? q >> 4 : q & 15) | (p[2 + (e >> 3)] >> (e & 7) & 1) << 4) - 16);
}

#endif
