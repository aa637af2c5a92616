/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sums over R, K and N go in order, or by pieces of fixed size in order. The matrices are small (they lie in L2): what counts is
 * that each value of p is loaded once for several rows of w, and that all is one or two launches. */
#include "device/cuda/unpack.cuh"
#include "ops/lora_merge/lora_merge_draw.h"

enum { ROWS = 8, COLUMNS = 4, RANKS = 16, PIECE = 64, FOUR = 4 };

/* Row n of w plus its sums go to y, COLUMNS neighbours from k0 on. */
template <int dtype>
static __device__ __forceinline__ void put(const uint8_t *w, const float (&sum)[COLUMNS], uint16_t *y, int64_t w_bytes, int n, int k0,
                                           int k, float scale)
{
    const uint8_t *row = w + n * w_bytes;
    uint16_t one[COLUMNS];
    int64_t first = (int64_t)n * k + k0;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
        if (k0 + c < k)
            one[c] = lmf__merge_round(__float_as_uint(fmaf(scale, sum[c], lmf_load<dtype>(row, k0 + c))), (uint64_t)(first + c));
    if (k % COLUMNS == 0) {
        *(uint2 *)(y + first) = make_uint2(one[0] | (unsigned)one[1] << 16, one[2] | (unsigned)one[3] << 16);
        return;
    }
#pragma unroll
    for (int c = 0; c < COLUMNS; c++)
        if (k0 + c < k)
            y[first + c] = one[c];
}

