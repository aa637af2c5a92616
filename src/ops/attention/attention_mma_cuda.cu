/* SPDX-License-Identifier: Apache-2.0 */
/* attention on the matrix units: bf16 factors, f32 sums, scores never in memory (Dao 2023, arXiv 2307.08691). Four warps a block.
 * Forward: a block owns query rows of one head and walks key blocks; a warp owns 16 M of its rows. Backward: one kernel walks key
 * blocks for dq; one owns 64 or 128 keys of one key head and walks the query blocks of all heads of its group, head by head, for dk and dv.
 * Rule: no atomics and a fixed order of sums, so two runs have the same bits; blocks that no row of theirs sees are not met.
 * Scores of a pair cost 4 C flops forward and 14 C backward (scores are made twice); a block of forward reads 4 C bytes a key for its
 * 64 or 128 rows, from L2: 64 flops a byte or more, so the matrix units and their shared memory are the limit.
 * From sm_80 on; before that the bodies do nothing, and no row calls them. */
#include "ops/attention/attention_job.h"
#include "ops/attention/attention_mma.cuh"

/* Keys that rows row0 .. row0 + n - 1 see: from *lo below *hi; none: *lo = FAR, *hi = 0. The same for every thread. */
static __device__ __forceinline__ void key_range(const lmf_attention_job &j, int row0, int n, int *lo, int *hi)
{
    *lo = FAR, *hi = 0;
    for (int t = row0 + (threadIdx.x & 31); t < row0 + n; t += 32)
        if (j.first[t] <= t)
            *lo = min(*lo, j.first[t]), *hi = max(*hi, t + 1);
    for (int m = 16; m; m >>= 1)
        *lo = min(*lo, __shfl_xor_sync(ALL, *lo, m)), *hi = max(*hi, __shfl_xor_sync(ALL, *hi, m));
}

/* ---- forward ---- */

/* The block's query rows wait where the second key block goes. */
template <int C, int M, class O> static __device__ __forceinline__ void forward(const lmf_attention_job &j)
{
    enum { N = 64, ROWS = 16 * M * WARPS };
    static_assert(ROWS <= 2 * N, "q fits into one stage");
    line<C> *stage = (line<C> *)attention_shared; /* k then v of N keys, twice */
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.y, hk = h / (j.n / j.n_kv), lo, hi;
    int q0 = (gridDim.x - 1 - blockIdx.x) * ROWS; /* long rows first */
    int64_t width = (int64_t)j.n * C, kw = (int64_t)j.n_kv * C;
    key_range(j, q0, ROWS, &lo, &hi);
    int blocks = hi > lo ? (hi - lo + N - 1) / N : 0;
    unsigned q[M][C / 16][4];
    float acc[M][C / 8][4] = { 0 }, top[M][2], sum[M][2] = { 0 }, by = j.scale * 1.4426950408889634f;
    int row[M][2], first[M][2]; /* this thread's rows */
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            row[m][e] = q0 + 16 * (M * warp + m) + (lane >> 2) + 8 * e;
            first[m][e] = j.first[row[m][e]];
            top[m][e] = -INFINITY;
        }
    if (blocks) {
        load_rows<C, ROWS>(stage + 2 * N, j.q, h, width, q0, j.t);
        load_rows<C, N>(stage, j.k, hk, kw, lo, j.t);
        load_rows<C, N>(stage + N, j.v, hk, kw, lo, j.t);
        copies_end();
        copies_wait<0>();
        __syncthreads();
        load_factor<C, M>(q, stage + 2 * N + 16 * M * warp);
        __syncthreads();
    }
    for (int b = 0; b < blocks; b++) {
        int u0 = lo + b * N;
        const line<C> *k = stage + (b & 1) * 2 * N, *v = k + N;
        if (b + 1 < blocks) {
            line<C> *next = stage + (~b & 1) * 2 * N;
            load_rows<C, N>(next, j.k, hk, kw, u0 + N, j.t);
            load_rows<C, N>(next + N, j.v, hk, kw, u0 + N, j.t);
        }
        copies_end();
        copies_wait<1>();
        __syncthreads();
        bool some = false, each = true;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                some |= u0 <= row[m][e] && first[m][e] <= row[m][e] && first[m][e] < u0 + N;
                each &= u0 + N - 1 <= row[m][e] && first[m][e] <= u0;
            }
        if (__any_sync(ALL, some)) {
            float s[M][N / 8][4];
            dots<C, M, N>(s, q, k);
            if (!__all_sync(ALL, each))
#pragma unroll
                for (int m = 0; m < M; m++)
#pragma unroll
                    for (int i = 0; i < N / 8; i++)
#pragma unroll
                        for (int e = 0; e < 4; e++) {
                            int u = u0 + 8 * i + (lane & 3) * 2 + (e & 1);
                            if (u > row[m][e >> 1] || u < first[m][e >> 1])
                                s[m][i][e] = -INFINITY;
                        }
            soften<C, M, N>(s, acc, top, sum, by);
            add_weighted<C, M, N>(acc, s, v);
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float all = sum[m][e] + __shfl_xor_sync(ALL, sum[m][e], 1);
            all += __shfl_xor_sync(ALL, all, 2);
            float inverse = all > 0 ? 1 / all : 0.0f;
            if (row[m][e] >= j.t)
                continue;
            O *o = (O *)j.o + row[m][e] * width + h * C + (lane & 3) * 2;
#pragma unroll
            for (int i = 0; i < C / 8; i++)
                store_two(o + 8 * i, acc[m][i][2 * e] * inverse, acc[m][i][2 * e + 1] * inverse);
            if ((lane & 3) == 0)
                j.lse[(int64_t)row[m][e] * j.n + h] = all > 0 ? (top[m][e] + log2f(all)) * 0.6931471805599453f : 0.0f;
        }
}

