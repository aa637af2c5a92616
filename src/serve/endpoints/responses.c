/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's Responses: an answer is a list of items (what is thought, a message, calls), and a stream tells how each grows. What a request
 * says is a list of items, too, behind those of the response that it goes on from. Facts: the types of OpenAI's Python client. */
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/prompt.h"
#include "serve/tools.h"
#include "serve/translate.h"

typedef struct own {
    json_t *response;        /* what is told of it, without its output */
    json_t *messages;        /* of the conversation, to be kept */
    json_t *output;          /* items that are complete */
    int64_t n_events;
    char    id[64], call_id[64]; /* of the item that is open */
    json_t *name;            /* of an open call */
    json_t *logprobs, *fresh; /* of the open message's text; of its last piece. NULL: none */
    lmf_buf text;            /* of the open item */
    bool    keeps;
} own;

enum { NONE, TEXT, THOUGHT, CALL };

/* ---- answers ---- */

static json_t *text_part(const char *text, size_t n, json_t *logprobs)
{
    return json_pack("{s:s, s:o, s:[], s:o}", "type", "output_text", "text", lmf_json_stringn(text, n), "annotations", "logprobs",
                     logprobs ? logprobs : json_array());
}

/* Takes content. */
static json_t *message_item(const char *id, const char *status, json_t *content)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", "message", "id", id, "status", status, "role", "assistant", "content", content);
}

static json_t *thought_item(const char *id, const char *status, json_t *content)
{
    return json_pack("{s:s, s:s, s:s, s:[], s:o}", "type", "reasoning", "id", id, "status", status, "summary", "content", content);
}

static json_t *thought_part(const char *text, size_t n)
{
    return json_pack("{s:s, s:o}", "type", "reasoning_text", "text", lmf_json_stringn(text, n));
}

/* Takes arguments. */
static json_t *call_item(const char *id, const char *call_id, const char *status, json_t *name, json_t *arguments)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:O, s:o}", "type", "function_call", "id", id, "call_id", call_id, "status", status,
                     "name", name, "arguments", arguments);
}

static json_t *usage(const lmf_generation *g)
{
    lmf_usage u = lmf__generation_usage(g);
    return json_pack("{s:I, s:{s:I, s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u.prompt, "input_tokens_details",
                     "cached_tokens", (json_int_t)u.cached, "cache_write_tokens", (json_int_t)0, "output_tokens", (json_int_t)u.answer,
                     "output_tokens_details", "reasoning_tokens", (json_int_t)u.thought, "total_tokens", (json_int_t)(u.prompt + u.answer));
}