/* Each thread makes ROWS rows of COLUMNS neighbours. w lies in rows of w_bytes. */
template <int dtype>
static __device__ __forceinline__ void merge(const uint8_t *w, const float *p, const float *q, uint16_t *y, int64_t w_bytes, int n, int k,
                                             int r, float scale)
{
    int wide = (k + COLUMNS - 1) / COLUMNS;
    int64_t at = lmf_grid_first();
    int n0 = (int)(at / wide) * ROWS, k0 = (int)(at % wide) * COLUMNS;
    if (n0 >= n)
        return;
    float sum[ROWS][COLUMNS] = { { 0 } };
    for (int e = 0; e < r; e++) {
        float a[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            a[c] = k0 + c < k ? p[(int64_t)e * k + k0 + c] : 0.0f;
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            float b = n0 + i < n ? q[(int64_t)(n0 + i) * r + e] : 0.0f;
#pragma unroll
            for (int c = 0; c < COLUMNS; c++)
                sum[i][c] = fmaf(a[c], b, sum[i][c]);
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++)
        if (n0 + i < n)
            put<dtype>(w, sum[i], y, w_bytes, n0 + i, k0, k, scale);
}

/* The same with the same bits for r and k of fours and p and q on 16 bytes: FOUR rows a thread, loads of four ranks at once. These matrices
 * are small: what takes time is the way to them. */
template <int dtype>
static __device__ __forceinline__ void merge_fours(const uint8_t *w, const float *p, const float *q, uint16_t *y, int64_t w_bytes, int n,
                                                   int k, int r, float scale)
{
    int wide = k / COLUMNS;
    int64_t at = lmf_grid_first();
    int n0 = (int)(at / wide) * FOUR, k0 = (int)(at % wide) * COLUMNS;
    if (n0 >= n)
        return;
    float sum[FOUR][COLUMNS] = { { 0 } };
#pragma unroll 4
    for (int e = 0; e < r; e += 4) {
        float4 a[4], b[FOUR];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = *(const float4 *)(p + (int64_t)(e + i) * k + k0);
#pragma unroll
        for (int i = 0; i < FOUR; i++)
            b[i] = n0 + i < n ? *(const float4 *)(q + (int64_t)(n0 + i) * r + e) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < FOUR; i++) {
            const float by[4] = { b[i].x, b[i].y, b[i].z, b[i].w };
#pragma unroll
            for (int d = 0; d < 4; d++) {
                sum[i][0] = fmaf(a[d].x, by[d], sum[i][0]), sum[i][1] = fmaf(a[d].y, by[d], sum[i][1]);
                sum[i][2] = fmaf(a[d].z, by[d], sum[i][2]), sum[i][3] = fmaf(a[d].w, by[d], sum[i][3]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < FOUR; i++)
        if (n0 + i < n)
            put<dtype>(w, sum[i], y, w_bytes, n0 + i, k0, k, scale);
}
#define MERGE(name, dtype)                                                                                           \
    LMF_KERNEL(lora_merge_##name)(const uint8_t *w, const float *p, const float *q, uint16_t *y, int64_t w_bytes, int n, int k, int r, \
                                  float scale)                                                                       \
    {                                                                                                                \
        merge<dtype>(w, p, q, y, w_bytes, n, k, r, scale);                                                           \
    }                                                                                                                \
    LMF_KERNEL(lora_merge_##name##_fours)(const uint8_t *w, const float *p, const float *q, uint16_t *y, int64_t w_bytes, int n, int k, \
                                          int r, float scale)                                                        \
    {                                                                                                                \
        merge_fours<dtype>(w, p, q, y, w_bytes, n, k, r, scale);                                                     \
    }
LMF_EACH_FORMAT(MERGE)

/* dq[n, e] = scale * sum over k of dy[n, k] p[e, k]. One warp four rows, lanes take every 32nd k, RANKS ranks a turn. */
template <class T>
static __device__ __forceinline__ void sum_dq(const T *dy, const float *p, float *dq, int n, int k, int r, float scale)
{
    enum { OWN = 4 };
    int lane = threadIdx.x & 31, n0 = (int)(blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5)) * OWN;
    if (n0 >= n)
        return;
    for (int e0 = 0; e0 < r; e0 += RANKS) {
        float sum[OWN][RANKS] = { { 0 } };
        for (int j = lane; j < k; j += 32) {
            float d[OWN];
#pragma unroll
            for (int i = 0; i < OWN; i++)
                d[i] = n0 + i < n ? lmf_read(dy + (int64_t)(n0 + i) * k + j) : 0.0f;
#pragma unroll
            for (int e = 0; e < RANKS; e++) {
                float a = e0 + e < r ? p[(int64_t)(e0 + e) * k + j] : 0.0f;
#pragma unroll
                for (int i = 0; i < OWN; i++)
                    sum[i][e] = fmaf(d[i], a, sum[i][e]);
            }
        }
#pragma unroll
        for (int i = 0; i < OWN; i++)
#pragma unroll
            for (int e = 0; e < RANKS; e++) {
                float all = lmf_warp_sum(sum[i][e]);
                if (lane == 0 && n0 + i < n && e0 + e < r)
                    dq[(int64_t)(n0 + i) * r + e0 + e] = scale * all;
            }
    }
}

/* part[piece, e, k] = sum over the piece's rows of q[n, e] dy[n, k]. blockIdx: columns, pieces, turns of RANKS ranks. */
template <class T> static __device__ __forceinline__ void sum_dp(const T *dy, const float *q, float *part, int n, int k, int r)
{
    __shared__ float own[PIECE][RANKS];
    int j = blockIdx.x * blockDim.x + threadIdx.x, n0 = blockIdx.y * PIECE, e0 = blockIdx.z * RANKS;
    int rows = n - n0 < PIECE ? n - n0 : PIECE;
    for (int i = threadIdx.x; i < PIECE * RANKS; i += blockDim.x) {
        int row = i / RANKS, e = i % RANKS;
        own[row][e] = row < rows && e0 + e < r ? q[(int64_t)(n0 + row) * r + e0 + e] : 0.0f;
    }
    __syncthreads();
    if (j >= k)
        return;
    float sum[RANKS] = { 0 };
    for (int i = 0; i < rows; i++) {
        float d = lmf_read(dy + (int64_t)(n0 + i) * k + j);
#pragma unroll
        for (int e = 0; e < RANKS; e++)
            sum[e] = fmaf(own[i][e], d, sum[e]);
    }
#pragma unroll
    for (int e = 0; e < RANKS; e++)
        if (e0 + e < r)
            part[((int64_t)blockIdx.y * r + e0 + e) * k + j] = sum[e];
}

#define BACK(name, T)                                                                                                \
    LMF_KERNEL(lora_merge_dq_##name)(const T *dy, const float *p, float *dq, int n, int k, int r, float scale)       \
    {                                                                                                                \
        sum_dq(dy, p, dq, n, k, r, scale);                                                                           \
    }                                                                                                                \
    LMF_KERNEL(lora_merge_dp_##name##_pieces)(const T *dy, const float *q, float *part, int n, int k, int r)         \
    {                                                                                                                \
        sum_dp(dy, q, part, n, k, r);                                                                                \
    }
BACK(f32, float)
BACK(bf16, __nv_bfloat16)

LMF_KERNEL(lora_merge_dp)(const float *part, float *dp, int pieces, int64_t n, float scale)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float sum = 0;
        for (int z = 0; z < pieces; z++)
            sum += part[z * n + i];
        dp[i] = scale * sum;
    }
}
