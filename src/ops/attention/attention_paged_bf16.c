/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1, caches in bf16 and many rows. 16 query rows are the lanes: scores come as [key][query row], so that softmax
 * goes down lanes and its weights are pairs of keys, as the second product wants them. A lane meets its sequence's keys in blocks of 64
 * from a multiple of 64 on, in order; blocks and keys that it does not see add exact zeros. So its bits don't
 * depend on who shares its tile. */
#include "base/team.h"
#include "device/cpu/gemm_bf16.h"
#include "ops/attention/attention_paged_rows.h"

enum { FEW_ROWS = 32, LANES = 16, KEYS = LMF__AT_KEYS, TILE = 16 * 16 };

#if defined(__AMX_BF16__)
/* y[i] (16 x 16, i < n) = its old value, or 0, plus the sum over s of a[i][s] (16 x 16 pairs) times b[s]. n is 2 or 4. */
LMF__AT_INLINE void products(const uint16_t *a, int64_t steps, const uint16_t *b, const int n, bool old, float *y)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    if (old) {
        _tile_loadd(0, y, 64);
        _tile_loadd(1, y + TILE, 64);
    }
    if (old && n > 2) {
        _tile_loadd(2, y + 2 * TILE, 64);
        _tile_loadd(3, y + 3 * TILE, 64);
    }
    for (int64_t s = 0; s < steps; s++) {
        const uint16_t *at = a + s * LMF_BF16_TILE;
        _tile_loadd(6, b + s * LMF_BF16_TILE, 64);
        _tile_loadd(4, at, 64);
        _tile_loadd(5, at + steps * LMF_BF16_TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (n > 2) {
            _tile_loadd(7, at + 2 * steps * LMF_BF16_TILE, 64);
            _tile_loadd(4, at + 3 * steps * LMF_BF16_TILE, 64);
            _tile_dpbf16ps(2, 7, 6);
            _tile_dpbf16ps(3, 4, 6);
        }
    }
    _tile_stored(0, y, 64);
    _tile_stored(1, y + TILE, 64);
    if (n > 2) {
        _tile_stored(2, y + 2 * TILE, 64);
        _tile_stored(3, y + 3 * TILE, 64);
    }
}
#else
LMF__AT_INLINE void products(const uint16_t *a, int64_t steps, const uint16_t *b, const int n, bool old, float *y)
{
    for (int i = 0; i < n * 16; i++)
        for (int j = 0; j < LANES; j++) {
            float sum = old ? y[i * LANES + j] : 0;
            for (int64_t s = 0; s < steps; s++)
                for (int p = 0; p < 32; p++)
                    sum += lmf_bf16_to_f32(a[(i / 16 * steps + s) * LMF_BF16_TILE + i % 16 * 32 + p]) *
                           lmf_bf16_to_f32(b[s * LMF_BF16_TILE + p / 2 * 32 + 2 * j + p % 2]);
            y[i * LANES + j] = sum;
        }
}
#endif

/* A worker's room. q [lane tile][c / 32][pairs of c][lane], k [4][c / 32][key][32 of c], v [c / 16][2][c][32 keys],
 * p [2][pairs of keys][lane], s [key][lane], o [lane tile][c][lane], m, l [lane tile][lane]. */
typedef struct desk { uint16_t *q, *k, *v, *p; float *s, *o, *m, *l; } desk;
static int64_t lane_tiles(const lmf__at_tile *t) { return (lmf__at_max(t->g, LMF__AT_TILE) + LANES - 1) / LANES; }
static int64_t desk_floats(const lmf__at_tile *t)
{
    return lane_tiles(t) * LANES * (t->c / 2 + t->c + 2) + KEYS * t->c + KEYS * LANES / 2 + KEYS * LANES;
}
static desk desk_at(const lmf__at_tile *t, float *at)
{
    int64_t lanes = lane_tiles(t) * LANES;
    desk d = { .s = at, .o = at + KEYS * LANES };
    d.m = d.o + lanes * t->c, d.l = d.m + lanes;
    d.q = (uint16_t *)(void *)(d.l + lanes);
    d.k = d.q + lanes * t->c, d.v = d.k + KEYS * t->c, d.p = d.v + KEYS * t->c;
    return d;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_attrs *a = c->attrs;
    (void)dev;
#if !defined(__AMX_BF16__) && defined(__AVX512BF16__)
    return false; /* without tiles f32 is as fast */
#endif
    return a->compute == 1 && a->cap == 0 && c->in[0].dim[0] > FEW_ROWS && a->head_size % 32 == 0 && lmf__ap_dense(c);
}
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    lmf__at_tile t = lmf__at_tile_of(c->attrs);
    return (size_t)(dev->n_workers * desk_floats(&t)) * sizeof(float);
}

