/* SPDX-License-Identifier: Apache-2.0 */
/* server: what lives as long as lmf_serve runs. Rule: all but the outbox is the loop thread's; the outbox is how the stepping thread
 * reaches it. */
#ifndef LMF_SERVE_SERVER_H
#define LMF_SERVE_SERVER_H
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include "observe/trace.h"
#include "calls/constraint.h"
#include "calls/tool_form.h"
#include "serve/adapters.h"
#include "serve/exchange.h"
#include "serve/guard.h"
#include "serve/histogram.h"
#include "serve/screen.h"
#include "serve/serve.h"
#include "serve/store.h"
#include "serve/tenant.h"

enum { LMF_OUTBOX_EVENTS = 1024, LMF_MAX_STATUS = 600 };

typedef struct lmf_outbox {          /* a ring; full: the stepping thread waits */
    pthread_mutex_t lock;
    pthread_cond_t  room;
    lmf_job_event  *event;           /* [LMF_OUTBOX_EVENTS] */
    int32_t         begin, n;
    lmf_adapter_load *loaded;        /* those that the stepping thread is done with */
    bool            closed;          /* what still comes is dropped */
    int             fd;              /* an eventfd that the loop sleeps on */
} lmf_outbox;

typedef enum lmf_phase { LMF_PHASE_IDLE, LMF_PHASE_HEAD, LMF_PHASE_BODY, LMF_PHASE_ANSWER, LMF_PHASE_FLUSH, LMF_PHASE_LINGER } lmf_phase;

struct lmf_connection {
    lmf_server         *server;
    lmf_connection     *prev, *next;
    struct bufferevent *bev;
    struct event       *deadline;
    lmf_http            http;
    lmf_exchange        exchange;
    lmf_phase           phase;
    unsigned char       peer[16];    /* its address, as of IPv6 */
    bool                closes;      /* after this answer */
};

struct lmf_generation;
struct lmf_mcp_stdio;

struct lmf_server {
    lmf_ctx          *ctx;
    const lmf_model  *model;
    lmf_engine       *engine;
    lmf_engine_info   engine_info;   /* sizes */
    lmf_scheduler    *scheduler;
    lmf_serve_opts    o;
    lmf_chat          chat;          /* the model's, with a clock of its own */
    lmf_chat_forms    forms;
    lmf_tool_form     tool_form;
    bool              own_tools;     /* the template knows no tools: they are described in the system message */
    lmf_constraints   constraints;
    lmf_guard         guard;
    lmf_tenants       tenants;
    lmf_screen       *screens;       /* policies that tenants are held to */
    lmf_served        adapters;
    lmf_store        *store;         /* answers that a request may go on from */
    struct event_base *base;
    struct evconnlistener *listener;
    struct event     *tick, *news;
    lmf_outbox        outbox;
    lmf_tracer       *tracer;        /* NULL: nothing is traced */
    int64_t           unix_ns;       /* what the clock of lmf__now_us lacks of the time since 1970 */
    struct lmf_mcp_stdio *stdio;     /* NULL: connections come instead */
    lmf_connection   *connections;
    int32_t           n_connections;
    struct lmf_generation *generations;
    int32_t           n_generations;
    bool              draining;
    int64_t           drain_until_ms, started_unix;
    uint64_t          salt, n_ids;   /* of answers' names and seeds */
    int64_t           n_responses[LMF_MAX_STATUS];
    int64_t           n_prompt_tok, n_answer_tok, n_gone, n_shed;
    lmf_histogram     first_token, next_token, whole; /* from the request to its first token; between tokens; to the reply's end */
};

/* connection.c */
void lmf__connection_open(lmf_server *s, evutil_socket_t fd, const struct sockaddr *from);
void lmf__connection_close(lmf_connection *c);
/* server.c */
void lmf__dispatch(lmf_exchange *x);
void lmf__server_id(lmf_server *s, const char *prefix, char *text, size_t n); /* "chatcmpl-" and 24 hexadecimal digits */
uint64_t lmf__server_random(lmf_server *s);
int64_t lmf__now_us(void);
int64_t lmf__now_ms(void);
int64_t lmf__now_unix(void);                                                 /* seconds since 1970 */
int64_t lmf__local_seconds(void);                                            /* since 1970, as chat templates show it */

#endif
