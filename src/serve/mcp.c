/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a request is answered exactly once; a call lives from its request to its answer, or until it is cancelled. */
#include "serve/mcp.h"
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "serve/metrics.h"

#define MODERN "2026-07-28"
#define META "io.modelcontextprotocol/"
static const char *const legacy[] = { "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05" };

/* ---- messages ---- */

json_t *lmf__mcp_error(const json_t *id, int code, const char *why, json_t *data)
{
    json_t *error = json_pack("{s:i, s:o}", "code", code, "message", lmf_json_string(why));
    if (data && error)
        json_object_set_new(error, "data", data);
    else
        json_decref(data);
    return json_pack("{s:s, s:O?, s:o}", "jsonrpc", "2.0", "id", id, "error", error);
}

static json_t *server_info(const lmf_server *s)
{
    return json_pack("{s:s, s:s, s:o}", "name", "lmfast", "version", LMF_VERSION, "title", lmf_json_string(s->o.model_name));
}

/* Takes result. ttl_ms -1: nobody keeps it. */
static void answer(lmf_mcp_peer *p, const json_t *id, bool modern, json_t *result, int64_t ttl_ms)
{
    if (modern && result) {
        json_object_set_new(result, "resultType", json_string("complete"));
        json_object_set_new(result, "_meta", json_pack("{s:o}", META "serverInfo", server_info(p->server)));
        if (ttl_ms >= 0)
            json_object_update_new(result, json_pack("{s:I, s:s}", "ttlMs", (json_int_t)ttl_ms, "cacheScope", "private"));
    }
    if (result)
        p->send(p, json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result), true, 0);
    else
        p->send(p, lmf__mcp_error(id, LMF_MCP_INTERNAL, "there is no memory for the answer", NULL), true, LMF_MCP_INTERNAL);
}

static void refuse(lmf_mcp_peer *p, const json_t *id, int code, const char *why, json_t *data)
{
    p->send(p, lmf__mcp_error(id, code, why, data), true, code);
}

const char *lmf__mcp_version(const json_t *message)
{
    return json_string_value(json_object_get(json_object_get(json_object_get(message, "params"), "_meta"), META "protocolVersion"));
}

/* ---- calls ---- */

static void end_call(lmf_mcp_call *c)
{
    lmf_server *s = c->x.server;
    if (c->peer) {
        if (c->prev)
            c->prev->next = c->next;
        else
            c->peer->calls = c->next;
        if (c->next)
            c->next->prev = c->prev;
    }
    json_decref(c->id);
    json_decref(c->token);
    json_decref(c->result);
    json_decref(c->choices);
    lmf_delete(s->ctx, c);
}

static void cancel(lmf_mcp_call *c)
{
    if (c->x.on_gone)
        c->x.on_gone(c->x.user);
    end_call(c);
}

void lmf__mcp_leave(lmf_mcp_peer *p)
{
    while (p->calls)
        cancel(p->calls);
}

/* A tool's result as content for people, and as what a program reads. Takes value. */
static json_t *tool_result(json_t *value, const char *why)
{
    const json_t *text = json_object_get(value, "text");
    char *whole = value && !json_is_string(text) ? json_dumps(value, JSON_COMPACT) : NULL;
    json_t *j = why ? json_pack("{s:[{s:s, s:o}], s:b}", "content", "type", "text", "text", lmf_json_string(why), "isError", 1)
                    : json_pack("{s:[{s:s, s:o}], s:O?, s:b}", "content", "type", "text", "text",
                                whole ? lmf_json_string(whole) : json_incref((json_t *)(uintptr_t)text), "structuredContent", value,
                                "isError", 0);
    free(whole); /* allowed: jansson's own memory */
    json_decref(value);
    return j;
}

