/* SPDX-License-Identifier: Apache-2.0 */
/* vocab_wide: the loss head with a frozen w on Hopper (sm_90a), kernels of device/cuda/vocab_wide.h. Two products by wgmma whose factors
 * the copy engine brings, and between them a chunk of e = exp(logit - ref) in bf16, [rows, V].
 *   ref of a row is its target's logit and 60 / log2(e) more, known before any product: e needs no maximum, for bf16 has the exponents
 *   of f32 (the target's e is 2^-60; up to 2^110, logits 117 above the target's, nothing overflows). Then nll = log sum e + 60 ln 2 and
 *   dx = u (w[target] - sum e w / sum e): sums of parts are scaled, never e. A row beyond that is made again by its own block.
 *   By counting, 135M (V 49,152, D 576) and 32,768 rows: 2 * 1.86 TFLOP, 6.2 ms at 600 TFLOP/s; e written and
 *   read 6.4 GB, most of it in L2.
 *   Making the logits again instead would cost 3.1 ms.
 * A block: a warpgroup whose first thread asks for tiles, two that multiply, 64 rows each. Two blocks of a cluster have neighbouring rows
 * and share w's tiles, each bringing half of them to both.
 * w's rows lie in a tile in another order: column 8 j + 2 t + e of 64 is w's row 16 t + 2 j + e, so that what a thread holds of a row,
 * columns 2 t and 2 t + 1 of each eight, are sixteen neighbours.
 * Rule: how V is parted hangs on V and D alone; a row's bits depend on that row and w alone. */
#ifndef LMF_DEVICE_CUDA_VOCAB_WIDE_CUH
#define LMF_DEVICE_CUDA_VOCAB_WIDE_CUH
#include "device/cuda/tma.cuh"
#include "device/cuda/vocab.cuh"

enum { WIDE_M = 128, WIDE_V = 256, WIDE_D = 192, WIDE_STAGES = 4, WIDE_A = WIDE_M * LMF_WG_LINE, WIDE_WARPS = 8,
       WIDE_STAGE = WIDE_A + WIDE_V * LMF_WG_LINE, WIDE_SUM_STAGE = WIDE_A + WIDE_D * LMF_WG_LINE };
static_assert(LMF_VOCAB_WIDE_SHARED == WIDE_STAGES * WIDE_STAGE + 1024 + 128, "vocab_job.h counts it");
static const float WIDE_SHIFT = 60, WIDE_MOST = 1.2980742e33f; /* 2^110 */

