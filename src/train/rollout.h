/* SPDX-License-Identifier: Apache-2.0 */
/* rollout: answers to prompts, sampled with the adapter as it is, and what they are worth: what an objective that samples learns from. An
 * engine answers beside the trainer, with one base for both and the adapter where it lies. What is sampled in a step is a function
 * of the weights, the seed and the step's number alone, so a resumed run goes on as the straight one would.
 *
 *     LMF_TRY(lmf_rollout_create(ctx, trainer, model, prompts, &opts, &r));
 *     while (!lmf_trainer_is_done(trainer))
 *         LMF_TRY(lmf_rollout_step(r, &stats));      // samples and grades where it is due, and takes one step
 *     lmf_rollout_destroy(r);
 *
 * Owner: borrows trainer, model and prompts. Threads: one. */
#ifndef LMF_TRAIN_ROLLOUT_H
#define LMF_TRAIN_ROLLOUT_H
#include "base/buf.h"
#include "data/samples.h"
#include "models/model.h"
#include "train/trainer.h"

typedef struct lmf_rollout lmf_rollout;
enum { LMF_ROLLOUT_SEQS = 64 }; /* answers written at once, where nobody says how many */

typedef struct lmf_rollout_opts {
    const char *const *reward; int n_rewards;  /* verify/verify.h */
    double   timeout_s;          /* of a reward from outside; 0: a default */
    bool     skip;               /* a group for which a reward can't be had is left out, not the end of the run */
    bool     invariant;          /* the sampler's bits do not depend on what it answers at once; needs compute 0 */
    int      compute;
    int32_t  rank;               /* of the adapter */
    int32_t  max_seqs;           /* answers written at once; 0: those of a step, at most LMF_ROLLOUT_SEQS */
    uint64_t seed;
    bool     shuffle;
    const char *device;
    void   (*note)(void *user, bool warning, const char *sentence); void *user;
} lmf_rollout_opts;

/* What is known of the answers that the last step learned from; for the log. */
typedef struct lmf_rollout_number { char name[80]; double value; } lmf_rollout_number;
enum { LMF_MAX_ROLLOUT_NUMBERS = 40 };

lmf_status lmf_rollout_create(lmf_ctx *ctx, lmf_trainer *t, const lmf_model *model, const lmf_samples *prompts,
    const lmf_rollout_opts *opts,
                              lmf_rollout **out);
void       lmf_rollout_destroy(lmf_rollout *r);         /* NULL is fine */
/* One optimizer step. LMF_E_IO, LMF_E_FORMAT ...: a reward could not be had, and skip is off, or no group of the step could be graded. */
lmf_status lmf_rollout_step(lmf_rollout *r, lmf_train_stats *stats);
/* What the last step learned from, each behind its prompt; until the next step. */
const lmf_samples *lmf_rollout_learned(const lmf_rollout *r);
/* The step's answers have been learned from as often as they are to be: a checkpoint may be taken. */
bool       lmf_rollout_is_whole(const lmf_rollout *r);
int        lmf_rollout_numbers(const lmf_rollout *r, lmf_rollout_number *out); /* LMF_MAX_ROLLOUT_NUMBERS; returns how many */
/* The answers as JSON Lines: step, line of the prompt, answer, reward, each reward, advantage or whether it is learned, tokens, whether it
 * ended. */
lmf_status lmf_rollout_lines(const lmf_rollout *r, int64_t step, lmf_buf *out);
size_t     lmf_rollout_bytes(const lmf_rollout *r);     /* of the engine, beside the trainer's */

#endif
