/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation that goes on. Messages become one form, as rows for training do (data/rows.h), before the model's template sees them. */
#include <stdio.h>
#include <string.h>
#include "data/rows.h"
#include "format/json.h"
#include "serve/generation.h"
#include "serve/params.h"
#include "serve/tools.h"

enum { MAX_PROMPT_TOK = 1 << 20 };

/* ---- answers ---- */

static json_t *logprobs_form(json_t *list) { return json_pack("{s:o, s:n}", "content", list, "refusal"); }

/* The calls of a message. */
static json_t *calls_form(lmf_candidate *c)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        char id[64];
        const json_t *call = json_array_get(c->calls, i);
        json_t *arguments = json_object_get(call, "arguments");
        lmf__server_id(c->g->server, "call_", id, sizeof id);
        json_array_append_new(out, json_pack("{s:s, s:s, s:{s:O, s:O?}}", "id", id, "type", "function", "function", "name",
                                             json_object_get(call, "name"), "arguments", arguments));
    }
    return out;
}

/* A piece of a call: its name with its id, then its arguments. */
static json_t *call(lmf_candidate *c, lmf_tool_piece *p)
{
    char id[64];
    json_t *j;
    if (p->name) {
        lmf__server_id(c->g->server, "call_", id, sizeof id);
        j = json_pack("{s:i, s:s, s:s, s:{s:o, s:s}}", "index", p->i_call, "id", id, "type", "function", "function", "name", p->name,
            "arguments",
                      "");
    } else {
        j = json_pack("{s:i, s:{s:o}}", "index", p->i_call, "function", "arguments", lmf_json_stringn(p->arguments, p->n));
    }
    return json_pack("{s:i, s:{s:[o]}, s:n, s:n}", "index", c->index, "delta", "tool_calls", j, "logprobs", "finish_reason");
}

static json_t *greeting(lmf_candidate *c)
{
    return json_pack("{s:i, s:{s:s, s:s}, s:n, s:n}", "index", c->index, "delta", "role", "assistant", "content", "", "logprobs",
        "finish_reason");
}

static json_t *piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs, const char *finish)
{
    json_t *delta = text ? json_pack("{s:o}", "content", lmf_json_stringn(text, n)) : json_object();
    return json_pack("{s:i, s:o, s:o?, s:s?}", "index", c->index, "delta", delta, "logprobs", logprobs ? logprobs_form(logprobs) : NULL,
        "finish_reason",
                     finish);
}

static json_t *whole(lmf_candidate *c)
{
    size_t n = c->calls ? c->call_begin : c->stream.n_out;
    while (c->calls && n && strchr(" \n\r\t", lmf_buf_str(&c->text)[n - 1]))
        n--;
    json_t *message = json_pack("{s:s, s:o?, s:n}", "role", "assistant", "content", c->calls &&
        n == 0 ? NULL : lmf_json_stringn(lmf_buf_str(&c->text), n),
                                "refusal");
    if (c->calls)
        json_object_set_new(message, "tool_calls", calls_form(c));
    return json_pack("{s:i, s:o, s:o?, s:s}", "index", c->index, "message", message, "logprobs",
        c->tokens ? logprobs_form(json_incref(c->tokens)) : NULL,
                     "finish_reason", c->finish);
}

static const lmf_shape shape = { "chatcmpl-", "chat.completion", "chat.completion.chunk", piece, greeting, call, whole };

/* ---- questions ---- */

