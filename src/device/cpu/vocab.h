/* SPDX-License-Identifier: Apache-2.0 */
/* vocab: softmax over the rows of a large matrix w [V, D], for *_cpu.c files of loss heads. Logits are
 * scale * x w^T; they live one tile [256 rows of x, 384 rows of w] at a time, never as [T, V].
 *
 * lmf_vocab_rows goes over w once: it keeps each row's running maximum m, the sum s of exp(logit - m) and, for the
 * gradient, the sum of exp(logit - m) w; a tile with a greater maximum rescales what was summed. With
 *     logp_t = logit[target] - log sum exp(logit),   u_t = d loss / d logp_t,   p = softmax(logits)
 *     dx_t   = scale u_t (w[target] - sum over v of p_v w_v)
 *     dw_v   = scale * sum over t of u_t ([v = target_t] - p_tv) x_t
 * A row counts if its weight is not 0 and its target is in [0, V). The others cost nothing; their results are 0.
 *
 * Rule: a row's bits depend on that row and w alone: not on worker, chunk or neighbours (device/cpu/gemm.h, gemm_bf16.h). dw sums rows in
 * chunks of LMF_VOCAB_ROWS counted rows, in order. */
#ifndef LMF_DEVICE_CPU_VOCAB_H
#define LMF_DEVICE_CPU_VOCAB_H
#include "device/device.h"
#include "device/cpu/gemm.h"
#ifdef LMF_VOCAB_BF16 /* defined by <op>_bf16.c: products with factors in bf16 */
#include "device/cpu/gemm_bf16.h"
#endif

enum { LMF_VOCAB_ROWS = 256, LMF_VOCAB_TILE = 384 };

typedef struct lmf_vocab {
    int64_t t, d, v;
    const float *x;            /* [T, D] dense */
    lmf_gemm_side w;           /* [V, D] */
    const int32_t *target;     /* [T] */
    const float *weight;       /* [T], or NULL: all count */
    float   scale;
    int32_t *live;             /* [T + 1]: number of rows that count, then their indexes; lmf_vocab_count fills it */
    float   *lse;              /* [T] log sum exp of a row's logits: written by lmf_vocab_rows unless given */
    bool    lse_given;
    float   *logp;             /* [T] or NULL: gets sign * logp */
    float   *dx;               /* [T, D] or NULL */
    float   *dw;               /* [V, D] */
    const float *u;            /* [T] for dx and dw: u_t = sign * u[t] */
    float   sign;
} lmf_vocab;

static inline lmf_gemm lmf__vocab_logits(const lmf_vocab *h)
{
    static const lmf_format f32 = { .dtype = LMF_F32, .block = 1, .block_bytes = 4, .flags = LMF_FORMAT_FLOAT, .name = "f32" };
    lmf_gemm g = { .m = LMF_VOCAB_ROWS, .n = LMF_VOCAB_TILE, .k = h->d, .a = { NULL, &f32, h->d, true }, .b = { NULL, &f32, h->d, true },
                   .alpha = h->scale, .y_stride = LMF_VOCAB_TILE };
    return g;
}
/* sums [R, D] = tile [R, nv] w [nv, D] */
static inline lmf_gemm lmf__vocab_sums(const lmf_vocab *h)
{
    lmf_gemm g = lmf__vocab_logits(h);
    g.n = h->d, g.k = LMF_VOCAB_TILE, g.a.stride = LMF_VOCAB_TILE, g.b.k_inner = false, g.alpha = 1, g.y_stride = g.c_stride = h->d;
    return g;
}
/* dw [nv, D] = tile^T [nv, R] x [R, D] */
static inline lmf_gemm lmf__vocab_dw(const lmf_vocab *h)
{
    lmf_gemm g = lmf__vocab_sums(h);
    g.m = LMF_VOCAB_TILE, g.k = LMF_VOCAB_ROWS, g.a.k_inner = false, g.alpha = h->scale;
    return g;
}

