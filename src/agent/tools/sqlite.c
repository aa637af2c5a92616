/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a query may do is said by the authorizer, which allows reading alone; the file is opened for reading besides. */
#include <sqlite3.h>
#include <string.h>
#include "agent/tool.h"

enum { MAX_ROWS = 200, MAX_VALUE = 1 << 20, STEPS = 1000 };

typedef struct database { sqlite3 *db; double until; } database;

static int authorize(void *user, int action, const char *a, const char *b, const char *c, const char *d)
{
    (void)user, (void)a, (void)c, (void)d;
    if (action == SQLITE_FUNCTION && b && sqlite3_stricmp(b, "load_extension") == 0)
        return SQLITE_DENY;
    return action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION || action == SQLITE_RECURSIVE ? SQLITE_OK
        : SQLITE_DENY;
}

static int is_late(void *user) { return lmf_tool_clock_now() > ((database *)user)->until; }

static lmf_status failed(lmf_ctx *ctx, database *d, int rc)
{
    return rc == SQLITE_NOMEM ? LMF_NO_MEMORY(ctx, 0, "a query")
         : rc == SQLITE_INTERRUPT ? LMF_FAIL(ctx, LMF_E_LIMIT, "the query took too long")
         : rc == SQLITE_AUTH ? LMF_FAIL(ctx, LMF_E_ARG, "only SELECT is allowed here")
                             : LMF_FAIL(ctx, LMF_E_ARG, "SQLite: %.300s", sqlite3_errmsg(d->db));
}

/* Tables and their columns, as the file says, for the model to know. */
static lmf_status describe(lmf_arena *a, database *d, lmf_tool_use *use)
{
    sqlite3_stmt *q = NULL;
    lmf_buf text;
    int rc = sqlite3_prepare_v2(d->db, "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND type IN ('table', 'view') ORDER BY name",
                                -1, &q,
                                NULL);
    lmf_buf_init(&text, a->ctx, 1 << 14);
    lmf_buf_printf(&text, "%s Tables:", use->description);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        const char *sql = (const char *)sqlite3_column_text(q, 0);
        lmf_buf_putc(&text, ' ');
        for (; sql && *sql; sql++) /* as one line */
            lmf_buf_putc(&text, (unsigned char)*sql < 32 ? ' ' : *sql);
        lmf_buf_putc(&text, ';');
        rc = SQLITE_OK;
    }
    sqlite3_finalize(q);
    lmf_status s = rc == SQLITE_DONE ? text.status : failed(a->ctx, d, rc);
    if (text.status == LMF_E_LIMIT)
        s = LMF_FAIL(a->ctx, LMF_E_LIMIT, "its tables take more than %zu bytes to be described", text.max);
    if (!s && !(use->description = lmf_arena_strdup(a, lmf_buf_str(&text))))
        s = LMF_NO_MEMORY(a->ctx, text.n, "a description");
    lmf_buf_clear(&text);
    return s;
}

static lmf_status open_database(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    database *d = lmf_arena_alloc(a, sizeof *d);
    if (!d)
        return LMF_NO_MEMORY(a->ctx, sizeof *d, "a database");
    use->state = d;
    int rc = sqlite3_open_v2(argument, &d->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc)
        return LMF_FAIL(a->ctx, LMF_E_IO, "the database %.200s can't be opened: %s", argument, d->db ? sqlite3_errmsg(d->db) : "no memory");
    d->until = lmf_tool_clock_now() + use->timeout_s;
    sqlite3_db_config(d->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_limit(d->db, SQLITE_LIMIT_LENGTH, MAX_VALUE);
    sqlite3_limit(d->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_busy_timeout(d->db, 1000);
    sqlite3_set_authorizer(d->db, authorize, NULL);
    sqlite3_progress_handler(d->db, STEPS, is_late, d);
    lmf_status s = describe(a, d, use);
    return s ? lmf_fail_prefix(a->ctx, s, "the database %.200s", argument) : LMF_OK;
}

static void close_database(lmf_ctx *ctx, lmf_tool_use *use)
{
    (void)ctx;
    if (use->state)
        sqlite3_close(((database *)use->state)->db);
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
    while ((rc = sqlite3_step(q)) == SQLITE_ROW && ++*n_rows <= MAX_ROWS)
        for (int i = 0; i < n; i++) {
            lmf_tool_put(out, i ? " | " : "\n", i ? 3 : 1);
            put_value(q, i, out);
        }
    return rc;
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    database *d = use->state;
    const char *sql = json_string_value(json_object_get(arguments, "query")), *rest = NULL;
    sqlite3_stmt *q = NULL;
    int n_rows = 0;
    if (!sql)
        return LMF_FAIL(ctx, LMF_E_ARG, "the argument query is missing");
    d->until = until;
    int rc = sqlite3_prepare_v2(d->db, sql, -1, &q, &rest);
    if (rc)
        return failed(ctx, d, rc);
    lmf_status s = LMF_OK;
    if (!q)
        s = LMF_FAIL(ctx, LMF_E_ARG, "the query is empty");
    else if (rest[strspn(rest, " \t\r\n;")])
        s = LMF_FAIL(ctx, LMF_E_ARG, "one query at a time");
    if (!s) {
        rc = put_rows(q, out, &n_rows);
        if (rc == SQLITE_ROW)
            lmf_tool_printf(out, "\n[cut: the first %d rows]", MAX_ROWS);
        else if (rc != SQLITE_DONE)
            s = failed(ctx, d, rc);
        else if (!n_rows)
            lmf_tool_put(out, "\n(no rows)", 10);
    }
    sqlite3_finalize(q);
    return s;
}

const lmf_tool lmf_tool_sqlite = { .name = "sqlite", .description = "Answers an SQL SELECT on the database, with at most 200 rows.",
    .schema = "{\"type\": \"object\", \"properties\": {\"query\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 1000}}, "
              "\"required\": [\"query\"]}",
    .effect = LMF_READS, .is_private = true, .timeout_s = 10, .argument = "the database's file", .needs_argument = true,
        .open = open_database,
    .close = close_database, .run = run };
