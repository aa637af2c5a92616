/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: candidates come off a heap in the order of falling logit, then rising id, until a filter says enough: the cost is
 * that of the tokens kept, not of the vocabulary. A sequence is one worker's. */
#include "ops/sample/sample.h"
#include <math.h>
#include <string.h>
#include "base/philox.h"
#include "base/simd.h"
#include "base/team.h"
#include "device/device.h"

typedef struct cand { float x; int32_t id; } cand;

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].data && !lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

/* a heap and its pops for each sequence */
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)lmf_view_count(&c->in[0]) * sizeof(cand);
}

static bool before(cand a, cand b) { return a.x > b.x || (a.x == b.x && a.id < b.id); }

static void sift(cand *h, int64_t i, int64_t n)
{
    cand e = h[i];
    for (int64_t k; (k = 2 * i + 1) < n; i = k) {
        k += k + 1 < n && before(h[k + 1], h[k]);
        if (!before(h[k], e))
            break;
        h[i] = h[k];
    }
    h[i] = e;
}

/* Moves the best of h[0..n) to h[n-1]: popped ones stand at the end, in falling order backwards. */
static cand pop(cand *h, int64_t n)
{
    cand best = h[0];
    h[0] = h[n - 1];
    h[n - 1] = best;
    sift(h, 0, n - 1);
    return best;
}

/* log of the sum of exp(x), and whether all is finite enough */
static float log_sum_exp(const float *x, int64_t n, float *top)
{
    lmf_vf m = lmf_vf_set1(-INFINITY), sum = { 0 };
    int64_t i = 0;
    for (; i + LMF_VF <= n; i += LMF_VF)
        m = lmf_vf_maximum(lmf_vf_load(x + i), m);
    float t = lmf_vf_max(m), s = 0;
    for (int64_t k = i; k < n; k++)
        t = x[k] > t ? x[k] : t;
    for (i = 0; i + LMF_VF <= n; i += LMF_VF)
        sum += lmf_vf_exp(lmf_vf_load(x + i) - t);
    s = lmf_vf_sum(sum);
    for (; i < n; i++)
        s += expf(x[i] - t);
    *top = t;
    return t + logf(s);
}

static int32_t draw(cand *h, int64_t n, const float *num, const int32_t *cnt)
{
    float temp = num[LMF_SAMPLE_TEMPERATURE];
    for (int64_t i = n / 2 - 1; i >= 0; i--)
        sift(h, i, n);
    int64_t k = cnt[LMF_SAMPLE_TOP_K] > 0 && cnt[LMF_SAMPLE_TOP_K] < n ? cnt[LMF_SAMPLE_TOP_K] : n, n_kept = 0, left = n;
    float top = h[0].x;
    double all = 0, kept = 0, at = 0;
    if (k == n) /* the sum over all needs no order */
        for (int64_t i = 0; i < n; i++)
            all += exp((double)(h[i].x - top) / (double)temp);
    else
        for (int64_t i = 0; i < k; i++)
            all += exp((double)(pop(h, left--).x - top) / (double)temp);
    while (n_kept < k && (n_kept == 0 || kept < (double)num[LMF_SAMPLE_TOP_P] * all)) {
        cand e = n - n_kept > left ? h[n - 1 - n_kept] : pop(h, left--);
        double p = exp((double)(e.x - top) / (double)temp);
        if (p < (double)num[LMF_SAMPLE_MIN_P])
            break;
        kept += p;
        n_kept++;
    }
    uint64_t seed = (uint64_t)(uint32_t)cnt[LMF_SAMPLE_SEED_LO] | (uint64_t)(uint32_t)cnt[LMF_SAMPLE_SEED_HI] << 32;
    double u = (double)lmf_random_f32(seed, 0, 0, (uint64_t)cnt[LMF_SAMPLE_POS]) * kept;
    for (int64_t i = 0; i < n_kept; i++) {
        at += exp((double)(h[n - 1 - i].x - top) / (double)temp);
        if (at > u)
            return h[n - 1 - i].id;
    }
    return h[n - n_kept].id;
}

/* Keeps the n likeliest in order: few tokens beat the last of them, so this costs one look at each logit. */
static void top_of(const float *x, int64_t V, int n, float lse, int32_t *id, float *logp)
{
    int have = 0;
    for (int64_t v = 0; v < V; v++) {
        if (have == n && !(x[v] > x[id[n - 1]]))
            continue;
        int i = have < n ? have++ : n - 1;
        for (; i > 0 && x[v] > x[id[i - 1]]; i--)
            id[i] = id[i - 1];
        id[i] = (int32_t)v;
    }
    for (int i = 0; i < have; i++)
        logp[i] = x[id[i]] - lse;
}

