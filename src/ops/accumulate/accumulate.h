/* SPDX-License-Identifier: Apache-2.0 */
/* accumulate: acc = keep acc + x, in place: gradients summed over micro-batches. Several x are laid end to end: one call for neighbours.
 *   acc   [...]  f32, STATE
 *   x     [...]  f32, the shape of acc
 *   keep  [1]    f32, data: 0 starts a new sum (whatever acc holds, NaN included), 1 goes on
 *   more  [...]  f32, up to 13: then acc is [n], and x and these have n elements together
 * Rounds once. Same bits for any worker count. No gradient. Refuses LMF_E_SHAPE where elements don't fit, LMF_E_DTYPE for other types. */
#ifndef LMF_OPS_ACCUMULATE_H
#define LMF_OPS_ACCUMULATE_H
#include "graph/graph.h"

enum { LMF_ACCUMULATE_MOST = LMF_MAX_IN - 2 };   /* x's of a call */
extern const lmf_op lmf_op_accumulate;

/* For rows: how many x a call has, and where they stand among its inputs. */
static inline int lmf_accumulate_n(int n_in) { return n_in - 2; }
static inline int lmf_accumulate_at(int i) { return i ? i + 2 : 1; }

lmf_tensor *lmf_accumulate(lmf_graph *g, lmf_tensor *acc, lmf_tensor *x, lmf_tensor *keep);
#define lmf_accumulate(g, ...) (lmf_accumulate)(LMF_AT(g), __VA_ARGS__)
/* Of n x, 1 to LMF_ACCUMULATE_MOST. */
lmf_tensor *lmf_accumulate_all(lmf_graph *g, lmf_tensor *acc, lmf_tensor *const *x, int n, lmf_tensor *keep);
#define lmf_accumulate_all(g, ...) (lmf_accumulate_all)(LMF_AT(g), __VA_ARGS__)

#endif
