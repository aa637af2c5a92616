/* SPDX-License-Identifier: Apache-2.0 */
#include "config/document.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"

lmf_status lmf__document_add(lmf_document *d, const char *path, const char *text, int line)
{
    lmf_ctx *ctx = d->arena->ctx;
    if (d->n >= LMF_DOCUMENT_MAX_SETTINGS)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%s holds more than %d settings", d->name, LMF_DOCUMENT_MAX_SETTINGS);
    if (d->n == d->cap) {
        int cap = d->cap ? 2 * d->cap : 64;
        lmf_setting *items = lmf_arena_array(d->arena, (size_t)cap, sizeof *items);
        if (!items)
            return LMF_NO_MEMORY(ctx, (size_t)cap * sizeof *items, "a configuration");
        if (d->n)
            memcpy(items, d->items, (size_t)d->n * sizeof *items);
        d->items = items;
        d->cap = cap;
    }
    char *p = lmf_arena_strdup(d->arena, path), *t = text ? lmf_arena_strdup(d->arena, text) : NULL;
    if (!p || (text && !t))
        return LMF_NO_MEMORY(ctx, strlen(path), "a configuration");
    d->items[d->n++] = (lmf_setting){ p, t, line };
    return LMF_OK;
}

const char *lmf__document_where(const lmf_document *d, int line, char *text, size_t n)
{
    if (line == LMF_LINE_SET)
        snprintf(text, n, "--set");
    else if (line)
        snprintf(text, n, "%.200s, line %d", d->name, line);
    else
        snprintf(text, n, "%.200s", d->name);
    return text;
}

static lmf_status add_json(lmf_document *d, const char *path, const json_t *v, int depth)
{
    lmf_ctx *ctx = d->arena->ctx;
    char below[512], number[64];
    const char *key;
    json_t *item;
    size_t i;
    if (depth > LMF_DOCUMENT_MAX_DEPTH)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%s nests deeper than %d levels", d->name, LMF_DOCUMENT_MAX_DEPTH);
    if (json_is_string(v))
        return lmf__document_add(d, path, json_string_value(v), 0);
    if (json_is_integer(v))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(number, sizeof number, "%.17g", json_real_value(v));
    if (json_is_number(v))
        return lmf__document_add(d, path, number, 0);
    if (json_is_boolean(v))
        return lmf__document_add(d, path, json_is_true(v) ? "true" : "false", 0);
    if (json_is_null(v) || (json_object_size(v) == 0 && json_array_size(v) == 0))
        return depth ? lmf__document_add(d, path, NULL, 0) : LMF_OK;
    json_object_foreach((json_t *)(uintptr_t)v, key, item) {
        if (snprintf(below, sizeof below, "%s%s%s", path, depth ? "." : "", key) >= (int)sizeof below)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "%s: a key is too long", d->name);
        LMF_TRY(add_json(d, below, item, depth + 1));
    }
    json_array_foreach((json_t *)(uintptr_t)v, i, item) {
        if (snprintf(below, sizeof below, "%s.%zu", path, i) >= (int)sizeof below)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "%s: a key is too long", d->name);
        LMF_TRY(add_json(d, below, item, depth + 1));
    }
    return LMF_OK;
}

static lmf_status parse_json(lmf_document *d, const char *text, size_t n)
{
    json_error_t e;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!root)
        return LMF_FAIL(d->arena->ctx, LMF_E_FORMAT, "%s, line %d: no JSON: %.100s", d->name, e.line, e.text);
    lmf_status s = add_json(d, "", root, 0);
    json_decref(root);
    return s;
}

lmf_status lmf_document_parse(lmf_arena *arena, const char *name, const char *text, size_t n, lmf_document *out)
{
    char *own = lmf_arena_strdup(arena, name);
    *out = (lmf_document){ .arena = arena, .name = own };
    if (!own)
        return LMF_NO_MEMORY(arena->ctx, strlen(name), "a configuration");
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        text += 3, n -= 3;
    if (n > LMF_DOCUMENT_MAX_BYTES)
        return LMF_FAIL(arena->ctx, LMF_E_LIMIT, "%s has %zu bytes, more than the %d of a configuration", name, n, LMF_DOCUMENT_MAX_BYTES);
    if (memchr(text, 0, n))
        return LMF_FAIL(arena->ctx, LMF_E_FORMAT, "%s is no text", name);
    size_t k = 0;
    while (k < n && strchr(" \t\r\n", text[k]))
        k++;
    return k < n && text[k] == '{' ? parse_json(out, text, n) : lmf__document_yaml(out, text, n);
}

lmf_status lmf_document_load(lmf_arena *arena, const char *path, lmf_document *out)
{
    char *text;
    size_t n;
    LMF_TRY(lmf_file_read(arena->ctx, path, LMF_DOCUMENT_MAX_BYTES, &text, &n));
    lmf_status s = lmf_document_parse(arena, path, text, n, out);
    lmf_free(arena->ctx, text, n + 1);
    return s;
}

lmf_status lmf_document_assign(lmf_document *d, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    char path[512];
    int kept = 0;
    if (!equals || equals == assignment || (size_t)(equals - assignment) >= sizeof path)
        return LMF_FAIL(d->arena->ctx, LMF_E_ARG,
            "--set is \"%.64s\", but must be NAME=VALUE, such as lora_r=8 or datasets.0.path=rows.jsonl",
                        assignment);
    size_t n = (size_t)(equals - assignment);
    snprintf(path, sizeof path, "%.*s", (int)n, assignment);
    for (int i = 0; i < d->n; i++) {
        const char *p = d->items[i].path;
        if (strncmp(p, path, n) || (p[n] && p[n] != '.'))
            d->items[kept++] = d->items[i];
    }
    d->n = kept;
    return lmf__document_add(d, path, strcmp(equals + 1, "null") ? equals + 1 : NULL, LMF_LINE_SET);
}
