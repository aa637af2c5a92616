/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one block a sequence. Candidates are never sorted: a place in their order (falling logit, then rising id) is found by
 * histograms of how many there are and how much they weigh, first over steps of 1/32 temperature, then over the bits of
 * the logit within the step. exp((x - top) / temperature) counts in units of 2^-43, whole numbers, so that sums have no order.
 * What lies 31 temperatures and more below the top weighs nothing. */
#include "device/cuda/kernel.cuh"
#include "base/philox.h"

enum { TEMPERATURE, TOP_P, MIN_P, PENALTY, PRESENCE, FREQUENCY, N_NUMBERS };        /* as in sample.h */
enum { TOP_K, SEED_LO, SEED_HI, POS, SLOT, LIVE, MASKED, N_TOP, N_COUNTS };
enum { MAX_TOP = 20, WIDTH = 1 + MAX_TOP, SEEN_PROMPT = 1 << 30, NONE_ALLOWED = -2 };
enum { STEPS = 1024, BITS = 11, SUB = 1 << BITS };
typedef unsigned long long weight;

typedef struct histogram { weight *mass; int *count; int n; } histogram;
typedef struct row {
    const float *x;                /* logits after the penalty */
    int n_v;
    float top, temp;
    histogram steps, sub;          /* shared */
    struct found *found;           /* shared */
} row;
typedef struct found { weight before, mass; int n_before, bin; unsigned rank; } found; /* mass: of one candidate of this rank */

/* Ascending as logits fall; one number for both zeros. */
static __device__ __forceinline__ unsigned rank_of(float x)
{
    unsigned bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? bits : ~(bits | 0x80000000u);
}
static __device__ __forceinline__ int step_of(const row *r, float x) { return (int)fminf((r->top - x) / r->temp * 32.0f, (float)(STEPS - 1)); }
static __device__ __forceinline__ double share(const row *r, float x) { return exp((double)(x - r->top) / (double)r->temp); }
static __device__ __forceinline__ weight mass_of(const row *r, float x)
{
    return (double)(x - r->top) / (double)r->temp < -31.0 ? 0 : (weight)__double2ll_rn(share(r, x) * 8796093022208.0);
}

static __device__ __forceinline__ void clear(const histogram *h)
{
    for (int i = threadIdx.x; i < h->n; i += blockDim.x)
        h->mass[i] = 0, h->count[i] = 0;
    __syncthreads();
}

/* The first bin at whose end `want` (candidates, or mass) is reached, given what comes before the bins; into found. */
static __device__ void cross(const histogram *h, bool by_count, weight want, found *f)
{
    __syncthreads();
    if (threadIdx.x < 32) {
        int lane = threadIdx.x, per = h->n / 32, n_own = 0;
        weight own = 0;
        for (int i = lane * per; i < (lane + 1) * per; i++)
            own += h->mass[i], n_own += h->count[i];
        weight mass = own;
        int n = n_own;
        for (int step = 1; step < 32; step <<= 1) {
            weight m = __shfl_up_sync(0xffffffffu, mass, step);
            int k = __shfl_up_sync(0xffffffffu, n, step);
            if (lane >= step)
                mass += m, n += k;
        }
        weight before = f->before + mass - own;
        int n_before = f->n_before + n - n_own;
        unsigned reached = __ballot_sync(0xffffffffu, (by_count ? (weight)(n_before + n_own) : before + own) >= want);
        __syncwarp();
        if (lane == (reached ? __ffs((int)reached) - 1 : 31)) {
            int i = lane * per;
            for (; i < (lane + 1) * per - 1; i++) {
                if ((by_count ? (weight)(n_before + h->count[i]) : before + h->mass[i]) >= want)
                    break;
                before += h->mass[i], n_before += h->count[i];
            }
            f->before = before, f->n_before = n_before, f->bin = i;
        }
    }
    __syncthreads();
}

