/* SPDX-License-Identifier: Apache-2.0 */
/* accumulate: acc = keep acc + x, in place: gradients summed over micro-batches.
 *   acc   [...]  f32, STATE
 *   x     [...]  f32, the shape of acc
 *   keep  [1]    f32, data: 0 starts a new sum (whatever acc holds, NaN included), 1 goes on
 * Rounds once. Same bits for any worker count. No gradient. */
#ifndef LMF_OPS_ACCUMULATE_H
#define LMF_OPS_ACCUMULATE_H
#include "graph/graph.h"

extern const lmf_op lmf_op_accumulate;

lmf_tensor *lmf_accumulate(lmf_graph *g, lmf_tensor *acc, lmf_tensor *x, lmf_tensor *keep);
#define lmf_accumulate(g, ...) (lmf_accumulate)(LMF_AT(g), __VA_ARGS__)

#endif
