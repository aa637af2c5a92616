/* SPDX-License-Identifier: Apache-2.0 */
/* guards: mistakes of a run that show in the model or while it trains; those of data alone are data/faults.h. */
#ifndef LMF_TRAIN_GUARDS_H
#define LMF_TRAIN_GUARDS_H
#include "data/faults.h"
#include "train/trainer.h"

/* untrained_token: samples hold a control token whose embedding was never trained (all but zero), and LoRA leaves it so. */
lmf_status lmf_model_faults(const lmf_model *m, const lmf_dataset *data, bool full, lmf_faults *out);

/* Whether a run learns at all: the loss of its first rows, by the same graphs, before the first step and some steps behind the warm-up. */
typedef struct lmf_learning {
    double  first;             /* loss of the rows of step 1 before it */
    int64_t check_at;          /* the step after which it is looked at again; 0: never */
    int     n_zero, n_rising;  /* steps in a row with a gradient norm of 0; with a loss far above the first */
    bool    said;              /* that it rises */
} lmf_learning;
/* Before the first step. A resumed run is not watched. */
lmf_status lmf_learning_start(lmf_trainer *t, lmf_learning *l);
/* After each step. zero_gradients: three in a row. flat: the loss of the first rows has not moved. rising: it is far above the first. */
lmf_status lmf_learning_step(lmf_trainer *t, const lmf_train_stats *s, lmf_learning *l, lmf_faults *out);

#endif