typedef struct wide_ring { unsigned room, bars, stage, phase; } wide_ring; /* bars: full of each stage, then empty */
static __device__ __forceinline__ unsigned wide_full(const wide_ring &r) { return r.bars + r.stage * 8; }
static __device__ __forceinline__ unsigned wide_empty(const wide_ring &r) { return r.bars + (WIDE_STAGES + r.stage) * 8; }
static __device__ __forceinline__ void wide_next(wide_ring &r)
{
    r.stage = r.stage + 1 == WIDE_STAGES ? 0 : r.stage + 1;
    r.phase ^= r.stage == 0;
}
static __device__ __forceinline__ wide_ring wide_open(int n_blocks)
{
    extern __shared__ uint4 shared[];
    unsigned room = lmf_shared_at(lmf_wg_room(shared));
    wide_ring r = { room, room + WIDE_STAGES * WIDE_STAGE, 0, 0 };
    if (threadIdx.x == 0) {
        for (int i = 0; i < WIDE_STAGES; i++) {
            lmf_bar_init(r.bars + i * 8, 1);
            lmf_bar_init(r.bars + (WIDE_STAGES + i) * 8, WIDE_WARPS * n_blocks);
        }
        lmf_bar_made();
    }
    __syncthreads();
    lmf_cluster_sync(); /* nobody brings bytes to a block whose barriers are not made */
    return r;
}
/* A stage has been read by this warp, of whatever block brought it. */
static __device__ __forceinline__ void wide_free(unsigned empty, int n_blocks)
{
    int lane = threadIdx.x & 31;
    if (lane < n_blocks)
        lmf_bar_arrive(empty, lane);
}
template <int n> static __device__ __forceinline__ void wide_settle(float (&d)[n][4])
{
#if LMF_WG
#pragma unroll
    for (int i = 0; i < n; i++)
        asm volatile("" : LMF__WG_ROW(d, i)::"memory");
#endif
}
static __device__ __forceinline__ float wide_exp2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* x16 and the row's reference, in powers of two. One block a row. */
template <class T> static __device__ __forceinline__ void wide_gather(const lmf_vocab_job &j)
{
    __shared__ float part[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int t = j.live[1 + j.begin + blockIdx.x];
    const T *x = (const T *)j.x + (int64_t)t * j.d;
    const unsigned *w = (const unsigned *)((const uint16_t *)j.w16 + (int64_t)j.target[t] * j.d);
    unsigned *to = (unsigned *)((uint16_t *)j.x16 + (int64_t)blockIdx.x * j.d);
    float sum = 0;
    for (int i = threadIdx.x; i < j.d / 2; i += blockDim.x) {
        unsigned two = lmf_pack_bf16(lmf_read(x + 2 * i), lmf_read(x + 2 * i + 1)), wi = w[i];
        to[i] = two;
        sum = fmaf(lmf_low_half(two), lmf_low_half(wi), fmaf(lmf_high_half(two), lmf_high_half(wi), sum));
    }
    sum = lmf_block_sum(sum, part);
    if (threadIdx.x == 0)
        j.ref[blockIdx.x] = (j.lse_given ? j.lse_given[t] : j.scale * sum) * 1.4426950408889634f + (j.lse_given ? 0 : WIDE_SHIFT);
}
LMF_KERNEL(vocab_wide_gather)(lmf_vocab_job j) { wide_gather<float>(j); }
LMF_KERNEL(vocab_wide_gather_bf16)(lmf_vocab_job j) { wide_gather<__nv_bfloat16>(j); }

/* Sums of a tile become e: added to `sum` of this thread's two rows, and stored. v0: the tile's first row of w. */
template <bool store, bool last>
static __device__ __forceinline__ void wide_exps(const lmf_vocab_job &j, float (&d)[32][4], int v0, const float (&ref)[2],
                                                 const bool (&there)[2], uint16_t *const (&to)[2], float (&sum)[2])
{
    float c = j.scale * 1.4426950408889634f;
    int t = threadIdx.x & 3;
#pragma unroll
    for (int b = 0; b < 4; b++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            unsigned word[8];
#pragma unroll
            for (int i = 0; i < 8; i++) {
                float e0 = wide_exp2(fmaf(d[8 * b + i][2 * h], c, -ref[h])), e1 = wide_exp2(fmaf(d[8 * b + i][2 * h + 1], c, -ref[h]));
                if (last) {
                    int v = v0 + 64 * b + 16 * t + 2 * i;
                    e0 = v < j.v ? e0 : 0, e1 = v + 1 < j.v ? e1 : 0;
                }
                sum[h] += e0 + e1;
                word[i] = lmf_pack_bf16(e0, e1);
            }
            if (store && there[h] && (!last || v0 + 64 * b < j.v_stride)) {
                uint4 *at = (uint4 *)(to[h] + v0 + 64 * b + 16 * t);
                at[0] = make_uint4(word[0], word[1], word[2], word[3]);
                at[1] = make_uint4(word[4], word[5], word[6], word[7]);
            }
        }
}

/* Grid: pieces of sub_tiles tiles of V, 1, tiles of rows in clusters of two. */
template <bool store>
static __device__ __forceinline__ void wide_logits(const lmf_vocab_job &j, const lmf_cuda_map &x_map, const lmf_cuda_map &w_map)
{
#if LMF_WG
    int n_rows = lmf_vocab_n_rows(j), rank = lmf_cluster_rank(), r0 = blockIdx.z * WIDE_M, n_k = (j.d + 63) / 64;
    int tile0 = blockIdx.x * j.sub_tiles, n_tiles = min(j.sub_tiles, (j.v + WIDE_V - 1) / WIDE_V - tile0);
    if (r0 - rank * WIDE_M >= n_rows) /* the same for the cluster */
        return;
    wide_ring ring = wide_open(2);
    if (threadIdx.x < 128) {
        lmf_fewer_registers<40>();
        if (threadIdx.x == 0)
            for (int i = 0; i < n_tiles * n_k; i++, wide_next(ring)) {
                int tile = tile0 + i / n_k, k = i % n_k * 64;
                unsigned to = ring.room + ring.stage * WIDE_STAGE, full = wide_full(ring);
                lmf_bar_wait(wide_empty(ring), ring.phase ^ 1);
                lmf_bar_expect(full, WIDE_STAGE);
                lmf_tma_2d(to, x_map, k, r0, full);
                lmf_tma_5d_all(to + WIDE_A + rank * (WIDE_STAGE - WIDE_A) / 2, w_map, k, tile * 4 + rank * 2, full, 3);
            }
    } else {
        lmf_more_registers<232>();
        int wg = (threadIdx.x >> 7) - 1, r = r0 + wg * 64 + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7);
        bool there[2] = { r < n_rows, r + 8 < n_rows };
        float ref[2] = { there[0] ? j.ref[r] : 0, there[1] ? j.ref[r + 8] : 0 }, sum[2] = { 0, 0 }, d[32][4];
        uint16_t *to[2] = { (uint16_t *)j.logits + (int64_t)r * j.v_stride, (uint16_t *)j.logits + (int64_t)(r + 8) * j.v_stride };
        for (int tile = tile0; tile < tile0 + n_tiles; tile++) {
            unsigned before = 0;
            for (int k = 0; k < n_k; k++, wide_next(ring)) {
                unsigned a = lmf_wg_low(ring.room + ring.stage * WIDE_STAGE + wg * 64 * LMF_WG_LINE);
                unsigned b = lmf_wg_low(ring.room + ring.stage * WIDE_STAGE + WIDE_A);
                lmf_bar_wait(wide_full(ring), ring.phase);
                lmf_wg_begin();
#pragma unroll
                for (int i = 0; i < 4; i++)
                    lmf_wg_256(d, a + i * LMF_WG_ALONG, b + i * LMF_WG_ALONG, k + i > 0);
                lmf_wg_end();
                if (k) {
                    lmf_wg_wait<1>();
                    wide_free(before, 2);
                }
                before = wide_empty(ring);
            }
            lmf_wg_wait<0>();
            wide_settle(d);
            wide_free(before, 2);
            if ((tile + 1) * WIDE_V > j.v)
                wide_exps<store, true>(j, d, tile * WIDE_V, ref, there, to, sum);
            else
                wide_exps<store, false>(j, d, tile * WIDE_V, ref, there, to, sum);
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 1);
            sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 2);
            if (there[h] && (threadIdx.x & 3) == 0)
                j.sum[(int64_t)blockIdx.x * j.rows + r + 8 * h] = sum[h];
        }
    }
    __syncwarp();
    lmf_cluster_sync(); /* nobody leaves while another may write here */
