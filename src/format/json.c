/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every parse passes lmf_json_measure first. It need not be exact about JSON, only never count less than the
 * parser would make. */
#include "format/json.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/plain.h"
#include "base/magic.h"

void lmf_json_measure(const char *text, size_t n, size_t *n_values, size_t *depth)
{
    size_t values = 1, level = 0, deepest = 0;
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            values++;
            if (++level > deepest)
                deepest = level;
        } else if (c == '}' || c == ']') {
            level -= level > 0;
        } else if (c == ',' || c == ':') {
            values++;
        }
    }
    *n_values = values;
    *depth = deepest;
}

/* Bytes of the bare word or number at p, at least 1. */
static size_t bare_length(const char *p, size_t n)
{
    size_t k = 1;
    while (k < n && (strchr("+-.eE", p[k]) ? p[k] != 0 : (p[k] >= '0' && p[k] <= '9') || (p[k] >= 'A' && p[k] <= 'Z') || (p[k] >= 'a' &&
        p[k] <= 'z')))
        k++;
    return k;
}

static bool is_wide(const char *digits)
{
    char *end;
    errno = 0;
    (void)strtoll(digits, &end, 10);
    return errno == ERANGE && !*end;
}

/* A number too great for the parser as one that it takes: an integer as a real, what no double holds as a string of its own
 * digits, so that who reads the key is told that it is no number. Python's Infinity and NaN likewise. */
static lmf_status put_bare(lmf_buf *out, const char *p, size_t n, bool is_key, bool *changed)
{
    char digits[512];
    bool word = (n == 8 && !memcmp(p, "Infinity", 8)) || (n == 9 && !memcmp(p, "-Infinity", 9)) || (n == 3 && !memcmp(p, "NaN", 3));
    bool number = *p == '-' || (*p >= '0' && *p <= '9'), whole = number && !memchr(p, '.', n) && !memchr(p, 'e', n) && !memchr(p, 'E', n);
    bool quote = word || (number && n >= sizeof digits), real = false;
    if (number && n < sizeof digits) {
        memcpy(digits, p, n);
        digits[n] = 0;
        char *end;
        quote |= isinf(strtod(digits, &end)) && !*end;
        real = whole && !quote && is_wide(digits);
    }
    quote &= !is_key; /* no JSON, and not to become some */
    *changed |= quote || real;
    LMF_TRY(quote ? lmf_buf_append(out, "\"", 1) : LMF_OK);
    LMF_TRY(lmf_buf_append(out, p, n));
    return quote ? lmf_buf_append(out, "\"", 1) : real ? lmf_buf_append(out, ".0", 2) : LMF_OK;
}

/* Appends text with such numbers in a form that is read. */
static lmf_status soften(const char *text, size_t n, lmf_buf *out, bool *changed)
{
    *changed = false;
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (text[i] == '"') {
            while (end < n && text[end] != '"')
                end += text[end] == '\\' && end + 1 < n ? 2 : 1;
            end += end < n;
            LMF_TRY(lmf_buf_append(out, text + i, end - i));
        } else if (text[i] == '-' || text[i] == 'I' || text[i] == 'N' || (text[i] >= '0' && text[i] <= '9')) {
            end = i + bare_length(text + i, n - i);
            size_t next = end;
            while (next < n && strchr(" \t\r\n", text[next]) && text[next])
                next++;
            LMF_TRY(put_bare(out, text + i, end - i, next < n && text[next] == ':', changed));
        } else {
            LMF_TRY(lmf_buf_append(out, text + i, 1));
        }
    }
    return LMF_OK;
}

/* The parser's tree; where it stumbles over a number, the tree of the softened text. NULL: e says why. */
static lmf_status load(lmf_ctx *ctx, const char *text, size_t n, json_t **out, json_error_t *e)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    lmf_buf soft;
    bool changed;
    *out = json_loadb(n ? text : "", n, flags, e);
    if (*out || (json_error_code(e) != json_error_numeric_overflow && json_error_code(e) != json_error_invalid_syntax))
        return LMF_OK;
    lmf_buf_init(&soft, ctx, 4 * n + 64);
    lmf_status s = soften(text, n, &soft, &changed);
    if (!s && changed)
        *out = json_loadb(lmf_buf_str(&soft), soft.n, flags, e);
    lmf_buf_clear(&soft);
    return s;
}

lmf_status lmf_json_parse(lmf_ctx *ctx, const char *text, size_t n, const char *name, size_t max_values, json_t **out)
{
    size_t n_values, depth;
    json_error_t e;
    json_t *root;
    char note[200];
    *out = NULL;
    lmf_json_measure(text, n, &n_values, &depth);
    if (n_values > max_values || depth > LMF_JSON_MAX_DEPTH)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%.200s: this JSON has %zu values, nested %zu deep; at most %zu and %d are read", name,
                        n_values, depth, max_values, LMF_JSON_MAX_DEPTH);
    if (lmf_shim(ctx, LMF_SITE_ALLOC))
        return LMF_NO_MEMORY(ctx, n, name);
    LMF_TRY(load(ctx, text, n, &root, &e));
    if (!root && json_error_code(&e) == json_error_out_of_memory)
        return LMF_NO_MEMORY(ctx, n, name);
    if (!root && lmf_magic_of(text, n) != LMF_MAGIC_NONE)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%.200s: no JSON that is read here%s", name, lmf_magic_note(text, n, note, sizeof note));
    if (!root)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%.200s: no JSON that is read here: %s (line %d, column %d)", name, e.text, e.line, e.column);
    if (!json_is_object(root)) {
        json_decref(root);
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%.200s: the JSON is no object", name);
    }
    *out = root;
    return LMF_OK;
}