/* The end of a call: its reply, or the end of what was streamed (body NULL). */
static void on_reply(lmf_exchange *x, int status, json_t *body)
{
    lmf_mcp_call *c = (lmf_mcp_call *)(void *)x;
    const char *why = status < 400 ? NULL : json_string_value(json_object_get(json_object_get(body, "error"), "message"));
    json_t *result = status >= 400 ? tool_result(NULL, why ? why : "the call failed")
                     : body        ? tool_result(json_incref(body), NULL)
                     : c->result   ? tool_result(json_incref(c->result), NULL)
                                   : tool_result(NULL, c->why[0] ? c->why : "the call failed");
    json_decref(body);
    lmf_mcp_peer *p = c->peer;
    json_t *id = json_incref(c->id);
    bool modern = c->modern;
    x->on_gone = NULL;
    end_call(c); /* first: who hears of the end may take the peer away */
    if (p)
        answer(p, id, modern, result, -1);
    else
        json_decref(result);
    json_decref(id);
}

void lmf__mcp_progress(lmf_mcp_call *c, const char *text, size_t n)
{
    if (c->token && c->peer && !c->peer->silent)
        c->peer->send(c->peer, json_pack("{s:s, s:s, s:{s:O, s:i, s:o}}", "jsonrpc", "2.0", "method", "notifications/progress", "params",
                                         "progressToken", c->token, "progress", ++c->n_said, "message", lmf_json_stringn(text, n)),
                      false, 0);
}

static void call_tool(lmf_mcp_peer *p, const json_t *id, const json_t *params, bool modern)
{
    const char *name = json_string_value(json_object_get(params, "name"));
    const json_t *arguments = json_object_get(params, "arguments");
    json_t *token = json_object_get(json_object_get(params, "_meta"), "progressToken");
    if (!name || (arguments && !json_is_null(arguments) && !json_is_object(arguments))) {
        refuse(p, id, LMF_MCP_PARAMS, "tools/call has a name, and arguments that are an object", NULL);
        return;
    }
    lmf_mcp_call *c = lmf_new(p->server->ctx, lmf_mcp_call);
    if (!c) {
        refuse(p, id, LMF_MCP_INTERNAL, "there is no memory for the call", NULL);
        return;
    }
    *c = (lmf_mcp_call){ .x = { .server = p->server, .tenant = p->tenant, .on_reply = on_reply, .tool = name }, .peer = p, .modern = modern,
                         .id = json_incref((json_t *)(uintptr_t)id),
                         .token = json_is_string(token) || json_is_integer(token) ? json_incref(token) : NULL };
    c->next = p->calls;
    if (c->next)
        c->next->prev = c;
    p->calls = c;
    if (!lmf__mcp_run(c, name, arguments)) {
        char why[128];
        snprintf(why, sizeof why, "there is no tool \"%.60s\"; tools/list tells those that there are", name);
        end_call(c);
        refuse(p, id, LMF_MCP_PARAMS, why, NULL);
    }
}

static void cancelled(lmf_mcp_peer *p, const json_t *params)
{
    const json_t *id = json_object_get(params, "requestId");
    for (lmf_mcp_call *c = p->calls; c; c = c->next)
        if (id && json_equal(c->id, id)) {
            cancel(c);
            return;
        }
}

/* ---- resources and prompts ---- */

static json_t *info(const lmf_server *s)
{
    const lmf_config_base *c = lmf_model_config(s->model);
    return json_pack("{s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:s}", "name", lmf_json_string(s->o.model_name), "architecture",
                     s->model->arch->name, "parameters", (json_int_t)s->model->n_params, "layers", c->n_layers, "width", c->width,
                     "vocabulary", c->vocab, "trained_context", c->context, "context", s->engine_info.context, "form",
                     s->model->gguf ? "gguf" : "safetensors");
}

/* A page about the model, out of what its file says. */
static json_t *card(const lmf_server *s)
{
    const lmf_config_base *c = lmf_model_config(s->model);
    char text[1200];
    snprintf(text, sizeof text, "# %.200s\n\nA language model of the architecture %s: %.1f million parameters, %d layers of width %d, %d "
             "tokens in its vocabulary, made for %d tokens of context. Here it holds %d, and writes %d answers at once.\n\n%s\n",
             s->o.model_name, s->model->arch->name, (double)s->model->n_params / 1e6, c->n_layers, c->width, c->vocab, c->context,
             s->engine_info.context, s->engine_info.max_seqs,
             s->chat.source ? "It has a chat template: the tool chat continues a conversation." :
                              "It has no chat template: the tool generate continues text.");
    return lmf_json_string(text);
}

