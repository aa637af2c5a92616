/* SPDX-License-Identifier: Apache-2.0 */
/* lora_product: a linear layer by the one matrix that it and its low-rank pair are together (lora_merge), and the pair's gradients
 * without that matrix's, which would cost a product of the layer's size:
 *     y = x m^T + c
 *   x    [T, K]  f32 | bf16
 *   m    [N, K]  f32 | bf16; w + scale q p. Its own gradient is not made
 *   p    [R, K]  f32, LoRA's A;   q  [N, R]  f32, LoRA's B. Only gradients read them
 *   c    optional: [T, N] of y's type, or [N] f32, added to every row
 *   y    [T, N]  x's type
 *   scale   of q p in m, finite
 *   compute 0: f32 products. 1: factors may be rounded to bf16, as matmul's
 * lora_product_bwd: (x, dy [T, N] of x's type, p, q) -> dp = scale (dy q)^T x [R, K], dq = scale dy^T (x p^T) [N, R], f32.
 * Gradients: dx = dy m, to which the gradient so far is added; dp and dq; dc is dy or its sum over rows. A device without a row takes
 * matmul, and the pair's gradients by way of m's.
 * Sums in f32; with compute 1 x p^T and dy q are rounded to bf16 between. Error of compute 0 as matmul's.
 * Refuses LMF_E_SHAPE where T, K, N, R or c don't fit, LMF_E_DTYPE for other types. */
#ifndef LMF_OPS_LORA_PRODUCT_H
#define LMF_OPS_LORA_PRODUCT_H
#include "graph/graph.h"

typedef struct lmf_lora_product_attrs { float scale; int32_t compute; } lmf_lora_product_attrs;
extern const lmf_op lmf_op_lora_product, lmf_op_lora_product_bwd;

lmf_tensor *lmf_lora_product(lmf_graph *g, lmf_tensor *x, lmf_tensor *m, lmf_tensor *p, lmf_tensor *q, lmf_tensor *c,
                             lmf_lora_product_attrs attrs);
#define lmf_lora_product(g, ...) (lmf_lora_product)(LMF_AT(g), __VA_ARGS__)

#endif
