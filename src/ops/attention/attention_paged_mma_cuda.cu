/* SPDX-License-Identifier: Apache-2.0 */
/* Attention over pages on the matrix units: a block owns 64 query rows of one head and walks the keys of each sequence among them, 64
 * (heads of 64) or 32 at a time; a warp owns 16 rows. Keys and values are rounded to bf16 on their way to shared memory, the next ones
 * are on theirs to registers meanwhile. Rows of other sequences are masked. Scores cost 4 C flops a pair; a block reads 8 C bytes a key
 * (f32) for its rows, from L2.
 * Rule: rows below `decode` that are lonely (attention_lonely.cuh) are another kernel's: their outputs are not written here.
 * From sm_80 on; before that the products do nothing, and no row calls them. */
#include "ops/attention/attention_lonely.cuh"
#include "ops/attention/attention_mma.cuh"
#include "ops/attention/attention_rotary_job.h"

typedef lmf_attention_rotary_job job;
enum { ROWS = 16 * WARPS };

/* Eight channels of a key or value as the cache has them. */
template <int dtype> struct eight { uint4 w; };
template <> struct eight<LMF_F32> { float4 a, b; };

template <int dtype> static __device__ __forceinline__ eight<dtype> read_eight(const void *p, int64_t at)
{
    return { ((const uint4 *)p)[at >> 3] };
}
template <> __device__ __forceinline__ eight<LMF_F32> read_eight<LMF_F32>(const void *p, int64_t at)
{
    return { ((const float4 *)p)[at >> 2], ((const float4 *)p)[(at >> 2) + 1] };
}
static __device__ __forceinline__ uint4 in_bf16(const eight<LMF_BF16> &e) { return e.w; }
static __device__ __forceinline__ uint4 in_bf16(const eight<LMF_F32> &e)
{
    return make_uint4(lmf_pack_bf16(e.a.x, e.a.y), lmf_pack_bf16(e.a.z, e.a.w), lmf_pack_bf16(e.b.x, e.b.y), lmf_pack_bf16(e.b.z, e.b.w));
}
static __device__ __forceinline__ unsigned halves_in_bf16(unsigned w)
{
    return lmf_pack_bf16(__half2float(__ushort_as_half((unsigned short)w)), __half2float(__ushort_as_half((unsigned short)(w >> 16))));
}
static __device__ __forceinline__ uint4 in_bf16(const eight<LMF_F16> &e)
{
    return make_uint4(halves_in_bf16(e.w.x), halves_in_bf16(e.w.y), halves_in_bf16(e.w.z), halves_in_bf16(e.w.w));
}

/* N keys and their values from u0 on, of sequence s and one head, on their way; zeroes past `last` and where there is no page. */
template <int dtype, int C, int N> struct stage { enum { EACH = N * (C / 8) * 2 / THREADS }; eight<dtype> e[EACH]; bool there[EACH]; };

template <int dtype, int C, int N>
static __device__ __forceinline__ void fetch(stage<dtype, C, N> &g, const job &j, int s, int u0, int last, int hk)
{
#pragma unroll
    for (int i = 0; i < stage<dtype, C, N>::EACH; i++) {
        int at = threadIdx.x + THREADS * i, r = at / (C / 8) % N, c = at % (C / 8) * 8, u = u0 + r, in_seq = u / j.page_size;
        int page = u <= last && in_seq < j.pages_a_seq ? j.page[(int64_t)s * j.pages_a_seq + in_seq] : -1;
        g.there[i] = page >= 0 && page < j.n_pages;
        int64_t from = g.there[i] ? (((int64_t)page * j.page_size + u % j.page_size) * j.n_kv + hk) * C + c : 0;
        g.e[i] = read_eight<dtype>(at < N * (C / 8) ? j.k_cache : j.v_cache, from);
    }
}

/* k then v */
template <int dtype, int C, int N> static __device__ __forceinline__ void put(line<C> *to, const stage<dtype, C, N> &g)
{
#pragma unroll
    for (int i = 0; i < stage<dtype, C, N>::EACH; i++) {
        int at = threadIdx.x + THREADS * i;
        *(uint4 *)&to[at / (C / 8)].at[at % (C / 8) * 8] = g.there[i] ? in_bf16(g.e[i]) : make_uint4(0, 0, 0, 0);
    }
}

