/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: dq of a row sums over key blocks in order, dk and dv of a key over q rows in order, whichever loop is outside. So a
 * whole sequence and kv head can be one task (scores once), or, where too few of those are there for the workers, dq by
 * query tiles in phase 1 and dk, dv by key blocks in phase 2 (scores twice), with the same bits.
 * Phase 0: delta = sum over c of do * o; zero dq, and what no sequence owns of dk and dv. */
#include "base/team.h"
#include "ops/attention/attention_tile.h"

enum { BWD_TILE = 96, WANT_DQ = 1, WANT_DKV = 2 };

typedef struct desk {
    float *kt, *vt, *flat, *rows;          /* keys: [c][64] twice, [64][cp], 8 c for lmf__at_turn */
    float *q, *d_o, *dq;                   /* [n_q][cp] */
    float *p, *ds;                         /* [n_q][64] */
    float *lse, *delta;                    /* [n_q] */
    float *dk, *dv;                        /* [64][cp] */
} desk;

static int64_t tile_most(const lmf__at_tile *t) { return lmf__at_max(t->g, BWD_TILE); }
static int64_t desk_floats(const lmf__at_tile *t)
{
    return lmf__at_up(LMF__AT_KEYS * (2 * t->c + 3 * t->cp) + 8 * t->c + tile_most(t) * (3 * t->cp + 2 * LMF__AT_KEYS + 2), 16);
}
static desk desk_at(const lmf__at_tile *t, float *p)
{
    int64_t n_q = tile_most(t), wide = LMF__AT_KEYS * t->cp, turned = LMF__AT_KEYS * t->c;
    desk d = { .kt = p, .vt = p + turned, .flat = p + 2 * turned };
    d.dk = d.flat + wide, d.dv = d.dk + wide, d.q = d.dv + wide, d.d_o = d.q + n_q * t->cp, d.dq = d.d_o + n_q * t->cp;
    d.p = d.dq + n_q * t->cp, d.ds = d.p + n_q * LMF__AT_KEYS, d.lse = d.ds + n_q * LMF__AT_KEYS, d.delta = d.lse + n_q, d.rows = d.delta + n_q;
    return d;
}

typedef struct job {
    const lmf_call *c;
    lmf__at_tile t;                        /* t.last: first row of the tile, from begin */
    desk d;
    float *delta;                          /* [T, H] */
    int64_t H, qw, kw, begin, n_rows, hk;  /* the segment and kv head in work */
    int64_t most;                          /* query rows a tile */
    int64_t u, n_keys, k_stride;           /* key block in work, from begin */
    const float *k;                        /* its keys as rows */
} job;

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dtype == LMF_F32;
}
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_attrs *a = c->attrs;
    lmf__at_tile t = lmf__at_tile_of(a);
    return (size_t)(lmf__at_up(c->in[0].dim[0] * a->n_heads, 16) + dev->n_workers * desk_floats(&t)) * sizeof(float);
}

static float *at_q(const job *j, const lmf_view *v) /* the tile's first row, first head */
{
    return (float *)v->data + (j->begin + j->t.last) * j->qw + j->hk * j->t.g * j->t.c;
}
static int64_t at_kv(const job *j) { return (j->begin + j->u) * j->kw + j->hk * j->t.c; }

static void key_block(job *j, int64_t u)
{
    const lmf__at_tile *t = &j->t;
    int64_t row[LMF__AT_KEYS];
    j->u = u, j->n_keys = lmf__at_min(LMF__AT_KEYS, j->n_rows - u);
    for (int64_t i = 0; i < j->n_keys; i++)
        row[i] = i;
    lmf__at_side k = { (const char *)((const float *)j->c->in[1].data + at_kv(j)), j->c->in[1].fmt, (size_t)j->kw * sizeof(float) };
    lmf__at_side v = { (const char *)((const float *)j->c->in[2].data + at_kv(j)), j->c->in[2].fmt, (size_t)j->kw * sizeof(float) };
    lmf__at_turn(&k, row, NULL, false, j->n_keys, t->c, j->d.kt, j->d.rows);
    lmf__at_turn(&v, row, NULL, false, j->n_keys, t->c, j->d.vt, j->d.rows);
    j->k = lmf__at_flat(&k, row, NULL, false, j->n_keys, t->c, t->cp, j->d.flat, &j->k_stride);
}

