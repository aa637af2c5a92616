/* SPDX-License-Identifier: Apache-2.0 */
/* orpo: Odds Ratio Preference Optimization (Hong, Lee, Thorne 2024, arXiv 2403.07691): the chosen answer is learned, and its odds are
 * raised against those of the rejected one, in one run and without a reference. Names as TRL's ORPOTrainer. The paper's own loss of the
 * chosen answer counts the answer's tokens; TRL counts those of the prompt too, which nll-on-prompt does here. */
#include "ops/odds_loss/odds_loss.h"
#include "train/objectives/pairs.h"

typedef struct orpo_opts { float beta; bool nll_on_prompt; } orpo_opts;
static const lmf_objective_option options[] = {
    { "beta", LMF_FIELD_F32, offsetof(orpo_opts, beta), "", 0, 1e6, "0.1", "weight of the odds beside the chosen answer's own loss" },
    { "nll-on-prompt", LMF_FIELD_BOOL, offsetof(orpo_opts, nll_on_prompt), "", 0, 1, "false",
      "the chosen answer's own loss counts the tokens of its prompt too, as TRL's does" },
    { 0 }
};

static bool is_counted(const lmf_place *p)
{
    return lmf_place_learned(p) || (p->member == 0 && ((const orpo_opts *)p->opts)->nll_on_prompt && lmf_place_has_next(p));
}
static double target(const lmf_place *p) { return is_counted(p) ? lmf_value_next(p) : 0; }
static double counted(const lmf_place *p) { return is_counted(p); }
static double chosen(const lmf_place *p)
{
    if (!((const orpo_opts *)p->opts)->nll_on_prompt)
        return lmf_value_first_mean(p);
    return p->member == 0 && lmf_place_has_next(p) ? 1 / (double)p->totals->n_next[0] : 0;
}

enum { TARGET, COUNTED, MEAN, WEIGHT, CHOSEN };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, target }, { "counted", LMF_PER_TOKEN, LMF_F32, counted },
    { "mean", LMF_PER_TOKEN, LMF_F32, lmf_value_own_mean }, { "weight", LMF_PER_GROUP, LMF_F32, lmf_value_group_mean },
    { "chosen", LMF_PER_TOKEN, LMF_F32, chosen }, { 0 }
};
static const lmf_objective_report reports[] = {
    LMF_PAIR_REPORTS, { "log_odds_ratio", NULL, NULL }, { "log_odds_chosen", NULL, NULL }, LMF_PAIR_NLL_REPORT, { 0 }
};

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *report, *logp = lmf__pair_logp(g, in, in->in[TARGET], in->in[COUNTED]);
    lmf_tensor *mean = lmf_segment_sum(g, logp, in->start, in->in[MEAN]);
    lmf_tensor *y = lmf_odds_loss(g, mean, in->in[WEIGHT], (lmf_odds_loss_attrs){ ((const orpo_opts *)in->opts)->beta }, &report);
    return lmf__pair_finish(g, y, report, logp, in->in[CHOSEN], 1);
}

const lmf_objective lmf_objective_orpo = { .name = "orpo", .summary = "the chosen answer, and its odds against the rejected one",
    .group_size = 2, .takes = LMF_TAKES_PREFERENCE, .options = options, .opts_bytes = sizeof(orpo_opts), .inputs = inputs,
    .reports = reports, .loss = loss };
