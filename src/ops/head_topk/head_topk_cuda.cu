/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the formulas of head_topk_rows.h; all products are those of device/cuda/vocab.cuh. What a row's tokens settle is worked out in f64,
 * as there. */
#include "device/cuda/vocab.cuh"
#include "ops/head_topk/head_topk_bucket.h"
#include "ops/head_topk/head_topk_job.h"

/* As lmf_block_sum and lmf_block_max, part of 32 doubles. */
template <class F> static __device__ __forceinline__ double meet(double x, double none, double *part, F f)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n_warps = blockDim.x >> 5;
    for (int n = 16; n; n >>= 1)
        x = f(x, __shfl_xor_sync(0xffffffffu, x, n));
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    x = lane < n_warps ? part[lane] : none;
    for (int n = 16; n; n >>= 1)
        x = f(x, __shfl_xor_sync(0xffffffffu, x, n));
    return x;
}
static __device__ __forceinline__ double sum_of(double x, double *part)
{
    return meet(x, 0, part, [](double a, double b) { return a + b; });
}
static __device__ __forceinline__ double most_of(double x, double *part)
{
    return meet(x, -INFINITY, part, [](double a, double b) { return fmax(a, b); });
}

/* One block a row: its logits become the gradient by them, times its weight. A token outside V, or a second time, is none. */
template <bool half> static __device__ __forceinline__ void rows(const lmf_vocab_job &j, const lmf_head_topk_job &o)
{
    __shared__ float part[32];
    __shared__ double wide[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int t = j.live[1 + j.begin + blockIdx.x];
    const int32_t *id = o.id + t * o.k;
    const float *logp = o.logp + t * o.k;
    float *l = j.logits + blockIdx.x * j.v_stride, *top = o.top + blockIdx.x * o.k;
    auto is_one = [&](int64_t i) { return id[i] >= 0 && id[i] < j.v && (i == 0 || id[i] != id[i - 1]); };
    double most = -1e30, sum = 0, beta = o.beta, slope, rest_slope = 0, kl = 0, mean = 0;
    for (int64_t i = threadIdx.x; i < o.k; i += blockDim.x) {
        top[i] = is_one(i) ? l[id[i]] : -1e30f;
        most = fmax(most, (double)top[i]);
    }
    __syncthreads();
    for (int64_t i = threadIdx.x; i < o.k; i += blockDim.x)
        if (is_one(i))
            l[id[i]] = -1e30f;
    __syncthreads();
    bool others = o.k < j.v;
    lmf_online online = { -INFINITY, 0 };
    for (int v = threadIdx.x; v < j.v; v += blockDim.x)
        lmf_online_add(online, l[v]);
    lmf_lse left = lmf_online_lse(online, part);
    double rest = others ? (double)left.top + (double)left.rest : -1e30;
    most = most_of(fmax(most, rest), wide);
    for (int64_t i = threadIdx.x; i < o.k; i += blockDim.x)
        sum += exp((double)top[i] - most);
    double lse = most + log(sum_of(sum, wide) + exp(rest - most));
    for (int64_t i = threadIdx.x; i < o.k; i += blockDim.x) {
        kl += lmf__bucket(beta, (double)top[i] - lse, (double)logp[i], &slope);
        mean += exp((double)top[i] - lse) * slope;
    }
    kl = sum_of(kl, wide), mean = sum_of(mean, wide);
    if (others) {
        kl += lmf__bucket(beta, rest - lse, (double)o.rest[t], &rest_slope);
        mean += exp(rest - lse) * rest_slope;
    }
    float square = o.temperature * o.temperature, u = j.weight[t] * square * j.scale, lse_f = (float)lse;
    float factor = u * (float)(rest_slope - mean);
    if (threadIdx.x == 0)
        j.logp[t] = (float)((double)square * kl);
    lmf_vocab_rewrite<half>(l, (int)j.v_stride, [&](int v, float (&e)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            e[i] = v + i < j.v ? factor * expf(e[i] - lse_f) : 0.0f;
    });
    __syncthreads();
    for (int64_t i = threadIdx.x; i < o.k; i += blockDim.x) {
        if (!is_one(i))
            continue;
        lmf__bucket(beta, (double)top[i] - lse, (double)logp[i], &slope);
        float y = u * (float)(exp((double)top[i] - lse) * (slope - mean));
        if (half)
            lmf_write((__nv_bfloat16 *)l + id[i], y);
        else
            l[id[i]] = y;
    }
}
LMF_KERNEL(head_topk_rows)(lmf_vocab_job j, lmf_head_topk_job o) { rows<false>(j, o); }
LMF_KERNEL(head_topk_rows16)(lmf_vocab_job j, lmf_head_topk_job o) { rows<true>(j, o); }
