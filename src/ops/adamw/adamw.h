/* SPDX-License-Identifier: Apache-2.0 */
/* adamw: one step of AdamW on a flat array of parameters, in place, with clipping by the global norm.
 *   p, m, v  [N]  f32, STATE: parameters, first and second moment
 *   g        [N]  f32, gradient
 *   norm     [1]  f32, global norm of the gradients (grad_norm)
 *   hyper    [LMF_ADAMW_HYPER]  f32, data: learning rate, beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t, greatest
 *                 norm (0: no clipping)
 *   c = min(1, max_norm / (norm + 1e-6)), g' = c g, p *= 1 - lr wd, m = b1 m + (1-b1) g', v = b2 v + (1-b2) g'^2,
 *   p -= lr / bias1 * m / (sqrt(v) / sqrt(bias2) + eps)
 * A norm that is not finite leaves everything as it is: the host sees it in the norm and counts a skipped step.
 * Error at most 4e-7 of each result's magnitude. Same bits for any worker count. Loshchilov and Hutter 2019, arXiv 1711.05101; torch.optim.AdamW, clip_grad_norm_. */
#ifndef LMF_OPS_ADAMW_H
#define LMF_OPS_ADAMW_H
#include "graph/graph.h"

enum { LMF_ADAMW_LR, LMF_ADAMW_BETA1, LMF_ADAMW_BETA2, LMF_ADAMW_EPS, LMF_ADAMW_DECAY, LMF_ADAMW_BIAS1, LMF_ADAMW_BIAS2,
       LMF_ADAMW_MAX_NORM, LMF_ADAMW_HYPER };
extern const lmf_op lmf_op_adamw;

/* Returns the parameters after the step. */
lmf_tensor *lmf_adamw(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *v, lmf_tensor *grad, lmf_tensor *norm, lmf_tensor *hyper);
#define lmf_adamw(g, ...) (lmf_adamw)(LMF_AT(g), __VA_ARGS__)

#endif
