/* SPDX-License-Identifier: Apache-2.0 */
/* batch: the inputs that all model bodies share: T rows, S sequences, P pages a sequence. Capacities, never counts: what
 * varies is in the tensors. One batch serves training, prefill, decode, verification and scoring.
 *
 * Rows of one sequence are contiguous: sequence s owns rows q_start[s] .. q_start[s+1]-1, seq[t] = s there. A dead row has
 * seq -1 and lies behind all live ones; in training a pad row is instead an ordinary row of a segment of its own. */
#ifndef LMF_GRAPH_BATCH_H
#define LMF_GRAPH_BATCH_H
#include "graph/graph.h"

typedef struct lmf_batch {
    lmf_tensor *token, *pos;         /* [T] i32; pos restarts with each sequence */
    lmf_tensor *seq;                 /* [T] i32, its sequence; -1 = dead row */
    lmf_tensor *q_start;             /* [S+1] i32, first row of each sequence */
    lmf_tensor *page;                /* [S, P] i32, or NULL: K and V are this step's own rows (training) */
    lmf_tensor *slot;                /* [S] i32, row of recurrent state, or NULL */
    lmf_tensor *adapter;             /* [S] i32, LoRA slot; -1 = base alone; or NULL: no adapters in this graph */
    int64_t     n_pages, page_size;  /* of the paged cache: pages in all, rows a page; 0 without pages */
    uint16_t    cache_dtype;         /* of K and V in pages */
} lmf_batch;

#endif
