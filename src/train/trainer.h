/* SPDX-License-Identifier: Apache-2.0 */
/* trainer: fine-tunes a model on samples, one optimizer step a call. LoRA on any base, quantized ones included, or all weights.
 *
 * Samples of a step are packed into rows of one batch; where they don't fit, into several micro-batches whose gradients are
 * summed. The loss is the mean over all learned tokens of the whole step, so packing and micro-batches change nothing but speed.
 * The same seed, data, build, device and options give the same bits, resumed or not.
 *
 *     lmf_trainer_create(ctx, "cpu", model, samples, &opts, &t);
 *     while (lmf_trainer_step(t, &stats) == LMF_OK && stats.step < stats.n_steps) ...
 *     lmf_trainer_save_adapter(t, "out");
 *     lmf_trainer_destroy(t);
 *
 * Owner: borrows model and samples. Threads: one. */
#ifndef LMF_TRAIN_TRAINER_H
#define LMF_TRAIN_TRAINER_H
#include "data/samples.h"
#include "graph/plan.h"
#include "models/model.h"
#include "train/schedule.h"

typedef struct lmf_trainer lmf_trainer;

typedef struct lmf_train_opts {
    size_t       struct_bytes;
    const char  *objective;        /* "sft" */
    bool         full;             /* all weights instead of LoRA */
    int32_t      lora_r;           /* 16 */
    double       lora_alpha;       /* 32 */
    bool         use_rslora;       /* scale alpha / sqrt(r) instead of alpha / r */
    const char  *target_modules;   /* "all-linear", or names as PEFT has them: "q_proj,v_proj" */
    int32_t      batch_size;       /* rows an optimizer step: 4 */
    int32_t      grad_accum;       /* times that many: 4 */
    int32_t      micro_tok;        /* most tokens of one micro-batch; 0: one for the whole step up to 2,048 */
    int32_t      eval_tok;         /* longest row that lmf_trainer_eval will be given, where it may be longer than those trained on */
    int64_t      max_steps;        /* 0: by epochs */
    double       epochs;           /* 1 */
    double       lr;               /* 2e-4 */
    lmf_schedule schedule;         /* linear */
    double       min_lr_ratio;     /* 0 */
    int64_t      warmup_steps;     /* 50 */
    double       weight_decay;     /* 0.01 */
    double       beta1, beta2, eps; /* 0.9, 0.999, 1e-8 */
    double       max_grad_norm;    /* 1; 0: none */
    uint64_t     seed;             /* 42 */
    int          compute;          /* matmul.h: 1 */
    bool         recompute;        /* forget inner tensors of a layer and compute them again */
    bool         shuffle;          /* true */
    bool         profile;
    bool         plan_only;        /* stop before any memory is asked for: only the plan and its figures may be looked at */
} lmf_train_opts;

lmf_train_opts lmf_train_opts_default(void);

typedef struct lmf_train_stats {
    int64_t step, n_steps;         /* done, in all */
    double  epoch;
    double  loss;                  /* of this step: mean over its learned tokens */
    double  lr, grad_norm;
    int64_t n_tok, n_learn;        /* of this step; padding not counted */
    int64_t total_tok;             /* of all steps so far */
    int64_t n_skipped;             /* steps whose gradients were not finite, so far */
} lmf_train_stats;

lmf_status lmf_trainer_create(lmf_ctx *ctx, const char *device, lmf_model *model, const lmf_samples *samples,
                              const lmf_train_opts *opts, lmf_trainer **out);
void       lmf_trainer_destroy(lmf_trainer *t);
/* A step whose gradients are not finite changes nothing and is counted; the third in a row is LMF_E_LIMIT, with its rows. */
lmf_status lmf_trainer_step(lmf_trainer *t, lmf_train_stats *stats);
bool       lmf_trainer_is_done(const lmf_trainer *t);
void       lmf_trainer_stats(const lmf_trainer *t, lmf_train_stats *stats); /* counters; loss, lr and norm are 0 */
/* Mean negative log-probability of the learned tokens of these samples, with the weights as they are. */
lmf_status lmf_trainer_eval(lmf_trainer *t, const lmf_samples *samples, double *loss);
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
/* Greatest n of checkpoint-n folders in dir, or -1. */
int64_t    lmf_checkpoint_newest(const char *dir);
const lmf_memory *lmf_trainer_memory(const lmf_trainer *t);
size_t     lmf_trainer_bytes(const lmf_trainer *t);        /* asked of the device */
const lmf_plan *lmf_trainer_plan(const lmf_trainer *t);
int        lmf_trainer_n_buckets(const lmf_trainer *t);
int64_t    lmf_trainer_n_params(const lmf_trainer *t);      /* trainable */
/* Gradient of a parameter after the last step, by name, before clipping: for oracles. n floats. */
lmf_status lmf_trainer_gradient(lmf_trainer *t, const char *name, float *out, int64_t n);

#endif
