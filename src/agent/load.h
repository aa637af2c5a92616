/* SPDX-License-Identifier: Apache-2.0 */
/* load: a CSV, TSV or JSON Lines file becomes a table of a SQLite connection. Rules of types: agent/database.h. Threads: one. */
#ifndef LMF_AGENT_LOAD_H
#define LMF_AGENT_LOAD_H
#include <sqlite3.h>
#include "base/buf.h"

/* LMF_E_FORMAT: not such a file, with the line; LMF_E_ARG: its table is there already; LMF_E_LIMIT: too large. */
lmf_status lmf__load_table(lmf_ctx *ctx, sqlite3 *db, const char *path);

#endif
