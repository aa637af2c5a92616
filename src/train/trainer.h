/* SPDX-License-Identifier: Apache-2.0 */
/* trainer: fine-tunes a model on samples, one optimizer step a call. LoRA on any base, quantized ones included, or all weights.
 *
 * Samples of a step are packed into rows of one batch; where they don't fit, into several micro-batches whose gradients are
 * summed. The loss is the mean over all learned tokens, or groups, of the whole step (objective.h), so packing and micro-batches change
 * nothing but speed. Where an objective compares with a reference, that is the model with the weights that the run starts from; its
 * log-probabilities are computed once, before the first step, and are part of a checkpoint.
 * The same seed, data, build, device and options give the same bits, resumed or not.
 *
 *     lmf_trainer_create(ctx, "cpu", model, samples, &opts, &t);
 *     while (lmf_trainer_step(t, &stats) == LMF_OK && stats.step < stats.n_steps) ...
 *     lmf_trainer_save_adapter(t, "out");
 *     lmf_trainer_destroy(t);
 *
 * Owner: borrows model, teacher, labels and samples. Threads: one. */
#ifndef LMF_TRAIN_TRAINER_H
#define LMF_TRAIN_TRAINER_H
#include "data/samples.h"
#include "graph/plan.h"
#include "models/model.h"
#include "train/schedule.h"

typedef struct lmf_trainer lmf_trainer;
struct lmf_objective; struct lmf_sampling; struct lmf_totals; /* train/objective.h */
enum { LMF_WARMUP_SHARE = -1, LMF_WARMUP_MOST = 50 };
typedef enum lmf_optimizer { LMF_OPTIMIZER_ADAMW, LMF_OPTIMIZER_ADAMW_8BIT, LMF_OPTIMIZER_SGD } lmf_optimizer;

typedef struct lmf_objective_value { const char *name; double value; } lmf_objective_value;

typedef struct lmf_train_opts {
    size_t       struct_bytes;
    const char  *objective;        /* "sft" */
    /* its options that are not at their defaults; used by create alone */
    const lmf_objective_value *objective_values; int n_objective_values;
    /* A model that an objective learns from, with the vocabulary of the one that is trained; borrowed, never written. NULL: none */
    lmf_model   *teacher;
    struct lmf_labels *labels;     /* or what such a model thinks of these samples (labels.h); borrowed. NULL: none */
    bool         full;             /* all weights instead of LoRA */
    int32_t      lora_r;           /* 16 */
    double       lora_alpha;       /* 32 */
    double       lora_dropout;     /* 0: share of each pair's inputs that is zero in a step; below 1 */
    bool         use_rslora;       /* scale alpha / sqrt(r) instead of alpha / r */
    bool         use_dora;         /* lengths of the weights' rows are trained beside (DoRA); on a CPU, without dropout */
    const char  *target_modules;   /* "all-linear", or names as PEFT has them: "q_proj,v_proj" */
    int32_t      batch_size;       /* rows (groups of samples) an optimizer step: 4 */
    int32_t      grad_accum;       /* times that many: 4 */
    int32_t      micro_tok;        /* most tokens of one micro-batch; 0: one for the whole step up to 2,048 */
    /* longest row (all of its group) that lmf_trainer_eval will be given, where it may be longer than those trained on */
    int32_t      eval_tok;
    int64_t      max_steps;        /* 0: by epochs */
    double       epochs;           /* 1 */
    double       lr;               /* 2e-4 */
    lmf_schedule schedule;         /* linear */
    double       min_lr_ratio;     /* 0 */
    double       decay_ratio;      /* 0.2: the share of the run over which WSD falls */
    int64_t      warmup_steps;     /* LMF_WARMUP_SHARE: 5 % of the run, at most 50; more than the run has are refused */
    double       warmup_ratio;     /* with LMF_WARMUP_SHARE: that share of the run, rounded up; 0: the share above */
    lmf_optimizer optimizer;       /* AdamW with moments in f32 */
    double       momentum;         /* of SGD: 0.9 */
    double       weight_decay;     /* 0.01 */
    double       beta1, beta2, eps; /* 0.9, 0.999, 1e-8 */
    double       max_grad_norm;    /* 1; 0: none */
    uint64_t     seed;             /* 42 */
    int64_t      clock_unix;       /* what templates of the rows saw as now; kept in checkpoints, so that a resumed run sees the same */
    int          compute;          /* matmul.h: 1 */
    /* type of what goes between ops: LMF_F32; LMF_BF16, which takes half the memory and needs a device with rows for it; LMF_ANY: bf16
     * where compute is 1 and the device is no CPU and has all rows for it, else f32 */
    int          between;
    bool         recompute;        /* forget inner tensors of a layer and compute them again */
    bool         shuffle;          /* true */
    bool         profile;
    bool         plan_only;        /* stop before any memory is asked for: only the plan and its figures may be looked at */
} lmf_train_opts;

