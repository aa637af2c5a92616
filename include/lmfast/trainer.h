/* SPDX-License-Identifier: Apache-2.0 */
/* trainer: fine-tunes a model on rows. What is learned is a LoRA adapter, a folder of PEFT's form that lmfast_engine_opts.adapters,
 * lmfast_export and other programs take; the model's file is not touched, and may be quantized.
 *
 *     lmfast_train_opts opts = lmfast_train_opts_default();
 *     opts.max_steps = 100;
 *     lmfast_trainer *trainer;
 *     lmfast_train_stats stats = { .struct_bytes = sizeof stats };
 *     lmfast_status s = lmfast_trainer_create(model, rows, NULL, &opts, &trainer);
 *     while (!s && !lmfast_trainer_is_done(trainer) && !(s = lmfast_trainer_step(trainer, &stats)))
 *         printf("step %lld of %lld: loss %.4f\n", (long long)stats.step, (long long)stats.n_steps, stats.loss);
 *     if (!s)
 *         s = lmfast_trainer_save_adapter(trainer, "my_adapter");
 *     if (s)
 *         fprintf(stderr, "%s\n", lmfast_error(ctx));
 *     lmfast_trainer_destroy(trainer);
 *
 * The same rows, options, build and machine give the same adapter, bit by bit, and the same as lmfast train's.
 * Threads: one at a time. */
#ifndef LMFAST_TRAINER_H
#define LMFAST_TRAINER_H
#include "lmfast/dataset.h"
#include "lmfast/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_trainer lmfast_trainer;

/* An option of an objective, by the name of its flag: {"beta", 0.1}. */
typedef struct lmfast_value { const char *name; double value; } lmfast_value;

enum { LMFAST_SCHEDULE_COSINE = 0, LMFAST_SCHEDULE_LINEAR = 1, LMFAST_SCHEDULE_CONSTANT = 2 };
enum { LMFAST_LONG_ERROR = 0, LMFAST_LONG_SKIP = 1, LMFAST_LONG_TRUNCATE = 2 };

typedef struct lmfast_train_opts {
    size_t      struct_bytes;
    const char *device;         /* "cpu", "cuda:0"; NULL: "cpu" */
    const char *objective;      /* "sft" (default), "dpo" ... */
    const lmfast_value *objective_values; /* its options that are not at their defaults */
    int32_t     n_objective_values;
    int32_t     lora_r;         /* rank of the adapter. Default 16 */
    double      lora_alpha;     /* its scale is alpha / r. Default 32 */
    bool        use_rslora;     /* alpha / sqrt(r) instead */
    const char *target_modules; /* "all-linear" (default), or names as PEFT has them: "q_proj,v_proj" */
    const char *init_adapter;   /* PEFT folder to start from; NULL: none */
    int32_t     batch_size;     /* rows a batch. Default 4 */
    int32_t     grad_accum;     /* batches an optimizer step. Default 1 */
    int64_t     max_steps;      /* 0: by epochs, or 500 where epochs is 0 too. Default 0 */
    double      epochs;         /* passes over the rows, instead of max_steps. Default 0 */
    double      lr;             /* learning rate. Default 2e-4 */
    int32_t     schedule;       /* LMFAST_SCHEDULE_*: course of the learning rate after warm-up. Default COSINE */
    double      min_lr_ratio;   /* part of the learning rate that is left at the end. Default 0 */
    int64_t     warmup_steps;   /* -1: 5 % of the run, at most 50. Default -1 */
    double      weight_decay;   /* AdamW's. Default 0.01 */
    double      max_grad_norm;  /* gradients are clipped to this norm; 0: not. Default 1 */
    uint64_t    seed;           /* of order and initial weights. Default 42 */
    int32_t     seq_len;        /* longest row in tokens, cut to the model's context. Default 2048 */
    int32_t     too_long;       /* LMFAST_LONG_*: what becomes of longer rows. Default ERROR */
    int32_t     micro_tok;      /* most tokens computed at once; 0: 2048. Lower takes less memory */
    bool        recompute;      /* less memory: inner results are computed again in the backward pass; the same bits */
    bool        shuffle;        /* rows in another order each epoch. Default true */
    int32_t     compute;        /* LMFAST_COMPUTE_*. Default FAST */
} lmfast_train_opts;

enum { LMFAST_TRAIN_MAX_REPORTS = 16 };
typedef struct lmfast_train_stats {
    size_t      struct_bytes;
    int64_t     step, n_steps;  /* done, and in all */
    double      epoch;
    double      loss;           /* of this step: mean over its learned tokens, or groups of rows */
    double      lr, grad_norm;
    int64_t     n_tok, n_learn; /* tokens of this step, and those of them that are learned */
    int64_t     total_tok;      /* of all steps so far */
    int64_t     n_skipped;      /* steps whose gradients were not finite and that changed nothing, so far */
    int32_t     n_reports;      /* numbers that the objective reports of this step: lmfast_trainer_report_name */
    double      report[LMFAST_TRAIN_MAX_REPORTS];
} lmfast_train_stats;

LMFAST_API void lmfast_train_opts_init(lmfast_train_opts *opts, size_t bytes);
static inline lmfast_train_opts lmfast_train_opts_default(void)
{
    lmfast_train_opts o;
    lmfast_train_opts_init(&o, sizeof o);
    return o;
}

/* eval_rows may be NULL; lmfast_trainer_eval needs them. Rows may be closed afterwards. Asks for all memory that training needs.
 * LMFAST_E_ARG: an option out of range. LMFAST_E_FORMAT: rows that this objective can't learn from, with file and line. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_create(lmfast_model *model, const lmfast_dataset *rows,
                                                               const lmfast_dataset *eval_rows, const lmfast_train_opts *opts,
                                                               lmfast_trainer **out);
LMFAST_API void lmfast_trainer_destroy(lmfast_trainer *trainer);
/* One optimizer step. A step whose gradients are not finite changes nothing and is counted; the third in a row is LMFAST_E_LIMIT. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_step(lmfast_trainer *trainer, lmfast_train_stats *stats);
LMFAST_API bool lmfast_trainer_is_done(const lmfast_trainer *trainer);
/* Loss on eval_rows with the weights as they are. LMFAST_E_ARG: there are none. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_eval(lmfast_trainer *trainer, double *loss);
/* Name of the objective's i-th reported number; NULL: there is none. Static storage. */
LMFAST_API const char *lmfast_trainer_report_name(const lmfast_trainer *trainer, int32_t i);
LMFAST_API int64_t lmfast_trainer_n_params(const lmfast_trainer *trainer); /* that are trained */
LMFAST_API int64_t lmfast_trainer_bytes(const lmfast_trainer *trainer);    /* of memory, all planned before the first step */
/* The adapter as it is, into a folder that is not there yet, is empty, or holds an adapter that LMFast wrote. LMFAST_E_EXISTS: something
 * else is there. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_trainer_save_adapter(lmfast_trainer *trainer, const char *dir);

#ifdef __cplusplus
}
#endif
#endif
