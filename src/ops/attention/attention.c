/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention/attention.h"
#include <math.h>

static const lmf_field fields[] = {
    { "n_heads", LMF_FIELD_I32, offsetof(lmf_attention_attrs, n_heads), "", 1, 4096 },
    { "n_kv_heads", LMF_FIELD_I32, offsetof(lmf_attention_attrs, n_kv_heads), "", 1, 4096 },
    { "head_size", LMF_FIELD_I32, offsetof(lmf_attention_attrs, head_size), "elements", 1, 4096 },
    { "window", LMF_FIELD_I32, offsetof(lmf_attention_attrs, window), "rows", 0, 1 << 30 },
    { "scale", LMF_FIELD_F32, offsetof(lmf_attention_attrs, scale), "", 1e-9, 1e9 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_attention_attrs, compute), "", 0, 1 },
    { "cap", LMF_FIELD_F32, offsetof(lmf_attention_attrs, cap), "", 0, 1e9 }, { 0 }
};

static bool is(const lmf_tensor *t, uint16_t dtype, int n_dims) { return t->v.dtype == dtype && t->v.n_dims == n_dims; }
static bool like_q(const lmf_node *n, int i) { return is(n->in[i], n->in[0]->v.dtype, 2); }

static lmf_status check_heads(lmf_graph *g, lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    const lmf_view *q = &n->in[0]->v;
    if (a->n_heads % a->n_kv_heads)
        return lmf_refuse(g, n, LMF_E_ARG, "n_heads %d is no multiple of n_kv_heads %d", a->n_heads, a->n_kv_heads);
    if (!lmf_is_activation(n->in[0]) || q->n_dims != 2)
        return lmf_refuse(g, n, LMF_E_DTYPE, "q is f32 or bf16 [T, H*C]");
    if (q->dim[1] != (int64_t)a->n_heads * a->head_size)
        return lmf_refuse(g, n, LMF_E_SHAPE, "q is %lld wide, not %d heads of %d", (long long)q->dim[1], a->n_heads, a->head_size);
    return LMF_OK;
}

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    int64_t t = n->in[0]->v.dim[0], kv = (int64_t)a->n_kv_heads * a->head_size;
    LMF_TRY(check_heads(g, n));
    for (int i = 1; i < 3; i++)
        if (!like_q(n, i) || n->in[i]->v.dim[0] != t || n->in[i]->v.dim[1] != kv)
            return lmf_refuse(g, n, LMF_E_SHAPE, "k and v are [T, %lld], of q's type", (long long)kv);
    if (!is(n->in[3], LMF_I32, 1) || !is(n->in[4], LMF_I32, 1) || n->in[3]->v.dim[0] != t || n->in[4]->v.dim[0] < 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "seq is i32 [T], q_start i32 [S+1]");
    lmf_out_like(n, 0, n->in[0], n->in[0]->v.dtype);
    lmf_out_set(n, 1, LMF_F32, 2, (int64_t[]){ t, a->n_heads });
    return LMF_OK;
}

/* First visible row of t, or t + 1 for a dead row. */
static int64_t first_key(const lmf_view *seq, const lmf_view *q_start, int64_t t, int32_t window)
{
    int64_t s = lmf_get_int(seq, t);
    if (s < 0)
        return t + 1;
    int64_t first = lmf_get_int(q_start, s);
    return window && t - window + 1 > first ? t - window + 1 : first;
}

static double capped(const lmf_attention_attrs *a, double score)
{
    double cap = (double)a->cap;
    return cap > 0 ? cap * tanh(score / cap) : score;
}

