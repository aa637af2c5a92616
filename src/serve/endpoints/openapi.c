/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, made from the descriptors of all endpoints and the tables that their bodies are read by. */
#include <stdio.h>
#include <string.h>
#include "serve/params.h"
#include "serve/server.h"

static json_t *param_form(const lmf_param *p)
{
    static const char *const types[] = { [LMF_PARAM_BOOL] = "boolean", [LMF_PARAM_INT] = "integer", [LMF_PARAM_NUMBER] = "number" };
    json_t *j = json_pack("{s:[s, s]}", "type", types[p->kind], "null");
    if (p->kind == LMF_PARAM_NUMBER)
        json_object_update_new(j, json_pack("{s:f, s:f}", "minimum", p->lo, "maximum", p->hi));
    if (p->kind == LMF_PARAM_INT)
        json_object_update_new(j, json_pack("{s:I, s:I}", "minimum", (json_int_t)p->lo, "maximum", (json_int_t)p->hi));
    return j;
}

static json_t *words(const char *text)
{
    json_t *list = json_array();
    for (size_t n; text && *text; text += n + (text[n] != 0))
        json_array_append_new(list, json_stringn(text, n = strcspn(text, " ")));
    return list;
}

static json_t *body_form(lmf_ctx *ctx, const lmf_endpoint *e)
{
    lmf_buf text;
    lmf_buf_init(&text, ctx, (size_t)1 << 20);
    lmf_buf_printf(&text, "{%s}", e->members ? e->members : "");
    json_t *members = text.status ? NULL : json_loads(lmf_buf_str(&text), 0, NULL);
    lmf_buf_clear(&text);
    for (const lmf_param *const *table = e->params; members && table && *table; table++)
        for (const lmf_param *p = *table; p->name; p++)
            json_object_set_new(members, p->name, param_form(p));
    return json_pack("{s:s, s:o, s:o}", "type", "object", "properties", members, "required", words(e->required));
}

static json_t *operation(const lmf_server *s, const lmf_endpoint *e)
{
    bool posts = strcmp(e->method, "POST") == 0;
    json_t *j = json_pack("{s:s, s:{s:{s:s, s:{s:{}}}, s:{s:s, s:{s:{s:{s:s}}}}}}", "summary", e->about, "responses", "200", "description",
                          "The answer", "content", e->type ? e->type : "application/json", "default", "description", "What was wrong",
                              "content",
                          "application/json", "schema", "$ref", e->fault ? "#/components/schemas/AnyError" : "#/components/schemas/Error");
    if (posts)
        json_object_set_new(j, "requestBody", json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content", "application/json", "schema",
                                                        body_form(s->ctx, e)));
    if (e->takes_rest)
        json_object_set_new(j, "parameters", json_pack("[{s:s, s:s, s:b, s:{s:s}}]", "name", e->rest, "in", "path", "required", 1, "schema",
                                                       "type", "string"));
    if (s->guard.has_key && !e->open)
        json_object_set_new(j, "security", json_pack("[{s:[]}]", "key"));
    return j;
}

static void run(lmf_exchange *x)
{
    json_t *paths = json_object();
    char path[256], method[16];
    for (const lmf_endpoint *const *e = lmf__endpoints(); *e; e++) {
        size_t k = 0;
        snprintf(path, sizeof path, (*e)->takes_rest ? "%s{%s}" : "%s", (*e)->path, (*e)->rest);
        for (; (*e)->method[k] && k + 1 < sizeof method; k++)
            method[k] = (char)((*e)->method[k] | 32);
        method[k] = 0;
        json_t *at = json_object_get(paths, path);
        if (!at && !json_object_set_new(paths, path, json_object()))
            at = json_object_get(paths, path);
        json_object_set_new(at, method, operation(x->server, *e));
    }
    lmf__reply_json(x, 200, json_pack("{s:s, s:{s:s, s:s}, s:o, s:{s:{s:{s:s, s:[s], s:{s:{s:s, s:[s, s]}}}, s:{s:s, s:[s]}}, "
                                      "s:{s:{s:s, s:s}}}}",
        "openapi", "3.1.0",
                                      "info", "title", "LMFast", "version", LMF_VERSION, "paths", paths, "components", "schemas", "Error",
                                          "type",
                                      "object", "required", "error", "properties", "error", "type", "object", "required", "message", "type",
                                      "AnyError", "type", "object", "required", "error",
                                      "securitySchemes", "key", "type", "http", "scheme", "bearer"));
}

const lmf_endpoint lmf_endpoint_openapi = { "GET", "/openapi.json", run, "This description" };
