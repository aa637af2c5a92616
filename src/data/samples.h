/* SPDX-License-Identifier: Apache-2.0 */
/* samples: rows as token ids with a loss mask, and their packing into steps. Sequences that are trained on together, in one micro-batch,
 * are a group: most rows give a group of one; a row with a chosen and a rejected answer gives a pair. A row whose answer has a label gives
 * two, of which the second is only measured: its prompt with the answer of another row, the nearest one before it with another prompt.
 *
 * The mask comes from the template: where it marks {% generation %} blocks, from those; else an assistant's turn is what the
 * template adds behind its own generation prompt (behind what that has in common with
 * the turn, where it ends with <think>). It ends with the turn's end-of-turn token; what the template writes behind that
 * is not learned. prompt/completion: the completion and the end token, where it does not end with one. text: all, likewise.
 * chosen/rejected: each answer, nothing of its prompt. segments: those with the label true; each is tokenized alone and nothing is added,
 * no BOS and no end, as Axolotl's template-free form has it.
 * Control tokens in text, prompt and completion are such, in what users and tools say they are not (chat->control).
 * Owner: create/destroy. Threads: read only after creation. */
#ifndef LMF_DATA_SAMPLES_H
#define LMF_DATA_SAMPLES_H
#include "data/rows.h"
#include "text/chat/chat.h"

/* Of a row that only asks (LMF_TAKES_PROMPT): the row in the one form, as JSON, and what it wants (its "answer", else its own last answer;
 * NULL: nothing), for who judges answers to it. */
typedef struct lmf_prompt { const char *row, *reference; } lmf_prompt;
/* Of an answer that the model wrote itself. By token of the sample, log-probabilities of those that are learned; NULL: not wanted. */
typedef struct lmf_sampled {
    const float *logp, *old, *base; /* as the sampler said; by the trainer before its first step on it; under the weights of the start */
    float        advantage;
    float        batch_share;      /* 1 / (learned tokens of its batch, of several that make a step, times batches) */
} lmf_sampled;

typedef struct lmf_sample {
    const int32_t *id;        /* [n] */
    const uint8_t *learn;     /* [n] 1: this token counts in the loss */
    int32_t        n, n_learn;
    int64_t        line;      /* of its row */
    int64_t        i_row;     /* among lmf_rows.items */
    int8_t         label;     /* 1 a good answer, -1 a bad one; 0: rows without labels */
    int32_t        i_file;    /* of a data set of several (data/dataset.h) */
    const lmf_prompt *prompt; const lmf_sampled *sampled; /* NULL: it is neither */
} lmf_sample;

/* What a row may hold; who makes samples says which of these are taken. PREFERENCE stands alone: its groups are pairs, chosen first. So
 * does LABELLED, an answer with "label" true or false: messages, of which the last answer counts, or prompt and completion; and PROMPT,
 * what is to be answered, of which nothing is learned: a prompt, or messages up to the last answer, and the row itself beside it. */
enum { LMF_TAKES_MESSAGES = 1, LMF_TAKES_COMPLETION = 2, LMF_TAKES_TEXT = 4, LMF_TAKES_PREFERENCE = 8, LMF_TAKES_LABELLED = 16,
       LMF_TAKES_SEGMENTS = 32, LMF_TAKES_PROMPT = 64,
       LMF_TAKES_SINGLE = LMF_TAKES_MESSAGES | LMF_TAKES_COMPLETION | LMF_TAKES_TEXT | LMF_TAKES_SEGMENTS };

