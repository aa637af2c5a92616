/* SPDX-License-Identifier: Apache-2.0 */
/* Decode in one kernel: a few rows, many keys. A row and some query heads of one key head belong to a cluster of blocks; eight lanes
 * share a key, and each such group walks every so-manieth key with a softmax of its own. Groups meet in their block, blocks in their
 * cluster. Keys of earlier steps are read before the kernels in front have ended, as far as registers hold them. Keys of this step come
 * from k and v, for other blocks may not have appended them yet; the group that meets a row's own key appends it.
 * attention_rotate_*, for more rows: q rotated into o, k and v into their pages; attention itself follows.
 * Rule: which keys a group meets depends on the row's first key and the size of the cluster alone, and groups are summed in order. */
#include "device/cuda/angle.cuh"
#include "device/cuda/cluster.cuh"
#include "device/cuda/unpack.cuh"
#include "ops/attention/attention_rotary_job.h"

enum { WARPS = 8, THREADS = 32 * WARPS, LANES = 8, GROUPS = THREADS / LANES, MOST_HALF = 128 };
typedef lmf_attention_rotary_job job;

extern __shared__ uint4 rotary_shared[];

/* Four neighbours as they lie, in one access of 16 or 8 bytes, and as f32. */
template <int dtype> struct four_of { typedef uint2 type; };
template <> struct four_of<LMF_F32> { typedef float4 type; };
template <int dtype> static __device__ __forceinline__ typename four_of<dtype>::type four(const void *p, int64_t at)
{
    return ((const typename four_of<dtype>::type *)p)[at >> 2];
}
template <int dtype> static __device__ __forceinline__ float4 to_f32(uint2 w)
{
    if (dtype == LMF_BF16)
        return make_float4(__uint_as_float(w.x << 16), __uint_as_float(w.x & 0xffff0000u), __uint_as_float(w.y << 16),
                           __uint_as_float(w.y & 0xffff0000u));
    return make_float4(__half2float(__ushort_as_half((unsigned short)w.x)), __half2float(__ushort_as_half((unsigned short)(w.x >> 16))),
                       __half2float(__ushort_as_half((unsigned short)w.y)), __half2float(__ushort_as_half((unsigned short)(w.y >> 16))));
}
template <int dtype> static __device__ __forceinline__ float4 to_f32(float4 w) { return w; }

/* x as the cache holds it, and its bits. */
template <int dtype> static __device__ __forceinline__ float put(void *p, int64_t at, float x);
template <> __device__ __forceinline__ float put<LMF_F32>(void *p, int64_t at, float x)
{
    if (p)
        ((float *)p)[at] = x;
    return x;
}
template <> __device__ __forceinline__ float put<LMF_F16>(void *p, int64_t at, float x)
{
    __half h = __float2half_rn(x);
    if (p)
        ((__half *)p)[at] = h;
    return __half2float(h);
}
template <> __device__ __forceinline__ float put<LMF_BF16>(void *p, int64_t at, float x)
{
    __nv_bfloat16 h = __float2bfloat16_rn(x);
    if (p)
        ((__nv_bfloat16 *)p)[at] = h;
    return __bfloat162float(h);
}
/* Four neighbours into the cache, p NULL: nowhere; x becomes what the cache holds. */
template <int dtype> static __device__ __forceinline__ void put_four(void *p, int64_t at, float4 &x)
{
    x.x = put<dtype>(p, at, x.x), x.y = put<dtype>(p, at + 1, x.y), x.z = put<dtype>(p, at + 2, x.z), x.w = put<dtype>(p, at + 3, x.w);
}

/* Row of key u of sequence s in the caches; -1: its page is none. */
static __device__ __forceinline__ int64_t cache_row(const job &j, int s, int u)
{
    int i = u / j.page_size, at = i < j.pages_a_seq ? j.page[(int64_t)s * j.pages_a_seq + i] : -1;
    return at >= 0 && at < j.n_pages ? (int64_t)at * j.page_size + u % j.page_size : -1;
}

