/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every parse passes measure() first. It need not be exact about JSON, only never count less than the
 * parser would make. */
#include "format/json.h"
#include <math.h>
#include <string.h>
#include "base/file.h"

/* Values by counting what can begin or separate one outside strings, and the deepest nesting. */
static void measure(const char *text, size_t n, size_t *n_values, size_t *depth)
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

lmf_status lmf_json_parse(lmf_ctx *ctx, const char *text, size_t n, const char *name, size_t max_values, json_t **out)
{
    size_t n_values, depth;
    json_error_t e;
    *out = NULL;
    measure(text, n, &n_values, &depth);
    if (n_values > max_values || depth > LMF_JSON_MAX_DEPTH)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%.200s: this JSON has %zu values, nested %zu deep; at most %zu and %d are read", name,
                        n_values, depth, max_values, LMF_JSON_MAX_DEPTH);
    if (lmf_shim(ctx, LMF_SITE_ALLOC))
        return LMF_NO_MEMORY(ctx, n, name);
    json_t *root = json_loadb(n ? text : "", n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!root)
        return json_error_code(&e) == json_error_out_of_memory ? LMF_NO_MEMORY(ctx, n, name)
             : LMF_FAIL(ctx, LMF_E_FORMAT, "%.200s: no JSON that is read here: %s (line %d, column %d)", name, e.text, e.line, e.column);
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
