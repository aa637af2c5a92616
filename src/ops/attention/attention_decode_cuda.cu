/* SPDX-License-Identifier: Apache-2.0 */
/* Decode: few rows, many keys. A block owns one row and some query heads of one key head, so that keys and values are read once for
 * all of them. Eight lanes share a key; each such group walks every PARTS-th key with a softmax of its own, and the groups meet at the
 * end. among: the rows in all, of which lonely ones are this kernel's; 0: all rows are. Rule: which keys a group meets depends on the
 * row's first key alone, and the groups are summed in a fixed order. */
#include "device/cuda/unpack.cuh"
#include "ops/attention/attention_lonely.cuh"

enum { WARPS = 16, LANES = 8, PARTS = WARPS * 32 / LANES, MOST_PAGES = 1024 };

typedef struct heads { int n, n_kv, size; } heads;
typedef struct paging { const int *page; int n_pages, page_size, pages_a_seq; } paging;

/* Four neighbours as f32: one access of 16 or 8 bytes. */
template <int dtype> static __device__ __forceinline__ float4 four(const void *p, int64_t at);
template <> __device__ __forceinline__ float4 four<LMF_F32>(const void *p, int64_t at) { return *(const float4 *)((const float *)p + at); }
template <> __device__ __forceinline__ float4 four<LMF_F16>(const void *p, int64_t at)
{
    uint2 w = *(const uint2 *)((const uint16_t *)p + at);
    float2 a = __half22float2(*(const __half2 *)&w.x), b = __half22float2(*(const __half2 *)&w.y);
    return make_float4(a.x, a.y, b.x, b.y);
}
template <> __device__ __forceinline__ float4 four<LMF_BF16>(const void *p, int64_t at)
{
    uint2 w = *(const uint2 *)((const uint16_t *)p + at);
    return make_float4(__uint_as_float(w.x << 16), __uint_as_float(w.x & 0xffff0000u), __uint_as_float(w.y << 16),
                       __uint_as_float(w.y & 0xffff0000u));
}

/* What a softmax over some keys has come to, for H query heads: greatest score, sum, and this lane's 4 * Q channels. */
template <int H, int Q> struct softmax { float top[H], sum[H]; float4 acc[H][Q]; };

/* b, of other keys, goes into a. Either may have met no key. */
template <int H, int Q> static __device__ __forceinline__ void join(softmax<H, Q> &a, int h, float top, float sum, const float4 *acc)
{
    float next = fmaxf(a.top[h], top);
    if (next == -INFINITY)
        return;
    float keep = expf(a.top[h] - next), take = expf(top - next);
    a.top[h] = next;
    a.sum[h] = a.sum[h] * keep + sum * take;
#pragma unroll
    for (int i = 0; i < Q; i++) {
        a.acc[h][i].x = a.acc[h][i].x * keep + acc[i].x * take;
        a.acc[h][i].y = a.acc[h][i].y * keep + acc[i].y * take;
        a.acc[h][i].z = a.acc[h][i].z * keep + acc[i].z * take;
        a.acc[h][i].w = a.acc[h][i].w * keep + acc[i].w * take;
    }
}

