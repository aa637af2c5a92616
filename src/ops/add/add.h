/* SPDX-License-Identifier: Apache-2.0 */
/* add: y = a + b.
 *   a    [..., N]  f32 | bf16
 *   b    [..., N]  f32 | bf16, the shape of a; or [N], added to every row
 *   y    [..., N]  a's type
 * sum_rows: y[n] = sum over rows of x[.., n], rows in index order; [..., N] f32 | bf16 -> [N] f32. It is the gradient of a
 * broadcast b, and has no gradient of its own.
 * Keep nothing for backward. Same bits for any worker count; a row of add depends on that row alone.
 * Error: add rounds once; sum_rows sums in f32, error at most rows * 2^-24 of the sum of magnitudes.
 * Refuse LMF_E_SHAPE if b is neither like a nor [N], LMF_E_DTYPE for other types. */
#ifndef LMF_OPS_ADD_H
#define LMF_OPS_ADD_H
#include "graph/graph.h"

extern const lmf_op lmf_op_add, lmf_op_sum_rows;

lmf_tensor *lmf_add(lmf_graph *g, lmf_tensor *a, lmf_tensor *b);
#define lmf_add(g, ...) (lmf_add)(LMF_AT(g), __VA_ARGS__)
lmf_tensor *lmf_sum_rows(lmf_graph *g, lmf_tensor *x);
#define lmf_sum_rows(g, ...) (lmf_sum_rows)(LMF_AT(g), __VA_ARGS__)

#endif
