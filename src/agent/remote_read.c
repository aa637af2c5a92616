/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every member is looked at before it is used; a message may be anything that is JSON. */
#include <string.h>
#include "agent/remote.h"
#include "agent/tool.h"
#include "base/plain.h"
#include "format/json.h"

enum { MAX_VALUES = 1 << 18, MAX_TOOLS = 1024 };

lmf_heard lmf__remote_hear(lmf_ctx *ctx, const char *text, size_t n, int64_t id, json_t **message)
{
    json_t *j = NULL;
    lmf_error_record before = *lmf_error_here(ctx);
    *message = NULL;
    if (lmf_json_parse(ctx, text, n, "a message", MAX_VALUES, &j)) {
        *lmf_error_here(ctx) = before;
        return LMF_HEARD_NOTHING;
    }
    const char *is = json_string_value(json_object_get(j, "jsonrpc"));
    const json_t *its_id = json_object_get(j, "id"), *method = json_object_get(j, "method"), *error = json_object_get(j, "error");
    bool named = json_is_string(its_id) || json_is_integer(its_id);
    lmf_heard heard = LMF_HEARD_NOTHING;
    if (!is || strcmp(is, "2.0"))
        ;
    else if (method)
        heard = !json_is_string(method) ? LMF_HEARD_NOTHING : named ? LMF_HEARD_REQUEST : LMF_HEARD_NOTICE;
    else if (json_is_object(json_object_get(j, "result")) ? json_is_integer(its_id) && json_integer_value(its_id) == id
             : json_is_object(error) && ((json_is_integer(its_id) && json_integer_value(its_id) == id) || !its_id || json_is_null(its_id)))
        heard = LMF_HEARD_ANSWER; /* one without an id is about the one request that is under way */
    if (heard == LMF_HEARD_NOTHING)
        json_decref(j);
    else
        *message = j;
    return heard;
}

static const char *text_of(const json_t *j, const char *name)
{
    const char *text = json_string_value(json_object_get(j, name));
    return text ? text : "";
}

static void put_text(lmf_tool_out *out, const json_t *text)
{
    lmf_tool_put(out, json_string_value(text), json_string_length(text));
}

/* One piece of content; what is no text is named. */
static void put_piece(const json_t *piece, lmf_tool_out *out)
{
    const char *type = text_of(piece, "type");
    const json_t *of = strcmp(type, "resource") == 0 ? json_object_get(piece, "resource") : piece;
    const json_t *text = json_object_get(of, "text"), *data = json_object_get(of, strcmp(type, "resource") ? "data" : "blob");
    if (json_is_string(text))
        put_text(out, text);
    else if (strcmp(type, "resource_link") == 0)
        lmf_tool_printf(out, "[a link: %.500s]", text_of(piece, "uri"));
    else
        lmf_tool_printf(out, "[left out: %.40s %.60s, %zu characters of base64]", type[0] ? type : "content without a type",
                        text_of(of, "mimeType"), json_string_length(data));
}

lmf_status lmf__remote_put_result(lmf_ctx *ctx, const json_t *result, lmf_tool_out *out)
{
    const json_t *content = json_object_get(result, "content"), *value = json_object_get(result, "structuredContent");
    const json_t *type = json_object_get(result, "resultType");
    if (json_is_string(type) && strcmp(json_string_value(type), "complete"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the server wants more input before it answers (%.40s), which is not given here",
                        json_string_value(type));
    if ((content && !json_is_array(content)) || (!content && !value))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the server's answer is no result of a tool");
    size_t before = out->n_all;
    for (size_t i = 0; i < json_array_size(content); i++) {
        if (i)
            lmf_tool_put(out, "\n", 1);
        put_piece(json_array_get(content, i), out);
    }
    if (value && out->n_all == before) {
        lmf_buf text;
        lmf_buf_init(&text, ctx, 1 << 24);
        lmf_status s = lmf_json_text(ctx, value, JSON_COMPACT | JSON_ENCODE_ANY, &text);
        lmf_tool_put(out, lmf_buf_str(&text), text.n);
        lmf_buf_clear(&text);
        LMF_TRY(s);
    }
    if (!json_is_true(json_object_get(result, "isError")))
        return LMF_OK;
    int n = out->buf->n < 600 ? (int)out->buf->n : 600;
    return LMF_FAIL(ctx, LMF_E_IO, "%.*s", n, n ? lmf_buf_str(out->buf) : "the tool failed");
}

lmf_status lmf__remote_read_page(lmf_ctx *ctx, const json_t *page, json_t *tools, const char **cursor)
{
    const json_t *list = json_object_get(page, "tools"), *next = json_object_get(page, "nextCursor");
    *cursor = NULL;
    if (!json_is_array(list) || (next && !json_is_null(next) && !json_is_string(next)))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "its answer to tools/list is no list of tools");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *tool = json_array_get(list, i), *about = json_object_get(tool, "description");
        char plain[100];
        if (!json_is_string(json_object_get(tool, "name")) || !json_is_object(json_object_get(tool, "inputSchema")) ||
            (about && !json_is_string(about)))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "tool %zu of its list (\"%s\") has not a name, an inputSchema and a description", i,
                            lmf_plain_text(text_of(tool, "name"), plain, sizeof plain));
        if (json_array_size(tools) == MAX_TOOLS)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "it has more than %d tools", MAX_TOOLS);
        if (json_array_append(tools, tool))
            return LMF_NO_MEMORY(ctx, 64, "a list of tools");
    }
    *cursor = json_string_value(next);
    return LMF_OK;
}
