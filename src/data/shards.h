/* SPDX-License-Identifier: Apache-2.0 */
/* shards: text as token ids in files that are mapped, not read: what pre-training goes through. A document is its tokens between two
 * tokens of a document's border (the same one: it ends a document, and from it the first token of the next is predicted).
 *
 *     FOLDER/train-00000.tokens ...   documents in the order that the seed shuffled them to
 *     FOLDER/eval-00000.tokens ...    those held out
 *     one file: int32 ids of all documents, padded to 8 bytes; uint64 end[n_docs], in ids; then n_docs, n_ids, n_text_bytes as uint64,
 *     and the 8 bytes "LMFTOK01"; all little endian
 *
 * As samples, a document is cut into pieces of at most seq_tok ids, each of which begins with the last id of the one before it: each id but
 * the first border is learned once. The samples' ids lie in the mapped files.
 *
 *     LMF_TRY(lmf_shards_write(ctx, tokenizer, docs, n, &opts, &counts));
 *     LMF_TRY(lmf_shards_open(ctx, "prepared", "train", vocab, seq_tok, &s));       // s->samples
 *     lmf_shards_close(s);
 *
 * Owner: open/close. Threads: writing uses all workers of the context; read only after opening. */
#ifndef LMF_DATA_SHARDS_H
#define LMF_DATA_SHARDS_H
#include "base/file.h"
#include "data/samples.h"

typedef struct lmf_document { const lmf_rows *rows; int64_t i_row; } lmf_document; /* a row with a text */

typedef struct lmf_shards_opts {
    const char *dir, *name;          /* "prepared", "train" */
    int32_t     border;              /* the token between documents */
    int64_t     shard_tok;           /* ids of a file at least, before the next begins; 0: 2^26 */
    bool      (*progress)(void *user, int64_t done, int64_t total); /* documents; true: stop */
    void       *user;
} lmf_shards_opts;
typedef struct lmf_shards_counts { int64_t n_docs, n_tok, n_learn, n_text_bytes, n_files, n_dropped; } lmf_shards_counts;

/* The text of a document, borrowed from *row, which the caller lets go. LMF_E_FORMAT: the row holds something else. */
lmf_status lmf_document_text(const lmf_document *d, json_t **row, const char **text, size_t *n);
/* Tokenizes with all workers and writes in the order of doc. */
lmf_status lmf_shards_write(lmf_ctx *ctx, const lmf_tokenizer *tokenizer, const lmf_document *doc, int64_t n, const lmf_shards_opts *opts,
                            lmf_shards_counts *out);

typedef struct lmf_shards {
    lmf_ctx     *ctx;
    lmf_samples *samples;
    lmf_map     *map;
    int          n_files;
    int64_t      n_docs, n_text_bytes;
} lmf_shards;
/* LMF_E_FORMAT: a file that no lmf_shards_write made, an id that the vocabulary doesn't have. */
lmf_status lmf_shards_open(lmf_ctx *ctx, const char *dir, const char *name, int32_t vocab, int32_t seq_tok, lmf_shards **out);
void       lmf_shards_close(lmf_shards *s);                          /* NULL is fine */

#endif
