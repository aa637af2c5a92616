/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a query may do is said by the authorizer, which allows reading alone; a file is opened for reading besides, and the authorizer
 * is set before the first query of a model. */
#include "agent/database.h"
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include "agent/load.h"
#include "base/file.h"
#include "base/magic.h"
#include "format/json.h"
#include "observe/svg.h"

enum { MAX_VALUE = 1 << 20, STEPS = 1000, MAX_SQL = 1 << 16, HEAD = 16, MAX_OUT = 64 << 20 };

struct lmf_database { lmf_ctx *ctx; sqlite3 *db; double until, timeout_s; lmf_buf last; };

static int authorize(void *user, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)user, (void)a, (void)c, (void)d;
    if (action == SQLITE_FUNCTION && b && sqlite3_stricmp(b, "load_extension") == 0)
        return SQLITE_DENY;
    return action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE ? SQLITE_OK
        : SQLITE_DENY;
}

static int is_late(void *user) { return lmf_tool_clock_now() > ((lmf_database *)user)->until; }

static lmf_status failed(lmf_database *d, int rc)
{
    return rc == SQLITE_NOMEM ? LMF_NO_MEMORY(d->ctx, 0, "a query")
         : rc == SQLITE_INTERRUPT ? LMF_FAIL(d->ctx, LMF_E_LIMIT, "the query took too long")
         : rc == SQLITE_AUTH ? LMF_FAIL(d->ctx, LMF_E_ARG, "only SELECT is allowed here")
                             : LMF_FAIL(d->ctx, LMF_E_ARG, "SQLite: %.300s", sqlite3_errmsg(d->db));
}

/* ---- opening ---- */

static bool is_sqlite(const char *path)
{
    char head[HEAD] = "";
    FILE *f = lmf_path_stat(path) == LMF_PATH_FILE ? fopen(path, "rbe") : NULL;
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    if (f)
        fclose(f);
    return lmf_magic_of(head, n) == LMF_MAGIC_SQLITE;
}

