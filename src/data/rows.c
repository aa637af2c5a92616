/* SPDX-License-Identifier: Apache-2.0 */
#include "data/rows.h"
#include <string.h>
#include "base/file.h"

enum { MAX_FILE_BYTES_LOG2 = 32, MAX_ROWS = 1 << 26 };

static lmf_status refuse(const lmf_rows *r, int64_t line, const char *why)
{
    return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: %s", r->path, (long long)line, why);
}

/* Which roles may follow which. */
static bool role_follows(const char *before, const char *role)
{
    if (!before)
        return !strcmp(role, "system") || !strcmp(role, "developer") || !strcmp(role, "user");
    if (!strcmp(role, "assistant"))
        return !strcmp(before, "user") || !strcmp(before, "tool");
    if (!strcmp(role, "user"))
        return !strcmp(before, "system") || !strcmp(before, "developer") || !strcmp(before, "assistant");
    if (!strcmp(role, "tool"))
        return !strcmp(before, "assistant") || !strcmp(before, "tool");
    return false;
}

static lmf_status check_messages(const lmf_rows *r, int64_t line, const json_t *messages)
{
    const char *before = NULL;
    bool answered = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        const json_t *content = json_object_get(m, "content");
        if (!role)
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: message %zu has no role", r->path, (long long)line, i + 1);
        if (!role_follows(before, role))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: message %zu has the role \"%.20s\" after %s%.20s", r->path, (long long)line, i + 1, role,
                            before ? "" : "the start", before ? before : "");
        bool calls = json_is_array(json_object_get(m, "tool_calls"));
        if (!json_is_string(content) && !json_is_array(content) && !(calls && (!content || json_is_null(content))))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: message %zu has no content", r->path, (long long)line, i + 1);
        answered |= !strcmp(role, "assistant");
        before = role;
    }
    return answered ? LMF_OK : refuse(r, line, "no message is the assistant's: there is nothing to learn");
}

static lmf_status check_row(const lmf_rows *r, int64_t line, const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    if (!json_is_object(row))
        return refuse(r, line, "not a JSON object");
    if (messages && json_array_size(messages) == 0)
        return refuse(r, line, "\"messages\" is not a list of messages");
    if (messages)
        return check_messages(r, line, messages);
    if (json_is_string(json_object_get(row, "prompt")) && json_is_string(json_object_get(row, "completion")))
        return LMF_OK;
    if (json_is_string(json_object_get(row, "text")))
        return LMF_OK;
    return refuse(r, line, "a row has \"messages\", \"prompt\" and \"completion\", or \"text\"");
}

static lmf_status add_row(lmf_rows *r, int64_t line, const char *text, size_t n)
{
    json_error_t e;
    json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (!j)
        return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: no JSON: %s", r->path, (long long)line, e.text);
    lmf_status s = check_row(r, line, j);
    if (!s && r->n == r->cap) {
        int64_t cap = r->cap ? 2 * r->cap : 256;
        lmf_row *p = cap > MAX_ROWS ? NULL : lmf_realloc(r->ctx, r->items, (size_t)r->cap * sizeof *p, (size_t)cap * sizeof *p);
        if (p)
            r->items = p, r->cap = cap;
        else
            s = LMF_FAIL(r->ctx, LMF_E_MEMORY, "%s: out of memory after %lld rows", r->path, (long long)r->n);
    }
    if (s)
        json_decref(j);
    else
        r->items[r->n++] = (lmf_row){ j, line };
    return s;
}

lmf_status lmf_rows_open(lmf_ctx *ctx, const char *path, lmf_rows *out)
{
    char *text;
    size_t n;
    *out = (lmf_rows){ .ctx = ctx };
    LMF_TRY(lmf_file_read(ctx, path, (size_t)1 << MAX_FILE_BYTES_LOG2, &text, &n));
    lmf_status s = lmf_sha256_hex(ctx, text, n, out->sha256);
    if (!s && !(out->path = lmf_alloc(ctx, strlen(path) + 1)))
        s = LMF_NO_MEMORY(ctx, strlen(path) + 1, "a path");
    if (!s)
        memcpy(out->path, path, strlen(path) + 1);
    int64_t line = 1;
    for (size_t at = 0; !s && at < n; line++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at, blank = strspn(text + at, " \t\r");
        if (blank < len)
            s = add_row(out, line, text + at, len);
        at += len + 1;
    }
    if (!s && out->n == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s holds no rows", path);
    lmf_free(ctx, text, n + 1);
    if (s)
        lmf_rows_close(out);
    return s;
}

void lmf_rows_close(lmf_rows *r)
{
    for (int64_t i = 0; i < r->n; i++)
        json_decref(r->items[i].json);
    lmf_free(r->ctx, r->items, (size_t)r->cap * sizeof *r->items);
    if (r->path)
        lmf_free(r->ctx, r->path, strlen(r->path) + 1);
    *r = (lmf_rows){ 0 };
}