/* The place where `want` is reached: the rank there, and what comes before that rank. */
static __device__ void find(const row *r, bool by_count, weight want)
{
    found *f = r->found;
    __syncthreads();
    if (threadIdx.x == 0)
        f->before = 0, f->n_before = 0;
    cross(&r->steps, by_count, want, f);
    int step = f->bin;
    unsigned rank = 0;
    for (int level = 0; level < 3; level++) {
        int shift = level == 0 ? 21 : level == 1 ? 10 : 0, bits = level == 2 ? 10 : BITS;
        clear(&r->sub);
        for (int v = threadIdx.x; v < r->n_v; v += blockDim.x) {
            float x = r->x[v];
            unsigned own = rank_of(x);
            if (step_of(r, x) != step || (level && own >> (shift + bits) != rank))
                continue;
            int bin = (int)(own >> shift & ((1u << bits) - 1));
            atomicAdd(&r->sub.count[bin], 1);
            atomicAdd(&r->sub.mass[bin], mass_of(r, x));
        }
        cross(&r->sub, by_count, want, f);
        rank = rank << bits | (unsigned)f->bin;
    }
    if (threadIdx.x == 0) {
        int n = r->sub.count[f->bin];
        f->rank = rank;
        f->mass = n ? r->sub.mass[f->bin] / (weight)n : 0;
    }
    __syncthreads();
}

/* The n-th (from 1) token of this rank, by rising id; part: 32 numbers of shared memory. */
static __device__ int nth_of_rank(const row *r, unsigned rank, int n, int *part)
{
    __shared__ int token;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, seen = 0;
    if (threadIdx.x == 0)
        token = -1;
    for (int v0 = 0; v0 < r->n_v; v0 += blockDim.x) {
        int v = v0 + threadIdx.x;
        bool own = v < r->n_v && rank_of(r->x[v]) == rank;
        int all = __syncthreads_count(own);
        if (seen + all < n) {
            seen += all;
            continue;
        }
        unsigned mask = __ballot_sync(0xffffffffu, own);
        if (lane == 0)
            part[warp] = __popc(mask);
        __syncthreads();
        for (int w = 0; w < warp; w++)
            seen += part[w];
        if (own && seen + __popc(mask & ((1u << lane) - 1)) + 1 == n)
            token = v;
        break;
    }
    __syncthreads();
    return token;
}

/* Weight of the candidates until `want` is reached, the one that reaches it included. */
static __device__ weight mass_until(const row *r, bool by_count, weight want)
{
    find(r, by_count, want);
    const found *f = r->found;
    weight more = by_count ? want - (weight)f->n_before : f->mass ? (want - f->before + f->mass - 1) / f->mass : 0;
    return f->before + more * f->mass;
}

static __device__ int draw(const row *r, const float *number, const int *count, int *part)
{
    __shared__ weight total, over;
    clear(&r->steps);
    if (threadIdx.x == 0)
        total = 0, over = 0;
    __syncthreads();
    weight own = 0, own_over = 0;
    for (int v = threadIdx.x; v < r->n_v; v += blockDim.x) {
        float x = r->x[v];
        weight m = mass_of(r, x);
        int step = step_of(r, x);
        atomicAdd(&r->steps.count[step], 1);
        if (m) {
            atomicAdd(&r->steps.mass[step], m);
            own += m;
            own_over += number[MIN_P] <= 0.0f || share(r, x) >= (double)number[MIN_P] ? m : 0;
        }
    }
    atomicAdd(&total, own);
    atomicAdd(&over, own_over);
    __syncthreads();
    weight all = total, kept;
    if (count[TOP_K] > 0 && count[TOP_K] < r->n_v)
        all = mass_until(r, true, (weight)count[TOP_K]);
    kept = all;
    if (number[TOP_P] < 1.0f) {
        double want = (double)number[TOP_P] * (double)all;
        weight until = mass_until(r, false, want > 1.0 ? (weight)ceil(want) : 1);
        kept = until < kept ? until : kept;
    }
    kept = over < kept ? over : kept;
    kept = kept ? kept : 1; /* min_p over 1: the top alone */
    uint64_t seed = (uint64_t)(uint32_t)count[SEED_LO] | (uint64_t)(uint32_t)count[SEED_HI] << 32;
    weight want = (weight)((double)lmf_random_f32(seed, 0, 0, (uint64_t)count[POS]) * (double)kept) + 1;
    want = want < kept ? want : kept;
    find(r, false, want);
    const found *f = r->found;
    return nth_of_rank(r, f->rank, f->mass ? (int)((want - f->before + f->mass - 1) / f->mass) : 1, part);
}