/* Lanes of the tile's heads, row by row; x: the first row's first head, stride: of a row. */
static void load_q(const lmf__at_tile *t, const float *x, int64_t stride, const desk *d)
{
    int64_t n_q = t->n * t->g, steps = t->c / 32;
    uint16_t row[LANES][256] __attribute__((aligned(64)));
    for (int64_t r = 0; r < n_q; r += LANES) {
        memset(row, 0, sizeof row);
        for (int64_t c0 = 0; c0 < t->c; c0 += 256) {
            int64_t wide = lmf__at_min(256, t->c - c0);
            for (int64_t i = 0; i < LANES && r + i < n_q; i++)
                lmf__bf16_row(x + (r + i) / t->g * stride + (r + i) % t->g * t->c + c0, row[i], wide);
            for (int64_t e = 0; e < wide; e += 32) {
                lmf__bf16_u16 v[16];
                for (int i = 0; i < LANES; i++)
                    memcpy(&v[i], &row[i][e], sizeof v[i]);
                lmf__bf16_turn(v);
                memcpy(d->q + (r / LANES * steps + (c0 + e) / 32) * LMF_BF16_TILE, v, sizeof v);
            }
        }
    }
}
/* Keys row[0 .. n), zeros behind: K as it lies, V turned. */
static void load_keys(const lmf__at_tile *t, const lmf__at_keys *keys, const int64_t *row, int64_t n, const desk *d)
{
    int64_t steps = t->c / 32;
    for (int64_t j = 0; j < KEYS; j++) {
        uint16_t *to = d->k + j / 16 * steps * LMF_BF16_TILE + j % 16 * 32;
        for (int64_t s = 0; s < steps; s++, to += LMF_BF16_TILE)
            if (j < n)
                memcpy(to, keys->k.data + (size_t)row[j] * keys->k.stride + (size_t)s * 64, 64);
            else
                memset(to, 0, 64);
    }
    for (int64_t e = 0; e < t->c; e += 16)
        for (int64_t half = 0; half < 2; half++) {
            lmf__bf16_u16 v[16];
            for (int64_t p = 0; p < 16; p++) {
                lmf__bf16_h16 x[2] = { { 0 } };
                for (int64_t j = half * 32 + 2 * p, i = 0; i < 2 && j + i < n; i++)
                    memcpy(&x[i], keys->v.data + (size_t)row[j + i] * keys->v.stride + (size_t)e * 2, sizeof x[i]);
                v[p] = __builtin_convertvector(x[0], lmf__bf16_u16) | __builtin_convertvector(x[1], lmf__bf16_u16) << 16;
            }
            lmf__bf16_turn(v);
            memcpy(d->v + (e / 16 * 2 + half) * LMF_BF16_TILE, v, sizeof v);
        }
}

/* Scores of 64 keys become weights in d->p; m and l as they then are; by: what o is to be multiplied by.
 * Lane i sees keys [lo[i], hi[i]). */
static void softmax(const desk *d, float scale, const int32_t *lo, const int32_t *hi, float *m, float *l, float *by)
{
    for (int h = 0; h < LANES; h += LMF_VF) {
        lmf_vf old = lmf_vf_load(m + h), top = old, sum = { 0 }, none = lmf_vf_set1(-INFINITY);
        lmf_vi from, to;
        memcpy(&from, lo + h, sizeof from), memcpy(&to, hi + h, sizeof to);
        for (int32_t j = 0; j < KEYS; j++) {
            lmf_vf x = lmf_vf_load(d->s + j * LANES + h) * lmf_vf_set1(scale);
            x = lmf_vf_select((from <= j) & (to > j), x, none);
            lmf_vf_store(d->s + j * LANES + h, x);
            top = lmf__at_greater(x, top);
        }
        lmf_vf base = lmf_vf_select(top == none, lmf_vf_set1(0), top), corr = lmf__at_exp(old - base);
        for (int32_t j = 0; j < KEYS; j++) {
            lmf_vf x = lmf__at_exp(lmf_vf_load(d->s + j * LANES + h) - base);
            lmf_vf_store(d->s + j * LANES + h, x);
            sum += x;
        }
        lmf_vf_store(m + h, top);
        lmf_vf_store(l + h, lmf_vf_load(l + h) * corr + sum);
        lmf_vf_store(by + h, corr);
    }
    for (int j = 0; j < KEYS; j += 2)
        lmf__bf16_pairs16(d->s + j * LANES, d->s + (j + 1) * LANES, (uint32_t *)(void *)d->p + j / 2 * LANES);
}

