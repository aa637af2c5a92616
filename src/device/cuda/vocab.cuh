/* SPDX-License-Identifier: Apache-2.0 */
/* vocab: the kernels of device/cuda/vocab.h. Each takes the job whole and works on its chunk: rows begin .. begin + rows of the
 * list, as far as it goes; blocks past its end leave at once. Products: 256 threads, a tile of 64 by 64, 4 by 4 a thread, and
 * each sum over k in order by one thread. */
#ifndef LMF_DEVICE_CUDA_VOCAB_CUH
#define LMF_DEVICE_CUDA_VOCAB_CUH
#include "device/cuda/wgmma.cuh"
#include "device/cuda/vocab_job.h"

enum { LMF_VOCAB_TILE = 64, LMF_VOCAB_DEPTH = 16 };
typedef float lmf_vocab_shared[LMF_VOCAB_DEPTH][LMF_VOCAB_TILE + 4]; /* [k][row or column] */

static __device__ __forceinline__ int lmf_vocab_n_rows(const lmf_vocab_job &j)
{
    int left = j.live[0] - j.begin;
    return left < j.rows ? left : j.rows;
}
static __device__ __forceinline__ bool lmf_vocab_counts(const lmf_vocab_job &j, int t)
{
    return t < j.t && (!j.weight || j.weight[t] != 0) && (!j.target || (j.target[t] >= 0 && j.target[t] < j.v));
}

/* One block of 1024: the list in order, and zeroes for what is not in it. */
LMF_KERNEL(vocab_count)(lmf_vocab_job j)
{
    __shared__ int part[32];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n = 0;
    for (int64_t t0 = 0; t0 < j.t; t0 += blockDim.x) {
        int64_t t = t0 + threadIdx.x;
        bool own = t < j.t && lmf_vocab_counts(j, (int)t);
        unsigned mask = __ballot_sync(0xffffffffu, own);
        if (lane == 0)
            part[warp] = __popc(mask);
        __syncthreads();
        int at = n + __popc(mask & ((1u << lane) - 1));
        for (int w = 0; w < 32; w++) {
            at += w < warp ? part[w] : 0;
            n += part[w];
        }
        if (own) {
            j.live[1 + at] = (int)t;
        } else if (t < j.t) {
            if (j.logp)
                j.logp[t] = 0;
            if (j.lse)
                j.lse[t] = 0;
        }
        __syncthreads();
    }
    if (threadIdx.x == 0)
        j.live[0] = n;
}

static __device__ __forceinline__ void lmf_vocab_multiply(const lmf_vocab_shared &a, const lmf_vocab_shared &b, float (&sum)[4][4])
{
    int ty = (threadIdx.x >> 4) * 4, tx = (threadIdx.x & 15) * 4;
#pragma unroll
    for (int k = 0; k < LMF_VOCAB_DEPTH; k++) {
        float4 av = *(const float4 *)&a[k][ty], bv = *(const float4 *)&b[k][tx];
        float ar[4] = { av.x, av.y, av.z, av.w }, br[4] = { bv.x, bv.y, bv.z, bv.w };
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                sum[i][n] = fmaf(ar[i], br[n], sum[i][n]);
    }
}

/* A thread's sum of exp(x - top), top the greatest so far: many of them make a log sum exp. NaN stays NaN. */
typedef struct lmf_online { float top, sum; } lmf_online;
static __device__ __forceinline__ void lmf_online_add(lmf_online &o, float x)
{
    if (x > o.top) {
        o.sum *= expf(o.top - x);
        o.top = x;
    }
    o.sum += expf(x - o.top);
}
/* The block's log sum exp is top + rest; one number would be rounded by as much as log-probabilities near 0 are not. */
typedef struct lmf_lse { float top, rest; } lmf_lse;
static __device__ __forceinline__ lmf_lse lmf_online_lse(const lmf_online &o, float *part) /* part as lmf_block_sum's */
{
    float top = lmf_block_max(o.top, part);
    return { top, logf(lmf_block_sum(o.sum == 0 ? 0.0f : o.sum * expf(o.top - top), part)) };
}
static __device__ __forceinline__ float lmf_log_share(float x, const lmf_lse &lse) { return x - lse.top - lse.rest; }

