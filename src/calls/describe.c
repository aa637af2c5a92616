/* SPDX-License-Identifier: Apache-2.0 */
#include "calls/describe.h"
#include <string.h>
#include "format/json.h"

enum { MAX_TEXT = 1 << 22 };

static const lmf_tool_form own_form = { .known = true, .open = "<tool_call>", .close = "</tool_call>", .lead = "\n", .tail = "\n",
                                        .between = "\n</tool_call>\n<tool_call>\n", .arguments = "arguments" };

/* Whether the template shows a tool that may be called. */
static lmf_status shows_tools(const lmf_chat *chat, const lmf_chat_forms *forms, bool *shows)
{
    json_t *vars = json_pack("{s:[{s:s, s:s}], s:[{s:s, s:{s:s, s:s, s:{s:s, s:{}}}}]}", "messages", "role", "user", "content", "q",
                             "tools", "type", "function", "function", "name", "zqtool", "description", "zqdescription", "parameters",
                             "type", "object", "properties");
    lmf_status s = vars ? lmf_chat_check_tools(chat, forms, vars) : LMF_NO_MEMORY(chat->ctx, 64, "a conversation");
    json_decref(vars);
    *shows = !s;
    return s == LMF_E_MEMORY ? s : LMF_OK;
}

lmf_status lmf__tools_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out, bool *own)
{
    bool shows = false;
    *own = false;
    LMF_TRY(lmf_tool_form_find(chat, forms, out));
    if (!chat->source)
        return LMF_OK;
    LMF_TRY(shows_tools(chat, forms, &shows));
    *own = !shows || !out->known;
    if (*own)
        *out = own_form;
    return LMF_OK;
}

/* ---- a template that knows none ---- */

static void put_json(lmf_buf *b, const json_t *j)
{
    lmf_json_text(b->ctx, j, 0, b);
}

/* {"name", "arguments"} of a call between the marks. */
static void put_call(lmf_buf *b, const json_t *call)
{
    const json_t *function = json_object_get(call, "function"), *arguments;
    function = function ? function : call;
    arguments = json_object_get(function, "arguments");
    lmf_buf_printf(b, "%s<tool_call>\n{\"name\": ", b->n ? "\n" : "");
    put_json(b, json_object_get(function, "name"));
    lmf_buf_puts(b, ", \"arguments\": ");
    if (json_is_string(arguments))
        lmf_buf_puts(b, json_string_value(arguments));
    else
        put_json(b, arguments);
    lmf_buf_puts(b, "}\n</tool_call>");
}

static void put_content(lmf_buf *b, const json_t *content)
{
    if (json_is_string(content))
        lmf_buf_append(b, json_string_value(content), json_string_length(content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text))
            lmf_buf_append(b, json_string_value(text), json_string_length(text));
    }
}

static void put_tools(lmf_buf *b, const json_t *tools)
{
    lmf_buf_printf(b, "%sYou can call these functions:\n", b->n ? "\n\n" : "");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *tool = json_array_get(tools, i), *function = json_object_get(tool, "function");
        put_json(b, function ? function : tool);
        lmf_buf_putc(b, '\n');
    }
    lmf_buf_puts(b, "To call one, answer with its name and its arguments:\n<tool_call>\n{\"name\": ..., \"arguments\": "
        "{...}}\n</tool_call>");
}

/* A message of that text at the list's end; a user's joins a user's before it. */
static lmf_status put_message(lmf_ctx *ctx, json_t *list, const char *role, lmf_buf *text)
{
    json_t *last = json_array_get(list, json_array_size(list) - 1);
    const char *before = json_string_value(json_object_get(last, "role"));
    bool joins = last && before && strcmp(before, "user") == 0 && strcmp(role, "user") == 0;
    json_t *content = NULL;
    if (!text->status && joins) {
        lmf_buf both;
        lmf_buf_init(&both, ctx, MAX_TEXT);
        put_content(&both, json_object_get(last, "content"));
        lmf_buf_putc(&both, '\n');
        lmf_buf_append(&both, lmf_buf_str(text), text->n);
        content = both.status ? NULL : json_stringn(lmf_buf_str(&both), both.n);
        lmf_buf_clear(&both);
    } else if (!text->status) {
        content = json_stringn(lmf_buf_str(text), text->n);
    }
    if (!content || (joins ? json_object_set_new(last, "content", content)
                           : json_array_append_new(list, json_pack("{s:s, s:o}", "role", role, "content", content))))
        return LMF_FAIL(ctx, text->status == LMF_E_LIMIT ? LMF_E_LIMIT : LMF_E_MEMORY, "the conversation with its tools is too long");
    return LMF_OK;
}

static lmf_status one_message(lmf_ctx *ctx, json_t *list, json_t *m, bool after_result, lmf_buf *text)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *calls = json_object_get(m, "tool_calls");
    bool result = role && strcmp(role, "tool") == 0;
    if (result)
        lmf_buf_puts(text, "<tool_response>\n");
    put_content(text, json_object_get(m, "content"));
    if (result)
        lmf_buf_puts(text, "\n</tool_response>");
    for (size_t i = 0; i < json_array_size(calls); i++)
        put_call(text, json_array_get(calls, i));
    if (result || json_array_size(calls) || (after_result && role && strcmp(role, "user") == 0))
        return put_message(ctx, list, result ? "user" : role, text);
    return json_array_append(list, m) ? LMF_NO_MEMORY(ctx, 64, "a conversation") : LMF_OK;
}

lmf_status lmf__tools_describe(lmf_ctx *ctx, json_t *vars)
{
    json_t *messages = json_object_get(vars, "messages"), *tools = json_object_get(vars, "tools"), *list = json_array();
    const json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    bool has_system = role && strcmp(role, "system") == 0, after_result = false;
    lmf_buf text;
    lmf_status s = list ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a conversation");
    lmf_buf_init(&text, ctx, MAX_TEXT);
    if (!s && json_array_size(tools)) {
        if (has_system)
            put_content(&text, json_object_get(first, "content"));
        put_tools(&text, tools);
        s = put_message(ctx, list, "system", &text);
    } else {
        has_system = false;
    }
    for (size_t i = has_system; !s && i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        lmf_buf_truncate(&text, 0);
        s = one_message(ctx, list, m, after_result, &text);
        role = json_string_value(json_object_get(m, "role"));
        after_result = role && strcmp(role, "tool") == 0;
    }
    lmf_buf_clear(&text);
    if (!s && json_object_set(vars, "messages", list))
        s = LMF_NO_MEMORY(ctx, 64, "a conversation");
    json_decref(list);
    json_object_del(vars, "tools");
    return s;
}
