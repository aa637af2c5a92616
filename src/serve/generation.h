/* SPDX-License-Identifier: Apache-2.0 */
/* generation: one request's answers while they are written, and the reply that they become: one JSON object, or a stream of them. An
 * endpoint gives the shape, the prompts, and its body in the form of serve/request.h.
 *
 *     lmf_generation *g = lmf__generation_create(x, &shape, body, &fault);       // reads the shared members of the body
 *     bool good = g && lmf__generation_add_prompt(g, ids, n, &fault) && lmf__generation_start(g, &fault);
 *     if (!good) lmf__generation_refuse(x, g, &fault);
 *
 * Owner: after start it destroys itself when the last event of its jobs has come. Threads: the loop's. */
#ifndef LMF_SERVE_GENERATION_H
#define LMF_SERVE_GENERATION_H
#include "calls/tool_scan.h"
#include "serve/request.h"
#include "serve/screen.h"
#include "text/stream/stream.h"

typedef struct lmf_generation lmf_generation;

enum { LMF_MAX_PROMPTS = 64, LMF_MAX_EMBEDDINGS = 2048 };

typedef struct lmf_candidate {
    lmf_generation *g;
    int32_t         index;
    lmf_rule        rule;
    lmf_constrained form;            /* where a form is asked for */
    lmf_tool_scan   scan;            /* of a stream's calls */
    lmf_text_stream stream;
    lmf_buf         text;            /* the answer; its first stream.n_out bytes are for certain */
    size_t          n_shown;         /* bytes that were sent, or given to the guard */
    lmf_buf         thought;         /* what came between <think> and </think>, in a conversation */
    lmf_text_stream thoughts;
    size_t          n_thought;       /* bytes of it that were sent */
    int32_t         n_thought_tok;
    bool            thinks, thought_once; /* it does now; white space that the answer begins with is left out then */
    int32_t         n_tok;           /* written, the ending one included */
    int64_t         n_told;          /* characters of tokens whose logprobs were told */
    int64_t         started_us;      /* when it left the queue; 0: it waits */
    int64_t         first_us, last_us; /* when its first token came, and its last; 0: none has */
    bool            greeted;
    const char     *finish;          /* NULL: it goes on */
    json_t         *pending, *tokens; /* logprobs not sent yet; all, without a stream. NULL: none are wanted */
    json_t         *calls;           /* [{"name", "arguments" as text}], empty where they were streamed; NULL: none */
    size_t          call_begin;      /* of the text that became calls */
    lmf_guard_stream guard, thought_guard; /* where a policy is followed: what of text and thought may go out */
    lmf_buf         clean, clean_thought; /* what did; text and thought as they were written are told to nobody then */
    bool            guard_over, thought_over, guard_failed; /* all of it was pushed; a check failed, nothing more goes out */
    int32_t         n_blocks, block; /* where an answer is made of blocks: those that were begun, what kind the open one is */
} lmf_candidate;

typedef struct lmf_shape {           /* how an endpoint spells its answers; without a stream only reply is called */
    const char *id_prefix;
    bool     lines;                  /* a stream is lines of JSON, not events */
    json_t *(*reply)(lmf_generation *g); /* all of it */
    void    (*greeting)(lmf_candidate *c); /* before the first piece of a choice; NULL: nothing */
    void    (*piece)(lmf_candidate *c, const char *text, size_t n, json_t *logprobs); /* takes logprobs, which may be NULL */
    void    (*thought)(lmf_candidate *c, const char *text, size_t n); /* what is thought; NULL: it is text like other */
    void    (*call)(lmf_candidate *c, lmf_tool_piece *p); /* takes p->name. NULL: calls come whole, with the finish */
    void    (*finish)(lmf_candidate *c, json_t *logprobs); /* takes logprobs: of what has no text of its own; or NULL */
    void    (*end)(lmf_generation *g); /* behind the last choice's finish; NULL: nothing */
    bool     embeds;                 /* prompts become vectors, no text is written; a prompt's waits for room among those before it */
    bool     done_mark;              /* [DONE] ends the stream */
    void    (*broken)(lmf_generation *g, const lmf_fault *f); /* in a stream; NULL: the fault as an event */
    void    (*clear)(lmf_generation *g); /* g->own; may be NULL */
} lmf_shape;

typedef struct lmf_part {
    lmf_generation *g;
    lmf_job *job;
    int32_t *prompt, n_prompt, n_cached; /* n_cached: of the prompt's tokens those that were known, for the first answer */
    int64_t  submitted_us;           /* 0: its turn has not come */
    bool     bos_added;              /* the first token is of no text */
    float   *vector;                 /* [width], where the shape embeds; NULL before its turn */
} lmf_part;

struct lmf_generation {
    lmf_server      *server;
    lmf_generation  *prev, *next;
    lmf_tenant      *tenant;
    bool             counted;        /* among the tenant's requests that run */
    int32_t          adapter;        /* in whose slot it is counted; -1: in none */
    lmf_exchange    *x;              /* NULL: the reply is complete, or nobody waits for it */
    const lmf_shape *shape;
    json_t          *body;
    lmf_request      r;
    bool             with_tools;     /* calls are looked for in the answers */
    lmf_screen      *screen;         /* the tenant's policy, or NULL */
    int64_t          guard_begin_us, guard_us; /* of its answers: since when, and how long all in all */
    lmf_trace_id     trace, tool_trace; /* its span; that of the tool that it is */
    uint8_t          trace_parent[8];
    char             trace_tool[64]; /* "": it is none of MCP's */
    bool             traced;         /* its end is still to be told */
    lmf_compiled    *compiled;       /* what the answers follow, or NULL */
    char             id[64];
    int64_t          created, begun_us;
    void            *own;            /* the endpoint's */
    lmf_part        *part;           /* [cap_parts]; it stays where it is from start on */
    int32_t          n_parts, cap_parts, n_begun, n_jobs; /* n_begun: that were submitted; n_jobs: whose last event has not come */
    lmf_candidate   *choice;        /* [n_choices] */
    int32_t          n_choices, n_open;
};

/* Takes body, also where it fails. */
lmf_generation *lmf__generation_create(lmf_exchange *x, const lmf_shape *shape, json_t *body, lmf_fault *f);
bool lmf__generation_add_prompt(lmf_generation *g, const int32_t *tok, size_t n, lmf_fault *f);
bool lmf__generation_start(lmf_generation *g, lmf_fault *f);
void lmf__generation_refuse(lmf_exchange *x, lmf_generation *g, const lmf_fault *f); /* g may be NULL */
void lmf__generation_take(lmf_part *part, const lmf_job_event *ev);
void lmf__generation_destroy(lmf_generation *g);
typedef struct lmf_usage { int64_t prompt, cached, answer, thought; } lmf_usage; /* tokens */
lmf_usage lmf__generation_usage(const lmf_generation *g);
/* The text of an answer before its calls, without white space that only parted it from them or from what was thought. */
const char *lmf__candidate_text(const lmf_candidate *c, size_t *n);
const char *lmf__candidate_thought(const lmf_candidate *c, size_t *n);
/* The body as an object; NULL and a 400. The caller's reference. */
json_t *lmf__body_parse(lmf_exchange *x, lmf_fault *f);

#endif