/* logits[r, v] = scale * x[live r] . w[v]. Grid: tiles of V, tiles of rows. */
template <int dtype> static __device__ __forceinline__ void lmf_vocab_logits(const lmf_vocab_job &j)
{
    __shared__ __align__(16) lmf_vocab_shared a, b;
    int n_rows = lmf_vocab_n_rows(j), r0 = blockIdx.y * LMF_VOCAB_TILE, v0 = blockIdx.x * LMF_VOCAB_TILE;
    if (r0 >= n_rows)
        return;
    int own = threadIdx.x >> 2, k_own = (threadIdx.x & 3) * 4; /* the row, the column and the k that this thread loads */
    const float *x = r0 + own < n_rows ? (const float *)j.x + (int64_t)j.live[1 + j.begin + r0 + own] * j.d : NULL;
    const uint8_t *w = v0 + own < j.v ? (const uint8_t *)j.w + (int64_t)(v0 + own) * j.w_bytes : NULL;
    float sum[4][4] = { { 0 } };
    for (int k0 = 0; k0 < j.d; k0 += LMF_VOCAB_DEPTH) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int k = k0 + k_own + i;
            a[k_own + i][own] = x && k < j.d ? x[k] : 0.0f;
            b[k_own + i][own] = w && k < j.d ? lmf_load<dtype>(w, k) : 0.0f;
        }
        __syncthreads();
        lmf_vocab_multiply(a, b, sum);
        __syncthreads();
    }
    int ty = (threadIdx.x >> 4) * 4, tx = (threadIdx.x & 15) * 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int n = 0; n < 4; n++)
            if (r0 + ty + i < n_rows && v0 + tx + n < j.v)
                j.logits[(r0 + ty + i) * j.v_stride + v0 + tx + n] = j.scale * sum[i][n];
}

/* One block a row: log sum exp, logp, and for the gradients each logit becomes scale u ([v = target] - p_v). */
LMF_KERNEL(vocab_rows)(lmf_vocab_job j)
{
    __shared__ float part[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int t = j.live[1 + j.begin + blockIdx.x], target = j.target[t];
    float *l = j.logits + blockIdx.x * j.v_stride, lse = j.lse_given ? j.lse_given[t] : 0, hit = l[target];
    if (!j.lse_given) {
        float top = -INFINITY, sum = 0;
        for (int v = threadIdx.x; v < j.v; v += blockDim.x)
            top = fmaxf(top, l[v]);
        top = lmf_block_max(top, part);
        for (int v = threadIdx.x; v < j.v; v += blockDim.x)
            sum += expf(l[v] - top);
        lse = top + logf(lmf_block_sum(sum, part));
    }
    if (threadIdx.x == 0) {
        if (j.lse)
            j.lse[t] = lse;
        if (j.logp)
            j.logp[t] = j.sign * (hit - lse);
    }
    if (!j.dx && !j.dw)
        return;
    __syncthreads(); /* hit has been read by all */
    float u = j.scale * j.sign * j.u[t];
    for (int v = threadIdx.x; v < j.v; v += blockDim.x)
        l[v] = u * ((v == target ? 1.0f : 0.0f) - expf(l[v] - lse));
}

/* part[z, r, d] = sum over the z-th part of V of logits[r, v] w[v, d]. Grid: tiles of D, tiles of rows, parts. */
template <int dtype> static __device__ __forceinline__ void lmf_vocab_sums(const lmf_vocab_job &j)
{
    __shared__ __align__(16) lmf_vocab_shared a, b;
    int n_rows = lmf_vocab_n_rows(j), r0 = blockIdx.y * LMF_VOCAB_TILE, d0 = blockIdx.x * LMF_VOCAB_TILE;
    if (r0 >= n_rows)
        return;
    int own = threadIdx.x >> 2, k_own = (threadIdx.x & 3) * 4, column = (threadIdx.x & 15) * 4, k_column = threadIdx.x >> 4;
    int64_t first = blockIdx.z * j.v_part, end = first + j.v_part < j.v ? first + j.v_part : j.v;
    const float *l = r0 + own < n_rows ? j.logits + (r0 + own) * j.v_stride : NULL;
    float sum[4][4] = { { 0 } };
    for (int64_t v0 = first; v0 < end; v0 += LMF_VOCAB_DEPTH) {
        const uint8_t *w = (const uint8_t *)j.w + (v0 + k_column) * j.w_bytes;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int64_t v = v0 + k_own + i;
            int d = d0 + column + i;
            a[k_own + i][own] = l && v < end ? l[v] : 0.0f;
            b[k_column][column + i] = v0 + k_column < end && d < j.d ? lmf_load<dtype>(w, d) : 0.0f;
        }
        __syncthreads();
        lmf_vocab_multiply(a, b, sum);
        __syncthreads();
    }
    int ty = (threadIdx.x >> 4) * 4, tx = (threadIdx.x & 15) * 4;
    float *part = j.part + (int64_t)blockIdx.z * j.rows * j.d;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int n = 0; n < 4; n++)
            if (r0 + ty + i < n_rows && d0 + tx + n < j.d)
                part[(int64_t)(r0 + ty + i) * j.d + d0 + tx + n] = sum[i][n];
}

