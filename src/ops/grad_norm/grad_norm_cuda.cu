/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: pieces of 16,384 in f64, each by one block in a fixed tree; one thread adds the pieces in order. */
#include "device/cuda/kernel.cuh"

LMF_KERNEL(grad_norm_f32_pieces)(const float *x, double *part, int64_t n)
{
    __shared__ double sums[256];
    int64_t first = (int64_t)blockIdx.x * 16384, end = first + 16384 < n ? first + 16384 : n;
    double s = 0;
    for (int64_t i = first + threadIdx.x; i < end; i += 256)
        s += (double)x[i] * (double)x[i];
    sums[threadIdx.x] = s;
    for (int k = 128; k; k >>= 1) {
        __syncthreads();
        if (threadIdx.x < k)
            sums[threadIdx.x] += sums[threadIdx.x + k];
    }
    if (threadIdx.x == 0)
        part[blockIdx.x] = sums[0];
}

LMF_KERNEL(grad_norm_f32)(const double *part, float *y, int64_t n_pieces)
{
    double s = 0;
    for (int64_t i = 0; i < n_pieces; i++)
        s += part[i];
    y[0] = (float)sqrt(s);
}
