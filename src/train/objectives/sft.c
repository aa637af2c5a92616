/* SPDX-License-Identifier: Apache-2.0 */
/* sft: supervised fine-tuning and pre-training: the weighted negative log-likelihood of the next token. */
#include "train/objectives/sft.h"
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/head_nll/head_nll.h"

enum { TARGET, WEIGHT };
const lmf_objective_input lmf__sft_inputs[] = {
    { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target }, { "weight", LMF_PER_TOKEN, LMF_F32, lmf_value_token_mean }, { 0 }
};

lmf_tensor *lmf__sft_loss(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    lmf_tensor *y = lmf_head_nll(g, in->x, w, in->in[TARGET], in->in[WEIGHT], (lmf_head_nll_attrs){ in->head->scale, in->compute }, NULL);
    lmf_graph_output(g, "loss", y);
    return y;
}

void lmf__sft_score(lmf_graph *g, const lmf_loss_in *in)
{
    lmf_tensor *w = lmf_nn_weight(g, in->head->role, false);
    lmf_tensor *y = lmf_head_logp(g, in->x, w, in->in[TARGET], in->in[WEIGHT], (lmf_head_logp_attrs){ in->head->scale, in->compute });
    lmf_graph_output(g, "logp", y);
}

const lmf_objective lmf_objective_sft = { .name = "sft", .summary = "the next token of an answer or text", .group_size = 1,
    .takes = LMF_TAKES_SINGLE, .inputs = lmf__sft_inputs, .loss = lmf__sft_loss, .score = lmf__sft_score };
