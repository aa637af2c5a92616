/* SPDX-License-Identifier: Apache-2.0 */
/* segment_sum: y_s = sum of x_t for start_s <= t < start_(s+1): a number a sequence out of one a token.
 *   x      [T]      f32
 *   start  [S + 1]  i32, rising, from 0 to T (the q_start of a batch); what lies outside [0, T) is left out.
 *                   Elements in no segment count nowhere
 *   y      [S]      f32; 0 for an empty segment
 * segment_sum_bwd: (d_y, start, x) -> d_x [T]: d_y of the element's segment, 0 outside all; of x it takes the shape alone.
 * Keeps nothing for backward but x's shape. Sums in f64, in order, rounded once: relative error 2^-24; d_x is exact. Same bits for any
 * worker count; a segment depends on its elements alone.
 * Refuses LMF_E_SHAPE if start is empty or x or start has more than one dimension, LMF_E_DTYPE for other dtypes. */
#ifndef LMF_OPS_SEGMENT_SUM_H
#define LMF_OPS_SEGMENT_SUM_H
#include "graph/graph.h"

extern const lmf_op lmf_op_segment_sum, lmf_op_segment_sum_bwd;

lmf_tensor *lmf_segment_sum(lmf_graph *g, lmf_tensor *x, lmf_tensor *start);
#define lmf_segment_sum(g, ...) (lmf_segment_sum)(LMF_AT(g), __VA_ARGS__)

#endif
