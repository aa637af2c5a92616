/* SPDX-License-Identifier: Apache-2.0 */
/* linear: y = x W^T for more rows than one warp a column serves, on the matrix units: factors in bf16, sums in f32, W in any format and
 * unpacked on its way. Columns of y are the rows of a tile (m16n8k16), so that 8 rows of x fill one. Each lane holds the eights of its rows
 * of W as they lie (lmf_eight); which k stands where in a product is free, as long as x is laid out alike.
 *   split  a block has 16 columns and 8 NT rows; its warps share k, and x is read from memory as it is: for many small blocks
 *   wide   a block has 128 columns and 8 NT rows, a warp 16 of the columns; x goes through shared memory
 * C matrices of as many columns are done together. NORM: x is normed by rows: W or x is scaled by job.norm, the sums by what the squares of
 * x come to, which are summed on the way.
 * Rule: the sums' order depends on k and the shape of the block alone. k is a multiple of 32.
 * From sm_80 on; before that lmf_mma does nothing, and no row calls it. */
#ifndef LMF_DEVICE_CUDA_LINEAR_CUH
#define LMF_DEVICE_CUDA_LINEAR_CUH
#include "device/cuda/unpack.cuh"
#include "device/cuda/linear_job.h"
#include "device/cuda/mma.cuh"

/* The i-th eights of 16 rows of W, from `row` on and none past `last`, as factors of two products; times norm. */
template <int dtype, bool NORM>
static __device__ __forceinline__ void lmf_linear_weights(unsigned (&a)[2][4], const uint8_t *row, int64_t w_bytes, int last, const float *norm, int i)
{
    int g = (threadIdx.x & 31) >> 2;
    lmf_eight_t low = lmf_eight<dtype>(row + min(g, last) * w_bytes, i), high = lmf_eight<dtype>(row + min(g + 8, last) * w_bytes, i);
    if (NORM) {
        float4 u = *(const float4 *)(norm + lmf_eight_x0<dtype>(i)), v = *(const float4 *)(norm + lmf_eight_x1<dtype>(i));
        float n[8] = { u.x, u.y, u.z, u.w, v.x, v.y, v.z, v.w };
#pragma unroll
        for (int j = 0; j < 8; j++)
            low.w[j] *= n[j], high.w[j] *= n[j];
    }
#pragma unroll
    for (int s = 0; s < 2; s++) {
        a[s][0] = lmf_pack_bf16(low.w[4 * s], low.w[4 * s + 1]), a[s][1] = lmf_pack_bf16(high.w[4 * s], high.w[4 * s + 1]);
        a[s][2] = lmf_pack_bf16(low.w[4 * s + 2], low.w[4 * s + 3]), a[s][3] = lmf_pack_bf16(high.w[4 * s + 2], high.w[4 * s + 3]);
    }
}

static __device__ __forceinline__ float lmf_square(float4 x, float sum) { return fmaf(x.x, x.x, fmaf(x.y, x.y, fmaf(x.z, x.z, fmaf(x.w, x.w, sum)))); }

/* ---- split ---- */
enum { LMF_SPLIT_WARPS = LMF_SPLIT_THREADS / 32 };
template <int NT, int C> struct lmf_split_room { float sum[LMF_SPLIT_WARPS][C][8 * NT][16], square[LMF_SPLIT_WARPS][8 * NT]; };

/* x's rows 8 nt + g against weights of one block of 32. */
template <int dtype, int NT, int C, bool NORM>
static __device__ __forceinline__ void lmf_split_meet(float (&d)[C][NT][4], float (&square)[NT], const unsigned (&a)[C][2][4], const float *x, int m, int m0,
                                                      int k, int i)
{
    int g = (threadIdx.x & 31) >> 2;
#pragma unroll
    for (int t = 0; t < NT; t++) {
        const float *p = x + (int64_t)min(m0 + 8 * t + g, m - 1) * k;
        float4 u = *(const float4 *)(p + lmf_eight_x0<dtype>(i)), v = *(const float4 *)(p + lmf_eight_x1<dtype>(i));
        if (NORM)
            square[t] = lmf_square(v, lmf_square(u, square[t]));
#pragma unroll
        for (int c = 0; c < C; c++) {
            lmf_mma(d[c][t], a[c][0], lmf_pack_bf16(u.x, u.y), lmf_pack_bf16(u.z, u.w));
            lmf_mma(d[c][t], a[c][1], lmf_pack_bf16(v.x, v.y), lmf_pack_bf16(v.z, v.w));
        }
    }
}

