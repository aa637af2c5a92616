/* SPDX-License-Identifier: Apache-2.0 */
/* policy_loss: tokens that the model wrote itself are made likelier where they were worth more than others, in steps that are clipped
 * (Group Relative Policy Optimization).
 *   r_t  = exp(logp_t - old_t);  1 with on_policy, and a gradient flows through it all the same
 *   k_t  = exp(base_t - logp_t) - (base_t - logp_t) - 1;  r_t times that with kl_ratio, through which the gradient flows too
 *   loss = sum over t of weight_t (-min(r_t A_t, clip(r_t, 1 - epsilon, 1 + epsilon_high) A_t) + beta k_t)
 *   logp       [T]  f32; natural logarithms
 *   old        [T]  f32; under the weights that the answer was sampled with; not read with on_policy
 *   base       [T]  f32; under the reference; not read where beta is 0
 *   sampled    [T]  f32; what the sampler said, which is reported alone
 *   advantage  [T]  f32
 *   weight     [T]  f32
 *   share      [T]  f32; 1 / tokens, what the report's means are made with; tokens with 0 are skipped, whatever else they hold
 *   loss       [1]  f32
 *   report     [5]  f32, sums over t of share_t times: k_t (0 where beta is 0); whether r_t < 1 - epsilon and A_t < 0; whether
 *                   r_t > 1 + epsilon_high and A_t > 0; either of them; |logp_t - sampled_t|
 *   d_logp     [T]  f32: of loss; kept for backward, 4 T bytes
 *   epsilon, epsilon_high   from 0 on, epsilon at most 1
 *   beta       from 0 on
 *   on_policy  1: the weights are those that sampled
 *   kl_ratio   1: as said of k_t: then its gradient is that of the divergence, whatever sampled
 * Sums in f64 in order, rounded once: relative error 2^-24. Same bits for any worker count. A gradient flows from loss to logp, and
 * no other. Refuses LMF_E_SHAPE where inputs are not vectors of one length, LMF_E_DTYPE for anything but f32.
 * Shao et al. 2024, arXiv 2402.03300, equations 3 and 4; the upper limit of its own is DAPO's (arXiv 2503.14476), kl_ratio
 * DeepSeek-V3.2's (arXiv 2512.02556). As TRL's GRPOTrainer. */
#ifndef LMF_OPS_POLICY_LOSS_H
#define LMF_OPS_POLICY_LOSS_H
#include "graph/graph.h"

enum { LMF_POLICY_LOSS_REPORTS = 5 };
typedef struct lmf_policy_loss_attrs { float epsilon, epsilon_high, beta; int32_t on_policy, kl_ratio; } lmf_policy_loss_attrs;
extern const lmf_op lmf_op_policy_loss;

/* in: logp, old, base, sampled, advantage, weight, share. Returns loss. report may be NULL. */
lmf_tensor *lmf_policy_loss(lmf_graph *g, lmf_tensor *const in[7], lmf_policy_loss_attrs attrs, lmf_tensor **report);
#define lmf_policy_loss(g, ...) (lmf_policy_loss)(LMF_AT(g), __VA_ARGS__)

#endif
