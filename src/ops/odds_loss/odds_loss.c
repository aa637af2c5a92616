/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pair without weight adds nothing anywhere, not even a NaN: dead pairs hold what an earlier step left. */
#include "ops/odds_loss/odds_loss.h"
#include <math.h>
#include "ops/scale_by/scale_by.h"

static const lmf_field fields[] = { { "beta", LMF_FIELD_F32, offsetof(lmf_odds_loss_attrs, beta), "", 0, 1e6 }, { 0 } };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *logp = &n->in[0]->v, *weight = &n->in[1]->v;
    if (logp->dtype != LMF_F32 || weight->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "both inputs are f32");
    if (logp->n_dims != 1 || weight->n_dims != 1 || logp->dim[0] != 2 * weight->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "logp is [2 P] and weight [P]");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, 1, (int64_t[]){ LMF_ODDS_LOSS_REPORTS });
    lmf_out_set(n, 2, LMF_F32, 1, logp->dim);
    return LMF_OK;
}

static double log_sigmoid(double x) { return (x < 0 ? x : 0) - log1p(exp(-fabs(x))); }
/* log(1 - exp(x)) for x below 0. */
static double log1mexp(double x) { return x > -0.6931471805599453 ? log(-expm1(x)) : log1p(-exp(x)); }

static lmf_status ref(const lmf_call *c)
{
    const lmf_odds_loss_attrs *a = c->attrs;
    double loss = 0, sum[LMF_ODDS_LOSS_REPORTS] = { 0 }, beta = (double)a->beta;
    for (int64_t p = 0; p < lmf_view_count(&c->in[1]); p++) {
        double w = lmf_get(&c->in[1], p), logp[2], x[2], d[2] = { 0 };
        for (int k = 0; k < 2 && w != 0; k++) {
            logp[k] = lmf_get(&c->in[0], 2 * p + k);
            x[k] = logp[k] > -0x1p-20 ? -0x1p-20 : logp[k];
        }
        if (w != 0) {
            double odds = (x[0] - x[1]) - (log1mexp(x[0]) - log1mexp(x[1])), ratio = log_sigmoid(odds), slope = exp(log_sigmoid(-odds));
            double row[] = { beta * logp[0], beta * logp[1], beta * logp[0] > beta * logp[1], beta * (logp[0] - logp[1]), logp[0], logp[1],
                             ratio, odds };
            loss -= w * beta * ratio;
            d[0] = w * beta * slope / expm1(x[0]); /* d log odds / d logp = -1 / expm1(logp) */
            d[1] = -w * beta * slope / expm1(x[1]);
            for (int k = 0; k < LMF_ODDS_LOSS_REPORTS; k++)
                sum[k] += w * row[k];
        }
        for (int k = 0; k < 2; k++)
            lmf_set(&c->out[2], 2 * p + k, d[k]);
    }
    lmf_set(&c->out[0], 0, loss);
    for (int k = 0; k < LMF_ODDS_LOSS_REPORTS; k++)
        lmf_set(&c->out[1], k, sum[k]);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double p = (double)lmf_view_count(&n->in[1]->v);
    *flops = 60 * p;
    *bytes = 20 * p;
}

const lmf_op lmf_op_odds_loss = {
    .name = "odds_loss", .n_in_min = 2, .n_in_max = 2, .n_out = 3, .attr_bytes = sizeof(lmf_odds_loss_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_odds_loss)(lmf_graph *g, lmf_tensor *logp, lmf_tensor *weight, lmf_odds_loss_attrs attrs, lmf_tensor **report)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_odds_loss, &attrs, (lmf_tensor *[]){ logp, weight }, 2);
    if (report)
        *report = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
