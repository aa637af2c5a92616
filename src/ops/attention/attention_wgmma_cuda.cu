/* SPDX-License-Identifier: Apache-2.0 */
/* attention of heads of 64 by products of warpgroups (device/cuda/wgmma.cuh): what attention_mma_cuda.cu computes, with sums in the same
 * fragments. A warpgroup owns 64 rows, or keys, of one head, whose factors (q and do, or k and v) lie in shared memory: ptxas 13.0 takes
 * factors in registers that a loop does not change for free behind their product. A block walks blocks of 64 keys (k, v), or of 64 rows
 * (q, do), three at a time in shared memory, of which two are on their way. Scores and their gradients are the next product's factors
 * where they are, in registers, made anew in each step.
 * Rule: whether a step is left out is the same for all warps of a warpgroup. A stage is filled again one barrier after its last product.
 * No atomics and a fixed order of sums, so two runs have the same bits. If ptxas says C7512 (products wait for each other), a kernel has
 * too few registers.
 * For sm_90a alone. */
#include "device/cuda/wgmma.cuh"
#include "ops/attention/attention_job.h"

enum { C = 64, N = 64, TILE = N * LMF_WG_LINE, STAGES = 3, STAGE = 2 * TILE };
static const int FAR = 0x7fffffff;
static const unsigned ALL = 0xffffffffu;
static const float LOG2E = 1.4426950408889634f;
extern __shared__ uint4 attention_shared[];

static __device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
static __device__ __forceinline__ void store_two(float *to, float a, float b) { *(float2 *)to = make_float2(a, b); }
static __device__ __forceinline__ void store_two(__nv_bfloat16 *to, float a, float b) { *(unsigned *)to = lmf_pack_bf16(a, b); }

/* What a thread copies next: of rows whose first is `row` here, 16 bytes at `at` elements of each tensor, to `to` in a tile. Kept from
 * step to step, for what makes an address anew costs more than the copy. */
typedef struct flow { int64_t at; unsigned to; int row; } flow;

