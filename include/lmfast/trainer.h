/* SPDX-License-Identifier: Apache-2.0 */
/* trainer: fine-tunes a model on rows, as settings say. What is learned is an adapter, a folder of PEFT's form that
 * lmfast_engine_opts.adapters, lmfast_export and other programs take; the model's file is not touched, and may be quantized.
 *
 *     lmfast_trainer *trainer;
 *     lmfast_train_stats stats = { .struct_bytes = sizeof stats };
 *     lmfast_status s = lmfast_trainer_create(model, rows, NULL, settings, &trainer);
 *     while (!s && !lmfast_trainer_is_done(trainer) && !(s = lmfast_trainer_step(trainer, &stats)))
 *         printf("step %lld of %lld: loss %.4f\n", (long long)stats.step, (long long)stats.n_steps, stats.loss);
 *     if (!s)
 *         s = lmfast_trainer_save_adapter(trainer, "my_adapter");
 *     if (s)
 *         fprintf(stderr, "%s\n", lmfast_error(ctx));
 *     lmfast_trainer_destroy(trainer);
 *
 * Where the setting output was set, the trainer does a whole run in that folder, as lmfast train does: checkpoints, a log, the settings,
 * with lmfast_trainer_finish the adapter. A run that was stopped goes on with the setting resume. Without it nothing is written but what
 * lmfast_trainer_save_adapter is asked for.
 * The same rows, settings, build and machine give the same adapter, bit by bit, and the same as lmfast train's.
 * Threads: one at a time. */
#ifndef LMFAST_TRAINER_H
#define LMFAST_TRAINER_H
#include "lmfast/dataset.h"
#include "lmfast/model.h"
#include "lmfast/settings.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_trainer lmfast_trainer;

enum { LMFAST_TRAIN_MAX_REPORTS = 16 };
typedef struct lmfast_train_stats {
    size_t      struct_bytes;
    int64_t     step, n_steps;  /* done, and in all */
    double      epoch;
    double      loss;           /* of this step: mean over its learned tokens, or groups of rows */
    double      lr, grad_norm;
    int64_t     n_tok, n_learn; /* tokens of this step, and those of them that are learned */
    int64_t     total_tok;      /* of all steps so far, those before a resume included */
    int64_t     n_skipped;      /* steps whose gradients were not finite and that changed nothing, so far */
    double      seconds;        /* since create */
    bool        evaluated;      /* eval_loss is of this step */
    double      eval_loss;
    int32_t     n_reports;      /* numbers that the objective reports of this step: lmfast_trainer_report_name */
    double      report[LMFAST_TRAIN_MAX_REPORTS];
} lmfast_train_stats;

/* model NULL: opened as the settings model, chat-template and control-tokens say. rows NULL: read as data and bad-rows say; eval_rows
 * NULL: as eval-data says, or none. Rows may be closed afterwards, settings destroyed. Asks for all memory that training needs, and
 * refuses all that can be refused before anything is written. LMFAST_E_ARG: settings that contradict each other or what was given.
 * LMFAST_E_FORMAT: rows that
 * this objective can't learn from, with file and line. LMFAST_E_EXISTS: output holds something else. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_create(lmfast_model *model, const lmfast_dataset *rows,
                                                               const lmfast_dataset *eval_rows, lmfast_settings *settings,
                                                               lmfast_trainer **out);
/* What was not kept goes: no empty folder, no half of a run. */
LMFAST_API void lmfast_trainer_destroy(lmfast_trainer *trainer);
/* One optimizer step; evaluation, log and checkpoint where they are due. stats may be NULL. A step whose gradients are not finite changes
 * nothing and is counted; the third in a row is LMFAST_E_LIMIT. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_step(lmfast_trainer *trainer, lmfast_train_stats *stats);
LMFAST_API bool lmfast_trainer_is_done(const lmfast_trainer *trainer);
/* With output: a checkpoint now, which resume goes on from. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_save_checkpoint(lmfast_trainer *trainer);
/* With output: the adapter into that folder. LMFAST_E_LIMIT: no step had finite gradients, so nothing was learned. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_finish(lmfast_trainer *trainer);
/* The adapter as it is, into a folder that is not there yet, is empty, or holds an adapter that LMFast wrote. LMFAST_E_EXISTS: something
 * else is there. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_save_adapter(lmfast_trainer *trainer, const char *dir);
/* Loss on the rows for evaluation with the weights as they are. LMFAST_E_ARG: there are none. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_eval(lmfast_trainer *trainer, double *loss);
/* Name of the objective's i-th reported number; NULL: there is none. Static storage. */
LMFAST_API const char *lmfast_trainer_report_name(const lmfast_trainer *trainer, int32_t i);
LMFAST_API int64_t lmfast_trainer_n_params(const lmfast_trainer *trainer); /* that are trained */
LMFAST_API int64_t lmfast_trainer_bytes(const lmfast_trainer *trainer);    /* of memory, all planned before the first step */

#ifdef __cplusplus
}
#endif
#endif