/* Lane j of a group of eight has channels 4 j + 32 i .. + 3. */
template <int dtype, int H, int Q>
static __device__ __forceinline__ void decode(const float *q, const void *k, const void *v, const int *seq, const int *pos, float *o,
                                              heads d, int window, float scale, const paging &g)
{
    __shared__ int pages[MOST_PAGES];
    __shared__ float tops[WARPS][H], sums[WARPS][H];
    __shared__ float4 accs[WARPS][H][LANES * Q];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, j = lane % LANES, part = (warp * 32 + lane) / LANES;
    int group = d.n / d.n_kv, blocks = group / H, hk = blockIdx.y / blocks, h0 = hk * group + blockIdx.y % blocks * H;
    int64_t t = blockIdx.x, width = (int64_t)d.n * d.size, kw = (int64_t)d.n_kv * d.size;
    int s = seq[t], last = s < 0 ? -1 : pos[t], first = window && last - window + 1 > 0 ? last - window + 1 : 0;
    int n = last < 0 ? 0 : min(min(last / g.page_size + 1, g.pages_a_seq), MOST_PAGES); /* the row's match bounds pages_a_seq */
    for (int i = threadIdx.x; i < n; i += blockDim.x)
        pages[i] = g.page[(int64_t)s * g.pages_a_seq + i];
    float4 x[H][Q];
    softmax<H, Q> a;
#pragma unroll
    for (int h = 0; h < H; h++) {
        a.top[h] = -INFINITY, a.sum[h] = 0;
#pragma unroll
        for (int i = 0; i < Q; i++) {
            x[h][i] = four<LMF_F32>(q, t * width + (h0 + h) * d.size + 4 * j + 32 * i);
            a.acc[h][i] = make_float4(0, 0, 0, 0);
        }
    }
    __syncthreads();
    for (int u0 = first; u0 <= last; u0 += PARTS) { /* every lane takes every turn: they exchange sums */
        int u = u0 + part, at = u <= last && u / g.page_size < n ? pages[u / g.page_size] : -1;
        bool there = at >= 0 && at < g.n_pages;
        int64_t row = there ? ((int64_t)at * g.page_size + u % g.page_size) * kw + hk * d.size + 4 * j : 0;
        float4 key[Q], value[Q];
#pragma unroll
        for (int i = 0; i < Q; i++)
            key[i] = there ? four<dtype>(k, row + 32 * i) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int i = 0; i < Q; i++)
            value[i] = there ? four<dtype>(v, row + 32 * i) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int h = 0; h < H; h++) {
            float score = 0;
#pragma unroll
            for (int i = 0; i < Q; i++)
                score = fmaf(x[h][i].w, key[i].w, fmaf(x[h][i].z, key[i].z, fmaf(x[h][i].y, key[i].y, fmaf(x[h][i].x, key[i].x, score))));
#pragma unroll
            for (int m = LANES / 2; m; m >>= 1)
                score += __shfl_xor_sync(0xffffffffu, score, m);
            join(a, h, there ? scale * score : -INFINITY, there ? 1.0f : 0.0f, value);
        }
    }
#pragma unroll
    for (int h = 0; h < H; h++) {
#pragma unroll
        for (int m = LANES; m < 32; m <<= 1) { /* the groups of a warp */
            float top = __shfl_xor_sync(0xffffffffu, a.top[h], m), sum = __shfl_xor_sync(0xffffffffu, a.sum[h], m);
            float4 acc[Q];
#pragma unroll
            for (int i = 0; i < Q; i++)
                acc[i] = make_float4(__shfl_xor_sync(0xffffffffu, a.acc[h][i].x, m), __shfl_xor_sync(0xffffffffu, a.acc[h][i].y, m),
                                     __shfl_xor_sync(0xffffffffu, a.acc[h][i].z, m), __shfl_xor_sync(0xffffffffu, a.acc[h][i].w, m));
            join(a, h, top, sum, acc);
        }
        if (lane < LANES) {
            tops[warp][h] = a.top[h], sums[warp][h] = a.sum[h];
#pragma unroll
            for (int i = 0; i < Q; i++)
                accs[warp][h][lane + LANES * i] = a.acc[h][i];
        }
    }
    __syncthreads();
    /* The warps, in order; element 4 (lane + 8 i) + e is channel 4 lane + 32 i + e. */
    for (int c = threadIdx.x; c < H * d.size; c += blockDim.x) {
        int h = c / d.size, e = c % d.size;
        float top = -INFINITY, sum = 0, acc = 0;
        for (int w = 0; w < WARPS; w++)
            top = fmaxf(top, tops[w][h]);
        for (int w = 0; w < WARPS && top > -INFINITY; w++) {
            float take = expf(tops[w][h] - top);
            sum = fmaf(sums[w][h], take, sum);
            acc = fmaf(((const float *)accs[w][h])[e], take, acc);
        }
        o[t * width + (h0 + h) * d.size + e] = sum > 0 ? acc / sum : 0.0f;
    }
}

#define DECODE(name, dtype, H, C)                                                                                    \
    extern "C" {                                                                                                     \
    __device__ char attention_decode_##name##_##H##x##C##_early;                                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(WARPS * 32) attention_decode_##name##_##H##x##C(                    \
        const float *q, const void *k, const void *v, const int *seq, const int *pos, float *o, heads d, int window, \
        float scale, paging g, int among)                                                                            \
    {                                                                                                                \
        LMF_AFTER();                                                                                                 \
        if (among && !is_lonely(seq, blockIdx.x, among))                                                             \
            return;                                                                                                  \
        decode<dtype, H, C / 32>(q, k, v, seq, pos, o, d, window, scale, g);                                         \
    }
#define EACH_SHAPE(name, dtype)                                                                                      \
    DECODE(name, dtype, 1, 64) DECODE(name, dtype, 2, 64) DECODE(name, dtype, 3, 64) DECODE(name, dtype, 4, 64)      \
    DECODE(name, dtype, 1, 128) DECODE(name, dtype, 2, 128)
EACH_SHAPE(f32, LMF_F32)
EACH_SHAPE(f16, LMF_F16)
EACH_SHAPE(bf16, LMF_BF16)
