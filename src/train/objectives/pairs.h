/* SPDX-License-Identifier: Apache-2.0 */
/* pairs: what objectives of a chosen and a rejected answer share: log-probabilities, the chosen answers' own loss, names of reports. */
#ifndef LMF_TRAIN_OBJECTIVES_PAIRS_H
#define LMF_TRAIN_OBJECTIVES_PAIRS_H
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/pair_loss/pair_loss.h"
#include "ops/scale_by/scale_by.h"
#include "ops/segment_sum/segment_sum.h"
#include "train/objective.h"

/* Elements of "report", in the order of pair_loss and of the first six of odds_loss; and of "nll_loss". */
#define LMF_PAIR_REPORTS { "rewards/chosen", NULL, NULL }, { "rewards/rejected", NULL, NULL }, { "rewards/accuracies", "right", NULL }, \
    { "rewards/margins", "margin", NULL }, { "logps/chosen", NULL, NULL }, { "logps/rejected", NULL, NULL }
#define LMF_PAIR_NLL_REPORT { "nll_loss", NULL, "nll_loss" }

/* [T], also as the output "logp": of the target where counted is not 0, else 0. */
static inline lmf_tensor *lmf__pair_logp(lmf_graph *g, const lmf_loss_in *in, lmf_tensor *target, lmf_tensor *counted)
{
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    lmf_tensor *y = lmf_head_logp(g, in->x, w, target, counted, (lmf_head_logp_attrs){ in->head->scale, in->compute });
    lmf_graph_output(g, "logp", y);
    return y;
}

/* loss - alpha * sum of weight_t logp_t, as the output "loss"; that sum's negative as "nll_loss", and report as "report". */
static inline lmf_tensor *lmf__pair_finish(lmf_graph *g, lmf_tensor *loss, lmf_tensor *report, lmf_tensor *logp, lmf_tensor *weight,
                                           float alpha)
{
    int64_t one = 1, two = 2;
    int32_t all[2] = { 0, INT32_MAX };
    float minus_one = -1, minus_alpha = -alpha;
    lmf_tensor *sum = lmf_segment_sum(g, logp, lmf_graph_const(g, "all_tokens", LMF_I32, 1, &two, all), weight);
    lmf_graph_output(g, "nll_loss", lmf_scale_by(g, sum, lmf_graph_const(g, "minus_one", LMF_F32, 1, &one, &minus_one), NULL));
    if (alpha != 0)
        loss = lmf_scale_by(g, sum, lmf_graph_const(g, "minus_alpha", LMF_F32, 1, &one, &minus_alpha), loss);
    lmf_graph_output(g, "loss", loss);
    lmf_graph_output(g, "report", report);
    return loss;
}

#endif
