/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the parser sees no bytes that have not been measured, and its words are never passed on: it repeats bytes of the file. */
#include "data/rows.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/preference.h"
#include "data/source.h"
#include "format/json.h"

enum { MAX_FILE_BYTES_LOG2 = 32, MAX_ROWS = 1 << 26 };

bool lmf_row_is_bad(lmf_status s)
{
    return s == LMF_E_FORMAT || s == LMF_E_ARG || s == LMF_E_UNSUPPORTED || s == LMF_E_LIMIT;
}

size_t lmf_row_last_answer(const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    for (size_t n = json_array_size(messages); n-- > 0;)
        if (!strcmp(json_string_value(json_object_get(json_array_get(messages, n), "role")), "assistant"))
            return n;
    return SIZE_MAX;
}

static lmf_status refuse(const lmf_rows *r, const char *why) { return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s", why); }

/* ---- the parts of the text ---- */
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Behind the JSON value that begins at `at`: brackets are counted, strings passed over. n: it does not end. */
static size_t value_end(const char *p, size_t n, size_t at)
{
    size_t depth = 0;
    for (bool quoted = false; at < n; at++) {
        char c = p[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = false;
            if (!quoted && depth == 0)
                return at + 1;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at;
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || is_blank(c))) {
            return at;
        }
    }
    return n;
}

/* ---- one row ---- */
static lmf_status rename_keys(const lmf_rows *r, json_t *row)
{
    for (int i = 0; i < r->opts.n_renames; i++) {
        const char *to = r->opts.rename[i].to, *from = r->opts.rename[i].from;
        json_t *v = json_object_get(row, from);
        if (!v)
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "the row has no key \"%.60s\", which is to be its \"%.60s\"", from, to);
        if (strcmp(to, from) && (json_object_set(row, to, v) || json_object_del(row, from)))
            return LMF_NO_MEMORY(r->ctx, 64, "a row");
    }
    return LMF_OK;
}

/* A prompt that is a list of messages, and no answer to it. */
static lmf_status prompt_as_messages(const lmf_rows *r, json_t *row)
{
    json_t *prompt = json_object_get(row, "prompt");
    if (!json_is_array(prompt) || json_object_get(row, "messages") || json_object_get(row, "completion"))
        return LMF_OK;
    if (json_object_set(row, "messages", prompt) || json_object_del(row, "prompt"))
        return LMF_NO_MEMORY(r->ctx, 64, "a row");
    return LMF_OK;
}

static lmf_status parse_row(const lmf_rows *r, const char *p, size_t n, json_t **out)
{
    size_t n_values, depth;
    *out = NULL;
    lmf_json_measure(p, n, &n_values, &depth);
    if (n_values > LMF_ROW_MAX_VALUES)
        return LMF_FAIL(r->ctx, LMF_E_LIMIT, "the row holds %zu values; at most %d are read", n_values, LMF_ROW_MAX_VALUES);
    if (depth > LMF_ROW_MAX_DEPTH)
        return LMF_FAIL(r->ctx, LMF_E_LIMIT, "no JSON that is read here: it nests %zu levels deep; at most %d are read", depth,
                        LMF_ROW_MAX_DEPTH);
    json_t *j;
    LMF_TRY(lmf__row_json(r->ctx, p, n, &j));
    lmf_status s = json_is_object(j) ? rename_keys(r, j) : refuse(r, "not a JSON object");
    if (!s)
        s = lmf_row_convert(r->ctx, r->opts.format, j);
    if (!s && r->opts.asks)
        s = prompt_as_messages(r, j);
    if (!s)
        s = lmf__row_normalize(r->ctx, j);
    if (s)
        json_decref(j);
    else
        *out = j;
    return s;
}

