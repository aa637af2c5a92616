/* SPDX-License-Identifier: Apache-2.0 */
/* pairs: sums over pairs of sequences, for losses that compare two. One block of 128 threads; a thread makes the terms of a pair, and one
 * thread a sum adds them in order of pairs, in f64. */
#ifndef LMF_DEVICE_CUDA_PAIRS_CUH
#define LMF_DEVICE_CUDA_PAIRS_CUH
#include "device/cuda/kernel.cuh"

enum { LMF_PAIRS = 128 };

/* log(1 / (1 + exp(-x))) without overflow on either side. */
static __device__ __forceinline__ double lmf_log_sigmoid(double x) { return (x < 0 ? x : 0) - log1p(exp(-fabs(x))); }
static __device__ __forceinline__ double lmf_sigmoid(double x) { return exp(lmf_log_sigmoid(x)); }

/* terms(p, row): row[0] the pair's part of the loss, then of the N - 1 reports; zeros where it has no weight. */
template <int N, class F> static __device__ __forceinline__ void lmf_pair_sums(int n, float *loss, float *report, F terms)
{
    __shared__ double row[LMF_PAIRS][N];
    double sum = 0;
    for (int p0 = 0; p0 < n; p0 += LMF_PAIRS) {
        int here = n - p0 < LMF_PAIRS ? n - p0 : LMF_PAIRS;
        if ((int)threadIdx.x < here)
            terms(p0 + threadIdx.x, row[threadIdx.x]);
        __syncthreads();
        for (int i = 0; i < here && threadIdx.x < N; i++)
            sum += row[i][threadIdx.x];
        __syncthreads();
    }
    if (threadIdx.x == 0)
        loss[0] = (float)sum;
    else if (threadIdx.x < N)
        report[threadIdx.x - 1] = (float)sum;
}

#endif
