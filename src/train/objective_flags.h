/* SPDX-License-Identifier: Apache-2.0 */
/* objective_flags: --objective and the options of all objectives as flags, from their own tables. */
#ifndef LMF_TRAIN_OBJECTIVE_FLAGS_H
#define LMF_TRAIN_OBJECTIVE_FLAGS_H
#include "base/arena.h"
#include "config/train_config.h"
#include "train/objective.h"
#include "train/trainer.h"

/* For lmf_command.more. Offsets in the arguments: of a string, and of LMF_MAX_OBJECTIVE_FLAGS lmf_late, or SIZE_MAX where options are
 * not wanted. An option that two objectives have under one name is one flag. */
int        lmf__objective_flags(lmf_arena *a, const lmf_tables *tables, size_t at_objective, size_t at_values, lmf_flag *out, int n);
/* --objective alone, of those that take one of these rows. 1, or -1: no memory. */
int        lmf__objective_choice(lmf_arena *a, const lmf_tables *tables, uint32_t takes, size_t at_objective, const char *fallback,
                                 lmf_flag *out);
/* The values that were given. LMF_E_ARG: one that is not of this objective. out: LMF_MAX_OBJECTIVE_FLAGS. */
lmf_status lmf__objective_values(lmf_ctx *ctx, const lmf_objective *o, const lmf_late *values, lmf_objective_value *out, int *n);

#endif
