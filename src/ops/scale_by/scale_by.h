/* SPDX-License-Identifier: Apache-2.0 */
/* scale_by: y = x * s[0] + c; the factor is data, so that it may differ at every step.
 *   x    [...]  f32 | bf16
 *   s    [1]    f32; no gradient flows to it
 *   c    optional, the shape and type of x: what y adds to
 *   y    [...]  x's type
 * Keeps nothing for backward. One fma an element, or a product and a sum where the processor has none: error at most 2^-23 of
 * |x s| + |c|, and in bf16 y's rounding. Same bits for any worker count; an element depends on its inputs alone.
 * Refuses LMF_E_SHAPE if s has more than one element or c is not like x, LMF_E_DTYPE for other types. */
#ifndef LMF_OPS_SCALE_BY_H
#define LMF_OPS_SCALE_BY_H
#include "graph/graph.h"

extern const lmf_op lmf_op_scale_by;

lmf_tensor *lmf_scale_by(lmf_graph *g, lmf_tensor *x, lmf_tensor *s, lmf_tensor *c);
#define lmf_scale_by(g, ...) (lmf_scale_by)(LMF_AT(g), __VA_ARGS__)

/* The grad of a loss (out[0]) that computes its gradients on the way: out[2 + i] is that of in[i], where there is one. Refuses a gradient
 * for other inputs, and one that comes from other outputs. */
lmf_status lmf_scale_by_kept(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in);

#endif