/* The response as it stands. */
static json_t *told(const own *o, const char *status, json_t *output)
{
    json_t *j = json_copy(o->response);
    if (!j || json_object_set_new(j, "status", json_string(status)) || json_object_set(j, "output", output)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

/* The assistant's message of an output, as a later request sees it. */
static bool add_answer(json_t *messages, const json_t *output, lmf_fault *f);

/* The response at its end, kept where that was asked for; one that could not be kept says so: "store" is false then. */
static json_t *ended(lmf_generation *g, const char *status)
{
    own *o = g->own;
    lmf_fault f;
    json_t *j = told(o, status, o->output);
    if (!j || json_object_set_new(j, "usage", usage(g)))
        return json_decref(j), NULL;
    if (strcmp(status, "incomplete") == 0)
        json_object_set_new(j, "incomplete_details", json_pack("{s:s}", "reason", strcmp(g->choice[0].finish, "length")
                                                                             ? "content_filter" : "max_output_tokens"));
    if (o->keeps && (!add_answer(o->messages, o->output, &f) || lmf_store_put(g->server->store, g->tenant->name, g->id, g->created, j,
                                                                             o->messages)))
        json_object_set_new(j, "store", json_false());
    return j;
}

static const char *status_of(const lmf_candidate *c)
{
    return strcmp(c->finish, "length") && strcmp(c->finish, "content_filter") ? "completed" : "incomplete";
}

static json_t *reply(lmf_generation *g)
{
    lmf_candidate *c = &g->choice[0];
    own *o = g->own;
    size_t n, n_thought;
    const char *text = lmf__candidate_text(c, &n), *thought = lmf__candidate_thought(c, &n_thought), *status = status_of(c);
    if (c->thought_once) {
        lmf__server_id(g->server, "rs_", o->id, sizeof o->id);
        json_array_append_new(o->output, thought_item(o->id, "completed", json_pack("[o]", thought_part(thought, n_thought))));
    }
    if (n || !c->calls) {
        lmf__server_id(g->server, "msg_", o->id, sizeof o->id);
        json_array_append_new(o->output, message_item(o->id, status, json_pack("[o]", text_part(text, n, json_incref(c->tokens)))));
    }
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        json_t *call = json_array_get(c->calls, i);
        lmf__server_id(g->server, "fc_", o->id, sizeof o->id);
        lmf__server_id(g->server, "call_", o->call_id, sizeof o->call_id);
        json_array_append_new(o->output, call_item(o->id, o->call_id, "completed", json_object_get(call, "name"),
                                                   json_incref(json_object_get(call, "arguments"))));
    }
    return ended(g, status);
}

/* ---- a stream ---- */

/* An event of that type; takes more, its members. */
static void tell(lmf_generation *g, const char *type, json_t *more)
{
    own *o = g->own;
    if (more && (json_object_set_new(more, "type", json_string(type)) ||
                 json_object_set_new(more, "sequence_number", json_integer(o->n_events++)))) {
        json_decref(more);
        more = NULL;
    }
    lmf__stream_event(g->x, type, more);
}

/* An event about the open item's content; takes value. */
static void tell_content(lmf_candidate *c, const char *type, const char *member, json_t *value)
{
    own *o = c->g->own;
    json_t *j = json_pack("{s:s, s:i, s:o}", "item_id", o->id, "output_index", c->n_blocks - 1, member, value);
    if (c->block != CALL && j)
        json_object_set_new(j, "content_index", json_integer(0));
    if (strncmp(type, "response.output_text", 20) == 0 && j)
        json_object_set_new(j, "logprobs", o->fresh ? json_incref(o->fresh) : json_array());
    tell(c->g, type, j);
}

static json_t *item_of(const lmf_candidate *c, const char *status, bool whole)
{
    const own *o = c->g->own;
    const char *text = lmf_buf_str(&o->text);
    if (c->block == CALL)
        return call_item(o->id, o->call_id, status, o->name, lmf_json_stringn(text, o->text.n));
    if (c->block == TEXT)
        return message_item(o->id, status, whole ? json_pack("[o]", text_part(text, o->text.n, json_incref(o->logprobs))) : json_array());
    return thought_item(o->id, status, whole ? json_pack("[o]", thought_part(text, o->text.n)) : json_array());
}

static void close_item(lmf_candidate *c, const char *status)
{
    static const char *const done[] = { [TEXT] = "response.output_text.done", [THOUGHT] = "response.reasoning_text.done",
                                        [CALL] = "response.function_call_arguments.done" };
    own *o = c->g->own;
    const char *text = lmf_buf_str(&o->text);
    if (c->block == NONE)
        return;
    o->fresh = json_incref(o->logprobs);
    tell_content(c, done[c->block], c->block == CALL ? "arguments" : "text", lmf_json_stringn(text, o->text.n));
    if (c->block != CALL)
        tell_content(c, "response.content_part.done", "part",
                     c->block == TEXT ? text_part(text, o->text.n, json_incref(o->logprobs)) : thought_part(text, o->text.n));
    json_t *item = item_of(c, status, true);
    json_array_append(o->output, item);
    tell(c->g, "response.output_item.done", json_pack("{s:i, s:o}", "output_index", c->n_blocks - 1, "item", item));
    json_decref(o->name);
    json_decref(o->logprobs);
    json_decref(o->fresh);
    o->name = o->logprobs = o->fresh = NULL;
    c->block = NONE;
}

/* Takes name, of a call. */
static void open_item(lmf_candidate *c, int32_t kind, json_t *name)
{
    static const char *const prefix[] = { [TEXT] = "msg_", [THOUGHT] = "rs_", [CALL] = "fc_" };
    own *o = c->g->own;
    close_item(c, "completed");
    c->block = kind;
    o->name = name;
    lmf_buf_truncate(&o->text, 0);
    lmf__server_id(c->g->server, prefix[kind], o->id, sizeof o->id);
    lmf__server_id(c->g->server, "call_", o->call_id, sizeof o->call_id);
    tell(c->g, "response.output_item.added", json_pack("{s:i, s:o}", "output_index", c->n_blocks++, "item",
                                                       item_of(c, "in_progress", false)));
    if (kind != CALL)
        tell_content(c, "response.content_part.added", "part", kind == TEXT ? text_part("", 0, NULL) : thought_part("", 0));
}

static void grow(lmf_candidate *c, const char *type, const char *text, size_t n)
{
    lmf_buf_append(&((own *)c->g->own)->text, text, n);
    tell_content(c, type, "delta", lmf_json_stringn(text, n));
}

static void greeting(lmf_candidate *c)
{
    own *o = c->g->own;
    tell(c->g, "response.created", json_pack("{s:o}", "response", told(o, "in_progress", o->output)));
    tell(c->g, "response.in_progress", json_pack("{s:o}", "response", told(o, "in_progress", o->output)));
}

static void note_logprobs(own *o, const json_t *logprobs)
{
    if (logprobs && !o->logprobs)
        o->logprobs = json_array();
    if (logprobs)
        json_array_extend(o->logprobs, (json_t *)(uintptr_t)logprobs);
}

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    own *o = c->g->own;
    if (c->block != TEXT)
        open_item(c, TEXT, NULL);
    note_logprobs(o, logprobs);
    o->fresh = logprobs;
    grow(c, "response.output_text.delta", text, n);
    json_decref(logprobs);
    o->fresh = NULL;
}