/* ---- backward ---- */
enum { STEP = 32 }; /* keys or rows met at a time: what a warp sums up takes the registers */

template <int C, int M, class O> static __device__ __forceinline__ void backward_q(const lmf_attention_job &j)
{
    enum { N = STEP, ROWS = 16 * M * WARPS };
    line<C> *own = (line<C> *)attention_shared, *stage = own + 2 * ROWS; /* q, do; k then v of N keys, twice */
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.y, hk = h / (j.n / j.n_kv), lo, hi;
    int q0 = (gridDim.x - 1 - blockIdx.x) * ROWS; /* long rows first */
    int64_t width = (int64_t)j.n * C, kw = (int64_t)j.n_kv * C;
    key_range(j, q0, ROWS, &lo, &hi);
    int blocks = hi > lo ? (hi - lo + N - 1) / N : 0, row[M][2], first[M][2];
    unsigned q[M][C / 16][4], d_o[M][C / 16][4];
    float acc[M][C / 8][4] = { 0 }, lse[M][2], delta[M][2], by = j.scale * 1.4426950408889634f;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            row[m][e] = q0 + 16 * (M * warp + m) + (lane >> 2) + 8 * e;
            first[m][e] = j.first[row[m][e]];
            int64_t at = (int64_t)row[m][e] * j.n + h;
            lse[m][e] = row[m][e] < j.t ? j.lse_given[at] * 1.4426950408889634f : 0.0f;
            delta[m][e] = row[m][e] < j.t ? j.delta[at] : 0.0f;
        }
    if (blocks) {
        load_rows<C, ROWS>(own, j.q, h, width, q0, j.t);
        load_rows<C, ROWS>(own + ROWS, j.d_o, h, width, q0, j.t);
        load_rows<C, N>(stage, j.k, hk, kw, lo, j.t);
        load_rows<C, N>(stage + N, j.v, hk, kw, lo, j.t);
        copies_end();
        copies_wait<0>();
        __syncthreads();
        load_factor<C, M>(q, own + 16 * M * warp);
        load_factor<C, M>(d_o, own + ROWS + 16 * M * warp);
    }
    for (int b = 0; b < blocks; b++) {
        int u0 = lo + b * N;
        const line<C> *k = stage + (b & 1) * 2 * N, *v = k + N;
        if (b + 1 < blocks) {
            line<C> *next = stage + (~b & 1) * 2 * N;
            load_rows<C, N>(next, j.k, hk, kw, u0 + N, j.t);
            load_rows<C, N>(next + N, j.v, hk, kw, u0 + N, j.t);
        }
        copies_end();
        copies_wait<1>();
        __syncthreads();
        bool some = false, each = true;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                some |= u0 <= row[m][e] && first[m][e] <= row[m][e] && first[m][e] < u0 + N;
                each &= u0 + N - 1 <= row[m][e] && first[m][e] <= u0;
            }
        if (__any_sync(ALL, some)) {
            float s[M][N / 8][4], ds[M][N / 8][4];
            each = __all_sync(ALL, each);
            dots<C, M, N>(s, q, k);
            dots<C, M, N>(ds, d_o, v);
#pragma unroll
            for (int m = 0; m < M; m++)
#pragma unroll
                for (int i = 0; i < N / 8; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        int u = u0 + 8 * i + (lane & 3) * 2 + (e & 1);
                        bool seen = each || (u <= row[m][e >> 1] && u >= first[m][e >> 1]);
                        float p = exp2_fast(fmaf(s[m][i][e], by, -lse[m][e >> 1]));
                        ds[m][i][e] = seen ? p * (ds[m][i][e] - delta[m][e >> 1]) : 0.0f;
                    }
            add_weighted<C, M, N>(acc, ds, k);
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            if (row[m][e] >= j.t)
                continue;
            O *dq = (O *)j.dq + row[m][e] * width + h * C + (lane & 3) * 2;
#pragma unroll
            for (int i = 0; i < C / 8; i++)
                store_two(dq + 8 * i, acc[m][i][2 * e] * j.scale, acc[m][i][2 * e + 1] * j.scale);
        }
}

