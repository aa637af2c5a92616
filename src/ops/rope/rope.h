/* SPDX-License-Identifier: Apache-2.0 */
/* rope: rotary position embedding, in place of each head's pairs (i, i + n_rot/2), as Hugging Face pairs them.
 *   x      [T, H*C]   f32 | bf16; H heads of C
 *   pos    [T]        i32, position of the row in its sequence
 *   freq   [n_rot/2]  f32, radians a position: base^(-2i/n_rot), times what long-context scaling asks for; a CONST or INPUT
 *                     that the model computes once
 *   y      [T, H*C]   x's type: y_i = x_i cos(p f) - x_j sin(p f), y_j = x_j cos(p f) + x_i sin(p f), j = i + n_rot/2
 *   head_size C; n_rot <= C, even: the rest of a head passes; inverse: rotates back (the gradient)
 *   scale: multiplies cos and sin (YaRN's attention factor), 1 otherwise
 * Angles are computed in f64, so positions up to 2^31 keep f32 accuracy. Error at most 2^-22 of the largest |x|, and y's rounding.
 * Same bits for any worker count; a row depends on that row alone.
 * Su et al. 2021, arXiv 2104.09864; transformers' apply_rotary_pos_emb. */
#ifndef LMF_OPS_ROPE_H
#define LMF_OPS_ROPE_H
#include "graph/graph.h"

typedef struct lmf_rope_attrs { int32_t head_size, n_rot; float scale; int32_t inverse; } lmf_rope_attrs;
extern const lmf_op lmf_op_rope;

lmf_tensor *lmf_rope(lmf_graph *g, lmf_tensor *x, lmf_tensor *pos, lmf_tensor *freq, lmf_rope_attrs attrs);
#define lmf_rope(g, ...) (lmf_rope)(LMF_AT(g), __VA_ARGS__)

#endif
