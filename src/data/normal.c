/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is given is said in one form only; nothing is guessed. A string that should be JSON and is not is refused, never passed on. */
#include <string.h>
#include "data/rows.h"
#include "text/template/template.h"

enum { MAX_TEXT_VALUES = 1 << 16 };

/* The JSON in a string; NULL: none, or not of that type. */
static json_t *parsed(lmf_ctx *ctx, const json_t *text, json_type type)
{
    size_t n = json_string_length(text), commas = 0;
    const char *p = json_string_value(text);
    for (size_t i = 0; i < n; i++)
        commas += p[i] == ',' || p[i] == '[' || p[i] == '{';
    json_t *j = NULL;
    if (n && commas < MAX_TEXT_VALUES && !lmf__row_json(ctx, p, n, &j) && json_typeof(j) == type)
        return j;
    json_decref(j);
    return NULL;
}

/* object[key], if a string, becomes the list or object that it spells. False: it spells none. */
static bool unfold(lmf_ctx *ctx, json_t *object, const char *key, json_type type)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_string(v))
        return true;
    json_t *j = parsed(ctx, v, type);
    return j && json_object_set_new(object, key, j) == 0;
}

static bool is_blank(const json_t *text)
{
    return json_is_string(text) && strspn(json_string_value(text), " \t\r\n") == json_string_length(text);
}

static void drop_null(json_t *object, const char *key)
{
    if (json_is_null(json_object_get(object, key)))
        json_object_del(object, key);
}

/* Every element of a list that is a string becomes the object that it spells. */
static bool unfold_items(lmf_ctx *ctx, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *j, *v = json_array_get(list, i);
        if (json_is_string(v) && (!(j = parsed(ctx, v, JSON_OBJECT)) || json_array_set_new(list, i, j)))
            return false;
        if (!json_is_object(json_array_get(list, i)))
            return false;
    }
    return true;
}

static lmf_status normalize_call(lmf_ctx *ctx, size_t i_message, size_t i_call, json_t *call)
{
    json_t *inner = json_object_get(call, "function"), *f = json_is_object(inner) ? inner : call;
    if (!json_is_string(json_object_get(f, "name")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: tool call %zu has no name", i_message + 1, i_call + 1);
    const json_t *a = json_object_get(f, "arguments");
    if (!a || json_is_null(a) || is_blank(a))
        return json_object_set_new(f, "arguments", json_object()) ? LMF_NO_MEMORY(ctx, 64, "a row") : LMF_OK;
    if (!unfold(ctx, f, "arguments", JSON_OBJECT) || !json_is_object(json_object_get(f, "arguments")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: the arguments of tool call %zu are no JSON object", i_message + 1, i_call + 1);
    return LMF_OK;
}

static lmf_status normalize_calls(lmf_ctx *ctx, size_t i, json_t *message)
{
    drop_null(message, "tool_calls");
    if (!unfold(ctx, message, "tool_calls", JSON_ARRAY))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: \"tool_calls\" is text that is no JSON list", i + 1);
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls)
        return LMF_OK;
    if (!json_is_array(calls) || !unfold_items(ctx, calls))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: \"tool_calls\" is no list of objects", i + 1);
    if (json_array_size(calls) == 0) /* a column that other rows need */
        return json_object_del(message, "tool_calls"), LMF_OK;
    for (size_t k = 0; k < json_array_size(calls); k++)
        LMF_TRY(normalize_call(ctx, i, k, json_array_get(calls, k)));
    return LMF_OK;
}

/* OpenAI's older form: one function_call in place of tool_calls, and results by the role function. */
static lmf_status modernize_message(lmf_ctx *ctx, size_t i, json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    drop_null(m, "tool_calls");
    if (role && !strcmp(role, "function") && json_object_set_new(m, "role", json_string("tool")))
        return LMF_NO_MEMORY(ctx, 64, "a row");
    if (!json_object_get(m, "function_call"))
        return LMF_OK;
    if (!unfold(ctx, m, "function_call", JSON_OBJECT) || !json_is_object(json_object_get(m, "function_call")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: \"function_call\" is no object", i + 1);
    if (json_object_get(m, "tool_calls"))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu holds \"function_call\" and \"tool_calls\": which of them is it?", i + 1);
    json_t *calls = json_pack("[{s:s, s:O}]", "type", "function", "function", json_object_get(m, "function_call"));
    if (!calls || json_object_set_new(m, "tool_calls", calls))
        return LMF_NO_MEMORY(ctx, 64, "a row");
    return json_object_del(m, "function_call"), LMF_OK;
}

/* weight 0 or train false: this answer is not learned; then the one form is "weight": 0. 1 and true say nothing. */
static lmf_status normalize_weight(lmf_ctx *ctx, size_t i, json_t *m)
{
    json_t *w = json_object_get(m, "weight"), *train = json_object_get(m, "train");
    const char *role = json_string_value(json_object_get(m, "role"));
    if ((!w && !json_is_boolean(train)) || !role || strcmp(role, "assistant"))
        return LMF_OK;
    bool one = w && (json_is_true(w) || (json_is_number(w) && json_number_value(w) == 1));
    bool zero = w && (json_is_false(w) || (json_is_number(w) && json_number_value(w) == 0));
    if (w && !one && !zero)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: its weight is neither 0 (not learned) nor 1", i + 1);
    zero |= json_is_false(train);
    json_object_del(m, "train");
    json_object_del(m, "weight");
    return zero && json_object_set_new(m, "weight", json_integer(0)) ? LMF_NO_MEMORY(ctx, 64, "a row") : LMF_OK;
}

/* What an answer may hold that no template shows and nobody could learn. */
static lmf_status refuse_unlearned(lmf_ctx *ctx, size_t i, const json_t *m)
{
    static const char *const keys[] = { "refusal", "audio" };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const json_t *v = json_object_get(m, keys[k]);
        if (v && !(json_is_string(v) && json_string_length(v) == 0))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu holds \"%s\", which no template shows; write into the content what the model "
                "is to say",
                            i + 1, keys[k]);
    }
    return LMF_OK;
}

