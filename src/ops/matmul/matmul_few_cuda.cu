/* SPDX-License-Identifier: Apache-2.0 */
/* Few rows of a (at most 8) times b [N, K]: what counts is how fast b is read. One warp owns a column of y and reads b once, eight
 * elements a lane with whole words. Rule: lane l meets the eights l, l + 32, ... and the lanes are summed in a fixed tree, so that a
 * row's bits do not depend on how many rows there are. */
#include "device/cuda/unpack.cuh"

template <int dtype, int M>
static __device__ __forceinline__ void few(const float *a, const uint8_t *b, const float *c, float *y, int m, int n, int k,
                                           int64_t a_stride, int64_t b_bytes, int64_t c_stride, float alpha)
{
    int col = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31, eights = k >> 3;
    float sum[M] = { 0 };
    const uint8_t *row = b + col * b_bytes;
    for (int64_t at = lane * 128; col < n && at < b_bytes; at += 32 * 128) /* on its way while the kernel in front ends */
        lmf_prefetch(row + at);
    LMF_AFTER();
    if (col >= n)
        return;
#pragma unroll 3
    for (int i = lane; i < eights; i += 32) {
        lmf_eight_t e = lmf_eight<dtype>(row, i);
        int x0 = lmf_eight_x0<dtype>(i), x1 = lmf_eight_x1<dtype>(i);
#pragma unroll
        for (int r = 0; r < M; r++)
            if (r < m) {
                float4 u = *(const float4 *)(a + r * a_stride + x0), v = *(const float4 *)(a + r * a_stride + x1);
                sum[r] = fmaf(e.w[3], u.w, fmaf(e.w[2], u.z, fmaf(e.w[1], u.y, fmaf(e.w[0], u.x, sum[r]))));
                sum[r] = fmaf(e.w[7], v.w, fmaf(e.w[6], v.z, fmaf(e.w[5], v.y, fmaf(e.w[4], v.x, sum[r]))));
            }
    }
#pragma unroll
    for (int r = 0; r < M; r++) {
        float s = lmf_warp_sum(sum[r]);
        if (lane == 0 && r < m)
            y[(int64_t)r * n + col] = c ? alpha * s + c[r * c_stride + col] : alpha * s;
    }
}

#define FEW(name, dtype, M)                                                                                          \
    LMF_KERNEL_EARLY(matmul_few_##name##_##M)(const float *a, const uint8_t *b, const float *c, float *y, int m, int n,\
                                              int k, int64_t a_stride, int64_t b_bytes, int64_t c_stride, float alpha)\
    {                                                                                                                \
        few<dtype, M>(a, b, c, y, m, n, k, a_stride, b_bytes, c_stride, alpha);                                      \
    }
#define EACH(name, dtype) FEW(name, dtype, 1) FEW(name, dtype, 8)
LMF_EACH_EIGHT(EACH)
