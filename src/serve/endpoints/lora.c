/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters loaded and unloaded while the server runs, by vLLM's names. */
#include <stdio.h>
#include <string.h>
#include "serve/generation.h"
#include "serve/server.h"

/* A text without NUL, which what comes behind would be cut at. */
static const char *text_of(const json_t *body, const char *name, lmf_fault *f)
{
    const json_t *v = json_object_get(body, name);
    const char *text = json_string_value(v);
    if (text && *text && strlen(text) == json_string_length(v))
        return text;
    lmf__refuse(f, 400, name, NULL, "%s must be a text, not empty and without NUL", name);
    return NULL;
}

/* The body, and in it a name that this key may load and unload; NULL: the fault is to be told. */
static json_t *read_body(lmf_exchange *x, const char **name, lmf_fault *f)
{
    lmf_server *s = x->server;
    json_t *body = NULL;
    if (!s->adapters.root[0])
        lmf__refuse(f, 403, NULL, NULL, "adapters stay as they are: this server was started without --allow-runtime-adapters DIR");
    else if (!x->tenant->adapters)
        lmf__refuse(f, 403, NULL, NULL, "this key may not load or unload adapters");
    else
        body = lmf__body_parse(x, f);
    if (!body)
        return NULL;
    *name = text_of(body, "lora_name", f);
    if (*name && (lmf__tenant_may_use(x->tenant, *name) ||
                  lmf__refuse(f, 403, "lora_name", NULL, "\"%.200s\" is none of the models that this key may use", *name)))
        return body;
    json_decref(body);
    return NULL;
}

static void load(lmf_exchange *x)
{
    static const lmf_param known[] = { { "load_inplace", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    lmf_fault f;
    const char *name, *path = NULL;
    bool replace = false;
    json_t *body = read_body(x, &name, &f);
    bool good = body && lmf__params_read(body, known, &replace, &f) && (path = text_of(body, "lora_path", &f));
    if (good && replace)
        good = lmf__refuse(&f, 400, "load_inplace", NULL, "load_inplace is not followed: unload the adapter, then load it");
    if (!good || !lmf__served_load(x, name, path, &f))
        lmf__reply_fault(x, &f);
    json_decref(body);
}

static void unload(lmf_exchange *x)
{
    lmf_fault f;
    const char *name;
    char text[LMF_SERVED_NAME_BYTES + 64];
    json_t *body = read_body(x, &name, &f);
    if (body && lmf__served_unload(x->server, name, &f)) {
        int n = snprintf(text, sizeof text, "Success: LoRA adapter '%s' removed successfully.", name);
        lmf__reply_bytes(x, 200, "text/plain; charset=utf-8", text, (size_t)n);
    } else {
        lmf__reply_fault(x, &f);
    }
    json_decref(body);
}

#define NAME "\"lora_name\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":255}"

const lmf_endpoint lmf_endpoint_lora_load = { "POST", "/v1/load_lora_adapter", load, "Loads an adapter, which is then a model",
    .type = "text/plain", .required = "lora_name lora_path", .members = NAME ",\"lora_path\":{\"type\":\"string\",\"minLength\":1}" };
const lmf_endpoint lmf_endpoint_lora_unload = { "POST", "/v1/unload_lora_adapter", unload, "Unloads one, when its answers have ended",
    .type = "text/plain", .required = "lora_name", .members = NAME };