/* The compiler keeps x instead of making it again. */
static __device__ __forceinline__ unsigned kept(unsigned x)
{
    asm volatile("" : "+r"(x));
    return x;
}
static __device__ __forceinline__ unsigned place_in_shared(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

/* width: elements of a row of all heads. */
static __device__ __forceinline__ flow flow_of(unsigned tile, int head, int width, int row0)
{
    int r = (int)(threadIdx.x >> 3), piece = threadIdx.x & 7;
    flow f = { (int64_t)(row0 + r) * width + head * C + piece * 8, kept(tile + r * LMF_WG_LINE + ((piece ^ (r & 7)) << 4)), row0 + r };
    return f;
}
static __device__ __forceinline__ void copy16(unsigned to, const void *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
#endif
}

/* ROWS rows on their way, past_to bytes behind f.to; what lies past row n is not read, and becomes zeros. */
template <int ROWS, int THREADS>
static __device__ __forceinline__ void copy_rows(const flow &f, unsigned past_to, const void *from, int width, int n)
{
    enum { STEP = THREADS / 8 };
    static_assert(ROWS % STEP == 0, "whole trips");
    const __nv_bfloat16 *p = (const __nv_bfloat16 *)from + f.at;
#pragma unroll
    for (int i = 0; i < ROWS / STEP; i++)
        copy16(f.to + past_to + i * STEP * LMF_WG_LINE, p + (int64_t)(i * STEP) * width, f.row + i * STEP < n);
}
/* Places of stages as bytes from the first: the one behind, and the one before, which is filled two steps ahead. */
template <int SIZE> static __device__ __forceinline__ unsigned stage_behind(unsigned at)
{
    return at == (STAGES - 1) * SIZE ? 0 : at + SIZE;
}
template <int SIZE> static __device__ __forceinline__ unsigned stage_before(unsigned at)
{
    return at == 0 ? (STAGES - 1) * SIZE : at - SIZE;
}

/* All but the newest of the stages on their way have arrived, for every product of the block. */
static __device__ __forceinline__ void arrive(void)
{
    lmf_copies_wait<1>();
    lmf_wg_publish();
    __syncthreads();
}

/* The least and the greatest of a warp's x, in registers that all its threads share, as is what is made of them: loops and factors. */
static __device__ __forceinline__ int least_of(int x)
{
#if __CUDA_ARCH__ >= 800
    x = __reduce_min_sync(ALL, x);
#endif
    return x;
}
static __device__ __forceinline__ int greatest_of(int x)
{
#if __CUDA_ARCH__ >= 800
    x = __reduce_max_sync(ALL, x);
#endif
    return x;
}

/* Keys that rows row0 .. row0 + n - 1 see: from lo below hi; none: lo = FAR, hi = 0. last: the latest first key; FAR where a row is dead.
 * The same for every thread. */
typedef struct key_range { int lo, hi, last; } key_range;
static __device__ __forceinline__ key_range keys_of(const lmf_attention_job &j, int row0, int n)
{
    key_range k = { FAR, 0, 0 };
    for (int t = row0 + (threadIdx.x & 31); t < row0 + n; t += 32) {
        int first = j.first[t];
        bool sees = first <= t;
        k.lo = sees ? min(k.lo, first) : k.lo, k.hi = sees ? max(k.hi, t + 1) : k.hi, k.last = max(k.last, sees ? first : FAR);
    }
    k.lo = least_of(k.lo), k.hi = greatest_of(k.hi), k.last = greatest_of(k.last);
    return k;
}

/* A warpgroup's part of the rows that its block owns. */
typedef struct place { int group, lane, row, t[2]; } place; /* row: the warpgroup's first; t: this thread's two */
static __device__ __forceinline__ place place_of(int first)
{
    int group = greatest_of(threadIdx.x >> 7);
    place p = { group, (int)(threadIdx.x & 31), first + group * 64, { 0, 0 } };
    p.t[0] = p.row + (int)(threadIdx.x >> 5 & 3) * 16 + (p.lane >> 2), p.t[1] = p.t[0] + 8;
    return p;
}

/* What a block owns: a head of n_heads and a tile of those that the grid has for each. Neighbouring blocks have the heads of one tile,
 * then that tile of the next sequence: where sequences are as long as each other, the tiles with most to walk begin first, and the grid
 * ends with the shortest. Else it is an order like any other. */
typedef struct owner { int head, tile, tiles; } owner;
static __device__ __forceinline__ owner owner_of(const lmf_attention_job &j, int n_heads)
{
    int tiles = gridDim.x / n_heads, i = blockIdx.x / n_heads, parts = min(max(greatest_of(*j.parts), 1), tiles), part = i % parts;
    owner o = { (int)blockIdx.x % n_heads, part * (tiles / parts) + min(part, tiles % parts) + i / parts, tiles };
    return o;
}

/* ---- forward ---- */
enum { ROW_GROUPS = 2, ROWS = 64 * ROW_GROUPS, ROW_THREADS = 128 * ROW_GROUPS };

static __device__ __forceinline__ void load_keys(const lmf_attention_job &j, flow &f, unsigned stage, bool there)
{
    int width = j.n_kv * C;
    if (there) {
        copy_rows<N, ROW_THREADS>(f, stage, j.k, width, j.t);
        copy_rows<N, ROW_THREADS>(f, stage + TILE, j.v, width, j.t);
        f.at += (int64_t)N * width, f.row += N;
    }
    lmf_copies_end();
}

/* Scores become weights; what was summed before moves to the new greatest score, where a row of the warp has one: a factor of one changes
 * no bits. top: in units of log 2. */
static __device__ __forceinline__ void soften(lmf_wg_sums &s, lmf_wg_sums &acc, float (&top)[2], float (&sum)[2], float by)
{
    float base[2], keep[2];
    bool moved = false;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        float most = -INFINITY;
#pragma unroll
        for (int i = 0; i < 8; i++)
            most = fmaxf(most, fmaxf(s[i][2 * e], s[i][2 * e + 1]));
        most = fmaxf(most, __shfl_xor_sync(ALL, most, 1));
        most = fmaxf(most, __shfl_xor_sync(ALL, most, 2));
        float next = fmaxf(top[e], most * by);
        base[e] = next == -INFINITY ? 0.0f : next, keep[e] = exp2_fast(top[e] - base[e]), moved |= next != top[e];
        top[e] = next;
    }
    if (__any_sync(ALL, moved))
#pragma unroll
        for (int e = 0; e < 2; e++) {
            sum[e] *= keep[e];
#pragma unroll
            for (int i = 0; i < 8; i++)
                acc[i][2 * e] *= keep[e], acc[i][2 * e + 1] *= keep[e];
        }
#pragma unroll
    for (int e = 0; e < 2; e++) {
        float part = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            s[i][2 * e] = exp2_fast(fmaf(s[i][2 * e], by, -base[e]));
            s[i][2 * e + 1] = exp2_fast(fmaf(s[i][2 * e + 1], by, -base[e]));
            part += s[i][2 * e] + s[i][2 * e + 1];
        }
        sum[e] += part;
    }
}