/* One block a row: its parts in order. */
template <class T> static __device__ __forceinline__ void lmf_vocab_dx(const lmf_vocab_job &j)
{
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    T *dx = (T *)j.dx + (int64_t)j.live[1 + j.begin + blockIdx.x] * j.d;
    const float *part = j.part + (int64_t)blockIdx.x * j.d;
    for (int i = threadIdx.x; i < j.d; i += blockDim.x) {
        float sum = 0;
        for (int z = 0; z < j.n_parts; z++)
            sum += part[(int64_t)z * j.rows * j.d + i];
        lmf_write(dx + i, sum);
    }
}
LMF_KERNEL(vocab_dx)(lmf_vocab_job j) { lmf_vocab_dx<float>(j); }
LMF_KERNEL(vocab_dx_bf16)(lmf_vocab_job j) { lmf_vocab_dx<__nv_bfloat16>(j); }

/* dw[v, d] (+)= sum over the chunk's rows of logits[r, v] x[live r, d]. Grid: tiles of D, tiles of V. */
LMF_KERNEL(vocab_dw)(lmf_vocab_job j)
{
    __shared__ __align__(16) lmf_vocab_shared a, b;
    int n_rows = lmf_vocab_n_rows(j), v0 = blockIdx.y * LMF_VOCAB_TILE, d0 = blockIdx.x * LMF_VOCAB_TILE;
    if (n_rows <= 0 && j.begin)
        return;
    int column = (threadIdx.x & 15) * 4, k = threadIdx.x >> 4;
    float sum[4][4] = { { 0 } };
    for (int r0 = 0; r0 < n_rows; r0 += LMF_VOCAB_DEPTH) {
        bool in = r0 + k < n_rows;
        const float *l = j.logits + (int64_t)(r0 + k) * j.v_stride;
        const float *x = in ? (const float *)j.x + (int64_t)j.live[1 + j.begin + r0 + k] * j.d : NULL;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[k][column + i] = in && v0 + column + i < j.v ? l[v0 + column + i] : 0.0f;
            b[k][column + i] = in && d0 + column + i < j.d ? x[d0 + column + i] : 0.0f;
        }
        __syncthreads();
        lmf_vocab_multiply(a, b, sum);
        __syncthreads();
    }
    int ty = (threadIdx.x >> 4) * 4, tx = (threadIdx.x & 15) * 4;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int n = 0; n < 4; n++)
            if (v0 + ty + i < j.v && d0 + tx + n < j.d) {
                float *y = j.dw + (int64_t)(v0 + ty + i) * j.d + d0 + tx + n;
                *y = j.begin ? *y + sum[i][n] : sum[i][n];
            }
}

