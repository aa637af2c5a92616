/* SPDX-License-Identifier: Apache-2.0 */
/* screen: a policy (config/guard_policy.h) on the way of requests to the model and of answers back. Prompts pass in serve/prompt.c, before
 * they are tokens; answers in serve/generation.c, before an endpoint spells them. What can't be checked does not pass.
 *
 *     if (screen && !lmf__screen_request(screen, vars, &fault))      // texts of messages and tools, as the policy wants them; or a 400
 *
 * Text is treated as it stands; JSON, where it is known to be some (calls' arguments, answers that are held to a schema), by its values, so
 * that an escape hides nothing and what comes out is JSON again.
 * Owner: the server; kept until it ends. Threads: the loop's. */
#ifndef LMF_SERVE_SCREEN_H
#define LMF_SERVE_SCREEN_H
#include "guard/guard.h"
#include "serve/exchange.h"

typedef enum lmf_way { LMF_WAY_IN, LMF_WAY_OUT, LMF_N_WAYS } lmf_way;

typedef struct lmf_screen {
    struct lmf_screen *next;
    lmf_ctx         *ctx;
    lmf_guard_policy policy;
    char             path[1024];
    char             told[96];       /* in the header X-LMFast-Guard: "personal-data sha256:1a2b3c4d5e6f7081" */
    int64_t          n_texts[LMF_N_WAYS], n_blocked[LMF_N_WAYS], n_failed[LMF_N_WAYS];
    int64_t          n_found[LMF_N_WAYS][LMF_GUARD_MAX_ENTITIES];
} lmf_screen;

typedef enum lmf_verdict { LMF_PASSED, LMF_CHANGED, LMF_BLOCKED, LMF_BROKEN } lmf_verdict; /* BROKEN: ctx says why; nothing passes */

/* The policy of a file; one that is open already is taken again. LMF_E_ARG, LMF_E_FORMAT with file and line. */
lmf_status  lmf__screen_open(lmf_screen **all, lmf_ctx *ctx, const char *path, lmf_screen **out);
void        lmf__screens_close(lmf_screen **all);

/* A whole text; *by: the entity that blocks or changes it. */
lmf_verdict lmf__screen_text(lmf_screen *c, lmf_way way, const char *text, size_t n, lmf_buf *out, int *by);
/* Strings and numbers anywhere in *v, in place: a number that is something is its text then. A name in an object that would have to be
 * changed blocks. Takes *v's reference and gives one. */
lmf_verdict lmf__screen_value(lmf_screen *c, lmf_way way, json_t **v, int *by);
/* The text of some JSON, an answer's; one that is cut off passes where nothing is found in it with its escapes undone, else it blocks. */
lmf_verdict lmf__screen_json(lmf_screen *c, lmf_way way, const char *text, size_t n, lmf_buf *out, int *by);
/* What a conversation {"messages", "tools", ...} tells the model. 400 content_filter: the policy blocks it; 500: the check failed. */
bool        lmf__screen_request(lmf_screen *c, json_t *vars, lmf_fault *f);
/* A prompt's text; *out: the caller's reference. */
bool        lmf__screen_prompt(lmf_screen *c, const char *param, const json_t *text, json_t **out, lmf_fault *f);
/* A prompt that came as token ids and was decoded: only what needs no change passes. */
bool        lmf__screen_decoded(lmf_screen *c, const char *param, const char *text, size_t n, lmf_fault *f);
/* Counts what a stream of an answer has found. */
void        lmf__screen_count(lmf_screen *c, lmf_way way, const lmf_guard_stream *s);

#endif
