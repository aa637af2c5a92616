/* SPDX-License-Identifier: Apache-2.0 */
/* grpo: Group Relative Policy Optimization (Shao et al. 2024, arXiv 2402.03300) and its relatives: of several answers to a prompt, sampled
 * by the model itself, those with more reward than the others are made likelier. dapo counts tokens of the whole step (arXiv 2503.14476),
 * dr_grpo divides by what an answer may have (arXiv 2503.20783), bnpo counts tokens of a batch, grpo takes the mean of each answer. Names
 * and defaults as TRL's GRPOTrainer; its base is the weights that the run starts from. */
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/policy_loss/policy_loss.h"
#include "train/objectives/sampled.h"

enum { DAPO, GRPO, BNPO, DR_GRPO };
typedef struct grpo_opts {
    lmf_sampled_opts s;
    int32_t loss_type, scale_rewards;
    float   epsilon, epsilon_high, beta;
    bool    kl_ratio;
} grpo_opts;
#define AT(member) offsetof(grpo_opts, member)
static const lmf_objective_option options[] = {
    LMF_SAMPLED_OPTIONS(grpo_opts, "8", "of sampling, and of the log-probabilities that are trained"),
    { "loss-type", LMF_FIELD_I32, AT(loss_type), "", 0, 0, "dapo",
      "what the loss is a mean of: tokens of the step, answers, tokens of a batch, or what answers may have at most",
      "dapo|grpo|bnpo|dr_grpo" },
    { "beta", LMF_FIELD_F32, AT(beta), "", 0, 1e6, "0", "how much the model is held to the one that it started as" },
    { "epsilon", LMF_FIELD_F32, AT(epsilon), "", 0, 1, "0.2", "how far an answer's token may become less likely before its step is cut" },
    { "epsilon-high", LMF_FIELD_F32, AT(epsilon_high), "", -1, 1e6, "-1", "how far likelier; below 0: as epsilon" },
    LMF_SAMPLED_ITERATIONS(grpo_opts),
    { "scale-rewards", LMF_FIELD_I32, AT(scale_rewards), "", 0, 0, "group",
      "advantages are divided by the rewards' standard deviation in the group, in the step, or not", "group|batch|none" },
    LMF_SAMPLED_MASK(grpo_opts, "false", "answers that did not end by themselves are not learned from"),
    { "use-bias-correction-kl", LMF_FIELD_BOOL, AT(kl_ratio), "", 0, 1, "true",
      "of beta: what holds is weighed by the importance ratio, so that its gradient is the divergence's" },
    { 0 }
};

static void sampling(const void *opts, lmf_sampling *out)
{
    const grpo_opts *o = opts;
    *out = lmf__sampled_of(&o->s);
    out->scale = (lmf_scale_rewards)o->scale_rewards, out->old = o->s.n_iterations > 1, out->base = o->beta > 0;
}

static double of_next(const lmf_place *p, const float *logp) { return lmf_place_learned(p) && logp ? (double)logp[p->i_tok + 1] : 0; }
static double old(const lmf_place *p) { return of_next(p, p->sample->sampled->old); }
static double base(const lmf_place *p) { return of_next(p, p->sample->sampled->base); }
static double sampled(const lmf_place *p) { return of_next(p, p->sample->sampled->logp); }
static double advantage(const lmf_place *p) { return lmf_place_learned(p) ? (double)p->sample->sampled->advantage : 0; }
static double weight(const lmf_place *p)
{
    const grpo_opts *o = p->opts;
    if (!lmf_place_learned(p))
        return 0;
    switch (o->loss_type) {
    case GRPO: return lmf_value_own_mean(p) * lmf_value_group_mean(p);
    case BNPO: return (double)p->sample->sampled->batch_share;
    case DR_GRPO: return lmf_value_group_mean(p) / (double)o->s.max_tok;
    default: return lmf_value_token_mean(p);
    }
}

enum { TARGET, OLD, BASE, SAMPLED, ADVANTAGE, WEIGHT, SHARE };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "old", LMF_PER_TOKEN, LMF_F32, old },
    { "base", LMF_PER_TOKEN, LMF_F32, base }, { "sampled", LMF_PER_TOKEN, LMF_F32, sampled },
    { "advantage", LMF_PER_TOKEN, LMF_F32, advantage }, { "weight", LMF_PER_TOKEN, LMF_F32, weight },
    { "share", LMF_PER_TOKEN, LMF_F32, lmf_value_token_mean }, { 0 }
};
static const lmf_objective_report reports[] = {
    { "kl", NULL, NULL }, { "clip_ratio/low_mean", NULL, NULL }, { "clip_ratio/high_mean", NULL, NULL },
    { "clip_ratio/region_mean", "clipped", NULL },
    { "sampling/sampling_logp_difference/mean", "gap", NULL }, { 0 }
};

static lmf_tensor *logp_of(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    float scale = in->head->scale / ((const grpo_opts *)in->opts)->s.temperature;
    lmf_tensor *logp = lmf_head_logp(g, in->x, w, in->in[TARGET], in->in[SHARE], (lmf_head_logp_attrs){ scale, in->compute });
    lmf_graph_output(g, "logp", logp);
    return logp;
}

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    const grpo_opts *o = in->opts;
    lmf_policy_loss_attrs a = { o->epsilon, o->epsilon_high < 0 ? o->epsilon : o->epsilon_high, o->beta, o->s.n_iterations == 1,
                                o->kl_ratio };
    lmf_tensor *report, *const *i = in->in;
    lmf_tensor *y = lmf_policy_loss(g, ((lmf_tensor *[]){ logp_of(g, in), i[OLD], i[BASE], i[SAMPLED], i[ADVANTAGE], i[WEIGHT],
        i[SHARE] }), a,
                                    &report);
    lmf_graph_output(g, "loss", y);
    lmf_graph_output(g, "report", report);
    return y;
}

static void score(lmf_graph *g, const lmf_loss_in *in) { logp_of(g, in); }

const lmf_objective lmf_objective_grpo = { .name = "grpo", .summary = "answers that the model samples itself, by their rewards",
    .group_size = 1, .takes = LMF_TAKES_PROMPT, .sampling = sampling, .options = options, .opts_bytes = sizeof(grpo_opts),
    .inputs = inputs, .reports = reports, .loss = loss, .score = score };
