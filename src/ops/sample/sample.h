/* SPDX-License-Identifier: Apache-2.0 */
/* sample: the next token of each sequence.
 *   logits   [S, V]  f32
 *   number   [S, LMF_SAMPLE_N_NUMBERS]  f32: temperature (0: greedy), top_p (1: off), min_p (0: off), repetition penalty (1: off),
 *            presence and frequency penalty (0: off)
 *   count    [S, LMF_SAMPLE_N_COUNTS]   i32: top_k (0: off), seed low, seed high, position, slot in seen (-1: none, no penalty applies),
 *            live (0: skip the row), masked (1: the row's mask is read), n_top (0 to LMF_SAMPLE_MAX_TOP)
 *   seen     [N, V]  i32, STATE: what each slot's sequence holds of each token: how often in the answer, plus LMF_SEEN_PROMPT if it stands
 *            in the prompt. Rows of one call have different slots. A token that is picked is counted: seen[slot][token] += 1
 *   mask     [S, ceil(V / 32)]  i32, optional: token v is allowed where bit v % 32 of word v / 32 is 1; bits past V are not read
 *   bias_token [S, B]  i32, optional: tokens whose logit gets something added, each once; -1 behind the last
 *   bias     [S, B]  f32, with bias_token: what is added
 *   token    [S, LMF_SAMPLE_WIDTH]  i32: first the pick; -1: the row is skipped, or its logits have a NaN; -2: masked, and no token is
 *            allowed that has a logit above -inf. Behind it the n_top likeliest under the model alone (not the mask), ties by lowest id;
 *            -1 behind them, and in a row whose pick is -1
 *   logp     [S, LMF_SAMPLE_WIDTH]  f32: their log-probabilities under the model alone (before bias, penalties, mask,
 *            temperature and filters); 0 where token is below 0
 * In Hugging Face's order: bias, penalties, mask, temperature, top-k, top-p over what is left (the smallest set that reaches it), min-p
 * (of the largest). Penalties of a row with a slot, one after the other: where seen is not 0, logit > 0 is divided by the repetition penalty, else
 * multiplied; then n times the frequency penalty and, where n > 0, the presence penalty are taken off, n the count in the answer alone.
 * A masked token is not there: it takes no part in top-k, top-p or min-p. Then one uniform number of Philox(seed, position) picks: the
 * same (seed, position) gives the same token whatever else is in the batch. Ties go to the lowest id.
 * Error of logp at most 1e-6 of its magnitude and as much of all rows' root mean square. Same bits for any worker count. No gradient.
 *
 * For a row of another device: a row that has no slot, no mask, no bias and n_top 0 must read neither seen nor mask and look for no
 * tops (-1 and 0 are still written), so that plain answers cost what they did. mask may be absent (in[4].data NULL): then no row is
 * masked; and bias_token with bias: then none has a bias. seen is in place
 * (out[2] is in[3]).
 *
 * mark_seen: prompts into seen, in place, before the first sample of an answer.
 *   seen     [N, V]  i32, STATE
 *   clear    [N]     i32; 1: the slot becomes all 0 before anything is marked
 *   slot     [R]     i32; -1: nothing to mark
 *   token    [R]     i32, in [0, V): seen[slot][token] |= LMF_SEEN_PROMPT. The order of rows does not matter; a pair may come twice
 * LMF_E_INTERNAL: a slot or token out of range. Same bits for any worker count. No gradient. */
#ifndef LMF_OPS_SAMPLE_H
#define LMF_OPS_SAMPLE_H
#include "graph/graph.h"

enum { LMF_SAMPLE_TEMPERATURE, LMF_SAMPLE_TOP_P, LMF_SAMPLE_MIN_P, LMF_SAMPLE_PENALTY, LMF_SAMPLE_PRESENCE, LMF_SAMPLE_FREQUENCY, LMF_SAMPLE_N_NUMBERS };
enum { LMF_SAMPLE_TOP_K, LMF_SAMPLE_SEED_LO, LMF_SAMPLE_SEED_HI, LMF_SAMPLE_POS, LMF_SAMPLE_SLOT, LMF_SAMPLE_LIVE, LMF_SAMPLE_MASKED, LMF_SAMPLE_N_TOP,
       LMF_SAMPLE_N_COUNTS };
enum { LMF_SAMPLE_MAX_TOP = 20, LMF_SAMPLE_WIDTH = 1 + LMF_SAMPLE_MAX_TOP, LMF_SEEN_PROMPT = 1 << 30, LMF_SAMPLE_NONE_ALLOWED = -2 };
extern const lmf_op lmf_op_sample, lmf_op_mark_seen;

/* token; *logp gets the second output. mask may be NULL, and bias_token with bias. */
lmf_tensor *lmf_sample(lmf_graph *g, lmf_tensor *logits, lmf_tensor *number, lmf_tensor *count, lmf_tensor *seen, lmf_tensor *mask,
                       lmf_tensor *bias_token, lmf_tensor *bias, lmf_tensor **logp);
lmf_tensor *lmf_mark_seen(lmf_graph *g, lmf_tensor *seen, lmf_tensor *clear, lmf_tensor *slot, lmf_tensor *token);
#define lmf_sample(g, ...) (lmf_sample)(LMF_AT(g), __VA_ARGS__)
#define lmf_mark_seen(g, ...) (lmf_mark_seen)(LMF_AT(g), __VA_ARGS__)

#endif
