/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: strict. What is read here is exactly what the library would make of it; a form with any doubt (an escape of NUL, half a surrogate
 * pair, a number that is no plain integer, a member twice) is none of ours. */
#include "format/hf_scan.h"
#include <string.h>

typedef struct cursor { char *p, *end; } cursor;
typedef struct span { char *begin, *end; } span;

static bool skip_space(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
    return c->p < c->end;
}

static bool take(cursor *c, char what)
{
    if (!skip_space(c) || *c->p != what)
        return false;
    c->p++;
    return true;
}

/* Behind the string at p. */
static bool skip_string(cursor *c)
{
    if (!take(c, '"'))
        return false;
    while (c->p < c->end && *c->p != '"')
        c->p += *c->p == '\\' ? 2 : 1;
    return c->p < c->end && *c->p++ == '"';
}

/* Behind the value at p, by its brackets; whether it is right, is found out by who reads it. */
static bool skip_value(cursor *c)
{
    size_t depth = 0;
    if (!skip_space(c))
        return false;
    do {
        if (!skip_space(c))
            return false;
        if (*c->p == '"') {
            if (!skip_string(c))
                return false;
            continue;
        }
        depth += *c->p == '{' || *c->p == '[';
        if (*c->p == '}' || *c->p == ']') {
            if (depth == 0)
                return true;
            depth--;
        } else if (*c->p == ',' && depth == 0) {
            return true;
        }
        c->p++;
    } while (depth || (c->p < c->end && !strchr(",}] \n\r\t", *c->p)));
    return true;
}

static bool is_key(const char *from, const char *to, const char *key)
{
    size_t n = strlen(key);
    return (size_t)(to - from) == n + 2 && memcmp(from + 1, key, n) == 0;
}

/* Members of the object at p: spans of the values of name[0 .. n), which begin with a bracket and stand there once. */
static bool find_members(cursor *c, const char *const *name, const char *open, span *out, int n)
{
    if (!take(c, '{'))
        return false;
    do {
        if (!skip_space(c))
            return false;
        char *from = c->p;
        if (!skip_string(c))
            return false;
        char *to = c->p;
        if (!take(c, ':') || !skip_space(c))
            return false;
        char *begin = c->p;
        if (!skip_value(c))
            return false;
        for (int i = 0; i < n; i++)
            if (is_key(from, to, name[i])) {
                if (out[i].begin || *begin != open[i])
                    return false;
                out[i] = (span){ begin, c->p };
            }
    } while (take(c, ','));
    return take(c, '}');
}

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char h = p[i];
        int d = h >= '0' && h <= '9' ? h - '0' : h >= 'a' && h <= 'f' ? h - 'a' + 10 : h >= 'A' && h <= 'F' ? h - 'A' + 10 : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

static char *put_utf8(char *to, int32_t cp)
{
    if (cp < 0x80)
        *to++ = (char)cp;
    else if (cp < 0x800)
        *to++ = (char)(0xc0 | cp >> 6), *to++ = (char)(0x80 | (cp & 0x3f));
    else if (cp < 0x10000)
        *to++ = (char)(0xe0 | cp >> 12), *to++ = (char)(0x80 | (cp >> 6 & 0x3f)), *to++ = (char)(0x80 | (cp & 0x3f));
    else
        *to++ = (char)(0xf0 | cp >> 18), *to++ = (char)(0x80 | (cp >> 12 & 0x3f)), *to++ = (char)(0x80 | (cp >> 6 & 0x3f)), *to++ = (char)(0x80 | (cp & 0x3f));
    return to;
}

/* The escape at p, "\" included, to *to; both move on. */
static bool unescape(cursor *c, char **to)
{
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    if (c->end - c->p < 2)
        return false;
    const char *found = c->p[1] ? strchr(from, c->p[1]) : NULL;
    if (found) {
        *(*to)++ = plain[found - from];
        c->p += 2;
        return true;
    }
    int32_t cp = c->p[1] == 'u' && c->end - c->p >= 6 ? hex4(c->p + 2) : -1, low;
    c->p += 6;
    if (cp >= 0xd800 && cp < 0xdc00) {
        low = c->end - c->p >= 6 && c->p[0] == '\\' && c->p[1] == 'u' ? hex4(c->p + 2) : -1;
        cp = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00) : -1;
        c->p += 6;
    } else if (cp >= 0xdc00 && cp < 0xe000) {
        return false;
    }
    if (cp <= 0)
        return false;
    *to = put_utf8(*to, cp);
    return true;
}

