/* SPDX-License-Identifier: Apache-2.0 */
/* objective: what a trainer minimizes, one file src/train/objectives/<name>.c with one descriptor; the build finds it.
 * loss adds to a graph the inputs "target" [T] i32 and "weight" [T] f32 and the scalar output "loss" over hidden states
 * x [T, D], and returns the loss; score adds the same inputs and the output "logp" [T], without gradients. */
#ifndef LMF_TRAIN_OBJECTIVE_H
#define LMF_TRAIN_OBJECTIVE_H
#include "graph/graph.h"
#include "models/arch.h"

typedef struct lmf_objective {
    const char *name;     /* "sft" */
    lmf_tensor *(*loss)(lmf_graph *g, const lmf_head_spec *head, lmf_tensor *x, int compute);
    lmf_tensor *(*score)(lmf_graph *g, const lmf_head_spec *head, lmf_tensor *x, int compute);
} lmf_objective;

#endif
