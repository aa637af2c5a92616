/* SPDX-License-Identifier: Apache-2.0 */
/* measure: what a model lost against the one that it was made from, on text that neither was fitted to: perplexity of both, and how far
 * the distributions of the next token lie apart. The text is cut into windows; of each, the last half's predictions count, as in
 * eval/perplexity.h. Products are f32. */
#ifndef LMF_COMPRESS_MEASURE_H
#define LMF_COMPRESS_MEASURE_H
#include "eval/score.h"

enum { LMF_MEASURE_WINDOW = 256 };
typedef struct lmf_measured {
    double  perplexity, source_perplexity, mean_kl; /* KL(source || model), nats a token */
    double  same_top;                   /* fraction of equal likeliest tokens */
    int64_t n_scored, n_windows;
} lmf_measured;

/* id: n tokens; whole windows of it are used. LMF_E_ARG: not one. LMF_E_LIMIT: values that are no numbers. */
lmf_status lmf_measure(lmf_ctx *ctx, const lmf_model *source, const lmf_model *model, const int32_t *id, int64_t n,
                       lmf_eval_progress progress, void *user, lmf_measured *out);
uint64_t   lmf_measure_bytes(const lmf_model *m); /* of logits, which is most of what it takes */

#endif