/* What a row brings along besides q and do. */
template <int N> struct row_facts { float lse[N], delta[N]; int first[N]; };

/* Rows t0 .. t0 + N - 1 of head h on their way. */
template <int C, int N>
static __device__ __forceinline__ void load_queries(const lmf_attention_job &j, line<C> *to, row_facts<N> *facts, int h, int t0)
{
    load_rows<C, N>(to, j.q, h, (int64_t)j.n * C, t0, j.t);
    load_rows<C, N>(to + N, j.d_o, h, (int64_t)j.n * C, t0, j.t);
    int i = threadIdx.x, t = t0 + i;
    if (i < N) { /* first goes on past row T */
        int64_t at = t < j.t ? (int64_t)t * j.n + h : 0;
        copy4(&facts->lse[i], j.lse_given + at, t < j.t);
        copy4(&facts->delta[i], j.delta + at, t < j.t);
        copy4(&facts->first[i], j.first + t, true);
    }
}

/* s[16 M rows, N] = a b^T, a's rows loaded as they are needed. */
template <int C, int M, int N>
static __device__ __forceinline__ void dots_of(float (&s)[M][N / 8][4], const line<C> *a, const line<C> *b)
{
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < N / 8; i++)
            s[m][i][0] = s[m][i][1] = s[m][i][2] = s[m][i][3] = 0;
#pragma unroll
    for (int k = 0; k < C / 16; k++) {
        unsigned af[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
            lmf_ldmatrix<false>(af[m], &a[16 * m + (lane & 15)].at[16 * k + (lane >> 4) * 8]);
#pragma unroll
        for (int i = 0; i < N / 16; i++) {
            unsigned bf[4];
            lmf_ldmatrix<false>(bf, &b[16 * i + (lane & 7) + (lane >> 4) * 8].at[16 * k + (lane >> 3 & 1) * 8]);
#pragma unroll
            for (int m = 0; m < M; m++) {
                lmf_mma(s[m][2 * i], af[m], bf[0], bf[1]);
                lmf_mma(s[m][2 * i + 1], af[m], bf[2], bf[3]);
            }
        }
    }
}