static void thought(lmf_candidate *c, const char *text, size_t n)
{
    if (c->block != THOUGHT)
        open_item(c, THOUGHT, NULL);
    grow(c, "response.reasoning_text.delta", text, n);
}

static void call(lmf_candidate *c, lmf_tool_piece *p)
{
    if (p->name)
        open_item(c, CALL, p->name);
    else
        grow(c, "response.function_call_arguments.delta", p->arguments, p->n);
}

static void finish(lmf_candidate *c, json_t *logprobs)
{
    const char *status = status_of(c);
    if (c->block == TEXT)
        note_logprobs(c->g->own, logprobs);
    json_decref(logprobs);
    if (c->block == NONE && c->n_blocks == 0)
        open_item(c, TEXT, NULL); /* an answer without a word */
    close_item(c, status);
    tell(c->g, strcmp(status, "completed") ? "response.incomplete" : "response.completed", json_pack("{s:o}", "response",
                                                                                                  ended(c->g, status)));
}

static void broken(lmf_generation *g, const lmf_fault *f)
{
    own *o = g->own;
    json_t *j = told(o, "failed", o->output);
    if (j)
        json_object_set_new(j, "error", json_pack("{s:s, s:o}", "code", f->status >= 500 ? "server_error" : "invalid_prompt", "message",
                                                  lmf_json_string(f->message)));
    tell(g, "response.failed", json_pack("{s:o}", "response", j));
}

static void clear(lmf_generation *g)
{
    own *o = g->own;
    if (!o)
        return;
    json_decref(o->response);
    json_decref(o->messages);
    json_decref(o->output);
    json_decref(o->name);
    json_decref(o->logprobs);
    lmf_buf_clear(&o->text);
    lmf_delete(g->server->ctx, o);
}

static const lmf_shape shape = { .id_prefix = "resp_", .reply = reply, .greeting = greeting, .piece = piece, .thought = thought,
                                 .call = call, .finish = finish, .broken = broken, .clear = clear };

/* ---- questions ---- */

static bool is_type(const json_t *item, const char *type)
{
    const char *is = json_string_value(json_object_get(item, "type"));
    return is && strcmp(is, type) == 0;
}

/* Content as parts of text behind those that are there. */
static bool add_parts(json_t *parts, json_t *v, size_t i, lmf_fault *f)
{
    if (json_is_string(v))
        return lmf__append(parts, json_pack("{s:s, s:O}", "type", "text", "text", v), f);
    if (!json_is_array(v))
        return lmf__refuse(f, 400, "input", NULL, "input[%zu] must hold a text or a list of parts", i);
    for (size_t k = 0; k < json_array_size(v); k++) {
        const json_t *part = json_array_get(v, k);
        json_t *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!json_is_string(text) || !(is_type(part, "input_text") || is_type(part, "output_text") || is_type(part, "text")))
            return lmf__refuse(f, 400, "input", NULL, "input[%zu]: a part of the type \"%.30s\" can't be read by this model; "
                               "input_text can", i, type ? type : "");
        if (!lmf__append(parts, json_pack("{s:s, s:O}", "type", "text", "text", text), f))
            return false;
    }
    return true;
}

