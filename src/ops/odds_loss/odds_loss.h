/* SPDX-License-Identifier: Apache-2.0 */
/* odds_loss: the odds of the first of two sequences against those of the second (ORPO). Sequence 2 p is the preferred one of pair p,
 * 2 p + 1 the other; logp is the mean log-probability of a token of each.
 *   odds_s = exp(logp_s) / (1 - exp(logp_s));  o_p = log odds_2p - log odds_(2p+1)
 *   loss = -beta * sum over p of weight_p log sigmoid(o_p)
 *   logp    [2 P]  f32; natural logarithms. Those above -2^-20 count as -2^-20, so that an answer of probability 1 (or, by rounding, a
 *                  little more) has odds, and a gradient
 *   weight  [P]    f32; pairs with 0 are skipped, whatever else they hold
 *   loss    [1]    f32
 *   report  [8]    f32, sums over p of weight_p times: r_2p, r_(2p+1), r_2p > r_(2p+1), r_2p - r_(2p+1), logp_2p, logp_(2p+1),
 *                  log sigmoid(o_p), o_p, with the rewards r_s = beta logp_s
 *   d_logp  [2 P]  f32: of loss; kept for backward, 8 P bytes
 *   beta    0 or more
 * 1 - exp(logp) by expm1 where logp is near 0: no difference of two near numbers. Sums in f64 in order of pairs, rounded once: relative
 * error 2^-24. Same bits for any worker count. A gradient flows from loss to logp, and no other.
 * Refuses LMF_E_SHAPE where logp is not two for each weight, LMF_E_DTYPE for anything but f32.
 * Hong, Lee, Thorne 2024, arXiv 2403.07691. Names as TRL's ORPOTrainer. */
#ifndef LMF_OPS_ODDS_LOSS_H
#define LMF_OPS_ODDS_LOSS_H
#include "graph/graph.h"

enum { LMF_ODDS_LOSS_REPORTS = 8 };
typedef struct lmf_odds_loss_attrs { float beta; } lmf_odds_loss_attrs;
extern const lmf_op lmf_op_odds_loss;

/* Returns loss. report may be NULL. */
lmf_tensor *lmf_odds_loss(lmf_graph *g, lmf_tensor *logp, lmf_tensor *weight, lmf_odds_loss_attrs attrs, lmf_tensor **report);
#define lmf_odds_loss(g, ...) (lmf_odds_loss)(LMF_AT(g), __VA_ARGS__)

#endif