/* One block of 1024. In f64, for there may be millions of rows: threads take every 1024th, and meet in a fixed tree. */
LMF_KERNEL(vocab_loss)(lmf_vocab_job j)
{
    __shared__ double part[1024];
    double sum = 0;
    for (int i = threadIdx.x; i < j.live[0]; i += blockDim.x)
        sum += (double)j.weight[j.live[1 + i]] * (double)j.logp[j.live[1 + i]];
    part[threadIdx.x] = sum;
    for (int n = blockDim.x >> 1; n; n >>= 1) {
        __syncthreads();
        if ((int)threadIdx.x < n)
            part[threadIdx.x] += part[threadIdx.x + n];
    }
    if (threadIdx.x == 0)
        j.loss[0] = (float)part[0];
}

/* ---- the products in bf16; D a multiple of 32 ---- */
static_assert(LMF_VOCAB_SHARED == LMF_MMA_STAGES * 2 * sizeof(lmf_mma_rows) && LMF_VOCAB_WG_SHARED == LMF_WG_STAGES * LMF_WG_STAGE + 1024,
              "vocab_job.h counts what mma.cuh and wgmma.cuh take");

/* w16 = w in bf16, once a call: eight neighbours a thread. */
template <int dtype> static __device__ __forceinline__ void lmf_vocab_round(const lmf_vocab_job &j)
{
    int64_t n = (int64_t)j.v * (j.d / 8);
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        const uint8_t *w = (const uint8_t *)j.w + i / (j.d / 8) * j.w_bytes;
        int64_t at = i % (j.d / 8) * 8;
        float x[8];
#pragma unroll
        for (int e = 0; e < 8; e++)
            x[e] = lmf_load<dtype>(w, at + e);
        uint4 y = { lmf_pack_bf16(x[0], x[1]), lmf_pack_bf16(x[2], x[3]), lmf_pack_bf16(x[4], x[5]), lmf_pack_bf16(x[6], x[7]) };
        ((uint4 *)j.w16)[i] = y;
    }
}

/* x16[r] = x[live r] in bf16. One block a row. */
LMF_KERNEL(vocab_gather)(lmf_vocab_job j)
{
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    const float *x = (const float *)j.x + (int64_t)j.live[1 + j.begin + blockIdx.x] * j.d;
    unsigned *to = (unsigned *)((uint16_t *)j.x16 + (int64_t)blockIdx.x * j.d);
    for (int i = threadIdx.x; i < j.d / 2; i += blockDim.x)
        to[i] = lmf_pack_bf16(x[2 * i], x[2 * i + 1]);
}

LMF_KERNEL(vocab_gather_bf16)(lmf_vocab_job j)
{
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    const uint2 *x = (const uint2 *)((const uint16_t *)j.x + (int64_t)j.live[1 + j.begin + blockIdx.x] * j.d);
    uint2 *to = (uint2 *)((uint16_t *)j.x16 + (int64_t)blockIdx.x * j.d);
    for (int i = threadIdx.x; i < j.d / 4; i += blockDim.x)
        to[i] = x[i];
}

/* The tile's product, and f(row, column, two sums) for each pair. */
template <bool wg, bool a_by_k, bool b_by_k, class F>
static __device__ __forceinline__ void lmf_vocab_product(const lmf_mma_factor &a, const lmf_mma_factor &b, int64_t n_k, F f)
{
    extern __shared__ uint4 shared[];
    if constexpr (wg) {
        lmf_wg_wide sum;
        lmf_wg_product<a_by_k, b_by_k>(a, b, n_k, lmf_wg_room(shared), sum);
        lmf_wg_each(sum, f);
    } else {
        lmf_mma_sums sum = { { { 0 } } };
        lmf_mma_product<a_by_k, b_by_k>(a, b, n_k, shared, sum);
        lmf_mma_each(sum, f);
    }
}