static double score(const lmf_call *c, int64_t t, int64_t u, int h)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t qw = c->in[0].dim[1], kw = c->in[1].dim[1], hk = h / (a->n_heads / a->n_kv_heads);
    double sum = 0;
    for (int i = 0; i < a->head_size; i++)
        sum += lmf_get(&c->in[0], t * qw + h * a->head_size + i) * lmf_get(&c->in[1], u * kw + hk * a->head_size + i);
    return capped(a, sum * (double)a->scale);
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t T = c->in[0].dim[0], qw = c->in[0].dim[1], kw = c->in[1].dim[1];
    for (int64_t t = 0; t < T; t++)
        for (int h = 0; h < a->n_heads; h++) {
            int64_t first = first_key(&c->in[3], &c->in[4], t, a->window), hk = h / (a->n_heads / a->n_kv_heads);
            double top = -INFINITY, sum = 0, o[4096] = { 0 };
            for (int64_t u = first; u <= t; u++)
                top = fmax(top, score(c, t, u, h));
            for (int64_t u = first; u <= t; u++)
                sum += exp(score(c, t, u, h) - top);
            lmf_set(&c->out[1], t * a->n_heads + h, sum > 0 ? top + log(sum) : 0);
            for (int64_t u = first; u <= t; u++) {
                double p = exp(score(c, t, u, h) - top) / sum;
                for (int i = 0; i < a->head_size; i++)
                    o[i] += p * lmf_get(&c->in[2], u * kw + hk * a->head_size + i);
            }
            for (int i = 0; i < a->head_size; i++)
                lmf_set(&c->out[0], t * qw + h * a->head_size + i, o[i]);
        }
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_tensor *in[] = { n->in[0], n->in[1], n->in[2], n->out[0], n->out[1], d_out[0], n->in[3], n->in[4] };
    lmf_node *b = lmf_node_add(g, &lmf_op_attention_bwd, n->attrs, in, 8);
    for (int i = 0; b && i < 3; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}

/* As if every row saw half of all rows: the segments are data. */
static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double t = (double)n->in[0]->v.dim[0], w = (double)n->in[0]->v.dim[1];
    *flops = 2 * t * t * w;
    *bytes = n->in[0]->v.fmt->block_bytes * t * (2 * w + 2 * (double)n->in[1]->v.dim[1]);
}

const lmf_op lmf_op_attention = { .name = "attention", .n_in_min = 5, .n_in_max = 5, .n_out = 2, .attr_bytes = sizeof(lmf_attention_attrs),
    .fields = fields, .infer = infer, .grad = grad, .cost = cost, .ref = ref };

lmf_tensor *(lmf_attention)(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_attention_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_attention, &attrs, (lmf_tensor *[]){ q, k, v, in->seq, in->q_start }, 5);
}

/* attention_bwd: p = exp(score - lse), dv = p^T do, ds = p (do v^T - sum(do o)), dq = scale ds k, dk = scale ds^T q; where scores are
 * capped, ds times 1 - (score / cap)^2. */
static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    int64_t t = n->in[0]->v.dim[0], kv = (int64_t)a->n_kv_heads * a->head_size;
    LMF_TRY(check_heads(g, n));
    for (int i = 1; i < 3; i++)
        if (!like_q(n, i) || n->in[i]->v.dim[0] != t || n->in[i]->v.dim[1] != kv)
            return lmf_refuse(g, n, LMF_E_SHAPE, "k and v are [T, %lld], of q's type", (long long)kv);
    if (!lmf_same_shape(n->in[0], n->in[5]) || !lmf_same_shape(n->in[0], n->in[3]) || !like_q(n, 3) || !like_q(n, 5))
        return lmf_refuse(g, n, LMF_E_SHAPE, "o and do have the shape and type of q");
    if (n->in[4]->v.n_dims != 2 || n->in[4]->v.dim[0] != t || n->in[4]->v.dim[1] != a->n_heads)
        return lmf_refuse(g, n, LMF_E_SHAPE, "lse is f32 [T, %d]", a->n_heads);
    if (!is(n->in[6], LMF_I32, 1) || !is(n->in[7], LMF_I32, 1) || n->in[6]->v.dim[0] != t || n->in[7]->v.dim[0] < 2)
        return lmf_refuse(g, n, LMF_E_SHAPE, "seq is i32 [T], q_start i32 [S+1]");
    for (int i = 0; i < 3; i++)
        lmf_out_like(n, i, n->in[i], n->in[0]->v.dtype);
    return LMF_OK;
}