/* The string at p, in its place: unescaped, ended by NUL, which falls on its quote at the latest. */
static bool read_string(cursor *c, lmf_bytes *out)
{
    if (!take(c, '"'))
        return false;
    char *begin = c->p, *to = begin;
    while (c->p < c->end && *c->p != '"' && *c->p != '\\' && (unsigned char)*c->p >= 0x20)
        c->p++;
    to = c->p;
    while (c->p < c->end && *c->p != '"') {
        if ((unsigned char)*c->p < 0x20)
            return false;
        if (*c->p != '\\')
            *to++ = *c->p++;
        else if (!unescape(c, &to))
            return false;
    }
    if (c->p >= c->end)
        return false;
    c->p++;
    *to = 0;
    *out = (lmf_bytes){ begin, (size_t)(to - begin) };
    return true;
}

static bool read_id(cursor *c, int64_t *out)
{
    int64_t v = 0;
    if (!skip_space(c))
        return false;
    char *begin = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && c->p - begin < 10)
        v = 10 * v + (*c->p++ - '0');
    *out = v;
    return c->p > begin && v <= INT32_MAX && (c->p == begin + 1 || *begin != '0') && c->p < c->end && strchr(" \n\r\t,}", *c->p) && *c->p;
}

static size_t count_commas(span s)
{
    size_t n = 1;
    for (const char *p = s.begin; (p = memchr(p, ',', (size_t)(s.end - p))); p++)
        n++;
    return n;
}

static bool read_tokens(span s, lmf__hf_scan *out)
{
    cursor c = { s.begin, s.end };
    if (!take(&c, '{'))
        return false;
    do {
        if (!read_string(&c, &out->token[out->n_tokens]) || !take(&c, ':') || !read_id(&c, &out->id[out->n_tokens]))
            return false;
        out->n_tokens++;
    } while (take(&c, ','));
    return take(&c, '}') && c.p == s.end;
}

static bool read_merge(cursor *c, lmf_hf_merge *m)
{
    lmf_bytes all;
    if (skip_space(c) && *c->p == '[')
        return take(c, '[') && read_string(c, &m->left) && take(c, ',') && read_string(c, &m->right) && take(c, ']') && m->left.n && m->right.n;
    if (!read_string(c, &all))
        return false;
    const char *space = memchr(all.p, ' ', all.n);
    m->left = (lmf_bytes){ all.p, space ? (size_t)(space - all.p) : 0 };
    m->right = (lmf_bytes){ space ? space + 1 : all.p, space ? all.n - m->left.n - 1 : 0 };
    return m->left.n && m->right.n && !memchr(m->right.p, ' ', m->right.n);
}

static bool read_merges(span s, lmf__hf_scan *out)
{
    cursor c = { s.begin, s.end };
    if (!take(&c, '['))
        return false;
    if (take(&c, ']'))
        return c.p == s.end;
    do
        if (!read_merge(&c, &out->merge[out->n_merges++]))
            return false;
    while (take(&c, ','));
    return take(&c, ']') && c.p == s.end;
}

lmf_status lmf__hf_scan_vocab(lmf_arena *arena, char *text, size_t n, lmf__hf_scan *out, lmf_buf *rest, bool *ok)
{
    static const char *const model_name[] = { "model" }, *const names[] = { "vocab", "merges" };
    span model = { 0 }, member[2] = { 0 };
    cursor whole = { text, text + n };
    *ok = false;
    *out = (lmf__hf_scan){ 0 };
    if (!find_members(&whole, model_name, "{", &model, 1) || !model.begin)
        return LMF_OK;
    cursor inner = { model.begin, model.end };
    if (!find_members(&inner, names, "{[", member, 2) || !member[0].begin || !member[1].begin)
        return LMF_OK;
    size_t most[2] = { count_commas(member[0]), count_commas(member[1]) };
    if (most[0] > LMF_JSON_VOCAB || most[1] > LMF_JSON_VOCAB)
        return LMF_OK;
    out->token = lmf_arena_array(arena, most[0], sizeof *out->token);
    out->id = lmf_arena_array(arena, most[0], sizeof *out->id);
    out->merge = lmf_arena_array(arena, most[1], sizeof *out->merge);
    if (!out->token || !out->id || !out->merge)
        return LMF_NO_MEMORY(arena->ctx, (most[0] + most[1]) * sizeof *out->merge, "a vocabulary");
    int first = member[0].begin < member[1].begin ? 0 : 1;
    span a = member[first], b = member[!first];
    LMF_TRY(lmf_buf_append(rest, text, (size_t)(a.begin - text)));
    LMF_TRY(lmf_buf_puts(rest, first ? "[]" : "{}"));
    LMF_TRY(lmf_buf_append(rest, a.end, (size_t)(b.begin - a.end)));
    LMF_TRY(lmf_buf_puts(rest, first ? "{}" : "[]"));
    LMF_TRY(lmf_buf_append(rest, b.end, (size_t)(text + n - b.end)));
    *ok = read_tokens(member[0], out) && read_merges(member[1], out);
    return LMF_OK;
}