/* As vocab_logits; columns from V to v_stride become 0. Grid: tiles of rows, tiles of V: neighbours share a part of w. */
template <bool wg> static __device__ __forceinline__ void lmf_vocab_logits16(const lmf_vocab_job &j)
{
    int n_rows = lmf_vocab_n_rows(j), r0 = blockIdx.x * LMF_MMA_TILE, v0 = blockIdx.y * LMF_MMA_TILE;
    if (r0 >= n_rows)
        return;
    lmf_mma_factor x = { (const __nv_bfloat16 *)j.x16 + (int64_t)r0 * j.d, j.d, n_rows - r0 };
    lmf_mma_factor w = { (const __nv_bfloat16 *)j.w16 + (int64_t)v0 * j.d, j.d, j.v - v0 };
    lmf_vocab_product<wg, false, false>(x, w, j.d, [&](int r, int v, float s0, float s1) {
        if (r0 + r < n_rows && v0 + v < j.v_stride)
            *(float2 *)(j.logits + (int64_t)(r0 + r) * j.v_stride + v0 + v) = make_float2(j.scale * s0, j.scale * s1);
    });
}
LMF_KERNEL(__launch_bounds__(256, 2) vocab_logits16)(lmf_vocab_job j) { lmf_vocab_logits16<false>(j); }
LMF_KERNEL(__launch_bounds__(256, 2) vocab_logits_wg)(lmf_vocab_job j) { lmf_vocab_logits16<true>(j); }

/* As vocab_rows, and the gradients lie in bf16 in the first half of each row, up to v_stride. Blocks of 512: a row of logits is read four
 * neighbours a thread, and each run of 2048 is written when all of it has been read, which is never behind what is still to be read. */