#endif
}
LMF_KERNEL(__launch_bounds__(384, 1) vocab_wide_exps)
(const __grid_constant__ lmf_vocab_job j, const __grid_constant__ lmf_cuda_map x, const __grid_constant__ lmf_cuda_map w)
{
    wide_logits<true>(j, x, w);
}
LMF_KERNEL(__launch_bounds__(384, 1) vocab_wide_total)
(const __grid_constant__ lmf_vocab_job j, const __grid_constant__ lmf_cuda_map x, const __grid_constant__ lmf_cuda_map w)
{
    wide_logits<false>(j, x, w);
}

/* part[y, r, d] = sum over the y-th part of V of e[r, v] w[v, d]. Grid: tiles of D, parts, tiles of rows in clusters of two. */
LMF_KERNEL(__launch_bounds__(384, 1) vocab_wide_sums)
(const __grid_constant__ lmf_vocab_job j, const __grid_constant__ lmf_cuda_map e_map, const __grid_constant__ lmf_cuda_map w_map)
{
#if LMF_WG
    int n_rows = lmf_vocab_n_rows(j), rank = lmf_cluster_rank(), r0 = blockIdx.z * WIDE_M, d0 = blockIdx.x * WIDE_D;
    int first = blockIdx.y * (int)j.v_part, n_k = (min((int)j.v_part, j.v - first) + 63) / 64;
    if (r0 - rank * WIDE_M >= n_rows)
        return;
    wide_ring ring = wide_open(2);
    if (threadIdx.x < 128) {
        lmf_fewer_registers<40>();
        if (threadIdx.x == 0)
            for (int i = 0; i < n_k; i++, wide_next(ring)) {
                unsigned to = ring.room + ring.stage * WIDE_SUM_STAGE, full = wide_full(ring);
                int v = first + i * 64;
                lmf_bar_wait(wide_empty(ring), ring.phase ^ 1);
                lmf_bar_expect(full, WIDE_SUM_STAGE);
                lmf_tma_2d(to, e_map, v, r0, full);
                for (int p = 0; p < WIDE_D / 64; p++)
                    lmf_tma_2d_all(to + WIDE_A + p * LMF_WG_PANEL + rank * LMF_WG_PANEL / 2, w_map, d0 + p * 64, v + rank * 32, full, 3);
            }
    } else {
        lmf_more_registers<232>();
        int wg = (threadIdx.x >> 7) - 1, r = r0 + wg * 64 + (threadIdx.x >> 5 & 3) * 16 + (threadIdx.x >> 2 & 7);
        unsigned before = 0;
        float d[24][4];
        for (int k = 0; k < n_k; k++, wide_next(ring)) {
            unsigned a = lmf_wg_low(ring.room + ring.stage * WIDE_SUM_STAGE + wg * 64 * LMF_WG_LINE);
            unsigned b = lmf_wg_low(ring.room + ring.stage * WIDE_SUM_STAGE + WIDE_A) + (((LMF_WG_PANEL >> 4) - 1) << 16);
            lmf_bar_wait(wide_full(ring), ring.phase);
            lmf_wg_begin();
#pragma unroll
            for (int i = 0; i < 4; i++)
                lmf_wg_192_by_k(d, a + i * LMF_WG_ALONG, b + i * LMF_WG_ROWS, k + i > 0);
            lmf_wg_end();
            if (k) {
                lmf_wg_wait<1>();
                wide_free(before, 2);
            }
            before = wide_empty(ring);
        }
        lmf_wg_wait<0>();
        wide_settle(d);
        wide_free(before, 2);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float *to = j.part + ((int64_t)blockIdx.y * j.rows + r + 8 * h) * j.d + d0 + (threadIdx.x & 3) * 2;
#pragma unroll
            for (int i = 0; i < 24; i++)
                if (r + 8 * h < n_rows && d0 + 8 * i < j.d)
                    *(float2 *)(to + 8 * i) = make_float2(d[i][2 * h], d[i][2 * h + 1]);
        }
    }
    __syncwarp();
    lmf_cluster_sync();