/* One worker's product, and the floats that it needs. */
#ifdef LMF_VOCAB_BF16
static inline int64_t lmf__vocab_gemm_floats(const lmf_gemm *g) { return (int64_t)(lmf_gemm_bf16_bytes(&(lmf_gemm_bf16){ .y = *g }, 1) / sizeof(float)); }
static inline void lmf__vocab_product(const lmf_gemm *g, float *scratch)
{
    lmf_gemm_bf16 o = { .y = *g };
    lmf_gemm_bf16_pack(&o, scratch, 0, 1);
    lmf_gemm_bf16_run(&o, scratch, 0, 1);
}
#else
static inline int64_t lmf__vocab_gemm_floats(const lmf_gemm *g) { return lmf_gemm_floats(g); }
static inline void lmf__vocab_product(const lmf_gemm *g, float *scratch) { lmf_gemm_part(g, 0, g->m, 0, g->n, scratch); }
#endif

typedef struct lmf__vocab_room { float *x, *sums, *tile, *w, *row, *gemm; int64_t floats; } lmf__vocab_room;
static inline lmf__vocab_room lmf__vocab_layout(const lmf_vocab *h, float *scratch)
{
    lmf__vocab_room r = { 0 };
    lmf_gemm logits = lmf__vocab_logits(h), sums = lmf__vocab_sums(h), dw = lmf__vocab_dw(h), f32 = logits;
    _Static_assert((int)LMF_VOCAB_ROWS > (int)LMF_GEMM_MC_TURNED, "else fewer columns would be packed at a time");
    f32.k = LMF_GEMM_KC, f32.a.k_inner = false; /* of f32 products what takes most: fewer k may mean longer blocks */
    int64_t rows = lmf__gemm_up(LMF_VOCAB_ROWS * h->d, 16), at = 0, gemm = 0;
    for (int i = 0; i < 4; i++) {
        int64_t n = lmf__vocab_gemm_floats((const lmf_gemm *[]){ &logits, &sums, &dw, &f32 }[i]);
        gemm = n > gemm ? n : gemm;
    }
#define LMF__VOCAB_PART(field, n) (r.field = scratch ? scratch + at : NULL, at += (n))
    LMF__VOCAB_PART(x, rows);
    LMF__VOCAB_PART(sums, rows);
    LMF__VOCAB_PART(tile, LMF_VOCAB_ROWS * LMF_VOCAB_TILE);
    LMF__VOCAB_PART(w, lmf__gemm_up(LMF_VOCAB_TILE * h->d, 16));
    LMF__VOCAB_PART(row, lmf__gemm_up(h->d, 16) + 3 * LMF_VOCAB_ROWS); /* one row of w; maximum, sum, target's logit */
    LMF__VOCAB_PART(gemm, lmf__gemm_up(gemm, 16));
#undef LMF__VOCAB_PART
    r.floats = at;
    return r;
}
/* Floats for each worker, a multiple of 16. About 256 (2 D + 384) + 384 D. */
static inline int64_t lmf_vocab_floats(const lmf_vocab *h) { return lmf__vocab_layout(h, NULL).floats; }

static inline void lmf_vocab_count(const lmf_vocab *h)
{
    int32_t n = 0;
    for (int64_t t = 0; t < h->t; t++)
        if ((!h->weight || h->weight[t] != 0) && h->target[t] >= 0 && h->target[t] < h->v)
            h->live[++n] = (int32_t)t;
    h->live[0] = n;
}

/* Zeroes the results of rows [begin, end) that don't count. */
static inline void lmf_vocab_skip(const lmf_vocab *h, int64_t begin, int64_t end)
{
    for (int64_t t = begin; t < end; t++) {
        if ((!h->weight || h->weight[t] != 0) && h->target[t] >= 0 && h->target[t] < h->v)
            continue;
        if (h->logp)
            h->logp[t] = 0;
        if (h->lse && !h->lse_given)
            h->lse[t] = 0;
        if (h->dx)
            memset(h->dx + t * h->d, 0, (size_t)h->d * sizeof *h->dx);
    }
}

