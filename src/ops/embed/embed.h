/* SPDX-License-Identifier: Apache-2.0 */
/* embed: y[t] = w[token[t]], rows of a table.
 *   token [T]     i32; a value outside [0, V) gives a row of zeros (dead rows hold -1)
 *   w     [V, D]  any float or block format
 *   y     [T, D]  f32 or bf16: the attribute y, for which the builder takes the graph's type between ops
 * Keeps nothing. Exact in f32, rounded once in bf16. Same bits for any worker count; a row depends on that row alone.
 * Gradient of w (embed_bwd): dw[v] = sum of dy[t] (f32 | bf16) over token[t] = v, in index order; [V, D] f32,
 *   summed in f32, error at most 2^-24 of the sum of magnitudes for each term.
 * Refuses LMF_E_SHAPE, LMF_E_DTYPE. */
#ifndef LMF_OPS_EMBED_H
#define LMF_OPS_EMBED_H
#include "graph/graph.h"

typedef struct lmf_embed_attrs { int32_t y; } lmf_embed_attrs;
typedef struct lmf_embed_bwd_attrs { int32_t n_vocab; } lmf_embed_bwd_attrs;
extern const lmf_op lmf_op_embed, lmf_op_embed_bwd;

lmf_tensor *lmf_embed(lmf_graph *g, lmf_tensor *token, lmf_tensor *w);
#define lmf_embed(g, ...) (lmf_embed)(LMF_AT(g), __VA_ARGS__)

#endif
