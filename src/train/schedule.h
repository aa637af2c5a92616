/* SPDX-License-Identifier: Apache-2.0 */
/* schedule: learning rate by step. The first warm-up step already has lr / warmup; after warm-up the factor falls from 1
 * and would be min_ratio at step n_steps, one behind the last. WSD stays at 1 until `decay` steps are left, then falls as 1 - sqrt (Haegele
 * et al. 2024, arXiv 2405.18392); the others don't read decay. */
#ifndef LMF_TRAIN_SCHEDULE_H
#define LMF_TRAIN_SCHEDULE_H
#include <stdint.h>

typedef enum lmf_schedule { LMF_SCHEDULE_LINEAR, LMF_SCHEDULE_COSINE, LMF_SCHEDULE_CONSTANT, LMF_SCHEDULE_WSD } lmf_schedule;

/* Factor of the base rate for step 0 .. n_steps-1. */
double lmf_schedule_factor(lmf_schedule kind, int64_t step, int64_t n_steps, int64_t warmup, int64_t decay, double min_ratio);

#endif
