/* SPDX-License-Identifier: Apache-2.0 */
/* grad_norm: y = sqrt(sum of x^2).
 *   x  [N]  f32
 *   y  [1]  f32
 * Summed in f64 in pieces of 16,384, the pieces in index order: the same bits for any worker count. Error at most 2^-23
 * relative. No gradient. A NaN or infinity in x shows in y. */
#ifndef LMF_OPS_GRAD_NORM_H
#define LMF_OPS_GRAD_NORM_H
#include "graph/graph.h"

extern const lmf_op lmf_op_grad_norm;

lmf_tensor *lmf_grad_norm(lmf_graph *g, lmf_tensor *x);
#define lmf_grad_norm(g, ...) (lmf_grad_norm)(LMF_AT(g), __VA_ARGS__)

#endif
