/* SPDX-License-Identifier: Apache-2.0 */
/* sample: the next token of each sequence.
 *   logits   [S, V]  f32
 *   number   [S, LMF_SAMPLE_N_NUMBERS]  f32: temperature (0: greedy), top_p (1: off), min_p (0: off), repetition penalty (1: off)
 *   count    [S, LMF_SAMPLE_N_COUNTS]   i32: top_k (0: off), seed low, seed high, position, tokens in history; live (0: skip the row)
 *   history  [S, H]  i32: tokens that the repetition penalty looks at; -1 is skipped
 *   token    [S]     i32; -1 for a row that is skipped
 *   logp     [S]     f32: log-probability of the token under the model alone (before penalty, temperature and filters)
 * In Hugging Face's order: penalty (logit > 0: divided, else multiplied), temperature, top-k, top-p over what is left (the smallest
 * set that reaches it), min-p (of the largest). Then one uniform number of Philox(seed, position) picks: the same (seed, position)
 * gives the same token whatever else is in the batch. Ties go to the lowest id. NaN logits give token -1.
 * Same bits for any worker count. No gradient. */
#ifndef LMF_OPS_SAMPLE_H
#define LMF_OPS_SAMPLE_H
#include "graph/graph.h"

enum { LMF_SAMPLE_TEMPERATURE, LMF_SAMPLE_TOP_P, LMF_SAMPLE_MIN_P, LMF_SAMPLE_PENALTY, LMF_SAMPLE_N_NUMBERS };
enum { LMF_SAMPLE_TOP_K, LMF_SAMPLE_SEED_LO, LMF_SAMPLE_SEED_HI, LMF_SAMPLE_POS, LMF_SAMPLE_N_HISTORY, LMF_SAMPLE_LIVE, LMF_SAMPLE_N_COUNTS };
extern const lmf_op lmf_op_sample;

/* token; *logp gets the second output. */
lmf_tensor *lmf_sample(lmf_graph *g, lmf_tensor *logits, lmf_tensor *number, lmf_tensor *count, lmf_tensor *history, lmf_tensor **logp);
#define lmf_sample(g, ...) (lmf_sample)(LMF_AT(g), __VA_ARGS__)

#endif
