/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is read from the file is bounded before it is parsed, as anything from outside. */
#include "serve/store.h"
#include <sqlite3.h>
#include <string.h>
#include "format/json.h"

enum { APPLICATION = 0x4C4D4652, MAX_ROW = 16 << 20, BUSY_MS = 2000 }; /* "LMFR" */

struct lmf_store { lmf_ctx *ctx; sqlite3 *db; };

static lmf_status fail(lmf_store *s, const char *what)
{
    return LMF_FAIL(s->ctx, LMF_E_IO, "the file of kept responses: %s: %s", what, s->db ? sqlite3_errmsg(s->db) : "no memory");
}

static lmf_status run(lmf_store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? LMF_OK : fail(s, "it can't be written");
}

/* A number that the file tells. */
static lmf_status number(lmf_store *s, const char *sql, int64_t *out)
{
    sqlite3_stmt *q = NULL;
    bool good = sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;
    if (good)
        *out = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return good ? LMF_OK : fail(s, "it can't be read");
}

static lmf_status prepare_file(lmf_store *s, const char *path)
{
    int64_t application = 0, n_tables = 0;
    sqlite3_busy_timeout(s->db, BUSY_MS);
    LMF_TRY(number(s, "PRAGMA application_id", &application));
    LMF_TRY(number(s, "SELECT count(*) FROM sqlite_master", &n_tables));
    if (n_tables && application != APPLICATION)
        return LMF_FAIL(s->ctx, LMF_E_FORMAT, "%s holds another program's data; name a new file for the kept responses", path);
    return run(s, "PRAGMA application_id = 1280132690; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                  "CREATE TABLE IF NOT EXISTS responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created INTEGER NOT NULL,"
                  " bytes INTEGER NOT NULL, response TEXT NOT NULL, messages TEXT NOT NULL) WITHOUT ROWID;"
                  "CREATE INDEX IF NOT EXISTS responses_created ON responses (created);");
}

lmf_status lmf_store_open(lmf_ctx *ctx, const char *path, lmf_store **out)
{
    lmf_store *s = lmf_new(ctx, lmf_store);
    *out = NULL;
    if (!s)
        return LMF_NO_MEMORY(ctx, sizeof *s, "kept responses");
    *s = (lmf_store){ .ctx = ctx };
    lmf_status status = LMF_OK;
    if (sqlite3_open_v2(path ? path : ":memory:", &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL))
        status = LMF_FAIL(ctx, LMF_E_IO, "%s can't be opened: %s", path ? path : "memory", s->db ? sqlite3_errmsg(s->db) : "no memory");
    if (!status)
        status = prepare_file(s, path ? path : "memory");
    if (status)
        lmf_store_close(s);
    else
        *out = s;
    return status;
}

void lmf_store_close(lmf_store *s)
{
    if (!s)
        return;
    sqlite3_close(s->db);
    lmf_delete(s->ctx, s);
}

/* What is too old goes, and of the rest the oldest beyond what is kept. */
static lmf_status trim(lmf_store *s, int64_t now)
{
    sqlite3_stmt *q = NULL;
    int64_t n = 0, bytes = 0;
    bool good = sqlite3_prepare_v2(s->db, "DELETE FROM responses WHERE created < ?", -1, &q, NULL) == SQLITE_OK &&
                sqlite3_bind_int64(q, 1, now - (int64_t)LMF_STORE_DAYS * 86400) == SQLITE_OK && sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    if (!good)
        return fail(s, "it can't be written");
    for (;;) {
        LMF_TRY(number(s, "SELECT count(*) FROM responses", &n));
        LMF_TRY(number(s, "SELECT ifnull(sum(bytes), 0) FROM responses", &bytes));
        if (n <= LMF_STORE_MAX && (bytes <= LMF_STORE_BYTES || n <= 1))
            return LMF_OK;
        LMF_TRY(run(s, "DELETE FROM responses WHERE id IN (SELECT id FROM responses ORDER BY created, id LIMIT "
                       "max(1, (SELECT count(*) FROM responses) / 64))"));
    }
}

