/* SPDX-License-Identifier: Apache-2.0 */
/* What templates take and what they show, found by rendering words that occur nowhere else.
 * Rule: a template that shows nothing of a call is never trained on: the model would learn an empty answer. */
#include <stdio.h>
#include <string.h>
#include "text/chat/chat.h"

enum { FORM_MAX_BYTES = 1 << 24, NAME_BYTES = 64 };

/* Whether vars render and show the word, and nothing that tells that it was not taken. Takes vars. A template that refuses shows
 * nothing. */
static lmf_status shows(const lmf_chat *c, json_t *vars, const char *word, const char *not_so, bool *hit)
{
    lmf_buf out;
    lmf_buf_init(&out, c->ctx, FORM_MAX_BYTES);
    lmf_status s = vars ? lmf_chat_render(c, vars, false, &out, NULL) : LMF_NO_MEMORY(c->ctx, 64, "a conversation");
    *hit = !s && strstr(lmf_buf_str(&out), word) && !strstr(lmf_buf_str(&out), not_so);
    lmf_buf_clear(&out);
    json_decref(vars);
    return s == LMF_E_MEMORY ? s : LMF_OK;
}

static json_t *call_with(json_t *arguments)
{
    return json_pack("{s:[{s:s, s:s}, {s:s, s:s, s:[{s:s, s:s, s:{s:s, s:o}}]}]}", "messages", "role", "user", "content", "q", "role",
                     "assistant", "content", "",
                     "tool_calls", "id", "zqcall001", "type", "function", "function", "name", "zqname", "arguments", arguments);
}

static json_t *parts(void)
{
    return json_pack("{s:[{s:s, s:[{s:s, s:s}]}]}", "messages", "role", "user", "content", "type", "text", "text", "zqpart");
}

lmf_status lmf_chat_find_forms(const lmf_chat *c, lmf_chat_forms *out)
{
    bool object = true, text = false;
    *out = (lmf_chat_forms){ 0 };
    if (!c->source)
        return LMF_OK;
    LMF_TRY(shows(c, parts(), "zqpart", "zqpart'}",
                  &out->parts)); /* a list shown as Python prints it has quotes and a brace beside the word */
    if (out->parts)
        LMF_TRY(shows(c, parts(), "zqpart", "zqpart\"}", &out->parts));
    LMF_TRY(shows(c, call_with(json_pack("{s:s}", "zqkey", "zqval")), "zqval", "\x01", &object));
    if (!object)
        LMF_TRY(shows(c, call_with(json_string("{\"zqkey\": \"zqval\"}")), "zqval", "\x01", &text));
    out->arguments_as_text = text;
    return LMF_OK;
}

/* ---- fitting ---- */
static lmf_status join_parts(const lmf_chat *c, json_t *message)
{
    const json_t *parts = json_object_get(message, "content");
    lmf_buf text;
    if (!json_is_array(parts))
        return LMF_OK;
    lmf_buf_init(&text, c->ctx, FORM_MAX_BYTES);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *t = json_object_get(json_array_get(parts, i), "text");
        lmf_buf_append(&text, json_string_value(t) ? json_string_value(t) : "", json_string_length(t));
    }
    lmf_status s = text.status;
    json_t *joined = s ? NULL : json_stringn(lmf_buf_str(&text), text.n);
    if (!s && (!joined || json_object_set_new(message, "content", joined)))
        s = LMF_NO_MEMORY(c->ctx, text.n, "a conversation");
    lmf_buf_clear(&text);
    return s;
}

static json_t *inner(const json_t *x)
{
    json_t *f = json_object_get(x, "function");
    return json_is_object(f) ? f : (json_t *)(uintptr_t)x;
}

static int append(const char *p, size_t n, void *out) { return lmf_buf_append(out, p, n) ? -1 : 0; }

static lmf_status arguments_to_text(const lmf_chat *c, json_t *f)
{
    const json_t *a = json_object_get(f, "arguments");
    lmf_buf text;
    if (!json_is_object(a))
        return LMF_OK;
    lmf_buf_init(&text, c->ctx, FORM_MAX_BYTES);
    json_t *j = json_dump_callback(a, append, &text, 0) ? NULL : json_stringn(lmf_buf_str(&text), text.n);
    lmf_status s = !j || json_object_set_new(f, "arguments", j) ? LMF_NO_MEMORY(c->ctx, text.n, "arguments") : LMF_OK;
    lmf_buf_clear(&text);
    return s;
}

lmf_status lmf_chat_fit(const lmf_chat *c, const lmf_chat_forms *forms, json_t *vars)
{
    json_t *messages = json_object_get(vars, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i), *calls = json_object_get(m, "tool_calls");
        if (!forms->parts)
            LMF_TRY(join_parts(c, m));
        for (size_t k = 0; forms->arguments_as_text && k < json_array_size(calls); k++)
            LMF_TRY(arguments_to_text(c, inner(json_array_get(calls, k))));
    }
    return LMF_OK;
}

/* ---- what is shown ---- */
typedef struct probe {
    const lmf_chat *chat;
    lmf_buf         text;   /* of the row with words in the place of names */
    bool            plain;  /* that could not be rendered: text is the row's own */
} probe;

static void set_word(json_t *object, const char *key, const char *kind, size_t i, size_t k)
{
    char word[NAME_BYTES];
    snprintf(word, sizeof word, "zq%s%zux%zuz", kind, i, k);
    json_object_set_new(object, key, json_string(word));
}

/* Keys for the thinking before an answer. */
static const char *const reasoning[] = { "reasoning_content", "reasoning", "thinking" };
enum { N_REASONING = sizeof reasoning / sizeof *reasoning };

