/* SPDX-License-Identifier: Apache-2.0 */
/* segment_sum: y_s = sum of w_t x_t for start_s <= t < start_(s+1): a number a sequence out of one a token.
 *   x      [T]      f32
 *   start  [S + 1]  i32, rising, from 0 to T (the q_start of a batch); what lies outside [0, T) is left out.
 *                   Elements in no segment count nowhere
 *   weight [T]      f32, or absent: all 1. Where it is 0, x counts nowhere, whatever it is
 *   y      [S]      f32; 0 for an empty segment
 * segment_sum_bwd: (d_y, start, x, weight) -> d_x [T]: w_t times d_y of the element's segment, 0 outside all; of x it takes the shape
 * alone. No gradient flows to weight.
 * Keeps nothing for backward but x's shape. Sums in f64, in order, rounded once: relative error 2^-24; d_x is one product, rounded once.
 * Same bits for any worker count; a segment depends on its elements alone.
 * Refuses LMF_E_SHAPE if start is empty, x or start has more than one dimension or weight is not like x, LMF_E_DTYPE for other dtypes. */
#ifndef LMF_OPS_SEGMENT_SUM_H
#define LMF_OPS_SEGMENT_SUM_H
#include "graph/graph.h"

extern const lmf_op lmf_op_segment_sum, lmf_op_segment_sum_bwd;

/* weight may be NULL. */
lmf_tensor *lmf_segment_sum(lmf_graph *g, lmf_tensor *x, lmf_tensor *start, lmf_tensor *weight);
#define lmf_segment_sum(g, ...) (lmf_segment_sum)(LMF_AT(g), __VA_ARGS__)

#endif
