/* SPDX-License-Identifier: Apache-2.0 */
/* head_logp: log-probability of each row's target, with a gradient for any upstream (ORPO, DPO, KTO, GRPO, evaluation).
 * logits = scale * x w^T, never stored;  logp_t = logit[t, target_t] - lse_t,  lse_t = log sum over v of exp(logit_tv)
 *   x       [T, D]  f32 | bf16 (leading dims collapse)
 *   w       [V, D]  any float or block format
 *   target  [T]     i32
 *   weight  [T]     optional f32: rows with 0 are skipped; other values mean nothing
 *   logp    [T]     f32; 0 for rows skipped
 *   lse     [T]     f32, likewise; kept for backward, no gradient
 *   scale           of the logits, finite; 1 in most models
 *   compute         0: f32. 1: a row may use coarser products
 * Rows whose target lies outside [0, V) (-100, say) are skipped too; what comes upstream for a skipped row is ignored.
 * head_logp_bwd: (x, w, target, lse, d_logp, weight?) -> dx [T, D] of x's type; head_logp_bwd_w gives dw [V, D] f32 besides.
 * Keeps for backward: lse, 4 bytes a row. Costs 2 T V D flops for counted T; backward 4 T V D, 8 T V D with dw.
 * Sums in f32. Error, of the root mean square, at the widths of the cases: logp 2e-6, lse 1e-6, dx 5e-6, of head_logp_bwd_w
 * (rows summed, too) 2e-5; it grows as sqrt(D). Same bits for any worker count; a row depends on
 * that row alone (not in dw, which sums rows in order).
 * Refuses LMF_E_SHAPE where T, D differ, LMF_E_DTYPE for other dtypes. */
#ifndef LMF_OPS_HEAD_LOGP_H
#define LMF_OPS_HEAD_LOGP_H
#include "graph/graph.h"

typedef struct lmf_head_logp_attrs { float scale; int32_t compute; } lmf_head_logp_attrs;
extern const lmf_op lmf_op_head_logp, lmf_op_head_logp_bwd, lmf_op_head_logp_bwd_w;

/* weight may be NULL. Returns logp. */
lmf_tensor *lmf_head_logp(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, lmf_tensor *target, lmf_tensor *weight, lmf_head_logp_attrs attrs);
#define lmf_head_logp(g, ...) (lmf_head_logp)(LMF_AT(g), __VA_ARGS__)

#endif
