/* SPDX-License-Identifier: Apache-2.0 */
/* request: what every endpoint that writes text asks for, in one form, whatever it was spelled in. What would change an answer and is not
 * followed here is refused by name; what is unknown is ignored.
 * Owner: the caller's storage, init/clear; stop texts are the body's. Threads: the loop's. */
#ifndef LMF_SERVE_REQUEST_H
#define LMF_SERVE_REQUEST_H
#include "serve/constraint.h"
#include "serve/server.h"

enum { LMF_REQUEST_MAX_STOPS = 4, LMF_REQUEST_STOP_BYTES = 256, LMF_REQUEST_MAX_N = 8, LMF_REQUEST_MAX_BIAS = 1024 };

/* Which tokens one sequence may write, beside what the model would. The engine's mask function (lmf__rule_mask) asks `mask` first, if there
 * is one, and then takes away what is banned. One a sequence; it outlives the sequence. */
typedef struct lmf_rule {
    lmf_status   (*mask)(void *state, const int32_t *tok, int n_tok, uint32_t *bits); /* as lmf_mask_fn, which see; NULL: all are allowed */
    void          *state;
    const lmf_ids *only, *banned;   /* only: empty means all */
    int32_t        vocab;
} lmf_rule;
lmf_status lmf__rule_mask(void *user, void *rule, const int32_t *tok, int n_tok, uint32_t *bits);

typedef struct lmf_request {
    const char *model;              /* the name that was asked for, or the base's */
    int32_t     adapter;            /* slot; -1: the base */
    double      temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    int64_t     top_k, n, best_of, seed, max_tok, n_top; /* max_tok -1: as many as fit. n_top: likeliest tokens that are told */
    bool        stream, include_usage, ignore_eos, logprobs, has_seed;
    const char *stop[LMF_REQUEST_MAX_STOPS];
    int         n_stops;
    lmf_ids     only, banned;       /* logit_bias of 100 and -100 */
    json_t     *any_object;         /* the schema of json_object */
    lmf_wish    wish;               /* what the answer must look like; the endpoint adds tools */
} lmf_request;

void lmf__request_init(lmf_request *r, lmf_ctx *ctx);
void lmf__request_clear(lmf_request *r);
/* The members that all endpoints share; the endpoint reads its own beside them. */
bool lmf__request_read(lmf_request *r, const lmf_server *s, const json_t *body, lmf_fault *f);
lmf_gen_opts lmf__request_gen(const lmf_request *r, lmf_server *s);

#endif
