/* SPDX-License-Identifier: Apache-2.0 */
/* Few rows of a (at most 8) times b [N, K]: what counts is how fast b is read. One warp owns a column of y and reads b once, eight
 * elements a lane with whole words. Rule: lane l meets the eights l, l + 32, ... and the lanes are summed in a fixed tree, so that a
 * row's bits do not depend on how many rows there are. */
#include "device/cuda/unpack.cuh"

/* Eight elements of a row: they are those from x0 on and those from x1 on, four each. */
struct eight { float w[8]; int x0, x1; };
template <int dtype> static __device__ __forceinline__ eight load_eight(const uint8_t *row, int i);

static __device__ __forceinline__ eight floats(float4 a, float4 b, int i)
{
    return { { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w }, 8 * i, 8 * i + 4 };
}
template <> __device__ __forceinline__ eight load_eight<LMF_F32>(const uint8_t *row, int i)
{
    const float4 *p = (const float4 *)row + 2 * i;
    return floats(p[0], p[1], i);
}
static __device__ __forceinline__ float2 halves(unsigned w) { return __half22float2(*(const __half2 *)&w); }
template <> __device__ __forceinline__ eight load_eight<LMF_F16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = halves(p.x), b = halves(p.y), c = halves(p.z), d = halves(p.w);
    return floats(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y), i);
}
static __device__ __forceinline__ float2 bhalves(unsigned p)
{
    return make_float2(__uint_as_float(p << 16), __uint_as_float(p & 0xffff0000u));
}
template <> __device__ __forceinline__ eight load_eight<LMF_BF16>(const uint8_t *row, int i)
{
    uint4 p = ((const uint4 *)row)[i];
    float2 a = bhalves(p.x), b = bhalves(p.y), c = bhalves(p.z), d = bhalves(p.w);
    return floats(make_float4(a.x, a.y, b.x, b.y), make_float4(c.x, c.y, d.x, d.y), i);
}
/* A quarter of a block of 32: four low nibbles and four high ones, which are 16 elements on. */
static __device__ __forceinline__ eight nibbles(unsigned q, float scale, float add, int minus, int i)
{
    eight e;
    e.x0 = (i >> 2) * 32 + (i & 3) * 4, e.x1 = e.x0 + 16;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        e.w[j] = scale * (float)((int)(q >> 8 * j & 15) - minus) + add;
        e.w[4 + j] = scale * (float)((int)(q >> (8 * j + 4) & 15) - minus) + add;
    }
    return e;
}
template <> __device__ __forceinline__ eight load_eight<LMF_Q4_1>(const uint8_t *row, int i)
{
    const unsigned *p = (const unsigned *)(row + (i >> 2) * 20); /* 20 bytes: always on a word */
    float2 s = halves(p[0]);
    return nibbles(p[1 + (i & 3)], s.x, s.y, 0, i);
}
template <> __device__ __forceinline__ eight load_eight<LMF_Q4_0>(const uint8_t *row, int i)
{
    const uint16_t *p = (const uint16_t *)(row + (i >> 2) * 18);
    return nibbles(p[1 + 2 * (i & 3)] | (unsigned)p[2 + 2 * (i & 3)] << 16, __half2float(__ushort_as_half(p[0])), 0, 8, i);
}
template <> __device__ __forceinline__ eight load_eight<LMF_Q8_0>(const uint8_t *row, int i)
{
    const uint16_t *p = (const uint16_t *)(row + (i >> 2) * 34);
    float scale = __half2float(__ushort_as_half(p[0]));
    eight e;
    e.x0 = 8 * i, e.x1 = 8 * i + 4;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        unsigned q = p[1 + 4 * (i & 3) + j];
        e.w[2 * j] = scale * (float)(int8_t)(q & 255), e.w[2 * j + 1] = scale * (float)(int8_t)(q >> 8);
    }
    return e;
}

template <int dtype, int M>
static __device__ __forceinline__ void few(const float *a, const uint8_t *b, const float *c, float *y, int m, int n, int k,
                                           int64_t a_stride, int64_t b_bytes, int64_t c_stride, float alpha)
{
    int col = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31, eights = k >> 3;
    float sum[M] = { 0 };
    const uint8_t *row = b + col * b_bytes;
    for (int64_t at = lane * 128; col < n && at < b_bytes; at += 32 * 128) /* on its way while the kernel in front ends */
        asm volatile("prefetch.global.L2 [%0];" ::"l"(row + at));
    LMF_AFTER();
    if (col >= n)
        return;
#pragma unroll 3
    for (int i = lane; i < eights; i += 32) {
        eight e = load_eight<dtype>(row, i);
#pragma unroll
        for (int r = 0; r < M; r++)
            if (r < m) {
                float4 u = *(const float4 *)(a + r * a_stride + e.x0), v = *(const float4 *)(a + r * a_stride + e.x1);
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
#define EACH(M)                                                                                                      \
    FEW(f32, LMF_F32, M) FEW(f16, LMF_F16, M) FEW(bf16, LMF_BF16, M) FEW(q4_0, LMF_Q4_0, M) FEW(q4_1, LMF_Q4_1, M)   \
    FEW(q8_0, LMF_Q8_0, M)
EACH(1)
EACH(8)
