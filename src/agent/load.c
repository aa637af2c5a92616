/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a file is read twice, first for its columns and what stands in them, then into the table: memory holds the text, one row and what
 * SQLite keeps. */
#include "agent/load.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "data/formats.h"
#include "data/source.h"
#include "format/json.h"

enum { MAX_COLUMNS = 256, MAX_NAME = 64, MAX_FILE = 256 << 20 };
enum { HAS_INTEGER = 1, HAS_REAL = 2, HAS_TEXT = 4 };

typedef struct loader {
    lmf_ctx    *ctx;
    sqlite3    *db;
    const char *path;
    char        table[MAX_NAME + 1];
    bool        csv;               /* values are texts, of which some are numbers */
    json_t     *columns;           /* name: its number */
    uint8_t     kinds[MAX_COLUMNS]; /* HAS_ of all its values */
    sqlite3_stmt *insert;
} loader;

static lmf_status refuse(const loader *l, int rc)
{
    return rc == SQLITE_NOMEM || rc == SQLITE_FULL ? LMF_NO_MEMORY(l->ctx, 0, "a table")
         : LMF_FAIL(l->ctx, LMF_E_FORMAT, "%.200s: SQLite: %.200s", l->path, sqlite3_errmsg(l->db));
}

/* ---- values ---- */

/* What a field of CSV is: -12, 3.5, 1e6; not 007, 0x1, 1_000 or nan. */
static int kind_of_text(const char *s)
{
    const char *p = s + (*s == '-');
    size_t whole = strspn(p, "0123456789"), part = 0;
    if ((*p == '0' && whole > 1) || whole > 18)
        return HAS_TEXT;
    p += whole;
    int kind = HAS_INTEGER;
    if (*p == '.')
        part = strspn(p + 1, "0123456789"), p += 1 + part, kind = HAS_REAL;
    if (!whole && !part)
        return HAS_TEXT;
    if (*p == 'e' || *p == 'E') {
        p += 1 + (p[1] == '-' || p[1] == '+');
        size_t power = strspn(p, "0123456789");
        if (!power || power > 3)
            return HAS_TEXT;
        p += power, kind = HAS_REAL;
    }
    return *p ? HAS_TEXT : kind;
}

static int kind_of(const loader *l, const json_t *v)
{
    if (json_is_null(v) || (l->csv && json_string_length(v) == 0))
        return 0;
    if (json_is_integer(v) || json_is_boolean(v))
        return HAS_INTEGER;
    if (json_is_real(v))
        return HAS_REAL;
    return l->csv && strlen(json_string_value(v)) == json_string_length(v) ? kind_of_text(json_string_value(v)) : HAS_TEXT;
}

static int bind(const loader *l, int i, const json_t *v)
{
    bool number = l->csv && !(l->kinds[i] & HAS_TEXT);
    if (json_is_null(v) || (number && json_string_length(v) == 0))
        return sqlite3_bind_null(l->insert, i + 1);
    if (json_is_string(v)) /* the column's affinity makes numbers of them */
        return sqlite3_bind_text64(l->insert, i + 1, json_string_value(v), json_string_length(v), SQLITE_TRANSIENT, SQLITE_UTF8);
    if (json_is_integer(v) || json_is_boolean(v))
        return sqlite3_bind_int64(l->insert, i + 1, json_is_integer(v) ? json_integer_value(v) : json_is_true(v));
    if (json_is_real(v))
        return sqlite3_bind_double(l->insert, i + 1, json_real_value(v));
    char *text = json_dumps(v, JSON_COMPACT);
    int rc = text ? sqlite3_bind_text(l->insert, i + 1, text, -1, SQLITE_TRANSIENT) : SQLITE_NOMEM;
    free(text); /* allowed: jansson's own */
    return rc;
}

/* ---- rows ---- */

static lmf_status see_row(loader *l, const json_t *row)
{
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)row, name, v) {
        const json_t *at = json_object_get(l->columns, name);
        size_t i = at ? (size_t)json_integer_value(at) : json_object_size(l->columns);
        if (i == MAX_COLUMNS)
            return LMF_FAIL(l->ctx, LMF_E_LIMIT, "more than %d columns", MAX_COLUMNS);
        if (!at && json_object_set_new(l->columns, name, json_integer((json_int_t)i)))
            return LMF_NO_MEMORY(l->ctx, 64, "a column");
        l->kinds[i] |= (uint8_t)kind_of(l, v);
    }
    return LMF_OK;
}

static lmf_status put_row(loader *l, const json_t *row)
{
    const char *name;
    json_t *v;
    int rc = sqlite3_reset(l->insert);
    sqlite3_clear_bindings(l->insert);
    json_object_foreach((json_t *)(uintptr_t)row, name, v)
        rc = rc ? rc : bind(l, (int)json_integer_value(json_object_get(l->columns, name)), v);
    if (!rc)
        rc = sqlite3_step(l->insert) == SQLITE_DONE ? SQLITE_OK : sqlite3_errcode(l->db);
    return rc ? refuse(l, rc) : LMF_OK;
}