/* Cosines and sines of position u for a lane's pairs: channels 4 l + 32 i and those half a head further, for i below Q / 2. */
template <int Q> struct turn { float4 c[Q / 2], s[Q / 2]; };
template <int Q> static __device__ __forceinline__ turn<Q> turn_of(const job &j, int u, int l)
{
    turn<Q> t;
#pragma unroll
    for (int i = 0; i < Q / 2; i++) {
        float c[4], s[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            lmf_sine_cosine((double)u * (double)j.freq[4 * l + 32 * i + e], &s[e], &c[e]);
            c[e] *= j.rope_scale, s[e] *= j.rope_scale;
        }
        t.c[i] = make_float4(c[0], c[1], c[2], c[3]), t.s[i] = make_float4(s[0], s[1], s[2], s[3]);
    }
    return t;
}
static __device__ __forceinline__ void rotate_pair(float &a, float &b, float c, float s)
{
    float x = fmaf(a, c, -(b * s));
    b = fmaf(b, c, a * s);
    a = x;
}
template <int Q> static __device__ __forceinline__ void rotate(float4 (&x)[Q], const turn<Q> &t)
{
#pragma unroll
    for (int i = 0; i < Q / 2; i++) {
        float4 &a = x[i], &b = x[i + Q / 2];
        rotate_pair(a.x, b.x, t.c[i].x, t.s[i].x), rotate_pair(a.y, b.y, t.c[i].y, t.s[i].y);
        rotate_pair(a.z, b.z, t.c[i].z, t.s[i].z), rotate_pair(a.w, b.w, t.c[i].w, t.s[i].w);
    }
}

/* What a softmax over some keys has come to, for H query heads: greatest score, sum, and this lane's 4 * Q channels. */
template <int H, int Q> struct softmax { float top[H], sum[H]; float4 acc[H][Q]; };

/* Another, of other keys, goes into a. Either may have met no key. */
template <int H, int Q> static __device__ __forceinline__ void join(softmax<H, Q> &a, int h, float top, float sum, const float4 (&acc)[Q])
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

/* A key and its value; as they lie in the caches. */
template <int Q> struct pair { float4 key[Q], value[Q]; bool there; };
template <int dtype, int Q> struct stored { typename four_of<dtype>::type key[Q], value[Q]; bool there; };

template <int dtype, int Q>
static __device__ __forceinline__ stored<dtype, Q> read_pair(const job &j, int s, int u, int channel)
{
    stored<dtype, Q> p;
    int64_t row = cache_row(j, s, u), at = (row < 0 ? 0 : row) * j.n_kv * j.size + channel;
    p.there = row >= 0;
#pragma unroll
    for (int i = 0; i < Q; i++)
        p.key[i] = four<dtype>(j.k_cache, at + 32 * i), p.value[i] = four<dtype>(j.v_cache, at + 32 * i);
    return p;
}
template <int dtype, int Q> static __device__ __forceinline__ pair<Q> unpack(const stored<dtype, Q> &s)
{
    pair<Q> p;
    p.there = s.there;
#pragma unroll
    for (int i = 0; i < Q; i++)
        p.key[i] = to_f32<dtype>(s.key[i]), p.value[i] = to_f32<dtype>(s.value[i]);
    return p;
}

/* Key u of this step, from row t of k and v; append: into the caches, too. */
template <int dtype, int Q>
static __device__ __forceinline__ pair<Q> own_pair(const job &j, int s, int u, int64_t t, int channel, const turn<Q> &by, bool append)
{
    pair<Q> p;
    int64_t from = t * j.n_kv * j.size + channel, row = cache_row(j, s, u), at = row * j.n_kv * j.size + channel;
    p.there = row >= 0;
#pragma unroll
    for (int i = 0; i < Q; i++)
        p.key[i] = four<LMF_F32>(j.k, from + 32 * i), p.value[i] = four<LMF_F32>(j.v, from + 32 * i);
    rotate<Q>(p.key, by);
    append = append && p.there;
#pragma unroll
    for (int i = 0; i < Q; i++) {
        put_four<dtype>(append ? j.k_cache : NULL, at + 32 * i, p.key[i]);
        put_four<dtype>(append ? j.v_cache : NULL, at + 32 * i, p.value[i]);
    }
    return p;
}

/* Key u of a group: read before, of this step, or past the last one. */
template <int dtype, int Q>
static __device__ __forceinline__ pair<Q> pair_at(const job &j, const stored<dtype, Q> &before, int s, int u, int own, int last, int64_t t,
                                                  int channel, const turn<Q> &by, bool appends)
{
    if (u < own)
        return unpack<dtype, Q>(before);
    if (u <= last)
        return own_pair<dtype, Q>(j, s, u, t - (last - u), channel, u == last ? by : turn_of<Q>(j, u, threadIdx.x % LANES),
                                  u == last && appends);
    pair<Q> none;
    none.there = false;
    return none;
}

static __device__ __forceinline__ float dot(float4 a, float4 b, float sum)
{
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}
template <int H, int Q>
static __device__ __forceinline__ void meet(softmax<H, Q> &a, const float4 (&x)[H][Q], const pair<Q> &p, float scale)
{
#pragma unroll
    for (int h = 0; h < H; h++) {
        float score = 0;
#pragma unroll
        for (int i = 0; i < Q; i++)
            score = dot(x[h][i], p.key[i], score);
#pragma unroll
        for (int m = LANES / 2; m; m >>= 1)
            score += __shfl_xor_sync(0xffffffffu, score, m);
        if (p.there) /* where not, p holds anything, NaN too: no factor of 0 makes up for that */
            join<H, Q>(a, h, scale * score, 1.0f, p.value);
    }
}

