/* SPDX-License-Identifier: Apache-2.0 */
/* kernel: what every <op>_cuda.cu includes. Compiled with --fmad=false: a fused multiply-add is written fmaf where it is
 * meant, as on the CPU, so that no compiler version changes bits. Sums across threads go in a fixed tree, never by atomics.
 * Blocks are one-dimensional, of a multiple of 32 threads. */
#ifndef LMF_DEVICE_CUDA_KERNEL_CUH
#define LMF_DEVICE_CUDA_KERNEL_CUH
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define LMF_KERNEL(name) extern "C" __global__ void name
/* A kernel that may be started while the one in front of it still runs, from sm_90 on: decode is a chain of short kernels, and the
 * start of one costs as much as its work. Until LMF_AFTER() it reads and writes nothing that another kernel writes or reads; every
 * thread comes by there, early exits included. The variable tells the launcher (program.c). */
#define LMF_KERNEL_EARLY(name)                                                                                       \
    extern "C" {                                                                                                     \
    __device__ char name##_early;                                                                                    \
    }                                                                                                                \
    LMF_KERNEL(name)

/* From here on the kernels in front have ended and what they wrote is seen; the next one may be started. */
static __device__ __forceinline__ void LMF_AFTER(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

static __device__ __forceinline__ float lmf_warp_sum(float x)
{
    for (int n = 16; n; n >>= 1)
        x += __shfl_xor_sync(0xffffffffu, x, n);
    return x;
}
static __device__ __forceinline__ float lmf_warp_max(float x)
{
    for (int n = 16; n; n >>= 1)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, n));
    return x;
}
/* The sum over the block, for every thread. part: 32 floats of shared memory; all threads call it. */
static __device__ __forceinline__ float lmf_block_sum(float x, float *part)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n_warps = blockDim.x >> 5;
    x = lmf_warp_sum(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return lmf_warp_sum(lane < n_warps ? part[lane] : 0.0f);
}
static __device__ __forceinline__ float lmf_block_max(float x, float *part)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n_warps = blockDim.x >> 5;
    x = lmf_warp_max(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    return lmf_warp_max(lane < n_warps ? part[lane] : -INFINITY);
}
/* This thread's first item and the step to its next, for loops over n items by the whole grid. */
static __device__ __forceinline__ int64_t lmf_grid_first(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ int64_t lmf_grid_step(void) { return (int64_t)gridDim.x * blockDim.x; }

#endif