/* path NULL: in memory. */
static lmf_status connect(lmf_database *d, const char *path)
{
    int rc = sqlite3_open_v2(path ? path : ":memory:", &d->db,
                             (path ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc)
        return LMF_FAIL(d->ctx, LMF_E_IO, "the database %.200s can't be opened: %s", path ? path : "in memory",
                        d->db ? sqlite3_errmsg(d->db) : "no memory");
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(d->db, SQLITE_LIMIT_LENGTH, MAX_VALUE);
    sqlite3_limit(d->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_busy_timeout(d->db, 1000);
    return LMF_OK;
}

static lmf_status load_all(lmf_database *d, char *paths)
{
    LMF_TRY(connect(d, NULL));
    sqlite3_exec(d->db, "BEGIN", NULL, NULL, NULL);
    for (char *at = paths; at;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma++ = 0;
        if (is_sqlite(at))
            return LMF_FAIL(d->ctx, LMF_E_ARG, "%.200s is a SQLite database, which goes alone", at);
        LMF_TRY(lmf__load_table(d->ctx, d->db, at));
        at = comma;
    }
    return sqlite3_exec(d->db, "COMMIT", NULL, NULL, NULL) ? failed(d, SQLITE_ERROR) : LMF_OK;
}

lmf_status lmf__database_open(lmf_ctx *ctx, const char *paths, double timeout_s, lmf_database **out)
{
    lmf_database *d = *out = lmf_new(ctx, lmf_database);
    lmf_buf text;
    if (!d)
        return LMF_NO_MEMORY(ctx, sizeof *d, "a database");
    d->ctx = ctx, d->timeout_s = timeout_s;
    lmf_buf_init(&d->last, ctx, MAX_SQL);
    lmf_buf_init(&text, ctx, 1 << 20);
    lmf_status s = lmf_buf_puts(&text, paths);
    if (!s && is_sqlite(paths))
        s = connect(d, paths);
    else if (!s)
        s = load_all(d, text.data);
    if (!s) {
        d->until = lmf_tool_clock_now() + timeout_s;
        sqlite3_set_authorizer(d->db, authorize, NULL);
        sqlite3_progress_handler(d->db, STEPS, is_late, d);
    }
    lmf_buf_clear(&text);
    if (s) {
        lmf__database_close(d);
        *out = NULL;
    }
    return s;
}

void lmf__database_close(lmf_database *d)
{
    if (!d)
        return;
    sqlite3_close(d->db);
    lmf_buf_clear(&d->last);
    lmf_delete(d->ctx, d);
}

lmf_status lmf__database_describe(lmf_database *d, lmf_buf *out)
{
    sqlite3_stmt *q = NULL;
    d->until = lmf_tool_clock_now() + d->timeout_s;
    int rc = sqlite3_prepare_v2(d->db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'view') ORDER BY name",
                                -1, &q, NULL);
    lmf_buf_puts(out, " Tables:");
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(q, 0);
        lmf_buf_putc(out, ' ');
        for (; sql && *sql; sql++) /* as one line */
            lmf_buf_putc(out, (unsigned char)*sql < 32 ? ' ' : *sql);
        lmf_buf_putc(out, ';');
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    if (out->status == LMF_E_LIMIT)
        return LMF_FAIL(d->ctx, LMF_E_LIMIT, "its tables take more than %zu bytes to be described", out->max);
    return rc == SQLITE_DONE ? out->status : failed(d, rc);
}

/* ---- a query ---- */

static lmf_status prepare(lmf_database *d, const char *sql, double until, sqlite3_stmt **q)
{
    const char *rest = NULL;
    *q = NULL;
    d->until = until;
    int rc = sqlite3_prepare_v2(d->db, sql, -1, q, &rest);
    if (rc)
        return failed(d, rc);
    if (!*q)
        return LMF_FAIL(d->ctx, LMF_E_ARG, "the query is empty");
    return rest[strspn(rest, " \t\r\n;")] ? LMF_FAIL(d->ctx, LMF_E_ARG, "one query at a time") : LMF_OK;
}

static void put_value(sqlite3_stmt *q, int i, lmf_tool_out *out)
{
    int type = sqlite3_column_type(q, i);
    if (type == SQLITE_NULL)
        lmf_tool_put(out, "NULL", 4);
    else if (type == SQLITE_BLOB)
        lmf_tool_printf(out, "(%d bytes)", sqlite3_column_bytes(q, i));
    else
        lmf_tool_put(out, sqlite3_column_text(q, i), (size_t)sqlite3_column_bytes(q, i));
}

/* A line of names, then a line a row, values parted by " | ". */
static int put_rows(sqlite3_stmt *q, lmf_tool_out *out, int *n_rows)
{
    int n = sqlite3_column_count(q), rc;
    for (int i = 0; i < n; i++)
        lmf_tool_printf(out, "%s%s", i ? " | " : "", sqlite3_column_name(q, i));
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && ++*n_rows <= LMF_DATABASE_MAX_ROWS)
        for (int i = 0; i < n; i++) {
            lmf_tool_put(out, i ? " | " : "\n", i ? 3 : 1);
            put_value(q, i, out);
        }
    return rc;
}

lmf_status lmf__database_query(lmf_database *d, const char *sql, double until, lmf_tool_out *out)
{
    sqlite3_stmt *q;
    int n_rows = 0;
    lmf_status s = prepare(d, sql, until, &q);
    if (!s) {
        int rc = put_rows(q, out, &n_rows);
        if (rc == SQLITE_ROW)
            lmf_tool_printf(out, "\n[cut: the first %d rows]", LMF_DATABASE_MAX_ROWS);
        else if (rc != SQLITE_DONE)
            s = failed(d, rc);
        else if (!n_rows)
            lmf_tool_put(out, "\n(no rows)", 10);
    }
    sqlite3_finalize(q);
    lmf_buf_truncate(&d->last, s ? d->last.n : 0);
    return s ? s : lmf_buf_puts(&d->last, sql);
}

const char *lmf__database_last(const lmf_database *d) { return d->last.n ? lmf_buf_str(&d->last) : NULL; }

/* ---- a report ---- */

