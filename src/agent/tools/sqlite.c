/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/database.h"

static lmf_status open_database(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    lmf_database *d;
    lmf_buf text;
    LMF_TRY(lmf__database_open(a->ctx, argument, use->timeout_s, &d));
    use->state = d;
    lmf_buf_init(&text, a->ctx, 1 << 14);
    lmf_buf_puts(&text, use->description);
    lmf_status s = lmf__database_describe(d, &text);
    if (!s && !(use->description = lmf_arena_strdup(a, lmf_buf_str(&text))))
        s = LMF_NO_MEMORY(a->ctx, text.n, "a description");
    lmf_buf_clear(&text);
    return s ? lmf_fail_prefix(a->ctx, s, "the database %.200s", argument) : LMF_OK;
}

static void close_database(lmf_ctx *ctx, lmf_tool_use *use)
{
    (void)ctx;
    lmf__database_close(use->state);
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    const char *sql = json_string_value(json_object_get(arguments, "query"));
    return sql ? lmf__database_query(use->state, sql, until, out) : LMF_FAIL(ctx, LMF_E_ARG, "the argument query is missing");
}

const lmf_tool lmf_tool_sqlite = { .name = "sqlite", .description = "Answers an SQL SELECT on the database, with at most 200 rows.",
    .schema = "{\"type\": \"object\", \"properties\": {\"query\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 1000}}, "
              "\"required\": [\"query\"]}",
    .effect = LMF_READS, .is_private = true, .timeout_s = 10,
    .argument = "the database's file, or CSV, TSV and JSON Lines files, parted by commas", .needs_argument = true, .open = open_database,
    .close = close_database, .run = run };
