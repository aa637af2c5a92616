/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one warp owns one row of one head (in backward of k and v: one key of one key head), and meets keys in blocks of 32
 * in order, so that a row's bits depend on its own keys alone. No atomics. Head sizes up to 256: a lane has 8 channels. */
#include "device/cuda/unpack.cuh"

enum { WARPS = 4, MOST_C = 256, CHANNELS = MOST_C / 32 };

typedef struct heads { int n, n_kv, size; } heads;
typedef struct paging { const int *page; int n_pages, page_size, pages_a_seq; } paging;

/* Row of the key at position u: of this step, or in the cache; -1 where there is none. */
template <bool paged>
static __device__ __forceinline__ int64_t key_row(const paging *g, int s, int64_t u)
{
    if (!paged)
        return u;
    int64_t i = u / g->page_size;
    int at = i < g->pages_a_seq ? g->page[(int64_t)s * g->pages_a_seq + i] : -1;
    return at < 0 || at >= g->n_pages ? -1 : (int64_t)at * g->page_size + u % g->page_size;
}

template <int dtype> static __device__ __forceinline__ float dot(const float *x, const void *row, int64_t at, int n)
{
    float s[8] = { 0 };
    int i = 0;
    for (; i + 8 <= n; i += 8)
#pragma unroll
        for (int j = 0; j < 8; j++)
            s[j] = fmaf(x[i + j], lmf_load<dtype>(row, at + i + j), s[j]);
    for (; i < n; i++)
        s[0] = fmaf(x[i], lmf_load<dtype>(row, at + i), s[0]);
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/* One row of one head over the keys first .. last. q: in shared memory. */
template <int dtype, bool paged>
static __device__ __forceinline__ void attend(const float *q, const void *k, const void *v, float *o, float *lse, heads d, int h, int s,
                                              int64_t first, int64_t last, float scale, const paging *g)
{
    int lane = threadIdx.x & 31, hk = h / (d.n / d.n_kv), width = d.n_kv * d.size;
    float top = -INFINITY, sum = 0, acc[CHANNELS] = { 0 };
    for (int64_t u0 = first; u0 <= last; u0 += 32) {
        int64_t row = u0 + lane <= last ? key_row<paged>(g, s, u0 + lane) : -1;
        float x = row >= 0 ? scale * dot<dtype>(q, k, row * width + hk * d.size, d.size) : -INFINITY;
        float next = fmaxf(top, lmf_warp_max(x));
        if (next == -INFINITY)
            continue;
        float p = row >= 0 ? expf(x - next) : 0.0f, keep = expf(top - next);
        sum = fmaf(sum, keep, lmf_warp_sum(p));
        top = next;
#pragma unroll
        for (int r = 0; r < CHANNELS; r++)
            acc[r] *= keep;
        for (int j = 0; j < 32; j++) {
            float pj = __shfl_sync(0xffffffffu, p, j);
            int64_t at = __shfl_sync(0xffffffffu, row, j) * width + hk * d.size;
            if (pj == 0)
                continue;
#pragma unroll
            for (int r = 0; r < CHANNELS; r++)
                if (lane + 32 * r < d.size)
                    acc[r] = fmaf(pj, lmf_load<dtype>(v, at + lane + 32 * r), acc[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < CHANNELS; r++)
        if (lane + 32 * r < d.size)
            o[lane + 32 * r] = sum > 0 ? acc[r] / sum : 0.0f;
    if (lse && lane == 0)
        *lse = sum > 0 ? top + logf(sum) : 0.0f;
}

/* This warp's head, and its q in shared memory; -1 past the last head. */
static __device__ __forceinline__ int take_q(const float *q, int64_t q_stride, heads d, float (*shared)[MOST_C])
{
    int warp = threadIdx.x >> 5, h = blockIdx.y * WARPS + warp;
    if (h >= d.n)
        return -1;
    for (int i = threadIdx.x & 31; i < d.size; i += 32)
        shared[warp][i] = q[blockIdx.x * q_stride + h * d.size + i];
    __syncwarp();
    return h;
}

LMF_KERNEL(attention_fwd_f32)(const float *q, const float *k, const float *v, const int *seq, const int *q_start, float *o, float *lse,
                              heads d, int window, float scale)
{
    __shared__ float qs[WARPS][MOST_C];
    int64_t t = blockIdx.x, width = (int64_t)d.n * d.size;
    int s = seq[t], h = take_q(q, width, d, qs);
    if (h < 0)
        return;
    int64_t first = s < 0 ? t + 1 : q_start[s];
    if (window && t - window + 1 > first)
        first = t - window + 1;
    attend<LMF_F32, false>(qs[threadIdx.x >> 5], k, v, o + t * width + h * d.size, lse + t * d.n + h, d, h, s, first, t, scale, NULL);
}

#define PAGED(name, dtype)                                                                                           \
    LMF_KERNEL(attention_paged_##name)(const float *q, const void *k, const void *v, const int *seq, const int *pos, float *o, heads d, \
                                       int window, float scale, paging g)                                            \
    {                                                                                                                \
        __shared__ float qs[WARPS][MOST_C];                                                                          \
        int64_t t = blockIdx.x, width = (int64_t)d.n * d.size;                                                       \
        int s = seq[t], h = take_q(q, width, d, qs);                                                                 \
        if (h < 0)                                                                                                   \
            return;                                                                                                  \
        int64_t last = s < 0 ? -1 : pos[t], first = window && last - window + 1 > 0 ? last - window + 1 : 0;         \
        attend<dtype, true>(qs[threadIdx.x >> 5], k, v, o + t * width + h * d.size, NULL, d, h, s, first, last, scale, &g); \
    }
PAGED(f32, LMF_F32)
PAGED(f16, LMF_F16)
PAGED(bf16, LMF_BF16)

/* delta[T, H] = sum over channels of do * o. One warp a row of a head. */
LMF_KERNEL(attention_bwd_f32_delta)(const float *o, const float *d_o, float *delta, heads d)
{
    int h = blockIdx.y * WARPS + (threadIdx.x >> 5), lane = threadIdx.x & 31;
    int64_t at = ((int64_t)blockIdx.x * d.n + h) * d.size;
    float s = 0;
    if (h >= d.n)
        return;
    for (int i = lane; i < d.size; i += 32)
        s = fmaf(o[at + i], d_o[at + i], s);
    s = lmf_warp_sum(s);
    if (lane == 0)
        delta[(int64_t)blockIdx.x * d.n + h] = s;
}

LMF_KERNEL(attention_bwd_f32_dq)(const float *q, const float *k, const float *v, const float *lse, const float *d_o, const float *delta,
                                 const int *seq, const int *q_start, float *dq, heads d, int window, float scale)
{
    __shared__ float qs[WARPS][MOST_C], ds[WARPS][MOST_C];
    int64_t t = blockIdx.x, width = (int64_t)d.n * d.size, kw = (int64_t)d.n_kv * d.size;
    int s = seq[t], warp = threadIdx.x >> 5, lane = threadIdx.x & 31, h = take_q(q, width, d, qs);
    take_q(d_o, width, d, ds);
    if (h < 0)
        return;
    int64_t first = s < 0 ? t + 1 : q_start[s], head = (int64_t)(h / (d.n / d.n_kv)) * d.size;
    if (window && t - window + 1 > first)
        first = t - window + 1;
    float acc[CHANNELS] = { 0 }, l = lse[t * d.n + h], dl = delta[t * d.n + h];
    for (int64_t u0 = first; u0 <= t; u0 += 32) {
        int64_t u = u0 + lane;
        float g = 0;
        if (u <= t) {
            float p = expf(scale * dot<LMF_F32>(qs[warp], k, u * kw + head, d.size) - l);
            g = p * (dot<LMF_F32>(ds[warp], v, u * kw + head, d.size) - dl) * scale;
        }
        for (int j = 0; j < 32 && u0 + j <= t; j++) {
            float gj = __shfl_sync(0xffffffffu, g, j);
#pragma unroll
            for (int r = 0; r < CHANNELS; r++)
                if (lane + 32 * r < d.size)
                    acc[r] = fmaf(gj, k[(u0 + j) * kw + head + lane + 32 * r], acc[r]);
        }
    }
#pragma unroll
    for (int r = 0; r < CHANNELS; r++)
        if (lane + 32 * r < d.size)
            dq[t * width + h * d.size + lane + 32 * r] = acc[r];
}

/* blockIdx.x is the key u, a warp is a key head: sums over the query heads of its group, rows from u on in order. */
LMF_KERNEL(attention_bwd_f32_dkv)(const float *q, const float *k, const float *v, const float *lse, const float *d_o, const float *delta,
                                  const int *seq, const int *q_start, float *dk, float *dv, heads d, int window, float scale)
{
    __shared__ float ks[WARPS][MOST_C], vs[WARPS][MOST_C];
    heads kv = { d.n_kv, d.n_kv, d.size };
    int64_t u = blockIdx.x, width = (int64_t)d.n * d.size, kw = (int64_t)d.n_kv * d.size;
    int s = seq[u], warp = threadIdx.x >> 5, lane = threadIdx.x & 31, hk = take_q(k, kw, kv, ks), group = d.n / d.n_kv;
    take_q(v, kw, kv, vs);
    if (hk < 0)
        return;
    int64_t end = s < 0 ? u : q_start[s + 1];
    if (window && u + window < end)
        end = u + window;
    float ak[CHANNELS] = { 0 }, av[CHANNELS] = { 0 };
    for (int h = hk * group; h < (hk + 1) * group; h++)
        for (int64_t t0 = u; t0 < end; t0 += 32) {
            int64_t t = t0 + lane, at = t * width + (int64_t)h * d.size;
            float p = 0, g = 0;
            if (t < end && seq[t] == s) { /* dead rows may lie behind a sequence's own */
                p = expf(scale * dot<LMF_F32>(ks[warp], q, at, d.size) - lse[t * d.n + h]);
                g = p * (dot<LMF_F32>(vs[warp], d_o, at, d.size) - delta[t * d.n + h]) * scale;
            }
            float bk[CHANNELS] = { 0 }, bv[CHANNELS] = { 0 }; /* of these 32 rows: sums of sums err less */
            for (int j = 0; j < 32 && t0 + j < end; j++) {
                float pj = __shfl_sync(0xffffffffu, p, j), gj = __shfl_sync(0xffffffffu, g, j);
                int64_t row = (t0 + j) * width + (int64_t)h * d.size;
#pragma unroll
                for (int r = 0; r < CHANNELS; r++)
                    if (lane + 32 * r < d.size) {
                        bk[r] = fmaf(gj, q[row + lane + 32 * r], bk[r]);
                        bv[r] = fmaf(pj, d_o[row + lane + 32 * r], bv[r]);
                    }
            }
#pragma unroll
            for (int r = 0; r < CHANNELS; r++)
                ak[r] += bk[r], av[r] += bv[r];
        }
#pragma unroll
    for (int r = 0; r < CHANNELS; r++)
        if (lane + 32 * r < d.size) {
            dk[u * kw + (int64_t)hk * d.size + lane + 32 * r] = ak[r];
            dv[u * kw + (int64_t)hk * d.size + lane + 32 * r] = av[r];
        }
}
