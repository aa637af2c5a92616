/* SPDX-License-Identifier: Apache-2.0 */
/* cpo: Contrastive Preference Optimization (Xu et al. 2024, arXiv 2401.08417): DPO's loss with an even reference, and the chosen answers'
 * own loss. As TRL's CPOTrainer, names too. */
#include "train/objectives/pairs.h"

typedef struct cpo_opts { lmf_pair_loss_attrs pair; float cpo_alpha; } cpo_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(cpo_opts, pair.beta), "", 1e-6, 1e6, "0.1", "scale of the rewards" },
    { "loss-type", LMF_FIELD_I32, offsetof(cpo_opts, pair.kind), "", 0, 0, "sigmoid", "shape of the loss over the margin",
      .choices = "sigmoid|hinge" },
    { "label-smoothing", LMF_FIELD_F32, offsetof(cpo_opts, pair.label_smoothing), "", 0, 0.5, "0",
      "part of the pairs that are taken to be the wrong way round" },
    { "cpo-alpha", LMF_FIELD_F32, offsetof(cpo_opts, cpo_alpha), "", 0, 1e6, "1",
      "weight of the chosen answers' mean negative log-probability, added to the loss" },
    { 0 }
};
enum { TARGET, LEARNED, WEIGHT, CHOSEN };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "learned", LMF_PER_TOKEN, LMF_F32, lmf_value_learned },
    { "weight", LMF_PER_GROUP, LMF_F32, lmf_value_group_mean }, { "chosen", LMF_PER_TOKEN, LMF_F32, lmf_value_first_mean }, { 0 }
};
static const lmf_objective_report reports[] = { LMF_PAIR_REPORTS, LMF_PAIR_NLL_REPORT, { 0 } };

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    const cpo_opts *o = in->opts;
    lmf_tensor *report, *logp = lmf__pair_logp(g, in, in->in[TARGET], in->in[LEARNED]);
    lmf_tensor *y = lmf_pair_loss(g, lmf_segment_sum(g, logp, in->start, NULL), in->in[WEIGHT], NULL, NULL, o->pair, &report);
    return lmf__pair_finish(g, y, report, logp, in->in[CHOSEN], o->cpo_alpha);
}

const lmf_objective lmf_objective_cpo = { .name = "cpo", .summary = "of two answers the chosen one, without a reference", .group_size = 2,
    .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(cpo_opts), .inputs = inputs, .reports = reports, .loss = loss };
