/* SPDX-License-Identifier: Apache-2.0 */
/* head_kl_rows: what head_kl's row files share; the products are those that device/cpu/vocab.h was told to use. A chunk of rows goes over
 * both heads two or three times, a tile of logits of each at once: for the sums of both, for the mean slope (not of the forward divergence,
 * whose mean is -1), for the gradient.
 * Rule: phase 0 counts the rows (worker 0) and zeroes those that don't count (all), phase 1 takes rows, phase 2 dw and the loss.
 * Scratch: the list, each row's log sum exp of both and its mean slope, then one room a worker. */
#ifndef LMF_OPS_HEAD_KL_ROWS_H
#define LMF_OPS_HEAD_KL_ROWS_H
#include "ops/head_kl/head_kl.h"
#include "device/cpu/vocab.h"

/* student: dx, dw, weight, live and lse are its; teacher has lse alone. Both have v, the tokens of both. */
typedef struct kl_heads {
    lmf_vocab student, teacher;
    float *mean, *kl;                     /* [T]: sum of s slope; D times temperature squared */
    float temperature, beta, mix, log_beta, log_rest;
    int64_t n_w;                          /* rows of dw */
} kl_heads;
typedef struct kl_room { float *x, *teacher, *sums, *s, *t, *w, *head, *row, *gemm; int64_t floats; } kl_room;

static bool head_kl_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return c->in[0].dtype == LMF_F32 && c->in[2].dtype == LMF_F32 && c->in[1].fmt->unpack && c->in[3].fmt->unpack;
}

static int64_t list_floats(const lmf_call *c) { return lmf__gemm_up(lmf_view_rows(&c->in[0]) + 1, 16); }

static kl_heads head_kl_heads(const lmf_call *c)
{
    const lmf_head_kl_attrs *a = c->attrs;
    int64_t t = lmf_view_rows(&c->in[0]), n_w = c->in[1].dim[0], n_head = c->in[3].dim[0], v = n_w < n_head ? n_w : n_head;
    int64_t d = c->in[1].dim[1], e = c->in[3].dim[1], n = list_floats(c);
    float *room = c->scratch;
    kl_heads h = { .temperature = a->temperature, .beta = a->beta, .n_w = n_w, .kl = c->out[1].data };
    h.mix = c->n_in > 5 && c->in[5].n_dims && c->in[5].data ? *(const float *)c->in[5].data : 1;
    h.log_beta = logf(a->beta), h.log_rest = log1pf(-a->beta);
    h.student = (lmf_vocab){ .t = t, .d = d, .v = v, .x = c->in[0].data, .w = { c->in[1].data, c->in[1].fmt, d, true },
        .weight = c->in[4].data, .scale = a->scale / a->temperature, .live = c->scratch, .dx = c->out[2].data,
        .dw = c->n_out == 4 ? c->out[3].data : NULL };
    h.teacher = (lmf_vocab){ .t = t, .d = e, .v = v, .x = c->in[2].data, .w = { c->in[3].data, c->in[3].fmt, e, true },
        .scale = a->teacher_scale / a->temperature, .live = c->scratch };
    if (room)
        h.student.lse = room + n, h.teacher.lse = room + 2 * n, h.mean = room + 3 * n;
    return h;
}

static kl_room head_kl_layout(const kl_heads *h, float *scratch)
{
    kl_room r = { 0 };
    int64_t at = 0, gemm = 0;
    const lmf_vocab *s = &h->student;
    lmf_gemm g[] = { lmf__vocab_logits(s), lmf__vocab_sums(s), lmf__vocab_dw(s), lmf__vocab_logits(&h->teacher), lmf__vocab_logits(s) };
    g[4].k = LMF_GEMM_KC, g[4].a.k_inner = false; /* of f32 products what takes most: fewer k may mean longer blocks */
    for (int i = 0; i < 5; i++) {
        int64_t n = lmf__vocab_gemm_floats(&g[i]);
        gemm = n > gemm ? n : gemm;
    }
#define KL_PART(field, n) (r.field = scratch ? scratch + at : NULL, at += lmf__gemm_up((n), 16))
    KL_PART(x, LMF_VOCAB_ROWS * h->student.d);
    KL_PART(teacher, LMF_VOCAB_ROWS * h->teacher.d);
    KL_PART(sums, LMF_VOCAB_ROWS * h->student.d);
    KL_PART(s, LMF_VOCAB_ROWS * LMF_VOCAB_TILE);
    KL_PART(t, LMF_VOCAB_ROWS * LMF_VOCAB_TILE);
    KL_PART(w, LMF_VOCAB_TILE * h->student.d);
    KL_PART(head, LMF_VOCAB_TILE * h->teacher.d);
    KL_PART(row, 5 * LMF_VOCAB_ROWS); /* maximum and sum of each, D */
    KL_PART(gemm, gemm);
#undef KL_PART
    r.floats = at;
    return r;
}