static float penalize(float x, int32_t seen, const float *num)
{
    int32_t n = seen & (LMF_SEEN_PROMPT - 1);
    x = x > 0 ? x / num[LMF_SAMPLE_PENALTY] : x * num[LMF_SAMPLE_PENALTY];
    return n ? x - ((float)n * num[LMF_SAMPLE_FREQUENCY] + num[LMF_SAMPLE_PRESENCE]) : x;
}

typedef struct bias { const int32_t *token; const float *value; int64_t n; } bias; /* n 0: none */

/* What may be picked into h; returns how much that is. */
static int64_t candidates(const float *x, int64_t V, bias b, const int32_t *seen, const float *num, const int32_t *mask, cand *h)
{
    int64_t n = 0;
    for (int64_t v = 0; v < V; v++)
        h[v] = (cand){ x[v], (int32_t)v };
    for (int64_t i = 0; i < b.n && b.token[i] >= 0; i++)
        if (b.token[i] < V)
            h[b.token[i]].x += b.value[i];
    for (int64_t v = 0; seen && v < V; v++)
        if (seen[v])
            h[v].x = penalize(h[v].x, seen[v], num);
    if (!mask)
        return V;
    for (int64_t v = 0; v < V; v++)
        if ((uint32_t)mask[v / 32] >> v % 32 & 1 && h[v].x > -INFINITY)
            h[n++] = h[v];
    return n;
}

static lmf_status sample_row(const lmf_call *c, int64_t s)
{
    int64_t V = c->in[0].dim[1];
    const float *x = (const float *)c->in[0].data + s * V, *num = (const float *)c->in[1].data + s * LMF_SAMPLE_N_NUMBERS;
    const int32_t *cnt = (const int32_t *)c->in[2].data + s * LMF_SAMPLE_N_COUNTS;
    int32_t *token = (int32_t *)c->out[0].data + s * LMF_SAMPLE_WIDTH, slot = cnt[LMF_SAMPLE_SLOT];
    float *logp = (float *)c->out[1].data + s * LMF_SAMPLE_WIDTH, top, lse;
    cand *h = (cand *)c->scratch + s * V;
    for (int i = 0; i < LMF_SAMPLE_WIDTH; i++)
        token[i] = -1, logp[i] = 0;
    if (!cnt[LMF_SAMPLE_LIVE] || isnan(lse = log_sum_exp(x, V, &top)))
        return LMF_OK;
    if (slot >= c->in[3].dim[0] || cnt[LMF_SAMPLE_N_TOP] > LMF_SAMPLE_MAX_TOP || (cnt[LMF_SAMPLE_MASKED] && (c->n_in < 5 || !c->in[4].data)))
        return LMF_E_INTERNAL;
    int32_t *seen = slot >= 0 ? (int32_t *)c->out[2].data + slot * V : NULL;
    if (cnt[LMF_SAMPLE_N_TOP] > 0)
        top_of(x, V, cnt[LMF_SAMPLE_N_TOP], lse, token + 1, logp + 1);
    bool biased = c->n_in > 6 && c->in[5].data;
    int64_t B = biased ? c->in[5].dim[1] : 0;
    bias b = { biased ? (const int32_t *)c->in[5].data + s * B : NULL, biased ? (const float *)c->in[6].data + s * B : NULL, B };
    int64_t n = candidates(x, V, b, seen, num, cnt[LMF_SAMPLE_MASKED] ? (const int32_t *)c->in[4].data + s * c->in[4].dim[1] : NULL, h);
    if (n == 0) {
        *token = LMF_SAMPLE_NONE_ALLOWED;
        return LMF_OK;
    }
    if (num[LMF_SAMPLE_TEMPERATURE] <= 0) {
        cand best = h[0];
        for (int64_t v = 1; v < n; v++)
            best = before(h[v], best) ? h[v] : best;
        *token = best.id;
    } else {
        *token = draw(h, n, num, cnt);
    }
    *logp = x[*token] - lse;
    if (seen)
        seen[*token]++;
    return LMF_OK;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t begin, end;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t s = begin; s < end; s++)
        LMF_TRY(sample_row(c, s));
    return LMF_OK;
}

LMF_CPU_ROWS(sample) = {
    { .name = "sample_heap", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .scratch = scratch, .run = run }, { 0 }
};