/* What blocks of a cluster tell each other, and warps of a block before. */
template <int H, int Q> struct room {
    float4 accs[WARPS][H][LANES * Q];
    float  tops[WARPS][H], sums[WARPS][H];
    float  acc[H * 32 * Q], top[H], sum[H];
};

/* Groups of a warp, then warps: into the block's room. */
template <int H, int Q> static __device__ __forceinline__ void gather(softmax<H, Q> &a, room<H, Q> *r)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
#pragma unroll
    for (int h = 0; h < H; h++) {
#pragma unroll
        for (int m = LANES; m < 32; m <<= 1) {
            float top = __shfl_xor_sync(0xffffffffu, a.top[h], m), sum = __shfl_xor_sync(0xffffffffu, a.sum[h], m);
            float4 acc[Q];
#pragma unroll
            for (int i = 0; i < Q; i++)
                acc[i] = make_float4(__shfl_xor_sync(0xffffffffu, a.acc[h][i].x, m), __shfl_xor_sync(0xffffffffu, a.acc[h][i].y, m),
                                     __shfl_xor_sync(0xffffffffu, a.acc[h][i].z, m), __shfl_xor_sync(0xffffffffu, a.acc[h][i].w, m));
            join<H, Q>(a, h, top, sum, acc);
        }
        if (lane < LANES) {
            r->tops[warp][h] = a.top[h], r->sums[warp][h] = a.sum[h];
#pragma unroll
            for (int i = 0; i < Q; i++)
                r->accs[warp][h][lane + LANES * i] = a.acc[h][i];
        }
    }
    __syncthreads();
    for (int c = threadIdx.x; c < H * 32 * Q; c += THREADS) { /* element 4 (lane + 8 i) + e is channel 4 lane + 32 i + e */
        int h = c / (32 * Q), e = c % (32 * Q);
        float top = -INFINITY, sum = 0, acc = 0;
        for (int w = 0; w < WARPS; w++)
            top = fmaxf(top, r->tops[w][h]);
        for (int w = 0; w < WARPS && top > -INFINITY; w++) {
            float take = expf(r->tops[w][h] - top);
            sum = fmaf(r->sums[w][h], take, sum);
            acc = fmaf(((const float *)r->accs[w][h])[e], take, acc);
        }
        r->acc[c] = acc;
        if (e == 0)
            r->top[h] = top, r->sum[h] = sum;
    }
}