static bool read_own(lmf_generation *g, lmf_fault *f)
{
    static const lmf_param table[] = { { "logprobs", LMF_PARAM_BOOL, offsetof(lmf_request, logprobs), 0, 0 },
                                       { "top_logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP }, { 0 } };
    static const lmf_param ignored[] = { { "store", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    bool dummy;
    if (!lmf__params_read(g->body, table, &g->r, f) || !lmf__params_read(g->body, ignored, &dummy, f) ||
        !lmf__tools_read(g->body, &g->r.wish, f))
        return false;
    g->with_tools = g->r.wish.tools != NULL;
    if (g->r.n_top && !g->r.logprobs)
        return lmf__refuse(f, 400, "top_logprobs", NULL, "top_logprobs goes with logprobs: true");
    return true;
}

static bool check_message(json_t *m, size_t i, lmf_fault *f)
{
    static const char *const roles[] = { "system", "developer", "user", "assistant", "tool", NULL };
    char param[64];
    const char *role = json_string_value(json_object_get(m, "role"));
    json_t *content = json_object_get(m, "content");
    bool known = false;
    snprintf(param, sizeof param, "messages[%zu]", i);
    for (const char *const *r = roles; role && *r; r++)
        known |= strcmp(role, *r) == 0;
    if (!json_is_object(m) || !known)
        return lmf__refuse(f, 400, param, NULL, "%s must be an object with a role: system, developer, user, assistant or tool", param);
    snprintf(param, sizeof param, "messages[%zu].content", i);
    if (strcmp(role, "assistant") && !json_is_string(content) && !json_is_array(content))
        return lmf__refuse(f, 400, param, NULL, "%s must be a text or a list of parts", param);
    if (content && !json_is_null(content) && !json_is_string(content) && !json_is_array(content))
        return lmf__refuse(f, 400, param, NULL, "%s must be a text, a list of parts or null", param);
    for (size_t k = 0; k < json_array_size(content); k++) {
        const char *type = json_string_value(json_object_get(json_array_get(content, k), "type"));
        if (type && strcmp(type, "text"))
            return lmf__refuse(f, 400, param, NULL, "%s: a part of the type \"%.20s\" can't be read by this model; text can", param, type);
    }
    if (strcmp(role, "developer") == 0 && json_object_set_new(m, "role", json_string("system")))
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    return true;
}

/* {"messages", "tools"} in the one form; the caller's reference. */
static json_t *conversation(lmf_generation *g, lmf_fault *f)
{
    json_t *messages = json_object_get(g->body, "messages"), *tools = json_object_get(g->body, "tools");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return lmf__refuse(f, 400, "messages", NULL, "messages must be a list of messages, and not empty"), NULL;
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!check_message(json_array_get(messages, i), i, f))
            return NULL;
    json_t *vars = json_pack("{s:O}", "messages", messages);
    if (!vars || (g->with_tools && json_object_set(vars, "tools", tools))) {
        json_decref(vars);
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request"), NULL;
    }
    return vars;
}

static bool add_prompt(lmf_generation *g, lmf_fault *f)
{
    lmf_server *s = g->server;
    lmf_ids ids;
    const char *param = "messages";
    if (!s->chat.source)
        return lmf__refuse(f, 400, "messages", NULL, "%s",
            s->chat.broken ? s->chat.broken : "the model has no chat template; /v1/completions continues plain text");
    json_t *vars = conversation(g, f);
    if (!vars)
        return false;
    lmf_ids_init(&ids, s->ctx, MAX_PROMPT_TOK);
    lmf_status status = lmf__row_normalize(s->ctx, vars);
    if (!status && s->own_tools)
        status = lmf__tools_describe(s->ctx, vars);
    if (!status)
        status = lmf_chat_fit(&s->chat, &s->forms, vars);
    if (!status) {
        status = lmf_chat_check_tools(&s->chat, &s->forms, vars);
        param = status ? "tools" : param;
    }
    if (!status)
        status = lmf_chat_encode(&s->chat, vars, true, &ids);
    bool good = status ? lmf__refuse_status(f, s->ctx, status, param) : lmf__generation_add_prompt(g, ids.data, ids.n, f);
    json_decref(vars);
    lmf_ids_clear(&ids);
    return good;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    x->server->chat.now_unix = lmf__local_seconds();
    json_t *body = lmf__body_parse(x, &f);
    lmf_generation *g = body ? lmf__generation_create(x, &shape, body, &f) : NULL;
    if (!g || !read_own(g, &f) || !add_prompt(g, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(x, g, &f);
}

const lmf_endpoint lmf_endpoint_chat = { "POST", "/v1/chat/completions", run };
