/* SPDX-License-Identifier: Apache-2.0 */
/* lora_merge: the weight that a linear layer and the low-rank pair beside it are together, for one step:
 *     y = w + scale q p, in bf16
 *   w    [N, K]  any float or block format; no gradient
 *   p    [R, K]  f32, LoRA's A
 *   q    [N, R]  f32, LoRA's B
 *   y    [N, K]  bf16
 *   scale   alpha / r, finite
 * A product with y costs what the frozen one does, and its gradient for y gives those of p and q, so that the pair adds no pass over
 * activations. A pair's share of an element is often less than half a unit in its last place, and would be lost where w fills its bf16
 * (rounded to nearest, always the same way): so each element goes up or down by a fixed draw, with the odds that make the mean over
 * elements exact. An element that bf16 holds stays as it is; with q of zeros y is w.
 * lora_merge_bwd: (dy [N, K] f32 | bf16, p, q) -> dp = scale q^T dy [R, K], dq = scale dy p^T [N, R], f32.
 * Keeps nothing. Sums over R in f32; error at most one unit in the last place of bf16, 2^-7 of the element, and 2^-24 of the sum of
 * magnitudes a term; of dp and dq 2^-24 a term. Same bits for any worker count.
 * Refuses LMF_E_SHAPE where N, K or R don't fit, LMF_E_DTYPE for other types.
 * Hu et al. 2021, arXiv 2106.09685; rounding: Croci et al. 2022, "Stochastic rounding: implementation, error analysis and applications". */
#ifndef LMF_OPS_LORA_MERGE_H
#define LMF_OPS_LORA_MERGE_H
#include "graph/graph.h"

typedef struct lmf_lora_merge_attrs { float scale; } lmf_lora_merge_attrs;
extern const lmf_op lmf_op_lora_merge, lmf_op_lora_merge_bwd;

lmf_tensor *lmf_lora_merge(lmf_graph *g, lmf_tensor *w, lmf_tensor *p, lmf_tensor *q, float scale);
#define lmf_lora_merge(g, ...) (lmf_lora_merge)(LMF_AT(g), __VA_ARGS__)

#endif