static bool add_call(json_t *messages, const json_t *item, size_t i, lmf_fault *f)
{
    json_t *id = json_object_get(item, "call_id"), *name = json_object_get(item, "name"), *arguments = json_object_get(item, "arguments");
    if (!json_is_string(id) || !json_is_string(name) || !json_is_string(arguments))
        return lmf__refuse(f, 400, "input", NULL, "input[%zu]: a function_call has a call_id, a name and arguments, each a text", i);
    json_t *m = lmf__message_of(messages, "assistant", f);
    json_t *calls = json_object_get(m, "tool_calls");
    if (m && !calls && lmf__put(m, "tool_calls", json_array(), f))
        calls = json_object_get(m, "tool_calls");
    return calls && lmf__append(calls, json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function", "name", name,
                                                 "arguments", arguments), f);
}

/* Whether a call with that id was made before. */
static bool was_called(const json_t *messages, const json_t *id)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++)
            if (json_equal(json_object_get(json_array_get(calls, k), "id"), id))
                return true;
    }
    return false;
}

static bool add_result(json_t *messages, const json_t *item, size_t i, lmf_fault *f)
{
    json_t *id = json_object_get(item, "call_id"), *parts = json_array();
    if (!json_is_string(id) || !was_called(messages, id)) {
        json_decref(parts);
        return lmf__refuse(f, 400, "input", NULL, "input[%zu] is the output of no function_call before it", i);
    }
    return lmf__append(messages, json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", id, "content", parts), f) &&
           add_parts(parts, json_object_get(item, "output"), i, f);
}

/* What was thought, where it is given in plain text. */
static bool add_thought(json_t *messages, const json_t *item, lmf_fault *f)
{
    json_t *text = json_object_get(json_array_get(json_object_get(item, "content"), 0), "text");
    json_t *m = json_is_string(text) ? lmf__message_of(messages, "assistant", f) : NULL;
    return !json_is_string(text) || (m && lmf__put(m, "reasoning_content", json_incref(text), f));
}

static bool add_item(json_t *messages, const json_t *item, size_t i, lmf_fault *f)
{
    const char *role = json_string_value(json_object_get(item, "role")), *type = json_string_value(json_object_get(item, "type"));
    if (is_type(item, "function_call"))
        return add_call(messages, item, i, f);
    if (is_type(item, "function_call_output"))
        return add_result(messages, item, i, f);
    if (is_type(item, "reasoning"))
        return add_thought(messages, item, f);
    if (!json_is_object(item) || (type && strcmp(type, "message")))
        return lmf__refuse(f, 400, "input", NULL, "input[%zu]: an item of the type \"%.30s\" is not supported by this server", i,
                           type ? type : "");
    if (!role || (strcmp(role, "user") && strcmp(role, "assistant") && strcmp(role, "system") && strcmp(role, "developer")))
        return lmf__refuse(f, 400, "input", NULL, "input[%zu] must have a role: user, assistant, system or developer", i);
    json_t *m = lmf__message_of(messages, role, f);
    return m && add_parts(json_object_get(m, "content"), json_object_get(item, "content"), i, f);
}

static bool add_answer(json_t *messages, const json_t *output, lmf_fault *f)
{
    for (size_t i = 0; i < json_array_size(output); i++)
        if (!add_item(messages, json_array_get(output, i), i, f))
            return false;
    return true;
}

/* The conversation so far, and what the body adds. */
static json_t *conversation(lmf_exchange *x, const json_t *body, lmf_fault *f)
{
    lmf_server *s = x->server;
    const json_t *before = json_object_get(body, "previous_response_id");
    json_t *input = json_object_get(body, "input"), *messages = NULL;
    if (before && !json_is_null(before)) {
        if (!json_is_string(before))
            return lmf__refuse(f, 400, "previous_response_id", NULL, "previous_response_id must be a text"), NULL;
        lmf_status status = lmf_store_get(s->store, x->tenant->name, json_string_value(before), lmf__now_unix(), NULL, &messages);
        if (status == LMF_E_NOT_FOUND)
            return lmf__refuse(f, 400, "previous_response_id", "previous_response_not_found", "the response \"%.80s\" is not kept here; "
                               "they are for 30 days, where \"store\" is not false", json_string_value(before)), NULL;
        if (status)
            return lmf__refuse_status(f, s->ctx, status, "previous_response_id"), NULL;
    }
    messages = messages ? messages : json_array();
    bool good = true;
    if (json_is_string(input) && json_string_length(input))
        good = lmf__say(messages, "user", json_incref(input), f);
    else if (!json_is_array(input) || json_array_size(input) == 0)
        good = lmf__refuse(f, 400, "input", NULL, "input must be a text or a list of items, and not empty");
    for (size_t i = 0; good && i < json_array_size(input); i++)
        good = add_item(messages, json_array_get(input, i), i, f);
    if (!good) {
        json_decref(messages);
        return NULL;
    }
    return messages;
}

static bool add_tools(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *tools = json_object_get(body, "tools"), *choice = json_object_get(body, "tool_choice");
    json_t *list = json_array(), *name = json_object_get(choice, "name");
    if (!lmf__put(to, "tools", list, f))
        return false;
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return lmf__refuse(f, 400, "tools", NULL, "tools must be a list");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(tool, "type"));
        json_t *function = json_object();
        if (!is_type(tool, "function")) {
            json_decref(function);
            return lmf__refuse(f, 400, "tools", NULL, "tools[%zu] is of the type \"%.40s\"; this server runs no tools of its own, and "
                               "takes functions", i, type ? type : "");
        }
        if (!lmf__append(list, json_pack("{s:s, s:o}", "type", "function", "function", function), f) ||
            !lmf__carry(tool, "name", function, "name", f) || !lmf__carry(tool, "description", function, "description", f) ||
            !lmf__carry(tool, "parameters", function, "parameters", f))
            return false;
    }
    if (json_is_object(choice) && is_type(choice, "function") && json_is_string(name))
        return lmf__put(to, "tool_choice", json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name", name), f);
    if (json_is_object(choice))
        return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice must be auto, none, required, or a function with its name");
    return lmf__carry(body, "tool_choice", to, "tool_choice", f);
}

