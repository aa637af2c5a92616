/* SPDX-License-Identifier: Apache-2.0 */
/* serve: an engine behind HTTP, in the form that OpenAI's clients speak. Two threads: the caller's runs connections and texts
 * (libevent), the
 * scheduler's steps the engine.
 *
 *     lmf_serve_opts o = lmf_serve_opts_default();
 *     o.model_name = "SmolLM2", o.should_stop = stop;
 *     LMF_TRY(lmf_serve(model, engine, &o));               // until should_stop; then what was begun is finished
 *
 * The engine must have been created with lmf__rule_mask as its mask (lmf_serve_engine_opts sets it). Owner: borrows model, engine and all
 * texts. Threads: one lmf_serve an engine. */
#ifndef LMF_SERVE_SERVE_H
#define LMF_SERVE_SERVE_H
#include "infer/scheduler.h"

typedef struct lmf_serve_opts {
    size_t      struct_bytes;      /* sizeof(lmf_serve_opts) */
    const char *host;              /* address to bind, default "127.0.0.1"; one that is not the machine's own needs a key */
    int32_t     port;              /* 0: any free one; default 8000 */
    const char *api_key;           /* NULL: none is asked for */
    const char *api_keys;          /* file of keys with what each may (serve/tenant.h), instead of api_key; or NULL */
    const char *model_name;        /* what clients call the model */
    const char *const *adapter_names; int32_t n_adapters; /* of the engine's slots 0, 1, ... */
    const char *guard;             /* policy that prompts and answers pass (config/guard_policy.h), of keys that name none; or NULL */
    const char *adapter_folder;    /* clients may load adapters in it, into the engine's free slots; NULL: not */
    const struct lmf_trace_opts *trace; /* where spans go (observe/trace.h); NULL, or without a url: nowhere */
    const char *responses;         /* SQLite file in which answers of /v1/responses are kept; NULL: in memory */
    bool        mcp;               /* POST /mcp is answered */
    bool        stdio;             /* no address is bound: one client of MCP on standard input and output, until it closes its end */
    int32_t     max_connections;   /* default 1024 */
    int32_t     max_per_peer;      /* of one address, but 127.0.0.1 and ::1, behind which proxies stand; default 64 */
    int32_t     max_queue;         /* answers that wait; 0: 4 times those at once */
    int32_t     drain_seconds;     /* how long begun answers are waited for; default 30 */
    int32_t     head_seconds, body_seconds, idle_seconds, write_seconds; /* deadlines: 10, 30, 60, 30 */
    bool      (*should_stop)(void *user);                     /* asked ten times a second; NULL: never */
    void      (*ready)(void *user, const char *url);          /* bound, and answering from now on; may be NULL */
    void       *user;
} lmf_serve_opts;
lmf_serve_opts lmf_serve_opts_default(void);

void       lmf_serve_engine_opts(lmf_engine_opts *o); /* what serving needs of an engine */
/* What lmf_serve refuses of its options, LMF_E_ARG: an address that others reach, without a key. */
lmf_status lmf_serve_check(lmf_ctx *ctx, const lmf_serve_opts *opts);
/* Also LMF_E_IO: the address can't be bound. */
lmf_status lmf_serve(const lmf_model *model, lmf_engine *engine, const lmf_serve_opts *opts);

#endif
