/* SPDX-License-Identifier: Apache-2.0 */
/* samples: rows as token ids with a loss mask, and their packing into steps.
 *
 * The mask comes from the template: where it marks {% generation %} blocks, from those; else an assistant's turn is what the
 * template adds behind its own generation prompt. It ends with the turn's end-of-turn token; what the template writes behind that
 * is not learned. prompt/completion: the completion and the end token. text: all.
 * Owner: create/destroy. Threads: read only after creation. */
#ifndef LMF_DATA_SAMPLES_H
#define LMF_DATA_SAMPLES_H
#include "data/rows.h"
#include "text/chat.h"

typedef struct lmf_sample {
    const int32_t *id;        /* [n] */
    const uint8_t *learn;     /* [n] 1: this token counts in the loss */
    int32_t        n, n_learn;
    int64_t        line;      /* of its row */
} lmf_sample;

typedef enum lmf_too_long { LMF_LONG_ERROR, LMF_LONG_SKIP, LMF_LONG_TRUNCATE } lmf_too_long;
typedef struct lmf_samples {
    lmf_ctx    *ctx;
    lmf_arena   arena;
    lmf_sample *items;
    int64_t     n, n_skipped, n_truncated;
    int64_t     n_tok, n_learn;
    int32_t     longest;
} lmf_samples;

/* Rows over max_tok: refused with the line, skipped or cut, and counted. A row in which nothing is learned is refused with what the
 * template made of it. */
lmf_status lmf_samples_create(const lmf_rows *rows, const lmf_chat *chat, int32_t max_tok, lmf_too_long policy, lmf_samples **out);
void       lmf_samples_destroy(lmf_samples *s);

/* Prompt of one test row: messages up to the last assistant turn, then the generation prompt. reference: that turn's text. */
lmf_status lmf_row_prompt(const lmf_rows *rows, int64_t i, const lmf_chat *chat, lmf_ids *ids, const char **reference);

/* order[0..n): a permutation of 0..n-1 for that seed and epoch. */
void lmf_shuffle(uint64_t seed, uint32_t epoch, int64_t *order, int64_t n);
/* Best fit, decreasing: item i of length len[i] goes to bin[i]. scratch: 2 n. Returns the number of bins. Every length is at most cap. */
int  lmf_pack(const int32_t *len, int n, int32_t cap, int *bin, int32_t *scratch);

#endif