static bool add_format(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *text = json_object_get(body, "text"), *format = json_object_get(text, "format");
    json_t *schema = json_object_get(format, "schema");
    if (text && !json_is_null(text) && !json_is_object(text))
        return lmf__refuse(f, 400, "text", NULL, "text must be an object");
    if (!format || json_is_null(format) || is_type(format, "text"))
        return true;
    if (is_type(format, "json_object"))
        return lmf__put(to, "response_format", json_pack("{s:s}", "type", "json_object"), f);
    if (is_type(format, "json_schema") && json_is_object(schema))
        return lmf__put_schema(to, schema, f);
    return lmf__refuse(f, 400, "text", NULL, "text.format must have the type text, json_object, or json_schema with a schema");
}

/* Log-probabilities come where they are included; items that nobody makes here are refused. */
static bool add_include(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *include = json_object_get(body, "include");
    if (include && !json_is_null(include) && !json_is_array(include))
        return lmf__refuse(f, 400, "include", NULL, "include must be a list");
    for (size_t i = 0; i < json_array_size(include); i++) {
        const char *what = json_string_value(json_array_get(include, i));
        if (what && strcmp(what, "message.output_text.logprobs") == 0) {
            if (!lmf__put(to, "logprobs", json_true(), f))
                return false;
        } else if (!what || strcmp(what, "reasoning.encrypted_content")) { /* what is thought comes in plain text */
            return lmf__refuse(f, 400, "include", NULL, "include: \"%.60s\" is not supported by this server", what ? what : "?");
        }
    }
    return true;
}

static bool add_reasoning(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "reasoning"), *effort = json_object_get(v, "effort");
    if (v && !json_is_null(v) && !json_is_object(v))
        return lmf__refuse(f, 400, "reasoning", NULL, "reasoning must be an object");
    if (effort && !json_is_null(effort) && !json_is_string(effort))
        return lmf__refuse(f, 400, "reasoning", NULL, "reasoning.effort must be a text");
    if (json_is_string(effort) && strcmp(json_string_value(effort), "none") == 0)
        return lmf__put(to, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", 0), f);
    return true;
}

