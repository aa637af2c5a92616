/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/database.h"
#include "agent/kind.h"
#include "base/output.h"

static lmf_status tools(lmf_arena *a, const lmf_kind_args *args, const char **spec, int cap, int *n)
{
    (void)cap;
    if (args->output && lmf_output_stat(args->output) != LMF_OUTPUT_NONE)
        return LMF_FAIL(a->ctx, LMF_E_EXISTS, "%.300s exists; give the name of a folder that is not there yet", args->output);
    *n = 1;
    return lmf__kind_spec(a, "sqlite", args->files, args->n_files, NULL, spec);
}

static lmf_status finish(lmf_toolset *set, const lmf_kind_args *args, json_t **report)
{
    const lmf_tool_use *use = lmf_tool_find(set, "sqlite");
    *report = NULL;
    return use && lmf__database_last(use->state) ? lmf__database_report(use->state, args->output, report) : LMF_OK;
}

const lmf_kind lmf_kind_data = { .name = "data", .summary = "answers about tables by SQL, with query, table and chart",
    .system = "You answer questions about data by SQL. The tables and their columns stand in the description of sqlite. Call it with one "
              "SELECT of SQLite's dialect. Where it fails, mend the query and call again. Then answer in words, by the rows.",
    .must_call = true, .needs_files = true, .tools = tools, .finish = finish };