static bool is_role(const char *role)
{
    static const char *const roles[] = { "system", "developer", "user", "assistant", "tool", NULL };
    for (const char *const *known = roles; *known; known++)
        if (strcmp(*known, role) == 0)
            return true;
    return false;
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

lmf_status lmf__row_check_messages(const lmf_rows *r, const json_t *messages)
{
    const char *before = NULL;
    bool answered = false;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        const json_t *content = json_object_get(m, "content");
        if (!role)
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "message %zu has no role", i + 1);
        if (!is_role(role))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "message %zu has the unknown role \"%.20s\"; system, developer, user, assistant and tool "
                            "are known", i + 1, role);
        if (!role_follows(before, role))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "message %zu has the role \"%.20s\" after %s%.20s", i + 1, role,
                            before ? "" : "the start", before ? before : "");
        if (!content)
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "message %zu has no content", i + 1);
        if (!json_is_string(content) && !json_is_array(content))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "message %zu: its content is %s; write it as text", i + 1,
                            json_is_object(content) ? "an object" : json_is_number(content) ? "a number" : "no text, nor a list of parts");
        answered |= !strcmp(role, "assistant");
        before = role;
    }
    return answered || (r->opts.asks && before) ? LMF_OK : refuse(r, "no message is the assistant's: there is nothing to learn");
}

static lmf_status unknown_form(const lmf_rows *r, const json_t *row)
{
    char keys[200] = "", names[200] = "";
    const char *key;
    const json_t *v;
    json_object_foreach((json_t *)(uintptr_t)row, key, v) {
        size_t at = strlen(keys);
        snprintf(keys + at, sizeof keys - at, "%s%.40s", at ? ", " : "", key);
    }
    for (const lmf_row_format *const *f = r->ctx->tables->row_formats; *f; f++) {
        size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s (%s)", at ? ", " : "", (*f)->name, (*f)->summary);
    }
    return LMF_FAIL(r->ctx, LMF_E_FORMAT, "a row has \"messages\", \"prompt\" and \"completion\", \"text\", \"segments\", \"chosen\" and "
                    "\"rejected\", or is of a format: %s. This one has the keys %s", names, keys[0] ? keys : "of nothing");
}

static lmf_status check_segments(const lmf_rows *r, const json_t *list)
{
    size_t i;
    const json_t *s;
    bool learned = false;
    if (!json_is_array(list))
        return refuse(r, "\"segments\" is no list");
    json_array_foreach(list, i, s) {
        if (!json_is_string(json_object_get(s, "text")) || !json_is_boolean(json_object_get(s, "label")))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "segment %zu has no \"text\", or no \"label\" that is true or false", i + 1);
        learned |= json_is_true(json_object_get(s, "label"));
    }
    return learned ? LMF_OK : refuse(r, "no segment has the label true: there is nothing to learn");
}

static lmf_status check_row(const lmf_rows *r, const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    if (messages && json_array_size(messages) == 0)
        return refuse(r, "\"messages\" is not a list of messages");
    if (messages)
        return lmf__row_check_messages(r, messages);
    if (json_is_string(json_object_get(row, "prompt")) && json_is_string(json_object_get(row, "completion")))
        return LMF_OK;
    if (r->opts.asks && json_is_string(json_object_get(row, "prompt")))
        return LMF_OK;
    if (json_is_string(json_object_get(row, "text")))
        return LMF_OK;
    if (json_object_get(row, "segments"))
        return check_segments(r, json_object_get(row, "segments"));
    if (lmf__row_is_preference(row)) /* looked into where it is wanted */
        return LMF_OK;
    bool chosen = json_object_get(row, "chosen") != NULL;
    if (chosen || json_object_get(row, "rejected"))
        return refuse(r, chosen ? "a row has \"chosen\" without \"rejected\"" : "a row has \"rejected\" without \"chosen\"");
    return unknown_form(r, row);
}

static lmf_status add_row(lmf_rows *r, int64_t line, size_t at, size_t n)
{
    json_t *j;
    lmf_status s = parse_row(r, r->text.data + at, n, &j);
    if (!s)
        s = check_row(r, j);
    json_decref(j);
    if (s)
        lmf_fail_prefix(r->ctx, s, "%s, %s %lld", r->path, r->unit, (long long)line);
    if (s && r->skip_bad && lmf_row_is_bad(s)) {
        if (r->n_bad++ == 0)
            snprintf(r->first_bad, sizeof r->first_bad, "%s", lmf_error(r->ctx));
        return LMF_OK;
    }
    LMF_TRY(s);
    if (r->n == r->cap) {
        int64_t cap = r->cap ? 2 * r->cap : 256;
        lmf_row *p = cap > MAX_ROWS ? NULL : lmf_realloc(r->ctx, r->items, (size_t)r->cap * sizeof *p, (size_t)cap * sizeof *p);
        if (!p)
            return LMF_FAIL(r->ctx, LMF_E_MEMORY, "%s: out of memory after %lld rows", r->path, (long long)r->n);
        r->items = p, r->cap = cap;
    }
    r->items[r->n++] = (lmf_row){ at, n, line };
    return LMF_OK;
}

