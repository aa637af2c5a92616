/* SPDX-License-Identifier: Apache-2.0 */
/* head_topk_rows: what head_topk's row files share; the products are those that device/cpu/vocab.h was told to use. A chunk of rows goes
 * over the head twice: for the logits of its tokens and the sum of the others, and for the gradient, in which all others have one factor.
 * Rule: phase 0 counts the rows (worker 0) and zeroes those that don't count (all), phase 1 takes rows, phase 2 dw and the loss.
 * Scratch: the list, each row's log sum exp and factor of the others, the tokens' [T, K], then one room a worker. */
#ifndef LMF_OPS_HEAD_TOPK_ROWS_H
#define LMF_OPS_HEAD_TOPK_ROWS_H
#include "ops/head_topk/head_topk.h"
#include "device/cpu/vocab.h"

typedef struct topk {
    lmf_vocab h;
    int64_t k;
    const int32_t *id;
    const float *logp, *rest;
    float *factor, *top, *kl;             /* of the others; of the tokens: their logits, then their gradients by them; D */
    float temperature, beta;
} topk;
typedef struct topk_room { float *x, *sums, *tile, *w, *row, *gemm; int64_t floats; } topk_room;

static bool head_topk_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return c->in[0].dtype == LMF_F32 && c->in[1].fmt->unpack;
}

static int64_t list_floats(const lmf_call *c) { return lmf__gemm_up(c->in[0].dim[0] + 1, 16); }
static int64_t top_floats(const lmf_call *c) { return lmf__gemm_up(lmf_view_count(&c->in[2]), 16); }

static topk head_topk_of(const lmf_call *c)
{
    const lmf_head_topk_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[1], n = list_floats(c);
    float *room = c->scratch;
    topk o = { .k = c->in[2].dim[1], .id = c->in[2].data, .logp = c->in[3].data, .rest = c->in[4].data, .kl = c->out[1].data,
               .temperature = a->temperature, .beta = a->beta };
    o.h = (lmf_vocab){ .t = c->in[0].dim[0], .d = d, .v = c->in[1].dim[0], .x = c->in[0].data,
        .w = { c->in[1].data, c->in[1].fmt, d, true },
        .weight = c->in[5].data, .scale = a->scale / a->temperature, .live = c->scratch, .dx = c->out[2].data,
        .dw = c->n_out == 4 ? c->out[3].data : NULL };
    if (room)
        o.h.lse = room + n, o.factor = room + 2 * n, o.top = room + 3 * n;
    return o;
}

static topk_room head_topk_layout(const topk *o, float *scratch)
{
    topk_room r = { 0 };
    int64_t at = 0, gemm = 0, rows = LMF_VOCAB_ROWS;
    lmf_gemm g[] = { lmf__vocab_logits(&o->h), lmf__vocab_sums(&o->h), lmf__vocab_dw(&o->h), lmf__vocab_logits(&o->h) };
    g[3].k = LMF_GEMM_KC, g[3].a.k_inner = false; /* of f32 products what takes most: fewer k may mean longer blocks */
    for (int i = 0; i < 4; i++) {
        int64_t n = lmf__vocab_gemm_floats(&g[i]);
        gemm = n > gemm ? n : gemm;
    }
#define TOPK_PART(field, n) (r.field = scratch ? scratch + at : NULL, at += lmf__gemm_up((n), 16))
    TOPK_PART(x, rows * o->h.d);
    TOPK_PART(sums, rows * o->h.d);
    TOPK_PART(tile, rows * LMF_VOCAB_TILE);
    TOPK_PART(w, LMF_VOCAB_TILE * o->h.d);
    TOPK_PART(row, 2 * rows); /* maximum and sum of the others */
    TOPK_PART(gemm, gemm);
#undef TOPK_PART
    r.floats = at;
    return r;
}

static size_t head_topk_scratch(const lmf_call *c, const lmf_device *dev)
{
    topk o = head_topk_of(c);
    return (size_t)(3 * list_floats(c) + top_floats(c) + dev->n_workers * head_topk_layout(&o, NULL).floats) * sizeof(float);
}

