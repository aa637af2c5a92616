/* SPDX-License-Identifier: Apache-2.0 */
/* lora_merge_draw: the fixed draw by which an element is rounded up or down. Read by C and CUDA alike. */
#ifndef LMF_OPS_LORA_MERGE_DRAW_H
#define LMF_OPS_LORA_MERGE_DRAW_H
#include <stdint.h>
#ifdef __CUDACC__
#define LMF_BOTH __host__ __device__
#else
#define LMF_BOTH
#endif

/* bf16 bits of x, whose f32 bits are given: up with the odds of the part that is cut off. NaN and infinities stay what they are. */
LMF_BOTH static inline uint16_t lmf__merge_round(uint32_t bits, uint64_t element)
{
    uint32_t h = (uint32_t)element ^ (uint32_t)(element >> 32) * 0x9e3779b9u;
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    if ((bits & 0x7f800000u) == 0x7f800000u)
        return (uint16_t)(bits >> 16 | ((bits & 0x7fffffu) != 0 ? 0x40u : 0u));
    return (uint16_t)((bits + (h >> 16)) >> 16);
}

#endif