static int64_t lines_in(const char *p, size_t n)
{
    int64_t lines = 0;
    for (const char *end = p + n; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        lines++;
    return lines;
}

/* A list of rows, or rows that are spread over lines, one behind the other. */
static lmf_status add_values(lmf_rows *r, bool list)
{
    enum { START, VALUE_OR_END, VALUE, COMMA_OR_END, DONE } want = list ? START : VALUE;
    const char *p = r->text.data;
    size_t n = r->text.n, at = 0;
    int64_t line = 1;
    for (size_t end = 0;; at = end) {
        while (at < n && is_blank(p[at]))
            line += p[at++] == '\n';
        if (at == n)
            break;
        end = at + 1;
        if (want == START) {
            want = VALUE_OR_END; /* the list's own bracket */
        } else if (want == COMMA_OR_END && (p[at] == ',' || p[at] == ']')) {
            want = p[at] == ',' ? VALUE : DONE;
        } else if (want == VALUE_OR_END && p[at] == ']') {
            want = DONE;
        } else if (want == COMMA_OR_END || want == DONE) {
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: no JSON: %s", r->path, (long long)line,
                            want == DONE ? "something follows behind the list of rows" : "a comma is missing between two rows of the list");
        } else {
            end = value_end(p, n, at);
            end += end == at;
            LMF_TRY(add_row(r, list ? r->n + r->n_bad + 1 : line, at, end - at));
            line += lines_in(p + at, end - at);
            want = list ? COMMA_OR_END : VALUE;
        }
    }
    return list && want != DONE ? LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s, line %lld: no JSON: the list of rows ends too early", r->path,
                                           (long long)line) : LMF_OK;
}

static lmf_status add_lines(lmf_rows *r)
{
    const char *text = r->text.data;
    int64_t line = 1;
    for (size_t at = 0, len; at < r->text.n; at += len + 1, line++) {
        const char *end = memchr(text + at, '\n', r->text.n - at);
        len = end ? (size_t)(end - text) - at : r->text.n - at;
        size_t blank = 0;
        while (blank < len && is_blank(text[at + blank]))
            blank++;
        if (blank < len)
            LMF_TRY(add_row(r, line, at, len));
    }
    return LMF_OK;
}

/* A bracket is a list; a lone brace on the first line begins rows that are spread over lines; all else is JSON Lines. */
static lmf_status add_all(lmf_rows *r)
{
    const char *p = lmf_buf_str(&r->text);
    p += strspn(p, " \t\r\n");
    if (*p == '[') {
        r->unit = "row";
        return add_values(r, true);
    }
    return *p == '{' && p[1 + strspn(p + 1, " \t\r")] == '\n' ? add_values(r, false) : add_lines(r);
}

/* By the end of a name, .gz left out. */
static lmf_file_kind kind_of(const char *path)
{
    static const struct { const char *end; lmf_file_kind kind; } ends[] = { { ".csv", LMF_FILE_CSV }, { ".tsv", LMF_FILE_CSV },
        { ".txt", LMF_FILE_TEXT }, { ".md", LMF_FILE_TEXT } };
    size_t n = strlen(path);
    n -= n > 3 && strcmp(path + n - 3, ".gz") == 0 ? 3 : 0;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i].end);
        if (n > k && strncmp(path + n - k, ends[i].end, k) == 0)
            return ends[i].kind;
    }
    return LMF_FILE_JSON;
}

/* Tables and plain text become JSON Lines in place. */
static lmf_status make_rows(lmf_rows *r)
{
    lmf_buf made;
    lmf_file_kind kind = r->opts.kind == LMF_FILE_BY_NAME ? kind_of(r->path) : r->opts.kind;
    if (kind == LMF_FILE_JSON)
        return LMF_OK;
    lmf_buf_init(&made, r->ctx, r->text.max);
    lmf_status s = kind == LMF_FILE_CSV ? lmf_rows_from_csv(r->ctx, r->path, lmf_buf_str(&r->text), r->text.n, &made)
                                        : lmf_rows_from_text(r->ctx, lmf_buf_str(&r->text), r->text.n, r->opts.split, &made);
    s = s ? s : made.status;
    lmf_buf_clear(&r->text);
    r->text = made;
    r->unit = kind == LMF_FILE_CSV ? "record" : "piece";
    return s;
}