/* The body in the form of /v1/chat/completions, with the messages behind the instructions. NULL and what is wrong. */
static json_t *translate(const json_t *body, json_t *messages, lmf_fault *f)
{
    static const char *const refused[] = { "background", "conversation", "prompt", "context_management", "max_tool_calls",
                                           "moderation", NULL };
    static const char *const same[] = { "model", "temperature", "top_p", "stream", "parallel_tool_calls", "top_logprobs", "top_k", "min_p",
                                        "repetition_penalty", "seed", "stop", NULL };
    const json_t *truncation = json_object_get(body, "truncation"), *most = json_object_get(body, "max_output_tokens");
    json_t *instructions = json_object_get(body, "instructions"), *to = json_object(), *all = json_array();
    bool good = lmf__put(to, "messages", all, f) && lmf__request_refuse(body, refused, f);
    if (good && instructions && !json_is_null(instructions) && !json_is_string(instructions))
        good = lmf__refuse(f, 400, "instructions", NULL, "instructions must be a text");
    if (good && json_string_length(instructions))
        good = lmf__append(all, json_pack("{s:s, s:O}", "role", "system", "content", instructions), f);
    if (good && json_array_extend(all, messages))
        good = lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    for (const char *const *name = same; good && *name; name++)
        good = lmf__carry(body, *name, to, *name, f);
    if (good && truncation && !json_is_null(truncation) &&
        !(json_is_string(truncation) && strcmp(json_string_value(truncation), "disabled") == 0))
        good = lmf__refuse(f, 400, "truncation", NULL, "truncation is not supported by this server; disabled is");
    int64_t n = 0;
    if (good && most && !json_is_null(most))
        good = lmf__param_int(most, "max_output_tokens", 1, INT32_MAX, &n, f) && lmf__put(to, "max_tokens", json_integer(n), f);
    good = good && add_tools(body, to, f) && add_format(body, to, f) && add_include(body, to, f) && add_reasoning(body, to, f);
    if (good)
        return to;
    json_decref(to);
    return NULL;
}

/* A member of the body as it came, or what stands for it. */
static json_t *echo(const json_t *body, const char *name, json_t *otherwise)
{
    json_t *v = json_object_get(body, name);
    if (!v || json_is_null(v))
        return otherwise;
    json_decref(otherwise);
    return json_incref(v);
}

/* What is told of the response from its beginning on, and what is kept of it. Takes messages. */
static bool begin(lmf_generation *g, const json_t *body, json_t *messages, lmf_fault *f)
{
    const json_t *store = json_object_get(body, "store");
    own *o = g->own = lmf_new(g->server->ctx, own);
    if (!o) {
        json_decref(messages);
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    }
    *o = (own){ .messages = messages, .output = json_array(), .keeps = !json_is_false(store) };
    lmf_buf_init(&o->text, g->server->ctx, (size_t)1 << 24);
    if (store && !json_is_null(store) && !json_is_boolean(store))
        return lmf__refuse(f, 400, "store", NULL, "store must be true or false");
    o->response = json_pack("{s:s, s:s, s:I, s:s, s:n, s:n, s:o, s:o, s:s, s:b, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:s, s:n, s:o}",
                            "id", g->id, "object", "response", "created_at", (json_int_t)g->created, "status", "in_progress", "error",
                            "incomplete_details", "instructions", echo(body, "instructions", json_null()), "max_output_tokens",
                            echo(body, "max_output_tokens", json_null()), "model", g->r.model, "parallel_tool_calls",
                            !json_is_false(json_object_get(body, "parallel_tool_calls")), "previous_response_id",
                            echo(body, "previous_response_id", json_null()), "reasoning",
                            echo(body, "reasoning", json_pack("{s:n, s:n}", "effort", "summary")), "store", o->keeps, "temperature",
                            json_real(g->r.temperature), "text", echo(body, "text", json_pack("{s:{s:s}}", "format", "type", "text")),
                            "tool_choice", echo(body, "tool_choice", json_string("auto")), "tools", echo(body, "tools", json_array()),
                            "top_p", json_real(g->r.top_p), "truncation", "disabled", "user", "metadata",
                            echo(body, "metadata", json_object()));
    return (o->response && o->output) || lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
}