/* d loss / d score of row t of head h for key u; *p gets the probability. */
static double d_score(const lmf_call *c, int64_t t, int64_t u, int h, double *p)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t C = a->head_size, at_q = t * c->in[0].dim[1] + h * C, at_k = u * c->in[1].dim[1] + h / (a->n_heads / a->n_kv_heads) * C;
    double d_p = 0;
    for (int i = 0; i < C; i++)
        d_p += lmf_get(&c->in[5], at_q + i) * (lmf_get(&c->in[2], at_k + i) - lmf_get(&c->in[3], at_q + i));
    double s = score(c, t, u, h), part = a->cap > 0 ? s / (double)a->cap : 0;
    *p = exp(s - lmf_get(&c->in[4], t * a->n_heads + h));
    return *p * d_p * (double)a->scale * (1 - part * part);
}

/* Each sum is rounded once: by rows for dq, by keys for dk and dv. */
static lmf_status bwd_ref(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t T = c->in[0].dim[0], qw = c->in[0].dim[1], kw = c->in[1].dim[1], C = a->head_size, group = a->n_heads / a->n_kv_heads;
    double p;
    for (int64_t t = 0; t < T; t++)
        for (int h = 0; h < a->n_heads; h++) {
            double dq[4096] = { 0 };
            for (int64_t u = first_key(&c->in[6], &c->in[7], t, a->window); u <= t; u++) {
                double ds = d_score(c, t, u, h, &p);
                for (int i = 0; i < C; i++)
                    dq[i] += ds * lmf_get(&c->in[1], u * kw + h / group * C + i);
            }
            for (int i = 0; i < C; i++)
                lmf_set(&c->out[0], t * qw + h * C + i, dq[i]);
        }
    for (int64_t u = 0; u < T; u++)
        for (int64_t hk = 0; hk < a->n_kv_heads; hk++) {
            double dk[4096] = { 0 }, dv[4096] = { 0 };
            for (int64_t t = u; t < T; t++)
                for (int64_t h = hk * group; h < (hk + 1) * group && first_key(&c->in[6], &c->in[7], t, a->window) <= u; h++) {
                    double ds = d_score(c, t, u, (int)h, &p);
                    for (int i = 0; i < C; i++) {
                        dk[i] += ds * lmf_get(&c->in[0], t * qw + h * C + i);
                        dv[i] += p * lmf_get(&c->in[5], t * qw + h * C + i);
                    }
                }
            for (int i = 0; i < C; i++) {
                lmf_set(&c->out[1], u * kw + hk * C + i, dk[i]);
                lmf_set(&c->out[2], u * kw + hk * C + i, dv[i]);
            }
        }
    return LMF_OK;
}

static void bwd_cost(const lmf_node *n, double *flops, double *bytes)
{
    cost(n, flops, bytes);
    *flops *= 2.5;
    *bytes *= 2;
}

const lmf_op lmf_op_attention_bwd = { .name = "attention_bwd", .n_in_min = 8, .n_in_max = 8, .n_out = 3, .attr_bytes = sizeof(lmf_attention_attrs),
    .fields = fields, .infer = bwd_infer, .cost = bwd_cost, .ref = bwd_ref };

