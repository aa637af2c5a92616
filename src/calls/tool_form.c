/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is found in one rendered answer must come out of the other, or it is not taken. */
#include "calls/tool_form.h"
#include <string.h>

enum { MAX_RENDERED = 1 << 20 };

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

/* The call of that name at or behind from: where its object begins and ends, and the key of its arguments. */
static bool find_call(const char *text, size_t n, size_t from, const char *called, const char **begin, const char **end, const char **key)
{
    const char *name = strstr(text + from, called);
    size_t used = 0;
    for (const char *p = name; p && p > text + from && *p != '}';) {
        if (*--p != '{')
            continue;
        json_t *j = object_at(p, n - (size_t)(p - text), &used);
        const char *is = json_string_value(json_object_get(j, "name"));
        *key = json_object_get(j, "arguments") ? "arguments" : "parameters";
        bool right = is && strcmp(is, called) == 0 && json_is_object(json_object_get(j, *key)) && json_object_size(j) == 2;
        json_decref(j);
        if (right) {
            *begin = p, *end = p + used;
            return true;
        }
    }
    return false;
}

static bool copy(char *text, size_t n, const char *from, const char *to)
{
    if ((size_t)(to - from) >= n)
        return false;
    memcpy(text, from, (size_t)(to - from));
    text[to - from] = 0;
    return true;
}

static bool take_form(lmf_tool_form *out, const char *text, size_t n, size_t from, const lmf_chat *chat)
{
    const char *begin, *end, *key, *stop, *space;
    size_t bytes;
    if (!find_call(text, n, from, "zqname", &begin, &end, &key))
        return false;
    for (stop = end; *stop && lmf_tokenizer_control_at(chat->tokenizer, text, n, (size_t)(stop - text), &bytes) < 0;)
        stop++; /* up to the token that ends the turn */
    if (!copy(out->arguments, sizeof out->arguments, key, key + strlen(key)) ||
        !copy_trimmed(out->open, sizeof out->open, text + from, begin) || !copy_trimmed(out->close, sizeof out->close, end, stop))
        return false;
    for (space = begin; out->open[0] && is_space(space[-1]);)
        space--;
    bool good = copy(out->lead, sizeof out->lead, space, begin);
    for (space = end; out->close[0] && is_space(*space);)
        space++;
    return good && copy(out->tail, sizeof out->tail, end, space);
}

/* What stands between the calls of a rendered answer that has two. */
static void take_between(lmf_tool_form *out, const char *text, size_t n, size_t from)
{
    const char *begin[2], *end[2], *key;
    if (find_call(text, n, from, "zqname", &begin[0], &end[0], &key) &&
        find_call(text, n, (size_t)(end[0] - text), "zqother", &begin[1], &end[1], &key) && begin[1] > end[0])
        copy(out->between, sizeof out->between, end[0], begin[1]);
}

static json_t *one_call(const char *id, const char *name, bool as_text)
{
    json_t *arguments = as_text ? json_string("{\"zqkey\": \"zqval\"}") : json_pack("{s:s}", "zqkey", "zqval");
    return json_pack("{s:s, s:s, s:{s:s, s:o}}", "id", id, "type", "function", "function", "name", name, "arguments", arguments);
}

/* A question and its answer of n_calls calls; 0: no answer. */
static json_t *probe(int n_calls, bool as_text)
{
    json_t *m = json_pack("[{s:s, s:s}]", "role", "user", "content", "q"), *vars = json_pack("{s:o}", "messages", m);
    if (n_calls == 0)
        return vars;
    json_t *calls = json_pack("[o]", one_call("zqcall001", "zqname", as_text));
    if (n_calls > 1)
        json_array_append_new(calls, one_call("zqcall002", "zqother", as_text));
    json_t *answer = json_pack("{s:s, s:s, s:o}", "role", "assistant", "content", "", "tool_calls", calls);
    if (!vars || json_array_append_new(m, answer)) {
        json_decref(vars);
        return NULL;
    }
    return vars;
}

static lmf_status render(const lmf_chat *chat, int n_calls, bool as_text, lmf_buf *out)
{
    json_t *vars = probe(n_calls, as_text);
    lmf_buf_init(out, chat->ctx, MAX_RENDERED);
    lmf_status s = vars ? lmf_chat_render(chat, vars, n_calls == 0, out, NULL) : LMF_NO_MEMORY(chat->ctx, 1024, "a conversation");
    json_decref(vars);
    return s;
}

lmf_status lmf_tool_form_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out)
{
    lmf_buf asked, answered, twice;
    *out = (lmf_tool_form){ 0 };
    if (!chat->source || !chat->tokenizer)
        return LMF_OK;
    lmf_status s = render(chat, 0, false, &asked), one = render(chat, 1, forms->arguments_as_text, &answered),
               two = render(chat, 2, forms->arguments_as_text, &twice);
    /* the answer begins where the question with its generation prompt ends */
    if (!s && !one && asked.n < answered.n && memcmp(asked.data, answered.data, asked.n) == 0)
        out->known = take_form(out, answered.data, answered.n, asked.n, chat);
    if (out->known && !two && asked.n < twice.n)
        take_between(out, twice.data, twice.n, asked.n);
    lmf_buf_clear(&asked);
    lmf_buf_clear(&answered);
    lmf_buf_clear(&twice);
    return s == LMF_E_MEMORY || one == LMF_E_MEMORY || two == LMF_E_MEMORY ? LMF_E_MEMORY : LMF_OK;
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
