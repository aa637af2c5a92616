/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the formulas of head_kl_rows.h; all products are those of device/cuda/vocab.cuh. A chunk's logits of both heads are there at once,
 * and a block goes over its row of both two or three times. */
#include "device/cuda/vocab.cuh"
#include "ops/head_kl/head_kl_job.h"

/* From log-probabilities: the token's share of D, and s slope. */
static __device__ __forceinline__ float share_of(const lmf_head_kl_job &k, float ls, float lt, float s, float *slope)
{
    if (k.beta == 0) {
        float t = expf(lt);
        *slope = -t;
        return t * (lt - ls);
    }
    if (k.beta == 1)
        return *slope = s * (ls - lt);
    float d = lt - ls + (k.log_beta - k.log_rest), soft = fmaxf(d, 0.0f) + log1pf(expf(-fabsf(d)));
    *slope = (1 - k.beta) * s * -(k.log_rest + soft);
    return k.beta * expf(lt) * (d - soft - k.log_beta) + *slope;
}

static __device__ __forceinline__ float mixed(float mix, float s, float t) { return mix == 1 ? t : fmaf(1 - mix, s, mix * t); }

/* One block a row: the student's logits (j) become the gradient by them, times its weight. q: the teacher's. */
template <bool half> static __device__ __forceinline__ void rows(const lmf_vocab_job &j, const lmf_vocab_job &q, const lmf_head_kl_job &k)
{
    __shared__ float part[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int t = j.live[1 + j.begin + blockIdx.x];
    float *s = j.logits + blockIdx.x * j.v_stride, mix = k.mix ? k.mix[0] : 1.0f, mean = -1, kl = 0;
    const float *z = q.logits + blockIdx.x * q.v_stride;
    lmf_online own = { -INFINITY, 0 }, others = { -INFINITY, 0 };
    for (int v = threadIdx.x; v < j.v; v += blockDim.x) {
        lmf_online_add(own, s[v]);
        lmf_online_add(others, mixed(mix, s[v], z[v]));
    }
    lmf_lse lse_s = lmf_online_lse(own, part), lse_t = lmf_online_lse(others, part);
    if (k.beta != 0) {
        float sum = 0, slope;
        for (int v = threadIdx.x; v < j.v; v += blockDim.x) {
            float ls = lmf_log_share(s[v], lse_s);
            share_of(k, ls, lmf_log_share(mixed(mix, s[v], z[v]), lse_t), expf(ls), &slope);
            sum += slope;
        }
        mean = lmf_block_sum(sum, part);
    }
    float square = k.temperature * k.temperature, u = j.weight[t] * square * j.scale;
    lmf_vocab_rewrite<half>(s, (int)j.v_stride, [&](int v, float (&e)[4]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            if (v + i < j.v) {
                float ls = lmf_log_share(e[i], lse_s), p = expf(ls), slope;
                kl += share_of(k, ls, lmf_log_share(mixed(mix, e[i], z[v + i]), lse_t), p, &slope);
                e[i] = u * (slope - p * mean);
            } else {
                e[i] = 0;
            }
        }
    });
    kl = lmf_block_sum(kl, part);
    if (threadIdx.x == 0)
        j.logp[t] = square * kl;
}
LMF_KERNEL(head_kl_rows)(lmf_vocab_job j, lmf_vocab_job q, lmf_head_kl_job k) { rows<false>(j, q, k); }
LMF_KERNEL(head_kl_rows16)(lmf_vocab_job j, lmf_vocab_job q, lmf_head_kl_job k) { rows<true>(j, q, k); }
