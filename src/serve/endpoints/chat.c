/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation that goes on. Messages become one form, as rows for training do (data/rows.h), before the model's template sees them. */
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "serve/choices.h"
#include "serve/params.h"
#include "serve/prompt.h"
#include "serve/tools.h"

/* ---- answers ---- */

#define CHUNK "chat.completion.chunk"

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

/* A piece of one choice's message; takes delta. */
static void say(lmf_candidate *c, json_t *delta, json_t *logprobs, const char *finish)
{
    lmf__choices_send(c->g, CHUNK, json_pack("{s:i, s:o, s:o?, s:s?}", "index", c->index, "delta", delta, "logprobs",
                                             logprobs ? logprobs_form(logprobs) : NULL, "finish_reason", finish));
}

/* A piece of a call: its name with its id, then its arguments. */
static void call(lmf_candidate *c, lmf_tool_piece *p)
{
    char id[64];
    json_t *j;
    if (p->name) {
        lmf__server_id(c->g->server, "call_", id, sizeof id);
        j = json_pack("{s:i, s:s, s:s, s:{s:o, s:s}}", "index", p->i_call, "id", id, "type", "function", "function", "name", p->name,
                      "arguments", "");
    } else {
        j = json_pack("{s:i, s:{s:o}}", "index", p->i_call, "function", "arguments", lmf_json_stringn(p->arguments, p->n));
    }
    say(c, json_pack("{s:[o]}", "tool_calls", j), NULL, NULL);
}

static void thought(lmf_candidate *c, const char *text, size_t n)
{
    say(c, json_pack("{s:o}", "reasoning_content", lmf_json_stringn(text, n)), NULL, NULL);
}

static void greeting(lmf_candidate *c) { say(c, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL, NULL); }

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    say(c, json_pack("{s:o}", "content", lmf_json_stringn(text, n)), logprobs, NULL);
}

static void finish(lmf_candidate *c, json_t *logprobs) { say(c, json_object(), logprobs, c->finish); }

static void end(lmf_generation *g) { lmf__choices_send_usage(g, CHUNK); }

static json_t *whole(lmf_candidate *c)
{
    size_t n, n_thought;
    const char *text = lmf__candidate_text(c, &n), *thought = lmf__candidate_thought(c, &n_thought);
    json_t *message = json_pack("{s:s, s:o?, s:n}", "role", "assistant", "content", c->calls && n == 0 ? NULL : lmf_json_stringn(text, n),
                                "refusal");
    if (c->thought_once)
        json_object_set_new(message, "reasoning_content", lmf_json_stringn(thought, n_thought));
    if (c->calls)
        json_object_set_new(message, "tool_calls", calls_form(c));
    return json_pack("{s:i, s:o, s:o?, s:s}", "index", c->index, "message", message, "logprobs",
                     c->tokens ? logprobs_form(json_incref(c->tokens)) : NULL, "finish_reason", c->finish);
}

static json_t *reply(lmf_generation *g) { return lmf__choices_reply(g, "chat.completion", whole); }

static const lmf_shape shape = { .id_prefix = "chatcmpl-", .reply = reply, .greeting = greeting, .piece = piece, .thought = thought,
                                 .call = call, .finish = finish, .end = end, .done_mark = true };

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
    bool good = lmf__prompt_chat(g->x, g->body, g->with_tools, &ids, f) && lmf__generation_add_prompt(g, ids.data, ids.n, f);
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