template <class O> static __device__ __forceinline__ void forward(const lmf_attention_job &j)
{
    unsigned own = place_in_shared(lmf_wg_room(attention_shared)), stage = own + ROW_GROUPS * TILE;
    owner block = owner_of(j, j.n);
    int h = block.head, hk = h / (j.n / j.n_kv), q0 = (block.tiles - 1 - block.tile) * ROWS; /* the last rows of a sequence see most */
    int64_t width = (int64_t)j.n * C;
    key_range all = keys_of(j, q0, ROWS);
    place p = place_of(q0);
    key_range mine = keys_of(j, p.row, 64);
    int blocks = all.hi > all.lo ? (all.hi - all.lo + N - 1) / N : 0, first[2] = { j.first[p.t[0]], j.first[p.t[1]] };
    float top[2] = { -INFINITY, -INFINITY }, sum[2] = { 0, 0 }, by = j.scale * LOG2E;
    lmf_wg_sums acc = { { 0 } };
    unsigned q = lmf_wg_low(own + p.group * TILE), keys = lmf_wg_low(stage), use = 0;
    flow f = flow_of(stage, hk, j.n_kv * C, all.lo);
    if (blocks)
        copy_rows<ROWS, ROW_THREADS>(flow_of(own, h, (int)width, q0), 0, j.q, (int)width, j.t);
    load_keys(j, f, 0, blocks > 0);
    load_keys(j, f, STAGE, blocks > 1);
    for (int b = 0, u0 = all.lo; b < blocks; b++, u0 += N) {
        unsigned k = keys + (use >> 4);
        arrive();
        load_keys(j, f, stage_before<STAGE>(use), b + 2 < blocks);
        use = stage_behind<STAGE>(use);
        if (u0 >= mine.hi || u0 + N <= mine.lo)
            continue;
        lmf_wg_sums s;
        unsigned weight[4][4];
        lmf_wg_begin();
        lmf_wg_dots(s, q, k);
        lmf_wg_end();
        lmf_wg_wait<0>();
        lmf_wg_settle(s);
        if (u0 + N - 1 > p.row || mine.last > u0)
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int u = u0 + 8 * i + (p.lane & 3) * 2 + (e & 1);
                    if (u > p.t[e >> 1] || u < first[e >> 1])
                        s[i][e] = -INFINITY;
                }
        soften(s, acc, top, sum, by);
        lmf_wg_round(weight, s);
        lmf_wg_begin();
        lmf_wg_weigh(acc, weight, k + (TILE >> 4));
        lmf_wg_end();
        lmf_wg_wait<0>();
        lmf_wg_settle(acc);
    }
    lmf_copies_wait<0>();
#pragma unroll
    for (int e = 0; e < 2; e++) {
        float whole = sum[e] + __shfl_xor_sync(ALL, sum[e], 1);
        whole += __shfl_xor_sync(ALL, whole, 2);
        float inverse = whole > 0 ? 1 / whole : 0.0f;
        if (p.t[e] >= j.t)
            continue;
        O *o = (O *)j.o + p.t[e] * width + h * C + (p.lane & 3) * 2;
#pragma unroll
        for (int i = 0; i < 8; i++)
            store_two(o + 8 * i, acc[i][2 * e] * inverse, acc[i][2 * e + 1] * inverse);
        if ((p.lane & 3) == 0)
            j.lse[(int64_t)p.t[e] * j.n + h] = whole > 0 ? (top[e] + log2f(whole)) * 0.6931471805599453f : 0.0f;
    }
}

