/* SPDX-License-Identifier: Apache-2.0 */
/* bpe_train: a byte-level BPE vocabulary out of text. Words (pretok.h) are counted; the pair of neighbouring tokens that occurs most often
 * becomes a token, of equals the one whose left id, then right id, is least; again, until the vocabulary is full. Merges and ids are those
 * of Hugging Face's BpeTrainer on the same words: special tokens first, then the 256 bytes in the order of their characters in the
 * byte-level alphabet, then merges in order.
 *
 *     lmf_word_counts *w;
 *     LMF_TRY(lmf_word_counts_create(ctx, "smollm", &w));
 *     LMF_TRY_TO(done, lmf_word_counts_add(w, text, n));            // each document; one w a worker, then lmf_word_counts_merge
 *     LMF_TRY_TO(done, lmf_bpe_train(w, &(lmf_bpe_train_opts){ .vocab = 8192, .special = names, .n_special = 1 }, &t));
 *
 * Owner: create/destroy. Threads: one a handle. */
#ifndef LMF_TEXT_BPE_TRAIN_H
#define LMF_TEXT_BPE_TRAIN_H
#include "base/arena.h"
#include "base/buf.h"

typedef struct lmf_word_counts lmf_word_counts;
lmf_status lmf_word_counts_create(lmf_ctx *ctx, const char *pretok, lmf_word_counts **out); /* LMF_E_UNSUPPORTED: no such splitter */
void       lmf_word_counts_destroy(lmf_word_counts *w);                 /* NULL is fine */
lmf_status lmf_word_counts_add(lmf_word_counts *w, const char *text, size_t n);
lmf_status lmf_word_counts_merge(lmf_word_counts *w, const lmf_word_counts *from);
int64_t    lmf_word_counts_n(const lmf_word_counts *w);                 /* different words */

typedef struct lmf_bpe_train_opts {
    int32_t            vocab;         /* tokens at most, special ones and bytes included: n_special + 256 and more */
    int64_t            min_count;     /* a pair must occur so often; 0: 1 */
    const char *const *special;       /* no text gives these */
    int32_t            n_special;
    bool             (*progress)(void *user, int64_t done, int64_t total); /* tokens; true: stop, LMF_E_CANCELLED. NULL: nobody asks */
    void              *user;
} lmf_bpe_train_opts;

typedef struct lmf_bpe_trained {
    lmf_arena    arena;
    int32_t      n_tokens, n_merges;  /* fewer tokens than asked for where no pair is left */
    const char **token;               /* [n_tokens] in the byte-level alphabet, NUL-terminated */
    int32_t    (*merge)[2];           /* [n_merges] ids of the two, best first */
} lmf_bpe_trained;
/* LMF_E_ARG: a vocabulary without room for the bytes. */
lmf_status lmf_bpe_train(const lmf_word_counts *w, const lmf_bpe_train_opts *opts, lmf_bpe_trained *out);
void       lmf_bpe_trained_clear(lmf_bpe_trained *t);                   /* a zeroed one is fine */

#endif
