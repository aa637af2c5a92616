/* SPDX-License-Identifier: Apache-2.0 */
/* mcp: the Model Context Protocol over a server's engine: JSON-RPC messages of one client in, replies and progress out, whatever carries
 * them. Both eras at once: a request with a version in its _meta is of 2026-07-28, which has no handshake; others are of the older
 * revisions, which begin with initialize. Facts: modelcontextprotocol.io's specification, and the types of its Python client.
 *
 *     lmf_mcp_peer p = { .server = s, .tenant = tenant, .send = send };
 *     lmf__mcp_take(&p, message);                 // for a request send is called with last set, once, now or later
 *     lmf__mcp_leave(&p);                         // the client has gone: what it asked for ends before the next step
 *
 * Owner: the caller's storage. Threads: the loop's. */
#ifndef LMF_SERVE_MCP_H
#define LMF_SERVE_MCP_H
#include "serve/generation.h"

enum { LMF_MCP_PARSE = -32700, LMF_MCP_REQUEST = -32600, LMF_MCP_METHOD = -32601, LMF_MCP_PARAMS = -32602, LMF_MCP_INTERNAL = -32603,
       LMF_MCP_HEADER = -32020, LMF_MCP_VERSION = -32022 };

typedef struct lmf_mcp_call lmf_mcp_call;
typedef struct lmf_mcp_peer {
    lmf_server    *server;
    lmf_tenant    *tenant;
    /* Takes message. last: it answers a request. code: of an error, or 0. */
    void         (*send)(struct lmf_mcp_peer *p, json_t *message, bool last, int code);
    void          *user;
    bool           silent;           /* there is no way for progress */
    lmf_mcp_call  *calls;            /* that are written */
} lmf_mcp_peer;

struct lmf_mcp_call {
    lmf_exchange   x;                /* what a generation replies to */
    lmf_mcp_peer  *peer;             /* NULL: nobody waits for it */
    lmf_mcp_call  *prev, *next;
    json_t        *id, *token;       /* token: of progress, or NULL */
    json_t        *result;           /* of a stream, at its end */
    char           why[512];         /* of a stream that broke */
    bool           modern;
    int32_t        n_said;           /* pieces */
    size_t         n_prefix;         /* classify: tokens before the choice */
    json_t        *choices;
};

void    lmf__mcp_take(lmf_mcp_peer *p, const json_t *message);
void    lmf__mcp_leave(lmf_mcp_peer *p);
/* Whether the message is of 2026-07-28; its version where it names one, else NULL. */
const char *lmf__mcp_version(const json_t *message);
json_t *lmf__mcp_error(const json_t *id, int code, const char *why, json_t *data); /* takes data; id NULL: null */
/* mcp_tools.c */
json_t *lmf__mcp_tools(void);        /* the list */
/* Runs a tool; its end comes to call->x. False: there is no such tool. */
bool    lmf__mcp_run(lmf_mcp_call *call, const char *tool, const json_t *arguments);
void    lmf__mcp_progress(lmf_mcp_call *call, const char *text, size_t n);

#endif
