/* SPDX-License-Identifier: Apache-2.0 */
#include "data/formats.h"
#include <string.h>

static const struct { const char *key, *name; } known[] = { { "messages", "messages" }, { "text", "text" }, { "chosen", "preference" },
    { "segments", "segments" }, { "completion", "completion" } };

const lmf_row_format *lmf_row_format_find(const lmf_tables *tables, const char *name)
{
    for (const lmf_row_format *const *f = tables->row_formats; *f; f++)
        if (strcmp((*f)->name, name) == 0)
            return *f;
    return NULL;
}

static const lmf_row_format *detect(const lmf_tables *tables, const json_t *row)
{
    for (const lmf_row_format *const *f = tables->row_formats; *f; f++)
        if ((*f)->detect(row))
            return *f;
    return NULL;
}

static const char *known_form(const json_t *row)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const json_t *v = json_object_get(row, known[i].key);
        if (v && !json_is_null(v))
            return known[i].name;
    }
    return NULL;
}

const char *lmf_row_form_name(const lmf_tables *tables, const json_t *row)
{
    const char *form = known_form(row);
    const lmf_row_format *f = form ? NULL : detect(tables, row);
    return form ? form : f ? f->name : NULL;
}

lmf_status lmf_row_convert(lmf_ctx *ctx, const lmf_row_format *format, json_t *row)
{
    if (!format && known_form(row))
        return LMF_OK;
    if (!format)
        format = detect(ctx->tables, row);
    return format ? format->convert(ctx, row) : LMF_OK;
}

json_t *lmf__format_text(json_t *row, const char *key)
{
    json_t *v = json_incref(json_object_get(row, key));
    if (v)
        json_object_del(row, key);
    if (json_is_string(v))
        return v;
    json_decref(v);
    return NULL;
}

lmf_status lmf__format_message(lmf_ctx *ctx, json_t *list, const char *role, json_t *content)
{
    if (!content || json_array_append_new(list, json_pack("{s:s, s:o}", "role", role, "content", content)))
        return LMF_NO_MEMORY(ctx, 64, "a row");
    return LMF_OK;
}

lmf_status lmf__format_messages(lmf_ctx *ctx, json_t *row, lmf_status (*fill)(lmf_ctx *ctx, json_t *row, json_t *messages))
{
    json_t *messages = json_array();
    lmf_status s = messages ? fill(ctx, row, messages) : LMF_NO_MEMORY(ctx, 64, "a row");
    if (!s && json_object_set(row, "messages", messages))
        s = LMF_NO_MEMORY(ctx, 64, "a row");
    json_decref(messages);
    return s;
}

/* ---- files that are no JSON ---- */
static void put_text_row(lmf_buf *out, const char *text, size_t n)
{
    size_t blank = 0;
    while (blank < n && strchr(" \t\r\n", text[blank]))
        blank++;
    if (blank == n)
        return;
    lmf_buf_puts(out, "{\"text\": ");
    lmf_buf_put_quoted(out, text, n);
    lmf_buf_puts(out, "}\n");
}

/* Behind the paragraph that begins at `at`, and where the next one begins. */
static size_t paragraph_end(const char *text, size_t n, size_t at, size_t *next)
{
    for (size_t i = at; i < n; i++) {
        if (text[i] != '\n')
            continue;
        size_t k = i + 1;
        while (k < n && (text[k] == ' ' || text[k] == '\t' || text[k] == '\r'))
            k++;
        if (k == n || text[k] == '\n') {
            *next = k;
            return i;
        }
    }
    *next = n;
    return n;
}

lmf_status lmf_rows_from_text(lmf_ctx *ctx, const char *text, size_t n, lmf_text_split split, lmf_buf *out)
{
    (void)ctx;
    if (split == LMF_SPLIT_NONE)
        put_text_row(out, text, n);
    for (size_t at = 0, end, next; split != LMF_SPLIT_NONE && at < n && !out->status; at = next + 1) {
        if (split == LMF_SPLIT_LINES) {
            const char *line = memchr(text + at, '\n', n - at);
            end = next = line ? (size_t)(line - text) : n;
            end -= end > at && text[end - 1] == '\r';
        } else {
            while (at < n && strchr("\r\n", text[at]))
                at++;
            end = paragraph_end(text, n, at, &next);
            end -= end > at && text[end - 1] == '\r';
        }
        put_text_row(out, text + at, end - at);
    }
    return out->status;
}
