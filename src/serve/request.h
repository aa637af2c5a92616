/* SPDX-License-Identifier: Apache-2.0 */
/* request: what every endpoint that writes text asks for, in one form, whatever it was spelled in. What would change an answer and is not
 * followed here is refused by name; what is unknown is ignored.
 * Owner: the caller's storage, init/clear; stop texts are the body's. Threads: the loop's. */
#ifndef LMF_SERVE_REQUEST_H
#define LMF_SERVE_REQUEST_H
#include "calls/constraint.h"
#include "serve/params.h"
#include "serve/server.h"

enum { LMF_REQUEST_MAX_STOPS = 16, LMF_REQUEST_STOP_BYTES = 256, LMF_REQUEST_MAX_N = 8,
       LMF_REQUEST_MAX_BIAS = 1024 };

/* Which tokens one sequence may write, beside what the model would. The engine's mask function (lmf__rule_mask) asks `mask` first, if there
 * is one, and then takes away what is banned. One a sequence; it outlives the sequence. */
typedef struct lmf_rule {
    lmf_status   (*mask)(void *state, const int32_t *tok, int n_tok, uint32_t *bits); /* as lmf_mask_fn, which see; NULL: all are allowed */
    int32_t      (*force)(void *state, const int32_t *tok, int n_tok, int32_t *out, int cap); /* as lmf_force_fn; NULL: nothing is forced */
    void          *state;
    const lmf_ids *only, *banned;   /* only: empty means all */
    int32_t        vocab;
} lmf_rule;
lmf_status lmf__rule_mask(void *user, void *rule, const int32_t *tok, int n_tok, uint32_t *bits);
int32_t    lmf__rule_force(void *user, void *rule, const int32_t *tok, int n_tok, int32_t *out, int cap);

typedef struct lmf_request {
    const char *model;              /* the name that was asked for, or the base's */
    int32_t     adapter;            /* slot; -1: the base. Who keeps it beyond the call counts it (lmf__served_begin) */
    double      temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    int64_t     top_k, n, best_of, seed, max_tok, n_top; /* max_tok -1: as many as fit. n_top: likeliest tokens that are told */
    bool        echo;               /* the prompt is part of the answer's text */
    bool        stream, include_usage, ignore_eos, logprobs, has_seed;
    const char *stop[LMF_REQUEST_MAX_STOPS];
    int         n_stops;
    int32_t     bias_token[LMF_REQUEST_MAX_BIAS]; /* logit_bias; after lmf__request_finish without those in only and banned */
    float       bias[LMF_REQUEST_MAX_BIAS];
    int32_t     n_bias;
    lmf_ids     only, banned;       /* those of 100 and -100, where nothing else says which tokens may come */
    json_t     *any_object;         /* the schema of json_object */
    lmf_wish    wish;               /* what the answer must look like; the endpoint adds tools */
} lmf_request;

extern const lmf_param lmf__request_params[]; /* numbers and flags that all endpoints share */
#define LMF_REQUEST_MEMBERS \
    "\"model\":{\"type\":[\"string\",\"null\"]},\"stop\":{\"type\":[\"string\",\"array\",\"null\"],\"maxItems\":16," \
    "\"minLength\":1,\"maxLength\":256,\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":256}}," \
    "\"stream_options\":{\"type\":[\"object\",\"null\"],\"properties\":{\"include_usage\":{\"type\":\"boolean\"}}}," \
    "\"logit_bias\":{\"type\":[\"object\",\"null\"],\"additionalProperties\":{\"type\":\"number\",\"minimum\":-100," \
    "\"maximum\":100}},\"response_format\":{\"type\":[\"object\",\"null\"],\"required\":[\"type\"],\"properties\":{" \
    "\"type\":{\"enum\":[\"text\",\"json_object\",\"json_schema\"]},\"json_schema\":{\"type\":\"object\",\"required\":[" \
    "\"schema\"],\"properties\":{\"schema\":{\"type\":\"object\"}}}}},\"guided_json\":{\"type\":[\"object\",\"boolean\"," \
    "\"null\"]},\"guided_regex\":{\"type\":[\"string\",\"null\"]},\"guided_grammar\":{\"type\":[\"string\",\"null\"]}," \
    "\"guided_choice\":{\"type\":[\"array\",\"null\"],\"minItems\":1,\"maxItems\":1000,\"items\":{\"type\":\"string\"}}"
/* Above: the others, for /openapi.json. */
void lmf__request_init(lmf_request *r, lmf_ctx *ctx);
void lmf__request_clear(lmf_request *r);
/* The members that all endpoints share; the endpoint reads its own beside them. */
bool lmf__request_read(lmf_request *r, const lmf_server *s, const json_t *body, lmf_fault *f);
/* After the endpoint has read its members. */
bool lmf__request_finish(lmf_request *r, lmf_fault *f);
/* Members that would change the answer and are not followed; NULL-ended. Those that ask for nothing pass. */
bool lmf__request_refuse(const json_t *body, const char *const *names, lmf_fault *f);
lmf_gen_opts lmf__request_gen(const lmf_request *r, lmf_server *s);

#endif
