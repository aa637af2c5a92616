/* SPDX-License-Identifier: Apache-2.0 */
/* scale_by: y = x * s[0] + c; the factor is data, so that it may differ at every step.
 *   x    [...]  f32
 *   s    [1]    f32; no gradient flows to it
 *   c    optional, the shape of x, f32: what y adds to
 *   y    [...]  f32
 * Keeps nothing for backward. One fma an element, or a product and a sum where the processor has none: error at most 2^-23 of
 * |x s| + |c|. Same bits for any worker count; an element depends on its inputs alone.
 * Refuses LMF_E_SHAPE if s has more than one element or c is not like x, LMF_E_DTYPE for anything but f32. */
#ifndef LMF_OPS_SCALE_BY_H
#define LMF_OPS_SCALE_BY_H
#include "graph/graph.h"

extern const lmf_op lmf_op_scale_by;

lmf_tensor *lmf_scale_by(lmf_graph *g, lmf_tensor *x, lmf_tensor *s, lmf_tensor *c);
#define lmf_scale_by(g, ...) (lmf_scale_by)(LMF_AT(g), __VA_ARGS__)

#endif
