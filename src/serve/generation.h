/* SPDX-License-Identifier: Apache-2.0 */
/* generation: one request's answers while they are written, and the reply that they become: one JSON object, or a stream of them. An
 * endpoint gives the shape and the prompts.
 *
 *     lmf_generation *g = lmf__generation_create(x, &shape, body, &fault);       // reads the shared members of the body
 *     bool good = g && lmf__generation_add_prompt(g, ids, n, &fault) && lmf__generation_start(g, &fault);
 *     if (!good) lmf__generation_refuse(x, g, &fault);
 *
 * Owner: after start it destroys itself when the last event of its jobs has come. Threads: the loop's. */
#ifndef LMF_SERVE_GENERATION_H
#define LMF_SERVE_GENERATION_H
#include "serve/request.h"
#include "serve/tool_scan.h"
#include "text/stream/stream.h"

typedef struct lmf_generation lmf_generation;

enum { LMF_MAX_PROMPTS = 64 };

typedef struct lmf_candidate {
    lmf_generation *g;
    int32_t         index;
    lmf_rule        rule;
    lmf_constrained form;            /* where a form is asked for */
    lmf_tool_scan   scan;            /* of a stream's calls */
    lmf_text_stream stream;
    lmf_buf         text;            /* the answer; its first stream.n_out bytes are for certain */
    size_t          n_shown;         /* bytes that were sent */
    lmf_buf         thought;         /* what came between <think> and </think>, in a conversation */
    lmf_text_stream thoughts;
    size_t          n_thought;       /* bytes of it that were sent */
    int32_t         n_thought_tok;
    bool            thinks, thought_once; /* it does now; white space that the answer begins with is left out then */
    int32_t         n_tok;           /* written, the ending one included */
    int64_t         n_told;          /* characters of tokens whose logprobs were told */
    int64_t         last_us;         /* when its last token came; 0: none has */
    bool            greeted;
    const char     *finish;          /* NULL: it goes on */
    json_t         *pending, *tokens; /* logprobs not sent yet; all, without a stream. NULL: none are wanted */
    json_t         *calls;           /* [{"name", "arguments" as text}], empty where they were streamed; NULL: none */
    size_t          call_begin;      /* of the text that became calls */
} lmf_candidate;

typedef struct lmf_shape {           /* how an endpoint spells its answers */
    const char *id_prefix, *object, *chunk_object;
    /* A choice in a stream: text and logprobs (taken, may be NULL), or the finish with none of both. */
    json_t   *(*piece)(lmf_candidate *c, const char *text, size_t n, json_t *logprobs, const char *finish);
    json_t   *(*thought)(lmf_candidate *c, const char *text, size_t n); /* a piece of what is thought; NULL: it is text like other */
    json_t   *(*greeting)(lmf_candidate *c); /* the first piece of a choice; NULL: none */
    json_t   *(*call)(lmf_candidate *c, lmf_tool_piece *p); /* a piece of a call in a stream; takes p->name. NULL: there are no tools */
    json_t   *(*whole)(lmf_candidate *c);
} lmf_shape;

typedef struct lmf_part {
    lmf_generation *g;
    lmf_job *job;
    int32_t *prompt, n_prompt, n_cached; /* n_cached: of the prompt's tokens those that were known, for the first answer */
    bool     bos_added;              /* the first token is of no text */
} lmf_part;

struct lmf_generation {
    lmf_server      *server;
    lmf_generation  *prev, *next;
    lmf_tenant      *tenant;
    bool             counted;        /* among the tenant's requests that run */
    lmf_exchange    *x;              /* NULL: the reply is complete, or nobody waits for it */
    const lmf_shape *shape;
    json_t          *body;
    lmf_request      r;
    bool             with_tools;     /* calls are looked for in the answers */
    lmf_compiled    *compiled;       /* what the answers follow, or NULL */
    char             id[64];
    int64_t          created, begun_us;
    lmf_part         part[LMF_MAX_PROMPTS];
    int32_t          n_parts, n_jobs; /* n_jobs: whose last event has not come */
    lmf_candidate      *choice;         /* [n_choices] */
    int32_t          n_choices, n_open;
};

/* Takes body, also where it fails. */
lmf_generation *lmf__generation_create(lmf_exchange *x, const lmf_shape *shape, json_t *body, lmf_fault *f);
bool lmf__generation_add_prompt(lmf_generation *g, const int32_t *tok, size_t n, lmf_fault *f);
bool lmf__generation_start(lmf_generation *g, lmf_fault *f);
void lmf__generation_refuse(lmf_exchange *x, lmf_generation *g, const lmf_fault *f); /* g may be NULL */
void lmf__generation_take(lmf_part *part, const lmf_job_event *ev);
void lmf__generation_destroy(lmf_generation *g);
/* The body as an object; NULL and a 400. The caller's reference. */
json_t *lmf__body_parse(lmf_exchange *x, lmf_fault *f);

#endif
