/* SPDX-License-Identifier: Apache-2.0 */
/* score: log-probabilities that a model, with or without an adapter, gives to the tokens of a text. A plan of its own: one graph
 * for each of a few lengths, up to the longest that is asked for.
 * Owner: borrows model and adapter, which must outlive it. Threads: one.
 *
 *     lmf_scorer_opts opts = { .device = "cpu", .compute = 1, .max_tok = 512 };
 *     LMF_TRY(lmf_scorer_create(ctx, model, &opts, &s));
 *     LMF_TRY(lmf_scorer_logp(s, id, n, 1, logp));      // logp[i]: of id[i] after id[0 .. i-1] */
#ifndef LMF_EVAL_SCORE_H
#define LMF_EVAL_SCORE_H
#include "eval/lora.h"
#include "graph/plan.h"

/* Called after each unit of work; false stops it with LMF_E_CANCELLED. */
typedef bool (*lmf_eval_progress)(void *user, int64_t done, int64_t total);

typedef struct lmf_scorer lmf_scorer;
typedef struct lmf_scorer_opts {
    const char     *device;   /* NULL: "cpu" */
    const lmf_lora *lora;     /* or NULL */
    int             compute;  /* 0: f32 products; 1: fast (ops/matmul.h) */
    int32_t         max_tok;  /* longest text; at least 2 */
    bool            logits;   /* lmf_scorer_logits may be called: max_tok * vocab floats more */
} lmf_scorer_opts;

lmf_status lmf_scorer_create(lmf_ctx *ctx, const lmf_model *model, const lmf_scorer_opts *opts, lmf_scorer **out);
void       lmf_scorer_destroy(lmf_scorer *s); /* NULL is fine */
/* logp[i] for first <= i < n, first at least 1; others are not touched. LMF_E_LIMIT: over max_tok. */
lmf_status lmf_scorer_logp(lmf_scorer *s, const int32_t *id, int32_t n, int32_t first, float *logp);
/* The logits behind each of the n tokens, [n, V], valid until the next call. */
lmf_status lmf_scorer_logits(lmf_scorer *s, const int32_t *id, int32_t n, const float **logits);
size_t     lmf_scorer_bytes(const lmf_scorer *s); /* asked of the device */

#endif
