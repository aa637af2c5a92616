/* SPDX-License-Identifier: Apache-2.0 */
/* answers: whether a model's answer to a test row is right, and how likely the row's own answer is to it.
 *   valid   the answer is one JSON object and nothing else (white space around it is allowed)
 *   name    it names the right function: "intent" where the row's own answer has one, else "name"
 *   exact   with "allowed" {function: {argument: [values]}}: each argument's value is among those listed, by JSON equality; "" in a list
 *           marks an argument that may be left out; no others. Without: equal to the row's own answer
 * JSON equality: numbers by value (1 equals 1.0), strings to the byte, objects in any order, true is no number. */
#ifndef LMF_EVAL_ANSWERS_H
#define LMF_EVAL_ANSWERS_H
#include "data/samples.h"
#include "eval/score.h"

typedef struct lmf_verdict { bool valid, name, exact; } lmf_verdict;
bool        lmf_json_is_equal(const json_t *a, const json_t *b);
/* row: a test row; reference: its own answer. An answer that is no JSON in both is judged by bytes for exact alone;
 * a reference with tool calls, by the JSON objects in both texts and the bytes around them. */
lmf_verdict lmf_answer_judge(const json_t *row, const char *reference, const char *answer, size_t n);

typedef struct lmf_answer { char *text; size_t n; bool cut; } lmf_answer; /* in the arena; cut: max_new_tok was reached */
typedef struct lmf_answers_opts {
    const char *device;      /* NULL: "cpu" */
    const char *adapter;     /* PEFT folder, or NULL */
    int         compute;
    int32_t     max_new_tok; /* 96 */
    int32_t     max_seqs;    /* rows decoded at once: 8 */
} lmf_answers_opts;
/* Greedy answers to all rows, in their order. */
lmf_status lmf_answers_make(lmf_ctx *ctx, const lmf_model *model, const lmf_rows *rows, const lmf_answers_opts *opts, lmf_arena *arena,
                            lmf_eval_progress progress, void *user, lmf_answer *out);
/* Mean negative log-probability of the learned tokens of all samples. */
lmf_status lmf_answers_loss(lmf_scorer *scorer, lmf_ctx *ctx, const lmf_samples *samples, lmf_eval_progress progress, void *user, double *loss);

#endif
