/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_internal: what trainer.c and checkpoint.c share. */
#ifndef LMF_TRAIN_TRAINER_INTERNAL_H
#define LMF_TRAIN_TRAINER_INTERNAL_H
#include "nn/nn.h"
#include "train/batches.h"
#include "train/objective.h"
#include "train/trainer.h"

struct lmf_trainer {
    lmf_ctx        *ctx;
    lmf_arena       arena;
    lmf_model      *model;
    lmf_device     *dev;
    lmf_train_opts  opts;
    const lmf_objective *objective;
    lmf_params      params;
    lmf_nn          nn;
    lmf_batches     batches;
    lmf_graph      *graphs[2 * LMF_MAX_BUCKETS + 1]; /* step of each bucket, then evaluation of each, then the update */
    int             n_graphs;
    lmf_plan       *plan;
    lmf_step_plan   now;             /* the step in progress */
    int64_t         step;            /* optimizer steps done */
    int64_t         total_tok, n_skipped;
    int             n_bad;           /* skipped ones in a row, up to now */
    char            model_sha256[65]; /* of the model's weights, made when the first checkpoint is */
};

#endif
