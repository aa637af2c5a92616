/* SPDX-License-Identifier: Apache-2.0 */
/* lora: a linear layer with a low-rank one beside it, and its gradient by the input, which is the same function.
 *     u = x op(p),   y = x op(w) + scale * u op(q) + c;   op transposes where tb is 1
 *   x    [T, K]  f32
 *   w    tb = 1: [N, K], tb = 0: [K, N]       any float or block format; no gradient
 *   p    tb = 1: [R, K], tb = 0: [K, R]       f32
 *   q    tb = 1: [N, R], tb = 0: [R, N]       f32
 *   c    optional: [T, N], or [N], added to every row                f32
 *   y    [T, N]  f32
 *   u    [T, R]  f32, of the fast rows the unrounded one. No gradient of its own
 *   tb      1: forward, with LoRA's A as p and its B as q. 0: backward, with dy as x, B as p and A as q
 *   scale   alpha / r, finite
 *   compute 0: f32. 1: factors (u too) may be rounded to bf16, as matmul's are
 * Keeps u for backward, 4 T R bytes. Gradient, for tb = 1: (dx, du) = lora with tb = 0, to which the gradient so far is added as c;
 * dp = scale du^T x and dq = scale dy^T u, both matmul; dc is dy or its sum over rows.
 * compute 0: sums and error as matmul's; the same bits for any worker count, and a row depends on that row of x alone.
 * Refuses LMF_E_SHAPE where K, N, R or c don't fit, LMF_E_DTYPE for other types.
 * Hu et al. 2021, arXiv 2106.09685; PEFT's lora.Linear. */
#ifndef LMF_OPS_LORA_H
#define LMF_OPS_LORA_H
#include "graph/graph.h"

typedef struct lmf_lora_attrs { int32_t tb; float scale; int32_t compute; } lmf_lora_attrs;
extern const lmf_op lmf_op_lora;

/* Returns y. */
lmf_tensor *lmf_lora(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, lmf_tensor *c, lmf_lora_attrs attrs);
#define lmf_lora(g, ...) (lmf_lora)(LMF_AT(g), __VA_ARGS__)

#endif