static size_t head_kl_scratch(const lmf_call *c, const lmf_device *dev)
{
    kl_heads h = head_kl_heads(c);
    return (size_t)(4 * list_floats(c) + dev->n_workers * head_kl_layout(&h, NULL).floats) * sizeof(float);
}

/* log(1 + e) of e from 0 to 1: Cephes' polynomial, around 1 + e or around half of it. */
static inline lmf_vf kl_log1p(lmf_vf e)
{
    static const float c[] = { -1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                               2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f };
    lmf_vi half = e > lmf_vf_set1(0.41421356f);
    lmf_vf x = lmf_vf_select(half, 0.5f * (e - 1), e), p = lmf_vf_set1(7.0376836292e-2f), z = x * x;
    lmf_vf up = lmf_vf_select(half, lmf_vf_set1(1), (lmf_vf){ 0 });
    for (int i = 0; i < 8; i++)
        p = lmf_vf_fma(p, x, lmf_vf_set1(c[i]));
    p = p * x * z;
    p = lmf_vf_fma(up, lmf_vf_set1(-2.12194440e-4f), p);
    p = lmf_vf_fma(z, lmf_vf_set1(-0.5f), p);
    return lmf_vf_fma(up, lmf_vf_set1(0.693359375f), x + p);
}

/* From log-probabilities: the tokens' shares of D, and s slope (its gradient by the logits is s slope - s mean). */
static inline void kl_share(const kl_heads *h, lmf_vf ls, lmf_vf lt, lmf_vf s, lmf_vf *share, lmf_vf *slope)
{
    if (h->beta == 0) {
        lmf_vf t = lmf_vf_exp(lt);
        *share = t * (lt - ls), *slope = -t;
    } else if (h->beta == 1) {
        *share = *slope = s * (ls - lt);
    } else { /* log m = log((1 - beta) s) + log(1 + exp(d)), d = log(beta t) - log((1 - beta) s) */
        lmf_vf beta = lmf_vf_set1(h->beta), d = lt - ls + (h->log_beta - h->log_rest), zero = { 0 };
        lmf_vf soft = lmf_vf_maximum(d, zero) + kl_log1p(lmf_vf_exp(-lmf_vf_maximum(d, -d)));
        lmf_vf to_m = -(h->log_rest + soft), from_m = d - soft - h->log_beta; /* log(s / m), log(t / m) */
        *slope = (1 - beta) * s * to_m;
        *share = beta * lmf_vf_exp(lt) * from_m + *slope;
    }
}

/* A tile of both: of rows n, tokens [v0, v0 + nv). */
static inline void kl_tile(const kl_heads *h, const kl_room *r, int64_t n, int64_t v0, int64_t nv, const float **w, int64_t *stride)
{
    lmf_gemm g = lmf__vocab_logits(&h->student), q = lmf__vocab_logits(&h->teacher);
    g.m = q.m = n, g.n = q.n = nv;
    g.a.data = r->x, g.b.data = *w = lmf__vocab_tile_w(&h->student, v0, nv, r->w, stride), g.b.stride = *stride, g.y = r->s;
    lmf__vocab_product(&g, r->gemm);
    q.a.data = r->teacher, q.b.data = lmf__vocab_tile_w(&h->teacher, v0, nv, r->head, &q.b.stride), q.y = r->t;
    lmf__vocab_product(&q, r->gemm);
    if (h->mix == 1)
        return;
    lmf_vf own = lmf_vf_set1(h->mix), rest = lmf_vf_set1(1 - h->mix);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < nv; j += LMF_VF) {
            float *t = r->t + i * LMF_VOCAB_TILE + j;
            lmf_vf_store(t, lmf_vf_fma(rest, lmf_vf_load(r->s + i * LMF_VOCAB_TILE + j), own * lmf_vf_load(t)));
        }
}

/* Lanes past a tile's last token: no probability in either, and nothing between them. */
static inline void kl_pad(float *s, float *t, int64_t n)
{
    for (int64_t j = n; j < lmf__gemm_up(n, LMF_VF); j++)
        s[j] = t[j] = -1e30f;
}

