/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix: how much each column of a matrix matters: the mean of the squares of what it is multiplied with. llama.cpp's files, written as
 * GGUF (tensors NAME.in_sum2 and NAME.counts) and read as that or in the older form of .dat.
 * Owner: the reader's caller. Threads: one.
 *
 *     LMF_TRY(lmf_imatrix_read(ctx, "m.imatrix.gguf", &im));
 *     const lmf_imatrix_entry *e = lmf_imatrix_find(im, "blk.0.attn_q.weight"); */
#ifndef LMF_COMPRESS_IMATRIX_H
#define LMF_COMPRESS_IMATRIX_H
#include "base/arena.h"
#include "base/name_index.h"

typedef struct lmf_imatrix_entry {
    const char *name;        /* of the tensor in a GGUF model */
    int64_t     k, n_tok;
    float      *sum2;        /* [k] sums of squares over n_tok tokens */
} lmf_imatrix_entry;

typedef struct lmf_imatrix {
    lmf_ctx           *ctx;
    lmf_arena          arena;
    lmf_name_index     names;
    lmf_imatrix_entry *items; int32_t n, cap;
    int32_t            chunk_tok; /* tokens of a window of the text */
    const char        *dataset;   /* the text's name, or NULL */
} lmf_imatrix;

lmf_status lmf_imatrix_create(lmf_ctx *ctx, lmf_imatrix **out);
/* LMF_E_FORMAT: neither form, damaged, or numbers that are none. */
lmf_status lmf_imatrix_read(lmf_ctx *ctx, const char *path, lmf_imatrix **out);
/* A GGUF file that is not there yet. */
lmf_status lmf_imatrix_write(lmf_imatrix *im, const char *path);
/* A new entry, its sums 0; the entry of that name where there is one. */
lmf_status lmf_imatrix_add(lmf_imatrix *im, const char *name, int64_t k, lmf_imatrix_entry **out);
const lmf_imatrix_entry *lmf_imatrix_find(const lmf_imatrix *im, const char *name); /* NULL: none */
void       lmf_imatrix_close(lmf_imatrix *im); /* NULL is fine */

#endif
