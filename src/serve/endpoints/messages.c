/* SPDX-License-Identifier: Apache-2.0 */
/* Anthropic's Messages: answers are lists of blocks, of text, of what is thought, of a call. Facts: the API's reference at
 * docs.anthropic.com and the types of its Python client. */
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/prompt.h"
#include "serve/tools.h"
#include "serve/translate.h"

/* ---- answers ---- */

static json_t *fault_form(const lmf_fault *f)
{
    const char *type = f->status == 401   ? "authentication_error"
                       : f->status == 403 ? "permission_error"
                       : f->status == 404 ? "not_found_error"
                       : f->status == 413 ? "request_too_large"
                       : f->status == 429 ? "rate_limit_error"
                       : f->status == 503 ? "overloaded_error"
                       : f->status >= 500 ? "api_error"
                                          : "invalid_request_error";
    return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type", type, "message", lmf_json_string(f->message));
}

/* What was found computed is counted apart. */
static json_t *usage(const lmf_generation *g)
{
    lmf_usage u = lmf__generation_usage(g);
    return json_pack("{s:I, s:I, s:I, s:I, s:{s:I}}", "input_tokens", (json_int_t)(u.prompt - u.cached), "cache_creation_input_tokens",
                     (json_int_t)0, "cache_read_input_tokens", (json_int_t)u.cached, "output_tokens", (json_int_t)u.answer,
                     "output_tokens_details", "thinking_tokens", (json_int_t)u.thought);
}

static const char *stop_reason(const lmf_candidate *c)
{
    if (strcmp(c->finish, "tool_calls") == 0)
        return "tool_use";
    if (strcmp(c->finish, "length") == 0)
        return "max_tokens";
    if (strcmp(c->finish, "content_filter") == 0)
        return "refusal";
    return c->stream.i_stop >= 0 ? "stop_sequence" : "end_turn";
}

static const char *stop_text(const lmf_candidate *c)
{
    return c->finish && strcmp(c->finish, "stop") == 0 && c->stream.i_stop >= 0 ? c->g->r.stop[c->stream.i_stop] : NULL;
}

/* Takes content. */
static json_t *message(lmf_candidate *c, json_t *content)
{
    lmf_generation *g = c->g;
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", g->id, "type", "message", "role", "assistant", "model", g->r.model,
                     "content", content, "stop_reason", c->finish ? stop_reason(c) : NULL, "stop_sequence", stop_text(c), "usage",
                     usage(g));
}

/* The arguments that a model wrote: held to a schema, so they parse; what ended at the limit may not, and is told as it stands. */
static json_t *input_form(const json_t *arguments)
{
    json_t *input = json_loadb(json_string_value(arguments), json_string_length(arguments), 0, NULL);
    return json_is_object(input) ? input : (json_decref(input), json_pack("{s:O}", "partial_json", arguments));
}

static json_t *reply(lmf_generation *g)
{
    lmf_candidate *c = &g->choice[0];
    json_t *content = json_array();
    size_t n, n_thought;
    char id[64];
    const char *text = lmf__candidate_text(c, &n), *thought = lmf__candidate_thought(c, &n_thought);
    if (c->thought_once)
        json_array_append_new(content, json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking",
                                                 lmf_json_stringn(thought, n_thought), "signature", ""));
    if (n)
        json_array_append_new(content, json_pack("{s:s, s:o}", "type", "text", "text", lmf_json_stringn(text, n)));
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        const json_t *call = json_array_get(c->calls, i);
        lmf__server_id(g->server, "toolu_", id, sizeof id);
        json_array_append_new(content, json_pack("{s:s, s:s, s:O, s:o}", "type", "tool_use", "id", id, "name",
                                                 json_object_get(call, "name"), "input",
                                                 input_form(json_object_get(call, "arguments"))));
    }
    return message(c, content);
}

enum { NONE, TEXT, THINKING, CALL };

