/* SPDX-License-Identifier: Apache-2.0 */
/* head_topk: head_kl with a teacher of whom the likeliest K tokens and what is left are known. Both distributions are taken as K + 1
 * buckets, s_0 .. s_K and t_0 .. t_K: the tokens, and all others together. With K = V nothing is left, and it is head_kl; else it is at
 * most what head_kl gives. Logits of the student z = scale * x w^T / temperature, never stored;
 *     kl = temperature^2 D(t, s),   loss = sum over rows of weight kl,   D as in head_kl.h
 *   x        [T, D]   f32 | bf16, the student's hidden states
 *   w        [V, D]   any float or block format
 *   id       [T, K]   i32, the tokens, rising, in [0, V); of rows that don't count anything
 *   logp     [T, K]   f32, the teacher's log-probabilities of them at the temperature
 *   rest     [T]      f32, the logarithm of what is left; not read where K = V
 *   weight   [T]      f32; normalisation is in it. 0: not counted
 *   loss     [1]      f32
 *   kl       [T]      f32; 0 for rows not counted. No gradient
 *   dx       [T, D]   x's type, gradient of loss, computed in the forward pass
 *   dw       [V, D]   f32, likewise: only head_topk_w has it, which the builder takes where w needs a gradient
 *   scale, temperature, beta, compute  as in head_kl.h
 * Keeps for backward: dx (and dw). Costs 6 V D flops for counted T, 10 V D with dw.
 * Sums in f32. Error as head_kl's. Same bits for any worker count; kl and dx of a row depend on that row alone; loss is
 * summed in row order.
 * Refuses LMF_E_SHAPE where T, D or K differ or K is greater than V, LMF_E_DTYPE for other dtypes. */
#ifndef LMF_OPS_HEAD_TOPK_H
#define LMF_OPS_HEAD_TOPK_H
#include "graph/graph.h"
#include "ops/head_topk/head_topk_bucket.h"

typedef struct lmf_head_topk_attrs { float scale, temperature, beta; int32_t compute; } lmf_head_topk_attrs;
extern const lmf_op lmf_op_head_topk, lmf_op_head_topk_w;

typedef struct lmf_head_topk_in { lmf_tensor *x, *w, *id, *logp, *rest, *weight; } lmf_head_topk_in;
lmf_tensor *lmf_head_topk(lmf_graph *g, lmf_head_topk_in in, lmf_head_topk_attrs attrs); /* loss */
#define lmf_head_topk(g, ...) (lmf_head_topk)(LMF_AT(g), __VA_ARGS__)

#endif
