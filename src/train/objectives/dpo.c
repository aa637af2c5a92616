/* SPDX-License-Identifier: Apache-2.0 */
/* dpo: Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290): of two answers the chosen one is made likelier than the
 * rejected one, against the model that the run started from. Names of what is reported are those of TRL's DPOTrainer. */
#include "train/objective.h"
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/pair_loss/pair_loss.h"
#include "ops/segment_sum/segment_sum.h"

static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, beta), "", 1e-6, 1e6, "0.1",
      "dpo: how much the model is held to the one that it started as" },
    { "label-smoothing", LMF_FIELD_F32, offsetof(lmf_pair_loss_attrs, label_smoothing), "", 0, 0.5, "0",
      "dpo: part of the pairs that are taken to be the wrong way round" },
    { 0 }
};
enum { TARGET, LEARNED, REFERENCE, WEIGHT };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_FILL_TARGET }, { "learned", LMF_PER_TOKEN, LMF_FILL_LEARNED },
    { "reference", LMF_PER_SEQUENCE, LMF_FILL_REFERENCE }, { "weight", LMF_PER_GROUP, LMF_FILL_WEIGHT }, { 0 }
};
/* In the order of pair_loss. */
static const lmf_objective_report reports[LMF_PAIR_LOSS_REPORTS + 1] = {
    { "rewards/chosen", NULL }, { "rewards/rejected", NULL }, { "rewards/accuracies", "right" }, { "rewards/margins", "margin" },
    { "logps/chosen", NULL }, { "logps/rejected", NULL }, { 0 }
};

static lmf_tensor *pairs(lmf_graph *g, const lmf_loss_in *in, lmf_tensor *logp)
{
    lmf_tensor *report, *sum = lmf_segment_sum(g, logp, in->start);
    lmf_tensor *y = lmf_pair_loss(g, sum, in->in[REFERENCE], in->in[WEIGHT], *(const lmf_pair_loss_attrs *)in->opts, &report);
    lmf_graph_output(g, "loss", y);
    lmf_graph_output(g, "report", report);
    return y;
}

static lmf_tensor *logp_of(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    return lmf_head_logp(g, in->x, w, in->in[TARGET], in->in[LEARNED], (lmf_head_logp_attrs){ in->head->scale, in->compute });
}

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in) { return pairs(g, in, logp_of(g, in)); }

static void score(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *logp = logp_of(g, in);
    lmf_graph_output(g, "logp", logp);
    pairs(g, in, logp);
}

const lmf_objective lmf_objective_dpo = { .name = "dpo", .summary = "of two answers the chosen one", .group_size = 2,
    .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(lmf_pair_loss_attrs), .inputs = inputs,
    .mean_over = LMF_MEAN_OVER_GROUPS, .reports = reports, .loss = loss, .score = score };
