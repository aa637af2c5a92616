/* SPDX-License-Identifier: Apache-2.0 */
/* What sft learns by, for objectives that learn rows as sft does: the weighted negative log-likelihood of the next token, and the
 * log-probabilities of a row. lmf__sft_inputs go with both. */
#ifndef LMF_TRAIN_OBJECTIVES_SFT_H
#define LMF_TRAIN_OBJECTIVES_SFT_H
#include "train/objective.h"

extern const lmf_objective_input lmf__sft_inputs[];
lmf_tensor *lmf__sft_loss(lmf_graph *g, const lmf_loss_in *in);
void lmf__sft_score(lmf_graph *g, const lmf_loss_in *in);
#endif