/* attention_paged: (q, k_cache, v_cache, seq, pos, page) -> o */
static lmf_status paged_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    int64_t t = n->in[0]->v.dim[0], kv = (int64_t)a->n_kv_heads * a->head_size;
    LMF_TRY(check_heads(g, n));
    if (n->in[0]->v.dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "q is f32");
    for (int i = 1; i < 3; i++)
        if (n->in[i]->v.n_dims != 3 || n->in[i]->v.dim[2] != kv || !(n->in[i]->v.fmt->flags & LMF_FORMAT_FLOAT))
            return lmf_refuse(g, n, LMF_E_SHAPE, "caches are [n_pages, page_size, %lld] of a float type", (long long)kv);
    if (!is(n->in[3], LMF_I32, 1) || !is(n->in[4], LMF_I32, 1) || !is(n->in[5], LMF_I32, 2) || n->in[3]->v.dim[0] != t || n->in[4]->v.dim[0] != t)
        return lmf_refuse(g, n, LMF_E_SHAPE, "seq and pos are i32 [T], page i32 [S, P]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}

/* Row of key u of sequence s in the caches, or -1 where its page is none. */
static int64_t cache_row(const lmf_call *c, int64_t s, int64_t u)
{
    int64_t rows = c->in[1].dim[1], P = c->in[5].dim[1];
    int64_t page = u / rows < P ? lmf_get_int(&c->in[5], s * P + u / rows) : -1;
    return page < 0 || page >= c->in[1].dim[0] ? -1 : page * rows + u % rows;
}

static lmf_status paged_ref(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t T = c->in[0].dim[0], qw = c->in[0].dim[1], kw = c->in[1].dim[2], C = a->head_size;
    for (int64_t t = 0; t < T; t++)
        for (int h = 0; h < a->n_heads; h++) {
            int64_t s = lmf_get_int(&c->in[3], t), p = lmf_get_int(&c->in[4], t), hk = h / (a->n_heads / a->n_kv_heads);
            int64_t first = a->window && p - a->window + 1 > 0 ? p - a->window + 1 : 0;
            double top = -INFINITY, sum = 0, out[4096] = { 0 };
            for (int pass = 0; s >= 0 && pass < 2; pass++)
                for (int64_t u = first; u <= p; u++) {
                    int64_t row = cache_row(c, s, u);
                    double dot = 0;
                    if (row < 0)
                        return LMF_E_INTERNAL;
                    for (int i = 0; i < C; i++)
                        dot += lmf_get(&c->in[0], t * qw + h * C + i) * lmf_get(&c->in[1], row * kw + hk * C + i);
                    dot = capped(a, dot * (double)a->scale);
                    if (pass == 0) {
                        top = fmax(top, dot);
                        continue;
                    }
                    sum += exp(dot - top);
                    for (int i = 0; i < C; i++)
                        out[i] += exp(dot - top) * lmf_get(&c->in[2], row * kw + hk * C + i);
                }
            for (int i = 0; i < C; i++)
                lmf_set(&c->out[0], t * qw + h * C + i, s < 0 ? 0 : out[i] / sum);
        }
    return LMF_OK;
}

static void paged_cost(const lmf_node *n, double *flops, double *bytes)
{
    double keys = (double)(n->in[5]->v.dim[1] * n->in[1]->v.dim[1]), t = (double)n->in[0]->v.dim[0];
    *flops = 4 * t * keys * (double)n->in[0]->v.dim[1];
    *bytes = 2 * keys * (double)n->in[5]->v.dim[0] * (double)n->in[1]->v.dim[2] * n->in[1]->v.fmt->block_bytes;
}

const lmf_op lmf_op_attention_paged = { .name = "attention_paged", .n_in_min = 6, .n_in_max = 6, .n_out = 1, .attr_bytes = sizeof(lmf_attention_attrs),
    .fields = fields, .infer = paged_infer, .cost = paged_cost, .ref = paged_ref };

lmf_tensor *(lmf_attention_paged)(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k_cache, lmf_tensor *v_cache, lmf_attention_attrs attrs)
{
    return lmf_node_add1(g, &lmf_op_attention_paged, &attrs, (lmf_tensor *[]){ q, k_cache, v_cache, in->seq, in->pos, in->page }, 6);
}