#endif
}

/* The row's logit of w's row v, by a warp. */
static __device__ __forceinline__ float wide_logit(const lmf_vocab_job &j, const uint16_t *x, int v)
{
    const uint16_t *w = (const uint16_t *)j.w16 + (int64_t)v * j.d;
    float sum = 0;
    for (int i = (threadIdx.x & 31) * 2; i < j.d; i += 64) {
        unsigned a = *(const unsigned *)(x + i), b = *(const unsigned *)(w + i);
        sum = fmaf(lmf_low_half(a), lmf_low_half(b), fmaf(lmf_high_half(a), lmf_high_half(b), sum));
    }
    return j.scale * lmf_warp_sum(sum);
}

/* A row whose logits are too far above its target's: all of it by one block, slowly. Returns log sum exp. */
template <class T>
static __device__ __noinline__ float wide_again(const lmf_vocab_job &j, const uint16_t *x, T *dx, float u, int target, float *part)
{
    __shared__ float p[8];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    lmf_online o = { -INFINITY, 0 };
    for (int v = warp; v < j.v; v += 8) {
        float l = wide_logit(j, x, v);
        if (lane == 0)
            lmf_online_add(o, l);
    }
    lmf_lse lse = lmf_online_lse(o, part);
    for (int i0 = 0; dx && i0 < j.d; i0 += 256) {
        float sum = 0;
        int i = i0 + threadIdx.x;
        for (int v0 = 0; v0 < j.v; v0 += 8) {
            float l = v0 + warp < j.v ? expf(lmf_log_share(wide_logit(j, x, v0 + warp), lse)) : 0.0f;
            __syncthreads();
            if (lane == 0)
                p[warp] = l;
            __syncthreads();
            for (int e = 0; e < 8 && v0 + e < j.v && i < j.d; e++)
                sum = fmaf(p[e], lmf_low_half(((const uint16_t *)j.w16)[(int64_t)(v0 + e) * j.d + i]), sum);
        }
        if (i < j.d)
            lmf_write(dx + i, u * (lmf_low_half(((const uint16_t *)j.w16)[(int64_t)target * j.d + i]) - sum));
    }
    return lse.top + lse.rest;
}

