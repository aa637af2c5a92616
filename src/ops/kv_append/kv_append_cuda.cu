/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a row whose page is not in the cache is left out, for a kernel has no way to fail; the CPU's rows report it. */
#include "device/cuda/kernel.cuh"

static __device__ __forceinline__ void put(float *p, float x) { *p = x; }
static __device__ __forceinline__ void put(__half *p, float x) { *p = __float2half_rn(x); }
static __device__ __forceinline__ void put(__nv_bfloat16 *p, float x) { *p = __float2bfloat16_rn(x); }

/* One block a row of x. */
template <class T>
static __device__ __forceinline__ void append(T *cache, const float *x, const int *seq, const int *pos, const int *page, int64_t x_stride,
                                              int width, int n_pages, int page_size, int pages_a_seq)
{
    int s = seq[blockIdx.x], p = pos[blockIdx.x];
    if (s < 0 || p < 0 || p / page_size >= pages_a_seq)
        return;
    int at = page[(int64_t)s * pages_a_seq + p / page_size];
    if (at < 0 || at >= n_pages)
        return;
    T *row = cache + ((int64_t)at * page_size + p % page_size) * width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        put(row + i, x[blockIdx.x * x_stride + i]);
}

#define APPEND(name, T)                                                                                              \
    LMF_KERNEL_EARLY(kv_append_##name)(T *cache, const float *x, const int *seq, const int *pos, const int *page, int64_t x_stride, \
                                       int width, int n_pages, int page_size, int pages_a_seq)                                        \
    {                                                                                                                \
        LMF_AFTER();                                                                                                 \
        append(cache, x, seq, pos, page, x_stride, width, n_pages, page_size, pages_a_seq);                          \
    }
APPEND(f32, float)
APPEND(f16, __half)
APPEND(bf16, __nv_bfloat16)
