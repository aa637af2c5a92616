/* SPDX-License-Identifier: Apache-2.0 */
/* attention: softmax(scale q k^T) v, causal, grouped heads, for ragged sequences in one batch.
 *
 * attention, over this step's own rows (training): row t sees the rows of its own sequence up to itself.
 *   q        [T, H*C]   f32 | bf16; H = n_heads, C = head_size
 *   k, v     [T, K*C]   q's type; K = n_kv_heads divides H; query head h reads head h / (H/K)
 *   seq      [T]        i32, sequence of the row, -1 = dead (its outputs are zero)
 *   q_start  [S+1]      i32, first row of each sequence
 *   o        [T, H*C]   q's type, as are do, dq, dk and dv
 *   lse      [T, H]     f32, log of the sum of exp of the scaled (and capped) scores: kept for backward, 4 T H bytes
 * attention_paged, over pages (prefill, decode): row t sees keys 0 .. pos[t] of its sequence; the step's own K and V were
 * appended before (kv_append).
 *   q        [T, H*C]   f32
 *   k_cache, v_cache  [n_pages, page_size, K*C]  f32 | f16 | bf16
 *   seq, pos [T]        i32
 *   page     [S, P]     i32, page of the i-th page_size keys of the sequence
 *   o        [T, H*C]   f32. No gradient.
 *   scale    > 0; window: a row sees its last `window` keys, itself included; 0 = all
 *   cap      0: none. Else > 0: a scaled score s becomes cap tanh(s / cap) (Gemma 2)
 *   compute  0: f32 products. 1: rows of attention and its backward may round factors (q, k, v, do, weights and their gradients)
 *            to bf16 and sum in f32; a row without matrix units computes as for 0
 * Sums in f32; keys in blocks in order, so the same bits for any worker count, and a row's bits depend on its own keys alone.
 * compute 0: error of o at most 1e-5 relative to the largest |v|; of lse 1e-6, of dq 1e-5, of dk and dv 5e-6 of the root mean square.
 * In bf16 each result is rounded once besides.
 * compute 1: error of o at most 2^-7 of the largest |v|, of lse 2^-8 of the lse of |q| and |k|, of dq, dk and dv 0.04 of the root mean
 * square and the element;
 * the same bits in each run, but a row's bits may depend on the rows around it.
 * attention_bwd: (q, k, v, o, lse, do, seq, q_start) -> dq, dk, dv. Rabe and Staats 2021, arXiv 2112.05682. */
#ifndef LMF_OPS_ATTENTION_H
#define LMF_OPS_ATTENTION_H
#include "graph/batch.h"

typedef struct lmf_attention_attrs {
    int32_t n_heads, n_kv_heads, head_size, window;
    float   scale;
    int32_t compute;
    float   cap;
} lmf_attention_attrs;
extern const lmf_op lmf_op_attention, lmf_op_attention_bwd, lmf_op_attention_paged;

lmf_tensor *lmf_attention(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_attention_attrs attrs);
#define lmf_attention(g, ...) (lmf_attention)(LMF_AT(g), __VA_ARGS__)
lmf_tensor *lmf_attention_paged(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k_cache, lmf_tensor *v_cache, lmf_attention_attrs attrs);
#define lmf_attention_paged(g, ...) (lmf_attention_paged)(LMF_AT(g), __VA_ARGS__)

#endif