static lmf_status each_row(loader *l, const lmf_buf *lines, lmf_status (*use)(loader *l, const json_t *row))
{
    int64_t line = 1;
    for (const char *p = lmf_buf_str(lines), *end = p + lines->n; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = stop ? (size_t)(stop - p) : (size_t)(end - p);
        bool blank = true;
        for (size_t i = 0; blank && i < n; i++)
            blank = strchr(" \t\r", p[i]) && p[i];
        json_t *row = NULL;
        lmf_status s = blank ? LMF_OK : lmf_json_parse(l->ctx, p, n, "the row", LMF_JSON_SMALL, &row);
        if (!blank && !s)
            s = use(l, row);
        json_decref(row);
        if (s)
            return lmf_fail_prefix(l->ctx, s, "%.200s, %s %lld", l->path, l->csv ? "record" : "line", (long long)line);
        p += n + (stop != NULL);
    }
    return LMF_OK;
}

/* ---- the table ---- */

static void name_table(loader *l)
{
    const char *slash = strrchr(l->path, '/'), *p = slash ? slash + 1 : l->path;
    size_t n = 0;
    if (*p >= '0' && *p <= '9')
        l->table[n++] = 't', l->table[n++] = '_';
    for (; *p && n < MAX_NAME && !(*p == '.' && n); p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        l->table[n++] = plain ? *p : '_';
    }
    l->table[n] = 0;
}

/* CREATE and INSERT. A name in quotes, those in it doubled. */
static lmf_status make_table(loader *l)
{
    static const char *const types[] = { "TEXT", "INTEGER", "REAL", "REAL", "TEXT" };
    lmf_buf create, insert;
    const char *name;
    json_t *v;
    int i = 0;
    if (!json_object_size(l->columns))
        return LMF_FAIL(l->ctx, LMF_E_FORMAT, "%.200s has no rows", l->path);
    lmf_buf_init(&create, l->ctx, 1 << 20);
    lmf_buf_init(&insert, l->ctx, 1 << 20);
    lmf_buf_printf(&create, "CREATE TABLE \"%s\" (", l->table);
    lmf_buf_printf(&insert, "INSERT INTO \"%s\" VALUES (", l->table);
    json_object_foreach(l->columns, name, v) { /* in the order in which they came */
        int kind = l->kinds[i];
        lmf_buf_printf(&create, "%s\"", i ? ", " : "");
        for (const char *p = name; *p; p++)
            lmf_buf_append(&create, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
        const char *type = kind <= HAS_TEXT ? types[kind] : l->csv ? "TEXT" : ""; /* JSON's of several types stay as they are */
        lmf_buf_printf(&create, "\"%s%s", *type ? " " : "", type);
        lmf_buf_puts(&insert, i++ ? ", ?" : "?");
    }
    lmf_buf_puts(&create, ")");
    lmf_buf_puts(&insert, ")");
    lmf_status s = create.status ? create.status : insert.status;
    if (!s && sqlite3_table_column_metadata(l->db, NULL, l->table, NULL, NULL, NULL, NULL, NULL, NULL) == SQLITE_OK)
        s = LMF_FAIL(l->ctx, LMF_E_ARG, "%.200s: there is a table \"%s\" already; give the file another name", l->path, l->table);
    int rc = s ? SQLITE_OK : sqlite3_exec(l->db, lmf_buf_str(&create), NULL, NULL, NULL);
    if (!s && !rc)
        rc = sqlite3_prepare_v2(l->db, lmf_buf_str(&insert), -1, &l->insert, NULL);
    lmf_buf_clear(&create);
    lmf_buf_clear(&insert);
    return s ? s : rc ? refuse(l, rc) : LMF_OK;
}

static bool ends(const char *path, const char *with)
{
    size_t n = strlen(path), k = strlen(with);
    return n > k && strcmp(path + n - k, with) == 0;
}

lmf_status lmf__load_table(lmf_ctx *ctx, sqlite3 *db, const char *path)
{
    loader *l = lmf_new(ctx, loader);
    lmf_buf text, lines;
    if (!l)
        return LMF_NO_MEMORY(ctx, sizeof *l, "a table");
    *l = (loader){ .ctx = ctx, .db = db, .path = path, .columns = json_object() };
    lmf_buf_init(&text, ctx, MAX_FILE);
    lmf_buf_init(&lines, ctx, 4 * (size_t)MAX_FILE);
    name_table(l);
    l->csv = ends(path, ".csv") || ends(path, ".tsv") || ends(path, ".csv.gz") || ends(path, ".tsv.gz");
    lmf_status s = l->columns ? lmf_source_read(ctx, path, "a table (CSV, TSV, JSON Lines or SQLite)", &text)
        : LMF_NO_MEMORY(ctx, 64, "a table");
    if (!s && l->csv)
        s = lmf_rows_from_csv(ctx, path, lmf_buf_str(&text), text.n, &lines);
    const lmf_buf *rows = l->csv ? &lines : &text;
    if (!s)
        s = each_row(l, rows, see_row);
    if (!s)
        s = make_table(l);
    if (!s)
        s = each_row(l, rows, put_row);
    sqlite3_finalize(l->insert);
    json_decref(l->columns);
    lmf_buf_clear(&text);
    lmf_buf_clear(&lines);
    lmf_delete(ctx, l);
    return s;
}