static json_t *resources(void)
{
    return json_pack("{s:[{s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, s:s}]}", "resources",
                     "uri", "model://info", "name", "info", "mimeType", "application/json", "description", "What the model is, in numbers",
                     "uri", "model://card", "name", "card", "mimeType", "text/markdown", "description", "The same for people",
                     "uri", "metrics://server", "name", "metrics", "mimeType", "text/plain", "description",
                     "Counters of the server, in Prometheus' text format");
}

static void read_resource(lmf_mcp_peer *p, const json_t *id, const json_t *params, bool modern)
{
    lmf_server *s = p->server;
    const char *uri = json_string_value(json_object_get(params, "uri")), *type = "text/plain";
    json_t *text = NULL;
    if (uri && strcmp(uri, "model://info") == 0) {
        json_t *j = info(s);
        char *dump = json_dumps(j, JSON_INDENT(1));
        text = dump ? lmf_json_string(dump) : NULL;
        type = "application/json";
        free(dump); /* allowed: jansson's own memory */
        json_decref(j);
    } else if (uri && strcmp(uri, "model://card") == 0) {
        text = card(s), type = "text/markdown";
    } else if (uri && strcmp(uri, "metrics://server") == 0 && p->tenant->metrics) {
        lmf_buf b;
        lmf_buf_init(&b, s->ctx, (size_t)16 << 20);
        lmf__metrics_print(s, &b);
        text = b.status ? NULL : lmf_json_stringn(lmf_buf_str(&b), b.n);
        lmf_buf_clear(&b);
    } else {
        refuse(p, id, modern ? LMF_MCP_PARAMS : -32002, "there is no such resource; resources/list tells those that there are",
               json_pack("{s:s?}", "uri", uri));
        return;
    }
    answer(p, id, modern, text ? json_pack("{s:[{s:s, s:s, s:o}]}", "contents", "uri", uri, "mimeType", type, "text", text) : NULL, 0);
}

static const struct { const char *name, *about, *argument, *argument_about, *form; } prompts[] = {
    { "summarize", "A short summary of a text", "text", "what to summarize", "Summarize the following text in a few sentences.\n\n" },
    { "explain", "An explanation in plain words", "text", "what to explain", "Explain the following in plain words.\n\n" } };

static json_t *list_prompts(void)
{
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:[{s:s, s:s, s:b}]}", "name", prompts[i].name, "description", prompts[i].about,
                                              "arguments", "name", prompts[i].argument, "description", prompts[i].argument_about,
                                              "required", 1));
    return json_pack("{s:o}", "prompts", list);
}

static void get_prompt(lmf_mcp_peer *p, const json_t *id, const json_t *params, bool modern)
{
    const char *name = json_string_value(json_object_get(params, "name"));
    for (size_t i = 0; name && i < sizeof prompts / sizeof *prompts; i++) {
        const json_t *value = json_object_get(json_object_get(params, "arguments"), prompts[i].argument);
        if (strcmp(prompts[i].name, name))
            continue;
        if (!json_is_string(value)) {
            refuse(p, id, LMF_MCP_PARAMS, "the prompt needs the argument text", NULL);
            return;
        }
        lmf_buf b;
        lmf_buf_init(&b, p->server->ctx, (size_t)1 << 22);
        lmf_buf_puts(&b, prompts[i].form);
        lmf_buf_append(&b, json_string_value(value), json_string_length(value));
        answer(p, id, modern, b.status ? NULL : json_pack("{s:s, s:[{s:s, s:{s:s, s:o}}]}", "description", prompts[i].about, "messages",
                                                          "role", "user", "content", "type", "text", "text",
                                                          lmf_json_stringn(lmf_buf_str(&b), b.n)), -1);
        lmf_buf_clear(&b);
        return;
    }
    refuse(p, id, LMF_MCP_PARAMS, "there is no such prompt; prompts/list tells those that there are", NULL);
}

/* ---- requests ---- */

static json_t *versions(void)
{
    json_t *list = json_pack("[s]", MODERN);
    for (size_t i = 0; i < sizeof legacy / sizeof *legacy; i++)
        json_array_append_new(list, json_string(legacy[i]));
    return list;
}

