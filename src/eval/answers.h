/* SPDX-License-Identifier: Apache-2.0 */
/* answers: a model's answers to test rows (verify/tool_call.h judges them), and how likely the rows' own answers are to it. */
#ifndef LMF_EVAL_ANSWERS_H
#define LMF_EVAL_ANSWERS_H
#include "data/samples.h"
#include "eval/score.h"
#include "verify/tool_call.h"

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