/* Row i of the tile: adds to the row's mean slope. */
static inline void kl_mean_row(const kl_heads *h, const kl_room *r, int64_t i, int64_t t, int64_t nv)
{
    float *s = r->s + i * LMF_VOCAB_TILE, *q = r->t + i * LMF_VOCAB_TILE;
    lmf_vf lse_s = lmf_vf_set1(h->student.lse[t]), lse_t = lmf_vf_set1(h->teacher.lse[t]), sum = { 0 }, share, slope;
    kl_pad(s, q, nv);
    for (int64_t j = 0; j < nv; j += LMF_VF) {
        lmf_vf ls = lmf_vf_load(s + j) - lse_s;
        kl_share(h, ls, lmf_vf_load(q + j) - lse_t, lmf_vf_exp(ls), &share, &slope);
        sum += slope;
    }
    h->mean[t] += lmf_vf_sum(sum);
}

/* s becomes u times the gradient by the logits; the tile's shares of D go to *kl. */
static inline void kl_gradient_row(const kl_heads *h, const kl_room *r, int64_t i, int64_t t, int64_t nv, float u, float *kl)
{
    float *s = r->s + i * LMF_VOCAB_TILE, *q = r->t + i * LMF_VOCAB_TILE;
    lmf_vf lse_s = lmf_vf_set1(h->student.lse[t]), lse_t = lmf_vf_set1(h->teacher.lse[t]), mean = lmf_vf_set1(h->mean[t]);
    lmf_vf sum = { 0 }, uv = lmf_vf_set1(u), share, slope;
    kl_pad(s, q, nv);
    for (int64_t j = 0; j < nv; j += LMF_VF) {
        lmf_vf ls = lmf_vf_load(s + j) - lse_s, p = lmf_vf_exp(ls);
        kl_share(h, ls, lmf_vf_load(q + j) - lse_t, p, &share, &slope);
        sum += share;
        lmf_vf_store(s + j, uv * (slope - p * mean));
    }
    *kl += lmf_vf_sum(sum);
}

/* Rows live[1 + begin .. ], n of them, n <= LMF_VOCAB_ROWS. */
static inline void kl_chunk(const kl_heads *h, int64_t begin, int64_t n, const kl_room *r)
{
    const int32_t *live = h->student.live + 1 + begin;
    float *m = r->row, *s = m + LMF_VOCAB_ROWS, *mt = s + LMF_VOCAB_ROWS, *st = mt + LMF_VOCAB_ROWS, *kl = st + LMF_VOCAB_ROWS;
    int64_t v = h->student.v, stride;
    const float *w;
    lmf_gemm sums = lmf__vocab_sums(&h->student);
    lmf__vocab_gather(&h->student, begin, n, r->x);
    lmf__vocab_gather(&h->teacher, begin, n, r->teacher);
    for (int64_t i = 0; i < n; i++)
        m[i] = mt[i] = -INFINITY, s[i] = st[i] = kl[i] = 0;
    for (int pass = 0; pass < 3; pass++) {
        for (int64_t v0 = 0; v0 < v && !(pass == 1 && h->beta == 0); v0 += LMF_VOCAB_TILE) {
            int64_t nv = v - v0 < LMF_VOCAB_TILE ? v - v0 : LMF_VOCAB_TILE;
            kl_tile(h, r, n, v0, nv, &w, &stride);
            for (int64_t i = 0; i < n; i++) {
                if (pass == 0) {
                    lmf__vocab_online(r->s + i * LMF_VOCAB_TILE, nv, &m[i], &s[i]);
                    lmf__vocab_online(r->t + i * LMF_VOCAB_TILE, nv, &mt[i], &st[i]);
                } else if (pass == 1) {
                    kl_mean_row(h, r, i, live[i], nv);
                } else {
                    kl_gradient_row(h, r, i, live[i], nv, 1, &kl[i]);
                }
            }
            if (pass < 2)
                continue;
            sums.m = n, sums.k = nv, sums.a.data = r->s, sums.b.data = w, sums.b.stride = stride, sums.y = r->sums;
            sums.c = v0 ? r->sums : NULL;
            lmf__vocab_product(&sums, r->gemm);
        }
        for (int64_t i = 0; i < n && pass == 0; i++) {
            h->student.lse[live[i]] = m[i] + logf(s[i]), h->teacher.lse[live[i]] = mt[i] + logf(st[i]);
            h->mean[live[i]] = h->beta == 0 ? -1 : 0;
        }
    }
    for (int64_t i = 0; i < n; i++) {
        float u = h->student.weight[live[i]] * h->temperature * h->temperature * h->student.scale;
        h->kl[live[i]] = h->temperature * h->temperature * kl[i];
        for (int64_t e = 0; e < h->student.d; e++)
            h->student.dx[live[i] * h->student.d + e] = u * r->sums[i * h->student.d + e];
    }
}

