/* SPDX-License-Identifier: Apache-2.0 */
/* kv_append: writes this step's keys or values into their pages, in place.
 *   cache  [n_pages, page_size, W]  f32 | f16 | bf16, STATE; row pos % page_size of page[seq][pos / page_size] becomes x[t]
 *   x      [T, W]                   f32
 *   seq, pos [T]                    i32; seq -1 = dead row, not written
 *   page   [S, P]                   i32
 * The result is the cache after the writes. Rounds to the cache's type. Same bits for any worker count. No gradient. */
#ifndef LMF_OPS_KV_APPEND_H
#define LMF_OPS_KV_APPEND_H
#include "graph/batch.h"

extern const lmf_op lmf_op_kv_append;

lmf_tensor *lmf_kv_append(lmf_graph *g, const lmf_batch *in, lmf_tensor *cache, lmf_tensor *x);
#define lmf_kv_append(g, ...) (lmf_kv_append)(LMF_AT(g), __VA_ARGS__)

#endif