/* The first token behind (x, id) in the order of falling logit, then rising id; NONE: no more. id below 0: the first of all.
 * part, ids: 32 of shared memory each. */
enum { NONE = 0x7fffffff };
static __device__ int next_best(const float *l, int n_v, float x, int id, float *part, int *ids)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, n_warps = blockDim.x >> 5, best = NONE;
    float top = -INFINITY;
    for (int v = threadIdx.x; v < n_v; v += blockDim.x)
        if ((id < 0 || l[v] < x || (l[v] == x && v > id)) && (best == NONE || l[v] > top))
            top = l[v], best = v;
    for (int round = 0; round < 2; round++) {
        for (int n = 16; n; n >>= 1) {
            float t = __shfl_xor_sync(0xffffffffu, top, n);
            int b = __shfl_xor_sync(0xffffffffu, best, n);
            if (t > top || (t == top && b < best))
                top = t, best = b;
        }
        if (round)
            break;
        __syncthreads();
        if (lane == 0)
            part[warp] = top, ids[warp] = best;
        __syncthreads();
        top = lane < n_warps ? part[lane] : -INFINITY;
        best = lane < n_warps ? ids[lane] : NONE;
    }
    return best;
}

/* The n_top likeliest of the model alone, behind the pick. */
static __device__ void list_tops(const float *raw, int n_v, int n_top, float lse, int *token, float *logp, float *part, int *ids)
{
    float x = 0;
    for (int i = 0, id = -1; i < n_top && i < n_v; i++) {
        id = next_best(raw, n_v, x, id, part, ids);
        x = raw[id];
        if (threadIdx.x == 0)
            token[1 + i] = id, logp[1 + i] = x - lse;
    }
}

/* Logits after bias, penalties and mask, where a masked token is at -inf. Rows without any keep to raw. bias_token: NULL, or ended
 * by -1. */
static __device__ const float *candidates(const float *raw, int n_v, const int *bias_token, const float *bias, int n_bias, const int *seen,
                                          const int *mask, const float *number, float *room)
{
    bool biased = bias_token && bias_token[0] >= 0;
    if (!seen && !mask && !biased)
        return raw;
    if (biased) {
        for (int v = threadIdx.x; v < n_v; v += blockDim.x)
            room[v] = raw[v];
        __syncthreads();
        if (threadIdx.x == 0) /* few; the first negative one ends them */
            for (int i = 0; i < n_bias && bias_token[i] >= 0; i++)
                if (bias_token[i] < n_v)
                    room[bias_token[i]] += bias[i];
        __syncthreads();
        raw = room;
    }
    for (int v = threadIdx.x; v < n_v; v += blockDim.x) {
        float x = raw[v];
        int had = seen ? seen[v] : 0, n = had & (SEEN_PROMPT - 1);
        if (had) {
            x = x > 0 ? x / number[PENALTY] : x * number[PENALTY];
            x = n ? x - ((float)n * number[FREQUENCY] + number[PRESENCE]) : x;
        }
        room[v] = !mask || (unsigned)mask[v >> 5] >> (v & 31) & 1 ? x : -INFINITY;
    }
    __syncthreads();
    return room;
}

/* What a part of a row's logits comes to: the greatest, its lowest id, the sum of exp(x - top). */
typedef struct part_sum { float top, sum; int best; } part_sum;
enum { MOST_PARTS = 32 };

/* One block a part of a row, parts along x. */
LMF_KERNEL_EARLY(sample_parts)(const float *logits, const int *counts, part_sum *parts, int n_v)
{
    LMF_AFTER();
    __shared__ float tops[32];
    __shared__ int ids[32];
    int64_t s = blockIdx.y;
    int each = (n_v + (int)gridDim.x - 1) / (int)gridDim.x, v0 = blockIdx.x * each, n = min(each, n_v - v0);
    if (!counts[s * N_COUNTS + LIVE])
        return;
    const float *l = logits + s * n_v + v0;
    int best = next_best(l, n, 0, -1, tops, ids);
    float top = best == NONE ? -INFINITY : l[best], by = top == -INFINITY ? 0.0f : top, sum = 0;
    for (int v = threadIdx.x; v < n; v += blockDim.x)
        sum += expf(l[v] - by);
    sum = lmf_block_sum(sum, tops);
    if (threadIdx.x == 0)
        parts[s * gridDim.x + blockIdx.x] = { top, sum, best == NONE ? NONE : v0 + best };
}

