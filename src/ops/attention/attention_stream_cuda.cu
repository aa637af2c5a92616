/* SPDX-License-Identifier: Apache-2.0 */
/* Decode of many rows on the matrix units: a block has one row and up to 16 query heads of one key head, which are the rows of a tile
 * (m16n8k16); its warps walk the keys 16 at a time, each with a softmax of its own. Keys and values go from the
 * caches into registers as factors: which channel stands where in a product is free, so each lane reads whole words, the next keys on
 * their way while these are met. Bytes are the limit: about 100 instructions a 4 KB.
 * With k: rows are rotated here; keys of this step come from k and v, for other blocks may not have appended them yet, and the row's own
 * is appended. Without: q is rotated, all keys are in the caches. among: the rows in all, of which lonely ones are this kernel's; with k it
 * leaves `rotated` q of the others to the kernel behind it. 0: all rows are.
 * Rule: which keys a warp meets depends on the row's first key, on the number of warps alone; sums go in order. The page size is a multiple
 * of 16. From sm_80 on; before that the products do nothing, and no row calls them. */
#include "device/cuda/angle.cuh"
#include "device/cuda/unpack.cuh"
#include "ops/attention/attention_lonely.cuh"
#include "ops/attention/attention_rotary_job.h"

enum { THREADS = 256, KEYS = 16, HEADS = 16, MOST_HALF = 64 };
static const unsigned ALL = 0xffffffffu;
typedef lmf_attention_rotary_job job;
extern __shared__ uint4 stream_shared[];

template <int dtype> static __device__ __forceinline__ void multiply(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
#if __CUDA_ARCH__ >= 800
    if (dtype == LMF_F16)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
template <int dtype> static __device__ __forceinline__ unsigned pack(float a, float b)
{
    if (dtype == LMF_BF16)
        return lmf_pack_bf16(a, b);
    __half2 h = __floats2half2_rn(a, b);
    return *(unsigned *)&h;
}
static __device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* A row's place: its keys are first .. last, those from own on of this step; the warp meets tiles unit, unit + n_units, ... */
typedef struct place { int s, first, own, last, hk, base, unit, n_units; } place;

/* Lane (g, q) has of keys g and g + 8 channels 32 c + 8 q .. + 7, and of values 2 q, 2 q + 1 and those 8 further channels
 * 64 c + 8 g .. + 7. */
template <int C> struct tile { uint4 k[2][C / 32], v[4][C / 64]; };
static __device__ __forceinline__ int value_key(int e) { return 2 * (int)(threadIdx.x & 3) + (e & 1) + 8 * (e >> 1); }

/* Keys u0 .. u0 + 15 of the caches that are neither before first nor this step's; zeroes elsewhere. */
template <int C> static __device__ __forceinline__ void load(tile<C> &x, const job &j, const place &p, int page, int u0)
{
    int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3, step = j.n_kv * (C / 8), n = page >= 0 ? p.own - p.first : 0;
    int64_t at = (((int64_t)max(page, 0) * j.page_size + u0 % j.page_size) * j.n_kv + p.hk) * (C / 8);
    const uint4 *k = (const uint4 *)j.k_cache + at + g * step + q, *v = (const uint4 *)j.v_cache + at + g;
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int c = 0; c < C / 32; c++)
            x.k[h][c] = (unsigned)(u0 + 8 * h + g - p.first) < (unsigned)n ? k[8 * h * step + 4 * c] : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int e = 0; e < 4; e++)
#pragma unroll
        for (int c = 0; c < C / 64; c++)
            x.v[e][c] = (unsigned)(u0 + value_key(e) - p.first) < (unsigned)n ? v[value_key(e) * step + 8 * c] : make_uint4(0, 0, 0, 0);
}
/* This step's keys into a tile; fresh: k then v of n keys. */
template <int C> static __device__ __forceinline__ void patch(tile<C> &x, const place &p, const uint4 *fresh, int n, int u0)
{
    int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        int i = u0 + 8 * h + g - p.own;
        if (i >= 0 && i < n)
#pragma unroll
            for (int c = 0; c < C / 32; c++)
                x.k[h][c] = fresh[i * (C / 8) + 4 * c + q];
    }
