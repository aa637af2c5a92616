/* SPDX-License-Identifier: Apache-2.0 */
/* kto: Kahneman-Tversky Optimization (Ethayarajh et al. 2024, arXiv 2402.01306): answers that are good or bad each for itself. How far the
 * model has moved on the whole is estimated before each step from prompts with the answers of other rows. Names as TRL's KTOTrainer. */
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/kto_loss/kto_loss.h"
#include "ops/segment_sum/segment_sum.h"
#include "train/objective.h"

typedef struct kto_opts { float beta, desirable, undesirable; } kto_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(kto_opts, beta), "", 1e-6, 1e6, "0.1", "how much the model is held to the one that it started as" },
    { "desirable-weight", LMF_FIELD_F32, offsetof(kto_opts, desirable), "", 1e-6, 1e6, "1",
      "weight of good answers, where they are fewer" },
    { "undesirable-weight", LMF_FIELD_F32, offsetof(kto_opts, undesirable), "", 1e-6, 1e6, "1",
      "weight of bad answers, where they are fewer" },
    { 0 }
};

static double side(const lmf_place *p)
{
    const kto_opts *o = p->opts;
    return p->sample->label > 0 ? (double)o->desirable : -(double)o->undesirable;
}
static double share(const lmf_place *p) { return 1 / (double)p->totals->n_label[p->sample->label > 0]; }
static double kl(const lmf_place *p) { return p->totals->measured; }

/* The mean log-ratio of prompts with others' answers; below 0 it says nothing. */
static void measure(const float *logp, const float *reference, int64_t n, lmf_totals *totals)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)logp[i] - (double)reference[i];
    totals->measured = sum > 0 ? sum / (double)n : 0;
}

enum { TARGET, LEARNED, MEAN, SIDE, SHARE, REFERENCE, KL };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "learned", LMF_PER_TOKEN, LMF_F32, lmf_value_learned },
    { "mean", LMF_PER_SEQUENCE, LMF_F32, lmf_value_group_mean }, { "side", LMF_PER_SEQUENCE, LMF_F32, side },
    { "share", LMF_PER_SEQUENCE, LMF_F32, share }, { "reference", LMF_PER_SEQUENCE, LMF_F32, lmf_value_reference },
    { "kl", LMF_PER_SEQUENCE, LMF_F32, kl }, { 0 }
};
/* Means of the good and of the bad answers of a step; 0 where it has none. */
static const lmf_objective_report reports[] = {
    { "rewards/chosen", NULL, NULL }, { "rewards/rejected", NULL, NULL }, { "rewards/margins", "margin", NULL },
    { "logps/chosen", NULL, NULL }, { "logps/rejected", NULL, NULL }, { "kl", "kl", NULL }, { 0 }
};

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *report, *w = lmf_nn_weight(g, in->head->role, false);
    lmf_tensor *logp = lmf_head_logp(g, in->x, w, in->in[TARGET], in->in[LEARNED], (lmf_head_logp_attrs){ in->head->scale, in->compute });
    lmf_tensor *sum = lmf_segment_sum(g, logp, in->start, NULL);
    lmf_tensor *y = lmf_kto_loss(g, ((lmf_tensor *[]){ sum, in->in[MEAN], in->in[SIDE], in->in[SHARE], in->in[REFERENCE], in->in[KL] }),
                                 (lmf_kto_loss_attrs){ ((const kto_opts *)in->opts)->beta }, &report);
    lmf_graph_output(g, "logp", logp);
    lmf_graph_output(g, "loss", y);
    lmf_graph_output(g, "report", report);
    return y;
}

const lmf_objective lmf_objective_kto = { .name = "kto", .summary = "answers that are good or bad, each for itself", .group_size = 2,
    .n_measured = 1, .measure = measure, .takes = LMF_TAKES_LABELLED, .options = options, .opts_bytes = sizeof(kto_opts), .inputs = inputs,
    .reference = true, .reports = reports, .loss = loss };
