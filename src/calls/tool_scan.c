/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is given that a later byte could take back. */
#include "calls/tool_scan.h"
#include <string.h>

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* word at text[*at], behind white space. -1: it is not there; 0: not yet; 1: passed. */
static int pass(const char *text, size_t n, size_t *at, const char *word)
{
    size_t i = *at, k = strlen(word);
    while (i < n && is_space(text[i]))
        i++;
    size_t have = n - i < k ? n - i : k;
    if (memcmp(text + i, word, have))
        return -1;
    if (have < k)
        return 0;
    *at = i + k;
    return 1;
}

/* The text at a quote, whole. */
static json_t *string_at(const char *text, size_t n, size_t *at)
{
    size_t i = *at;
    while (i < n && is_space(text[i]))
        i++;
    size_t begin = i;
    if (i == n || text[i] != '"')
        return NULL;
    for (i++; i < n && text[i] != '"'; i++)
        i += text[i] == '\\';
    if (i >= n)
        return NULL;
    *at = i + 1;
    return json_loadb(text + begin, i + 1 - begin, JSON_DECODE_ANY, NULL);
}

/* {"name": "...", "arguments": up to the value. */
static bool take_head(lmf_tool_scan *s, const lmf_tool_form *f, const char *text, size_t n, lmf_tool_piece *out)
{
    size_t at = s->at;
    if (pass(text, n, &at, "{") < 1 || pass(text, n, &at, "\"name\"") < 1 || pass(text, n, &at, ":") < 1)
        return false;
    json_t *name = string_at(text, n, &at);
    bool good = name && pass(text, n, &at, ",") == 1 && pass(text, n, &at, "\"") == 1 && pass(text, n, &at, f->arguments) == 1 &&
                pass(text, n, &at, "\"") == 1 && pass(text, n, &at, ":") == 1;
    while (good && at < n && is_space(text[at]))
        at++;
    if (!good || at == n || text[at] != '{') {
        json_decref(name);
        return false;
    }
    *out = (lmf_tool_piece){ .i_call = s->n_calls++, .name = name };
    s->at = at;
    s->phase = LMF_SCAN_ARGUMENTS;
    s->depth = 0, s->in_string = s->escaped = false;
    return true;
}

static bool take_arguments(lmf_tool_scan *s, const char *text, size_t n, lmf_tool_piece *out)
{
    size_t i = s->at;
    bool over = false;
    for (; i < n && !over; i++) {
        char c = text[i];
        if (s->escaped)
            s->escaped = false;
        else if (s->in_string && c == '\\')
            s->escaped = true;
        else if (c == '"')
            s->in_string = !s->in_string;
        else if (!s->in_string)
            s->depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        over = s->depth == 0;
    }
    *out = (lmf_tool_piece){ .i_call = s->n_calls - 1, .arguments = text + s->at, .n = i - s->at };
    s->at = i;
    if (over)
        s->phase = LMF_SCAN_CLOSE;
    return out->n > 0;
}

bool lmf_tool_scan_next(lmf_tool_scan *s, const lmf_tool_form *f, const char *text, size_t n, lmf_tool_piece *out)
{
    if (s->phase == LMF_SCAN_OPEN && pass(text, n, &s->at, f->open) == 1)
        s->phase = LMF_SCAN_CALL;
    if (s->phase == LMF_SCAN_CLOSE) {
        size_t at = s->at;
        int rc = pass(text, n, &at, "}");
        if (rc == 1) { /* the call's own brace: a further one, or the end */
            rc = f->between[0] ? pass(text, n, &at, f->between + strspn(f->between, " \n\r\t")) : -1;
            if (rc == 1)
                s->at = at;
        }
        s->phase = rc == 1 ? LMF_SCAN_CALL : rc == 0 ? LMF_SCAN_CLOSE : LMF_SCAN_DONE;
    }
    if (s->phase == LMF_SCAN_CALL)
        return take_head(s, f, text, n, out);
    return s->phase == LMF_SCAN_ARGUMENTS && take_arguments(s, text, n, out);
}

bool lmf_tool_scan_is_whole(const lmf_tool_scan *s, const lmf_tool_form *f, const char *text, size_t n)
{
    size_t at = s->at;
    if ((s->phase != LMF_SCAN_CLOSE && s->phase != LMF_SCAN_DONE) || pass(text, n, &at, "}") < 1)
        return false;
    pass(text, n, &at, f->close);
    while (at < n && is_space(text[at]))
        at++;
    return at == n;
}
