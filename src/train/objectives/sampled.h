/* SPDX-License-Identifier: Apache-2.0 */
/* sampled: options of objectives that learn from answers which the model samples itself. Names as TRL's trainers have them. */
#ifndef LMF_TRAIN_OBJECTIVES_SAMPLED_H
#define LMF_TRAIN_OBJECTIVES_SAMPLED_H
#include "train/objective.h"

typedef struct lmf_sampled_opts {
    int32_t n_answers, max_tok, n_iterations, top_k;
    float   temperature, top_p, min_p;
    bool    mask_truncated;
} lmf_sampled_opts;

/* of: the struct that has these as its member s; the other arguments are what differs. */
#define LMF_SAMPLED_OPTIONS(of, n_answers_text, temperature_help) \
    { "num-generations", LMF_FIELD_I32, offsetof(of, s.n_answers), "answers", 2, 4096, n_answers_text, \
      "answers sampled to each prompt: a group" }, \
    { "max-completion-length", LMF_FIELD_I32, offsetof(of, s.max_tok), "tokens", 1, 1 << 20, "512", "most tokens of an answer" }, \
    { "temperature", LMF_FIELD_F32, offsetof(of, s.temperature), "", 1e-3, 100, "1", temperature_help }, \
    { "top-p", LMF_FIELD_F32, offsetof(of, s.top_p), "", 1e-6, 1, "1", "sampling: the likeliest tokens that make this share; 1: all" }, \
    { "top-k", LMF_FIELD_I32, offsetof(of, s.top_k), "", 0, 1 << 20, "0", "sampling: that many likeliest tokens; 0: all" }, \
    { "min-p", LMF_FIELD_F32, offsetof(of, s.min_p), "", 0, 1, "0", "sampling: tokens at least this share as likely as the likeliest" }
#define LMF_SAMPLED_ITERATIONS(of) \
    { "num-iterations", LMF_FIELD_I32, offsetof(of, s.n_iterations), "steps", 1, 1000, "1", "optimizer steps on the same answers" }
#define LMF_SAMPLED_MASK(of, fallback, help) \
    { "mask-truncated-completions", LMF_FIELD_BOOL, offsetof(of, s.mask_truncated), "", 0, 1, fallback, help }

static inline lmf_sampling lmf__sampled_of(const lmf_sampled_opts *o)
{
    return (lmf_sampling){ .n_answers = o->n_answers, .max_tok = o->max_tok, .n_iterations = o->n_iterations, .top_k = o->top_k,
                           .temperature = o->temperature, .top_p = o->top_p, .min_p = o->min_p, .mask_truncated = o->mask_truncated };
}

#endif