lmf_status lmf_json_load(lmf_ctx *ctx, const char *path, size_t max_bytes, size_t max_values, json_t **out)
{
    char *text;
    size_t n;
    *out = NULL;
    LMF_TRY(lmf_file_read(ctx, path, max_bytes, &text, &n));
    lmf_status s = lmf_json_parse(ctx, text, n, path, max_values, out);
    lmf_free(ctx, text, n + 1);
    return s;
}

lmf_status lmf_json_save(lmf_ctx *ctx, const char *path, const json_t *root)
{
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(17);
    size_t n = json_dumpb(root, NULL, 0, flags);
    if (n == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: a value has no JSON form (a string that is not UTF-8?)", path);
    char *text = lmf_alloc(ctx, n + 1);
    if (!text)
        return LMF_NO_MEMORY(ctx, n + 1, path);
    lmf_status s = json_dumpb(root, text, n, flags) == n ? LMF_OK : LMF_NO_MEMORY(ctx, n, path);
    text[n] = '\n';
    if (!s)
        s = lmf_file_write(ctx, path, text, n + 1);
    lmf_free(ctx, text, n + 1);
    return s;
}

json_t *lmf_json_stringn(const char *text, size_t n)
{
    json_t *v = json_stringn(text, n);
    size_t out = 0;
    if (v)
        return v;
    char *mended = malloc(3 * n + 1); /* allowed: freed here, as jansson's own */
    for (size_t at = 0, k; mended && at < n; at += k ? k : 1) {
        k = text[at] ? lmf_utf8_length(text + at, n - at) : 1;
        memcpy(mended + out, k ? text + at : "\xEF\xBF\xBD", k ? k : 3);
        out += k ? k : 3;
    }
    v = mended ? json_stringn(mended, out) : NULL;
    free(mended); /* allowed: ours */
    return v;
}

json_t *lmf_json_string(const char *text) { return lmf_json_stringn(text, strlen(text)); }

static json_t *at_path(const json_t *at, const char *path, size_t n)
{
    while (at) {
        json_t *whole = json_object_getn(at, path, n);
        const char *dot = memchr(path, '.', n);
        if (whole || !dot)
            return whole;
        at = json_object_getn(at, path, (size_t)(dot - path));
        n -= (size_t)(dot + 1 - path);
        path = dot + 1;
    }
    return NULL;
}

json_t *lmf_json_at(const json_t *root, const char *paths)
{
    for (;;) {
        size_t n = strcspn(paths, "|");
        json_t *found = at_path(root, paths, n);
        if (found && !json_is_null(found))
            return found;
        if (!paths[n])
            return NULL;
        paths += n + 1;
    }
}

static lmf_status missing(lmf_ctx *ctx, const char *paths)
{
    return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "the JSON has no %s", paths);
}

static lmf_status misfit(lmf_ctx *ctx, const char *paths, const char *wanted)
{
    return LMF_FAIL(ctx, LMF_E_FORMAT, "%s in the JSON is no %s", paths, wanted);
}

lmf_status lmf_json_want_f64(lmf_ctx *ctx, const json_t *root, const char *paths, double *out)
{
    const json_t *v = lmf_json_at(root, paths);
    if (v && !json_is_number(v))
        return misfit(ctx, paths, "number");
    if (v)
        *out = json_number_value(v);
    return LMF_OK;
}

lmf_status lmf_json_want_i64(lmf_ctx *ctx, const json_t *root, const char *paths, int64_t *out)
{
    const json_t *v = lmf_json_at(root, paths);
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
    } else if (v) {
        double d = json_is_real(v) ? json_real_value(v) : 0.5;
        if (d != floor(d) || fabs(d) > 0x1p53)
            return misfit(ctx, paths, "whole number");
        *out = (int64_t)d;
    }
    return LMF_OK;
}

lmf_status lmf_json_want_bool(lmf_ctx *ctx, const json_t *root, const char *paths, bool *out)
{
    const json_t *v = lmf_json_at(root, paths);
    if (v && !json_is_boolean(v))
        return misfit(ctx, paths, "true or false");
    if (v)
        *out = json_is_true(v);
    return LMF_OK;
}

lmf_status lmf_json_want_string(lmf_ctx *ctx, const json_t *root, const char *paths, const char **out)
{
    const json_t *v = lmf_json_at(root, paths);
    if (v && (!json_is_string(v) || memchr(json_string_value(v), 0, json_string_length(v))))
        return misfit(ctx, paths, "string without NUL");
    if (v)
        *out = json_string_value(v);
    return LMF_OK;
}

#define GET(kind, type)                                                                                            \
    lmf_status lmf_json_get_##kind(lmf_ctx *ctx, const json_t *root, const char *paths, type *out)                 \
    {                                                                                                              \
        return lmf_json_at(root, paths) ? lmf_json_want_##kind(ctx, root, paths, out) : missing(ctx, paths);       \
    }
GET(f64, double)
GET(i64, int64_t)
GET(bool, bool)
GET(string, const char *)

static int append(const char *p, size_t n, void *out) { return lmf_buf_append(out, p, n) ? -1 : 0; }

lmf_status lmf_json_text(lmf_ctx *ctx, const json_t *root, size_t flags, lmf_buf *out)
{
    if (json_dump_callback(root, append, out, flags))
        return out->status ? out->status : LMF_FAIL(ctx, LMF_E_FORMAT, "a value that has no JSON form");
    return LMF_OK;
}
