/* SPDX-License-Identifier: Apache-2.0 */
/* dpo: Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290): of two answers the chosen one is made likelier than the
 * rejected one, against the model that the run started from. Names of options and of what is reported are those of TRL's DPOTrainer;
 * rpo-alpha is the weight of its loss type "sft" (Pang et al. 2024, arXiv 2404.19733). */
#include "train/objectives/pairs.h"

typedef struct dpo_opts { lmf_pair_loss_attrs pair; float rpo_alpha; } dpo_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(dpo_opts, pair.beta), "", 1e-6, 1e6, "0.1",
      "how much the model is held to the one that it started as" },
    { "loss-type", LMF_FIELD_I32, offsetof(dpo_opts, pair.kind), "", 0, 0, "sigmoid", "shape of the loss over the margin",
      .choices = "sigmoid|hinge|robust" },
    { "label-smoothing", LMF_FIELD_F32, offsetof(dpo_opts, pair.label_smoothing), "", 0, 0.5, "0",
      "part of the pairs that are taken to be the wrong way round" },
    { "rpo-alpha", LMF_FIELD_F32, offsetof(dpo_opts, rpo_alpha), "", 0, 1e6, "0",
      "weight of the chosen answers' mean negative log-probability, added to the loss" },
    { 0 }
};
enum { TARGET, LEARNED, REFERENCE, WEIGHT, CHOSEN };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "learned", LMF_PER_TOKEN, LMF_F32, lmf_value_learned },
    { "reference", LMF_PER_SEQUENCE, LMF_F32, lmf_value_reference }, { "weight", LMF_PER_GROUP, LMF_F32, lmf_value_group_mean },
    { "chosen", LMF_PER_TOKEN, LMF_F32, lmf_value_first_mean }, { 0 }
};
static const lmf_objective_report reports[] = { LMF_PAIR_REPORTS, LMF_PAIR_NLL_REPORT, { 0 } };

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    const dpo_opts *o = in->opts;
    lmf_tensor *report, *logp = lmf__pair_logp(g, in, in->in[TARGET], in->in[LEARNED]);
    lmf_tensor *sum = lmf_segment_sum(g, logp, in->start, NULL);
    lmf_tensor *y = lmf_pair_loss(g, sum, in->in[WEIGHT], in->in[REFERENCE], NULL, o->pair, &report);
    return lmf__pair_finish(g, y, report, logp, in->in[CHOSEN], o->rpo_alpha);
}

const lmf_objective lmf_objective_dpo = { .name = "dpo", .summary = "of two answers the chosen one, against the model as it started",
    .group_size = 2, .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(dpo_opts), .inputs = inputs,
    .reference = true, .reports = reports, .loss = loss };
