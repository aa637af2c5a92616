/* SPDX-License-Identifier: Apache-2.0 */
/* matmul: y = alpha * op(a) op(b) + c; op transposes where ta or tb is 1.
 *   a    [..., K]  ta = 0: leading dims collapse to M; y then has a's leading dims.   Any float or block format
 *        [..., M]  ta = 1: leading dims collapse to K (none: K is 1); y is then [M, N].
 *   b    [N, K]    tb = 1, how Hugging Face and GGUF store a linear layer.            Any float or block format
 *        [..., N]  tb = 0: leading dims collapse to K (none: K is 1).
 *   c    optional: the shape of y, of y's type; or [N], added to every row, f32
 *   y    [..., N]  f32, or bf16 where the attribute y says so
 *   ta, tb         0 or 1
 *   alpha          scale of the product, finite; lmf_matmul_nt sets 1. Not applied to c
 *   y              LMF_F32 (0) or LMF_BF16: type of the result, summed in f32 and rounded once
 *   compute        0: f32 products and sums. 1: rows may be faster and coarser: activations in 8 bits on block formats
 *                  for up to 32 rows (16 where the format has no tile), both factors in bf16 (sums in f32) for more where the
 *                  processor multiplies bf16
 * Block formats are blocked along their innermost dimension.
 * Keeps nothing for backward. Gradients: of a and b, a matmul that adds to the gradient so far as it computes and
 * inherits compute, that of a y's type too, while that of b is f32; of c, dy or its sum over rows. A gradient of an a or b of three dims
 * that is not y-shaped is refused, and so is one of a block format.
 * compute 0: sums in f32, in k order within blocks of at most 576 (or one format block) of K, blocks in order; error at
 * most K * 2^-24 of the sum of magnitudes. Same bits for any worker count; a row of y depends on that row of a alone, however
 * many rows there are. compute 1: the same bits for 1 to 32 rows (16 where the format has no tile, 8 where it has no dot), others for more;
 * on block formats the error of 8-bit activations (quant/act.h), about 0.4 % of the norm; in bf16, 2^-8 of each factor.
 * Refuses LMF_E_SHAPE where K, N or c don't fit, LMF_E_DTYPE for integers or a c of another type. */
#ifndef LMF_OPS_MATMUL_H
#define LMF_OPS_MATMUL_H
#include "graph/graph.h"

typedef struct lmf_matmul_attrs { int32_t ta, tb; float alpha; int32_t compute, y; } lmf_matmul_attrs;
extern const lmf_op lmf_op_matmul;

lmf_tensor *lmf_matmul(lmf_graph *g, lmf_tensor *a, lmf_tensor *b, lmf_tensor *c, lmf_matmul_attrs attrs);
#define lmf_matmul(g, ...) (lmf_matmul)(LMF_AT(g), __VA_ARGS__)
lmf_tensor *lmf_matmul_nt(lmf_graph *g, lmf_tensor *a, lmf_tensor *b); /* a b^T, f32 */
#define lmf_matmul_nt(g, ...) (lmf_matmul_nt)(LMF_AT(g), __VA_ARGS__)

#endif
