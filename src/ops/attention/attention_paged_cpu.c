/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: with few rows a task is one chunk of 256 keys, and phase 1 merges a row's chunks in order; with many a task does all
 * chunks of its tile. Both make the same sums in the same order, so decode, prefill and any mix give a row the same bits. */
#include "base/team.h"
#include "ops/attention/attention_paged_rows.h"

enum { FEW_ROWS = 32, MOST_PARTS = 1024 };

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf__ap_dense(c) && c->in[1].fmt->unpack && c->in[2].fmt->unpack;
}

/* Chunks a row of the widest context has if they are tasks of their own, else 0. */
static int64_t n_parts(const lmf_call *c)
{
    int64_t rows = c->in[0].dim[0], n = (c->in[5].dim[1] * c->in[1].dim[1] + LMF__AT_CHUNK - 1) / LMF__AT_CHUNK;
    return rows <= FEW_ROWS && n > 1 && rows * n <= MOST_PARTS ? n : 0;
}
static int64_t tile_most(const lmf__at_tile *t) { return lmf__at_max(t->g, LMF__AT_TILE); }

/* Each worker's desk, then m, l and o of all parts: [part][kv head][row][head of it]. */
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_attrs *a = c->attrs;
    lmf__at_tile t = lmf__at_tile_of(a);
    int64_t parts = n_parts(c) * c->in[0].dim[0] * a->n_heads;
    return (size_t)(dev->n_workers * lmf__at_desk_floats(&t, tile_most(&t)) + parts * (t.cp + 2)) * sizeof(float);
}

typedef struct job {
    const lmf_call *c;
    const lmf_attention_attrs *a;
    const int32_t *pos;
    int64_t T, parts, n_q;          /* parts: n_parts; n_q: q rows of all heads of all rows */
    float *m, *l, *o;              /* of the parts */
    lmf__at_desk d;
} job;

static job job_of(const lmf_call *c, const lmf_worker *wk, const lmf__at_tile *t)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t desk = lmf__at_desk_floats(t, tile_most(t));
    job j = { .c = c, .a = a, .pos = c->in[4].data, .T = c->in[0].dim[0], .parts = n_parts(c) };
    j.d = lmf__at_desk_at(t, tile_most(t), (float *)c->scratch + wk->i_worker * desk);
    j.n_q = j.T * a->n_heads;
    j.o = (float *)c->scratch + wk->n_workers * desk;
    j.m = j.o + j.parts * j.n_q * t->cp;
    j.l = j.m + j.parts * j.n_q;
    return j;
}

static bool task_run(const job *j, const lmf__at_tile *t, int64_t row, int64_t hk, int64_t part)
{
    int64_t width = j->c->in[0].dim[1], head = hk * t->g;
    const lmf__at_desk *d = &j->d;
    lmf__at_keys keys;
    if (!lmf__ap_keys(j->c, row, hk, t->c, &keys))
        return false;
    keys.ahead = hk + 1 < j->a->n_kv_heads;
    lmf__at_gather(t, (const float *)j->c->in[0].data + row * width + head * t->c, width, d->q);
    if (j->parts) {
        int64_t at = ((part * j->a->n_kv_heads + hk) * j->T + row) * t->g;
        return lmf__at_chunk(t, &keys, &d->room, d->q, part * LMF__AT_CHUNK, (part + 1) * LMF__AT_CHUNK, j->m + at, j->l + at, j->o + at * t->cp);
    }
    if (!lmf__at_whole(t, &keys, &d->room, d->q, d->m, d->l, d->o, d->m2, d->l2, d->o2))
        return false;
    lmf__at_write(t, d->l, d->o, (float *)j->c->out[0].data + row * width + head * t->c, width);
    return true;
}

/* All tasks of the tile: counts their cost, or runs this worker's. */
static bool tile_run(const job *j, const lmf__at_tile *t, int64_t row, lmf__at_share *share, bool count)
{
    int64_t first = lmf__at_first(t, 0), last = t->last + t->n - 1, from = 0, to = 0;
    if (j->parts) {
        from = first / LMF__AT_CHUNK, to = last / LMF__AT_CHUNK;
        if (to >= j->parts)
            return false;
    }
    for (int64_t p = from; p <= to; p++) {
        int64_t seen = lmf__at_min(last + 1, (p + 1) * LMF__AT_CHUNK) - lmf__at_max(first, p * LMF__AT_CHUNK);
        double cost = j->parts ? (double)((seen + 16) * (t->n + 2)) : lmf__at_cost(t, 0, t->n);
        for (int64_t hk = 0; hk < j->a->n_kv_heads; hk++) {
            if (count)
                share->total += cost;
            else if (lmf__at_mine(share, cost) && !task_run(j, t, row, hk, p))
                return false;
        }
    }
    return true;
}

/* Phase 1: this worker's q rows, each from its own chunks in order. */
static void merge(const job *j, lmf__at_tile *t, const lmf_worker *wk)
{
    int64_t begin, end;
    lmf_split(j->n_q, 1, wk->i_worker, wk->n_workers, &begin, &end);
    t->n = 1, t->g = 1;
    for (int64_t x = begin; x < end; x++) {
        int64_t row = x / j->a->n_heads, h = x % j->a->n_heads, g = j->a->n_heads / j->a->n_kv_heads;
        if (lmf__ap_dead(j->c, row))
            continue;
        float m = -INFINITY, l = 0, *o = j->d.o;
        t->last = j->pos[row];
        memset(o, 0, (size_t)t->cp * sizeof *o);
        for (int64_t p = lmf__at_first(t, 0) / LMF__AT_CHUNK; p <= t->last / LMF__AT_CHUNK && p < j->parts; p++) {
            int64_t at = ((p * j->a->n_kv_heads + h / g) * j->T + row) * g + h % g;
            lmf__at_merge(t->cp, &m, &l, o, j->m[at], j->l[at], j->o + at * t->cp);
        }
        lmf__at_write(t, &l, o, (float *)j->c->out[0].data + x * t->c, 0);
    }
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    lmf__at_tile t = lmf__at_tile_of(c->attrs);
    job j = job_of(c, wk, &t);
    lmf__at_share share = { .i_worker = wk->i_worker, .n_workers = wk->n_workers };
    int64_t width = c->in[0].dim[1], most = lmf__at_tile_rows(t.g, LMF__AT_TILE, j.T, j.a->n_kv_heads, wk->n_workers);
    if (wk->phase == 1) {
        if (j.parts)
            merge(&j, &t, wk);
        return LMF_OK;
    }
    for (int pass = 0; pass < 2; pass++)
        for (int64_t row = 0; row < j.T; row += t.n) {
            t.n = 1, t.last = j.pos[row];
            if (lmf__ap_dead(c, row)) {
                if (pass && row % wk->n_workers == wk->i_worker)
                    memset((float *)c->out[0].data + row * width, 0, (size_t)width * sizeof(float));
                continue;
            }
            t.n = lmf__ap_run(c, row, most);
            if (!tile_run(&j, &t, row, &share, pass == 0))
                return LMF_E_INTERNAL;
        }
    return LMF_OK;
}

LMF_CPU_ROWS(attention_paged) = {
    { .name = "attention_paged_fwd", .dtypes = (const uint16_t[]){ LMF_F32, LMF_ANY, LMF_ANY, LMF_I32, LMF_I32, LMF_I32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .n_phases = 2, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = fwd },
    { 0 }
};
