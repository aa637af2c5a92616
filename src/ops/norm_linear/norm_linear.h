/* SPDX-License-Identifier: Apache-2.0 */
/* norm_linear: linear layers together with what stands around them in a decoder: one op where a device does them in one kernel. A few rows
 * of a decode step cost the start of a kernel rather than its work. Elsewhere, and where a gradient is needed, each is its expansion.
 *   norm_linear  q, k, v = h W0^T (+ b0), h W1^T (+ b1), h W2^T (+ b2), with h = rms_norm(x, w; eps)
 *   norm_swiglu  y = swiglu(h W0^T (+ b0), h W1^T (+ b1))
 *   linear_add   y = r + (x W^T (+ b))
 *   x      [T, D]    f32
 *   w      [D]       f32, of the norm
 *   W0 ..  [N_i, D]  any float or block format; of norm_swiglu both [F, D]
 *   b0 ..  [N_i]     f32, each optional
 *   r      [T, N]    f32
 *   q, k, v [T, N_i], y [T, F] or [T, N]  f32
 *   eps      of the norm; compute: of the products, as in matmul.h
 * No gradient of their own. Errors are those of the expansion (rms_norm.h, matmul.h, swiglu.h, add.h); sums in another order.
 * Refuses LMF_E_SHAPE where the widths don't fit, LMF_E_DTYPE for anything but f32 beside the matrices. */
#ifndef LMF_OPS_NORM_LINEAR_H
#define LMF_OPS_NORM_LINEAR_H
#include "graph/graph.h"

typedef struct lmf_norm_linear_attrs { float eps; int32_t compute; } lmf_norm_linear_attrs;   /* norm_linear, norm_swiglu */
typedef struct lmf_linear_add_attrs { int32_t compute; } lmf_linear_add_attrs;
extern const lmf_op lmf_op_norm_linear, lmf_op_norm_swiglu, lmf_op_linear_add;

/* weight[3], bias[3] (NULL: none); out[3] gets the results. */
void lmf_norm_linear(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *const *weight, lmf_tensor *const *bias,
                     lmf_norm_linear_attrs attrs, lmf_tensor **out);
#define lmf_norm_linear(g, ...) (lmf_norm_linear)(LMF_AT(g), __VA_ARGS__)
/* weight[2], bias[2] */
lmf_tensor *lmf_norm_swiglu(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *const *weight, lmf_tensor *const *bias,
                            lmf_norm_linear_attrs attrs);
#define lmf_norm_swiglu(g, ...) (lmf_norm_swiglu)(LMF_AT(g), __VA_ARGS__)
lmf_tensor *lmf_linear_add(lmf_graph *g, lmf_tensor *x, lmf_tensor *weight, lmf_tensor *bias, lmf_tensor *r, int32_t compute);
#define lmf_linear_add(g, ...) (lmf_linear_add)(LMF_AT(g), __VA_ARGS__)

#endif