#pragma unroll
    for (int e = 0; e < 4; e++) {
        int i = u0 + value_key(e) - p.own;
        if (i >= 0 && i < n)
#pragma unroll
            for (int c = 0; c < C / 64; c++)
                x.v[e][c] = fresh[(n + i) * (C / 8) + 8 * c + g];
    }
}

/* Of a lane: heads g and, R = 2, g + 8; acc[i][0], [1]: channels 64 (i / 8) + 16 q + i % 8 and that + 8. tops are in powers of 2. */
template <int C, int R> struct softmax { float top[R], sum[R], acc[C / 8][4]; };

template <int dtype, int C, int R>
static __device__ __forceinline__ void meet(softmax<C, R> &a, const unsigned (&x)[C / 16][4], const tile<C> &t, const place &p, bool there,
                                            int u0, float by)
{
    float s[2][4] = { { 0, 0, 0, 0 }, { 0, 0, 0, 0 } };
    unsigned f[4] = { 0, 0, 0, 0 };
#pragma unroll
    for (int c = 0; c < C / 32; c++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            multiply<dtype>(s[h], x[2 * c], t.k[h][c].x, t.k[h][c].y);
            multiply<dtype>(s[h], x[2 * c + 1], t.k[h][c].z, t.k[h][c].w);
        }
    if (!there || u0 < p.first || u0 + KEYS - 1 > p.last)
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int u = u0 + 8 * h + 2 * (int)(threadIdx.x & 3) + (e & 1);
                if (!there || u < p.first || u > p.last)
                    s[h][e] = -INFINITY;
            }
#pragma unroll
    for (int r = 0; r < R; r++) {
        float top = fmaxf(fmaxf(s[0][2 * r], s[0][2 * r + 1]), fmaxf(s[1][2 * r], s[1][2 * r + 1]));
        top = fmaxf(top, __shfl_xor_sync(ALL, top, 1));
        top = fmaxf(a.top[r], fmaxf(top, __shfl_xor_sync(ALL, top, 2)) * by);
        float from = top == -INFINITY ? 0.0f : top, keep = exp2_fast(a.top[r] - from);
        a.top[r] = top;
        a.sum[r] *= keep;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float w0 = exp2_fast(fmaf(s[h][2 * r], by, -from)), w1 = exp2_fast(fmaf(s[h][2 * r + 1], by, -from));
            a.sum[r] += w0 + w1;
            f[2 * h + r] = pack<dtype>(w0, w1);
        }
#pragma unroll
        for (int i = 0; i < C / 8; i++)
            a.acc[i][2 * r] *= keep, a.acc[i][2 * r + 1] *= keep;
    }
#pragma unroll
    for (int c = 0; c < C / 64; c++) {
        const uint4 v0 = t.v[0][c], v1 = t.v[1][c], v2 = t.v[2][c], v3 = t.v[3][c];
        const unsigned w[4][4] = { { v0.x, v0.y, v0.z, v0.w }, { v1.x, v1.y, v1.z, v1.w }, { v2.x, v2.y, v2.z, v2.w },
                                   { v3.x, v3.y, v3.z, v3.w } };
#pragma unroll
        for (int i = 0; i < 4; i++) {
            multiply<dtype>(a.acc[8 * c + 2 * i], f, __byte_perm(w[0][i], w[1][i], 0x5410), __byte_perm(w[2][i], w[3][i], 0x5410));
            multiply<dtype>(a.acc[8 * c + 2 * i + 1], f, __byte_perm(w[0][i], w[1][i], 0x7632), __byte_perm(w[2][i], w[3][i], 0x7632));
        }
    }
}

/* Cosines, then sines of a position, for pairs of channels i and i + C / 2. */
static __device__ __forceinline__ float2 turn_of(const job &j, int u, int i)
{
    float s, c;
    lmf_sine_cosine((double)u * (double)j.freq[i], &s, &c);
    return make_float2(c * j.rope_scale, s * j.rope_scale);
}

