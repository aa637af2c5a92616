/* SPDX-License-Identifier: Apache-2.0 */
/* pair_loss: how far a model prefers the first of two sequences to the second. Sequence 2 p is the preferred one of pair p, 2 p + 1 the
 * other; logp is what the model gives them, ref what a reference does.
 *   score_s = norm_s (logp_s - ref_s);  d_p = score_2p - score_(2p+1);  m_p = beta d_p - gamma;  e = label_smoothing
 *   kind SIGMOID  -(1 - e) log sigmoid(m) - e log sigmoid(-m)
 *        HINGE    max(0, 1 - m)
 *        ROBUST   (-(1 - e) log sigmoid(m) + e log sigmoid(-m)) / (1 - 2 e)
 *        SQUARE   (d - 1 / (2 beta))^2
 *   loss = sum over p of weight_p times that
 *   logp             [2 P]  f32; each natural logarithm the sum (or mean) over the answer's tokens
 *   weight           [P]    f32; pairs with 0 are skipped, whatever else they hold
 *   ref              [2 P]  f32; absent: all 0
 *   norm             [2 P]  f32; absent: all 1
 *   loss             [1]    f32
 *   report           [6]    f32, sums over p of weight_p times: r_2p, r_(2p+1), r_2p > r_(2p+1), r_2p - r_(2p+1), logp_2p, logp_(2p+1)
 *                           with the rewards r_s = beta (logp_s - ref_s)
 *   d_logp           [2 P]  f32: of loss; kept for backward, 8 P bytes
 *   kind             LMF_PAIR_*
 *   beta             above 0
 *   label_smoothing  0 to 0.5: the part of pairs that are taken to be the wrong way round
 *   gamma            0 or more: the margin that is wanted
 * Sums in f64 in order of pairs, rounded once: relative error 2^-24. Same bits for any worker count. A gradient flows from
 * loss to logp, and no other.
 * Refuses LMF_E_SHAPE where logp, ref and norm are not two for each weight, LMF_E_DTYPE for anything but f32, LMF_E_ARG for ROBUST with
 * a label_smoothing of 0.5.
 * Rafailov et al. 2023, arXiv 2305.18290 (SIGMOID); smoothing: Mitchell 2023, "A note on DPO with noisy preferences"; Zhao et al. 2023,
 * arXiv 2305.10425 (HINGE); Chowdhury et al. 2024, arXiv 2403.00409 (ROBUST); Azar et al. 2023, arXiv 2310.12036 (SQUARE); Meng et al.
 * 2024, arXiv 2405.14734 (gamma). Names as TRL's. */
#ifndef LMF_OPS_PAIR_LOSS_H
#define LMF_OPS_PAIR_LOSS_H
#include "graph/graph.h"

enum { LMF_PAIR_LOSS_REPORTS = 6 };
enum { LMF_PAIR_SIGMOID, LMF_PAIR_HINGE, LMF_PAIR_ROBUST, LMF_PAIR_SQUARE };
typedef struct lmf_pair_loss_attrs { float beta, label_smoothing, gamma; int32_t kind; } lmf_pair_loss_attrs;
extern const lmf_op lmf_op_pair_loss;

/* Returns loss. ref, norm and report may be NULL. */
lmf_tensor *lmf_pair_loss(lmf_graph *g, lmf_tensor *logp, lmf_tensor *weight, lmf_tensor *ref, lmf_tensor *norm, lmf_pair_loss_attrs attrs,
                          lmf_tensor **report);
#define lmf_pair_loss(g, ...) (lmf_pair_loss)(LMF_AT(g), __VA_ARGS__)

#endif
