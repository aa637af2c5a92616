/* SPDX-License-Identifier: Apache-2.0 */
/* MCP over HTTP: one message a POST; progress comes as events before the answer, where the client takes them. No sessions: each request
 * stands for itself, also of the older revisions. A client that closes the stream has cancelled. */
#include <string.h>
#include "format/json.h"
#include "serve/mcp.h"

typedef struct web_peer {
    lmf_mcp_peer  peer;
    lmf_exchange *x;
    bool          modern;
    bool         *answered; /* while run looks on */
} web_peer;

static void end_peer(web_peer *w)
{
    lmf_server *s = w->peer.server;
    lmf__mcp_leave(&w->peer);
    lmf_delete(s->ctx, w);
}

static void gone(void *user) { end_peer(user); }

static int status_of(const web_peer *w, int code)
{
    if (code == LMF_MCP_INTERNAL)
        return 500;
    if (code == LMF_MCP_METHOD && w->modern)
        return 404;
    return code == LMF_MCP_PARSE || code == LMF_MCP_REQUEST || (code && w->modern) ? 400 : 200;
}

static void put(lmf_mcp_peer *p, json_t *message, bool last, int code)
{
    web_peer *w = (web_peer *)(void *)p;
    lmf_exchange *x = w->x;
    if (!last) {
        if (!x->streams)
            lmf__stream_begin(x, false);
        lmf__stream_event(x, "message", message);
        return;
    }
    int status = status_of(w, code);
    if (w->answered)
        *w->answered = true;
    x->on_gone = NULL;
    end_peer(w);
    if (x->streams) {
        lmf__stream_event(x, "message", message);
        lmf__stream_end(x, false);
    } else {
        lmf__reply_json(x, status, message);
    }
}

static bool is(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* Headers that must say what the body says; NULL: they do. */
static const char *mismatch(const lmf_exchange *x, const json_t *message, const char *version)
{
    static const struct { const char *method, *member; } named[] = { { "tools/call", "name" }, { "prompts/get", "name" },
                                                                      { "resources/read", "uri" } };
    const char *method = json_string_value(json_object_get(message, "method"));
    if (!is(lmf_http_header(x->http, "mcp-protocol-version"), version))
        return "the header MCP-Protocol-Version is not the version that the body names";
    if (!is(lmf_http_header(x->http, "mcp-method"), method))
        return "the header Mcp-Method is not the body's method";
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        const char *name = json_string_value(json_object_get(json_object_get(message, "params"), named[i].member));
        if (is(method, named[i].method) && name && !is(lmf_http_header(x->http, "mcp-name"), name))
            return "the header Mcp-Name is not the name in the body";
    }
    return NULL;
}

static void run(lmf_exchange *x)
{
    lmf_server *s = x->server;
    lmf_fault f;
    bool answered = false;
    const char *accept = lmf_http_header(x->http, "accept");
    if (!s->o.mcp) {
        lmf__refuse(&f, 404, NULL, NULL, "MCP is not served here: lmfast serve --mcp does");
        lmf__reply_fault(x, &f);
        return;
    }
    json_t *message = lmf__body_parse(x, &f);
    if (!message) {
        lmf__reply_json(x, 400, lmf__mcp_error(NULL, LMF_MCP_PARSE, f.message, NULL));
        return;
    }
    web_peer *w = lmf_new(s->ctx, web_peer);
    if (!w) {
        lmf__reply_json(x, 503, lmf__mcp_error(NULL, LMF_MCP_INTERNAL, "there is no memory for the request", NULL));
        json_decref(message);
        return;
    }
    const char *version = lmf__mcp_version(message);
    const char *wrong = version && json_object_get(message, "id") ? mismatch(x, message, version) : NULL;
    *w = (web_peer){ .peer = { .server = s, .tenant = x->tenant, .send = put, .silent = !accept || !strstr(accept, "text/event-stream") },
                     .x = x, .modern = version != NULL, .answered = &answered };
    if (wrong)
        put(&w->peer, lmf__mcp_error(json_object_get(message, "id"), LMF_MCP_HEADER, wrong, NULL), true, LMF_MCP_HEADER);
    else
        lmf__mcp_take(&w->peer, message);
    json_decref(message);
    if (answered)
        return;
    if (w->peer.calls) {
        w->answered = NULL;
        x->on_gone = gone, x->user = w;
        return;
    }
    end_peer(w); /* a notification */
    lmf__reply_bytes(x, 202, "application/json", "", 0);
}

const lmf_endpoint lmf_endpoint_mcp = { "POST", "/mcp", run, "The Model Context Protocol, with --mcp", .required = "jsonrpc method",
    .members = "\"jsonrpc\":{\"const\":\"2.0\"},\"id\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]},\"method\":{\"type\":"
               "\"string\"},\"params\":{\"type\":\"object\"}" };
