/* SPDX-License-Identifier: Apache-2.0 */
/* The base model and each adapter, by the name that a request gives. */
#include <string.h>
#include "format/json.h"
#include "serve/server.h"

static json_t *describe(const lmf_server *s, const char *name, bool is_adapter)
{
    return json_pack("{s:o, s:s, s:I, s:s, s:o?, s:i}", "id", lmf_json_string(name), "object", "model", "created",
        (json_int_t)s->started_unix, "owned_by",
                     "lmfast", "parent", is_adapter ? lmf_json_string(s->o.model_name) : NULL, "max_model_len", s->engine_info.context);
}

static void list(lmf_exchange *x)
{
    const lmf_server *s = x->server;
    json_t *data = json_array();
    for (int32_t i = -1; i < s->adapters.n; i++) {
        const char *name = lmf__served_name(s, i);
        if (name && lmf__tenant_may_use(x->tenant, name))
            json_array_append_new(data, describe(s, name, i >= 0));
    }
    lmf__reply_json(x, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static void one(lmf_exchange *x)
{
    const lmf_server *s = x->server;
    lmf_fault f;
    size_t n = strcspn(x->path_rest, "?#");
    for (int32_t i = -1; i < s->adapters.n; i++) {
        const char *name = lmf__served_name(s, i);
        if (name && strlen(name) == n && memcmp(name, x->path_rest, n) == 0 && lmf__tenant_may_use(x->tenant, name)) {
            lmf__reply_json(x, 200, describe(s, name, i >= 0));
            return;
        }
    }
    lmf__refuse(&f, 404, "model", "model_not_found", "the model is not served here; GET /v1/models lists those that are");
    lmf__reply_fault(x, &f);
}

const lmf_endpoint lmf_endpoint_models = { "GET", "/v1/models", list, "The models that are served: the base and its adapters" };
const lmf_endpoint lmf_endpoint_model = { "GET", "/v1/models/", one, "One of them", .takes_rest = true,
                                         .rest = "model" };
