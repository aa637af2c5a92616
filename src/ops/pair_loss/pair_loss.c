/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pair without weight adds nothing anywhere, not even a NaN: dead pairs hold what an earlier step left. */
#include "ops/pair_loss/pair_loss.h"
#include <math.h>
#include "ops/scale_by/scale_by.h"

static const lmf_field fields[] = {
    { "beta", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, beta), "", 1e-6, 1e6 },
    { "label_smoothing", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, label_smoothing), "", 0, 0.5 },
    { "gamma", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, gamma), "", 0, 1e6 },
    { "kind", LMF_FIELD_I32, offsetof(lmf_pair_loss_attrs, kind), "", LMF_PAIR_SIGMOID, LMF_PAIR_SQUARE },
    { 0 }
};
enum { LOGP, WEIGHT, REF, NORM };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_pair_loss_attrs *a = n->attrs;
    const lmf_view *logp = &n->in[LOGP]->v, *weight = &n->in[WEIGHT]->v;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && (n->in[i]->v.n_dims != 1 || n->in[i]->v.dim[0] != (i == WEIGHT ? 1 : 2) * weight->dim[0]))
            return lmf_refuse(g, n, LMF_E_SHAPE, "logp, ref and norm are [2 P], weight [P]");
    if (a->kind == LMF_PAIR_ROBUST && !(a->label_smoothing < 0.5f))
        return lmf_refuse(g, n, LMF_E_ARG, "the robust loss needs a label smoothing below 0.5");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, 1, (int64_t[]){ LMF_PAIR_LOSS_REPORTS });
    lmf_out_set(n, 2, LMF_F32, 1, logp->dim);
    return LMF_OK;
}

/* log(1 / (1 + exp(-x))) without overflow on either side. */
static double log_sigmoid(double x) { return (x < 0 ? x : 0) - log1p(exp(-fabs(x))); }
static double sigmoid(double x) { return exp(log_sigmoid(x)); }

/* The loss of a pair whose scores are d apart, and its derivative by d. */
static double pair(const lmf_pair_loss_attrs *a, double d, double *slope)
{
    double beta = (double)a->beta, e = (double)a->label_smoothing, m = beta * d - (double)a->gamma;
    switch (a->kind) {
    case LMF_PAIR_SIGMOID:
        *slope = beta * (e * sigmoid(m) - (1 - e) * sigmoid(-m));
        return -(1 - e) * log_sigmoid(m) - e * log_sigmoid(-m);
    case LMF_PAIR_HINGE:
        *slope = m < 1 ? -beta : 0;
        return m < 1 ? 1 - m : 0;
    case LMF_PAIR_ROBUST:
        *slope = -beta * ((1 - e) * sigmoid(-m) + e * sigmoid(m)) / (1 - 2 * e);
        return (-(1 - e) * log_sigmoid(m) + e * log_sigmoid(-m)) / (1 - 2 * e);
    default:
        *slope = 2 * (d - 0.5 / beta);
        return (d - 0.5 / beta) * (d - 0.5 / beta);
    }
}

/* Of an input that may be absent. */
static double value(const lmf_call *c, int i, int64_t at, double absent)
{
    return c->n_in > i && c->in[i].n_dims ? lmf_get(&c->in[i], at) : absent;
}

static lmf_status ref(const lmf_call *c)
{
    const lmf_pair_loss_attrs *a = c->attrs;
    double loss = 0, sum[LMF_PAIR_LOSS_REPORTS] = { 0 };
    for (int64_t p = 0; p < lmf_view_count(&c->in[WEIGHT]); p++) {
        double w = lmf_get(&c->in[WEIGHT], p), logp[2], gain[2], norm[2] = { 0 }, slope = 0;
        for (int k = 0; k < 2 && w != 0; k++) {
            logp[k] = lmf_get(&c->in[LOGP], 2 * p + k);
            gain[k] = logp[k] - value(c, REF, 2 * p + k, 0);
            norm[k] = value(c, NORM, 2 * p + k, 1);
        }
        if (w != 0) {
            double beta = (double)a->beta, margin = beta * (gain[0] - gain[1]);
            double row[] = { beta * gain[0], beta * gain[1], margin > 0, margin, logp[0], logp[1] };
            loss += w * pair(a, norm[0] * gain[0] - norm[1] * gain[1], &slope);
            for (int k = 0; k < LMF_PAIR_LOSS_REPORTS; k++)
                sum[k] += w * row[k];
        }
        lmf_set(&c->out[2], 2 * p, w * slope * norm[0]);
        lmf_set(&c->out[2], 2 * p + 1, -w * slope * norm[1]);
    }
    lmf_set(&c->out[0], 0, loss);
    for (int k = 0; k < LMF_PAIR_LOSS_REPORTS; k++)
        lmf_set(&c->out[1], k, sum[k]);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double p = (double)lmf_view_count(&n->in[WEIGHT]->v);
    *flops = 40 * p;
    *bytes = 36 * p;
}

const lmf_op lmf_op_pair_loss = {
    .name = "pair_loss", .n_in_min = 2, .n_in_max = 4, .n_out = 3, .attr_bytes = sizeof(lmf_pair_loss_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_pair_loss)(lmf_graph *g, lmf_tensor *logp, lmf_tensor *weight, lmf_tensor *ref_logp, lmf_tensor *norm,
                            lmf_pair_loss_attrs attrs, lmf_tensor **report)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_pair_loss, &attrs, (lmf_tensor *[]){ logp, weight, ref_logp, norm }, 4);
    if (report)
        *report = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
