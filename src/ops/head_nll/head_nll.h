/* SPDX-License-Identifier: Apache-2.0 */
/* head_nll: the loss head of training with weights known before: logits = scale * x w^T, never stored, and
 *     nll_t = log sum over v of exp(logit_tv) - logit[t, target_t],   loss = sum over t of weight_t nll_t
 *   x       [T, D]  f32 | bf16 (leading dims collapse)
 *   w       [V, D]  any float or block format
 *   target  [T]     i32
 *   weight  [T]     f32; normalisation is in it (1 / number of counted tokens for a mean). 0: not counted
 *   loss    [1]     f32
 *   nll     [T]     f32, plain; 0 for rows not counted. No gradient: head_logp has one
 *   dx      [T, D]  x's type, gradient of loss, computed in the forward pass
 *   dw      [V, D]  f32, likewise: only head_nll_w has it, which the builder takes where w needs a gradient
 *   scale           of the logits, finite; 1 in most models
 *   compute         0: f32. 1: a row may use coarser products
 * Rows whose target lies outside [0, V) (-100, say) are not counted, whatever their weight.
 * Keeps for backward: dx (and dw). Costs 4 T V D flops for counted T, 8 T V D with dw. Without gradients use head_logp.
 * Sums in f32. Error at the widths of the cases: loss 1e-6 relative; of the root mean square nll 1e-6, dx 4e-6, dw 2e-5; it
 * grows as sqrt(D). A dx in bf16 is rounded once besides. Same bits for any worker count; nll
 * and dx of a row depend on that row alone; loss is summed in row order.
 * Refuses LMF_E_SHAPE where T, D differ, LMF_E_DTYPE for other dtypes.
 * Milakov and Gimelshein 2018, arXiv 1805.02867 (the running maximum). */
#ifndef LMF_OPS_HEAD_NLL_H
#define LMF_OPS_HEAD_NLL_H
#include "graph/graph.h"

typedef struct lmf_head_nll_attrs { float scale; int32_t compute; } lmf_head_nll_attrs;
extern const lmf_op lmf_op_head_nll, lmf_op_head_nll_w;

/* Returns loss; *nll, where not NULL, gets the other output. */
lmf_tensor *lmf_head_nll(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *target, lmf_tensor *weight,
                         lmf_head_nll_attrs attrs, lmf_tensor **nll);
#define lmf_head_nll(g, ...) (lmf_head_nll)(LMF_AT(g), __VA_ARGS__)

#endif
