/* SPDX-License-Identifier: Apache-2.0 */
/* Answers with advantages and log-probabilities, as tools/golden/grpo.py writes them, as samples that a trainer takes. */
#ifndef LMF_TESTS_HARNESS_POLICY_CASE_H
#define LMF_TESTS_HARNESS_POLICY_CASE_H
#include <jansson.h>
#include <string.h>
#include "base/arena.h"
#include "train/objective.h"

static inline double lmf_policy_number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static inline const float *lmf_policy_floats(lmf_arena *a, const json_t *list, size_t n_prompt)
{
    size_t n = json_array_size(list);
    float *out = lmf_arena_array(a, n_prompt + n, sizeof *out);
    for (size_t i = 0; out && i < n; i++)
        out[n_prompt + i] = (float)json_number_value(json_array_get(list, i));
    return out;
}

/* False: no memory. */
static inline bool lmf_policy_sample(lmf_arena *a, const json_t *given, double batch_share, lmf_sample *out)
{
    const json_t *prompt = json_object_get(given, "prompt"), *answer = json_object_get(given, "answer");
    size_t n_prompt = json_array_size(prompt), n = n_prompt + json_array_size(answer);
    int32_t *id = lmf_arena_array(a, n, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(a, n);
    lmf_sampled *s = lmf_arena_alloc(a, sizeof *s);
    if (!id || !learn || !s)
        return false;
    for (size_t i = 0; i < n; i++)
        id[i] = (int32_t)json_integer_value(i < n_prompt ? json_array_get(prompt, i) : json_array_get(answer, i - n_prompt));
    memset(learn + n_prompt, 1, n - n_prompt);
    *s = (lmf_sampled){ .logp = lmf_policy_floats(a, json_object_get(given, "logp"), n_prompt),
        .old = lmf_policy_floats(a, json_object_get(given, "old"), n_prompt),
        .base = lmf_policy_floats(a, json_object_get(given, "base"), n_prompt),
        .advantage = (float)lmf_policy_number(given, "advantage"), .batch_share = (float)batch_share };
    *out = (lmf_sample){ .id = id, .learn = learn, .n = (int32_t)n, .n_learn = (int32_t)(n - n_prompt), .sampled = s };
    return s->logp && s->old && s->base;
}

/* Masked answers are counted and not computed, as a rollout does. False: no memory. */
static inline bool lmf_policy_samples(lmf_arena *a, const json_t *answers, int batch, lmf_samples *out, lmf_totals *totals)
{
    size_t n = json_array_size(answers);
    out->items = lmf_arena_array(a, n, sizeof *out->items);
    *totals = (lmf_totals){ .n_groups = (int64_t)n };
    for (size_t i = 0; out->items && i < n; i++) {
        int64_t batch_tok = 0;
        for (size_t k = i / (size_t)batch * (size_t)batch; k < (i / (size_t)batch + 1) * (size_t)batch; k++) {
            const json_t *g = json_array_get(answers, k);
            batch_tok += json_is_true(json_object_get(g, "masked")) ? 0 : (int64_t)json_array_size(json_object_get(g, "answer"));
        }
        lmf_sample *s = &out->items[out->n];
        if (json_is_true(json_object_get(json_array_get(answers, i), "masked")))
            continue;
        if (!lmf_policy_sample(a, json_array_get(answers, i), (double)batch / ((double)n * (double)batch_tok), s))
            return false;
        out->n++;
        out->n_tok += s->n, out->n_learn += s->n_learn;
        out->longest = s->n > out->longest ? s->n : out->longest;
        totals->n_learn[0] += s->n_learn;
    }
    return out->items != NULL;
}

#endif