/* The r-th 16 lanes meet 64 keys from u on. */
static void meet(const lmf__at_tile *t, int64_t r, int64_t u, int64_t n, const desk *d)
{
    int32_t lo[LANES], hi[LANES];
    float by[LANES];
    bool any = false;
    for (int i = 0; i < LANES; i++) {
        int64_t q = lmf__at_min((r * LANES + i) / t->g, t->n - 1);
        lo[i] = (int32_t)lmf__at_max(0, lmf__at_min(KEYS, lmf__at_first(t, q) - u));
        hi[i] = (int32_t)lmf__at_min(n, lmf__at_max(0, t->last + q + 1 - u));
        any |= lo[i] < hi[i];
    }
    if (!any)
        return;
    float *o = d->o + r * LANES * t->c;
    products(d->k, t->c / 32, d->q + r * LANES * t->c, 4, false, d->s);
    softmax(d, t->scale, lo, hi, d->m + r * LANES, d->l + r * LANES, by);
    bool same = true;
    for (int i = 0; i < LANES; i++)
        same &= by[i] == 1;
    for (int64_t e = 0; e < t->c && !same; e++)
        for (int h = 0; h < LANES; h += LMF_VF)
            lmf_vf_store(o + e * LANES + h, lmf_vf_load(o + e * LANES + h) * lmf_vf_load(by + h));
    int64_t e = 0;
    for (; e + 64 <= t->c; e += 64)
        products(d->v + e / 16 * 2 * LMF_BF16_TILE, 2, d->p, 4, true, o + e * LANES);
    for (; e < t->c; e += 32)
        products(d->v + e / 16 * 2 * LMF_BF16_TILE, 2, d->p, 2, true, o + e * LANES);
}
static void write_o(const lmf__at_tile *t, const desk *d, float *out, int64_t stride)
{
    int64_t n_q = t->n * t->g;
    for (int64_t r = 0; r < n_q; r += LANES)
        for (int64_t e = 0; e < t->c; e += 16) {
            lmf__bf16_u16 v[16];
            memcpy(v, d->o + r * t->c + e * LANES, sizeof v);
            lmf__bf16_turn(v);
            for (int64_t i = 0; i < LANES && r + i < n_q; i++) {
                lmf__bf16_f16 x = (lmf__bf16_f16)v[i] * (1 / d->l[r + i]);
                memcpy(out + (r + i) / t->g * stride + (r + i) % t->g * t->c + e, &x, sizeof x);
            }
        }
}

static bool task_run(const lmf_call *c, const lmf__at_tile *t, int64_t row, int64_t hk, const desk *d)
{
    int64_t width = c->in[0].dim[1], head = hk * t->g, end = t->last + t->n, lanes = lmf__at_up(t->n * t->g, LANES), at[KEYS];
    lmf__at_keys keys;
    if (!lmf__ap_keys(c, row, hk, t->c, &keys))
        return false;
    load_q(t, (const float *)c->in[0].data + row * width + head * t->c, width, d);
    memset(d->o, 0, (size_t)(lanes * t->c) * sizeof *d->o);
    for (int64_t i = 0; i < lanes; i++)
        d->m[i] = -INFINITY, d->l[i] = 0;
    for (int64_t u = lmf__at_first(t, 0) / KEYS * KEYS; u < end; u += KEYS) {
        int64_t n = lmf__at_min(KEYS, end - u);
        if (!lmf__at_find(&keys, u, n, at))
            return false;
        load_keys(t, &keys, at, n, d);
        for (int64_t r = 0; r < lanes / LANES; r++)
            meet(t, r, u, n, d);
    }
    write_o(t, d, (float *)c->out[0].data + row * width + head * t->c, width);
    return true;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    lmf__at_tile t = lmf__at_tile_of(a);
    desk d = desk_at(&t, (float *)c->scratch + wk->i_worker * desk_floats(&t));
    lmf__at_share share = { .i_worker = wk->i_worker, .n_workers = wk->n_workers };
    int64_t T = c->in[0].dim[0], width = c->in[0].dim[1], most = lmf__at_tile_rows(t.g, LMF__AT_TILE, T, a->n_kv_heads, wk->n_workers);
    bool whole = true;
    lmf__bf16_begin();
    for (int pass = 0; pass < 2; pass++)
        for (int64_t row = 0; row < T && whole; row += t.n) {
            t.n = 1, t.last = ((const int32_t *)c->in[4].data)[row];
            if (lmf__ap_dead(c, row)) {
                if (pass && row % wk->n_workers == wk->i_worker)
                    memset((float *)c->out[0].data + row * width, 0, (size_t)width * sizeof(float));
                continue;
            }
            t.n = lmf__ap_run(c, row, most);
            double cost = lmf__at_cost(&t, 0, t.n);
            share.total += pass ? 0 : cost * a->n_kv_heads;
            for (int64_t hk = 0; pass && hk < a->n_kv_heads && whole; hk++)
                whole = !lmf__at_mine(&share, cost) || task_run(c, &t, row, hk, &d);
        }
    lmf__bf16_end();
    return whole ? LMF_OK : LMF_E_INTERNAL;
}

LMF_CPU_ROWS(attention_paged) = {
    { .name = "attention_paged_fwd_" LMF_BF16_SET,
      .dtypes = (const uint16_t[]){ LMF_F32, LMF_BF16, LMF_BF16, LMF_I32, LMF_I32, LMF_I32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = fwd },
    { 0 }
};