/* This worker's share of dw, by rows of w; needs every row's sums. */
static inline void kl_weights(const kl_heads *h, int i_worker, int n_workers, const kl_room *r)
{
    lmf_gemm dw = lmf__vocab_dw(&h->student);
    int64_t begin, end, n_live = h->student.live[0], d = h->student.d, stride;
    const float *w;
    float none;
    lmf_split(h->n_w, LMF_GEMM_NR, i_worker, n_workers, &begin, &end);
    int64_t dead = n_live == 0 || begin > h->student.v ? begin : h->student.v;
    if (dead < end)
        memset(h->student.dw + dead * d, 0, (size_t)((end - dead) * d) * sizeof *h->student.dw);
    end = end < dead ? end : dead;
    dw.b.data = r->x, dw.a.data = r->s;
    for (int64_t v0 = begin; v0 < end; v0 += LMF_VOCAB_TILE) {
        int64_t nv = end - v0 < LMF_VOCAB_TILE ? end - v0 : LMF_VOCAB_TILE;
        dw.y = h->student.dw + v0 * d, dw.m = nv;
        for (int64_t first = 0; first < n_live; first += LMF_VOCAB_ROWS) {
            int64_t n = n_live - first < LMF_VOCAB_ROWS ? n_live - first : LMF_VOCAB_ROWS;
            lmf__vocab_gather(&h->student, first, n, r->x);
            lmf__vocab_gather(&h->teacher, first, n, r->teacher);
            kl_tile(h, r, n, v0, nv, &w, &stride);
            for (int64_t i = 0; i < n; i++) {
                int64_t t = h->student.live[1 + first + i];
                kl_gradient_row(h, r, i, t, nv, h->student.weight[t] * h->temperature * h->temperature, &none);
            }
            dw.k = n, dw.c = first ? dw.y : NULL;
            lmf__vocab_product(&dw, r->gemm);
        }
    }
}

/* Rows with a weight; the results of the others are 0. */
static inline void kl_count(const kl_heads *h, const lmf_worker *wk)
{
    int64_t begin, end;
    lmf_split(h->student.t, 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        if (h->student.weight[t] == 0) {
            h->kl[t] = 0;
            memset(h->student.dx + t * h->student.d, 0, (size_t)h->student.d * sizeof(float));
        }
    int32_t n = 0;
    for (int64_t t = 0; t < h->student.t && wk->i_worker == 0; t++)
        if (h->student.weight[t] != 0)
            h->student.live[++n] = (int32_t)t;
    if (wk->i_worker == 0)
        h->student.live[0] = n;
}

static lmf_status head_kl_run(const lmf_call *c, const lmf_worker *wk)
{
    kl_heads h = head_kl_heads(c);
    int64_t floats = head_kl_layout(&h, NULL).floats, begin, end;
    kl_room r = head_kl_layout(&h, (float *)c->scratch + 4 * list_floats(c) + wk->i_worker * floats);
    if (wk->phase == 0) {
        kl_count(&h, wk);
    } else if (wk->phase == 1) {
        lmf_split(h.student.live[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
        int64_t chunks = (end - begin + LMF_VOCAB_ROWS - 1) / LMF_VOCAB_ROWS, each = chunks ? (end - begin + chunks - 1) / chunks : 0;
        for (; begin < end; begin += each)
            kl_chunk(&h, begin, end - begin < each ? end - begin : each, &r);
    } else {
        if (h.student.dw)
            kl_weights(&h, wk->i_worker, wk->n_workers, &r);
        double loss = 0; /* of up to millions of rows */
        for (int32_t i = 1; i <= h.student.live[0] && wk->i_worker == 0; i++)
            loss += (double)h.student.weight[h.student.live[i]] * (double)h.kl[h.student.live[i]];
        if (wk->i_worker == 0)
            *(float *)c->out[0].data = (float)loss;
    }
    return LMF_OK;
}

#define LMF_HEAD_KL_ROW(row_name, row_flags, row_match) { .name = row_name, .flags = row_flags, .n_phases = 3, .needs = LMF_ISA_NEEDS, \
    .match = row_match, .scratch = head_kl_scratch, .run = head_kl_run }

#endif