/* AHEAD: keys that a group reads before the kernels in front have ended; later ones it reads a turn before they are met. */
template <int dtype, int H, int Q> static __device__ __forceinline__ void decode(const job &j)
{
    enum { AHEAD = Q == 2 ? 2 : 1, C = 32 * Q };
    room<H, Q> *r = (room<H, Q> *)rotary_shared;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, l = lane % LANES, rank = lmf_cluster_rank(), n_ranks = lmf_cluster_size();
    int group = j.n / j.n_kv, blocks = group / H, hk = blockIdx.y / blocks, h0 = hk * group + blockIdx.y % blocks * H;
    int64_t t = blockIdx.x, width = (int64_t)j.n * C;
    int s = j.seq[t], last = s < 0 ? -1 : j.pos[t], first = j.window && last - j.window + 1 > 0 ? last - j.window + 1 : 0;
    int own = s < 0 ? 0 : last - (int)(t - j.q_start[s]), channel = hk * C + 4 * l; /* keys from own on are this step's */
    int step = n_ranks * GROUPS, base = first + rank * GROUPS + warp * (32 / LANES), mine = base + lane / LANES;
    bool appends = h0 == hk * group; /* blocks of other query heads have the same keys */
    stored<dtype, Q> held[AHEAD], next;
    LMF_NEXT();
#pragma unroll
    for (int a = 0; a < AHEAD; a++)
        if (mine + a * step < own)
            held[a] = read_pair<dtype, Q>(j, s, mine + a * step, channel);
    turn<Q> by = turn_of<Q>(j, last, l);
    float4 x[H][Q];
    softmax<H, Q> a;
    LMF_AFTER();
#pragma unroll
    for (int h = 0; h < H; h++) {
        a.top[h] = -INFINITY, a.sum[h] = 0;
#pragma unroll
        for (int i = 0; i < Q; i++) {
            x[h][i] = four<LMF_F32>(j.q, t * width + (h0 + h) * C + 4 * l + 32 * i);
            a.acc[h][i] = make_float4(0, 0, 0, 0);
        }
        rotate<Q>(x[h], by);
    }
    int n = base > last ? 0 : (last - base) / step + 1; /* turns of this warp: every lane takes each, for lanes exchange sums */
    if (mine + AHEAD * step < own)
        next = read_pair<dtype, Q>(j, s, mine + AHEAD * step, channel);
#pragma unroll
    for (int i = 0; i < AHEAD; i++)
        if (i < n)
            meet<H, Q>(a, x, pair_at<dtype, Q>(j, held[i], s, mine + i * step, own, last, t, channel, by, appends), j.scale);
    for (int i = AHEAD; i < n; i++) {
        int u = mine + i * step;
        stored<dtype, Q> now = next;
        if (u + step < own)
            next = read_pair<dtype, Q>(j, s, u + step, channel);
        meet<H, Q>(a, x, pair_at<dtype, Q>(j, now, s, u, own, last, t, channel, by, appends), j.scale);
    }
    gather<H, Q>(a, r);
    n_ranks > 1 ? lmf_cluster_sync() : __syncthreads();
    for (int c = threadIdx.x * n_ranks + rank; c < H * C; c += THREADS * n_ranks) {
        int h = c / C;
        float top = -INFINITY, sum = 0, acc = 0;
        for (int k = 0; k < n_ranks; k++)
            top = fmaxf(top, lmf_cluster_at(r, k)->top[h]);
        for (int k = 0; k < n_ranks && top > -INFINITY; k++) {
            const room<H, Q> *other = lmf_cluster_at(r, k);
            float take = expf(other->top[h] - top);
            sum = fmaf(other->sum[h], take, sum);
            acc = fmaf(other->acc[c], take, acc);
        }
        j.o[t * width + h0 * C + c] = sum > 0 ? acc / sum : 0.0f;
    }
    if (n_ranks > 1) /* nobody leaves whose room is read */
        lmf_cluster_sync();
}

/* One block a row. */
template <int dtype> static __device__ __forceinline__ void rotate_row(const job &j)
{
    __shared__ float cs[MOST_HALF], sn[MOST_HALF];
    int64_t t = blockIdx.x, qw = (int64_t)j.n * j.size, kw = (int64_t)j.n_kv * j.size;
    int half = j.size / 2, s = j.seq[t], p = j.pos[t];
    for (int i = threadIdx.x; i < half; i += blockDim.x) {
        float sine, cosine;
        lmf_sine_cosine((double)p * (double)j.freq[i], &sine, &cosine);
        cs[i] = cosine * j.rope_scale, sn[i] = sine * j.rope_scale;
    }
    int64_t row = s < 0 || p < 0 ? -1 : cache_row(j, s, p);
    __syncthreads();
    LMF_AFTER();
    for (int i = threadIdx.x; i < j.n * half; i += blockDim.x) {
        int64_t at = t * qw + i / half * j.size + i % half;
        float a = j.q[at], b = j.q[at + half];
        rotate_pair(a, b, cs[i % half], sn[i % half]);
        j.o[at] = a, j.o[at + half] = b;
    }
    if (row < 0)
        return;
    for (int i = threadIdx.x; i < j.n_kv * half; i += blockDim.x) {
        int64_t in_row = i / half * j.size + i % half;
        float a = j.k[t * kw + in_row], b = j.k[t * kw + in_row + half];
        rotate_pair(a, b, cs[i % half], sn[i % half]);
        put<dtype>(j.k_cache, row * kw + in_row, a), put<dtype>(j.k_cache, row * kw + in_row + half, b);
    }
    for (int i = threadIdx.x; i < kw; i += blockDim.x)
        put<dtype>(j.v_cache, row * kw + i, j.v[t * kw + i]);
}

#define DECODE(name, dtype, H, C)                                                                                    \
    extern "C" {                                                                                                     \
    __device__ char attention_rotary_##name##_##H##x##C##_early;                                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS) attention_rotary_##name##_##H##x##C(job j)                 \
    {                                                                                                                \
        decode<dtype, H, C / 32>(j);                                                                                 \
    }
#define EACH(name, dtype)                                                                                            \
    LMF_KERNEL_EARLY(attention_rotate_##name)(job j) { rotate_row<dtype>(j); }                                       \
    DECODE(name, dtype, 1, 64) DECODE(name, dtype, 2, 64) DECODE(name, dtype, 3, 64) DECODE(name, dtype, 4, 64)      \
    DECODE(name, dtype, 1, 128) DECODE(name, dtype, 2, 128)
EACH(f32, LMF_F32)
EACH(f16, LMF_F16)
EACH(bf16, LMF_BF16)
