/* SPDX-License-Identifier: Apache-2.0 */
/* pair_loss: how far a model prefers the first of two sequences to the second, against a reference (Direct Preference Optimization).
 * Sequence 2 p is the preferred one of pair p, 2 p + 1 the other; logp is what the model gives them, ref what the reference does.
 *   reward_s = beta (logp_s - ref_s);  margin_p = reward_2p - reward_(2p+1)
 *   loss = sum over p of weight_p (-(1 - e) log sigmoid(margin_p) - e log sigmoid(-margin_p)),  e = label_smoothing
 *   logp, ref        [2 P]  f32; each natural logarithm the sum over the answer's tokens
 *   weight           [P]    f32; pairs with 0 are skipped, whatever else they hold
 *   loss             [1]    f32
 *   report           [6]    f32, sums over p of weight_p times: reward_2p, reward_(2p+1), margin_p > 0, margin_p, logp_2p, logp_(2p+1)
 *   d_logp           [2 P]  f32: of loss; kept for backward, 8 P bytes
 *   beta             above 0
 *   label_smoothing  0 to 0.5: the part of pairs that are taken to be the wrong way round
 * Sums in f64 in order of pairs, rounded once: relative error 2^-24. Same bits for any worker count. A gradient flows from
 * loss to logp, and no other.
 * Refuses LMF_E_SHAPE where logp and ref are not two for each weight, LMF_E_DTYPE for anything but f32.
 * Rafailov et al. 2023, arXiv 2305.18290; label smoothing: Mitchell 2023, "A note on DPO with noisy preferences".
 * Names as TRL's DPOTrainer. */
#ifndef LMF_OPS_PAIR_LOSS_H
#define LMF_OPS_PAIR_LOSS_H
#include "graph/graph.h"

enum { LMF_PAIR_LOSS_REPORTS = 6 };
typedef struct lmf_pair_loss_attrs { float beta, label_smoothing; } lmf_pair_loss_attrs;
extern const lmf_op lmf_op_pair_loss;

/* Returns loss. report may be NULL. */
lmf_tensor *lmf_pair_loss(lmf_graph *g, lmf_tensor *logp, lmf_tensor *ref, lmf_tensor *weight, lmf_pair_loss_attrs attrs,
                          lmf_tensor **report);
#define lmf_pair_loss(g, ...) (lmf_pair_loss)(LMF_AT(g), __VA_ARGS__)

#endif