/* ---- backward ---- */
static __device__ __forceinline__ int rows_of(const lmf_attention_job &j)
{
    return (j.t + LMF_ATTENTION_ROUND - 1) / LMF_ATTENTION_ROUND * LMF_ATTENTION_ROUND;
}
static __device__ __forceinline__ float dot8(const float *a, const float *b)
{
    float s = 0;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float4 x = ((const float4 *)a)[i], y = ((const float4 *)b)[i];
        s = fmaf(x.x, y.x, fmaf(x.y, y.y, fmaf(x.z, y.z, fmaf(x.w, y.w, s))));
    }
    return s;
}
static __device__ __forceinline__ float dot8(const __nv_bfloat16 *a, const __nv_bfloat16 *b)
{
    float s = 0;
    uint4 x = *(const uint4 *)a, y = *(const uint4 *)b;
    const __nv_bfloat162 *p = (const __nv_bfloat162 *)&x, *q = (const __nv_bfloat162 *)&y;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 u = __bfloat1622float2(p[i]), v = __bfloat1622float2(q[i]);
        s = fmaf(u.x, v.x, fmaf(u.y, v.y, s));
    }
    return s;
}

/* By head, then row (rounded up, zeros past T): lse in units of log 2, and delta, the sum over channels of do * o. Eight threads a row of
 * a head; o, d_o: [T, H*C] of the op's type. */
template <class O> static __device__ __forceinline__ void facts(const lmf_attention_job &j, const void *o, const void *d_o)
{
    int rows = rows_of(j), part = threadIdx.x & 7;
    int64_t i = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) >> 3, t = i / j.n; /* i: [T, H] */
    if (t >= rows) /* whole warps: rows are a multiple of 128 */
        return;
    bool there = t < j.t;
    float s = there ? dot8((const O *)o + i * C + part * 8, (const O *)d_o + i * C + part * 8) : 0.0f;
    for (int m = 4; m; m >>= 1)
        s += __shfl_xor_sync(ALL, s, m);
    int64_t to = (i - t * j.n) * rows + t;
    if (part == 0)
        j.delta[to] = s;
    if (part == 1)
        j.lse[to] = there ? j.lse_given[i] * LOG2E : 0.0f;
}

template <class O> static __device__ __forceinline__ void backward_q(const lmf_attention_job &j)
{
    unsigned own = place_in_shared(lmf_wg_room(attention_shared)), stage = own + 2 * ROW_GROUPS * TILE; /* q, then do */
    owner block = owner_of(j, j.n);
    int h = block.head, hk = h / (j.n / j.n_kv), q0 = (block.tiles - 1 - block.tile) * ROWS; /* the last rows of a sequence see most */
    int64_t width = (int64_t)j.n * C;
    key_range all = keys_of(j, q0, ROWS);
    place p = place_of(q0);
    key_range mine = keys_of(j, p.row, 64);
    int blocks = all.hi > all.lo ? (all.hi - all.lo + N - 1) / N : 0, first[2];
    float lse[2], delta[2], by = j.scale * LOG2E;
#pragma unroll
    for (int e = 0; e < 2; e++) {
        int64_t at = (int64_t)h * rows_of(j) + p.t[e];
        first[e] = j.first[p.t[e]], lse[e] = j.lse[at], delta[e] = j.delta[at];
    }
    lmf_wg_sums acc = { { 0 } };
    unsigned q = lmf_wg_low(own + p.group * TILE), d_o = q + (ROW_GROUPS * TILE >> 4);
    unsigned keys = lmf_wg_low(stage), use = 0;
    flow f = flow_of(stage, hk, j.n_kv * C, all.lo);
    if (blocks) {
        flow rows = flow_of(own, h, (int)width, q0);
        copy_rows<ROWS, ROW_THREADS>(rows, 0, j.q, (int)width, j.t);
        copy_rows<ROWS, ROW_THREADS>(rows, ROW_GROUPS * TILE, j.d_o, (int)width, j.t);
    }
    load_keys(j, f, 0, blocks > 0);
    load_keys(j, f, STAGE, blocks > 1);
    for (int b = 0, u0 = all.lo; b < blocks; b++, u0 += N) {
        unsigned k = keys + (use >> 4);
        arrive();
        load_keys(j, f, stage_before<STAGE>(use), b + 2 < blocks);
        use = stage_behind<STAGE>(use);
        if (u0 >= mine.hi || u0 + N <= mine.lo)
            continue;
        lmf_wg_sums s, ds;
        unsigned weight[4][4];
        bool each = u0 + N - 1 <= p.row && mine.last <= u0;
        lmf_wg_begin();
        lmf_wg_dots(s, q, k);
        lmf_wg_end();
        lmf_wg_dots(ds, d_o, k + (TILE >> 4));
        lmf_wg_end();
        lmf_wg_wait<1>();
        lmf_wg_settle(s);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                s[i][e] = exp2_fast(fmaf(s[i][e], by, -lse[e >> 1]));
        if (!each)
#pragma unroll
            for (int i = 0; i < 8; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int u = u0 + 8 * i + (p.lane & 3) * 2 + (e & 1);
                    s[i][e] = u <= p.t[e >> 1] && u >= first[e >> 1] ? s[i][e] : 0.0f;
                }
        lmf_wg_wait<0>();
        lmf_wg_settle(ds);
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                ds[i][e] = s[i][e] * (ds[i][e] - delta[e >> 1]);
        lmf_wg_round(weight, ds);
        lmf_wg_begin();
        lmf_wg_weigh(acc, weight, k);
        lmf_wg_end();
        lmf_wg_wait<0>();
        lmf_wg_settle(acc);
    }
    lmf_copies_wait<0>();
#pragma unroll
    for (int e = 0; e < 2; e++) {
        if (p.t[e] >= j.t)
            continue;
        O *dq = (O *)j.dq + p.t[e] * width + h * C + (p.lane & 3) * 2;
#pragma unroll
        for (int i = 0; i < 8; i++)
            store_two(dq + 8 * i, acc[i][2 * e] * j.scale, acc[i][2 * e + 1] * j.scale);
    }
}

