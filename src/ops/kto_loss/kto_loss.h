/* SPDX-License-Identifier: Apache-2.0 */
/* kto_loss: a good answer is made likelier and a bad one less likely, against a reference and against how far the model has moved on the
 * whole (Kahneman-Tversky Optimization).
 *   r_s = logp_s - ref_s;  u_s = r_s - kl_s for a good answer, kl_s - r_s for a bad one
 *   loss = sum over s of mean_s |side_s| (1 - sigmoid(beta u_s))
 *   logp    [S]  f32; natural logarithms, sums over the answer's tokens
 *   mean    [S]  f32; answers with 0 are skipped, whatever else they hold
 *   side    [S]  f32; above 0 a good answer, below a bad one; its size is the weight of that kind
 *   share   [S]  f32; 1 / answers of the same kind: what means of a kind are made with
 *   ref     [S]  f32; what the reference gives them
 *   kl      [S]  f32; the estimate, 0 or more. No gradient flows to it
 *   loss    [1]  f32
 *   report  [6]  f32, sums over s of: share_s beta r_s of the good answers; of the bad ones; their difference; share_s logp_s of the good
 *                answers; of the bad ones; mean_s kl_s
 *   d_logp  [S]  f32: of loss; kept for backward, 4 S bytes
 *   beta    above 0
 * Sums in f64 in order, rounded once: relative error 2^-24. Same bits for any worker count. A gradient flows from loss to logp, and
 * no other. Refuses LMF_E_SHAPE where inputs are not vectors of one length, LMF_E_DTYPE for anything but f32.
 * Ethayarajh et al. 2024, arXiv 2402.01306, equation 7. Names as TRL's KTOTrainer. */
#ifndef LMF_OPS_KTO_LOSS_H
#define LMF_OPS_KTO_LOSS_H
#include "graph/graph.h"

enum { LMF_KTO_LOSS_REPORTS = 6 };
typedef struct lmf_kto_loss_attrs { float beta; } lmf_kto_loss_attrs;
extern const lmf_op lmf_op_kto_loss;

/* in: logp, mean, side, share, ref, kl. Returns loss. report may be NULL. */
lmf_tensor *lmf_kto_loss(lmf_graph *g, lmf_tensor *const in[6], lmf_kto_loss_attrs attrs, lmf_tensor **report);
#define lmf_kto_loss(g, ...) (lmf_kto_loss)(LMF_AT(g), __VA_ARGS__)

#endif
