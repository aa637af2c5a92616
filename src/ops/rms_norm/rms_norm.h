/* SPDX-License-Identifier: Apache-2.0 */
/* rms_norm: y = x / sqrt(mean(x^2) + eps) * w, row by row; or by groups of a row, which are rows of their own (the heads of q and k).
 *   x    [..., D]  f32 | bf16, innermost contiguous
 *   w    [C]       f32; C is D, or divides it: groups of C
 *   y    [..., D]  x's type
 *   eps            > 0, default 1e-5
 * Keeps for backward: rstd [..., D / C] f32, or [...] where C is D, 4 bytes a group (out[1]).
 * rms_norm_bwd: (x, w, rstd, dy) -> dx, dw [C] f32. rms_norm_dx: (x, w, rstd, dy, c?) -> dx + c alone, c of x's shape and type: what
 * bf16 takes where w is frozen.
 * Sums in f32, in as many partial sums as a vector has lanes. Relative error at most 2e-6; of the gradients 4e-6 of their root
 * mean square; in bf16 each result is rounded once besides. Same bits for any worker count; a row's bits depend
 * on that row alone.
 * Refuses LMF_E_SHAPE if w is no [C], LMF_E_DTYPE for other types.
 * Zhang and Sennrich 2019, arXiv 1910.07467; transformers' LlamaRMSNorm. */
#ifndef LMF_OPS_RMS_NORM_H
#define LMF_OPS_RMS_NORM_H
#include "graph/graph.h"

typedef struct lmf_rms_norm_attrs { float eps; } lmf_rms_norm_attrs;
extern const lmf_op lmf_op_rms_norm, lmf_op_rms_norm_bwd, lmf_op_rms_norm_dx;

/* For rows: groups in all, each of w's width. */
static inline int64_t lmf_rms_norm_rows(const lmf_call *c)
{
    return c->in[1].dim[0] ? lmf_view_count(&c->in[0]) / c->in[1].dim[0] : lmf_view_rows(&c->in[0]);
}

lmf_tensor *lmf_rms_norm(lmf_graph *g, lmf_tensor *x, lmf_tensor *w, float eps);
#define lmf_rms_norm(g, ...) (lmf_rms_norm)(LMF_AT(g), __VA_ARGS__)

#endif