lmf_train_opts lmf_train_opts_default(void);
/* The optimizer "adamw", "adamw_8bit" or "sgd"; -1 of any other name. */
int lmf_train_optimizer(const char *name);
int lmf_train_between(const char *name); /* opts.between of "f32" and "bf16"; LMF_ANY of any other, "auto" */

typedef struct lmf_train_stats {
    int64_t step, n_steps;         /* done, in all */
    double  epoch;
    double  loss;                  /* of this step: mean over its learned tokens or groups */
    double  lr, grad_norm;
    int64_t n_tok, n_learn;        /* of this step; padding not counted */
    int64_t total_tok;             /* of all steps so far */
    int64_t n_skipped;             /* steps whose gradients were not finite, so far */
    double  report[16];            /* LMF_MAX_REPORTS: what the objective reports, of this step, in its order */
} lmf_train_stats;

lmf_status lmf_trainer_create(lmf_ctx *ctx, const char *device, lmf_model *model, const lmf_samples *samples,
                              const lmf_train_opts *opts, lmf_trainer **out);
void       lmf_trainer_destroy(lmf_trainer *t);
/* A step whose gradients are not finite changes nothing and is counted; the third in a row is LMF_E_LIMIT, with its rows. */
lmf_status lmf_trainer_step(lmf_trainer *t, lmf_train_stats *stats);
/* The data lines of the last step's rows, "3, 17", cut with " ..." where text is full. Returns text. */
const char *lmf_trainer_lines(const lmf_trainer *t, char *text, size_t n);
/* Behind that third step, once in a run: weights and moments of the newest whole checkpoint in dir from before these three; the run goes
 * on with the rows behind them, and all steps since that checkpoint count as skipped. *from: its step. LMF_E_NOT_FOUND: there is none,
 * LMF_E_LIMIT: this is not such a step, or it was done before. */
lmf_status lmf_trainer_rewind(lmf_trainer *t, const char *dir, int64_t *from);
/* Objectives whose rows are prompts: the samples of create are these, and each step is given the answers to some of them, at most
 * batch_size times grad_accum; of none, the gradients are 0. totals: of all that the loss is a mean of, answers left out of the step
 * included. step is not for them, and eval neither. */
const struct lmf_sampling *lmf_trainer_sampling(const lmf_trainer *t); /* NULL: not such an objective */
/* Where the samples are whole rows (lmf_sampling.from_rows): which of them the next step is of; row: valid until it. */
lmf_status lmf_trainer_rows_of(lmf_trainer *t, const int64_t **row, int *n);
lmf_status lmf_trainer_step_on(lmf_trainer *t, const lmf_samples *answers, const struct lmf_totals *totals, lmf_train_stats *stats);
/* Log-probabilities of the learned tokens of samples i to logp[i] [n], by token, with the weights as they are, or those of the start. */
lmf_status lmf_trainer_logp(lmf_trainer *t, const lmf_samples *samples, bool start, float *const *logp);
bool       lmf_trainer_is_done(const lmf_trainer *t);
void       lmf_trainer_stats(const lmf_trainer *t, lmf_train_stats *stats); /* counters; loss, lr and norm are 0 */
/* The objective's loss on these samples with the weights as they are: the mean negative log-probability of the learned tokens, or what
 * the objective has instead. report: NULL, or LMF_MAX_REPORTS numbers. */
lmf_status lmf_trainer_eval(lmf_trainer *t, const lmf_samples *samples, double *loss);
lmf_status lmf_trainer_eval_report(lmf_trainer *t, const lmf_samples *samples, double *loss, double *report);
const struct lmf_objective *lmf_trainer_objective(const lmf_trainer *t);
/* All weights were trained: the model as it is now, for writing (export/): a shallow copy of the model whose weights are the tuned ones,
 * f32.
 * It borrows from the trainer and its model; lmf_trainer_tuned_clear frees what is its own. */