/* Rows g (and g + 8) of q as factors, rotated where k is. */
template <int dtype, int C, int R>
static __device__ __forceinline__ void load_q(unsigned (&x)[C / 16][4], const job &j, int64_t t, int h0, int heads, const float2 *turn)
{
    int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < C / 16; i++)
        x[i][0] = x[i][1] = x[i][2] = x[i][3] = 0;
#pragma unroll
    for (int r = 0; r < R; r++) {
        if (g + 8 * r >= heads)
            continue;
        const float *from = j.q + (t * j.n + h0 + g + 8 * r) * C + 8 * q;
#pragma unroll
        for (int c = 0; c < C / 64; c++) {
            float a[8], b[8];
            *(float4 *)&a[0] = *(const float4 *)(from + 32 * c), *(float4 *)&a[4] = *(const float4 *)(from + 32 * c + 4);
            *(float4 *)&b[0] = *(const float4 *)(from + 32 * c + C / 2), *(float4 *)&b[4] = *(const float4 *)(from + 32 * c + C / 2 + 4);
            if (j.k)
#pragma unroll
                for (int e = 0; e < 8; e++) {
                    float2 w = turn[32 * c + 8 * q + e];
                    float y = fmaf(a[e], w.x, -(b[e] * w.y));
                    b[e] = fmaf(b[e], w.x, a[e] * w.y), a[e] = y;
                }
#pragma unroll
            for (int e = 0; e < 2; e++) {
                x[2 * c + e][r] = pack<dtype>(a[4 * e], a[4 * e + 1]), x[2 * c + e][2 + r] = pack<dtype>(a[4 * e + 2], a[4 * e + 3]);
                x[2 * (c + C / 64) + e][r] = pack<dtype>(b[4 * e], b[4 * e + 1]);
                x[2 * (c + C / 64) + e][2 + r] = pack<dtype>(b[4 * e + 2], b[4 * e + 3]);
            }
        }
    }
}

/* This step's n keys of the row's sequence, rotated, and their values, as the caches have them. */
template <int dtype, int C>
static __device__ __forceinline__ void make_fresh(const job &j, const place &p, int64_t t, unsigned *fresh, int n, const float2 *turn)
{
    for (int i = threadIdx.x; i < n * (C / 2); i += blockDim.x) {
        int u = i / (C / 2), c = i % (C / 2) * 2;
        int64_t from = ((t - (n - 1 - u)) * j.n_kv + p.hk) * C + c % (C / 2);
        float2 a = *(const float2 *)(j.k + from), b = *(const float2 *)(j.k + from + C / 2);
        float2 w0 = u == n - 1 ? turn[c % (C / 2)] : turn_of(j, p.own + u, c % (C / 2));
        float2 w1 = u == n - 1 ? turn[c % (C / 2) + 1] : turn_of(j, p.own + u, c % (C / 2) + 1);
        fresh[u * (C / 2) + c / 2] = c < C / 2 ? pack<dtype>(fmaf(a.x, w0.x, -(b.x * w0.y)), fmaf(a.y, w1.x, -(b.y * w1.y)))
                                               : pack<dtype>(fmaf(b.x, w0.x, a.x * w0.y), fmaf(b.y, w1.x, a.y * w1.y));
        float2 v = *(const float2 *)(j.v + ((t - (n - 1 - u)) * j.n_kv + p.hk) * C + c);
        fresh[(n + u) * (C / 2) + c / 2] = pack<dtype>(v.x, v.y);
    }
}

/* The row's own key, the last of n fresh ones, into the caches. */
template <int C> static __device__ __forceinline__ void append(const job &j, const place &p, const uint4 *fresh, int n)
{
    int k = p.last / j.page_size, page = k < j.pages_a_seq ? j.page[(int64_t)p.s * j.pages_a_seq + k] : -1;
    int64_t at = (((int64_t)page * j.page_size + p.last % j.page_size) * j.n_kv + p.hk) * (C / 8);
    if (page >= 0 && page < j.n_pages)
        for (int i = threadIdx.x; i < C / 4; i += blockDim.x)
            ((uint4 *)(i < C / 8 ? j.k_cache : j.v_cache))[at + i % (C / 8)] =
                fresh[(i < C / 8 ? n - 1 : 2 * n - 1) * (C / 8) + i % (C / 8)];
}

