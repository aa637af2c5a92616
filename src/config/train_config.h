/* SPDX-License-Identifier: Apache-2.0 */
/* train_config: all settings of a training run, and the table that describes them: lmfast train's flags, its configuration files, its
 * help and docs/OPTIONS.md come from it. Options of objectives stand in the objectives' own tables and lie in `objective_value`. */
#ifndef LMF_CONFIG_TRAIN_CONFIG_H
#define LMF_CONFIG_TRAIN_CONFIG_H
#include "config/flag.h"

enum { LMF_MAX_OBJECTIVE_FLAGS = 32 };

typedef union lmf_late { double number; const char *choice; } lmf_late; /* of a flag that is late */

typedef struct lmf_train_config {
    const char *config;
    lmf_texts   set, data, eval_data, reward;
    const char *model, *train_on, *output, *target_modules, *scheduler, *too_long, *resume, *compute, *activations, *init_adapter, *method,
        *chat_template, *control, *save_type, *guards, *bad_rows, *objective, *teacher, *teacher_labels, *reward_policy,
        *load_in_4bit, *optimizer;
    int64_t max_steps, batch_size, grad_accum, lora_r, warmup_steps, seq_len, seed, save_steps, save_total_limit, logging_steps, eval_steps,
        micro_tok, clock_unix, max_seqs;
    double  lr, epochs, lora_alpha, lora_dropout, weight_decay, min_lr_ratio,
            max_grad_norm, momentum, warmup_ratio, decay_ratio, beta1, beta2, eps, val_set_size, reward_timeout;
    bool    rslora, use_dora, recompute, shuffle, overwrite, profile, drop_duplicates, drop_empty, tensorboard, invariant;
    lmf_late objective_value[LMF_MAX_OBJECTIVE_FLAGS]; /* NaN, NULL where not given */
} lmf_train_config;

extern const lmf_flag lmf_train_fields[];

#endif