/* Scores lie turned, keys by rows, so that they are factors of dk and dv as they are. */
template <int C, int M, class O> static __device__ __forceinline__ void backward_kv(const lmf_attention_job &j)
{
    enum { N = STEP, KEYS = 16 * M * WARPS };
    line<C> *own = (line<C> *)attention_shared, *stage = own + 2 * KEYS; /* k, v; q then do of N rows, twice; their facts, twice */
    row_facts<N> *facts = (row_facts<N> *)(stage + 4 * N);
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, hk = blockIdx.y, group = j.n / j.n_kv;
    int u0 = blockIdx.x * KEYS, uw = u0 + 16 * M * warp; /* first key of the block, of the warp */
    int64_t kw = (int64_t)j.n_kv * C;
    int end = 0;
#pragma unroll
    for (int i = lane; i < KEYS; i += 32)
        end = max(end, j.end[u0 + i]);
    for (int m = 16; m; m >>= 1)
        end = max(end, __shfl_xor_sync(ALL, end, m));
    int blocks = end > u0 ? (end - u0 + N - 1) / N : 0, turns = blocks * group;
    float ak[M][C / 8][4] = { 0 }, av[M][C / 8][4] = { 0 }, by = j.scale * 1.4426950408889634f;
    if (turns) {
        load_rows<C, KEYS>(own, j.k, hk, kw, u0, j.t);
        load_rows<C, KEYS>(own + KEYS, j.v, hk, kw, u0, j.t);
        load_queries<C, N>(j, stage, facts, hk * group, u0);
    }
    copies_end();
    for (int b = 0; b < turns; b++) {
        int t0 = u0 + b % blocks * N;
        const line<C> *q = stage + (b & 1) * 2 * N, *d_o = q + N;
        const row_facts<N> *f = facts + (b & 1);
        if (b + 1 < turns)
            load_queries<C, N>(j, stage + (~b & 1) * 2 * N, facts + (~b & 1), hk * group + (b + 1) / blocks, u0 + (b + 1) % blocks * N);
        copies_end();
        copies_wait<1>();
        __syncthreads();
        bool some = false, each = t0 >= uw + 16 * M - 1;
#pragma unroll
        for (int i = lane; i < N; i += 32)
            some |= f->first[i] <= uw + 16 * M - 1, each &= f->first[i] <= uw;
        if (__any_sync(ALL, some) && t0 + N > uw) {
            float p[M][N / 8][4], ds[M][N / 8][4];
            each = __all_sync(ALL, each);
            dots_of<C, M, N>(p, own + 16 * M * warp, q);
            dots_of<C, M, N>(ds, own + KEYS + 16 * M * warp, d_o);
#pragma unroll
            for (int i = 0; i < N / 8; i++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    int at = 8 * i + (lane & 3) * 2 + e;
                    float lse = 1.4426950408889634f * f->lse[at], delta = f->delta[at];
                    int first = f->first[at];
#pragma unroll
                    for (int m = 0; m < M; m++)
#pragma unroll
                        for (int o = 0; o < 2; o++) {
                            int u = uw + 16 * m + (lane >> 2) + 8 * o, x = 2 * o + e;
                            bool seen = each || (u <= t0 + at && u >= first);
                            p[m][i][x] = seen ? exp2_fast(fmaf(p[m][i][x], by, -lse)) : 0.0f;
                            ds[m][i][x] = seen ? p[m][i][x] * (ds[m][i][x] - delta) : 0.0f;
                        }
                }
            add_weighted<C, M, N>(av, p, d_o);
            add_weighted<C, M, N>(ak, ds, q);
        }
        __syncthreads();
    }
    copies_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int u = uw + 16 * m + (lane >> 2) + 8 * e;
            if (u >= j.t)
                continue;
            int64_t at = u * kw + hk * C + (lane & 3) * 2;
#pragma unroll
            for (int i = 0; i < C / 8; i++) {
                store_two((O *)j.dk + at + 8 * i, ak[m][i][2 * e] * j.scale, ak[m][i][2 * e + 1] * j.scale);
                store_two((O *)j.dv + at + 8 * i, av[m][i][2 * e], av[m][i][2 * e + 1]);
            }
        }
}