static void close_block(lmf_candidate *c)
{
    if (c->block != NONE)
        lmf__stream_event(c->g->x, "content_block_stop", json_pack("{s:s, s:i}", "type", "content_block_stop", "index", c->n_blocks - 1));
    c->block = NONE;
}

/* Takes block. */
static void open_block(lmf_candidate *c, int32_t kind, json_t *block)
{
    close_block(c);
    c->block = kind;
    lmf__stream_event(c->g->x, "content_block_start",
                      json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", c->n_blocks++, "content_block", block));
}

static void delta(lmf_candidate *c, const char *type, const char *member, const char *text, size_t n)
{
    lmf__stream_event(c->g->x, "content_block_delta",
                      json_pack("{s:s, s:i, s:{s:s, s:o}}", "type", "content_block_delta", "index", c->n_blocks - 1, "delta", "type", type,
                                member, lmf_json_stringn(text, n)));
}

static void greeting(lmf_candidate *c)
{
    lmf__stream_event(c->g->x, "message_start", json_pack("{s:s, s:o}", "type", "message_start", "message", message(c, json_array())));
}

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    json_decref(logprobs);
    if (c->block != TEXT)
        open_block(c, TEXT, json_pack("{s:s, s:s}", "type", "text", "text", ""));
    delta(c, "text_delta", "text", text, n);
}

static void thought(lmf_candidate *c, const char *text, size_t n)
{
    if (c->block != THINKING)
        open_block(c, THINKING, json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""));
    delta(c, "thinking_delta", "thinking", text, n);
}

static void call(lmf_candidate *c, lmf_tool_piece *p)
{
    char id[64];
    if (!p->name) {
        delta(c, "input_json_delta", "partial_json", p->arguments, p->n);
        return;
    }
    lmf__server_id(c->g->server, "toolu_", id, sizeof id);
    open_block(c, CALL, json_pack("{s:s, s:s, s:o, s:{}}", "type", "tool_use", "id", id, "name", p->name, "input"));
}

