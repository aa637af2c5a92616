/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the expansion is what a model would write without this op, node for node (the order of its nodes is that of a layer). */
#include "ops/attention/attention_rotary.h"
#include <math.h>
#include "ops/kv_append/kv_append.h"
#include "ops/rope/rope.h"

static const lmf_field fields[] = {
    { "n_heads", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, heads.n_heads), "", 1, 4096 },
    { "n_kv_heads", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, heads.n_kv_heads), "", 1, 4096 },
    { "head_size", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, heads.head_size), "elements", 1, 4096 },
    { "window", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, heads.window), "rows", 0, 1 << 30 },
    { "scale", LMF_FIELD_F32, offsetof(lmf_attention_rotary_attrs, heads.scale), "", 1e-9, 1e9 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, heads.compute), "", 0, 1 },
    { "cap", LMF_FIELD_F32, offsetof(lmf_attention_rotary_attrs, heads.cap), "", 0, 1e9 },
    { "n_rot", LMF_FIELD_I32, offsetof(lmf_attention_rotary_attrs, n_rot), "elements", 2, 4096 },
    { "rope_scale", LMF_FIELD_F32, offsetof(lmf_attention_rotary_attrs, rope_scale), "", 1e-6, 1e6 }, { 0 }
};

enum { Q, K, V, FREQ, K_CACHE, V_CACHE, SEQ, POS, Q_START, PAGE, N_IN };

static bool is(const lmf_tensor *t, uint16_t dtype, int n_dims) { return t->v.dtype == dtype && t->v.n_dims == n_dims; }

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_attention_rotary_attrs *a = n->attrs;
    const lmf_attention_attrs *h = &a->heads;
    int64_t kv = (int64_t)h->n_kv_heads * h->head_size, t = n->in[Q]->v.dim[0];
    if (h->n_heads % h->n_kv_heads)
        return lmf_refuse(g, n, LMF_E_ARG, "n_heads %d is no multiple of n_kv_heads %d", h->n_heads, h->n_kv_heads);
    if (a->n_rot % 2 || a->n_rot > h->head_size)
        return lmf_refuse(g, n, LMF_E_ARG, "n_rot %d must be even and at most head_size %d", a->n_rot, h->head_size);
    if (!is(n->in[Q], LMF_F32, 2) || !is(n->in[K], LMF_F32, 2) || !is(n->in[V], LMF_F32, 2) || !is(n->in[FREQ], LMF_F32, 1))
        return lmf_refuse(g, n, LMF_E_DTYPE, "q, k and v are f32 [T, ...], freq f32 [n_rot/2]");
    if (n->in[Q]->v.dim[1] != (int64_t)h->n_heads * h->head_size || n->in[FREQ]->v.dim[0] != a->n_rot / 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "q is [T, %d heads of %d], freq [%d]", h->n_heads, h->head_size, a->n_rot / 2);
    for (int i = 0; i < 2; i++) {
        const lmf_view *x = &n->in[K + i]->v, *c = &n->in[K_CACHE + i]->v, *first = &n->in[K_CACHE]->v;
        if (x->dim[0] != t || x->dim[1] != kv || c->n_dims != 3 || c->dim[2] != kv || !(c->fmt->flags & LMF_FORMAT_FLOAT) ||
            c->dim[0] != first->dim[0] || c->dim[1] != first->dim[1])
            return lmf_refuse(g, n, LMF_E_SHAPE, "k and v are [T, %lld], their caches [n_pages, page_size, %lld] of a float type",
                              (long long)kv, (long long)kv);
    }
    if (!is(n->in[SEQ], LMF_I32, 1) || !is(n->in[POS], LMF_I32, 1) || !is(n->in[Q_START], LMF_I32, 1) || !is(n->in[PAGE], LMF_I32, 2) ||
        n->in[SEQ]->v.dim[0] != t || n->in[POS]->v.dim[0] != t)
        return lmf_refuse(g, n, LMF_E_SHAPE, "seq and pos are i32 [T], q_start i32 [S+1], page i32 [S, P]");
    lmf_out_like(n, 0, n->in[Q], LMF_F32);
    return LMF_OK;
}

/* Element i of row t of x, rotated by the row's position. */
static double rotated(const lmf_call *c, const lmf_view *x, int64_t t, int64_t i)
{
    const lmf_attention_rotary_attrs *a = c->attrs;
    int64_t width = x->dim[1], in_head = i % a->heads.head_size, half = a->n_rot / 2;
    double v = lmf_get(x, t * width + i);
    if (in_head >= a->n_rot)
        return v;
    double angle = lmf_get(&c->in[POS], t) * lmf_get(&c->in[FREQ], in_head % half);
    double cs = cos(angle) * (double)a->rope_scale, sn = sin(angle) * (double)a->rope_scale;
    return in_head < half ? v * cs - lmf_get(x, t * width + i + half) * sn : v * cs + lmf_get(x, t * width + i - half) * sn;
}

