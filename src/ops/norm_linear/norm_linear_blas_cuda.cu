/* SPDX-License-Identifier: Apache-2.0 */
/* Many rows: the products themselves are cuBLASLt's; here is what stands around them. x is normed and rounded to bf16 once for all matrices
 * of a call, matrices in other types are unpacked to bf16, all of a call in one launch, one behind the other. */
#include "device/cuda/unpack.cuh"
#include "device/cuda/linear_job.h"

/* y [m, k] bf16 = x, times norm and what the squares of its row come to where norm isn't NULL. One warp a row; k is a multiple of 4. */
LMF_KERNEL_EARLY(norm_linear_round_x)(const float *x, const float *norm, uint2 *y, int m, int k, float eps)
{
    int row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    LMF_AFTER();
    if (row >= m)
        return;
    const float4 *from = (const float4 *)(x + (int64_t)row * k), *w = (const float4 *)norm;
    uint2 *to = y + (int64_t)row * (k >> 2);
    float scale = 1;
    if (norm) {
        float sum = 0;
        for (int i = lane; i < k >> 2; i += 32) {
            float4 v = from[i];
            sum = fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
        }
        scale = 1.0f / sqrtf(lmf_warp_sum(sum) / (float)k + eps);
    }
    for (int i = lane; i < k >> 2; i += 32) {
        float4 v = from[i], n = norm ? w[i] : make_float4(1, 1, 1, 1);
        to[i] = make_uint2(lmf_pack_bf16(v.x * scale * n.x, v.y * scale * n.y), lmf_pack_bf16(v.z * scale * n.z, v.w * scale * n.w));
    }
}

static __device__ __forceinline__ uint2 four_in_bf16(const float *w)
{
    return make_uint2(lmf_pack_bf16(w[0], w[1]), lmf_pack_bf16(w[2], w[3]));
}

/* to [all rows of all parts, k] bf16. One eight a thread. Rule: `to` is shared with the kernels in front, so it is written after them. */
#define UNPACK(name, dtype)                                                                                          \
    LMF_KERNEL_EARLY(norm_linear_unpack_##name)(lmf_linear_job j, uint16_t *to)                                      \
    {                                                                                                                \
        int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;                                                 \
        int eights = j.k >> 3, i = (int)(at % eights), all = j.part[0].n + j.part[1].n + j.part[2].n;                \
        int row = (int)(at / eights), r = row, p = 0;                                                                \
        bool there = row < all;                                                                                      \
        while (there && r >= j.part[p].n)                                                                            \
            r -= j.part[p++].n;                                                                                      \
        lmf_eight_t e = {};                                                                                          \
        if (there)                                                                                                   \
            e = lmf_eight<dtype>((const uint8_t *)j.part[p].w + (int64_t)r * j.part[p].w_bytes, i);                  \
        LMF_AFTER();                                                                                                 \
        if (!there)                                                                                                  \
            return;                                                                                                  \
        uint16_t *y = to + (int64_t)row * j.k;                                                                       \
        *(uint2 *)(y + lmf_eight_x0<dtype>(i)) = four_in_bf16(e.w);                                                  \
        *(uint2 *)(y + lmf_eight_x1<dtype>(i)) = four_in_bf16(e.w + 4);                                              \
    }
LMF_EACH_EIGHT(UNPACK)

static __device__ __forceinline__ float gated(float z, float u) { return z / (1.0f + expf(-z)) * u; }

/* y [m, n] f32 = silu(gate + its bias) (up + its bias); gate, up: bf16, `stride` from row to row. Eight columns a thread; n is a multiple
 * of 8. */
LMF_KERNEL_EARLY(norm_linear_gate)(const uint16_t *gate, const uint16_t *up, const float *gate_bias, const float *up_bias, float *y, int m,
                                   int n, int64_t stride)
{
    int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    int row = (int)(at / (n >> 3)), c = (int)(at % (n >> 3)) * 8;
    LMF_AFTER();
    if (row >= m)
        return;
    uint4 g = *(const uint4 *)(gate + row * stride + c), u = *(const uint4 *)(up + row * stride + c);
    const unsigned gs[4] = { g.x, g.y, g.z, g.w }, us[4] = { u.x, u.y, u.z, u.w };
    float out[8];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 a = lmf_bhalves(gs[i]), b = lmf_bhalves(us[i]);
        if (gate_bias)
            a.x += gate_bias[c + 2 * i], a.y += gate_bias[c + 2 * i + 1];
        if (up_bias)
            b.x += up_bias[c + 2 * i], b.y += up_bias[c + 2 * i + 1];
        out[2 * i] = gated(a.x, b.x), out[2 * i + 1] = gated(a.y, b.y);
    }
    float4 *to = (float4 *)(y + (int64_t)row * n + c);
    to[0] = make_float4(out[0], out[1], out[2], out[3]), to[1] = make_float4(out[4], out[5], out[6], out[7]);
}