/* out(row, column in the tile, sums[C]) for rows of blockIdx.y's tile; part[c]: from column col0 on. */
template <int dtype, int NT, int C, bool NORM, class Out>
static __device__ __forceinline__ void lmf_linear_split(const lmf_linear_job &j, const lmf_linear_part *const (&part)[C], int col0, Out out)
{
    enum { AHEAD = C == 1 ? 6 : 3 };
    __shared__ lmf_split_room<NT, C> room;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, blocks = j.k >> 5, m0 = blockIdx.y * 8 * NT;
    unsigned held[AHEAD][C][2][4];
    float d[C][NT][4], square[NT];
    LMF_NEXT();
#pragma unroll
    for (int p = 0; p < AHEAD; p++)
        if (warp + LMF_SPLIT_WARPS * p < blocks)
#pragma unroll
            for (int c = 0; c < C; c++)
                lmf_linear_weights<dtype, NORM>(held[p][c], (const uint8_t *)part[c]->w + col0 * part[c]->w_bytes, part[c]->w_bytes, part[c]->n - 1 - col0,
                                                j.norm, 4 * (warp + LMF_SPLIT_WARPS * p) + q);
    LMF_AFTER();
#pragma unroll
    for (int t = 0; t < NT; t++) {
        square[t] = 0;
#pragma unroll
        for (int c = 0; c < C; c++)
            d[c][t][0] = d[c][t][1] = d[c][t][2] = d[c][t][3] = 0;
    }
#pragma unroll
    for (int p = 0; p < AHEAD; p++)
        if (warp + LMF_SPLIT_WARPS * p < blocks)
            lmf_split_meet<dtype, NT, C, NORM>(d, square, held[p], j.x, j.m, m0, j.k, 4 * (warp + LMF_SPLIT_WARPS * p) + q);
    for (int b = warp + LMF_SPLIT_WARPS * AHEAD; b < blocks; b += LMF_SPLIT_WARPS) {
        unsigned a[C][2][4];
#pragma unroll
        for (int c = 0; c < C; c++)
            lmf_linear_weights<dtype, NORM>(a[c], (const uint8_t *)part[c]->w + col0 * part[c]->w_bytes, part[c]->w_bytes, part[c]->n - 1 - col0, j.norm,
                                            4 * b + q);
        lmf_split_meet<dtype, NT, C, NORM>(d, square, a, j.x, j.m, m0, j.k, 4 * b + q);
    }
#pragma unroll
    for (int t = 0; t < NT; t++) {
#pragma unroll
        for (int c = 0; c < C; c++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                room.sum[warp][c][8 * t + 2 * q + (e & 1)][g + 8 * (e >> 1)] = d[c][t][e];
        if (NORM) {
            square[t] += __shfl_xor_sync(0xffffffffu, square[t], 1);
            square[t] += __shfl_xor_sync(0xffffffffu, square[t], 2);
            if (q == 0)
                room.square[warp][8 * t + g] = square[t];
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < 8 * NT * 16; i += LMF_SPLIT_THREADS) {
        int row = i / 16, col = i % 16;
        float s[C], scale = j.alpha;
        if (m0 + row >= j.m)
            continue;
        if (NORM) {
            float all = 0;
            for (int w = 0; w < LMF_SPLIT_WARPS; w++)
                all += room.square[w][row];
            scale = 1.0f / sqrtf(all / (float)j.k + j.eps);
        }
#pragma unroll
        for (int c = 0; c < C; c++) {
            s[c] = 0;
            for (int w = 0; w < LMF_SPLIT_WARPS; w++)
                s[c] += room.sum[w][c][row][col];
            s[c] *= scale;
        }
        out(m0 + row, col, s);
    }
}

/* ---- wide ---- */
enum { LMF_WIDE_WARPS = LMF_WIDE_THREADS / 32, LMF_WIDE_DEPTH = 128, LMF_WIDE_ROW = LMF_WIDE_DEPTH + 8 }; /* padded: ldmatrix meets each bank once */
template <int NT> struct lmf_wide_room { __nv_bfloat16 x[2][8 * NT][LMF_WIDE_ROW]; float scale[8 * NT]; };

/* A depth of x on its way: lane l has floats 4 l .. 4 l + 3 of rows warp, warp + 8, ... */
template <int NT> static __device__ __forceinline__ void lmf_wide_fetch(float4 (&v)[NT], const lmf_linear_job &j, int m0, int k0)
{
    int warp = threadIdx.x >> 5, k = k0 + 4 * (threadIdx.x & 31);
#pragma unroll
    for (int t = 0; t < NT; t++)
        v[t] = k < j.k ? *(const float4 *)(j.x + (int64_t)min(m0 + warp + 8 * t, j.m - 1) * j.k + k) : make_float4(0, 0, 0, 0);
}

template <int dtype, int NT, bool NORM>
static __device__ __forceinline__ void lmf_wide_put(__nv_bfloat16 (*to)[LMF_WIDE_ROW], float (&square)[NT], const float4 (&v)[NT], const lmf_linear_job &j, int k0)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, k = k0 + 4 * lane, at = lane & 7;
    constexpr bool halves = lmf_eight_has_halves<dtype>;
    int step = halves ? at >> 2 : at & 1, q = halves ? at & 3 : at >> 1, slot = (lane >> 3) * 32 + step * 16 + 2 * q;
    float4 n = NORM && k < j.k ? *(const float4 *)(j.norm + k) : make_float4(1, 1, 1, 1);
#pragma unroll
    for (int t = 0; t < NT; t++) {
        float4 x = v[t];
        if (NORM) {
            square[t] = lmf_square(x, square[t]);
            x = make_float4(x.x * n.x, x.y * n.y, x.z * n.z, x.w * n.w);
        }
        *(unsigned *)&to[warp + 8 * t][slot] = lmf_pack_bf16(x.x, x.y);
        *(unsigned *)&to[warp + 8 * t][slot + 8] = lmf_pack_bf16(x.z, x.w);
    }
}

/* out(row, column, sums[C]); part[c]: the block's columns from col0 on. NT is even. */
template <int dtype, int NT, int C, bool NORM, class Out>
static __device__ __forceinline__ void lmf_linear_wide(const lmf_linear_job &j, const lmf_linear_part *const (&part)[C], int col0, Out out)
{
    __shared__ lmf_wide_room<NT> room;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, m0 = blockIdx.y * 8 * NT, own = col0 + 16 * warp;
    float d[C][NT][4] = { 0 }, square[NT] = { 0 };
    float4 v[NT];
    LMF_AFTER();
    lmf_wide_fetch<NT>(v, j, m0, 0);
    lmf_wide_put<dtype, NT, NORM>(room.x[0], square, v, j, 0);
    __syncthreads();
    for (int k0 = 0, i = 0; k0 < j.k; k0 += LMF_WIDE_DEPTH, i ^= 1) {
        bool more = k0 + LMF_WIDE_DEPTH < j.k;
        if (more)
            lmf_wide_fetch<NT>(v, j, m0, k0 + LMF_WIDE_DEPTH);
#pragma unroll
        for (int b = 0; b < LMF_WIDE_DEPTH / 32; b++) {
            if (k0 + 32 * b >= j.k || own >= part[0]->n)
                break;
            unsigned a[C][2][4];
#pragma unroll
            for (int c = 0; c < C; c++)
                lmf_linear_weights<dtype, false>(a[c], (const uint8_t *)part[c]->w + own * part[c]->w_bytes, part[c]->w_bytes, part[c]->n - 1 - own, NULL,
                                                 (k0 >> 3) + 4 * b + q);
#pragma unroll
            for (int s = 0; s < 2; s++)
#pragma unroll
                for (int t = 0; t < NT; t += 2) { /* rows 8 t .. at k and k + 8, then the next 8 rows */
                    unsigned x[4];
                    lmf_ldmatrix<false>(x, &room.x[i][8 * t + (lane & 7) + (lane >> 4) * 8][32 * b + 16 * s + (lane >> 3 & 1) * 8]);
#pragma unroll
                    for (int c = 0; c < C; c++) {
                        lmf_mma(d[c][t], a[c][s], x[0], x[1]);
                        lmf_mma(d[c][t + 1], a[c][s], x[2], x[3]);
                    }
                }
        }
        if (more)
            lmf_wide_put<dtype, NT, NORM>(room.x[i ^ 1], square, v, j, k0 + LMF_WIDE_DEPTH);
        __syncthreads();
    }
#pragma unroll
    for (int t = 0; t < NT; t++) {
        float all = NORM ? lmf_warp_sum(square[t]) : 0;
        if (lane == 0)
            room.scale[warp + 8 * t] = NORM ? 1.0f / sqrtf(all / (float)j.k + j.eps) : j.alpha;
    }
    __syncthreads();
#pragma unroll
    for (int t = 0; t < NT; t++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int row = 8 * t + 2 * q + (e & 1), col = own + g + 8 * (e >> 1);
            float s[C];
#pragma unroll
            for (int c = 0; c < C; c++)
                s[c] = d[c][t][e] * room.scale[row];
            if (m0 + row < j.m && col < part[0]->n)
                out(m0 + row, col, s);
        }
}

/* ---- what a linear layer ends with ---- */
static __device__ __forceinline__ void lmf_linear_put(const lmf_linear_job &j, const lmf_linear_part &p, int row, int col, float s)
{
    int64_t at = (int64_t)row * p.n + col;
    s = p.bias ? s + p.bias[col] : s;
    p.y[at] = j.r ? j.r[at] + s : s;
}
static __device__ __forceinline__ void lmf_linear_put_swiglu(const lmf_linear_job &j, int row, int col, const float (&s)[2])
{
    float z = j.part[0].bias ? s[0] + j.part[0].bias[col] : s[0], u = j.part[1].bias ? s[1] + j.part[1].bias[col] : s[1];
    j.part[0].y[(int64_t)row * j.part[0].n + col] = z / (1.0f + expf(-z)) * u;
}

/* The part and its tile that block i has, where parts lie one behind the other in tiles of `width` columns. */
static __device__ __forceinline__ const lmf_linear_part *lmf_linear_tile(const lmf_linear_job &j, int width, int *col0)
{
    int i = 0, tile = blockIdx.x;
    for (; i < 2; i++) {
        int n = (j.part[i].n + width - 1) / width;
        if (tile < n)
            break;
        tile -= n;
    }
    *col0 = tile * width;
    return &j.part[i];
}

template <int dtype, int NT, bool NORM> static __device__ __forceinline__ void lmf_linear_split_parts(const lmf_linear_job &j)
{
    int col0;
    const lmf_linear_part *p = lmf_linear_tile(j, LMF_SPLIT_COLUMNS, &col0), *const part[1] = { p };
    lmf_linear_split<dtype, NT, 1, NORM>(j, part, col0, [&](int row, int col, const float (&s)[1]) {
        if (col0 + col < p->n)
            lmf_linear_put(j, *p, row, col0 + col, s[0]);
    });
}
template <int dtype, int NT, bool NORM> static __device__ __forceinline__ void lmf_linear_wide_parts(const lmf_linear_job &j)
{
    int col0;
    const lmf_linear_part *p = lmf_linear_tile(j, LMF_WIDE_COLUMNS, &col0), *const part[1] = { p };
    lmf_linear_wide<dtype, NT, 1, NORM>(j, part, col0, [&](int row, int col, const float (&s)[1]) { lmf_linear_put(j, *p, row, col, s[0]); });
}
template <int dtype, int NT> static __device__ __forceinline__ void lmf_linear_split_swiglu(const lmf_linear_job &j)
{
    int col0 = blockIdx.x * LMF_SPLIT_COLUMNS;
    const lmf_linear_part *const part[2] = { &j.part[0], &j.part[1] };
    lmf_linear_split<dtype, NT, 2, true>(j, part, col0, [&](int row, int col, const float (&s)[2]) {
        if (col0 + col < j.part[0].n)
            lmf_linear_put_swiglu(j, row, col0 + col, s);
    });
}
template <int dtype, int NT> static __device__ __forceinline__ void lmf_linear_wide_swiglu(const lmf_linear_job &j)
{
    const lmf_linear_part *const part[2] = { &j.part[0], &j.part[1] };
    lmf_linear_wide<dtype, NT, 2, true>(j, part, blockIdx.x * LMF_WIDE_COLUMNS,
                                        [&](int row, int col, const float (&s)[2]) { lmf_linear_put_swiglu(j, row, col, s); });
}

#endif