static bool has_text(const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text && text[strspn(text, " \t\r\n")];
}

static bool is_answer(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && !strcmp(role, "assistant");
}

/* The last answer: templates leave out the thinking of earlier ones. SIZE_MAX: none. */
static size_t last_answer(const json_t *messages)
{
    for (size_t i = json_array_size(messages); i-- > 0;)
        if (is_answer(json_array_get(messages, i)))
            return i;
    return SIZE_MAX;
}

static void put_words(json_t *vars, bool as_text)
{
    json_t *messages = json_object_get(vars, "messages"), *tools = json_object_get(vars, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++)
        set_word(inner(json_array_get(tools, i)), "name", "tool", 0, i);
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i), *calls = json_object_get(m, "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            char text[2 * NAME_BYTES];
            json_t *f = inner(json_array_get(calls, k));
            set_word(f, "name", "call", i, k);
            snprintf(text, sizeof text, "{\"zqkey%zux%zuz\": \"zqval%zux%zuz\"}", i, k, i, k);
            json_object_set_new(f, "arguments", as_text ? json_string(text) : json_loads(text, 0, NULL));
        }
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && !strcmp(role, "tool") && json_is_string(json_object_get(m, "content")))
            set_word(m, "content", "result", i, 0);
        if (is_answer(m) && calls && has_text(m, "content"))
            set_word(m, "content", "said", i, 0);
        for (size_t k = 0; i == last_answer(messages) && k < N_REASONING; k++)
            if (has_text(m, reasoning[k]))
                set_word(m, reasoning[k], "thought", i, 0); /* several keys for the same: one of them is shown */
    }
}

static bool is_shown(const probe *p, const char *name, const char *kind, size_t i, size_t k)
{
    char word[NAME_BYTES];
    snprintf(word, sizeof word, "zq%s%zux%zuz", kind, i, k);
    return strstr(lmf_buf_str(&p->text), p->plain ? name : word) != NULL;
}

static lmf_status not_shown(const probe *p, const char *what, const char *name, size_t i)
{
    char where[NAME_BYTES] = "";
    if (i != SIZE_MAX)
        snprintf(where, sizeof where, " in message %zu", i + 1);
    return LMF_FAIL(p->chat->ctx, LMF_E_UNSUPPORTED,
                    "the chat template leaves out %s \"%.60s\"%s: it knows none, or not so; give one that does (--chat-template FILE), "
                    "or write into the content what the model is to say", what, name, where);
}

static lmf_status check_shown(const probe *p, const json_t *vars)
{
    const json_t *messages = json_object_get(vars, "messages"), *tools = json_object_get(vars, "tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const char *name = json_string_value(json_object_get(inner(json_array_get(tools, i)), "name"));
        if (name && !is_shown(p, name, "tool", 0, i))
            return not_shown(p, "the tool", name, SIZE_MAX);
    }
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i), *calls = json_object_get(m, "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            const char *name = json_string_value(json_object_get(inner(json_array_get(calls, k)), "name"));
            if (name && !is_shown(p, name, "call", i, k))
                return not_shown(p, "the tool call", name, i);
            if (!p->plain && (!is_shown(p, "", "key", i, k) || !is_shown(p, "", "val", i, k)))
                return not_shown(p, "the arguments of the tool call", name ? name : "", i);
        }
        const char *role = json_string_value(json_object_get(m, "role")), *content = json_string_value(json_object_get(m, "content"));
        if (!p->plain && role && !strcmp(role, "tool") && content && *content && !is_shown(p, content, "result", i, 0))
            return not_shown(p, "the tool's result", content, i);
        if (!p->plain && is_answer(m) && calls && has_text(m, "content") && !is_shown(p, "", "said", i, 0))
            return not_shown(p, "what stands beside a tool call,", content, i);
        for (size_t k = 0; !p->plain && i == last_answer(messages) && k < N_REASONING; k++)
            if (has_text(m, reasoning[k]) && !is_shown(p, "", "thought", i, 0))
                return not_shown(p, "the reasoning under", reasoning[k], i);
    }
    return LMF_OK;
}

static bool has_tools(const json_t *vars)
{
    const json_t *messages = json_object_get(vars, "messages");
    bool any = json_array_size(json_object_get(vars, "tools")) > 0;
    for (size_t i = 0; !any && i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        any = json_array_size(json_object_get(m, "tool_calls")) > 0 || (role && !strcmp(role, "tool"));
        for (size_t k = 0; i == last_answer(messages) && k < N_REASONING; k++)
            any |= has_text(m, reasoning[k]);
    }
    return any;
}

lmf_status lmf_chat_check_tools(const lmf_chat *c, const lmf_chat_forms *forms, const json_t *vars)
{
    probe p = { .chat = c };
    if (!has_tools(vars))
        return LMF_OK;
    json_t *words = json_deep_copy(vars);
    if (!words)
        return LMF_NO_MEMORY(c->ctx, 1024, "a conversation");
    put_words(words, forms->arguments_as_text);
    lmf_buf_init(&p.text, c->ctx, FORM_MAX_BYTES);
    lmf_status s = lmf_chat_render(c, words, false, &p.text, NULL);
    json_decref(words);
    if (s && s != LMF_E_MEMORY) { /* a template that looks at names: the row's own text must do */
        p.plain = true;
        s = lmf_chat_render(c, (json_t *)(uintptr_t)vars, false, &p.text, NULL);
    }
    if (!s)
        s = check_shown(&p, vars);
    lmf_buf_clear(&p.text);
    return s;
}