/* Parts are text, as objects or plain strings; a single part may stand without its list. */
static lmf_status normalize_content(lmf_ctx *ctx, size_t i, json_t *message)
{
    json_t *content = json_object_get(message, "content");
    bool calls = json_object_get(message, "tool_calls") != NULL;
    if (json_is_null(content) || (!content && calls))
        return json_object_set_new(message, "content", json_string("")) ? LMF_NO_MEMORY(ctx, 64, "a row") : LMF_OK;
    for (size_t k = 0; k < json_array_size(content); k++) {
        json_t *part = json_array_get(content, k);
        if (json_is_string(part) && json_array_set_new(content, k, json_pack("{s:s, s:O}", "type", "text", "text", part)))
            return LMF_NO_MEMORY(ctx, 64, "a row");
        part = json_array_get(content, k);
        const char *type = json_string_value(json_object_get(part, "type"));
        drop_null(part, "image_url");
        if (type && strcmp(type, "text"))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu holds a part of the type \"%.20s\"; only text is learned", i + 1, type);
        if (!json_is_string(json_object_get(part, "text")))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu: part %zu of its content has no text", i + 1, k + 1);
        if (!type && json_object_set_new(part, "type", json_string("text")))
            return LMF_NO_MEMORY(ctx, 64, "a row");
    }
    return LMF_OK;
}

static lmf_status normalize_message(lmf_ctx *ctx, size_t i, json_t *m)
{
    static const char *const optional[] = { "name", "tool_call_id", "reasoning_content", "reasoning", "thinking", "weight", "train",
        "refusal", "function_call", "audio", NULL };
    if (!json_is_object(m))
        return LMF_OK; /* the check of roles names it */
    for (const char *const *key = optional; *key; key++)
        drop_null(m, *key);
    LMF_TRY(modernize_message(ctx, i, m));
    LMF_TRY(normalize_weight(ctx, i, m));
    LMF_TRY(refuse_unlearned(ctx, i, m));
    LMF_TRY(normalize_calls(ctx, i, m));
    return normalize_content(ctx, i, m);
}

static bool is_none(const json_t *v) /* null, also as text */
{
    return is_blank(v) || json_is_null(v) || (json_is_string(v) && !strcmp(json_string_value(v), "null"));
}

/* OpenAI's older list of bare functions. */
static lmf_status modernize_tools(lmf_ctx *ctx, json_t *row)
{
    if (is_none(json_object_get(row, "functions")))
        json_object_del(row, "functions");
    json_t *functions = json_object_get(row, "functions");
    if (!functions)
        return LMF_OK;
    if (json_object_get(row, "tools"))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row holds \"functions\" and \"tools\": which of them is it?");
    if (!unfold(ctx, row, "functions", JSON_ARRAY) || !json_is_array(functions = json_object_get(row, "functions")) ||
        !unfold_items(ctx, functions))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"functions\" is no list of objects");
    json_t *tools = json_array();
    for (size_t k = 0; tools && k < json_array_size(functions); k++)
        json_array_append_new(tools, json_pack("{s:s, s:O}", "type", "function", "function", json_array_get(functions, k)));
    if (!tools || json_array_size(tools) != json_array_size(functions) || json_object_set(row, "tools", tools)) {
        json_decref(tools);
        return LMF_NO_MEMORY(ctx, 64, "a row");
    }
    json_decref(tools);
    return json_object_del(row, "functions"), LMF_OK;
}

