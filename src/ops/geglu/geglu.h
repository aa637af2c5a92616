/* SPDX-License-Identifier: Apache-2.0 */
/* geglu: y = gelu(gate) * up, element by element; gelu is the form with tanh (ops/gelu).
 *   gate [..., F]  f32 | bf16
 *   up   [..., F]  the shape and type of gate
 *   y    [..., F]  that type
 * geglu_bwd: (gate, up, dy) -> dgate = dy up gelu'(gate), dup = dy gelu(gate).
 * Keeps nothing for backward beyond its inputs.
 * Error at most 2e-6 of the magnitude of gate up, of the gradients 4e-6 of that of their factors; in bf16 each result is rounded
 * once besides.
 * Same bits for any worker count; an element depends on its inputs alone.
 * Refuses LMF_E_SHAPE if the shapes differ, LMF_E_DTYPE for anything but f32 or bf16 throughout.
 * Shazeer 2020, arXiv 2002.05202; transformers' Gemma2MLP. */
#ifndef LMF_OPS_GEGLU_H
#define LMF_OPS_GEGLU_H
#include "graph/graph.h"

extern const lmf_op lmf_op_geglu, lmf_op_geglu_bwd;

lmf_tensor *lmf_geglu(lmf_graph *g, lmf_tensor *gate, lmf_tensor *up);
#define lmf_geglu(g, ...) (lmf_geglu)(LMF_AT(g), __VA_ARGS__)

#endif