lmf_status lmf_store_put(lmf_store *s, const char *owner, const char *id, int64_t now, const json_t *response, const json_t *messages)
{
    sqlite3_stmt *q = NULL;
    lmf_buf texts[2];
    lmf_status status = LMF_OK;
    for (int i = 0; i < 2; i++) {
        lmf_buf_init(&texts[i], s->ctx, MAX_ROW);
        lmf_status one = lmf_json_text(s->ctx, i ? messages : response, JSON_COMPACT, &texts[i]);
        status = status ? status : one;
    }
    if (!status) {
        bool good = sqlite3_prepare_v2(s->db, "INSERT OR REPLACE INTO responses VALUES (?, ?, ?, ?, ?, ?)", -1, &q, NULL) == SQLITE_OK &&
                    sqlite3_bind_text(q, 1, id, -1, SQLITE_TRANSIENT) == SQLITE_OK &&
                    sqlite3_bind_text(q, 2, owner, -1, SQLITE_TRANSIENT) == SQLITE_OK && sqlite3_bind_int64(q, 3, now) == SQLITE_OK &&
                    sqlite3_bind_int64(q, 4, (int64_t)(texts[0].n + texts[1].n)) == SQLITE_OK;
        for (int i = 0; i < 2; i++)
            good = good && sqlite3_bind_text(q, 5 + i, lmf_buf_str(&texts[i]), (int)texts[i].n, SQLITE_TRANSIENT) == SQLITE_OK;
        good = good && sqlite3_step(q) == SQLITE_DONE;
        status = good ? LMF_OK : fail(s, "it can't be written");
        sqlite3_finalize(q);
    }
    for (int i = 0; i < 2; i++)
        lmf_buf_clear(&texts[i]);
    return status ? status : trim(s, now);
}

/* A column's text as what it says; out may be NULL. */
static lmf_status column(lmf_store *s, sqlite3_stmt *q, int i, json_t **out)
{
    const char *text = (const char *)sqlite3_column_text(q, i);
    size_t n = (size_t)sqlite3_column_bytes(q, i), values, depth;
    json_error_t error;
    if (!out)
        return LMF_OK;
    lmf_json_measure(text ? text : "", n, &values, &depth);
    *out = text && values <= LMF_JSON_HEADER && depth <= 2 * LMF_JSON_MAX_DEPTH ? json_loadb(text, n, JSON_ALLOW_NUL, &error) : NULL;
    return *out ? LMF_OK : LMF_FAIL(s->ctx, LMF_E_FORMAT, "the file of kept responses: a row is damaged");
}

lmf_status lmf_store_get(lmf_store *s, const char *owner, const char *id, int64_t now, json_t **response, json_t **messages)
{
    sqlite3_stmt *q = NULL;
    lmf_status status = LMF_OK;
    bool good = sqlite3_prepare_v2(s->db, "SELECT response, messages FROM responses WHERE id = ? AND owner = ? AND created >= ?", -1, &q,
                                   NULL) == SQLITE_OK &&
                sqlite3_bind_text(q, 1, id, -1, SQLITE_TRANSIENT) == SQLITE_OK &&
                sqlite3_bind_text(q, 2, owner, -1, SQLITE_TRANSIENT) == SQLITE_OK &&
                sqlite3_bind_int64(q, 3, now - (int64_t)LMF_STORE_DAYS * 86400) == SQLITE_OK;
    int step = good ? sqlite3_step(q) : SQLITE_ERROR;
    if (response)
        *response = NULL;
    if (messages)
        *messages = NULL;
    if (step == SQLITE_ROW)
        status = column(s, q, 0, response);
    else
        status = step == SQLITE_DONE ? LMF_FAIL(s->ctx, LMF_E_NOT_FOUND, "the response \"%.80s\" is not kept here", id)
                                     : fail(s, "it can't be read");
    if (!status && (status = column(s, q, 1, messages)) && response) {
        json_decref(*response);
        *response = NULL;
    }
    sqlite3_finalize(q);
    return status;
}

lmf_status lmf_store_remove(lmf_store *s, const char *owner, const char *id)
{
    sqlite3_stmt *q = NULL;
    bool good = sqlite3_prepare_v2(s->db, "DELETE FROM responses WHERE id = ? AND owner = ?", -1, &q, NULL) == SQLITE_OK &&
                sqlite3_bind_text(q, 1, id, -1, SQLITE_TRANSIENT) == SQLITE_OK &&
                sqlite3_bind_text(q, 2, owner, -1, SQLITE_TRANSIENT) == SQLITE_OK && sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    if (!good)
        return fail(s, "it can't be written");
    return sqlite3_changes(s->db) ? LMF_OK : LMF_FAIL(s->ctx, LMF_E_NOT_FOUND, "the response \"%.80s\" is not kept here", id);
}
