/* SPDX-License-Identifier: Apache-2.0 */
/* lora_gate: keeps, of the inner products of several stacked adapters, those of the row's own adapter.
 *   u        [T, N*R]  f32; N adapters of rank R
 *   seq      [T]       i32, sequence of the row; -1 = dead
 *   adapter  [S]       i32, adapter of the sequence; -1 = base alone
 *   y        [T, N*R]  f32: u where its column belongs to adapter[seq[t]], else 0
 * Exact. Same bits for any worker count; a row depends on that row alone. No gradient. */
#ifndef LMF_OPS_LORA_GATE_H
#define LMF_OPS_LORA_GATE_H
#include "graph/graph.h"

typedef struct lmf_lora_gate_attrs { int32_t rank; } lmf_lora_gate_attrs;
extern const lmf_op lmf_op_lora_gate;

lmf_tensor *lmf_lora_gate(lmf_graph *g, lmf_tensor *u, lmf_tensor *seq, lmf_tensor *adapter, int32_t rank);
#define lmf_lora_gate(g, ...) (lmf_lora_gate)(LMF_AT(g), __VA_ARGS__)

#endif
