/* SPDX-License-Identifier: Apache-2.0 */
/* distill: what a teacher thinks of the next token (Hinton et al. 2015, arXiv 1503.02531), forward, reverse or between (Agarwal et al.
 * 2023, arXiv 2306.13649, as TRL's GKDTrainer has it), and what the rows say. Means over all learned tokens of a step, as in sft. TAID
 * (Shing et al. 2025, arXiv 2501.16937): the teacher's logits are at first mixed with the student's own; its linear course, not the
 * adaptive one. lmbda: in that share of the steps, decided for each as GKDTrainer does, the rows' answers are sampled from the student. */
#include "nn/nn.h"
#include "ops/head_kl/head_kl.h"
#include "ops/head_nll/head_nll.h"
#include "ops/head_topk/head_topk.h"
#include "ops/scale_by/scale_by.h"
#include "train/objective.h"

typedef struct distill_opts {
    float   alpha, temperature, beta, taid_start, lmbda, sampling_temperature;
    int32_t divergence, max_tok;
} distill_opts;
enum { FORWARD, REVERSE, JS };
#define DEFAULT_BETA 0.5
static const lmf_objective_option options[] = {
    { "alpha", LMF_FIELD_F32, offsetof(distill_opts, alpha), "", 1e-6, 1, "0.5",
      "share of the teacher in the loss; the rest is the rows' own" },
    { "temperature", LMF_FIELD_F32, offsetof(distill_opts, temperature), "", 1e-3, 1e3, "2",
      "both logits are divided by it; the loss is multiplied by its square, so that gradients keep their size" },
    { "divergence", LMF_FIELD_I32, offsetof(distill_opts, divergence), "", 0, 0, "forward",
      "from the teacher: forward covers all that it might say, reverse keeps to what it surely would, js lies between",
      "forward|reverse|js" },
    { "beta", LMF_FIELD_F32, offsetof(distill_opts, beta), "", 1e-6, 0.999999, "0.5",
      "the teacher's share in the mixture of --divergence js" },
    { "taid-start", LMF_FIELD_F32, offsetof(distill_opts, taid_start), "", 0, 1, "1",
      "the share of its own logits that the teacher begins with, the student's being the rest; it rises to 1 at the end" },
    { "lmbda", LMF_FIELD_F32, offsetof(distill_opts, lmbda), "", 0, 1, "0",
      "GKD: the share of steps that learn from what the student answers to the rows' prompts; the others learn from the rows" },
    { "max-completion-length", LMF_FIELD_I32, offsetof(distill_opts, max_tok), "tokens", 1, 1 << 20, "128", "most tokens of an answer" },
    { "sampling-temperature", LMF_FIELD_F32, offsetof(distill_opts, sampling_temperature), "", 1e-3, 100, "0.9",
      "of the student's answers where there is --lmbda" },
    { 0 }
};

static void sampling(const void *opts, lmf_sampling *out)
{
    const distill_opts *o = opts;
    *out = (lmf_sampling){ 0 };
    if (o->lmbda > 0)
        *out = (lmf_sampling){ .n_answers = 1, .n_iterations = 1, .max_tok = o->max_tok, .temperature = o->sampling_temperature, .top_p = 1,
                               .from_rows = true, .lmbda = o->lmbda };
}

static double mix(const lmf_place *p)
{
    double start = (double)((const distill_opts *)p->opts)->taid_start;
    return start + (1 - start) * p->totals->progress;
}

enum { TARGET, WEIGHT, MIX };
static const lmf_objective_input inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "weight", LMF_PER_TOKEN, LMF_F32, lmf_value_token_mean },
    { "mix", LMF_PER_STEP, LMF_F32, mix }, { 0 }
};
static const lmf_objective_report reports[] = { { "kl", "kl", "kl" }, { "nll", "nll", "nll" }, { 0 } };

static lmf_tensor *constant(lmf_graph *g, const char *name, float value)
{
    int64_t one = 1;
    return lmf_graph_const(g, name, LMF_F32, 1, &one, &value);
}

static void check(lmf_graph *g, const lmf_loss_in *in)
{
    const distill_opts *o = in->opts;
    if (g->status)
        return;
    if (o->divergence != JS && o->beta != (float)DEFAULT_BETA)
        g->status = LMF_FAIL(g->ctx, LMF_E_ARG, "--beta is the mixture of --divergence js; the other two have none");
    else if (o->lmbda > 0 && o->alpha < 1)
        g->status = LMF_FAIL(g->ctx, LMF_E_ARG, "--lmbda: the student's own answers are no truth to learn by their tokens: give --alpha 1");
    else if (in->labels && in->labels->temperature != o->temperature)
        g->status = LMF_FAIL(g->ctx, LMF_E_ARG, "the labels were made at a temperature of %g, and --temperature is %g: give the same",
                             (double)in->labels->temperature, (double)o->temperature);
    else if (in->labels && o->taid_start < 1)
        g->status = LMF_FAIL(g->ctx, LMF_E_ARG, "--taid-start mixes all logits of a teacher, and labels have the likeliest alone: "
                             "leave one out");
}

/* The divergence: of a teacher in the graph, of its labels; NULL: of neither. */
static lmf_tensor *divergence(lmf_graph *g, const lmf_loss_in *in, lmf_tensor *w)
{
    const distill_opts *o = in->opts;
    float beta = o->divergence == FORWARD ? 0 : o->divergence == REVERSE ? 1 : o->beta;
    if (in->teacher)
        return lmf_head_kl(g, ((lmf_head_kl_in){ in->x, w, in->teacher->x, in->teacher->w, in->in[WEIGHT], in->in[MIX] }),
            ((lmf_head_kl_attrs){ in->head->scale, in->teacher->scale, o->temperature, beta, in->compute }), NULL);
    if (!in->labels)
        return NULL;
    return lmf_head_topk(g, ((lmf_head_topk_in){ in->x, w, in->labels->id, in->labels->logp, in->labels->rest, in->in[WEIGHT] }),
        ((lmf_head_topk_attrs){ in->head->scale, o->temperature, beta, in->compute }));
}

static lmf_tensor *loss(lmf_graph *g, const lmf_loss_in *in)
{
    const distill_opts *o = in->opts;
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    bool taught = in->teacher || in->labels;
    check(g, in);
    lmf_tensor *kl = divergence(g, in, w);
    lmf_tensor *nll = lmf_head_nll(g, in->x, w, in->in[TARGET], in->in[WEIGHT],
                                   ((lmf_head_nll_attrs){ in->head->scale, in->compute }), NULL);
    lmf_tensor *y = taught ? lmf_scale_by(g, kl, constant(g, "alpha", o->alpha), NULL) : NULL;
    if (!taught || o->alpha < 1)
        y = lmf_scale_by(g, nll, taught ? constant(g, "rest", 1 - o->alpha) : constant(g, "whole", 1), y);
    lmf_graph_output(g, "loss", y);
    if (taught)
        lmf_graph_output(g, "kl", kl);
    lmf_graph_output(g, "nll", nll);
    return y;
}

const lmf_objective lmf_objective_distill = { .name = "distill", .summary = "what a larger model thinks of the next token",
    .group_size = 1, .takes = LMF_TAKES_SINGLE, .options = options, .opts_bytes = sizeof(distill_opts), .inputs = inputs, .teacher = true,
    .sampling = sampling, .reports = reports, .loss = loss };
