/* SPDX-License-Identifier: Apache-2.0 */
/* q5_1 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q5_1_Q5_1_CUH
#define LMF_QUANT_Q5_1_Q5_1_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q5_1>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 24;
    int e = (int)(i & 31), q = p[8 + (e & 15)];
    return lmf_half_at(p) * (float)((e & 16 ? q >> 4 : q & 15) | (p[4 + (e >> 3)] >> (e & 7) & 1) << 4) + lmf_half_at(p + 2);
}

#endif