/* logp, lse and dx of a row. One block of 256 a row. */
template <class T> static __device__ __forceinline__ void wide_end(const lmf_vocab_job &j)
{
    __shared__ float part[32];
    if ((int)blockIdx.x >= lmf_vocab_n_rows(j))
        return;
    int r = blockIdx.x, t = j.live[1 + j.begin + r], target = j.target[t];
    T *dx = j.dx ? (T *)j.dx + (int64_t)t * j.d : NULL;
    const uint16_t *w = (const uint16_t *)j.w16 + (int64_t)target * j.d, *x = (const uint16_t *)j.x16 + (int64_t)r * j.d;
    float total = 0, u = dx ? j.scale * j.sign * j.u[t] : 0, nll, lse;
    for (int s = 0; s < j.n_subs; s++)
        total += j.sum[(int64_t)s * j.rows + r];
    float hit = (j.ref[r] - WIDE_SHIFT) * 0.69314718056f;
    if (!j.lse_given && !(total < WIDE_MOST)) {
        lse = wide_again<T>(j, x, dx, u, target, part);
        nll = lse - hit;
        dx = NULL;
    } else {
        nll = total < 1 ? logf(total * 1.152921504606847e18f) : logf(total) + WIDE_SHIFT * 0.69314718056f;
        lse = hit + nll;
    }
    if (threadIdx.x == 0) {
        if (j.lse)
            j.lse[t] = lse;
        if (j.logp)
            j.logp[t] = -j.sign * nll;
    }
    if (!dx)
        return;
    float share = j.lse_given ? 1 : 1 / total;
    for (int i = threadIdx.x; i < j.d; i += blockDim.x) {
        float sum = 0;
        for (int z = 0; z < j.n_parts; z++)
            sum += j.part[((int64_t)z * j.rows + r) * j.d + i];
        lmf_write(dx + i, u * (lmf_low_half(w[i]) - share * sum));
    }
}
LMF_KERNEL(vocab_wide_end)(lmf_vocab_job j) { wide_end<float>(j); }
LMF_KERNEL(vocab_wide_end_bf16)(lmf_vocab_job j) { wide_end<__nv_bfloat16>(j); }

#endif
