/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what does not parse as calls from its first marker to its end is text, and is shown as such. */
#include "serve/tool_form.h"
#include <string.h>

enum { MAX_CALLS = 64, MAX_RENDERED = 1 << 20 };

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* from .. to without white space at both ends, if n bytes hold it. */
static bool copy_trimmed(char *text, size_t n, const char *from, const char *to)
{
    while (from < to && is_space(*from))
        from++;
    while (to > from && is_space(to[-1]))
        to--;
    if ((size_t)(to - from) >= n)
        return false;
    memcpy(text, from, (size_t)(to - from));
    text[to - from] = 0;
    return true;
}

/* The object at p, and where it ends. */
static json_t *object_at(const char *p, size_t n, size_t *used)
{
    json_error_t e;
    if (n == 0 || *p != '{')
        return NULL;
    json_t *j = json_loadb(p, n, JSON_DISABLE_EOF_CHECK | JSON_REJECT_DUPLICATES, &e);
    *used = j ? (size_t)e.position : 0;
    return j;
}

static bool take_form(lmf_tool_form *out, const char *text, size_t n, size_t from, const lmf_chat *chat)
{
    const char *name = strstr(text + from, "zqname");
    size_t used = 0;
    for (const char *p = name; p && p > text + from && *p != '}';) {
        if (*--p != '{')
            continue;
        json_t *j = object_at(p, n - (size_t)(p - text), &used);
        const char *is = json_string_value(json_object_get(j, "name")), *key = json_object_get(j, "arguments") ? "arguments" : "parameters";
        bool right = is && strcmp(is, "zqname") == 0 && json_is_object(json_object_get(j, key)) && json_object_size(j) == 2;
        json_decref(j);
        if (!right)
            continue;
        const char *end = p + used, *stop = end;
        size_t bytes;
        while (*stop && lmf_tokenizer_control_at(chat->tokenizer, text, n, (size_t)(stop - text), &bytes) < 0)
            stop++; /* up to the token that ends the turn */
        return copy_trimmed(out->arguments, sizeof out->arguments, key, key + strlen(key)) &&
            copy_trimmed(out->open, sizeof out->open, text + from, p) &&
            copy_trimmed(out->close, sizeof out->close, end, stop);
    }
    return false;
}

static json_t *probe(bool answered, bool as_text)
{
    json_t *m = json_pack("[{s:s, s:s}]", "role", "user", "content", "q"), *vars = json_pack("{s:o}", "messages", m);
    json_t *arguments = as_text ? json_string("{\"zqkey\": \"zqval\"}") : json_pack("{s:s}", "zqkey", "zqval");
    if (!answered) {
        json_decref(arguments);
        return vars;
    }
    json_t *call = json_pack("{s:s, s:s, s:[{s:s, s:s, s:{s:s, s:o}}]}", "role", "assistant", "content", "", "tool_calls", "id",
        "zqcall001", "type",
                             "function", "function", "name", "zqname", "arguments", arguments);
    if (!vars || json_array_append_new(m, call)) {
        json_decref(vars);
        return NULL;
    }
    return vars;
}

lmf_status lmf_tool_form_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out)
{
    lmf_buf asked, answered;
    *out = (lmf_tool_form){ 0 };
    if (!chat->source || !chat->tokenizer)
        return LMF_OK;
    json_t *question = probe(false, false), *answer = probe(true, forms->arguments_as_text);
    lmf_buf_init(&asked, chat->ctx, MAX_RENDERED);
    lmf_buf_init(&answered, chat->ctx, MAX_RENDERED);
    lmf_status s = question && answer ? LMF_OK : LMF_NO_MEMORY(chat->ctx, 1024, "a conversation");
    if (!s)
        s = lmf_chat_render(chat, question, true, &asked, NULL);
    if (!s)
        s = lmf_chat_render(chat, answer, false, &answered, NULL);
    /* the answer begins where the question with its generation prompt ends */
    if (!s && asked.n < answered.n && memcmp(asked.data, answered.data, asked.n) == 0)
        out->known = take_form(out, answered.data, answered.n, asked.n, chat);
    lmf_buf_clear(&asked);
    lmf_buf_clear(&answered);
    json_decref(question);
    json_decref(answer);
    return s == LMF_E_MEMORY ? s : LMF_OK;
}

size_t lmf_tool_form_begin(const lmf_tool_form *f, const char *text, size_t n, size_t from)
{
    size_t k = strlen(f->open);
    if (!f->known)
        return n;
    if (k == 0) { /* only an answer that begins with an object */
        size_t at = 0;
        while (at < n && is_space(text[at]))
            at++;
        return at == n || text[at] == '{' ? from : n;
    }
    for (size_t at = from; at < n; at++)
        if (memcmp(text + at, f->open, n - at < k ? n - at : k) == 0)
            return at; /* whole, or cut by the end of what is there */
    return n;
}

static bool skip(const char *text, size_t n, size_t *at, const char *word)
{
    size_t k = strlen(word);
    while (*at < n && is_space(text[*at]))
        ++*at;
    if (n - *at < k || memcmp(text + *at, word, k))
        return false;
    *at += k;
    return true;
}

/* One call; NULL: none is there. */
static json_t *parse_one(const lmf_tool_form *f, const char *text, size_t n, size_t *at)
{
    size_t used;
    if (!skip(text, n, at, f->open) || !skip(text, n, at, ""))
        return NULL;
    json_t *j = object_at(text + *at, n - *at, &used), *name = json_object_get(j, "name"), *arguments = json_object_get(j, f->arguments);
    json_t *call = json_is_string(name) && json_is_object(arguments) ? json_pack("{s:O, s:O}", "name", name, "arguments", arguments) : NULL;
    json_decref(j);
    *at += call ? used : 0;
    bool closed = call && (skip(text, n, at, f->close) || *at == n); /* the last one may end with the turn */
    if (call && !closed) {
        json_decref(call);
        return NULL;
    }
    return call;
}

json_t *lmf_tool_form_parse(const lmf_tool_form *f, const char *text, size_t n, size_t at)
{
    json_t *calls = json_array();
    for (bool more = f->known && at < n; more && calls;) {
        json_t *call = parse_one(f, text, n, &at);
        if (!call || json_array_size(calls) == MAX_CALLS || json_array_append_new(calls, call)) {
            json_decref(calls);
            return NULL;
        }
        skip(text, n, &at, "");
        more = at < n;
    }
    if (calls && json_array_size(calls) == 0) {
        json_decref(calls);
        return NULL;
    }
    return calls;
}