/* Rows from i of the segment; dq as far as it is summed. */
static void query_tile(job *j, int64_t i)
{
    lmf__at_tile *t = &j->t;
    t->last = i, t->n = lmf__at_min(j->most, j->n_rows - i);
    lmf__at_gather(t, at_q(j, &j->c->in[0]), j->qw, j->d.q);
    lmf__at_gather(t, at_q(j, &j->c->in[5]), j->qw, j->d.d_o);
    lmf__at_gather(t, at_q(j, &j->c->out[0]), j->qw, j->d.dq);
    for (int64_t r = 0; r < t->n * t->g; r++) {
        int64_t at = (j->begin + i + r / t->g) * j->H + j->hk * t->g + r % t->g;
        j->d.lse[r] = ((const float *)j->c->in[4].data)[at];
        j->d.delta[r] = j->delta[at];
    }
}
static void query_tile_store(const job *j)
{
    const lmf__at_tile *t = &j->t;
    for (int64_t r = 0; r < t->n * t->g; r++)
        memcpy(at_q(j, &j->c->out[0]) + r / t->g * j->qw + r % t->g * t->c, j->d.dq + r * t->cp, (size_t)t->c * sizeof(float));
}

/* Of a capped score by the product. */
static inline lmf_vf slope_of(const lmf__at_tile *t, lmf_vf score)
{
    lmf_vf part = score / lmf_vf_set1(t->cap);
    return (1 - part * part) * lmf_vf_set1(t->scale);
}

/* Scores and do v^T in lanes [j0, j1) become p and ds; the lanes around are zeroed, as dk and dv read them. */
static void weigh(const lmf__at_tile *t, float *p, float *ds, int64_t j0, int64_t j1, int64_t lo, int64_t hi, float lse, float delta)
{
    const bool caps = t->cap > 0;
    const lmf_vf by = lmf_vf_set1(caps ? 1 : t->scale), zero = { 0 };
    if (caps)
        lmf__at_cap(p, j0, j1, t->scale, t->cap);
    for (int64_t j = 0; j < LMF__AT_KEYS; j += LMF_VF) {
        lmf_vf x = zero, y = zero;
        if (j >= j0 && j < j1) {
            x = lmf__at_exp(-lmf__at_greater(lmf_vf_set1(-88), lmf_vf_set1(lse) - lmf_vf_load(p + j) * by)); /* 88: where lse is not this row's */
            y = x * (lmf_vf_load(ds + j) - lmf_vf_set1(delta)) * (caps ? slope_of(t, lmf_vf_load(p + j)) : by);
            if (j < lo || j + LMF_VF > hi) {
                lmf_vi seen = lmf__at_seen(j, lo, hi);
                x = lmf_vf_select(seen, x, zero), y = lmf_vf_select(seen, y, zero);
            }
        }
        lmf_vf_store(p + j, x);
        lmf_vf_store(ds + j, y);
    }
}

static const float ones[LMF__AT_GROUP] = { 1, 1, 1, 1, 1, 1 };

/* p and ds of the tile and the key block, and what they add to dq. */
static void pair_dq(const job *j, int want)
{
    const lmf__at_tile *t = &j->t;
    const desk *d = &j->d;
    for (int64_t r = 0, n_q = t->n * t->g; r < n_q; r += LMF__AT_GROUP) {
        int64_t rows = lmf__at_min(LMF__AT_GROUP, n_q - r), i0 = r / t->g, i1 = (r + rows - 1) / t->g, cp = t->cp;
        int64_t lo = lmf__at_max(0, lmf__at_first(t, i0) - j->u), hi = lmf__at_min(j->n_keys, t->last + i1 + 1 - j->u);
        int64_t j0 = lo / LMF_VF * LMF_VF, j1 = lmf__at_up(hi, LMF_VF);
        float *p = d->p + r * LMF__AT_KEYS, *ds = d->ds + r * LMF__AT_KEYS;
        if (lo >= hi) {
            memset(p, 0, (size_t)(rows * LMF__AT_KEYS) * sizeof *p);
            memset(ds, 0, (size_t)(rows * LMF__AT_KEYS) * sizeof *ds);
            continue;
        }
        lmf__at_mul_run(&(lmf__at_mul){ d->q + r * cp, cp, 1, t->c, d->kt + j0, LMF__AT_KEYS, p + j0, LMF__AT_KEYS, NULL }, rows, j1 - j0);
        lmf__at_mul_run(&(lmf__at_mul){ d->d_o + r * cp, cp, 1, t->c, d->vt + j0, LMF__AT_KEYS, ds + j0, LMF__AT_KEYS, NULL }, rows, j1 - j0);
        for (int64_t k = 0; k < rows; k++) {
            int64_t i = (r + k) / t->g, first = lmf__at_max(0, lmf__at_first(t, i) - j->u), last = lmf__at_min(j->n_keys, t->last + i + 1 - j->u);
            weigh(t, p + k * LMF__AT_KEYS, ds + k * LMF__AT_KEYS, j0, j1, first, last, d->lse[r + k], d->delta[r + k]);
        }
        if (want & WANT_DQ)
            lmf__at_mul_run(&(lmf__at_mul){ ds + lo, LMF__AT_KEYS, 1, hi - lo, j->k + lo * j->k_stride, j->k_stride, d->dq + r * cp, cp, ones }, rows, cp);
    }
}