static json_t *capabilities(void) { return json_pack("{s:{}, s:{}, s:{}}", "tools", "resources", "prompts"); }

static void initialize(lmf_mcp_peer *p, const json_t *id, const json_t *params)
{
    const char *asked = json_string_value(json_object_get(params, "protocolVersion")), *version = legacy[0];
    if (!asked) {
        refuse(p, id, LMF_MCP_PARAMS, "initialize has a protocolVersion", NULL);
        return;
    }
    for (size_t i = 0; i < sizeof legacy / sizeof *legacy; i++)
        version = strcmp(asked, legacy[i]) == 0 ? legacy[i] : version;
    answer(p, id, false, json_pack("{s:s, s:o, s:o}", "protocolVersion", version, "capabilities", capabilities(), "serverInfo",
                                   server_info(p->server)), -1);
}

static void dispatch(lmf_mcp_peer *p, const json_t *id, const char *method, const json_t *params, bool modern)
{
    enum { HOUR_MS = 3600000 };
    if (strcmp(method, "tools/call") == 0)
        call_tool(p, id, params, modern);
    else if (strcmp(method, "tools/list") == 0)
        answer(p, id, modern, json_pack("{s:o}", "tools", lmf__mcp_tools()), HOUR_MS);
    else if (strcmp(method, "resources/list") == 0)
        answer(p, id, modern, resources(), HOUR_MS);
    else if (strcmp(method, "resources/templates/list") == 0)
        answer(p, id, modern, json_pack("{s:[]}", "resourceTemplates"), HOUR_MS);
    else if (strcmp(method, "resources/read") == 0)
        read_resource(p, id, params, modern);
    else if (strcmp(method, "prompts/list") == 0)
        answer(p, id, modern, list_prompts(), HOUR_MS);
    else if (strcmp(method, "prompts/get") == 0)
        get_prompt(p, id, params, modern);
    else if (modern && strcmp(method, "server/discover") == 0)
        answer(p, id, true, json_pack("{s:o, s:o}", "supportedVersions", versions(), "capabilities", capabilities()), HOUR_MS);
    else if (!modern && strcmp(method, "initialize") == 0)
        initialize(p, id, params);
    else if (!modern && strcmp(method, "ping") == 0)
        answer(p, id, false, json_object(), -1);
    else
        refuse(p, id, LMF_MCP_METHOD, "there is no such method", json_pack("{s:s%}", "method", method, strnlen(method, 100)));
}

void lmf__mcp_take(lmf_mcp_peer *p, const json_t *message)
{
    const json_t *id = json_object_get(message, "id"), *params = json_object_get(message, "params");
    const char *method = json_string_value(json_object_get(message, "method")), *version = lmf__mcp_version(message);
    const char *is = json_string_value(json_object_get(message, "jsonrpc"));
    const json_t *meta = json_object_get(params, "_meta"), *named = json_object_get(meta, META "protocolVersion");
    bool known = json_is_string(id) || json_is_integer(id);
    if (json_is_object(message) && !method && known && (json_object_get(message, "result") || json_object_get(message, "error")))
        return; /* an answer to what nobody asked */
    if (!json_is_object(message) || !is || strcmp(is, "2.0") || !method || (id && !known) ||
        (params && !json_is_object(params))) {
        refuse(p, known ? id : NULL, LMF_MCP_REQUEST, "a message is an object of jsonrpc 2.0 with a method, an id that is a text or a "
               "whole number, and params that are an object", NULL);
        return;
    }
    if (!id) {
        if (strcmp(method, "notifications/cancelled") == 0)
            cancelled(p, params);
        return;
    }
    if (named && (!version || !json_is_object(json_object_get(meta, META "clientCapabilities"))))
        refuse(p, id, LMF_MCP_PARAMS, "_meta has the texts " META "protocolVersion, and " META "clientCapabilities as an object", NULL);
    else if (version && strcmp(version, MODERN))
        refuse(p, id, LMF_MCP_VERSION, "that version of the protocol is not spoken here",
               json_pack("{s:o, s:o}", "supported", versions(), "requested", lmf_json_string(version)));
    else
        dispatch(p, id, method, params, version != NULL);
}
