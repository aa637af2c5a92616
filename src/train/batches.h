/* SPDX-License-Identifier: Apache-2.0 */
/* batches: which groups of samples an optimizer step takes, and how they lie in micro-batches of a few fixed sizes. What is shuffled,
 * counted and packed is a group; its samples are in one micro-batch, side by side.
 * A pure function of samples, seed and options: a step's content depends on its number alone, so resuming needs no cursor but that. */
#ifndef LMF_TRAIN_BATCHES_H
#define LMF_TRAIN_BATCHES_H
#include "data/samples.h"

enum { LMF_MAX_STEP_BUCKETS = 16, LMF_MAX_STEP_ROWS = 4096 };

typedef struct lmf_batches {
    lmf_ctx *ctx;
    const lmf_samples *samples;
    uint64_t seed;
    bool     shuffle;
    int32_t  group_size, n_trained;      /* samples a group, and how many of them are laid into a micro-batch */
    int64_t  n_groups;                   /* in the data */
    int32_t  step_rows;                  /* groups an optimizer step */
    int32_t  cap_tok;                    /* most tokens of a micro-batch */
    int64_t  steps_per_epoch, n_steps;
    int32_t  bucket[LMF_MAX_STEP_BUCKETS];    /* sizes, rising */
    int      n_buckets;
    int32_t  max_seqs;                   /* most samples in one micro-batch, and one group more for padding */
    int64_t *order; uint32_t order_epoch; bool order_made; /* permutation of one epoch */
} lmf_batches;

typedef struct lmf_micro { int32_t i_bucket, n_groups, n_tok; } lmf_micro; /* groups are group[first ..] of the step */
typedef struct lmf_step_plan {
    int64_t   group[LMF_MAX_STEP_ROWS]; /* in the data; by micro-batch, in order of drawing within one */
    int       n_groups;
    lmf_micro micro[LMF_MAX_STEP_ROWS];
    int       n_micro;
    int64_t   n_tok, n_learn;
} lmf_step_plan;

/* n_steps 0: as many as the epochs take. micro_tok 0: a default. Chooses the buckets so that little is padded. */
lmf_status lmf_batches_init(lmf_batches *b, lmf_ctx *ctx, const lmf_samples *samples, uint64_t seed, bool shuffle, int32_t step_rows,
                            int32_t micro_tok, double epochs, int64_t n_steps);
/* For samples that come with each step, of at most longest tokens: the sizes are chosen by these alone. of: what the epochs are of, each of
 * them as often as times. */
lmf_status lmf_batches_init_open(lmf_batches *b, lmf_ctx *ctx, const lmf_samples *of, int64_t times, int32_t step_rows, int32_t longest,
                                 int32_t micro_tok, double epochs, int64_t n_steps);
/* Behind init: samples of at most longest tokens may come in place of a step's own. */
void       lmf_batches_widen(lmf_batches *b, int32_t longest);
/* All of the samples, of which there are at most step_rows, in micro-batches. */
lmf_status lmf_batches_lay(lmf_batches *b, const lmf_samples *samples, lmf_step_plan *out);
void       lmf_batches_clear(lmf_batches *b);
lmf_status lmf_batches_step(lmf_batches *b, int64_t step, lmf_step_plan *out);

#endif