static json_t *value_json(sqlite3_stmt *q, int i)
{
    switch (sqlite3_column_type(q, i)) {
    case SQLITE_NULL: return json_null();
    case SQLITE_INTEGER: return json_integer(sqlite3_column_int64(q, i));
    case SQLITE_FLOAT: {
        json_t *real = json_real(sqlite3_column_double(q, i)); /* NULL: infinite */
        if (real)
            return real;
        break;
    }
    case SQLITE_BLOB: return json_sprintf("(%d bytes)", sqlite3_column_bytes(q, i));
    default: break;
    }
    const char *text = (const char *)sqlite3_column_text(q, i);
    return lmf_json_stringn(text ? text : "", (size_t)sqlite3_column_bytes(q, i));
}

/* {"query", "columns", "rows", "rows_cut", "files": []} */
static lmf_status gather(lmf_database *d, json_t **out)
{
    sqlite3_stmt *q;
    lmf_status s = prepare(d, lmf_buf_str(&d->last), lmf_tool_clock_now() + d->timeout_s, &q);
    json_t *columns = json_array(), *rows = json_array();
    int n = s ? 0 : sqlite3_column_count(q), rc = SQLITE_DONE;
    bool ok = columns && rows, cut = false;
    for (int i = 0; i < n && ok; i++)
        ok = json_array_append_new(columns, lmf_json_stringn(sqlite3_column_name(q, i), strlen(sqlite3_column_name(q, i)))) == 0;
    while (!s && ok && !cut && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        if ((cut = json_array_size(rows) == LMF_DATABASE_MAX_ROWS))
            break;
        json_t *row = json_array();
        for (int i = 0; i < n && ok; i++)
            ok = json_array_append_new(row, value_json(q, i)) == 0;
        ok = json_array_append_new(rows, row) == 0 && ok;
    }
    if (!s && !cut && rc != SQLITE_DONE)
        s = failed(d, rc);
    sqlite3_finalize(q);
    *out = s || !ok ? NULL : json_pack("{s:o, s:O, s:O, s:b, s:[]}", "query", lmf_json_stringn(d->last.data, d->last.n), "columns", columns,
                                       "rows", rows, "rows_cut", cut, "files");
    json_decref(columns);
    json_decref(rows);
    return s ? s : *out ? LMF_OK : LMF_NO_MEMORY(d->ctx, 1024, "a table");
}

/* A field of CSV (RFC 4180); one that a spreadsheet would take for a formula gets an apostrophe. */
static void put_field(lmf_buf *out, const json_t *v)
{
    if (json_is_integer(v)) {
        lmf_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else if (json_is_real(v)) {
        lmf_buf_printf(out, "%.17g", json_real_value(v));
    } else if (json_is_string(v)) {
        const char *p = json_string_value(v);
        lmf_buf_putc(out, '"');
        if (*p && strchr("=+-@\t\r", *p))
            lmf_buf_putc(out, '\'');
        for (; *p; p++)
            lmf_buf_append(out, *p == '"' ? "\"\"" : p, *p == '"' ? 2 : 1);
        lmf_buf_putc(out, '"');
    }
}

static void put_record(lmf_buf *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        lmf_buf_puts(out, i ? "," : "");
        put_field(out, json_array_get(list, i));
    }
    lmf_buf_puts(out, "\r\n");
}

/* Column i as numbers, NAN where there is none. False: it has a text, or no number at all. */
static bool numbers(const json_t *rows, size_t i, double *out)
{
    bool any = false;
    for (size_t k = 0; k < json_array_size(rows); k++) {
        const json_t *v = json_array_get(json_array_get(rows, k), i);
        if (json_is_string(v))
            return false;
        out[k] = json_is_number(v) ? json_number_value(v) : (double)NAN;
        any |= json_is_number(v);
    }
    return any;
}

static bool rises(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(x[i] == x[i]) || (i && !(x[i] > x[i - 1])))
            return false;
    return true;
}

static const char style[] =
    "<style>svg{--bg:#fff}text{fill:#444;font:12px system-ui,sans-serif}.title,.legend{font-weight:600}.grid{stroke:#ddd}"
    ".axis{stroke:#888;fill:none}.line{fill:none;stroke-width:1.8}"
    ".l0{stroke:#2266bb}.l1{stroke:#cc5522}.l2{stroke:#228855}.l3{stroke:#8844aa}.l4{stroke:#aa8800}.l5{stroke:#228899}.l6{stroke:#bb3366}"
    ".l7{stroke:#555555}text.legend{stroke:none}circle{fill:none}</style>\n";

