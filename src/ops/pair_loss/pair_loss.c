/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pair without weight adds nothing anywhere, not even a NaN: dead pairs hold what an earlier step left. */
#include "ops/pair_loss/pair_loss.h"
#include <math.h>
#include "ops/scale_by/scale_by.h"

static const lmf_field fields[] = {
    { "beta", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, beta), "", 1e-6, 1e6 },
    { "label_smoothing", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, label_smoothing), "", 0, 0.5 },
    { 0 }
};

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *logp = &n->in[0]->v, *ref = &n->in[1]->v, *weight = &n->in[2]->v;
    if (logp->dtype != LMF_F32 || ref->dtype != LMF_F32 || weight->dtype != LMF_F32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    if (logp->n_dims != 1 || ref->n_dims != 1 || weight->n_dims != 1 || logp->dim[0] != 2 * weight->dim[0] || ref->dim[0] != logp->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "logp and ref are [2 P], weight [P]");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, 1, (int64_t[]){ LMF_PAIR_LOSS_REPORTS });
    lmf_out_set(n, 2, LMF_F32, 1, logp->dim);
    return LMF_OK;
}

/* log(1 / (1 + exp(-x))) without overflow on either side. */
static double log_sigmoid(double x) { return (x < 0 ? x : 0) - log1p(exp(-fabs(x))); }
static double sigmoid(double x) { return exp(log_sigmoid(x)); }

static lmf_status ref(const lmf_call *c)
{
    const lmf_pair_loss_attrs *a = c->attrs;
    double loss = 0, sum[LMF_PAIR_LOSS_REPORTS] = { 0 }, beta = (double)a->beta, e = (double)a->label_smoothing;
    for (int64_t p = 0; p < lmf_view_count(&c->in[2]); p++) {
        double w = lmf_get(&c->in[2], p), logp[2], reward[2], d = 0;
        for (int k = 0; k < 2 && w != 0; k++) {
            logp[k] = lmf_get(&c->in[0], 2 * p + k);
            reward[k] = beta * (logp[k] - lmf_get(&c->in[1], 2 * p + k));
        }
        if (w != 0) {
            double margin = reward[0] - reward[1], row[] = { reward[0], reward[1], margin > 0, margin, logp[0], logp[1] };
            loss -= w * ((1 - e) * log_sigmoid(margin) + e * log_sigmoid(-margin));
            d = w * beta * (e * sigmoid(margin) - (1 - e) * sigmoid(-margin));
            for (int k = 0; k < LMF_PAIR_LOSS_REPORTS; k++)
                sum[k] += w * row[k];
        }
        lmf_set(&c->out[2], 2 * p, d);
        lmf_set(&c->out[2], 2 * p + 1, -d);
    }
    lmf_set(&c->out[0], 0, loss);
    for (int k = 0; k < LMF_PAIR_LOSS_REPORTS; k++)
        lmf_set(&c->out[1], k, sum[k]);
    return LMF_OK;
}

static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    if (d_out[1] || d_out[2])
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "only its loss has a gradient");
    if (n->in[1]->needs_grad || n->in[2]->needs_grad)
        return lmf_refuse(g, n, LMF_E_UNSUPPORTED, "ref and weight have no gradient");
    d_in[0] = (lmf_scale_by)(g, n->out[2], d_out[0], d_in[0]);
    return g->status;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double p = (double)lmf_view_count(&n->in[2]->v);
    *flops = 40 * p;
    *bytes = 28 * p;
}

const lmf_op lmf_op_pair_loss = {
    .name = "pair_loss", .n_in_min = 3, .n_in_max = 3, .n_out = 3, .attr_bytes = sizeof(lmf_pair_loss_attrs), .fields = fields,
    .infer = infer, .grad = grad, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_pair_loss)(lmf_graph *g, lmf_tensor *logp, lmf_tensor *ref_logp, lmf_tensor *weight, lmf_pair_loss_attrs attrs,
                            lmf_tensor **report)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_pair_loss, &attrs, (lmf_tensor *[]){ logp, ref_logp, weight }, 3);
    if (report)
        *report = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