template <int dtype, int C> static __device__ __forceinline__ void paged(const job &j, int n_rows, int decode)
{
    enum { N = C == 64 ? 64 : 32 };
    __shared__ int seqs[ROWS], lasts[ROWS]; /* -1: not a row of this kernel */
    line<C> *own = (line<C> *)attention_shared, *keys = own + ROWS; /* q; k then v of N keys */
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, h = blockIdx.y, hk = h / (j.n / j.n_kv);
    int q0 = (gridDim.x - 1 - blockIdx.x) * ROWS; /* long rows first */
    int64_t width = (int64_t)j.n * C;
    for (int i = threadIdx.x; i < ROWS; i += THREADS) {
        int t = q0 + i, s = t < n_rows ? j.seq[t] : -1;
        seqs[i] = s >= 0 && t < decode && is_lonely(j.seq, t, n_rows) ? -2 : s;
        lasts[i] = s >= 0 ? j.pos[t] : -1;
    }
    for (int i = threadIdx.x; i < ROWS * (C / 8); i += THREADS) {
        int r = i / (C / 8), c = i % (C / 8) * 8;
        const float *p = j.q + (int64_t)min(q0 + r, n_rows - 1) * width + h * C + c;
        *(uint4 *)&own[r].at[c] = in_bf16(eight<LMF_F32>{ *(const float4 *)p, *(const float4 *)(p + 4) });
    }
    __syncthreads();
    unsigned q[1][C / 16][4];
    float acc[1][C / 8][4] = { 0 }, top[1][2] = { { -INFINITY, -INFINITY } }, sum[1][2] = { 0 }, by = j.scale * 1.4426950408889634f;
    int row[2] = { 16 * warp + (lane >> 2), 16 * warp + (lane >> 2) + 8 };
    load_factor<C, 1>(q, own + 16 * warp);
    for (int t0 = 0, t1; t0 < ROWS; t0 = t1) { /* rows of one sequence */
        int s = seqs[t0], lo = FAR, hi = 0, last[2], first[2];
        for (t1 = t0; t1 < ROWS && seqs[t1] == s; t1++) {
            int f = j.window ? max(lasts[t1] - j.window + 1, 0) : 0;
            lo = min(lo, f), hi = max(hi, lasts[t1] + 1);
        }
        if (s < 0 || hi <= lo)
            continue;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            last[e] = row[e] >= t0 && row[e] < t1 ? lasts[row[e]] : -1;
            first[e] = j.window ? max(last[e] - j.window + 1, 0) : 0;
        }
        stage<dtype, C, N> next;
        fetch<dtype, C, N>(next, j, s, lo, hi - 1, hk);
        for (int u0 = lo; u0 < hi; u0 += N) {
            __syncthreads(); /* nobody reads the keys before */
            put<dtype, C, N>(keys, next);
            __syncthreads();
            if (u0 + N < hi)
                fetch<dtype, C, N>(next, j, s, u0 + N, hi - 1, hk);
            bool some = false, each = true;
#pragma unroll
            for (int e = 0; e < 2; e++) {
                some |= u0 <= last[e] && first[e] < u0 + N;
                each &= u0 + N - 1 <= last[e] && first[e] <= u0;
            }
            if (!__any_sync(ALL, some))
                continue;
            float x[1][N / 8][4];
            dots<C, 1, N>(x, q, keys);
            if (!__all_sync(ALL, each))
#pragma unroll
                for (int i = 0; i < N / 8; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        int u = u0 + 8 * i + (lane & 3) * 2 + (e & 1);
                        if (u > last[e >> 1] || u < first[e >> 1])
                            x[0][i][e] = -INFINITY;
                    }
            soften<C, 1, N>(x, acc, top, sum, by);
            add_weighted<C, 1, N>(acc, x, keys + N);
        }
    }
#pragma unroll
    for (int e = 0; e < 2; e++) {
        float all = sum[0][e] + __shfl_xor_sync(ALL, sum[0][e], 1);
        all += __shfl_xor_sync(ALL, all, 2);
        float inverse = all > 0 ? 1 / all : 0.0f;
        int t = q0 + row[e];
        if (t >= n_rows || seqs[row[e]] == -2)
            continue;
        float *o = j.o + t * width + h * C + (lane & 3) * 2;
#pragma unroll
        for (int i = 0; i < C / 8; i++)
            store_two(o + 8 * i, acc[0][i][2 * e] * inverse, acc[0][i][2 * e + 1] * inverse);
    }
}

#define PAGED(name, dtype, C)                                                                                        \
    LMF_KERNEL_BOUNDED(attention_paged_mma_##name##_##C, THREADS)(job j, int n_rows, int decode)                     \
    {                                                                                                                \
        LMF_AFTER();                                                                                                 \
        paged<dtype, C>(j, n_rows, decode);                                                                          \
    }
#define EACH_SIZE(name, dtype) PAGED(name, dtype, 64) PAGED(name, dtype, 96) PAGED(name, dtype, 128)
EACH_SIZE(f32, LMF_F32)
EACH_SIZE(f16, LMF_F16)
EACH_SIZE(bf16, LMF_BF16)
