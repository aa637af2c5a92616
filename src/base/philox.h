/* SPDX-License-Identifier: Apache-2.0 */
/* philox: counter-based random numbers, Philox4x32-10. The same (key, counter) gives the same four words on every
 * machine, in any order, on any worker: key = seed, counter = (index, stream, step).
 * Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". */
#ifndef LMF_BASE_PHILOX_H
#define LMF_BASE_PHILOX_H
#include <stdint.h>

#ifdef __CUDACC__ /* kernels draw the same numbers */
#define LMF_ALSO_ON_GPU __host__ __device__
#else
#define LMF_ALSO_ON_GPU
#endif

LMF_ALSO_ON_GPU static inline void lmf_philox4x32(uint64_t key, uint64_t ctr_lo, uint64_t ctr_hi, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)ctr_lo, c1 = (uint32_t)(ctr_lo >> 32), c2 = (uint32_t)ctr_hi, c3 = (uint32_t)(ctr_hi >> 32);
    for (int i = 0; i < 10; i++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1, c3 = (uint32_t)p0, c0 = n0, c2 = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* (step << 32 | stream) in the high half, index in the low half. */
LMF_ALSO_ON_GPU static inline uint32_t lmf_random_u32(uint64_t seed, uint32_t step, uint32_t stream, uint64_t index)
{
    uint32_t r[4];
    lmf_philox4x32(seed, index >> 2, (uint64_t)step << 32 | stream, r);
    return r[index & 3];
}

/* Uniform in [0, 1): 24 random bits, exact in f32. */
LMF_ALSO_ON_GPU static inline float lmf_random_f32(uint64_t seed, uint32_t step, uint32_t stream, uint64_t index)
{
    return (float)(lmf_random_u32(seed, step, stream, index) >> 8) * 0x1p-24f;
}

#endif