/* dv += p^T do, dk += ds^T q: six keys at a time, over the q rows that may see one of them. */
static void pair_dkv(const job *j)
{
    const lmf__at_tile *t = &j->t;
    const desk *d = &j->d;
    for (int64_t k = 0; k < j->n_keys; k += LMF__AT_GROUP) {
        int64_t keys = lmf__at_min(LMF__AT_GROUP, j->n_keys - k), cp = t->cp, i0 = lmf__at_max(0, j->u + k - t->last), i1 = t->n;
        if (t->window)
            i1 = lmf__at_min(i1, j->u + k + keys - 1 + t->window - t->last);
        if (i0 >= i1)
            continue;
        int64_t from = i0 * t->g * LMF__AT_KEYS + k, n = (i1 - i0) * t->g, at = i0 * t->g * cp;
        lmf__at_mul_run(&(lmf__at_mul){ d->p + from, 1, LMF__AT_KEYS, n, d->d_o + at, cp, d->dv + k * cp, cp, ones }, keys, cp);
        lmf__at_mul_run(&(lmf__at_mul){ d->ds + from, 1, LMF__AT_KEYS, n, d->q + at, cp, d->dk + k * cp, cp, ones }, keys, cp);
    }
}

/* One key block against all rows that see it: dk and dv are finished, dq if wanted moves on. */
static void block_run(job *j, int64_t u, int want)
{
    const lmf__at_tile *t = &j->t;
    key_block(j, u);
    memset(j->d.dk, 0, (size_t)(LMF__AT_KEYS * t->cp) * sizeof(float));
    memset(j->d.dv, 0, (size_t)(LMF__AT_KEYS * t->cp) * sizeof(float));
    int64_t end = t->window ? lmf__at_min(j->n_rows, u + j->n_keys - 1 + t->window) : j->n_rows;
    for (int64_t i = u; i < end; i += j->most) {
        query_tile(j, i);
        pair_dq(j, want);
        if (want & WANT_DQ)
            query_tile_store(j);
        pair_dkv(j);
    }
    for (int64_t k = 0; k < j->n_keys; k++) {
        memcpy((float *)j->c->out[1].data + at_kv(j) + k * j->kw, j->d.dk + k * t->cp, (size_t)t->c * sizeof(float));
        memcpy((float *)j->c->out[2].data + at_kv(j) + k * j->kw, j->d.dv + k * t->cp, (size_t)t->c * sizeof(float));
    }
}

/* One query tile against all keys that it sees: dq alone. */
static void tile_run(job *j, int64_t i)
{
    query_tile(j, i);
    for (int64_t u = lmf__at_first(&j->t, 0) / LMF__AT_KEYS * LMF__AT_KEYS; u < i + j->t.n; u += LMF__AT_KEYS) {
        key_block(j, u);
        pair_dq(j, WANT_DQ);
    }
    query_tile_store(j);
}

/* ---- who does what ---- */

static double segment_cost(const job *j)
{
    lmf__at_tile t = j->t;
    double rows = (double)j->n_rows, w = (double)lmf__at_min(t.window ? t.window : j->n_rows, j->n_rows);
    return rows * w - w * w / 2 + 32 * rows;
}

static bool segment(job *j, int64_t s)
{
    int64_t end;
    lmf__at_segment(&j->c->in[6], &j->c->in[7], s, &j->begin, &end);
    j->n_rows = end - j->begin;
    return j->n_rows > 0;
}

enum { MOST_WORKERS = 256, CLASSES = 6 };

/* Whole sequences and kv heads, large ones first (by powers of two below the largest), each to who has least: *most becomes
 * the largest load. Does this worker's tasks if run. */
