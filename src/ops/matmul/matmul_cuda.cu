/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: in the tiled kernel one thread sums an element of y over k in order, so that its bits depend on its row of a, its
 * column of b and K alone. Operands that are not f32 are unpacked to scratch before. */
#include "device/cuda/unpack.cuh"

/* dst[rows, n] f32, dense, from rows that lie row_bytes apart. blockIdx.x is the row. */
#define UNPACK(name, dtype)                                                                                          \
    LMF_KERNEL(matmul_unpack_##name)(const uint8_t *src, float *dst, int64_t row_bytes, int n)                       \
    {                                                                                                                \
        const uint8_t *row = src + blockIdx.x * row_bytes;                                                           \
        for (int i = threadIdx.x; i < n; i += blockDim.x)                                                            \
            dst[(int64_t)blockIdx.x * n + i] = lmf_load<dtype>(row, i);                                              \
    }
LMF_EACH_FORMAT(UNPACK)

/* dst[rows, n] bf16, dense, likewise; n is a multiple of 8, and each thread makes 8 neighbours. */
#define ROUND(name, dtype)                                                                                           \
    LMF_KERNEL(matmul_round_##name)(const uint8_t *src, uint16_t *dst, int64_t row_bytes, int64_t rows, int64_t n)   \
    {                                                                                                                \
        int64_t eights = n / 8;                                                                                      \
        for (int64_t j = lmf_grid_first(); j < rows * eights; j += lmf_grid_step()) {                                \
            const uint8_t *row = src + j / eights * row_bytes;                                                       \
            int64_t i = j % eights * 8;                                                                              \
            alignas(16) __nv_bfloat162 pair[4];                                                                            \
            for (int e = 0; e < 4; e++)                                                                              \
                pair[e] = __floats2bfloat162_rn(lmf_load<dtype>(row, i + 2 * e), lmf_load<dtype>(row, i + 2 * e + 1)); \
            *(uint4 *)(dst + j * 8) = *(const uint4 *)pair;                                                          \
        }                                                                                                            \
    }
LMF_EACH_FORMAT(ROUND)

enum { TILE = 64, DEPTH = 16 };

/* A tile of TILE rows (of y, or columns) by DEPTH of k into shared[k][row]. by_k: k is the innermost of the operand. */
template <bool by_k>
static __device__ __forceinline__ void load_tile(float (*shared)[TILE + 4], const float *p, int64_t stride, int64_t first, int64_t n_rows,
                                                 int64_t k0, int64_t n_k)
{
    int t = threadIdx.x, row = by_k ? t >> 2 : (t & 15) * 4, k = by_k ? (t & 3) * 4 : t >> 4;
    for (int j = 0; j < 4; j++) {
        int r = by_k ? row : row + j, kk = by_k ? k + j : k;
        bool in = first + r < n_rows && k0 + kk < n_k;
        shared[kk][r] = in ? p[by_k ? (first + r) * stride + k0 + kk : (k0 + kk) * stride + first + r] : 0.0f;
    }
}

/* 256 threads; each has 4 by 4 elements of a 64 by 64 tile of y. c_stride 0: c is [N], f32; else of y's type. */
template <bool ta, bool tb, class Y>
static __device__ __forceinline__ void tiled(const float *a, const float *b, const void *c, Y *y, int64_t m, int64_t n, int64_t k,
                                             int64_t a_stride, int64_t b_stride, int64_t c_stride, float alpha)
{
    __shared__ float as[DEPTH][TILE + 4], bs[DEPTH][TILE + 4];
    int64_t m0 = (int64_t)blockIdx.y * TILE, n0 = (int64_t)blockIdx.x * TILE;
    int ty = (threadIdx.x >> 4) * 4, tx = (threadIdx.x & 15) * 4;
    float sum[4][4] = { { 0 } };
    for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
        load_tile<!ta>(as, a, a_stride, m0, m, k0, k);
        load_tile<tb>(bs, b, b_stride, n0, n, k0, k);
        __syncthreads();
#pragma unroll
        for (int kk = 0; kk < DEPTH; kk++) {
            float4 av = *(const float4 *)&as[kk][ty], bv = *(const float4 *)&bs[kk][tx];
            float ar[4] = { av.x, av.y, av.z, av.w }, br[4] = { bv.x, bv.y, bv.z, bv.w };
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fmaf(ar[i], br[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            int64_t r = m0 + ty + i, col = n0 + tx + j;
            if (r >= m || col >= n)
                continue;
            float add = !c ? 0.0f : c_stride ? lmf_read((const Y *)c + r * c_stride + col) : ((const float *)c)[col];
            lmf_write(y + r * n + col, c ? alpha * sum[i][j] + add : alpha * sum[i][j]);
        }
}

#define TILED(name, ta, tb, Y)                                                                                       \
    LMF_KERNEL(matmul_fwd_##name)(const float *a, const float *b, const void *c, Y *y, int64_t m, int64_t n, int64_t k, \
                                  int64_t a_stride, int64_t b_stride, int64_t c_stride, float alpha)                 \
    {                                                                                                                \
        tiled<ta, tb>(a, b, c, y, m, n, k, a_stride, b_stride, c_stride, alpha);                                     \
    }
#define EACH_WAY(name, Y) TILED(name##_nn, false, false, Y) TILED(name##_nt, false, true, Y) TILED(name##_tn, true, false, Y) \
    TILED(name##_tt, true, true, Y)
EACH_WAY(f32, float)
EACH_WAY(bf16, __nv_bfloat16)

/* Few rows of a (at most 8), b [N, K] in any format: one warp a column, b read once. Lanes take every 32nd k; their sums
 * meet in a fixed tree. */
template <int dtype>
static __device__ __forceinline__ void few_rows(const float *a, const uint8_t *b, const float *c, float *y, int m, int64_t n, int k,
                                                int64_t a_stride, int64_t b_bytes, int64_t c_stride, float alpha)
{
    int64_t col = (int64_t)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
    int lane = threadIdx.x & 31;
    float sum[8] = { 0 };
    if (col >= n)
        return;
    const uint8_t *row = b + col * b_bytes;
#pragma unroll 4
    for (int i = lane; i < k; i += 32) {
        float w = lmf_load<dtype>(row, i);
#pragma unroll
        for (int r = 0; r < 8; r++)
            if (r < m)
                sum[r] = fmaf(w, a[r * a_stride + i], sum[r]);
    }
#pragma unroll
    for (int r = 0; r < 8; r++) {
        float s = lmf_warp_sum(sum[r]);
        if (lane == 0 && r < m)
            y[r * n + col] = c ? alpha * s + c[r * c_stride + col] : alpha * s;
    }
}

#define FEW_ROWS(name, dtype)                                                                                        \
    LMF_KERNEL_EARLY(matmul_fwd_##name##_few_rows)(const float *a, const uint8_t *b, const float *c, float *y, int m, int64_t n, int k, \
                                             int64_t a_stride, int64_t b_bytes, int64_t c_stride, float alpha)       \
    {                                                                                                                \
        LMF_AFTER();                                                                                                 \
        few_rows<dtype>(a, b, c, y, m, n, k, a_stride, b_bytes, c_stride, alpha);                                    \
    }
LMF_EACH_FORMAT(FEW_ROWS)