static void finish(lmf_candidate *c, json_t *logprobs)
{
    json_decref(logprobs);
    close_block(c);
    lmf__stream_event(c->g->x, "message_delta",
                      json_pack("{s:s, s:{s:s, s:s?}, s:o}", "type", "message_delta", "delta", "stop_reason", stop_reason(c),
                                "stop_sequence", stop_text(c), "usage", usage(c->g)));
    lmf__stream_event(c->g->x, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

static void broken(lmf_generation *g, const lmf_fault *f) { lmf__stream_event(g->x, "error", fault_form(f)); }

static const lmf_shape shape = { .id_prefix = "msg_", .reply = reply, .greeting = greeting, .piece = piece, .thought = thought,
                                 .call = call, .finish = finish, .broken = broken };

/* ---- questions ---- */

typedef struct talk {
    lmf_ctx *ctx;
    json_t  *messages, *open; /* open: ids of calls whose results are to come */
} talk;

typedef struct place { char text[96]; } place; /* "messages[2].content[1]" */

static place place_of(size_t i, size_t k)
{
    place p;
    snprintf(p.text, sizeof p.text, "messages[%zu].content[%zu]", i, k);
    return p;
}

/* A text, or a list of blocks of it, as parts behind those that are there. */
static bool add_parts(json_t *parts, json_t *v, const char *param, lmf_fault *f)
{
    if (json_is_string(v))
        return lmf__append(parts, json_pack("{s:s, s:O}", "type", "text", "text", v), f);
    if (!json_is_array(v))
        return lmf__refuse(f, 400, param, NULL, "%s must be a text or a list of blocks", param);
    for (size_t i = 0; i < json_array_size(v); i++) {
        json_t *text = json_object_get(json_array_get(v, i), "text");
        const char *type = json_string_value(json_object_get(json_array_get(v, i), "type"));
        if (!type || strcmp(type, "text") || !json_is_string(text))
            return lmf__refuse(f, 400, param, NULL, "%s: a block of the type \"%.20s\" can't be read by this model here; text can", param,
                               type ? type : "");
        if (!lmf__append(parts, json_pack("{s:s, s:O}", "type", "text", "text", text), f))
            return false;
    }
    return true;
}

/* The result of a call that the message before made. */
static bool add_result(talk *t, const json_t *block, const char *param, lmf_fault *f)
{
    json_t *id = json_object_get(block, "tool_use_id"), *content = json_object_get(block, "content"), *parts = json_array();
    const char *key = json_string_value(id);
    if (!key || json_object_del(t->open, key)) {
        json_decref(parts);
        return lmf__refuse(f, 400, param, NULL, "%s is the result of no tool_use in the message before it", param);
    }
    if (!lmf__append(t->messages, json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", id, "content", parts), f))
        return false;
    if (json_is_true(json_object_get(block, "is_error")) &&
        !lmf__append(parts, json_pack("{s:s, s:s}", "type", "text", "text", "Error: "), f))
        return false;
    return !content || json_is_null(content) || add_parts(parts, content, param, f);
}

/* A call that the assistant made; its id is open until its result comes. */
static bool add_call(talk *t, json_t *message, const json_t *block, const char *param, lmf_fault *f)
{
    json_t *id = json_object_get(block, "id"), *name = json_object_get(block, "name"), *input = json_object_get(block, "input"), *calls;
    if (!json_is_string(id) || !json_is_string(name) || !json_is_object(input))
        return lmf__refuse(f, 400, param, NULL, "%s: a tool_use has an id, a name, and an input that is an object", param);
    if (json_object_get(t->open, json_string_value(id)))
        return lmf__refuse(f, 400, param, NULL, "%s: two calls of a message have the same id", param);
    if (!(calls = json_object_get(message, "tool_calls")) && lmf__put(message, "tool_calls", json_array(), f))
        calls = json_object_get(message, "tool_calls");
    return calls && lmf__put(t->open, json_string_value(id), json_true(), f) &&
           lmf__append(calls, json_pack("{s:O, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function", "name", name, "arguments",
                                        input), f);
}

static bool add_thought(talk *t, json_t *message, const json_t *block, const char *param, lmf_fault *f)
{
    const json_t *text = json_object_get(block, "thinking");
    if (!json_is_string(text))
        return lmf__refuse(f, 400, param, NULL, "%s: a thinking block has the text thinking", param);
    return lmf__put(message, "reasoning_content", lmf__joined(t->ctx, json_object_get(message, "reasoning_content"), text), f);
}

static bool add_block(talk *t, const char *role, const json_t *block, size_t i, size_t k, lmf_fault *f)
{
    place at = place_of(i, k);
    const char *type = json_string_value(json_object_get(block, "type"));
    json_t *text = json_object_get(block, "text");
    bool user = strcmp(role, "user") == 0;
    if (!type)
        return lmf__refuse(f, 400, at.text, NULL, "%s must be an object with a type", at.text);
    if (strcmp(type, "text") == 0)
        return json_is_string(text) ? lmf__say(t->messages, role, json_incref(text), f)
                                    : lmf__refuse(f, 400, at.text, NULL, "%s: a text block has a text", at.text);
    if (user && strcmp(type, "tool_result") == 0)
        return add_result(t, block, at.text, f);
    json_t *message = user ? NULL : lmf__message_of(t->messages, role, f);
    if (message && strcmp(type, "tool_use") == 0)
        return add_call(t, message, block, at.text, f);
    if (message && strcmp(type, "thinking") == 0)
        return add_thought(t, message, block, at.text, f);
    return lmf__refuse(f, 400, at.text, NULL, "%s: a block of the type \"%.20s\" of the %s can't be read by this model", at.text, type,
                       role);
}

static bool add_message(talk *t, const json_t *m, size_t i, lmf_fault *f)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    json_t *content = json_object_get(m, "content");
    place at = place_of(i, 0);
    *strrchr(at.text, '[') = 0;
    if (!role || (strcmp(role, "user") && strcmp(role, "assistant") && strcmp(role, "system")))
        return lmf__refuse(f, 400, "messages", NULL, "messages[%zu] must be an object with a role: user, assistant or system", i);
    if (strcmp(role, "system") == 0) {
        json_t *said = lmf__message_of(t->messages, role, f);
        return said && add_parts(json_object_get(said, "content"), content, at.text, f);
    }
    if (json_is_string(content) && json_string_length(content)) {
        if (!lmf__say(t->messages, role, json_incref(content), f))
            return false;
    } else if (!json_is_array(content) || json_array_size(content) == 0) {
        return lmf__refuse(f, 400, at.text, NULL, "%s must be a text or a list of blocks, and not empty", at.text);
    }
    for (size_t k = 0; k < json_array_size(content); k++)
        if (!add_block(t, role, json_array_get(content, k), i, k, f))
            return false;
    if (strcmp(role, "user") == 0 && json_object_size(t->open))
        return lmf__refuse(f, 400, at.text, NULL, "%s lacks the result of the call \"%.60s\"", at.text,
                           json_object_iter_key(json_object_iter(t->open)));
    return true;
}

static bool add_messages(lmf_ctx *ctx, const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *list = json_object_get(body, "messages");
    json_t *system = json_object_get(body, "system"), *messages = json_array();
    talk t = { ctx, messages, json_object() };
    bool good = lmf__put(to, "messages", messages, f);
    if (good && (!json_is_array(list) || json_array_size(list) == 0))
        good = lmf__refuse(f, 400, "messages", NULL, "messages must be a list of messages, and not empty");
    if (good && system && !json_is_null(system) && json_string_length(system) + json_array_size(system)) {
        json_t *m = lmf__message_of(messages, "system", f);
        good = m && add_parts(json_object_get(m, "content"), system, "system", f);
    } else if (good && system && !json_is_null(system) && !json_is_string(system) && !json_is_array(system)) {
        good = lmf__refuse(f, 400, "system", NULL, "system must be a text or a list of blocks");
    }
    for (size_t i = 0; good && i < json_array_size(list); i++)
        good = add_message(&t, json_array_get(list, i), i, f);
    const char *last = json_string_value(json_object_get(json_array_get(list, json_array_size(list) - 1), "role"));
    if (good && last && strcmp(last, "user"))
        good = lmf__refuse(f, 400, "messages", NULL, "the last message must be the user's; an answer that was begun is not gone on with");
    json_decref(t.open);
    return good;
}

static bool add_tools(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *tools = json_object_get(body, "tools");
    json_t *list = json_array();
    if (!lmf__put(to, "tools", list, f))
        return false;
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return lmf__refuse(f, 400, "tools", NULL, "tools must be a list");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *type = json_object_get(tool, "type");
        json_t *name = json_object_get(tool, "name"), *schema = json_object_get(tool, "input_schema");
        json_t *function = json_object();
        if (type && !json_is_null(type) && (!json_is_string(type) || strcmp(json_string_value(type), "custom"))) {
            json_decref(function);
            return lmf__refuse(f, 400, "tools", NULL, "tools[%zu] is of the type \"%.40s\"; this server runs no tools of its own, and "
                               "takes custom ones", i, json_is_string(type) ? json_string_value(type) : "?");
        }
        if (!json_is_string(name) || !json_is_object(schema)) {
            json_decref(function);
            return lmf__refuse(f, 400, "tools", NULL, "tools[%zu] must have a name, and an input_schema that is an object", i);
        }
        if (!lmf__append(list, json_pack("{s:s, s:o}", "type", "function", "function", function), f) ||
            !lmf__carry(tool, "name", function, "name", f) || !lmf__carry(tool, "description", function, "description", f) ||
            !lmf__carry(tool, "input_schema", function, "parameters", f))
            return false;
    }
    return true;
}

static bool add_choice(const json_t *body, json_t *to, lmf_fault *f)
{
    static const char *const words[][2] = { { "auto", "auto" }, { "any", "required" }, { "none", "none" } };
    const json_t *choice = json_object_get(body, "tool_choice"), *single = json_object_get(choice, "disable_parallel_tool_use");
    const char *type = json_string_value(json_object_get(choice, "type"));
    json_t *name = json_object_get(choice, "name");
    if (!choice || json_is_null(choice))
        return true;
    if (single && !json_is_null(single) && !json_is_boolean(single))
        return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice.disable_parallel_tool_use must be true or false");
    if (json_is_true(single) && !lmf__put(to, "parallel_tool_calls", json_false(), f))
        return false;
    for (size_t i = 0; type && i < 3; i++)
        if (strcmp(type, words[i][0]) == 0)
            return lmf__put(to, "tool_choice", json_string(words[i][1]), f);
    if (type && strcmp(type, "tool") == 0 && json_is_string(name))
        return lmf__put(to, "tool_choice", json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name", name), f);
    return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice must have the type auto, any, none, or tool with a name");
}

static bool add_format(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *format = json_object_get(body, "output_format"), *config = json_object_get(body, "output_config");
    const char *param = "output_format", *type;
    if (!format || json_is_null(format))
        format = json_object_get(config, "format"), param = "output_config";
    if (config && !json_is_null(config) && !json_is_object(config))
        return lmf__refuse(f, 400, "output_config", NULL, "output_config must be an object");
    if (!format || json_is_null(format))
        return true;
    json_t *schema = json_object_get(format, "schema");
    type = json_string_value(json_object_get(format, "type"));
    if (!type || strcmp(type, "json_schema") || !json_is_object(schema))
        return lmf__refuse(f, 400, param, NULL, "%s must have the type json_schema and a schema", param);
    return lmf__put_schema(to, schema, f);
}

/* Whether it is to think is the template's to say; how long is the model's. */
static bool add_thinking(const lmf_server *s, const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "thinking");
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!v || json_is_null(v))
        return true;
    if (!type || (strcmp(type, "enabled") && strcmp(type, "disabled") && strcmp(type, "adaptive")))
        return lmf__refuse(f, 400, "thinking", NULL, "thinking must have the type enabled, disabled or adaptive");
    if (strcmp(type, "adaptive") == 0)
        return true;
    bool on = strcmp(type, "enabled") == 0;
    if (on && s->constraints.think_open < 0)
        return lmf__refuse(f, 400, "thinking", NULL, "this model does not think before it answers");
    return lmf__put(to, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", on), f);
}

/* The body in the form of /v1/chat/completions; NULL and what is wrong. The caller's reference. */
static json_t *translate(const lmf_server *s, const json_t *body, bool counts, lmf_fault *f)
{
    static const char *const same[] = { "model", "max_tokens", "temperature", "top_p", "top_k", "stream", NULL };
    static const char *const refused[] = { "container", "mcp_servers", "context_management", NULL };
    const json_t *most = json_object_get(body, "max_tokens"), *stops = json_object_get(body, "stop_sequences");
    json_t *to = json_object();
    bool good = to && lmf__request_refuse(body, refused, f);
    if (!to)
        lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    for (const char *const *name = same; good && *name; name++)
        good = lmf__carry(body, *name, to, *name, f);
    if (good && !counts && (!most || json_is_null(most)))
        good = lmf__refuse(f, 400, "max_tokens", NULL, "max_tokens is missing: how many tokens the answer may have");
    if (good && stops && !json_is_null(stops) && !json_is_array(stops))
        good = lmf__refuse(f, 400, "stop_sequences", NULL, "stop_sequences must be a list of texts");
    good = good && lmf__carry(body, "stop_sequences", to, "stop", f) && add_messages(s->ctx, body, to, f) && add_tools(body, to, f) &&
           add_choice(body, to, f) && add_format(body, to, f) && add_thinking(s, body, to, f);
    if (good)
        return to;
    if (strcmp(f->param, "stop") == 0)
        snprintf(f->param, sizeof f->param, "stop_sequences");
    json_decref(to);
    return NULL;
}

static void run(lmf_exchange *x)
{
    lmf_fault f;
    lmf_ids ids;
    json_t *body = lmf__body_parse(x, &f), *chat = body ? translate(x->server, body, false, &f) : NULL;
    lmf_generation *g = chat ? lmf__generation_create(x, &shape, chat, &f) : NULL;
    lmf_ids_init(&ids, x->server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = g && lmf__tools_read(g->body, &g->r.wish, &f);
    if (good)
        g->with_tools = g->r.wish.tools != NULL;
    if (!good || !lmf__prompt_chat(x, g->body, g->with_tools, &ids, &f) ||
        !lmf__generation_add_prompt(g, ids.data, ids.n, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(x, g, &f);
    lmf_ids_clear(&ids);
    json_decref(body);
}

static void count(lmf_exchange *x)
{
    lmf_fault f;
    lmf_ids ids;
    lmf_request r;
    json_t *body = lmf__body_parse(x, &f), *chat = body ? translate(x->server, body, true, &f) : NULL;
    lmf_ids_init(&ids, x->server->ctx, LMF_PROMPT_MAX_TOK);
    lmf__request_init(&r, x->server->ctx);
    if (chat && lmf__request_read(&r, x->server, chat, &f) && lmf__tools_read(chat, &r.wish, &f) &&
        lmf__prompt_chat(x, chat, r.wish.tools != NULL, &ids, &f))
        lmf__reply_json(x, 200, json_pack("{s:I}", "input_tokens", (json_int_t)ids.n));
    else
        lmf__reply_fault(x, &f);
    lmf__request_clear(&r);
    lmf_ids_clear(&ids);
    json_decref(chat);
    json_decref(body);
}

#define MEMBERS \
    "\"model\":{\"type\":[\"string\",\"null\"]},\"messages\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\"," \
    "\"required\":[\"role\",\"content\"],\"properties\":{\"role\":{\"enum\":[\"user\",\"assistant\",\"system\"]},\"content\":{\"type\":[" \
    "\"string\",\"array\"]}}}},\"system\":{\"type\":[\"string\",\"array\",\"null\"]},\"tools\":{\"type\":[\"array\",\"null\"]," \
    "\"maxItems\":128,\"items\":{\"type\":\"object\",\"required\":[\"name\",\"input_schema\"]}},\"tool_choice\":{\"type\":[" \
    "\"object\",\"null\"],\"required\":[\"type\"]},\"thinking\":{\"type\":[\"object\",\"null\"],\"required\":[\"type\"]}," \
    "\"output_config\":{\"type\":[\"object\",\"null\"]}"

static const lmf_param written[] = { { "temperature", LMF_PARAM_NUMBER, 0, 0, 2 }, { "top_p", LMF_PARAM_NUMBER, 0, 0, 1 },
                                     { "top_k", LMF_PARAM_INT, 0, -1, INT32_MAX }, { "max_tokens", LMF_PARAM_INT, 0, 1, INT32_MAX },
                                     { "stream", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } }; /* of the table that the body is read by */
static const lmf_param *const params[] = { written, NULL };

const lmf_endpoint lmf_endpoint_messages = { "POST", "/v1/messages", run, "The next message of a conversation, as Anthropic's clients ask",
    .params = params, .required = "messages max_tokens", .fault = fault_form,
    .members = MEMBERS ",\"stop_sequences\":{\"type\":[\"array\",\"null\"],\"maxItems\":16,\"items\":{\"type\":\"string\",\"minLength\":1,"
               "\"maxLength\":256}}" };
const lmf_endpoint lmf_endpoint_count_tokens = { "POST", "/v1/messages/count_tokens", count,
    "How many tokens such a conversation has", .required = "messages", .fault = fault_form, .members = MEMBERS };