/* What warps tell their block. */
template <int C, int R> struct part { float acc[8 * R][C], top[8 * R], sum[8 * R]; };

template <int C, int R> static __device__ __forceinline__ void put(part<C, R> *to, const softmax<C, R> &a)
{
    int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
    for (int r = 0; r < R; r++) {
        float sum = a.sum[r] + __shfl_xor_sync(ALL, a.sum[r], 1);
        sum += __shfl_xor_sync(ALL, sum, 2);
        if (q == 0)
            to->top[g + 8 * r] = a.top[r], to->sum[g + 8 * r] = sum;
#pragma unroll
        for (int c = 0; c < C / 64; c++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int i = 8 * c + 4 * (e & 1), k = 2 * r + (e >> 1);
                float4 y = make_float4(a.acc[i][k], a.acc[i + 1][k], a.acc[i + 2][k], a.acc[i + 3][k]);
                *(float4 *)&to->acc[g + 8 * r][64 * c + 16 * q + 4 * e] = y;
            }
    }
}
/* Head h, channel c of n parts, in order. */
template <int C, int R> static __device__ __forceinline__ float join(const part<C, R> *p, int n, int h, int c)
{
    float top = -INFINITY, sum = 0, acc = 0;
    for (int i = 0; i < n; i++)
        top = fmaxf(top, p[i].top[h]);
    for (int i = 0; i < n && top > -INFINITY; i++) {
        float take = exp2_fast(p[i].top[h] - top);
        sum = fmaf(p[i].sum[h], take, sum), acc = fmaf(p[i].acc[h][c], take, acc);
    }
    return sum > 0 ? acc / sum : 0.0f;
}