/* The first of a row's tokens that is at least v. */
static inline int64_t topk_first(const topk *o, int64_t t, int64_t v)
{
    const int32_t *id = o->id + t * o->k;
    int64_t lo = 0, hi = o->k;
    while (lo < hi) {
        int64_t mid = (lo + hi) / 2;
        if (id[mid] < v)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* A tile of n rows, tokens [v0, v0 + nv). */
static inline void topk_tile(const topk *o, const topk_room *r, int64_t n, int64_t v0, int64_t nv, const float **w, int64_t *stride)
{
    lmf_gemm g = lmf__vocab_logits(&o->h);
    g.m = n, g.n = nv, g.a.data = r->x, g.y = r->tile;
    g.b.data = *w = lmf__vocab_tile_w(&o->h, v0, nv, r->w, stride), g.b.stride = *stride;
    lmf__vocab_product(&g, r->gemm);
}

/* The tokens' logits go out of the row's tile, which is then of the others alone. */
static inline void topk_take(const topk *o, int64_t t, float *l, int64_t v0, int64_t nv)
{
    const int32_t *id = o->id + t * o->k;
    for (int64_t i = topk_first(o, t, v0); i < o->k && id[i] < v0 + nv; i++)
        o->top[t * o->k + i] = l[id[i] - v0], l[id[i] - v0] = -1e30f;
}

/* From the sums of row t: D, the factor of the others, and of each token its gradient by the logit. */
static inline void topk_settle(const topk *o, int64_t t, float m, float s)
{
    float *top = o->top + t * o->k;
    const float *logp = o->logp + t * o->k;
    bool others = o->k < o->h.v;
    double lse = others ? (double)m + log((double)s) : -1e30, rest = lse, most = lse, sum = 0, kl = 0, mean = 0, slope, rest_slope = 0;
    for (int64_t i = 0; i < o->k; i++)
        most = fmax(most, (double)top[i]);
    for (int64_t i = 0; i < o->k; i++)
        sum += exp((double)top[i] - most);
    lse = most + log(sum + exp(lse - most));
    for (int64_t i = 0; i < o->k; i++) {
        kl += lmf__bucket((double)o->beta, (double)top[i] - lse, (double)logp[i], &slope);
        mean += exp((double)top[i] - lse) * slope;
    }
    if (others) {
        kl += lmf__bucket((double)o->beta, rest - lse, (double)o->rest[t], &rest_slope);
        mean += exp(rest - lse) * rest_slope;
    }
    for (int64_t i = 0; i < o->k; i++) {
        lmf__bucket((double)o->beta, (double)top[i] - lse, (double)logp[i], &slope);
        top[i] = (float)(exp((double)top[i] - lse) * (slope - mean));
    }
    o->h.lse[t] = (float)lse, o->factor[t] = (float)(rest_slope - mean);
    o->kl[t] = (float)((double)o->temperature * (double)o->temperature * kl);
}

/* A row's tile becomes u times the gradient by its logits. */
static inline void topk_gradient(const topk *o, int64_t t, float *l, int64_t v0, int64_t nv, float u)
{
    const int32_t *id = o->id + t * o->k;
    lmf__vocab_exp(l, nv, o->h.lse[t], u * o->factor[t]);
    for (int64_t i = topk_first(o, t, v0); i < o->k && id[i] < v0 + nv; i++)
        l[id[i] - v0] = u * o->top[t * o->k + i];
}

/* Rows live[1 + begin .. ], n of them, n <= LMF_VOCAB_ROWS. */
static inline void topk_chunk(const topk *o, int64_t begin, int64_t n, const topk_room *r)
{
    const int32_t *live = o->h.live + 1 + begin;
    float *m = r->row, *s = m + LMF_VOCAB_ROWS;
    int64_t v = o->h.v, stride;
    const float *w;
    lmf_gemm sums = lmf__vocab_sums(&o->h);
    lmf__vocab_gather(&o->h, begin, n, r->x);
    for (int64_t i = 0; i < n; i++) {
        m[i] = -INFINITY, s[i] = 0;
        for (int64_t j = 0; j < o->k; j++) /* a token that is none has no probability */
            o->top[live[i] * o->k + j] = -1e30f;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t v0 = 0; v0 < v; v0 += LMF_VOCAB_TILE) {
            int64_t nv = v - v0 < LMF_VOCAB_TILE ? v - v0 : LMF_VOCAB_TILE;
            topk_tile(o, r, n, v0, nv, &w, &stride);
            for (int64_t i = 0; i < n; i++) {
                float *l = r->tile + i * LMF_VOCAB_TILE;
                if (pass) {
                    topk_gradient(o, live[i], l, v0, nv, 1);
                    continue;
                }
                topk_take(o, live[i], l, v0, nv);
                lmf__vocab_online(l, nv, &m[i], &s[i]);
            }
            if (!pass)
                continue;
            sums.m = n, sums.k = nv, sums.a.data = r->tile, sums.b.data = w, sums.b.stride = stride, sums.y = r->sums;
            sums.c = v0 ? r->sums : NULL;
            lmf__vocab_product(&sums, r->gemm);
        }
        for (int64_t i = 0; i < n && !pass; i++)
            topk_settle(o, live[i], m[i], s[i]);
    }
    for (int64_t i = 0; i < n; i++) {
        float u = o->h.weight[live[i]] * o->temperature * o->temperature * o->h.scale;
        for (int64_t e = 0; e < o->h.d; e++)
            o->h.dx[live[i] * o->h.d + e] = u * r->sums[i * o->h.d + e];
    }
}

/* This worker's share of dw, by rows of w; needs what the rows settled. */
static inline void topk_weights(const topk *o, int i_worker, int n_workers, const topk_room *r)
{
    lmf_gemm dw = lmf__vocab_dw(&o->h);
    int64_t begin, end, n_live = o->h.live[0], d = o->h.d, stride;
    const float *w;
    lmf_split(o->h.v, LMF_GEMM_NR, i_worker, n_workers, &begin, &end);
    if (n_live == 0 && end > begin)
        memset(o->h.dw + begin * d, 0, (size_t)((end - begin) * d) * sizeof *o->h.dw);
    dw.b.data = r->x, dw.a.data = r->tile;
    for (int64_t v0 = begin; v0 < end; v0 += LMF_VOCAB_TILE) {
        int64_t nv = end - v0 < LMF_VOCAB_TILE ? end - v0 : LMF_VOCAB_TILE;
        dw.y = o->h.dw + v0 * d, dw.m = nv;
        for (int64_t first = 0; first < n_live; first += LMF_VOCAB_ROWS) {
            int64_t n = n_live - first < LMF_VOCAB_ROWS ? n_live - first : LMF_VOCAB_ROWS;
            lmf__vocab_gather(&o->h, first, n, r->x);
            topk_tile(o, r, n, v0, nv, &w, &stride);
            for (int64_t i = 0; i < n; i++) {
                int64_t t = o->h.live[1 + first + i];
                topk_gradient(o, t, r->tile + i * LMF_VOCAB_TILE, v0, nv, o->h.weight[t] * o->temperature * o->temperature);
            }
            dw.k = n, dw.c = first ? dw.y : NULL;
            lmf__vocab_product(&dw, r->gemm);
        }
    }
}

/* Rows with a weight; the results of the others are 0. */
static inline void topk_count(const topk *o, const lmf_worker *wk)
{
    int64_t begin, end;
    lmf_split(o->h.t, 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        if (o->h.weight[t] == 0) {
            o->kl[t] = 0;
            memset(o->h.dx + t * o->h.d, 0, (size_t)o->h.d * sizeof(float));
        }
    int32_t n = 0;
    for (int64_t t = 0; t < o->h.t && wk->i_worker == 0; t++)
        if (o->h.weight[t] != 0)
            o->h.live[++n] = (int32_t)t;
    if (wk->i_worker == 0)
        o->h.live[0] = n;
}

static lmf_status head_topk_run(const lmf_call *c, const lmf_worker *wk)
{
    topk o = head_topk_of(c);
    int64_t floats = head_topk_layout(&o, NULL).floats, begin, end;
    topk_room r = head_topk_layout(&o, (float *)c->scratch + 3 * list_floats(c) + top_floats(c) + wk->i_worker * floats);
    if (wk->phase == 0) {
        topk_count(&o, wk);
    } else if (wk->phase == 1) {
        lmf_split(o.h.live[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
        int64_t chunks = (end - begin + LMF_VOCAB_ROWS - 1) / LMF_VOCAB_ROWS, each = chunks ? (end - begin + chunks - 1) / chunks : 0;
        for (; begin < end; begin += each)
            topk_chunk(&o, begin, end - begin < each ? end - begin : each, &r);
    } else {
        if (o.h.dw)
            topk_weights(&o, wk->i_worker, wk->n_workers, &r);
        double loss = 0; /* of up to millions of rows */
        for (int32_t i = 1; i <= o.h.live[0] && wk->i_worker == 0; i++)
            loss += (double)o.h.weight[o.h.live[i]] * (double)o.kl[o.h.live[i]];
        if (wk->i_worker == 0)
            *(float *)c->out[0].data = (float)loss;
    }
    return LMF_OK;
}

#define LMF_HEAD_TOPK_ROW(row_name, row_flags, row_match) { .name = row_name, .flags = row_flags, .n_phases = 3, .needs = LMF_ISA_NEEDS, \
    .match = row_match, .scratch = head_topk_scratch, .run = head_topk_run }

#endif
