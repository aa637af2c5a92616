/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/choices.h"

static json_t *usage(const lmf_generation *g)
{
    lmf_usage u = lmf__generation_usage(g);
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)u.prompt, "completion_tokens",
                     (json_int_t)u.answer, "total_tokens", (json_int_t)(u.prompt + u.answer), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)u.cached, "completion_tokens_details", "reasoning_tokens", (json_int_t)u.thought);
}

/* Takes choices. */
static json_t *envelope(const lmf_generation *g, const char *object, json_t *choices)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:o}", "id", g->id, "object", object, "created", (json_int_t)g->created, "model",
                     g->r.model, "system_fingerprint", "lmfast-" LMF_VERSION, "choices", choices);
}

void lmf__choices_send(lmf_generation *g, const char *object, json_t *choice)
{
    json_t *j = envelope(g, object, json_pack("[o]", choice));
    if (g->r.include_usage && j)
        json_object_set_new(j, "usage", json_null());
    lmf__stream_event(g->x, NULL, j);
}

void lmf__choices_send_usage(lmf_generation *g, const char *object)
{
    json_t *j = g->r.include_usage ? envelope(g, object, json_array()) : NULL;
    if (!g->r.include_usage)
        return;
    if (j)
        json_object_set_new(j, "usage", usage(g));
    lmf__stream_event(g->x, NULL, j);
}

json_t *lmf__choices_reply(lmf_generation *g, const char *object, json_t *(*whole)(lmf_candidate *c))
{
    json_t *choices = json_array();
    for (int32_t i = 0; i < g->n_choices; i++)
        if (json_array_append_new(choices, whole(&g->choice[i]))) {
            json_decref(choices);
            return NULL;
        }
    json_t *j = envelope(g, object, choices);
    if (j && json_object_set_new(j, "usage", usage(g))) {
        json_decref(j);
        return NULL;
    }
    return j;
}
