/* SPDX-License-Identifier: Apache-2.0 */
/* run: a training run as its settings say, from rows to an adapter, in a folder: checkpoints, metrics.jsonl and the same for TensorBoard,
 * lmfast_config.yaml, the adapter or model at the end. What the command does and what the library offers is this.
 *
 *     lmf_run_opts o = lmf_run_opts_default();
 *     o.config = &config, o.fields = fields;
 *     LMF_TRY(lmf_run_create(ctx, &o, &r));                 // all that can be refused is refused here, before anything is written
 *     while (!s && !lmf_run_is_done(r) && !stop)
 *         s = lmf_run_step(r, &stats);
 *     s = s ? s : stop ? lmf_run_save(r) : lmf_run_complete(r);
 *     lmf_run_destroy(r);
 *
 * Owner: borrows all that the options point to. Threads: one. */
#ifndef LMF_TRAIN_RUN_H
#define LMF_TRAIN_RUN_H
#include "config/train_config.h"
#include "data/samples.h"
#include "models/model.h"
#include "train/objective.h"
#include "train/rollout.h"
#include "train/trainer.h"

typedef struct lmf_run lmf_run;

typedef struct lmf_run_opts {
    size_t            struct_bytes;
    const char       *device;        /* NULL: "cpu" */
    lmf_train_config *config;        /* settled by create: steps, clock */
    const lmf_flag   *fields;        /* its table, the objectives' options included: what lmfast_config.yaml is written by */
    lmf_model        *model;         /* open, with template, control and clock set; NULL: config->model is opened */
    const lmf_rows   *data, *eval_data; /* instead of config->data and config->eval_data; NULL: those */
    /* Instead of all data: what is trained on and measured (NULL: nothing is), and the receipt of where it comes from; command: which one
     * does this run again by its configuration, NULL: "train". */
    const lmf_samples *samples, *eval_samples;
    json_t           *data_facts;
    const char       *command;
    /* For --method full: writes all weights to the folder dir in the type "bf16" ... (export/run_model.h). NULL: such runs are refused */
    lmf_status      (*write_model)(lmf_ctx *ctx, const lmf_model *tuned, const char *dir, const char *type);
    bool              no_folder;     /* nothing is written: config->output, checkpoints and log are none */
    void            (*note)(void *user, bool warning, const char *sentence); /* what is no failure; NULL: nobody is told */
    void             *user;
} lmf_run_opts;
lmf_run_opts lmf_run_opts_default(void);

typedef struct lmf_run_stats {
    lmf_train_stats s;
    double  first_loss, seconds;     /* since create */
    int64_t run_tok;                 /* tokens of this process's steps; s.total_tok has those before a resume too */
    bool    evaluated; double eval_loss; /* by this step */
    int     n_more; lmf_rollout_number more[LMF_MAX_ROLLOUT_NUMBERS]; /* of the answers that were sampled */
} lmf_run_stats;

lmf_status lmf_run_create(lmf_ctx *ctx, const lmf_run_opts *opts, lmf_run **out);
/* What was not kept goes: no empty folder, no half of a run. NULL is fine. */
void       lmf_run_destroy(lmf_run *r);
/* One step; evaluation, log and checkpoint where they are due. out may be NULL. */
lmf_status lmf_run_step(lmf_run *r, lmf_run_stats *out);
bool       lmf_run_is_done(const lmf_run *r);
void       lmf_run_get_stats(const lmf_run *r, lmf_run_stats *out);
/* False while answers that were sampled are to be learned from again: a checkpoint waits for the end of that. */
bool       lmf_run_can_save(const lmf_run *r);
/* A checkpoint now, to go on from with --resume: the run is stopped. */
lmf_status lmf_run_save(lmf_run *r);
/* The adapter into the folder, or with --method full the model. LMF_E_LIMIT: no step had finite gradients. */
lmf_status lmf_run_complete(lmf_run *r);
size_t             lmf_run_sampler_bytes(const lmf_run *r); /* memory of what samples, beside the trainer's; 0: nothing does */
lmf_trainer       *lmf_run_trainer(const lmf_run *r);
const lmf_samples *lmf_run_samples(const lmf_run *r);
const lmf_samples *lmf_run_eval_samples(const lmf_run *r); /* NULL: none */

#endif