/* ---- what goes before ---- */

LMF_KERNEL(attention_mma_ranges)(lmf_attention_job j)
{
    int n = (j.t + LMF_ATTENTION_ROUND - 1) / LMF_ATTENTION_ROUND * LMF_ATTENTION_ROUND, t = (int)lmf_grid_first();
    if (t >= n)
        return;
    int s = t < j.t ? j.seq[t] : -1, first = t < j.t ? t + 1 : FAR, end = 0;
    if (s >= 0 && s < j.n_seq) {
        first = j.q_start[s], end = min(j.q_start[s + 1], j.t);
        if (j.window)
            first = max(first, t - j.window + 1), end = (int)min((int64_t)end, (int64_t)t + j.window);
    }
    j.first[t] = first, j.end[t] = end;
    if (t < 32) {
        int parts = 0;
        for (int k = t; k < j.n_seq; k += 32)
            parts += j.q_start[k] < min(j.q_start[k + 1], j.t);
        for (int m = 16; m; m >>= 1)
            parts += __shfl_xor_sync(ALL, parts, m);
        if (t == 0)
            *j.parts = parts;
    }
}

/* n: a multiple of 8. */
LMF_KERNEL(attention_mma_round)(const float *x, __nv_bfloat16 *y, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n / 8; i += lmf_grid_step()) {
        float4 a = ((const float4 *)x)[2 * i], b = ((const float4 *)x)[2 * i + 1];
        ((uint4 *)y)[i] = make_uint4(lmf_pack_bf16(a.x, a.y), lmf_pack_bf16(a.z, a.w), lmf_pack_bf16(b.x, b.y), lmf_pack_bf16(b.z, b.w));
    }
}

/* delta[T, H] = sum over channels of do * o. One warp a row of a head. */
template <int dtype> static __device__ __forceinline__ void sum_delta(const void *o, const void *d_o, float *delta, int64_t n, int size)
{
    int64_t i = (int64_t)blockIdx.x * WARPS + (threadIdx.x >> 5);
    int lane = threadIdx.x & 31;
    float s = 0;
    if (i >= n)
        return;
    for (int c = lane; c < size; c += 32)
        s = fmaf(lmf_load<dtype>(o, i * size + c), lmf_load<dtype>(d_o, i * size + c), s);
    s = lmf_warp_sum(s);
    if (lane == 0)
        delta[i] = s;
}
LMF_KERNEL(attention_mma_delta_f32)(const void *o, const void *d_o, float *delta, int64_t n, int size)
{
    sum_delta<LMF_F32>(o, d_o, delta, n, size);
}
LMF_KERNEL(attention_mma_delta_bf16)(const void *o, const void *d_o, float *delta, int64_t n, int size)
{
    sum_delta<LMF_BF16>(o, d_o, delta, n, size);
}

#define BOUNDED(name) extern "C" __global__ void __launch_bounds__(THREADS) attention_mma_##name(lmf_attention_job j)
#define EACH(name, type, C)                                            \
    BOUNDED(fwd_##name##_##C) { forward<C, C == 64 ? 2 : 1, type>(j); } \
    BOUNDED(dq_##name##_##C) { backward_q<C, C == 64 ? 2 : 1, type>(j); } \
    BOUNDED(dkv_##name##_##C) { backward_kv<C, C == 64 ? 2 : 1, type>(j); }
EACH(f32, float, 64)
EACH(f32, float, 96)
EACH(f32, float, 128)
EACH(bf16, __nv_bfloat16, 64)
EACH(bf16, __nv_bfloat16, 96)
EACH(bf16, __nv_bfloat16, 128)
