/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the forward pass makes the gradients of a loss of 1; backward only scales them. */
#include "ops/head_kl/head_kl.h"
#include <math.h>
#include <stdint.h>
#include "ops/scale_by/scale_by.h"

enum { X, W, TEACHER, HEAD, WEIGHT, MIX };
enum { LOSS, KL, DX, DW };

static const lmf_field fields[] = {
    { "scale", LMF_FIELD_F32, offsetof(lmf_head_kl_attrs, scale), "", -1e30, 1e30 },
    { "teacher_scale", LMF_FIELD_F32, offsetof(lmf_head_kl_attrs, teacher_scale), "", -1e30, 1e30 },
    { "temperature", LMF_FIELD_F32, offsetof(lmf_head_kl_attrs, temperature), "", 0.999e-3, 1e3 },
    { "beta", LMF_FIELD_F32, offsetof(lmf_head_kl_attrs, beta), "", 0, 1 },
    { "compute", LMF_FIELD_I32, offsetof(lmf_head_kl_attrs, compute), "", 0, 1 },
    { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[X]->v, *w = &n->in[W]->v, *teacher = &n->in[TEACHER]->v, *head = &n->in[HEAD]->v;
    const lmf_view *weight = &n->in[WEIGHT]->v, *mix = n->n_in > MIX && n->in[MIX] ? &n->in[MIX]->v : NULL;
    uint32_t matrix = LMF_FORMAT_FLOAT | LMF_FORMAT_QUANT;
    if (!lmf_is_activation(n->in[X]) || !lmf_is_activation(n->in[TEACHER]) || !(w->fmt->flags & matrix) || !(head->fmt->flags & matrix) ||
        weight->dtype != LMF_F32 || (mix && mix->dtype != LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "x and teacher are f32 or bf16, weight and mix f32, w and head of a float or block format");
    if (x->n_dims < 2 || w->n_dims != 2 || x->dim[x->n_dims - 1] != w->dim[1] || w->dim[0] < 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, D] and w [V, D]");
    if (teacher->n_dims < 2 || head->n_dims != 2 || teacher->dim[teacher->n_dims - 1] != head->dim[1] || head->dim[0] < 1)
        return lmf_refuse(g, n, LMF_E_SHAPE, "teacher is [T, E] and head [U, E]");
    int64_t t = lmf_view_rows(x);
    if (lmf_view_rows(teacher) != t || lmf_view_count(weight) != t || (mix && lmf_view_count(mix) != 1))
        return lmf_refuse(g, n, LMF_E_SHAPE, "teacher has a row and weight an element for each row of x, mix one element");
    if (t >= INT32_MAX || w->dim[0] > INT32_MAX || head->dim[0] > INT32_MAX)
        return lmf_refuse(g, n, LMF_E_LIMIT, "at most 2^31 - 1 rows");
    lmf_out_set(n, LOSS, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, KL, LMF_F32, x->n_dims - 1, x->dim);
    lmf_out_like(n, DX, n->in[X], x->dtype);
    if (n->op == &lmf_op_head_kl_w)
        lmf_out_like(n, DW, n->in[W], LMF_F32);
    return LMF_OK;
}

/* ---- the reference ---- */
enum { PIECE = 4096 }; /* a dx in bf16 rounds once a piece */
typedef struct row { const lmf_call *c; const lmf_head_kl_attrs *a; int64_t t, n_v; double mix, lse_s, lse_t, kl, mean; } row;

static double logit(const row *r, int i_x, double scale, int64_t v)
{
    int64_t d = r->c->in[i_x + 1].dim[1];
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += lmf_get(&r->c->in[i_x], r->t * d + i) * lmf_get(&r->c->in[i_x + 1], v * d + i);
    return scale / (double)r->a->temperature * sum;
}

/* Logits of tokens [v0, v0 + n). */
static void piece(const row *r, int64_t v0, int64_t n, double *s, double *t)
{
    for (int64_t i = 0; i < n; i++) {
        s[i] = logit(r, X, (double)r->a->scale, v0 + i);
        t[i] = r->mix * logit(r, TEACHER, (double)r->a->teacher_scale, v0 + i) + (1 - r->mix) * s[i];
    }
}

/* Of one token: its share of D; and s slope, where slope is d D / d log s, so that d D / d z = s slope - s (sum of s slope). */
static double share(const row *r, double ls, double lt, double *own)
{
    double beta = (double)r->a->beta, s = exp(ls), t = exp(lt);
    if (beta == 0)
        return *own = -t, t * (lt - ls);
    if (beta == 1)
        return *own = s * (ls - lt);
    double top = fmax(ls, lt), lm = top + log(beta * exp(lt - top) + (1 - beta) * exp(ls - top));
    *own = (1 - beta) * s * (ls - lm);
    return beta * t * (lt - lm) + *own;
}

static void ref_row(row *r, double weight)
{
    double s[PIECE], t[PIECE], own;
    const lmf_call *c = r->c;
    int64_t d = c->in[W].dim[1];
    double u = weight * (double)r->a->temperature * (double)r->a->scale;
    r->lse_s = r->lse_t = -INFINITY;
    r->kl = r->mean = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int64_t v0 = 0; v0 < r->n_v; v0 += PIECE) {
            int64_t n = r->n_v - v0 < PIECE ? r->n_v - v0 : PIECE;
            piece(r, v0, n, s, t);
            for (int64_t i = 0; i < n; i++) {
                if (pass == 0) {
                    lmf__add_to_lse(&r->lse_s, s[i]);
                    lmf__add_to_lse(&r->lse_t, t[i]);
                    continue;
                }
                double one = share(r, s[i] - r->lse_s, t[i] - r->lse_t, &own), p = exp(s[i] - r->lse_s);
                if (pass == 1)
                    r->kl += one, r->mean += own;
                else
                    s[i] = u * (own - p * r->mean);
            }
            for (int64_t k = 0; pass == 2 && k < d; k++) {
                double dx = lmf_get(&c->out[DX], r->t * d + k), x = lmf_get(&c->in[X], r->t * d + k);
                for (int64_t i = 0; i < n; i++) {
                    int64_t at = (v0 + i) * d + k;
                    dx += s[i] * lmf_get(&c->in[W], at);
                    if (c->n_out > DW)
                        lmf_set(&c->out[DW], at, lmf_get(&c->out[DW], at) + s[i] * x);
                }
                lmf_set(&c->out[DX], r->t * d + k, dx);
            }
        }
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_head_kl_attrs *a = c->attrs;
    int64_t rows = lmf_view_rows(&c->in[X]), n_w = c->in[W].dim[0], n_head = c->in[HEAD].dim[0];
    row r = { .c = c, .a = a, .n_v = n_w < n_head ? n_w : n_head };
    double loss = 0;
    r.mix = c->n_in > MIX && c->in[MIX].n_dims ? lmf_get(&c->in[MIX], 0) : 1;
    for (int j = DX; j < c->n_out; j++)
        for (int64_t i = 0; i < lmf_view_count(&c->out[j]); i++)
            lmf_set(&c->out[j], i, 0);
    for (r.t = 0; r.t < rows; r.t++) {
        double weight = lmf_get(&c->in[WEIGHT], r.t), kl = 0;
        if (weight != 0) {
            ref_row(&r, weight);
            kl = (double)a->temperature * (double)a->temperature * r.kl;
        }
        lmf_set(&c->out[KL], r.t, kl);
        loss += weight * kl;
    }
    lmf_set(&c->out[LOSS], 0, loss);
    return LMF_OK;
}

static double bytes_of(const lmf_view *v) { return (double)lmf_view_count(v) / v->fmt->block * v->fmt->block_bytes; }

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    bool with_w = n->op == &lmf_op_head_kl_w;
    double beta = (double)((const lmf_head_kl_attrs *)n->attrs)->beta;
    double student = (double)lmf_view_count(&n->in[X]->v) * (double)n->in[W]->v.dim[0];
    double teacher = (double)lmf_view_count(&n->in[TEACHER]->v) * (double)n->in[HEAD]->v.dim[0];
    *flops = (beta == 0 ? 4 : 6) * (student + teacher) + 2 * student + (with_w ? 4 * student + 2 * teacher : 0);
    *bytes = 2 * bytes_of(&n->in[X]->v) + bytes_of(&n->in[TEACHER]->v) + bytes_of(&n->in[W]->v) + bytes_of(&n->in[HEAD]->v) +
             (with_w ? bytes_of(&n->out[DW]->v) : 0);
}

const lmf_op lmf_op_head_kl = {
    .name = "head_kl", .n_in_min = 5, .n_in_max = 6, .n_out = 3, .attr_bytes = sizeof(lmf_head_kl_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};
const lmf_op lmf_op_head_kl_w = {
    .name = "head_kl_w", .n_in_min = 5, .n_in_max = 6, .n_out = 4, .attr_bytes = sizeof(lmf_head_kl_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_head_kl)(lmf_graph *g, lmf_head_kl_in in, lmf_head_kl_attrs attrs, lmf_tensor **kl)
{
    lmf_tensor *list[] = { in.x, in.w, in.teacher, in.head, in.weight, in.mix };
    lmf_node *n = lmf_node_add(g, in.w && in.w->needs_grad ? &lmf_op_head_kl_w : &lmf_op_head_kl, &attrs, list, 6);
    if (kl)
        *kl = n ? n->out[KL] : NULL;
    return n ? n->out[LOSS] : NULL;
}
