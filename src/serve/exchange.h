/* SPDX-License-Identifier: Apache-2.0 */
/* exchange: one request and the answer to it, as an endpoint sees them. An endpoint is one file in endpoints/ with one descriptor; the
 * build finds it.
 *
 *     static void run(lmf_exchange *x) { lmf__reply_json(x, 200, json_pack("{s:s}", "status", "ok")); }
 *     const lmf_endpoint lmf_endpoint_health = { "GET", "/health", run, "Whether it answers", .open = true };
 *
 * Either one reply, or stream_begin, events, stream_end; at once or later. Until then x lives; on_gone says that it does no longer.
 * Threads: the loop's. */
#ifndef LMF_SERVE_EXCHANGE_H
#define LMF_SERVE_EXCHANGE_H
#include <jansson.h>
#include "serve/http.h"

typedef struct lmf_server lmf_server;
typedef struct lmf_connection lmf_connection;

typedef struct lmf_exchange {
    lmf_server     *server;
    lmf_connection *connection;
    const lmf_http *http;
    const struct lmf_endpoint *endpoint; /* NULL: there is nothing at the path */
    struct lmf_tenant *tenant;        /* whose key came; never NULL in an endpoint that is not open */
    const char     *path_rest;        /* what follows path where the endpoint takes_rest */
    bool            streams, lines;   /* lines: of JSON, instead of events */
    const char     *policy;           /* Content-Security-Policy of this reply, or NULL */
    int             retry_s;          /* of a fault that is being replied */
    const char     *tool;             /* of MCP, whose call this is, until run returns; or NULL */
    char            traceparent[56];  /* of the request's span; "": it is not traced */
    int64_t         guard_begin_us, guard_end_us; /* when its prompts were held to a policy; 0: they were not */
    bool            of_messages;      /* the prompt is that of the body's messages */
    void          (*on_gone)(void *user); /* the client went away before the answer's end; x is not to be used any more */
    void           *user;
    void          (*on_reply)(struct lmf_exchange *x, int status, json_t *body); /* takes what would be replied, or the end of a stream:
                                         body NULL; then there is no connection */
} lmf_exchange;

/* What is wrong with a request, before it is told. */
typedef struct lmf_fault {
    int         status;
    int         retry_s;              /* 429 and 503: when to come again; 0: 1 */
    char        param[64];            /* "": none */
    const char *code;                 /* "model_not_found"; NULL: none */
    char        message[768];
} lmf_fault;

struct lmf_param;
typedef struct lmf_endpoint {
    const char *method, *path;
    void      (*run)(lmf_exchange *x);
    const char *about;                /* a line of /openapi.json */
    bool        open;                 /* needs no key */
    bool        takes_rest;           /* path is a beginning that ends in '/' */
    const char *rest;                 /* what the rest is called */
    const char *type;                 /* of the answer; NULL: application/json */
    const struct lmf_param *const *params; /* tables of its body's members, NULL-ended; NULL: none */
    const char *members, *required;   /* further members, as the inside of a JSON schema's "properties"; names parted by blanks */
    json_t   *(*fault)(const lmf_fault *f); /* how what is wrong is spelled; NULL: as OpenAI does */
} lmf_endpoint;
const lmf_endpoint *const *lmf__endpoints(void); /* generated, NULL-ended */

/* Always false. */
bool lmf__refuse(lmf_fault *f, int status, const char *param, const char *code, const char *fmt, ...) LMF_PRINTF(5, 6);
/* The same, with the sentence that ctx recorded last. */
bool lmf__refuse_status(lmf_fault *f, lmf_ctx *ctx, lmf_status s, const char *param);

void lmf__reply_bytes(lmf_exchange *x, int status, const char *type, const char *text, size_t n);
void lmf__reply_json(lmf_exchange *x, int status, json_t *body);  /* takes body; NULL: 500 */
void lmf__reply_fault(lmf_exchange *x, const lmf_fault *f);
void lmf__stream_begin(lmf_exchange *x, bool lines);              /* of server-sent events, or of JSON lines */
void lmf__stream_event(lmf_exchange *x, const char *name, json_t *body); /* takes body; name: of the event, or NULL */
void lmf__stream_end(lmf_exchange *x, bool done);                 /* done: with [DONE] */
json_t *lmf__fault_json(const lmf_exchange *x, const lmf_fault *f); /* as the exchange's endpoint spells it */

#endif