template <int dtype, int C, int R> static __device__ __forceinline__ void stream(const job &j, int among, float *rotated)
{
    __shared__ float2 turn[MOST_HALF];
    part<C, R> *parts = (part<C, R> *)stream_shared;
    int n_warps = blockDim.x >> 5, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint4 *fresh = (uint4 *)(parts + n_warps);
    int group = j.n / j.n_kv, blocks = (group + HEADS - 1) / HEADS, h0 = blockIdx.y / blocks * group + blockIdx.y % blocks * HEADS;
    int heads = min(HEADS, (int)(blockIdx.y / blocks + 1) * group - h0);
    int64_t t = blockIdx.x;
    bool lonely = !among || is_lonely(j.seq, blockIdx.x, among);
    LMF_NEXT();
    place p = { .s = j.seq[t] };
    p.last = p.s < 0 ? -1 : j.pos[t], p.first = j.window && p.last - j.window + 1 > 0 ? p.last - j.window + 1 : 0;
    p.hk = blockIdx.y / blocks;
    p.own = p.s < 0 || !j.k ? p.last + 1 : p.last - (int)(t - j.q_start[p.s]);
    p.base = p.first / KEYS * KEYS, p.unit = warp, p.n_units = n_warps;
    int n_fresh = j.k && p.s >= 0 ? p.last - p.own + 1 : 0, n = p.last < 0 ? 0 : (p.last - p.base) / KEYS + 1;
    n = lonely && p.unit < n ? (n - 1 - p.unit) / p.n_units + 1 : 0; /* tiles of this warp */
    int pages = -1;
    auto find_pages = [&](int i) { /* lane l: of the warp's tile i + l */
        int u = p.base + (p.unit + (i + lane) * p.n_units) * KEYS, k = u / j.page_size;
        pages = i + lane < n && k < j.pages_a_seq ? j.page[(int64_t)p.s * j.pages_a_seq + k] : -1;
        pages = pages < j.n_pages ? pages : -1;
    };
    auto key_of = [&](int i) { return p.base + (p.unit + i * p.n_units) * KEYS; };
    tile<C> a, b;
    int page_a = -1, page_b = -1;
    if (!j.k)
        LMF_AFTER();
    if (n) {
        find_pages(0);
        page_a = __shfl_sync(ALL, pages, 0), page_b = __shfl_sync(ALL, pages, 1);
        load<C>(a, j, p, page_a, key_of(0));
        load<C>(b, j, p, page_b, key_of(1));
    }
    if (j.k) {
        for (int i = threadIdx.x; i < C / 2; i += blockDim.x)
            turn[i] = turn_of(j, max(p.last, 0), i);
        __syncthreads();
        LMF_AFTER();
        n_fresh = lonely ? n_fresh : min(n_fresh, 1);
        make_fresh<dtype, C>(j, p, t, (unsigned *)fresh, n_fresh, turn);
        __syncthreads();
        if (blockIdx.y % blocks == 0 && n_fresh > 0)
            append<C>(j, p, fresh, n_fresh);
    }
    if (!lonely) {
        for (int i = threadIdx.x; j.k && i < heads * (C / 2); i += blockDim.x) {
            int64_t at = (t * j.n + h0 + i / (C / 2)) * C + i % (C / 2);
            float2 w = turn[i % (C / 2)];
            float u = j.q[at], v = j.q[at + C / 2];
            rotated[at] = fmaf(u, w.x, -(v * w.y)), rotated[at + C / 2] = fmaf(v, w.x, u * w.y);
        }
        return;
    }
    unsigned x[C / 16][4];
    softmax<C, R> m;
    load_q<dtype, C, R>(x, j, t, h0, heads, turn);
#pragma unroll
    for (int r = 0; r < R; r++)
        m.top[r] = -INFINITY, m.sum[r] = 0;
#pragma unroll
    for (int i = 0; i < C / 8; i++)
        m.acc[i][0] = m.acc[i][1] = m.acc[i][2] = m.acc[i][3] = 0;
    float by = j.scale * 1.4426950408889634f;
    for (int i = 0; i < n; i += 2) {
        if (key_of(i) + KEYS > p.own)
            patch<C>(a, p, fresh, n_fresh, key_of(i));
        meet<dtype, C, R>(m, x, a, p, page_a >= 0, key_of(i), by);
        if (i + 2 < n) {
            if ((i + 2) % 32 == 0)
                find_pages(i + 2);
            page_a = __shfl_sync(ALL, pages, (i + 2) % 32);
            load<C>(a, j, p, page_a, key_of(i + 2));
        }
        if (i + 1 >= n)
            break;
        if (key_of(i + 1) + KEYS > p.own)
            patch<C>(b, p, fresh, n_fresh, key_of(i + 1));
        meet<dtype, C, R>(m, x, b, p, page_b >= 0, key_of(i + 1), by);
        if (i + 3 < n) {
            page_b = __shfl_sync(ALL, pages, (i + 3) % 32);
            load<C>(b, j, p, page_b, key_of(i + 3));
        }
    }
    put<C, R>(parts + warp, m);
    __syncthreads();
    for (int i = threadIdx.x; i < heads * C; i += blockDim.x)
        j.o[(t * j.n + h0) * C + i] = join<C, R>(parts, n_warps, i / C, i % C);
}

#define STREAM(name, dtype, C, R)                                                                                    \
    extern "C" {                                                                                                     \
    __device__ char attention_stream_##name##_##C##x##R##_early;                                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(THREADS, C == 64 ? 2 : 1) attention_stream_##name##_##C##x##R(     \
        job j, int among, float *rotated)                                                                            \
    {                                                                                                                \
        stream<dtype, C, R>(j, among, rotated);                                                                               \
    }
#define EACH(name, dtype) STREAM(name, dtype, 64, 1) STREAM(name, dtype, 64, 2) STREAM(name, dtype, 128, 1) STREAM(name, dtype, 128, 2)
EACH(f16, LMF_F16)
EACH(bf16, LMF_BF16)
