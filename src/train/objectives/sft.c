/* SPDX-License-Identifier: Apache-2.0 */
/* sft: supervised fine-tuning and pre-training: the weighted negative log-likelihood of the next token. */
#include "train/objective.h"
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/head_nll/head_nll.h"

static void add_inputs(lmf_graph *g, lmf_tensor *x, lmf_tensor **target, lmf_tensor **weight)
{
    int64_t T = x ? x->v.dim[0] : 0;
    *target = lmf_graph_tensor(g, LMF_INPUT, "target", LMF_I32, 1, &T);
    *weight = lmf_graph_tensor(g, LMF_INPUT, "weight", LMF_F32, 1, &T);
}

static lmf_tensor *loss_of(lmf_graph *g, const lmf_head_spec *head, lmf_tensor *x, int compute)
{
    lmf_tensor *target, *weight;
    add_inputs(g, x, &target, &weight);
    lmf_tensor *loss = lmf_head_nll(g, x, lmf_nn_weight(g, head->role, false), target, weight, (lmf_head_nll_attrs){ head->scale, compute }, NULL);
    lmf_graph_output(g, "loss", loss);
    return loss;
}

static lmf_tensor *score_of(lmf_graph *g, const lmf_head_spec *head, lmf_tensor *x, int compute)
{
    lmf_tensor *target, *weight;
    add_inputs(g, x, &target, &weight);
    lmf_tensor *logp = lmf_head_logp(g, x, lmf_nn_weight(g, head->role, false), target, weight, (lmf_head_logp_attrs){ head->scale, compute });
    lmf_graph_output(g, "logp", logp);
    return logp;
}

const lmf_objective lmf_objective_sft = { "sft", loss_of, score_of };
