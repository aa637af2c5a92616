/* SPDX-License-Identifier: Apache-2.0 */
/* swiglu: y = silu(gate) * up, element by element; silu(z) = z / (1 + exp(-z)).
 *   gate [..., F]  f32 | bf16
 *   up   [..., F]  the shape and type of gate
 *   y    [..., F]  that type
 * swiglu_bwd: (gate, up, dy) -> dgate = dy up s (1 + gate (1 - s)), dup = dy silu(gate), with s = 1 / (1 + exp(-gate)).
 * Keeps nothing for backward beyond its inputs.
 * Relative error at most 1e-6, and 1e-30 of |gate up| where y underflows; of the gradients 1e-6 of the sum of magnitudes;
 * in bf16 each result is rounded once besides. Same bits for any worker count; an element depends on its inputs alone.
 * Refuses LMF_E_SHAPE if the shapes differ, LMF_E_DTYPE for anything but f32 or bf16 throughout.
 * Shazeer 2020, arXiv 2002.05202; transformers' LlamaMLP. */
#ifndef LMF_OPS_SWIGLU_H
#define LMF_OPS_SWIGLU_H
#include "graph/graph.h"

extern const lmf_op lmf_op_swiglu, lmf_op_swiglu_bwd;

lmf_tensor *lmf_swiglu(lmf_graph *g, lmf_tensor *gate, lmf_tensor *up);
#define lmf_swiglu(g, ...) (lmf_swiglu)(LMF_AT(g), __VA_ARGS__)

#endif
