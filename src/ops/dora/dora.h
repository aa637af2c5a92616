/* SPDX-License-Identifier: Apache-2.0 */
/* dora: a linear layer with a low-rank pair beside it, x here, each output brought to a length of its own:
 *     y = x * m * v + c,   v[n] = 1 / |w[n] + scale q[n] p|
 *   x    [T, N]  f32: the layer and its pair, without bias
 *   w    [N, K]  any float or block format; no gradient
 *   p    [R, K]  f32, LoRA's A; no gradient from here: the length counts as a constant, as in PEFT
 *   q    [N, R]  f32, LoRA's B; the same
 *   m    [N]     f32, the magnitudes
 *   c    optional: [N], added to every row                f32
 *   y    [T, N]  f32
 *   v    [N]     f32. No gradient of its own; 0 for a row of zeros, which has no direction
 *   scale   alpha / r, finite
 * Keeps v for backward, 4 N bytes, and x. dora_bwd: (dy, x, m, v) -> dx = dy m v [T, N], dm = v sum of dy x over rows [N], f32.
 * Sums over R in f32, of squares and over rows in f64: error at most 2^-22 a term of the sum of magnitudes. Same bits for any worker count.
 * Refuses LMF_E_SHAPE where T, K, N, R don't fit, LMF_E_DTYPE for other types.
 * Liu et al. 2024, arXiv 2402.09353; PEFT's DoraLinearLayer. */
#ifndef LMF_OPS_DORA_H
#define LMF_OPS_DORA_H
#include "graph/graph.h"

typedef struct lmf_dora_attrs { float scale; } lmf_dora_attrs;
extern const lmf_op lmf_op_dora, lmf_op_dora_bwd;

/* Returns y. */
lmf_tensor *lmf_dora(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, lmf_tensor *m, lmf_tensor *c, float scale);
#define lmf_dora(g, ...) (lmf_dora)(LMF_AT(g), __VA_ARGS__)

#endif