/* out->text has been read with status s; on failure nothing is left of out. */
static lmf_status finish_open(lmf_rows *out, const char *name, lmf_status s)
{
    lmf_ctx *ctx = out->ctx;
    if (!s)
        s = lmf_sha256_hex(ctx, lmf_buf_str(&out->text), out->text.n, out->sha256);
    if (!s && !(out->path = lmf_alloc(ctx, strlen(name) + 1)))
        s = LMF_NO_MEMORY(ctx, strlen(name) + 1, "a path");
    if (!s) {
        memcpy(out->path, name, strlen(name) + 1);
        s = make_rows(out);
    }
    if (!s)
        s = add_all(out);
    if (!s && out->n == 0)
        s = out->n_bad ? LMF_FAIL(ctx, LMF_E_FORMAT, "%s: none of its %lld rows can be used. The first: %s", name,
                                  (long long)out->n_bad, out->first_bad)
                       : LMF_FAIL(ctx, LMF_E_FORMAT, "%s holds no rows", name);
    if (s)
        lmf_rows_close(out);
    return s;
}

static void begin_open(lmf_ctx *ctx, const lmf_rows_opts *opts, lmf_rows *out)
{
    *out = (lmf_rows){ .ctx = ctx, .unit = "line", .skip_bad = opts->skip_bad, .opts = *opts };
    lmf_buf_init(&out->text, ctx, (size_t)1 << MAX_FILE_BYTES_LOG2);
}

lmf_status lmf_rows_open_as(lmf_ctx *ctx, const char *path, const lmf_rows_opts *opts, lmf_rows *out)
{
    begin_open(ctx, opts, out);
    lmf_status s = lmf_source_read(ctx, path, "JSON Lines, a JSON array, CSV or plain text", &out->text);
    return finish_open(out, strcmp(path, "-") ? path : "standard input", s);
}

lmf_status lmf_rows_open_with(lmf_ctx *ctx, const char *path, bool skip_bad, lmf_rows *out)
{
    return lmf_rows_open_as(ctx, path, &(lmf_rows_opts){ .skip_bad = skip_bad }, out);
}

lmf_status lmf_rows_parse(lmf_ctx *ctx, const char *name, const char *text, size_t n, bool skip_bad, lmf_rows *out)
{
    begin_open(ctx, &(lmf_rows_opts){ .skip_bad = skip_bad, .kind = LMF_FILE_JSON }, out);
    lmf_status s = lmf_buf_append(&out->text, text, n);
    return finish_open(out, name, s ? LMF_FAIL(ctx, s, "%s: %zu bytes are too many", name, n) : LMF_OK);
}

lmf_status lmf_rows_open(lmf_ctx *ctx, const char *path, lmf_rows *out) { return lmf_rows_open_with(ctx, path, false, out); }

lmf_status lmf_row_get(const lmf_rows *r, int64_t i, json_t **out)
{
    lmf_status s = parse_row(r, r->text.data + r->items[i].at, r->items[i].n, out);
    return s ? lmf_fail_prefix(r->ctx, s, "%s, %s %lld", r->path, r->unit, (long long)r->items[i].line) : LMF_OK;
}

lmf_status lmf_row_form_at(const lmf_rows *r, int64_t i, const char **form)
{
    json_t *j = json_loadb(r->text.data + r->items[i].at, r->items[i].n, JSON_REJECT_DUPLICATES, NULL);
    lmf_status s = j ? rename_keys(r, j) : LMF_OK; /* numbers past 64 bits: nothing can be said */
    *form = j && !s ? lmf_row_form_name(r->ctx->tables, j) : NULL;
    json_decref(j);
    return s;
}

void lmf_rows_close(lmf_rows *r)
{
    lmf_free(r->ctx, r->items, (size_t)r->cap * sizeof *r->items);
    if (r->path)
        lmf_free(r->ctx, r->path, strlen(r->path) + 1);
    if (r->text.ctx)
        lmf_buf_clear(&r->text);
    *r = (lmf_rows){ 0 };
}