static const lmf_param read_by[] = { { "logprobs", LMF_PARAM_BOOL, offsetof(lmf_request, logprobs), 0, 0 },
                                     { "top_logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP }, { 0 } };

static bool go_on(lmf_generation *g, lmf_fault *f)
{
    lmf_ids ids;
    if (!lmf__params_read(g->body, read_by, &g->r, f) || !lmf__tools_read(g->body, &g->r.wish, f))
        return false;
    if (g->r.n_top && !g->r.logprobs)
        return lmf__refuse(f, 400, "top_logprobs", NULL, "top_logprobs goes with include: [\"message.output_text.logprobs\"]");
    g->with_tools = g->r.wish.tools != NULL;
    lmf_ids_init(&ids, g->server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = lmf__prompt_chat(g->x, g->body, g->with_tools, &ids, f) && lmf__generation_add_prompt(g, ids.data, ids.n, f) &&
                lmf__generation_start(g, f);
    lmf_ids_clear(&ids);
    return good;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    json_t *body = lmf__body_parse(x, &f), *messages = body ? conversation(x, body, &f) : NULL;
    json_t *chat = messages ? translate(body, messages, &f) : NULL;
    lmf_generation *g = chat ? lmf__generation_create(x, &shape, chat, &f) : NULL;
    if (!g)
        json_decref(messages);
    if (!g || !begin(g, body, messages, &f) || !go_on(g, &f))
        lmf__generation_refuse(x, g, &f);
    json_decref(body);
}

/* ---- those that are kept ---- */

static void kept(lmf_exchange *x, bool removes)
{
    char id[96];
    lmf_fault f;
    json_t *response = NULL;
    lmf_server *s = x->server;
    snprintf(id, sizeof id, "%.*s", (int)strcspn(x->path_rest, "?#"), x->path_rest);
    lmf_status status = removes ? lmf_store_remove(s->store, x->tenant->name, id)
                                : lmf_store_get(s->store, x->tenant->name, id, lmf__now_unix(), &response, NULL);
    if (status) {
        lmf__refuse_status(&f, s->ctx, status, NULL);
        f.status = status == LMF_E_NOT_FOUND ? 404 : f.status;
        lmf__reply_fault(x, &f);
        return;
    }
    lmf__reply_json(x, 200, removes ? json_pack("{s:s, s:s, s:b}", "id", id, "object", "response", "deleted", 1) : response);
}

static void get(lmf_exchange *x) { kept(x, false); }
static void forget(lmf_exchange *x) { kept(x, true); }

static const lmf_param described[] = { { "temperature", LMF_PARAM_NUMBER, 0, 0, 2 }, { "top_p", LMF_PARAM_NUMBER, 0, 0, 1 },
                                       { "top_logprobs", LMF_PARAM_INT, 0, 0, LMF_JOB_MAX_TOP },
                                       { "max_output_tokens", LMF_PARAM_INT, 0, 1, INT32_MAX }, { "stream", LMF_PARAM_BOOL, 0, 0, 0 },
                                       { "store", LMF_PARAM_BOOL, 0, 0, 0 }, { "parallel_tool_calls", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
static const lmf_param *const params[] = { described, NULL };

const lmf_endpoint lmf_endpoint_responses = { "POST", "/v1/responses", run, "An answer as a list of items, to go on from",
    .params = params, .required = "input",
    .members = "\"model\":{\"type\":[\"string\",\"null\"]},\"input\":{\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"array\","
               "\"minItems\":1,\"items\":{\"type\":\"object\"}}]},\"instructions\":{\"type\":[\"string\",\"null\"]},\"tools\":{\"type\":["
               "\"array\",\"null\"],\"items\":{\"type\":\"object\",\"required\":[\"type\",\"name\"]}},\"text\":{\"type\":[\"object\","
               "\"null\"]},\"include\":{\"type\":[\"array\",\"null\"]},\"reasoning\":{\"type\":[\"object\",\"null\"]},"
               "\"previous_response_id\":{\"type\":[\"string\",\"null\"]}" };
const lmf_endpoint lmf_endpoint_response = { "GET", "/v1/responses/", get, "One that was kept", .takes_rest = true, .rest = "response" };
const lmf_endpoint lmf_endpoint_response_delete = { "DELETE", "/v1/responses/", forget, "It is kept no longer", .takes_rest = true,
                                                    .rest = "response" };
