/* SPDX-License-Identifier: Apache-2.0 */
/* At most 8 rows: a step of decode. One warp owns a column (of swiglu a column of gate and the same of up), reads its weights as eights
 * before the kernels in front have ended, and the rows of x after. The norm costs no pass of its own: each warp sums the squares of x as
 * it meets it, and scales its sum at the end.
 * Rule: lane l meets the eights l, l + 32, ... and the lanes are summed in a fixed tree, so that a row's bits do not depend on how many
 * rows there are. */
#include "device/cuda/unpack.cuh"
#include "device/cuda/linear_job.h"

enum { WARPS = 4 };

/* Eights that a lane holds before its turn: as many of all columns as fit into registers. */
template <int C> struct ahead { enum { N = C == 1 ? 6 : 3 }; };

/* The i-th eight of C rows of W, times that of the norm. */
template <int dtype, int C, bool NORM>
static __device__ __forceinline__ void weights(lmf_eight_t (&e)[C], const uint8_t *const (&row)[C], const float *norm, int i)
{
#pragma unroll
    for (int c = 0; c < C; c++)
        e[c] = lmf_eight<dtype>(row[c], i);
    if (!NORM)
        return;
    float4 u = *(const float4 *)(norm + lmf_eight_x0<dtype>(i)), v = *(const float4 *)(norm + lmf_eight_x1<dtype>(i));
    float n[8] = { u.x, u.y, u.z, u.w, v.x, v.y, v.z, v.w };
#pragma unroll
    for (int c = 0; c < C; c++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            e[c].w[j] *= n[j];
}

template <int dtype, int M, int C, bool NORM>
static __device__ __forceinline__ void meet(float (&sum)[C][M], float (&square)[M], const lmf_eight_t (&e)[C], const float *x, int m,
                                            int k, int i)
{
#pragma unroll
    for (int r = 0; r < M; r++)
        if (M == 1 || r < m) {
            const float *p = x + (int64_t)r * k;
            float4 u = *(const float4 *)(p + lmf_eight_x0<dtype>(i)), v = *(const float4 *)(p + lmf_eight_x1<dtype>(i));
            float f[8] = { u.x, u.y, u.z, u.w, v.x, v.y, v.z, v.w };
#pragma unroll
            for (int j = 0; j < 8; j++) {
                if (NORM)
                    square[r] = fmaf(f[j], f[j], square[r]);
#pragma unroll
                for (int c = 0; c < C; c++)
                    sum[c][r] = fmaf(e[c].w[j], f[j], sum[c][r]);
            }
        }
}

/* sum[c][r] = row[c] times row r of x, normed, for every lane. */
template <int dtype, int M, int C, bool NORM>
static __device__ __forceinline__ void product(float (&sum)[C][M], const uint8_t *const (&row)[C], const lmf_linear_job &j)
{
    int lane = threadIdx.x & 31, eights = j.k >> 3;
    float square[M];
    lmf_eight_t held[ahead<C>::N][C];
    LMF_NEXT();
#pragma unroll
    for (int p = 0; p < ahead<C>::N; p++)
        if (lane + 32 * p < eights)
            weights<dtype, C, NORM>(held[p], row, j.norm, lane + 32 * p);
    LMF_AFTER();
#pragma unroll
    for (int r = 0; r < M; r++) {
        square[r] = 0;
#pragma unroll
        for (int c = 0; c < C; c++)
            sum[c][r] = 0;
    }
#pragma unroll
    for (int p = 0; p < ahead<C>::N; p++)
        if (lane + 32 * p < eights)
            meet<dtype, M, C, NORM>(sum, square, held[p], j.x, j.m, j.k, lane + 32 * p);
    for (int i = lane + 32 * ahead<C>::N; i < eights; i += 32) {
        lmf_eight_t e[C];
        weights<dtype, C, NORM>(e, row, j.norm, i);
        meet<dtype, M, C, NORM>(sum, square, e, j.x, j.m, j.k, i);
    }
#pragma unroll
    for (int r = 0; r < M; r++) {
        float scale = NORM ? 1.0f / sqrtf(lmf_warp_sum(square[r]) / (float)j.k + j.eps) : 1.0f;
#pragma unroll
        for (int c = 0; c < C; c++) {
            float s = lmf_warp_sum(sum[c][r]);
            sum[c][r] = NORM ? s * scale : s;
        }
    }
}

static __device__ __forceinline__ int column(void) { return blockIdx.x * WARPS + (threadIdx.x >> 5); }
static __device__ __forceinline__ const uint8_t *row_of(const lmf_linear_part &p, int col)
{
    return (const uint8_t *)p.w + (int64_t)min(col, p.n - 1) * p.w_bytes;
}

/* The columns of all parts, one behind the other. */
template <int dtype, int M> static __device__ __forceinline__ void norm_linear(const lmf_linear_job &j)
{
    int col = column(), i = col < j.part[0].n ? 0 : col < j.part[0].n + j.part[1].n ? 1 : 2, lane = threadIdx.x & 31;
    const lmf_linear_part &p = j.part[i];
    col -= i > 1 ? j.part[0].n + j.part[1].n : i ? j.part[0].n : 0;
    const uint8_t *const row[1] = { row_of(p, col) };
    float sum[1][M], bias = p.bias && col < p.n ? p.bias[col] : 0.0f;
    product<dtype, M, 1, true>(sum, row, j);
#pragma unroll
    for (int r = 0; r < M; r++)
        if (lane == r && r < j.m && col < p.n)
            p.y[(int64_t)r * p.n + col] = sum[0][r] + bias;
}

template <int dtype, int M> static __device__ __forceinline__ void norm_swiglu(const lmf_linear_job &j)
{
    int col = column(), lane = threadIdx.x & 31;
    bool there = col < j.part[0].n;
    const uint8_t *const row[2] = { row_of(j.part[0], col), row_of(j.part[1], col) };
    float sum[2][M], b0 = j.part[0].bias && there ? j.part[0].bias[col] : 0.0f, b1 = j.part[1].bias && there ? j.part[1].bias[col] : 0.0f;
    product<dtype, M, 2, true>(sum, row, j);
#pragma unroll
    for (int r = 0; r < M; r++)
        if (lane == r && r < j.m && there) {
            float z = sum[0][r] + b0;
            j.part[0].y[(int64_t)r * j.part[0].n + col] = z / (1.0f + expf(-z)) * (sum[1][r] + b1);
        }
}

template <int dtype, int M> static __device__ __forceinline__ void linear_add(const lmf_linear_job &j)
{
    const lmf_linear_part &p = j.part[0];
    int col = column(), lane = threadIdx.x & 31;
    bool there = col < p.n;
    const uint8_t *const row[1] = { row_of(p, col) };
    float sum[1][M], bias = p.bias && there ? p.bias[col] : 0.0f;
    product<dtype, M, 1, false>(sum, row, j);
#pragma unroll
    for (int r = 0; r < M; r++)
        if (lane == r && r < j.m && there) {
            int64_t at = (int64_t)r * p.n + col;
            p.y[at] = j.r[at] + (sum[0][r] + bias);
        }
}

#define ROWS(name, dtype, M)                                                                                         \
    LMF_KERNEL_EARLY(norm_linear_##name##_##M)(lmf_linear_job j) { norm_linear<dtype, M>(j); }                  \
    LMF_KERNEL_EARLY(norm_swiglu_##name##_##M)(lmf_linear_job j) { norm_swiglu<dtype, M>(j); }                  \
    LMF_KERNEL_EARLY(linear_add_##name##_##M)(lmf_linear_job j) { linear_add<dtype, M>(j); }
#define EACH(name, dtype) ROWS(name, dtype, 1) ROWS(name, dtype, 8)
LMF_EACH_EIGHT(EACH)
