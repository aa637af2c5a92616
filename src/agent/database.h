/* SPDX-License-Identifier: Apache-2.0 */
/* database: tables that may be read: a SQLite file, opened for reading, or tables made in memory of CSV, TSV and JSON Lines files. What a
 * query may do is said by SQLite's authorizer, which allows SELECT alone.
 *
 *     LMF_TRY(lmf__database_open(ctx, "sales.csv,shops.jsonl", 10, &db));     // tables sales and shops
 *     LMF_TRY(lmf__database_query(db, "SELECT count(*) FROM sales", until, &out));
 *
 * A file's table is called as the file is, letters, digits and _ alone. A column of CSV whose fields are all numbers has numbers (none that
 * begins with a needless 0 is one), an empty field is NULL in it; of JSON values keep their types, lists and objects are JSON text.
 * Owner: open/close. Threads: one. */
#ifndef LMF_AGENT_DATABASE_H
#define LMF_AGENT_DATABASE_H
#include "agent/tool.h"

enum { LMF_DATABASE_MAX_ROWS = 200 }; /* of an answer */
typedef struct lmf_database lmf_database;
/* LMF_E_IO, LMF_E_FORMAT: a file that can't be opened, or is none of these, with its line; LMF_E_ARG: two tables of one name. */
lmf_status lmf__database_open(lmf_ctx *ctx, const char *paths, double timeout_s, lmf_database **out);
void       lmf__database_close(lmf_database *d);   /* NULL is fine */
/* " Tables:" and how each was made, as one line. */
lmf_status lmf__database_describe(lmf_database *d, lmf_buf *out);
/* A line of names, then a line a row. LMF_E_ARG: no SELECT, or one with a mistake; LMF_E_LIMIT: late. until: of lmf_tool_clock_now. */
lmf_status lmf__database_query(lmf_database *d, const char *sql, double until, lmf_tool_out *out);
const char *lmf__database_last(const lmf_database *d); /* the last query that was answered; NULL: none was */
/* The same once more, into files of folder, which is made: query.sql, table.csv and, where a column has numbers, chart.svg. *report:
 * {"query", "columns", "rows", "rows_cut", "files"}; the caller's reference. folder NULL: no files. LMF_E_NOT_FOUND: there is none. */
lmf_status lmf__database_report(lmf_database *d, const char *folder, json_t **report);

#endif
