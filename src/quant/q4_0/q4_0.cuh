/* SPDX-License-Identifier: Apache-2.0 */
/* q4_0 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_Q4_0_Q4_0_CUH
#define LMF_QUANT_Q4_0_Q4_0_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_Q4_0>(const void *row, int64_t i)
{
    const uint8_t *p = (const uint8_t *)row + (i >> 5) * 18;
    int q = p[2 + (i & 15)];
    return lmf_half_at(p) * (float)((i & 16 ? q >> 4 : q & 15) - 8);
}
template <> constexpr bool lmf_eight_has_halves<LMF_Q4_0> = true;
template <> __device__ __forceinline__ lmf_eight_t lmf_eight<LMF_Q4_0>(const uint8_t *row, int i)
{
    const uint16_t *p = (const uint16_t *)(row + (i >> 2) * 18);
    return lmf_nibbles(p[1 + 2 * (i & 3)] | (unsigned)p[2 + 2 * (i & 3)] << 16, __half2float(__ushort_as_half(p[0])), 0, 8);
}

#endif