LMF_KERNEL(vocab_rows16)(lmf_vocab_job j)
{
    __shared__ float part[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int t = j.live[1 + j.begin + blockIdx.x], target = j.target[t];
    float *l = j.logits + blockIdx.x * j.v_stride, lse = j.lse_given ? j.lse_given[t] : 0, hit = l[target];
    if (!j.lse_given) {
        float top = -INFINITY, sum = 0;
        for (int v = threadIdx.x * 4; v < j.v; v += 2048) {
            float4 x = *(const float4 *)(l + v);
            x.y = v + 1 < j.v ? x.y : -INFINITY, x.z = v + 2 < j.v ? x.z : -INFINITY, x.w = v + 3 < j.v ? x.w : -INFINITY;
            float most = fmaxf(fmaxf(x.x, x.y), fmaxf(x.z, x.w));
            if (most > top) {
                sum *= expf(top - most);
                top = most;
            }
            sum += expf(x.x - top) + expf(x.y - top) + expf(x.z - top) + expf(x.w - top);
        }
        float most = lmf_block_max(top, part);
        lse = most + logf(lmf_block_sum(top > -INFINITY ? sum * expf(top - most) : 0.0f, part));
    }
    if (threadIdx.x == 0) {
        if (j.lse)
            j.lse[t] = lse;
        if (j.logp)
            j.logp[t] = j.sign * (hit - lse);
    }
    if (!j.dx && !j.dw)
        return;
    float u = j.scale * j.sign * j.u[t];
    for (int v0 = 0; v0 < j.v_stride; v0 += 2048) {
        int v = v0 + threadIdx.x * 4;
        float4 x = v < j.v_stride ? *(const float4 *)(l + v) : make_float4(0, 0, 0, 0);
        float e[4] = { x.x, x.y, x.z, x.w };
#pragma unroll
        for (int i = 0; i < 4; i++)
            e[i] = v + i < j.v ? u * ((v + i == target ? 1.0f : 0.0f) - expf(e[i] - lse)) : 0.0f;
        __syncthreads();
        if (v < j.v_stride)
            *(uint2 *)((uint16_t *)l + v) = make_uint2(lmf_pack_bf16(e[0], e[1]), lmf_pack_bf16(e[2], e[3]));
    }
}

/* A row of logits, blocks of 512 and four neighbours a thread: f(v, four logits) for all v below v_stride, which makes of them what is
 * written: in place, or in bf16 into the first half of the row, for products in bf16. That is written behind what has been read by all. */
enum { LMF_VOCAB_RUN = 2048 };
template <bool half, class F> static __device__ __forceinline__ void lmf_vocab_rewrite(float *l, int v_stride, F f)
{
    for (int v0 = 0; v0 < v_stride; v0 += LMF_VOCAB_RUN) {
        int v = v0 + threadIdx.x * 4;
        float e[4] = { 0 };
        if (v < v_stride) {
            float4 x = *(const float4 *)(l + v);
            e[0] = x.x, e[1] = x.y, e[2] = x.z, e[3] = x.w;
            f(v, e);
        }
        if (half)
            __syncthreads();
        if (v < v_stride && half)
            *(uint2 *)((uint16_t *)l + v) = make_uint2(lmf_pack_bf16(e[0], e[1]), lmf_pack_bf16(e[2], e[3]));
        else if (v < v_stride)
            *(float4 *)(l + v) = make_float4(e[0], e[1], e[2], e[3]);
    }
}

/* As vocab_sums. Grid: tiles of D, tiles of rows, parts. */
template <bool wg> static __device__ __forceinline__ void lmf_vocab_sums16(const lmf_vocab_job &j)
{
    int n_rows = lmf_vocab_n_rows(j), r0 = blockIdx.y * LMF_MMA_TILE, d0 = blockIdx.x * LMF_MMA_TILE;
    int64_t first = blockIdx.z * j.v_part, end = first + j.v_part < j.v ? first + j.v_part : j.v;
    if (r0 >= n_rows)
        return;
    lmf_mma_factor l = { (const __nv_bfloat16 *)(j.logits + (int64_t)r0 * j.v_stride) + first, 2 * j.v_stride, n_rows - r0 };
    lmf_mma_factor w = { (const __nv_bfloat16 *)j.w16 + first * j.d + d0, j.d, j.d - d0 };
    float *part = j.part + (int64_t)blockIdx.z * j.rows * j.d;
    lmf_vocab_product<wg, false, true>(l, w, end - first, [&](int r, int d, float s0, float s1) {
        if (r0 + r < n_rows && d0 + d < j.d)
            *(float2 *)(part + (int64_t)(r0 + r) * j.d + d0 + d) = make_float2(s0, s1);
    });
}
LMF_KERNEL(__launch_bounds__(256, 2) vocab_sums16)(lmf_vocab_job j) { lmf_vocab_sums16<false>(j); }
LMF_KERNEL(__launch_bounds__(256, 2) vocab_sums_wg)(lmf_vocab_job j) { lmf_vocab_sums16<true>(j); }

/* As vocab_dw. Grid: tiles of D, tiles of V. */
template <bool wg> static __device__ __forceinline__ void lmf_vocab_dw16(const lmf_vocab_job &j)
{
    int n_rows = lmf_vocab_n_rows(j), v0 = blockIdx.y * LMF_MMA_TILE, d0 = blockIdx.x * LMF_MMA_TILE;
    if (n_rows <= 0 && j.begin)
        return;
    lmf_mma_factor l = { (const __nv_bfloat16 *)j.logits + v0, 2 * j.v_stride, j.v_stride - v0 };
    lmf_mma_factor x = { (const __nv_bfloat16 *)j.x16 + d0, j.d, j.d - d0 };
    lmf_vocab_product<wg, true, true>(l, x, n_rows > 0 ? n_rows : 0, [&](int v, int d, float s0, float s1) {
        if (v0 + v < j.v && d0 + d < j.d) {
            float2 *y = (float2 *)(j.dw + (int64_t)(v0 + v) * j.d + d0 + d), old = j.begin ? *y : make_float2(0, 0);
            *y = make_float2(old.x + s0, old.y + s1);
        }
    });
}
LMF_KERNEL(__launch_bounds__(256, 2) vocab_dw16)(lmf_vocab_job j) { lmf_vocab_dw16<false>(j); }
LMF_KERNEL(__launch_bounds__(256, 2) vocab_dw_wg)(lmf_vocab_job j) { lmf_vocab_dw16<true>(j); }

#define LMF_VOCAB_KERNELS(name, dtype)                                                                               \
    LMF_KERNEL(vocab_logits_##name)(lmf_vocab_job j) { lmf_vocab_logits<dtype>(j); }                                 \
    LMF_KERNEL(vocab_sums_##name)(lmf_vocab_job j) { lmf_vocab_sums<dtype>(j); }                                     \
    LMF_KERNEL(vocab_round_##name)(lmf_vocab_job j) { lmf_vocab_round<dtype>(j); }
LMF_EACH_FORMAT(LMF_VOCAB_KERNELS)

#endif