/* SPLIT: plain text becomes several samples, one behind the other; other rows are refused. */
typedef enum lmf_too_long { LMF_LONG_ERROR, LMF_LONG_SKIP, LMF_LONG_TRUNCATE, LMF_LONG_SPLIT } lmf_too_long;
/* What of a row is learned: each answer, the last one, or every token. Segments and pairs say it themselves. */
typedef enum lmf_train_on { LMF_TRAIN_ANSWERS, LMF_TRAIN_LAST, LMF_TRAIN_ALL } lmf_train_on;
typedef struct lmf_samples_opts { uint32_t takes; int32_t max_tok; lmf_too_long too_long; lmf_train_on train_on; } lmf_samples_opts;
typedef struct lmf_samples {
    lmf_ctx    *ctx;
    lmf_arena   arena;
    lmf_sample *items;         /* those of a group side by side */
    int64_t     n, cap;        /* sequences; room for them */
    int32_t     group_size;    /* sequences a group; 0 stands for 1 */
    int32_t     n_measured;    /* the last of them, which are not trained on */
    int64_t     n_skipped, n_truncated; /* rows */
    int64_t     n_bad;            /* rows left out because they can't be used (lmf_rows.skip_bad), those of the file included */
    char        first_bad[512];   /* why the first of them was */
    int64_t     n_unlearned;      /* turns before the last that the template shows otherwise once more follow: not learned */
    int64_t     n_spaced, first_spaced; /* prompts in text that end with a space, and the line of the first */
    int64_t     n_endless;        /* rows with an answer that is learned without an end of turn */
    char        first_endless[200];
    int64_t     n_tok, n_learn;   /* of those trained on */
    int64_t     n_label[2];       /* rows with the label false, true */
    int32_t     longest;
} lmf_samples;

static inline int32_t lmf_samples_group_size(const lmf_samples *s) { return s->group_size ? s->group_size : 1; }
static inline int32_t lmf_samples_n_trained(const lmf_samples *s) { return lmf_samples_group_size(s) - s->n_measured; }
static inline int64_t lmf_samples_n_groups(const lmf_samples *s) { return s->n / lmf_samples_group_size(s); }
/* Tokens of group g that are trained on; the most of a group, or of a single sequence that is measured. */
int32_t    lmf_samples_group_tok(const lmf_samples *s, int64_t g);
int32_t    lmf_samples_longest_group(const lmf_samples *s);

/* Rows over max_tok: refused with the line, skipped or cut, and counted. Tools, calls and results that the template leaves out are refused
 * with their name. A row in which nothing is learned is refused with what the
 * template made of it. */
lmf_status lmf_samples_create(const lmf_rows *rows, const lmf_chat *chat, int32_t max_tok, lmf_too_long policy, lmf_samples **out);
/* takes: LMF_TAKES_*. A row that holds none of these is refused; one that holds several counts as the first. create takes SINGLE. */
lmf_status lmf_samples_create_of(const lmf_rows *rows, const lmf_chat *chat, uint32_t takes, int32_t max_tok, lmf_too_long policy,
                                 lmf_samples **out);
lmf_status lmf_samples_create_with(const lmf_rows *rows, const lmf_chat *chat, const lmf_samples_opts *opts, lmf_samples **out);
void       lmf_samples_destroy(lmf_samples *s);
/* Of token ids, masks, labels and groups, in order. */
lmf_status lmf_samples_sha256(const lmf_samples *s, lmf_ctx *ctx, char hex[65]);

/* Prompt of one test row: messages up to the last assistant turn, then the generation prompt. */
lmf_status lmf_row_prompt(const lmf_rows *rows, int64_t i, const lmf_chat *chat, lmf_ids *ids);
/* What a test row wants as its last answer, into out, emptied before: its content; with tool calls, what the template makes of it, the
 * end of turn left out. row: of lmf_row_get, may be changed. */
lmf_status lmf_row_reference(const lmf_rows *rows, const lmf_chat *chat, json_t *row, lmf_buf *out);
/* The same prompt of a row in the one form; a prompt in text as it is. */
lmf_status lmf_prompt_encode(const lmf_chat *chat, const json_t *row, lmf_ids *ids);
/* What answers to a row are judged by, into out, emptied before: its "answer", else its own last answer; has: it has one. */
lmf_status lmf_prompt_reference(const lmf_rows *rows, const lmf_chat *chat, json_t *row, lmf_buf *out, bool *has);
/* Leaves out the rows of which samples were not made. */
lmf_status lmf_rows_keep(lmf_rows *rows, const lmf_samples *samples);

/* order[0..n): a permutation of 0..n-1 for that seed and epoch. */
void lmf_shuffle(uint64_t seed, uint32_t epoch, int64_t *order, int64_t n);
/* Best fit, decreasing: item i of length len[i] goes to bin[i]. scratch: 2 n. Returns the number of bins. Every length is at most cap. */
int  lmf_pack(const int32_t *len, int n, int32_t cap, int *bin, int32_t *scratch);

#endif
