/* SPDX-License-Identifier: Apache-2.0 */
/* head_kl: the loss head of distillation: how far the student's distribution of the next token is from the teacher's. Both have logits
 * z = scale * x w^T / temperature, never stored; s and t are their softmax over the tokens that both heads have. Row by row
 *     kl = temperature^2 D(t, s),   loss = sum over rows of weight kl,   m = beta t + (1 - beta) s
 *     D  = beta KL(t || m) + (1 - beta) KL(s || m);   beta 0: KL(t || s), forward;   beta 1: KL(s || t), reverse
 *   x        [T, D]   f32 | bf16, the student's hidden states (leading dims collapse)
 *   w        [V, D]   any float or block format
 *   teacher  [T, E]   f32 | bf16, the teacher's hidden states; no gradient flows to it
 *   head     [U, E]   any float or block format, its head; no gradient. Rows of w and head past the shorter's last take no part
 *   weight   [T]      f32; normalisation is in it (1 / number of counted tokens for a mean). 0: not counted
 *   mix      [1]      optional f32 from 0 to 1: the teacher's logits are mix times its own and 1 - mix times the student's, through which
 *                     no gradient flows (TAID); absent: 1
 *   loss     [1]      f32
 *   kl       [T]      f32; 0 for rows not counted. No gradient
 *   dx       [T, D]   x's type, gradient of loss, computed in the forward pass
 *   dw       [V, D]   f32, likewise: only head_kl_w has it, which the builder takes where w needs a gradient
 *   scale, teacher_scale  of the logits, finite; 1 in most models
 *   temperature     > 0, 1e-3 to 1e3. Its square keeps the gradient's size, as Hinton et al. have it
 *   beta            0 to 1
 *   compute         0: f32. 1: a row may use coarser products
 * Keeps for backward: dx (and dw). Costs, for counted T, 4 V (D + E) flops and 2 V D for dx; 2 V (D + E) more where beta is not 0, and
 * 2 V (2 D + E) for dw.
 * Sums in f32. Error at the widths of the cases, for logits within about 10: loss 1e-5 relative; of the root mean square kl 1e-5, dx and
 * dw 4e-5 (dw 1e-5 of the element besides): s and t cancel in them; it grows as sqrt(D). Same bits for any worker count; kl and dx of a
 * row depend on that row alone; loss is summed in row order.
 * Refuses LMF_E_SHAPE where T, D or E differ, LMF_E_DTYPE for other dtypes.
 * Agarwal et al. 2023, arXiv 2306.13649 (beta); Hinton et al. 2015, arXiv 1503.02531; Shing et al. 2025, arXiv 2501.16937 (mix). */
#ifndef LMF_OPS_HEAD_KL_H
#define LMF_OPS_HEAD_KL_H
#include <math.h>
#include "graph/graph.h"

typedef struct lmf_head_kl_attrs { float scale, teacher_scale, temperature, beta; int32_t compute; } lmf_head_kl_attrs;
extern const lmf_op lmf_op_head_kl, lmf_op_head_kl_w;

typedef struct lmf_head_kl_in { lmf_tensor *x, *w, *teacher, *head, *weight, *mix; } lmf_head_kl_in; /* mix may be NULL */
/* Returns loss; *kl, where not NULL, gets the other output. */
lmf_tensor *lmf_head_kl(lmf_graph *g, lmf_head_kl_in in, lmf_head_kl_attrs attrs, lmf_tensor **kl);
#define lmf_head_kl(g, ...) (lmf_head_kl)(LMF_AT(g), __VA_ARGS__)

/* lse becomes log(exp(lse) + exp(z)); -infinity where nothing is in it yet. For references, of head_topk too. */
static inline void lmf__add_to_lse(double *lse, double z)
{
    double top = fmax(*lse, z);
    *lse = top + log(exp(*lse - top) + exp(z - top));
}

#endif