static lmf_status normalize_tools(lmf_ctx *ctx, json_t *row)
{
    if (is_none(json_object_get(row, "tools")))
        json_object_del(row, "tools");
    LMF_TRY(modernize_tools(ctx, row));
    if (!unfold(ctx, row, "tools", JSON_ARRAY))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"tools\" is text that is no JSON list");
    json_t *tools = json_object_get(row, "tools");
    if (tools && (!json_is_array(tools) || !unfold_items(ctx, tools)))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"tools\" is no list of objects");
    if (tools && json_array_size(tools) == 0)
        json_object_del(row, "tools");
    return LMF_OK;
}

/* An id is shown, never computed with: digits past 64 bits are text. */
static lmf_status normalize_id(lmf_ctx *ctx, json_t *row)
{
    const size_t mark = sizeof LMF_TEMPLATE_BIG - 1;
    const json_t *id = json_object_get(row, "id");
    if (!json_is_string(id) || strncmp(json_string_value(id), LMF_TEMPLATE_BIG, mark))
        return LMF_OK;
    json_t *digits = json_string(json_string_value(id) + mark);
    return !digits || json_object_set_new(row, "id", digits) ? LMF_NO_MEMORY(ctx, 64, "a row") : LMF_OK;
}

/* Prompt and completion as lists of messages: one conversation, of whose prompt nothing is learned. */
static lmf_status join_lists(lmf_ctx *ctx, json_t *row)
{
    json_t *prompt = json_object_get(row, "prompt"), *completion = json_object_get(row, "completion"), *messages;
    if (!json_is_array(completion) || json_object_get(row, "messages"))
        return LMF_OK;
    if (!json_is_array(prompt))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"prompt\" and \"completion\" are both text, or both lists of messages");
    for (size_t i = 0; i < json_array_size(prompt); i++)
        if (json_is_object(json_array_get(prompt, i)) && json_object_set_new(json_array_get(prompt, i), "weight", json_integer(0)))
            return LMF_NO_MEMORY(ctx, 64, "a row");
    if (!(messages = json_copy(prompt)) || json_array_extend(messages, completion) || json_object_set(row, "messages", messages)) {
        json_decref(messages);
        return LMF_NO_MEMORY(ctx, 64, "a row");
    }
    json_decref(messages);
    return json_object_del(row, "prompt"), json_object_del(row, "completion"), LMF_OK;
}

/* Values for the template that stand in an object of their own: the template finds them by their names. */
static lmf_status spread_kwargs(lmf_ctx *ctx, json_t *row)
{
    static const char name[] = "chat_template_kwargs";
    static const char *const taken[] = { "messages", "prompt", "completion", "text", "chosen", "rejected", "tools", "functions", name,
        NULL };
    const char *key;
    json_t *v, *kwargs;
    if (is_none(json_object_get(row, name)))
        json_object_del(row, name);
    if (!json_object_get(row, name))
        return LMF_OK;
    if (!unfold(ctx, row, name, JSON_OBJECT) || !json_is_object(kwargs = json_object_get(row, name)))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"%s\" is no object", name);
    json_object_foreach(kwargs, key, v) {
        const json_t *other = json_object_get(row, key);
        for (const char *const *k = taken; *k; k++)
            if (strcmp(*k, key) == 0 || (other && !json_equal(other, v)))
                return LMF_FAIL(ctx, LMF_E_FORMAT, "\"%s\" and the row both give \"%.60s\": which of them is it?", name, key);
        if (json_object_set(row, key, v))
            return LMF_NO_MEMORY(ctx, 64, "a row");
    }
    return json_object_del(row, name), LMF_OK;
}

/* Columns of images and sounds, by the names that TRL and others give them: the model would learn to answer what it does not see. */
static lmf_status refuse_media(lmf_ctx *ctx, const json_t *row)
{
    static const char *const keys[] = { "images", "image", "videos", "video", "audios" };
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const json_t *v = json_object_get(row, keys[k]);
        if (v && !is_none(v) && (json_array_size(v) || !json_is_array(v)))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "the row has \"%s\", and only text is learned", keys[k]);
    }
    return LMF_OK;
}

lmf_status lmf__row_normalize(lmf_ctx *ctx, json_t *row)
{
    LMF_TRY(normalize_id(ctx, row));
    LMF_TRY(refuse_media(ctx, row));
    LMF_TRY(spread_kwargs(ctx, row));
    drop_null(row, "messages");
    LMF_TRY(join_lists(ctx, row));
    if (!unfold(ctx, row, "messages", JSON_ARRAY))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"messages\" is not a list of messages");
    json_t *messages = json_object_get(row, "messages");
    if (messages)
        LMF_TRY(normalize_tools(ctx, row));
    for (size_t i = 0; i < json_array_size(messages); i++)
        LMF_TRY(normalize_message(ctx, i, json_array_get(messages, i)));
    return LMF_OK;
}
