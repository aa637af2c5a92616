/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token without share adds nothing anywhere, not even a NaN: dead places hold what an earlier step left. */
#include "ops/policy_loss/policy_loss.h"
#include <math.h>
#include "ops/scale_by/scale_by.h"

#define AT(member) offsetof(lmf_policy_loss_attrs, member)
static const lmf_field fields[] = {
    { "epsilon", LMF_FIELD_F32, AT(epsilon), "", 0, 1 }, { "epsilon_high", LMF_FIELD_F32, AT(epsilon_high), "", 0, 1e6 },
    { "beta", LMF_FIELD_F32, AT(beta), "", 0, 1e6 }, { "on_policy", LMF_FIELD_I32, AT(on_policy), "", 0, 1 },
    { "kl_ratio", LMF_FIELD_I32, AT(kl_ratio), "", 0, 1 }, { 0 }
};
enum { LOGP, OLD, BASE, SAMPLED, ADVANTAGE, WEIGHT, SHARE, N_IN };
enum { KL, LOW, HIGH, EITHER, GAP };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *logp = &n->in[LOGP]->v;
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.n_dims != 1 || n->in[i]->v.dim[0] != logp->dim[0])
            return lmf_refuse(g, n, LMF_E_SHAPE, "all inputs are [T]");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, 1, (int64_t[]){ LMF_POLICY_LOSS_REPORTS });
    lmf_out_set(n, 2, LMF_F32, 1, logp->dim);
    return LMF_OK;
}

/* One token: its loss, its gradient, what it reports. */
static double token(const lmf_policy_loss_attrs *a, const double in[N_IN], double *d, double report[LMF_POLICY_LOSS_REPORTS])
{
    double r = a->on_policy ? 1 : exp(in[LOGP] - in[OLD]), A = in[ADVANTAGE], low = 1 - (double)a->epsilon,
        high = 1 + (double)a->epsilon_high;
    bool is_low = r < low && A < 0, is_high = r > high && A > 0;
    double y = -(is_low ? low : is_high ? high : r) * A, kl = 0;
    *d = is_low || is_high ? 0 : -r * A;
    if (a->beta > 0) {
        double x = in[BASE] - in[LOGP], w = a->kl_ratio ? r : 1;
        kl = w * (expm1(x) - x);
        y += (double)a->beta * kl;
        *d += (double)a->beta * ((a->kl_ratio ? kl : 0) - w * expm1(x));
    }
    *d *= in[WEIGHT];
    report[KL] += in[SHARE] * kl;
    report[LOW] += is_low ? in[SHARE] : 0;
    report[HIGH] += is_high ? in[SHARE] : 0;
    report[EITHER] += is_low || is_high ? in[SHARE] : 0;
    report[GAP] += in[SHARE] * fabs(in[LOGP] - in[SAMPLED]);
    return in[WEIGHT] * y;
}

static lmf_status ref(const lmf_call *c)
{
    double loss = 0, report[LMF_POLICY_LOSS_REPORTS] = { 0 };
    for (int64_t t = 0; t < lmf_view_count(&c->in[LOGP]); t++) {
        double in[N_IN], d = 0;
        for (int i = 0; i < N_IN; i++)
            in[i] = lmf_get(&c->in[i], t);
        if (in[SHARE] != 0)
            loss += token(c->attrs, in, &d, report);
        lmf_set(&c->out[2], t, d);
    }
    lmf_set(&c->out[0], 0, loss);
    for (int k = 0; k < LMF_POLICY_LOSS_REPORTS; k++)
        lmf_set(&c->out[1], k, report[k]);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double t = (double)lmf_view_count(&n->in[LOGP]->v);
    *flops = 30 * t;
    *bytes = 32 * t;
}

const lmf_op lmf_op_policy_loss = {
    .name = "policy_loss", .n_in_min = N_IN, .n_in_max = N_IN, .n_out = 3, .attr_bytes = sizeof(lmf_policy_loss_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_policy_loss)(lmf_graph *g, lmf_tensor *const in[7], lmf_policy_loss_attrs attrs, lmf_tensor **report)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_policy_loss, &attrs, in, N_IN);
    if (report)
        *report = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
