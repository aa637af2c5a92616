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
/* The same, with at most so many threads a block: more registers for each. */
#define LMF_KERNEL_BOUNDED(name, threads)                                                                            \
    extern "C" {                                                                                                     \
    __device__ char name##_early;                                                                                    \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(threads) name

/* The next kernel may be started. Before LMF_AFTER, in one that reads ahead: weights and what only the host writes. */
static __device__ __forceinline__ void LMF_NEXT(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
/* From here on the kernels in front have ended and what they wrote is seen; the next one may be started. */
static __device__ __forceinline__ void LMF_AFTER(void)
{
    LMF_NEXT();
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/* The line at p is on its way to the L2 cache. */
static __device__ __forceinline__ void lmf_prefetch(const void *p)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
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
/* One element of an activation as f32, of either type that these have; rounded to nearest when stored. */
static __device__ __forceinline__ float lmf_read(const float *p) { return *p; }
static __device__ __forceinline__ float lmf_read(const __nv_bfloat16 *p) { return __bfloat162float(*p); }
static __device__ __forceinline__ void lmf_write(float *p, float x) { *p = x; }
static __device__ __forceinline__ void lmf_write(__nv_bfloat16 *p, float x) { *p = __float2bfloat16_rn(x); }
/* N neighbours; those of bf16 at once for N = 4 or 8, with p on as many bytes. */
template <int N> static __device__ __forceinline__ void lmf_read_n(const float *p, float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        x[i] = p[i];
}
static __device__ __forceinline__ float lmf_low_half(unsigned w) { return __uint_as_float(w << 16); }
static __device__ __forceinline__ float lmf_high_half(unsigned w) { return __uint_as_float(w & 0xffff0000u); }
static __device__ __forceinline__ unsigned lmf_pack_bf16(float a, float b) /* a in the low half */
{
    __nv_bfloat162 p = __floats2bfloat162_rn(a, b);
    return *(unsigned *)&p;
}
template <int N> static __device__ __forceinline__ void lmf_read_n(const __nv_bfloat16 *p, float (&x)[N])
{
    if constexpr (N == 8) {
        uint4 w = *(const uint4 *)p;
        unsigned each[4] = { w.x, w.y, w.z, w.w };
#pragma unroll
        for (int i = 0; i < 4; i++)
            x[2 * i] = lmf_low_half(each[i]), x[2 * i + 1] = lmf_high_half(each[i]);
    } else if constexpr (N == 4) {
        uint2 w = *(const uint2 *)p;
        x[0] = lmf_low_half(w.x), x[1] = lmf_high_half(w.x), x[2] = lmf_low_half(w.y), x[3] = lmf_high_half(w.y);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++)
            x[i] = lmf_read(p + i);
    }
}
template <int N> static __device__ __forceinline__ void lmf_write_n(float *p, const float (&x)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        p[i] = x[i];
}
template <int N> static __device__ __forceinline__ void lmf_write_n(__nv_bfloat16 *p, const float (&x)[N])
{
    if constexpr (N == 8)
        *(uint4 *)p = make_uint4(lmf_pack_bf16(x[0], x[1]), lmf_pack_bf16(x[2], x[3]),
                                 lmf_pack_bf16(x[4], x[5]), lmf_pack_bf16(x[6], x[7]));
    else if constexpr (N == 4)
        *(uint2 *)p = make_uint2(lmf_pack_bf16(x[0], x[1]), lmf_pack_bf16(x[2], x[3]));
    else
#pragma unroll
        for (int i = 0; i < N; i++)
            lmf_write(p + i, x[i]);
}
/* This thread's first item and the step to its next, for loops over n items by the whole grid. */
static __device__ __forceinline__ int64_t lmf_grid_first(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ int64_t lmf_grid_step(void) { return (int64_t)gridDim.x * blockDim.x; }

#endif
