/* SPDX-License-Identifier: Apache-2.0 */
/* simpo: Simple Preference Optimization (Meng et al. 2024, arXiv 2405.14734): a token of the chosen answer is made likelier on average than
 * one of the rejected answer, by a margin, without a reference. As TRL's CPOTrainer with loss_type "simpo"; beta and gamma are the
 * paper's for base models. */
#include "train/objectives/pairs.h"

typedef struct simpo_opts { lmf_pair_loss_attrs pair; float cpo_alpha; } simpo_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(simpo_opts, pair.beta), "", 1e-6, 1e6, "2", "scale of the rewards" },
    { "simpo-gamma", LMF_FIELD_F32, offsetof(simpo_opts, pair.gamma), "", 0, 1e6, "1", "the margin that is wanted" },
    { "label-smoothing", LMF_FIELD_F32, offsetof(simpo_opts, pair.label_smoothing), "", 0, 0.5, "0",
      "part of the pairs that are taken to be the wrong way round" },
    { "cpo-alpha", LMF_FIELD_F32, offsetof(simpo_opts, cpo_alpha), "", 0, 1e6, "0",
      "weight of the chosen answers' mean negative log-probability, added to the loss" },
    { 0 }
};
enum { TARGET, LEARNED, MEAN, WEIGHT, CHOSEN };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "learned", LMF_PER_TOKEN, LMF_F32, lmf_value_learned },
    { "mean", LMF_PER_TOKEN, LMF_F32, lmf_value_own_mean }, { "weight", LMF_PER_GROUP, LMF_F32, lmf_value_group_mean },
    { "chosen", LMF_PER_TOKEN, LMF_F32, lmf_value_first_mean }, { 0 }
};
static const lmf_objective_report reports[] = { LMF_PAIR_REPORTS, LMF_PAIR_NLL_REPORT, { 0 } };

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    const simpo_opts *o = in->opts;
    lmf_tensor *report, *logp = lmf__pair_logp(g, in, in->in[TARGET], in->in[LEARNED]);
    lmf_tensor *mean = lmf_segment_sum(g, logp, in->start, in->in[MEAN]);
    lmf_tensor *y = lmf_pair_loss(g, mean, in->in[WEIGHT], NULL, NULL, o->pair, &report);
    return lmf__pair_finish(g, y, report, logp, in->in[CHOSEN], o->cpo_alpha);
}

const lmf_objective lmf_objective_simpo = { .name = "simpo", .summary = "of two answers the chosen one, token by token, by a margin",
    .group_size = 2, .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(simpo_opts), .inputs = inputs,
    .reports = reports, .loss = loss };
