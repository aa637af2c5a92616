/* SPDX-License-Identifier: Apache-2.0 */
/* sgd: one step of gradient descent with momentum on a flat array of parameters, in place, with clipping by the global norm.
 *   p, m   [N]  f32, STATE: parameters, momentum (zero before the first step)
 *   g      [N]  f32, gradient
 *   norm   [1]  f32, global norm of the gradients (grad_norm)
 *   hyper  [LMF_SGD_HYPER]  f32, data: learning rate, momentum, weight decay, greatest norm (0: no clipping)
 *   c = min(1, max_norm / (norm + 1e-6)), m = momentum m + (c g + wd p), p -= lr m
 * A norm that is not finite leaves everything as it is. Error at most 4e-7 of each term's magnitude. Same bits for any worker count.
 * Refuses LMF_E_SHAPE where N or the number of values don't fit, LMF_E_DTYPE for other types. torch.optim.SGD. */
#ifndef LMF_OPS_SGD_H
#define LMF_OPS_SGD_H
#include "graph/graph.h"

enum { LMF_SGD_LR, LMF_SGD_MOMENTUM, LMF_SGD_DECAY, LMF_SGD_MAX_NORM, LMF_SGD_HYPER };
extern const lmf_op lmf_op_sgd;

/* Returns the parameters after the step. */
lmf_tensor *lmf_sgd(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *grad, lmf_tensor *norm, lmf_tensor *hyper);
#define lmf_sgd(g, ...) (lmf_sgd)(LMF_AT(g), __VA_ARGS__)

#endif