static inline const float *lmf__vocab_tile_w(const lmf_vocab *h, int64_t v0, int64_t nv, float *room, int64_t *stride)
{
    *stride = h->w.stride;
    if (h->w.fmt->dtype == LMF_F32)
        return (const float *)h->w.data + v0 * h->w.stride;
    *stride = h->d;
    for (int64_t j = 0; j < nv; j++)
        h->w.fmt->unpack((const char *)h->w.data + lmf_format_bytes(h->w.fmt, (v0 + j) * h->w.stride), room + j * h->d, h->d);
    return room;
}

static inline void lmf__vocab_gather(const lmf_vocab *h, int64_t begin, int64_t n, float *out)
{
    for (int64_t r = 0; r < n; r++)
        memcpy(out + r * h->d, h->x + h->live[1 + begin + r] * h->d, (size_t)h->d * sizeof *out);
}

/* l becomes exp(l - m) with m raised to the tile's maximum; *s likewise. Returns what older sums must be multiplied by. */
static inline float lmf__vocab_online(float *l, int64_t n, float *m, float *s)
{
    lmf_vf top = lmf__gemm_all(*m), sum = { 0 };
    int64_t padded = lmf__gemm_up(n, LMF_VF);
    for (int64_t j = n; j < padded; j++)
        l[j] = -INFINITY;
    for (int64_t j = 0; j < padded; j += LMF_VF)
        top = lmf_vf_maximum(top, lmf_vf_load(l + j));
    float new_m = lmf_vf_max(top), f = new_m > *m ? lmf_vf_exp(lmf__gemm_all(*m - new_m))[0] : 1;
    lmf_vf mv = lmf__gemm_all(new_m);
    for (int64_t j = 0; j < padded; j += LMF_VF) {
        lmf_vf e = lmf_vf_exp(lmf_vf_load(l + j) - mv);
        lmf_vf_store(l + j, e);
        sum += e;
    }
    *s = *s * f + lmf_vf_sum(sum);
    *m = new_m;
    return f;
}

/* l becomes scale * exp(l - m). Up to a vector past n is overwritten: it lies within the tile's row and is not read. */
static inline void lmf__vocab_exp(float *l, int64_t n, float m, float scale)
{
    lmf_vf mv = lmf__gemm_all(m), sv = lmf__gemm_all(scale);
    for (int64_t j = 0; j < n; j += LMF_VF)
        lmf_vf_store(l + j, sv * lmf_vf_exp(lmf_vf_load(l + j) - mv));
}

/* Rows live[1 + begin .. ], n of them, n <= LMF_VOCAB_ROWS. */
static inline void lmf__vocab_chunk(const lmf_vocab *h, int64_t begin, int64_t n, const lmf__vocab_room *r)
{
    const int32_t *live = h->live + 1 + begin;
    float *m = r->row + lmf__gemm_up(h->d, 16), *s = m + LMF_VOCAB_ROWS, *hit = s + LMF_VOCAB_ROWS;
    lmf_gemm logits = lmf__vocab_logits(h), sums = lmf__vocab_sums(h);
    lmf__vocab_gather(h, begin, n, r->x);
    for (int64_t i = 0; i < n; i++)
        m[i] = -INFINITY, s[i] = 0, hit[i] = 0;
    logits.m = sums.m = n, logits.a.data = r->x, logits.y = r->tile;
    sums.a.data = r->tile, sums.y = r->sums;
    for (int64_t v0 = 0; v0 < h->v; v0 += LMF_VOCAB_TILE) {
        int64_t nv = h->v - v0 < LMF_VOCAB_TILE ? h->v - v0 : LMF_VOCAB_TILE;
        logits.n = sums.k = nv;
        logits.b.data = sums.b.data = lmf__vocab_tile_w(h, v0, nv, r->w, &logits.b.stride);
        sums.b.stride = logits.b.stride;
        lmf__vocab_product(&logits, r->gemm);
        for (int64_t i = 0; i < n; i++) {
            float *l = r->tile + i * LMF_VOCAB_TILE;
            int64_t at = h->target[live[i]] - v0;
            if (at >= 0 && at < nv)
                hit[i] = l[at];
            if (h->lse_given) {
                lmf__vocab_exp(l, nv, h->lse[live[i]], 1);
                continue;
            }
            float f = lmf__vocab_online(l, nv, &m[i], &s[i]);
            for (int64_t e = 0; f != 1 && v0 && h->dx && e < h->d; e++)
                r->sums[i * h->d + e] *= f;
        }
        sums.c = v0 ? r->sums : NULL;
        if (h->dx)
            lmf__vocab_product(&sums, r->gemm);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t t = live[i];
        if (!h->lse_given)
            h->lse[t] = m[i] + logf(s[i]);
        if (h->logp)
            h->logp[t] = h->sign * (hit[i] - h->lse[t]);
        if (!h->dx)
            continue;
        int64_t stride;
        const float *w = lmf__vocab_tile_w(h, h->target[t], 1, r->row, &stride);
        float u = h->scale * h->sign * h->u[t], inv = h->lse_given ? 1 : 1 / s[i];
        for (int64_t e = 0; e < h->d; e++)
            h->dx[t * h->d + e] = u * (w[e] - r->sums[i * h->d + e] * inv);
    }
}

