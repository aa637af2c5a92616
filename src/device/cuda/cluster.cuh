/* SPDX-License-Identifier: Apache-2.0 */
/* cluster: blocks that run together and read each other's shared memory, from sm_90 on (lmf_cuda_grid.cluster). Without a cluster the
 * block is alone: rank 0 of 1. PTX ISA: %cluster_ctarank, barrier.cluster, mapa. */
#ifndef LMF_DEVICE_CUDA_CLUSTER_CUH
#define LMF_DEVICE_CUDA_CLUSTER_CUH
#include "device/cuda/kernel.cuh"

static __device__ __forceinline__ int lmf_cluster_rank(void)
{
    unsigned r = 0;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
#endif
    return (int)r;
}
static __device__ __forceinline__ int lmf_cluster_size(void)
{
    unsigned n = 1;
#if __CUDA_ARCH__ >= 900
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(n));
#endif
    return (int)n;
}
/* All threads of all blocks; what they wrote before is seen behind it. */
static __device__ __forceinline__ void lmf_cluster_sync(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}
/* The same place in the shared memory of block `rank`. */
template <class T> static __device__ __forceinline__ const T *lmf_cluster_at(const T *p, int rank)
{
#if __CUDA_ARCH__ >= 900
    uint64_t at;
    asm("mapa.u64 %0, %1, %2;" : "=l"(at) : "l"(p), "r"(rank));
    return (const T *)at;
#else
    return p;
#endif
}

#endif