/* Columns of numbers over the first one, where it rises, else over the rows' numbers. Nothing: there are none. */
static lmf_status draw(lmf_database *d, const json_t *report, lmf_buf *out)
{
    const json_t *columns = json_object_get(report, "columns"), *rows = json_object_get(report, "rows");
    size_t n = json_array_size(rows), n_columns = json_array_size(columns), n_lines = 0;
    lmf_svg_series lines[LMF_SVG_MAX_SERIES] = { 0 };
    double *values = lmf_alloc(d->ctx, (LMF_SVG_MAX_SERIES + 1) * LMF_DATABASE_MAX_ROWS * sizeof *values), *x = values;
    lmf_buf chart;
    if (!values)
        return LMF_NO_MEMORY(d->ctx, LMF_DATABASE_MAX_ROWS * sizeof *values, "a chart");
    bool own = n_columns > 1 && n > 1 && numbers(rows, 0, x) && rises(x, n);
    for (size_t i = 0; !own && i < n; i++)
        x[i] = (double)i + 1;
    for (size_t i = own; i < n_columns && n_lines < LMF_SVG_MAX_SERIES; i++) {
        double *y = values + (n_lines + 1) * LMF_DATABASE_MAX_ROWS;
        if (numbers(rows, i, y))
            lines[n_lines++] = (lmf_svg_series){ json_string_value(json_array_get(columns, i)), x, y, (int64_t)n, false };
    }
    lmf_svg_opts o = { n_lines == 1 ? lines[0].name : "the answer", own ? json_string_value(json_array_get(columns, 0)) : "row", 640, 320 };
    lmf_buf_init(&chart, d->ctx, MAX_OUT);
    if (n_lines && lmf_svg_chart(&chart, &o, lines, (int)n_lines)) {
        lmf_buf_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n%s", o.width, o.height, style);
        lmf_buf_append(out, chart.data, chart.n);
        lmf_buf_puts(out, "</svg>\n");
    }
    lmf_status s = chart.status ? chart.status : out->status;
    lmf_buf_clear(&chart);
    lmf_free(d->ctx, values, (LMF_SVG_MAX_SERIES + 1) * LMF_DATABASE_MAX_ROWS * sizeof *values);
    return s;
}

static lmf_status keep(lmf_database *d, const char *folder, const char *name, const lmf_buf *text, json_t *files)
{
    char path[4096];
    if (text->status || !text->n)
        return text->status;
    LMF_TRY(lmf_path_join(d->ctx, path, sizeof path, folder, name));
    LMF_TRY(lmf_file_write(d->ctx, path, text->data, text->n));
    return json_array_append_new(files, json_string(name)) ? LMF_NO_MEMORY(d->ctx, 64, "a name") : LMF_OK;
}

static lmf_status write_files(lmf_database *d, const char *folder, json_t *report)
{
    const json_t *rows = json_object_get(report, "rows");
    json_t *files = json_object_get(report, "files");
    lmf_buf text;
    LMF_TRY(lmf_dir_create(d->ctx, folder));
    lmf_buf_init(&text, d->ctx, MAX_OUT);
    lmf_buf_printf(&text, "%s\n", lmf_buf_str(&d->last));
    lmf_status s = keep(d, folder, "query.sql", &text, files);
    lmf_buf_truncate(&text, 0);
    put_record(&text, json_object_get(report, "columns"));
    for (size_t i = 0; i < json_array_size(rows); i++)
        put_record(&text, json_array_get(rows, i));
    if (!s)
        s = keep(d, folder, "table.csv", &text, files);
    lmf_buf_truncate(&text, 0);
    if (!s)
        s = draw(d, report, &text);
    if (!s)
        s = keep(d, folder, "chart.svg", &text, files);
    lmf_buf_clear(&text);
    return s;
}

lmf_status lmf__database_report(lmf_database *d, const char *folder, json_t **report)
{
    *report = NULL;
    if (!d->last.n)
        return LMF_FAIL(d->ctx, LMF_E_NOT_FOUND, "no query was answered");
    LMF_TRY(gather(d, report));
    lmf_status s = folder ? write_files(d, folder, *report) : LMF_OK;
    if (s) {
        json_decref(*report);
        *report = NULL;
    }
    return s;
}
