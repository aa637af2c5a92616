/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an answer without weight adds nothing anywhere, not even a NaN: dead places hold what an earlier step left. */
#include "ops/kto_loss/kto_loss.h"
#include <math.h>
#include "ops/scale_by/scale_by.h"

static const lmf_field fields[] = { { "beta", LMF_FIELD_F32, offsetof(lmf_kto_loss_attrs, beta), "", 1e-6, 1e6 }, { 0 } };
enum { LOGP, MEAN, SIDE, SHARE, REF, KL, N_IN };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *logp = &n->in[LOGP]->v;
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "all inputs are f32");
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.n_dims != 1 || n->in[i]->v.dim[0] != logp->dim[0])
            return lmf_refuse(g, n, LMF_E_SHAPE, "all inputs are [S]");
    lmf_out_set(n, 0, LMF_F32, 1, (int64_t[]){ 1 });
    lmf_out_set(n, 1, LMF_F32, 1, (int64_t[]){ LMF_KTO_LOSS_REPORTS });
    lmf_out_set(n, 2, LMF_F32, 1, logp->dim);
    return LMF_OK;
}

static double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

static lmf_status ref(const lmf_call *c)
{
    double loss = 0, sum[LMF_KTO_LOSS_REPORTS] = { 0 }, beta = (double)((const lmf_kto_loss_attrs *)c->attrs)->beta;
    for (int64_t s = 0; s < lmf_view_count(&c->in[LOGP]); s++) {
        double mean = lmf_get(&c->in[MEAN], s), d = 0;
        if (mean != 0) {
            double logp = lmf_get(&c->in[LOGP], s), side = lmf_get(&c->in[SIDE], s), share = lmf_get(&c->in[SHARE], s);
            double kl = lmf_get(&c->in[KL], s), r = logp - lmf_get(&c->in[REF], s), u = beta * (side > 0 ? r - kl : kl - r);
            loss += mean * fabs(side) * sigmoid(-u);
            d = -mean * side * beta * sigmoid(u) * sigmoid(-u);
            sum[side > 0 ? 0 : 1] += share * beta * r;
            sum[2] += share * beta * (side > 0 ? r : -r);
            sum[side > 0 ? 3 : 4] += share * logp;
            sum[5] += mean * kl;
        }
        lmf_set(&c->out[2], s, d);
    }
    lmf_set(&c->out[0], 0, loss);
    for (int k = 0; k < LMF_KTO_LOSS_REPORTS; k++)
        lmf_set(&c->out[1], k, sum[k]);
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    double s = (double)lmf_view_count(&n->in[LOGP]->v);
    *flops = 30 * s;
    *bytes = 28 * s;
}

const lmf_op lmf_op_kto_loss = {
    .name = "kto_loss", .n_in_min = N_IN, .n_in_max = N_IN, .n_out = 3, .attr_bytes = sizeof(lmf_kto_loss_attrs), .fields = fields,
    .infer = infer, .grad = lmf_scale_by_kept, .cost = cost, .ref = ref,
};

lmf_tensor *(lmf_kto_loss)(lmf_graph *g, lmf_tensor *const in[6], lmf_kto_loss_attrs attrs, lmf_tensor **report)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_kto_loss, &attrs, in, N_IN);
    if (report)
        *report = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