static void whole_tasks(job *j, const lmf_worker *wk, int64_t n_kv, double largest, bool run, double *most)
{
    double load[MOST_WORKERS] = { 0 };
    for (int k = 0; k < CLASSES; k++)
        for (int64_t s = 0; s + 1 < j->c->in[7].dim[0]; s++) {
            if (!segment(j, s))
                continue;
            double cost = segment_cost(j), hi = k ? ldexp(largest, -k) : INFINITY, lo = k + 1 < CLASSES ? ldexp(largest, -k - 1) : 0;
            for (j->hk = 0; cost >= lo && cost < hi && j->hk < n_kv; j->hk++) {
                int to = 0;
                for (int i = 1; i < wk->n_workers; i++)
                    to = load[i] < load[to] ? i : to;
                load[to] += cost;
                *most = load[to] > *most ? load[to] : *most;
                for (int64_t u = 0; run && to == wk->i_worker && u < j->n_rows; u += LMF__AT_KEYS)
                    block_run(j, u, WANT_DQ | WANT_DKV);
            }
        }
}

/* dq by query tiles (want WANT_DQ), or dk and dv by key blocks. */
static void split_tasks(job *j, const lmf_worker *wk, int64_t n_kv, double total, int want)
{
    lmf__at_share share = { .total = total, .i_worker = wk->i_worker, .n_workers = wk->n_workers };
    for (int64_t s = 0; s + 1 < j->c->in[7].dim[0]; s++) {
        if (!segment(j, s))
            continue;
        int64_t step = want == WANT_DQ ? j->most : LMF__AT_KEYS;
        double whole = segment_cost(j), square = (double)j->n_rows * (double)j->n_rows;
        for (int64_t i = 0; i < j->n_rows; i += step) {
            double a = (double)i, b = (double)lmf__at_min(i + step, j->n_rows), part = (b - a) / (double)j->n_rows;
            if (!j->t.window)
                part = want == WANT_DQ ? (b * b - a * a) / square : part * 2 - (b * b - a * a) / square;
            for (j->hk = 0; j->hk < n_kv; j->hk++) {
                if (!lmf__at_mine(&share, whole * part))
                    continue;
                if (want == WANT_DQ)
                    tile_run(j, i);
                else
                    block_run(j, i, WANT_DKV);
            }
        }
    }
}

static void prepare(job *j, const lmf_worker *wk, int64_t n_kv)
{
    const lmf_call *c = j->c;
    int64_t begin, end, C = j->t.c;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        memset((float *)c->out[0].data + t * j->qw, 0, (size_t)j->qw * sizeof(float));
        if (lmf__at_dead(&c->in[6], &c->in[7], t))
            for (int i = 1; i < 3; i++)
                memset((float *)c->out[i].data + t * j->kw, 0, (size_t)(n_kv * C) * sizeof(float));
        for (int64_t h = 0; h < j->H; h++) {
            const float *o = (const float *)c->in[3].data + t * j->qw + h * C, *d_o = (const float *)c->in[5].data + t * j->qw + h * C;
            lmf_vf sum = { 0 };
            int64_t i = 0;
            for (; i + LMF_VF <= C; i += LMF_VF)
                sum = lmf_vf_fma(lmf_vf_load(o + i), lmf_vf_load(d_o + i), sum);
            float x = lmf_vf_sum(sum);
            for (; i < C; i++)
                x += o[i] * d_o[i];
            j->delta[t * j->H + h] = x;
        }
    }
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    job j = { .c = c, .t = lmf__at_tile_of(a), .delta = c->scratch, .H = a->n_heads, .qw = c->in[0].dim[1], .kw = c->in[1].dim[1] };
    int64_t T = c->in[0].dim[0], n_kv = a->n_kv_heads;
    double total = 0, largest = 0, most = 0;
    j.d = desk_at(&j.t, (float *)c->scratch + lmf__at_up(T * j.H, 16) + wk->i_worker * desk_floats(&j.t));
    j.most = lmf__at_max(1, BWD_TILE / j.t.g);
    if (wk->phase == 0) {
        prepare(&j, wk, n_kv);
        return LMF_OK;
    }
    for (int64_t s = 0; s + 1 < c->in[7].dim[0]; s++)
        if (segment(&j, s)) {
            double cost = segment_cost(&j);
            total += cost * (double)n_kv;
            largest = cost > largest ? cost : largest;
        }
    whole_tasks(&j, wk, n_kv, largest, false, &most);
    bool split = 5 * most > 7 * total / wk->n_workers; /* products with scores once, and twice */
    if (!split && wk->phase == 1)
        whole_tasks(&j, wk, n_kv, largest, true, &most);
    if (split)
        split_tasks(&j, wk, n_kv, total, wk->phase == 1 ? WANT_DQ : WANT_DKV);
    return LMF_OK;
}

LMF_CPU_ROWS(attention_bwd) = {
    { .name = "attention_bwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_I32, LMF_I32, LMF_F32, LMF_F32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS, .n_phases = 3, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = bwd },
    { 0 }
};