/* This worker's share of the rows that count: lse, logp and dx. */
static inline void lmf_vocab_rows(const lmf_vocab *h, int i_worker, int n_workers, float *scratch)
{
    lmf__vocab_room r = lmf__vocab_layout(h, scratch);
    int64_t begin, end;
    lmf_split(h->live[0], 1, i_worker, n_workers, &begin, &end);
    int64_t chunks = (end - begin + LMF_VOCAB_ROWS - 1) / LMF_VOCAB_ROWS, each = chunks ? (end - begin + chunks - 1) / chunks : 0;
    for (; begin < end; begin += each)
        lmf__vocab_chunk(h, begin, end - begin < each ? end - begin : each, &r);
}

/* This worker's share of dw, by rows of w; needs every row's lse. */
static inline void lmf_vocab_weights(const lmf_vocab *h, int i_worker, int n_workers, float *scratch)
{
    lmf__vocab_room r = lmf__vocab_layout(h, scratch);
    lmf_gemm logits = lmf__vocab_logits(h), dw = lmf__vocab_dw(h);
    int64_t begin, end, n_live = h->live[0];
    lmf_split(h->v, LMF_GEMM_NR, i_worker, n_workers, &begin, &end);
    if (n_live == 0 && end > begin)
        memset(h->dw + begin * h->d, 0, (size_t)((end - begin) * h->d) * sizeof *h->dw);
    logits.a.data = dw.b.data = r.x, logits.y = r.tile, dw.a.data = r.tile;
    for (int64_t v0 = begin; v0 < end; v0 += LMF_VOCAB_TILE) {
        int64_t nv = end - v0 < LMF_VOCAB_TILE ? end - v0 : LMF_VOCAB_TILE;
        logits.b.data = lmf__vocab_tile_w(h, v0, nv, r.w, &logits.b.stride);
        dw.y = h->dw + v0 * h->d, logits.n = dw.m = nv;
        for (int64_t first = 0; first < n_live; first += LMF_VOCAB_ROWS) {
            int64_t n = n_live - first < LMF_VOCAB_ROWS ? n_live - first : LMF_VOCAB_ROWS;
            logits.m = dw.k = n;
            lmf__vocab_gather(h, first, n, r.x);
            lmf__vocab_product(&logits, r.gemm);
            for (int64_t i = 0; i < n; i++) {
                int64_t t = h->live[1 + first + i], at = h->target[t] - v0;
                float *l = r.tile + i * LMF_VOCAB_TILE, u = h->sign * h->u[t];
                lmf__vocab_exp(l, nv, h->lse[t], -u);
                if (at >= 0 && at < nv)
                    l[at] += u;
            }
            dw.c = first ? dw.y : NULL;
            lmf__vocab_product(&dw, r.gemm);
        }
    }
}

#endif
