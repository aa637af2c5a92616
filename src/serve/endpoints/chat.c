/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation that goes on. Messages become one form, as rows for training do (data/rows.h), before the model's template sees them. */
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/params.h"
#include "serve/prompt.h"
#include "serve/tools.h"

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

static json_t *thought(lmf_candidate *c, const char *text, size_t n)
{
    return json_pack("{s:i, s:{s:o}, s:n, s:n}", "index", c->index, "delta", "reasoning_content", lmf_json_stringn(text, n), "logprobs",
                     "finish_reason");
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
    const char *text = lmf_buf_str(&c->text);
    while (c->calls && n && strchr(" \n\r\t", text[n - 1]))
        n--;
    while (c->thought_once && n && strchr(" \n\r\t", *text))
        text++, n--;
    json_t *message = json_pack("{s:s, s:o?, s:n}", "role", "assistant", "content", c->calls &&
        n == 0 ? NULL : lmf_json_stringn(text, n),
                                "refusal");
    if (c->thought_once)
        json_object_set_new(message, "reasoning_content", lmf_json_stringn(lmf_buf_str(&c->thought), c->thoughts.n_out));
    if (c->calls)
        json_object_set_new(message, "tool_calls", calls_form(c));
    return json_pack("{s:i, s:o, s:o?, s:s}", "index", c->index, "message", message, "logprobs",
        c->tokens ? logprobs_form(json_incref(c->tokens)) : NULL,
                     "finish_reason", c->finish);
}

static const lmf_shape shape = { "chatcmpl-", "chat.completion", "chat.completion.chunk", piece, thought, greeting, call, whole };

/* ---- questions ---- */

static const lmf_param own[] = { { "logprobs", LMF_PARAM_BOOL, offsetof(lmf_request, logprobs), 0, 0 },
                                 { "top_logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP }, { 0 } };

static bool read_own(lmf_generation *g, lmf_fault *f)
{
    static const lmf_param ignored[] = { { "store", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    bool dummy;
    if (!lmf__params_read(g->body, own, &g->r, f) || !lmf__params_read(g->body, ignored, &dummy, f) ||
        !lmf__tools_read(g->body, &g->r.wish, f))
        return false;
    g->with_tools = g->r.wish.tools != NULL;
    if (g->r.n_top && !g->r.logprobs)
        return lmf__refuse(f, 400, "top_logprobs", NULL, "top_logprobs goes with logprobs: true");
    return true;
}

static bool add_prompt(lmf_generation *g, lmf_fault *f)
{
    lmf_ids ids;
    lmf_ids_init(&ids, g->server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = lmf__prompt_chat(g->server, g->body, g->with_tools, &ids, f) && lmf__generation_add_prompt(g, ids.data, ids.n, f);
    lmf_ids_clear(&ids);
    return good;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    json_t *body = lmf__body_parse(x, &f);
    lmf_generation *g = body ? lmf__generation_create(x, &shape, body, &f) : NULL;
    if (!g || !read_own(g, &f) || !add_prompt(g, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(x, g, &f);
}

static const lmf_param *const params[] = { lmf__request_params, own, NULL };

const lmf_endpoint lmf_endpoint_chat = { "POST", "/v1/chat/completions", run, "The next message of a conversation", .params = params,
    .required = "messages", .members = LMF_REQUEST_MEMBERS "," LMF_PROMPT_MEMBERS "," LMF_CALL_MEMBERS };
