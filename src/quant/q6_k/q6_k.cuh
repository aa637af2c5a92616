/* SPDX-License-Identifier: Apache-2.0 */
/* q6_k on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q6_K_Q6_K_CUH
#define LMF_QUANT_Q6_K_Q6_K_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q6_K>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 8) * 210;
    int h = (int)(i >> 7 & 1), r = (int)(i >> 5 & 3), e = (int)(i & 31);
    int low = p[64 * h + 32 * (r & 1) + e] >> (r >> 1) * 4 & 15, high = p[128 + 32 * h + e] >> 2 * r & 3;
    float d = lmf_half_at(p + 208) * (float)(int8_t)p[192 + (i >> 4 & 15)];
    return d * (float)((low | high << 4) - 32);
}

#endif