/* One warpgroup a block, three blocks at a time: none waits for another's step. */
enum { KEYS = 64, KEY_THREADS = 128, ROW_STAGE = STAGE + 1024 }; /* q, do, facts */

/* What rows bring along besides q and do; the first 48 threads copy 16 bytes each. */
typedef struct alignas(16) row_facts { float lse[N], delta[N]; int first[N]; } row_facts;

/* Weights of rows that don't see the key become zeros; first: of the block's rows, from t0 on. */
static __device__ __forceinline__ void leave_out(lmf_wg_sums &w, const int *first, const place &p, int t0)
{
    int column = (p.lane & 3) * 2;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int2 from = *(const int2 *)&first[8 * i + column];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int t = t0 + 8 * i + column + (e & 1), u = p.t[e >> 1];
            w[i][e] = u <= t && u >= (e & 1 ? from.y : from.x) ? w[i][e] : 0.0f;
        }
    }
}

/* Scores lie turned, keys by rows, so that they are factors of dk and dv as they are. */
template <class O> static __device__ __forceinline__ void backward_kv(const lmf_attention_job &j)
{
    uint8_t *room = lmf_wg_room(attention_shared);
    unsigned own = place_in_shared(room), stage = own + 2 * TILE; /* k, then v */
    owner block = owner_of(j, j.n_kv);
    int hk = block.head, group = j.n / j.n_kv, u0 = block.tile * KEYS, end = 0, width = j.n * C;
    int64_t kw = (int64_t)j.n_kv * C;
    place p = place_of(u0);
    for (int i = p.lane; i < KEYS; i += 32)
        end = max(end, j.end[u0 + i]);
    end = greatest_of(end);
    int blocks = end > u0 ? (end - u0 + N - 1) / N : 0, turns = blocks * group;
    int column = (p.lane & 3) * 2, t0 = u0, last = u0 + blocks * N; /* rows are walked head by head */
    float by = j.scale * LOG2E;
    lmf_wg_sums ak = { { 0 } }, av = { { 0 } };
    unsigned k = lmf_wg_low(own), v = k + (TILE >> 4), queries = lmf_wg_low(stage), use = 0;
    flow next = flow_of(stage, hk * group, width, u0);
    int t_next = u0, kind = threadIdx.x >> 4, rows = rows_of(j); /* of facts: lse, delta, first */
    const float *fact = kind == 2 ? (const float *)j.first : (kind ? j.delta : j.lse) + (int64_t)hk * group * rows;
    int fact_back = (kind == 2 ? 0 : rows) - blocks * N;
    unsigned own_fact = kept(stage + STAGE + threadIdx.x * 16);
    fact += u0 + (threadIdx.x & 15) * 4;
    if (turns) {
        flow keys = flow_of(own, hk, (int)kw, u0);
        copy_rows<KEYS, KEY_THREADS>(keys, 0, j.k, (int)kw, j.t);
        copy_rows<KEYS, KEY_THREADS>(keys, TILE, j.v, (int)kw, j.t);
    }
    auto fetch = [&](unsigned fill, bool there) {
        if (there) {
            copy_rows<N, KEY_THREADS>(next, fill, j.q, width, j.t);
            copy_rows<N, KEY_THREADS>(next, fill + TILE, j.d_o, width, j.t);
            if (threadIdx.x < 48)
                copy16(own_fact + fill, fact, true);
            next.at += (int64_t)N * width, next.row += N, t_next += N, fact += N;
            if (t_next == last)
                next.at += C - (int64_t)blocks * N * width, next.row -= blocks * N, t_next = u0, fact += fact_back;
        }
        lmf_copies_end();
    };
    fetch(0, turns > 0);
    fetch(ROW_STAGE, turns > 1);
    for (int b = 0; b < turns; b++, t0 = t0 + N == last ? u0 : t0 + N) {
        unsigned q = queries + (use >> 4);
        const row_facts *f = (const row_facts *)(room + 2 * TILE + STAGE + use);
        arrive();
        fetch(stage_before<ROW_STAGE>(use), b + 2 < turns);
        use = stage_behind<ROW_STAGE>(use);
        int a = f->first[p.lane], z = f->first[p.lane + 32];
        bool some = __any_sync(ALL, min(a, z) <= p.row + 63), each = __all_sync(ALL, max(a, z) <= p.row) && t0 >= p.row + 63;
        if (!some || t0 + N <= p.row)
            continue;
        lmf_wg_sums w, ds;
        unsigned weight[4][4];
        lmf_wg_begin();
        lmf_wg_dots(w, k, q);
        lmf_wg_end();
        lmf_wg_dots(ds, v, q + (TILE >> 4));
        lmf_wg_end();
        lmf_wg_wait<1>();
        lmf_wg_settle(w);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float2 lse = *(const float2 *)&f->lse[8 * i + column];
            w[i][0] = exp2_fast(fmaf(w[i][0], by, -lse.x)), w[i][1] = exp2_fast(fmaf(w[i][1], by, -lse.y));
            w[i][2] = exp2_fast(fmaf(w[i][2], by, -lse.x)), w[i][3] = exp2_fast(fmaf(w[i][3], by, -lse.y));
        }
        if (!each)
            leave_out(w, f->first, p, t0);
        lmf_wg_round(weight, w);
        lmf_wg_wait<0>();
        lmf_wg_settle(ds);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float2 delta = *(const float2 *)&f->delta[8 * i + column];
            ds[i][0] = w[i][0] * (ds[i][0] - delta.x), ds[i][1] = w[i][1] * (ds[i][1] - delta.y);
            ds[i][2] = w[i][2] * (ds[i][2] - delta.x), ds[i][3] = w[i][3] * (ds[i][3] - delta.y);
        }
        unsigned slope[4][4];
        lmf_wg_round(slope, ds);
        lmf_wg_begin();
        lmf_wg_weigh(av, weight, q + (TILE >> 4));
        lmf_wg_weigh(ak, slope, q);
        lmf_wg_end();
        lmf_wg_wait<0>();
        lmf_wg_settle(av);
        lmf_wg_settle(ak);
    }
    lmf_copies_wait<0>();
#pragma unroll
    for (int e = 0; e < 2; e++) {
        if (p.t[e] >= j.t)
            continue;
        int64_t at = p.t[e] * kw + hk * C + (p.lane & 3) * 2;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            store_two((O *)j.dk + at + 8 * i, ak[i][2 * e] * j.scale, ak[i][2 * e + 1] * j.scale);
            store_two((O *)j.dv + at + 8 * i, av[i][2 * e], av[i][2 * e + 1]);
        }
    }
}

#define BOUNDED(name, threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks) attention_wgmma_##name(lmf_attention_job j)
#define EACH(name, type)                                                                            \
    LMF_KERNEL(attention_wgmma_facts_##name)(lmf_attention_job j, const void *o, const void *d_o)   \
    {                                                                                               \
        facts<type>(j, o, d_o);                                                                     \
    }                                                                                               \
    BOUNDED(fwd_##name, ROW_THREADS, 2) { forward<type>(j); }                                       \
    BOUNDED(dq_##name, ROW_THREADS, 2) { backward_q<type>(j); }                                     \
    BOUNDED(dkv_##name, KEY_THREADS, 3) { backward_kv<type>(j); }
EACH(f32, float)
EACH(bf16, __nv_bfloat16)
