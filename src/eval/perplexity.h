/* SPDX-License-Identifier: Apache-2.0 */
/* perplexity: how well a model predicts a text. The text is cut into windows of `context` tokens without overlap; of each, the last
 * context - context/2 - 1 predictions count; perplexity is exp of their mean negative log-probability. Where the model begins texts
 * with a BOS, it takes the place of each window's first token. So it equals llama.cpp's perplexity tool on the same file. */
#ifndef LMF_EVAL_PERPLEXITY_H
#define LMF_EVAL_PERPLEXITY_H
#include "eval/score.h"

typedef struct lmf_perplexity_stats { double perplexity, mean_nll; int64_t n_tok, n_scored, n_windows; } lmf_perplexity_stats; /* n_tok: in whole windows */

/* scorer: of at least context tokens. max_tok 0: all of the text. LMF_E_ARG: not one window. */
lmf_status lmf_perplexity(lmf_scorer *scorer, const lmf_model *model, const char *text, size_t n, int32_t context, int64_t max_tok,
                          lmf_eval_progress progress, void *user, lmf_perplexity_stats *out);

#endif
