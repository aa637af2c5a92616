/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/remote_tools.h"
#include <stdio.h>
#include <string.h>
#include "agent/remote.h"
#include "base/plain.h"
#include "format/json.h"

static const double TIMEOUT_S = 60;

typedef struct server {
    lmf_remote *remote;
    json_t     *pin;              /* hashes of the list that the tools are from */
    char        changed[400];     /* what is another in it now; "": nothing */
} server;

static void close_server(lmf_ctx *ctx, void *state)
{
    server *v = state;
    lmf__remote_close(v->remote);
    json_decref(v->pin);
    lmf_delete(ctx, v);
}

/* ---- a list becomes tools ---- */

/* All texts within a schema, names of members included. */
static lmf_status check_texts(lmf_ctx *ctx, const json_t *j)
{
    const char *name;
    json_t *v;
    size_t i;
    if (json_is_string(j) && strlen(json_string_value(j)) != json_string_length(j))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "a text of its own holds the character U+0000");
    if (json_is_string(j))
        return lmf__tools_check_text(ctx, json_string_value(j), "its schema");
    json_object_foreach((json_t *)(uintptr_t)j, name, v) {
        LMF_TRY(lmf__tools_check_text(ctx, name, "its schema"));
        if (strcmp(name, "x-mcp-header") == 0)
            return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "its schema wants arguments in headers of HTTP (x-mcp-header), which is not done here");
        LMF_TRY(check_texts(ctx, v));
    }
    json_array_foreach((json_t *)(uintptr_t)j, i, v)
        LMF_TRY(check_texts(ctx, v));
    return LMF_OK;
}

static lmf_status add_tool(lmf_toolset *set, const lmf_tool *tool, server *v, const json_t *t, bool trusted, int origin)
{
    const char *name = json_string_value(json_object_get(t, "name")), *about = json_string_value(json_object_get(t, "description"));
    const json_t *hint = json_object_get(json_object_get(t, "annotations"), "readOnlyHint");
    about = about ? about : "";
    LMF_TRY(lmf__tools_check_text(set->ctx, about, "its description"));
    for (int i = 0; i < 2; i++) /* a text is whole for all who read it */
        if (json_string_length(json_object_get(t, i ? "name" : "description")) != strlen(i ? name : about))
            return LMF_FAIL(set->ctx, LMF_E_FORMAT, "its %s holds the character U+0000", i ? "name" : "description");
    LMF_TRY(check_texts(set->ctx, json_object_get(t, "inputSchema")));
    lmf_tool_use use = { .tool = tool, .name = lmf_arena_strdup(&set->arena, name), .description = lmf_arena_strdup(&set->arena, about),
                         .schema = json_deep_copy(json_object_get(t, "inputSchema")), .is_private = true, .is_outward = true,
                             .origin = origin,
                         .effect = trusted && json_is_true(hint) ? LMF_READS : LMF_SENDS, .state = v,
                         .timeout_s = set->opts.timeout_s > 0 ? set->opts.timeout_s : TIMEOUT_S };
    if (use.name && use.description && use.schema)
        return lmf__tools_add(set, &use);
    json_decref(use.schema);
    return LMF_NO_MEMORY(set->ctx, 256, "a tool");
}

static lmf_status add_tools(lmf_toolset *set, const lmf_tool *tool, server *v, const char *where, bool trusted)
{
    json_t *tools = NULL;
    char plain[100], from[200];
    int origin, n = 0;
    bool is_new = false;
    LMF_TRY(lmf__tools_origin(set, &origin));
    lmf_plain_text(where, from, sizeof from);
    LMF_TRY(lmf__remote_list(v->remote, &tools));
    lmf_status s = lmf__pin_make(set->ctx, tools, &v->pin);
    if (s)
        lmf_fail_prefix(set->ctx, s, "%s", from);
    if (!s && set->opts.pin)
        s = lmf__pin_check(set->ctx, set->opts.pin, where, v->pin, &is_new);
    if (!s && is_new)
        lmf__tools_note(set, "the tools of %s stand in %s from now on", where, set->opts.pin);
    for (size_t i = 0; !s && i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i);
        const char *name = json_string_value(json_object_get(t, "name"));
        if (!lmf__tools_want(set, name))
            continue;
        n++;
        if ((s = add_tool(set, tool, v, t, trusted, origin)))
            lmf_fail_prefix(set->ctx, s, "the tool \"%s\" of %s", lmf_plain_text(name, plain, sizeof plain), from);
    }
    if (!s && !n && !set->opts.n_only)
        s = LMF_FAIL(set->ctx, LMF_E_NOT_FOUND, "%s has no tools", from);
    json_decref(tools);
    return s;
}

lmf_status lmf__remote_tools(lmf_toolset *set, const lmf_tool *tool, const char *where, bool trusted)
{
    server *v = lmf_new(set->ctx, server);
    lmf_remote_opts o = { .timeout_s = set->opts.timeout_s > 0 ? set->opts.timeout_s : TIMEOUT_S, .stopped = set->opts.stopped,
                          .user = set->opts.user };
    if (!v)
        return LMF_NO_MEMORY(set->ctx, sizeof *v, "a server");
    LMF_TRY(lmf__tools_keep(set, v, close_server));
    LMF_TRY(lmf__remote_open(set->ctx, where, &o, &v->remote));
    return add_tools(set, tool, v, where, trusted);
}

/* ---- a call ---- */

/* Its list, asked for again where it says that it has changed, against the one that the tools are from. */
static lmf_status look_again(lmf_ctx *ctx, server *v)
{
    json_t *tools = NULL, *now = NULL;
    if (!v->changed[0] && lmf__remote_list_changed(v->remote)) {
        LMF_TRY(lmf__remote_list(v->remote, &tools));
        lmf_status s = lmf__pin_make(ctx, tools, &now);
        if (!s)
            lmf__pin_compare(v->pin, now, v->changed, sizeof v->changed);
        json_decref(tools);
        json_decref(now);
        LMF_TRY(s);
    }
    return v->changed[0] ? LMF_FAIL(ctx, LMF_E_UNSUPPORTED,
                                    "its server has changed its tools since they were listed (%s); they no longer run",
                                    v->changed) : LMF_OK;
}

lmf_status lmf__remote_tool_run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    server *v = use->state;
    json_t *result = NULL;
    LMF_TRY(look_again(ctx, v));
    LMF_TRY(lmf__remote_call(v->remote, use->name, arguments, until, &result));
    lmf_status s = lmf__remote_put_result(ctx, result, out);
    json_decref(result);
    return s;
}
