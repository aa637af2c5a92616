/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one block of 128 a segment; threads take every 128th element, in f64, and meet in a fixed tree. */
#include "device/cuda/kernel.cuh"

static __device__ __forceinline__ void bounds(const int *start, int n, int *begin, int *end)
{
    *begin = max(start[blockIdx.x], 0), *end = min(start[blockIdx.x + 1], n);
}

LMF_KERNEL(segment_sum_fwd_f32)(const float *x, const int *start, const float *weight, float *y, int n)
{
    __shared__ double part[128];
    int begin, end;
    double sum = 0;
    bounds(start, n, &begin, &end);
    for (int t = begin + (int)threadIdx.x; t < end; t += blockDim.x) {
        float w = weight ? weight[t] : 1.0f;
        sum += w != 0 ? (double)w * (double)x[t] : 0.0;
    }
    part[threadIdx.x] = sum;
    for (int m = blockDim.x >> 1; m; m >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < m)
            part[threadIdx.x] += part[threadIdx.x + m];
    }
    if (threadIdx.x == 0)
        y[blockIdx.x] = (float)part[0];
}

/* d_x is zeroed before. */
LMF_KERNEL(segment_sum_bwd_f32)(const float *d_y, const int *start, const float *weight, float *d_x, int n)
{
    int begin, end;
    bounds(start, n, &begin, &end);
    for (int t = begin + (int)threadIdx.x; t < end; t += blockDim.x)
        d_x[t] = weight ? weight[t] * d_y[blockIdx.x] : d_y[blockIdx.x];
}
