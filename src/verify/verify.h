/* SPDX-License-Identifier: Apache-2.0 */
/* verify: how good an answer is, as a number. A verifier is one file src/verify/<name>.c with one descriptor; the build finds it. Training
 * from rewards, sampled data and agents use them; a verifier knows text and the row that the answer is for, and no model.
 *
 *     const lmf_verifier lmf_verifier_mine = { .name = "mine", .summary = "1 where ...", .score = score };
 *
 *     LMF_TRY(lmf_rewards_open(ctx, (const char *[]){ "number", "length:256,64=0.5" }, 2, NULL, &r));
 *     LMF_TRY(lmf_rewards_score(r, &(lmf_verify_in){ .row = row, .reference = "7", .text = text, .n = n }, scores, &total));
 *     lmf_rewards_close(r);
 *
 * A reward is written NAME, NAME:ARGUMENT, and behind either =WEIGHT, a number (default 1). Where an argument itself ends with = and a
 * number, the weight must be given.
 * Owner: open/close. Threads: a list belongs to one thread at a time. */
#ifndef LMF_VERIFY_VERIFY_H
#define LMF_VERIFY_VERIFY_H
#include <jansson.h>
#include "base/arena.h"

enum { LMF_MAX_REWARDS = 8 };

typedef struct lmf_verify_in {
    const json_t *row;           /* data/rows.h */
    const char   *reference;     /* what the row wants: its "answer", else its own last answer; NULL: nothing */
    const char   *text; size_t n; /* the answer, without control tokens; ends with a NUL that n does not count */
    int32_t       n_tok;         /* tokens of it */
} lmf_verify_in;

typedef struct lmf_verify_opts { double timeout_s; } lmf_verify_opts; /* for what answers from outside; 0: 30 */

typedef struct lmf_verifier {
    const char *name, *summary;  /* "number", what its score says */
    const char *argument;        /* what stands behind the colon; NULL: nothing may */
    bool        needs_argument;
    /* NULL: no state. LMF_E_ARG: not such an argument, which is NULL where none is given. */
    lmf_status (*open)(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state);
    void       (*close)(lmf_ctx *ctx, void *state);
    /* An answer that is wrong is a low score. LMF_E_FORMAT: the row lacks what it is judged by. Others: no score could be had. */
    lmf_status (*score)(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *score);
} lmf_verifier;

typedef struct lmf_reward { const lmf_verifier *verifier; const char *text; double weight; void *state; } lmf_reward; /* text: no weight */
typedef struct lmf_rewards { lmf_ctx *ctx; lmf_arena arena; int n; lmf_reward item[LMF_MAX_REWARDS]; } lmf_rewards;

/* LMF_E_ARG: no such verifier, with the names that there are; an argument or weight that can't be read. */
lmf_status lmf_rewards_open(lmf_ctx *ctx, const char *const *spec, int n, const lmf_verify_opts *opts, lmf_rewards **out);
void       lmf_rewards_close(lmf_rewards *r);    /* NULL is fine */
/* score [r->n], each as its verifier gives it; total: their weighted sum. A score that is not finite is LMF_E_FORMAT. */
lmf_status lmf_rewards_score(lmf_rewards *r, const lmf_verify_in *in, double *score, double *total);

#endif