/* A row from its parts; the same for each thread. */
static __device__ part_sum join_parts(const part_sum *p, int n)
{
    part_sum all = { -INFINITY, 0, NONE };
    for (int i = 0; i < n; i++)
        if (p[i].best != NONE && (all.best == NONE || p[i].top > all.top))
            all.top = p[i].top, all.best = p[i].best;
    for (int i = 0; i < n; i++) /* NaN where a logit is, or where all are -inf */
        all.sum += p[i].sum * (p[i].best == NONE || (p[i].top == -INFINITY && all.top > -INFINITY) ? 1.0f : expf(p[i].top - all.top));
    return all;
}

/* parts: of sample_parts, n_parts a row; n_parts 0: none. seen [n_slots, V] in place; mask [S, words] or NULL. What the reference refuses gives -1 here: a kernel can't refuse. */
LMF_KERNEL_EARLY(sample_select)(const float *logits, const float *numbers, const int *counts, int *seen, const int *masks,
                          const int *bias_tokens, const float *biases, float *scratch, int *tokens,
                          float *logps, int n_v, int n_slots, int n_words, int n_bias, const part_sum *parts, int n_parts)
{
    LMF_AFTER();
    __shared__ weight step_mass[STEPS], sub_mass[SUB];
    __shared__ int step_count[STEPS], sub_count[SUB], ids[32];
    __shared__ float part[32];
    __shared__ found place;
    int64_t s = blockIdx.x;
    const float *raw = logits + s * n_v, *number = numbers + s * N_NUMBERS;
    const int *count = counts + s * N_COUNTS;
    int *token = tokens + s * WIDTH, slot = count[SLOT], pick;
    float *logp = logps + s * WIDTH, top = -INFINITY, sum = 0;
    for (int i = threadIdx.x; i < WIDTH; i += blockDim.x)
        token[i] = -1, logp[i] = 0;
    if (!count[LIVE] || slot >= n_slots || count[N_TOP] > MAX_TOP || (count[MASKED] && !masks))
        return;
    part_sum all = { 0 };
    if (n_parts) {
        all = join_parts(parts + s * n_parts, n_parts);
        top = all.top, sum = all.sum;
    } else {
        for (int v = threadIdx.x; v < n_v; v += blockDim.x)
            top = fmaxf(top, raw[v]);
        top = lmf_block_max(top, part);
        for (int v = threadIdx.x; v < n_v; v += blockDim.x)
            sum += expf(raw[v] - top);
        sum = lmf_block_sum(sum, part);
    }
    float lse = top + logf(sum);
    if (isnan(lse)) /* the same for all threads */
        return;
    list_tops(raw, n_v, count[N_TOP], lse, token, logp, part, ids);
    int *own = slot >= 0 ? seen + (int64_t)slot * n_v : NULL;
    const int *bias_token = bias_tokens ? bias_tokens + s * n_bias : NULL;
    const int *mask = count[MASKED] ? masks + s * n_words : NULL;
    const float *x = candidates(raw, n_v, bias_token, biases + s * n_bias, n_bias, own, mask, number, scratch + s * n_v);
    pick = n_parts && x == raw ? all.best : next_best(x, n_v, 0, -1, part, ids);
    if (x[pick] == -INFINITY) {
        if (threadIdx.x == 0)
            token[0] = NONE_ALLOWED;
        return;
    }
    if (number[TEMPERATURE] > 0) {
        row r = { x, n_v, x[pick], number[TEMPERATURE], { step_mass, step_count, STEPS }, { sub_mass, sub_count, SUB }, &place };
        int drawn = draw(&r, number, count, ids);
        pick = drawn < 0 ? pick : drawn;
    }
    if (threadIdx.x == 0) {
        token[0] = pick;
        logp[0] = raw[pick] - lse;
        if (own)
            own[pick]++;
    }
}
