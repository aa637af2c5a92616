/* SPDX-License-Identifier: Apache-2.0 */
/* attention_rotary: what a decoder does between its products of q, k and v and that of their answer, over pages: one op where a device
 * does it in one kernel. q and k are rotated (rope.h), k and v appended to their pages (kv_append.h), and q attends to them
 * (attention.h, attention_paged). Elsewhere it is its expansion into those four.
 *   q        [T, H*C]   f32, k, v [T, K*C] f32: not rotated
 *   freq     [n_rot/2]  f32, radians a position
 *   k_cache, v_cache  [n_pages, page_size, K*C]  f32 | f16 | bf16, STATE: out[1] and out[2] are these in place, with this step's rows
 *   seq, pos [T] i32, q_start [S+1] i32, page [S, P] i32: a sequence's rows are neighbours from q_start on, each one position further
 *   o        [T, H*C]   f32 (out[0]); a dead row's is 0
 *   heads: as in attention.h; n_rot, rope_scale: as in rope.h
 * Rule for rows: no other node of a graph writes these caches, so keys of earlier steps may be read before the node's turn.
 * No gradient. Error of o as in attention.h, of the caches at most 2^-22 of the largest |k| and one rounding to their type. */
#ifndef LMF_OPS_ATTENTION_ROTARY_H
#define LMF_OPS_ATTENTION_ROTARY_H
#include "ops/attention/attention.h"

typedef struct lmf_attention_rotary_attrs { lmf_attention_attrs heads; int32_t n_rot; float rope_scale; } lmf_attention_rotary_attrs;
extern const lmf_op lmf_op_attention_rotary;

lmf_tensor *lmf_attention_rotary(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_tensor *freq,
                                 lmf_tensor *k_cache, lmf_tensor *v_cache, lmf_attention_rotary_attrs attrs);
#define lmf_attention_rotary(g, ...) (lmf_attention_rotary)(LMF_AT(g), __VA_ARGS__)

#endif