/* Row of key u of sequence s in the caches, or -1 where its page is none. */
static int64_t cache_row(const lmf_call *c, int64_t s, int64_t u)
{
    int64_t rows = c->in[K_CACHE].dim[1], P = c->in[PAGE].dim[1];
    int64_t page = u / rows < P ? lmf_get_int(&c->in[PAGE], s * P + u / rows) : -1;
    return page < 0 || page >= c->in[K_CACHE].dim[0] ? -1 : page * rows + u % rows;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_attention_attrs *a = &((const lmf_attention_rotary_attrs *)c->attrs)->heads;
    int64_t T = c->in[Q].dim[0], qw = c->in[Q].dim[1], kw = c->in[K].dim[1], C = a->head_size;
    for (int64_t t = 0; t < T; t++) {
        int64_t s = lmf_get_int(&c->in[SEQ], t), row = s < 0 ? 0 : cache_row(c, s, lmf_get_int(&c->in[POS], t));
        if (row < 0)
            return LMF_E_INTERNAL;
        for (int64_t i = 0; s >= 0 && i < kw; i++) {
            lmf_set(&c->out[1], row * kw + i, rotated(c, &c->in[K], t, i));
            lmf_set(&c->out[2], row * kw + i, lmf_get(&c->in[V], t * kw + i));
        }
    }
    for (int64_t t = 0; t < T; t++)
        for (int h = 0; h < a->n_heads; h++) {
            int64_t s = lmf_get_int(&c->in[SEQ], t), p = lmf_get_int(&c->in[POS], t), hk = h / (a->n_heads / a->n_kv_heads);
            int64_t first = a->window && p - a->window + 1 > 0 ? p - a->window + 1 : 0;
            double top = -INFINITY, sum = 0, q[4096], out[4096] = { 0 };
            for (int i = 0; i < C; i++)
                q[i] = rotated(c, &c->in[Q], t, h * C + i);
            for (int pass = 0; s >= 0 && pass < 2; pass++)
                for (int64_t u = first; u <= p; u++) {
                    int64_t row = cache_row(c, s, u);
                    double dot = 0;
                    if (row < 0)
                        return LMF_E_INTERNAL;
                    for (int i = 0; i < C; i++)
                        dot += q[i] * lmf_get(&c->out[1], row * kw + hk * C + i);
                    dot *= (double)a->scale;
                    dot = a->cap > 0 ? (double)a->cap * tanh(dot / (double)a->cap) : dot;
                    top = pass ? top : fmax(top, dot);
                    sum += pass ? exp(dot - top) : 0;
                    for (int i = 0; i < C && pass; i++)
                        out[i] += exp(dot - top) * lmf_get(&c->out[2], row * kw + hk * C + i);
                }
            for (int i = 0; i < C; i++)
                lmf_set(&c->out[0], t * qw + h * C + i, s < 0 ? 0 : out[i] / sum);
        }
    return LMF_OK;
}

static lmf_status expand(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    const lmf_attention_rotary_attrs *a = n->attrs;
    lmf_rope_attrs rope = { .head_size = a->heads.head_size, .n_rot = a->n_rot, .scale = a->rope_scale };
    lmf_batch in = { .seq = n->in[SEQ], .pos = n->in[POS], .page = n->in[PAGE] };
    lmf_tensor *q = (lmf_rope)(g, n->in[Q], n->in[POS], n->in[FREQ], rope), *k = (lmf_rope)(g, n->in[K], n->in[POS], n->in[FREQ], rope);
    out[1] = (lmf_kv_append)(g, &in, n->in[K_CACHE], k);
    out[2] = (lmf_kv_append)(g, &in, n->in[V_CACHE], n->in[V]);
    out[0] = (lmf_attention_paged)(g, &in, q, out[1], out[2], a->heads);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    const lmf_view *cache = &n->in[K_CACHE]->v;
    double keys = (double)(n->in[PAGE]->v.dim[1] * cache->dim[1]), t = (double)n->in[Q]->v.dim[0];
    *flops = 4 * t * keys * (double)n->in[Q]->v.dim[1];
    *bytes = 2 * keys * (double)n->in[PAGE]->v.dim[0] * (double)cache->dim[2] * cache->fmt->block_bytes;
}

const lmf_op lmf_op_attention_rotary = {
    .name = "attention_rotary", .n_in_min = N_IN, .n_in_max = N_IN, .n_out = 3, .writes = { 0, K_CACHE + 1, V_CACHE + 1 },
    .flags = LMF_OP_FUSED, .attr_bytes = sizeof(lmf_attention_rotary_attrs),
    .fields = fields, .infer = infer, .expand = expand, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_attention_rotary)(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_tensor *freq,
                                   lmf_tensor *k_cache, lmf_tensor *v_cache, lmf_attention_rotary_attrs attrs)
{
    lmf_tensor *all[N_IN] = { q, k, v, freq, k_cache, v_cache, in->seq, in->pos, in->q_start, in->page };
    return lmf_node_add1(g, &lmf_op_attention_rotary, &attrs, all, N_IN);
}
