/* SPDX-License-Identifier: Apache-2.0 */
/* q4_k on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q4_K_Q4_K_CUH
#define LMF_QUANT_Q4_K_Q4_K_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q4_K>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 8) * 144, *sm = p + 4;
    int g = (int)(i >> 5 & 7), e = (int)(i & 31);
    int scale = g < 4 ? sm[g] & 63 : (sm[g + 4] & 15) | sm[g - 4] >> 6 << 4, offset = g < 4 ? sm[g + 4] & 63 : sm[g + 4] >> 4 | sm[g] >> 6 << 4;
    float d = lmf_half_at(p) * (float)scale, m = -(lmf_half_at(p + 2) * (float)offset);
    return d * (float)(p[16 + (g >> 1) * 32 + e] >> (g & 1) * 4 & 15) + m;
}

#endif