lmf_status lmf_trainer_tuned(lmf_trainer *t, lmf_model *out);
void       lmf_trainer_tuned_clear(lmf_model *tuned);
/* PEFT folder (LoRA only). base_name goes to base_model_name_or_path. */
lmf_status lmf_trainer_save_adapter(lmf_trainer *t, const char *dir, const char *base_name);
/* Puts a PEFT adapter's A and B in place of the initial ones. */
lmf_status lmf_trainer_load_adapter(lmf_trainer *t, const char *dir);
/* dir/checkpoint-N, whole or not at all; older ones beyond keep are removed once this one is verified.
 * Neither this nor save_adapter saves parameters or moments that are not finite. */
lmf_status lmf_trainer_save(lmf_trainer *t, const char *dir, int keep, const char *base_name);
/* The newest checkpoint in dir whose hashes hold; *skipped: how many newer ones did not (their reason is in the log line). Refuses one of
 * another model, data or options, and says which. LMF_E_NOT_FOUND: none. */
lmf_status lmf_trainer_resume(lmf_trainer *t, const char *dir, int *skipped);
/* The very checkpoint path, or where path is none but a folder with some, the newest of those. */
lmf_status lmf_trainer_resume_from(lmf_trainer *t, const char *path, int *skipped);
/* Steps of the run that was gone on with, where this one is longer, whose schedule it has now; 0: it is the same run. */
int64_t    lmf_trainer_was_shorter(const lmf_trainer *t);
/* The learning rate of a step, from 0. */
double     lmf_trainer_lr(const lmf_trainer *t, int64_t step);
/* LMF_OK: path is a folder that save wrote, by its manifest's digest, and has nothing else in it; whole: and every file has its hash.
 * Else LMF_E_EXISTS with a sentence. remove takes away such a folder and no other. */
lmf_status lmf_checkpoint_check(lmf_ctx *ctx, const char *path, bool whole);
lmf_status lmf_checkpoint_remove(lmf_ctx *ctx, const char *path);
lmf_status lmf_checkpoint_remove_left(lmf_ctx *ctx, const char *path); /* of a killed process: without a manifest too */
/* opts.clock_unix of the run whose newest whole checkpoint lies in dir; *found false: none, or one that says nothing. */
/* dir: a folder of checkpoints, or one of them. */
lmf_status lmf_checkpoint_clock(lmf_ctx *ctx, const char *dir, int64_t *clock_unix, bool *found);
/* Greatest n of checkpoint-n folders in dir, or -1. */
int64_t    lmf_checkpoint_newest(const char *dir);
const lmf_memory *lmf_trainer_memory(const lmf_trainer *t);
size_t     lmf_trainer_bytes(const lmf_trainer *t);        /* asked of the device */
const lmf_plan *lmf_trainer_plan(const lmf_trainer *t);
/* What is trained, as it is now: the pairs "<role>.lora_a" [r, K] and "<role>.lora_b" [N, r], to be scaled by lmf_trainer_lora_scale;
 * or all weights. Borrowed by an engine (lmf_engine_live_adapter); each optimizer step, resume or load counts up the version. Lives as
 * long as the trainer; NULL with plan_only. */
const lmf_weights *lmf_trainer_weights(const lmf_trainer *t);
float      lmf_trainer_lora_scale(const lmf_trainer *t);
int        lmf_trainer_between(const lmf_trainer *t);       /* LMF_F32 or LMF_BF16: what was chosen */
lmf_device *lmf_trainer_device(const lmf_trainer *t);      /* for an engine that shares the base: lmf_engine_opts.shared_device */
int32_t    lmf_trainer_batch_size(const lmf_trainer *t);    /* rows a batch */
int32_t    lmf_trainer_step_rows(const lmf_trainer *t);     /* rows an optimizer step */
int        lmf_trainer_n_buckets(const lmf_trainer *t);
int64_t    lmf_trainer_n_params(const lmf_trainer *t);      /* trainable */
/* Gradient of a parameter after the last step, by name, before clipping: for oracles. n floats. */
lmf_status lmf_trainer_gradient(lmf_trainer *t, const char *name, float *out, int64_t n);

#endif
