/* SPDX-License-Identifier: Apache-2.0 */
#include "train/schedule.h"
#include <math.h>

double lmf_schedule_factor(lmf_schedule kind, int64_t step, int64_t n_steps, int64_t warmup, int64_t decay, double min_ratio)
{
    if (step < warmup)
        return (double)(step + 1) / (double)warmup;
    if (kind == LMF_SCHEDULE_CONSTANT || n_steps <= warmup + 1)
        return 1;
    if (kind == LMF_SCHEDULE_WSD) {
        warmup = n_steps - decay > warmup ? n_steps - decay : warmup;
        if (step < warmup)
            return 1;
    }
    double at = (double)(step - warmup) / (double)(n_steps - warmup);
    double down = kind == LMF_SCHEDULE_COSINE ? 0.5 * (1 + cos(M_PI * at)) : kind == LMF_SCHEDULE_WSD ? 1 - sqrt(at) : 1 - at;
    return min_ratio + (1 - min_ratio) * down;
}
