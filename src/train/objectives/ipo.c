/* SPDX-License-Identifier: Apache-2.0 */
/* ipo: Identity Preference Optimization (Azar et al. 2023, arXiv 2310.12036): the difference of two answers' mean log-ratios to the model
 * that the run started from is drawn to 1 / (2 beta), and not beyond. As TRL's DPOTrainer with loss_type "ipo", names too. */
#include "train/objectives/pairs.h"

typedef struct ipo_opts { float beta; } ipo_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(ipo_opts, beta), "", 1e-6, 1e6, "0.1", "half of the margin's reciprocal: the paper's tau" }, { 0 }
};
enum { TARGET, LEARNED, REFERENCE, PER_TOKEN, WEIGHT, CHOSEN };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "learned", LMF_PER_TOKEN, LMF_F32, lmf_value_learned },
    { "reference", LMF_PER_SEQUENCE, LMF_F32, lmf_value_reference }, { "per_token", LMF_PER_SEQUENCE, LMF_F32, lmf_value_per_token },
    { "weight", LMF_PER_GROUP, LMF_F32, lmf_value_group_mean }, { "chosen", LMF_PER_TOKEN, LMF_F32, lmf_value_first_mean }, { 0 }
};
static const lmf_objective_report reports[] = { LMF_PAIR_REPORTS, LMF_PAIR_NLL_REPORT, { 0 } };

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_pair_loss_attrs a = { .kind = LMF_PAIR_SQUARE, .beta = ((const ipo_opts *)in->opts)->beta };
    lmf_tensor *report, *logp = lmf__pair_logp(g, in, in->in[TARGET], in->in[LEARNED]);
    lmf_tensor *sum = lmf_segment_sum(g, logp, in->start, NULL);
    lmf_tensor *y = lmf_pair_loss(g, sum, in->in[WEIGHT], in->in[REFERENCE], in->in[PER_TOKEN], a, &report);
    return lmf__pair_finish(g, y, report, logp, in->in[CHOSEN], 0);
}

const lmf_objective lmf_objective_ipo = { .name = "ipo", .summary = "as dpo, but only up to a margin", .group_size = 2,
    .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(ipo_opts), .inputs = inputs, .reference = true,
    .reports = reports, .loss = loss };
