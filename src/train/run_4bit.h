/* SPDX-License-Identifier: Apache-2.0 */
/* run_4bit: whether a run's base is kept in NF4, as --load-in-4bit says, and making it so. */
#ifndef LMF_TRAIN_RUN_4BIT_H
#define LMF_TRAIN_RUN_4BIT_H
#include "train/run_data.h"
#include "train/trainer.h"

/* auto: the model with its plan takes more than half of memory, and 4 bits would free a share of it that counts: a 32nd and more. */
static inline bool lmf__run_wants_4bit(uint64_t float_bytes, uint64_t all_bytes, uint64_t memory)
{
    return float_bytes >= memory / 32 && all_bytes > memory / 2;
}
/* c->load_in_4bit, which is "true" or "false" when this is done. What was chosen, and why, is told. shared: others use the model, so it
 * stays as it is. LMF_E_ARG, LMF_E_UNSUPPORTED: it was asked for and can't be. */
lmf_status lmf__run_4bit(lmf_ctx *ctx, lmf_train_config *c, lmf_model *m, bool shared, const char *device, const lmf_samples *samples,
                         const lmf_train_opts *o, const lmf_run_listener *l);

#endif
