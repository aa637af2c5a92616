/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/tools.h"
#include <string.h>
#include "serve/params.h"

static bool add_tool(lmf_wish *w, const json_t *tool, size_t i, lmf_fault *f)
{
    const json_t *function = json_object_get(tool, "function"), *parameters = json_object_get(function, "parameters");
    json_t *name = json_object_get(function, "name");
    const char *type = json_string_value(json_object_get(tool, "type"));
    if (!type || strcmp(type, "function") || !json_is_string(name) || json_string_length(name) == 0 ||
        json_string_length(name) > LMF_TOOL_NAME_BYTES || strlen(json_string_value(name)) != json_string_length(name))
        return lmf__refuse(f, 400, "tools", NULL, "tools[%zu] must be an object of the type function, with a function that has a name "
            "of 1 to %d "
                           "bytes", i, LMF_TOOL_NAME_BYTES);
    if (parameters && !json_is_object(parameters) && !json_is_null(parameters))
        return lmf__refuse(f, 400, "tools", NULL, "tools[%zu].function.parameters must be a JSON schema", i);
    for (size_t k = 0; k < json_array_size(w->tools); k++)
        if (json_equal(json_object_get(json_array_get(w->tools, k), "name"), name))
            return lmf__refuse(f, 400, "tools", NULL, "two tools have the name \"%.60s\"", json_string_value(name));
    json_t *t = json_is_object(parameters) ? json_pack("{s:O, s:O}", "name", name, "parameters", parameters) : json_pack("{s:O}", "name",
        name);
    return (t && json_array_append_new(w->tools, t) == 0) || lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
}

/* Only the tool of that name stays. */
static bool keep_only(lmf_wish *w, const json_t *name, lmf_fault *f)
{
    for (size_t i = 0; i < json_array_size(w->tools); i++)
        if (json_equal(json_object_get(json_array_get(w->tools, i), "name"), name)) {
            json_t *one = json_pack("[O]", json_array_get(w->tools, i));
            json_decref(w->tools);
            w->tools = one;
            return one || lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
        }
    return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice names the tool \"%.60s\", which is not among tools",
        json_string_value(name));
}

static bool read_choice(const json_t *body, lmf_wish *w, lmf_fault *f)
{
    const json_t *choice = json_object_get(body, "tool_choice"), *name = json_object_get(json_object_get(choice, "function"), "name");
    const char *word = json_is_object(choice) ? json_string_value(json_object_get(choice, "type")) : choice && !json_is_null(choice) ?
                       json_string_value(choice) : "auto";
    bool named = json_is_object(choice) && word && strcmp(word, "function") == 0 && json_is_string(name);
    if (!word || (!named && strcmp(word, "auto") && strcmp(word, "none") && strcmp(word, "required")))
        return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice must be auto, none, required, or {\"type\": \"function\", "
            "\"function\": "
                           "{\"name\": ...}}");
    if (!w->tools && (named || strcmp(word, "required") == 0))
        return lmf__refuse(f, 400, "tool_choice", NULL, "tool_choice asks for a call, and there are no tools");
    w->must_call = named || strcmp(word, "required") == 0;
    if (strcmp(word, "none") == 0) {
        json_decref(w->tools);
        w->tools = NULL;
    }
    return !named || keep_only(w, name, f);
}

bool lmf__tools_read(const json_t *body, lmf_wish *w, lmf_fault *f)
{
    static const lmf_param table[] = { { "parallel_tool_calls", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    const json_t *tools = json_object_get(body, "tools");
    size_t n = json_array_size(tools);
    bool parallel = true;
    if (tools && !json_is_null(tools) && (!json_is_array(tools) || n > LMF_MAX_TOOLS))
        return lmf__refuse(f, 400, "tools", NULL, "tools must be a list of at most %d tools", LMF_MAX_TOOLS);
    if (!lmf__params_read(body, table, &parallel, f))
        return false;
    w->max_calls = parallel ? LMF_TOOL_MAX_CALLS : 1;
    if (n && !(w->tools = json_array()))
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    for (size_t i = 0; i < n; i++)
        if (!add_tool(w, json_array_get(tools, i), i, f))
            return false;
    if (!read_choice(body, w, f))
        return false;
    if (w->tools && w->must_call)
        w->kind = LMF_WISH_NONE; /* of text, and there is none */
    if (w->tools && w->kind && w->kind != LMF_WISH_SCHEMA)
        return lmf__refuse(f, 400, w->param, NULL, "%s does not go with tools; tool_choice none leaves them out", w->param);
    return true;
}
