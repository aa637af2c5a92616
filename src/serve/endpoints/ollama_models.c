/* SPDX-License-Identifier: Apache-2.0 */
/* What Ollama's clients ask about models. The base and its adapters are the models that there are, and all of them are loaded. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "format/json.h"
#include "serve/generation.h"
#include "serve/ollama.h"

/* The stored form that most of the weights' bytes have. */
static const char *level(const lmf_model *m)
{
    struct { int64_t bytes; const char *name; } by_type[256] = { 0 }, *best = by_type;
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (w->v.dtype >= 256)
            continue;
        by_type[w->v.dtype].name = w->v.fmt->name;
        by_type[w->v.dtype].bytes += (int64_t)lmf_format_bytes(w->v.fmt, lmf_view_count(&w->v));
    }
    for (int d = 1; d < 256; d++)
        best = by_type[d].bytes > best->bytes ? &by_type[d] : best;
    return best->name ? best->name : "unknown";
}

static json_t *details(const lmf_model *m, const char *parent)
{
    char size[32], form[32];
    size_t k = 0;
    bool billions = m->n_params >= 1000000000;
    snprintf(size, sizeof size, billions ? "%.1fB" : "%.2fM", (double)m->n_params / (billions ? 1e9 : 1e6));
    for (const char *p = level(m); p[k] && k + 1 < sizeof form; k++)
        form[k] = (char)(p[k] >= 'a' && p[k] <= 'z' ? p[k] - 32 : p[k]);
    form[k] = 0;
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", parent ? parent : "", "format", m->gguf ? "gguf" : "safetensors",
                     "family", m->arch->name, "families", m->arch->name, "parameter_size", size, "quantization_level", form);
}

/* Name, size, time and a digest of what the server knows of the files without reading them whole: where they are, how large, of when. */
static json_t *describe(const lmf_server *s, int32_t i_adapter)
{
    const lmf_model *m = s->model;
    const char *name = lmf__served_name(s, i_adapter);
    char digest[65] = "", stamp[40], identity[4400];
    struct stat st = { 0 };
    int64_t bytes = 0;
    if (stat(m->path, &st))
        st.st_mtime = 0;
    for (size_t i = 0; m->st && i < lmf_safetensors_n(m->st); i++)
        bytes += (int64_t)lmf_safetensors_at(m->st, i)->bytes;
    bytes = m->gguf ? (int64_t)st.st_size : bytes;
    snprintf(identity, sizeof identity, "%.4095s\n%lld\n%lld\n%.200s", m->path, (long long)bytes, (long long)st.st_mtime, name);
    if (lmf_sha256_hex(s->ctx, identity, strlen(identity), digest))
        digest[0] = 0;
    lmf__ollama_time((int64_t)st.st_mtime, stamp);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", name, "model", name, "modified_at", stamp, "size", (json_int_t)bytes,
                     "digest", digest, "details", details(m, i_adapter < 0 ? NULL : s->o.model_name));
}

static void list(lmf_exchange *x, bool loaded)
{
    const lmf_server *s = x->server;
    json_t *models = json_array();
    for (int32_t i = -1; i < s->adapters.n; i++) {
        if (!lmf__served_name(s, i) || !lmf__tenant_may_use(x->tenant, lmf__served_name(s, i)))
            continue;
        json_t *j = describe(s, i);
        if (loaded) /* it stays: Go's greatest year stands for never */
            json_object_update_new(j, json_pack("{s:s, s:I, s:i}", "expires_at", "9999-12-31T23:59:59Z", "size_vram",
                                                (json_int_t)0, "context_length", s->engine_info.context));
        json_array_append_new(models, j);
    }
    lmf__reply_json(x, 200, json_pack("{s:o}", "models", models));
}

static void tags(lmf_exchange *x) { list(x, false); }
static void ps(lmf_exchange *x) { list(x, true); }

static json_t *model_info(const lmf_server *s)
{
    const lmf_model *m = s->model;
    const lmf_config_base *c = lmf_model_config(m);
    const struct { const char *name; int32_t n; } counts[] = { { "context_length", c->context }, { "embedding_length", c->width },
                                                               { "block_count", c->n_layers }, { "vocab_size", c->vocab } };
    json_t *j = json_pack("{s:s, s:I}", "general.architecture", m->arch->name, "general.parameter_count", (json_int_t)m->n_params);
    char key[128];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        snprintf(key, sizeof key, "%.60s.%s", m->arch->name, counts[i].name);
        json_object_set_new(j, key, json_integer(counts[i].n));
    }
    return j;
}

static void show(lmf_exchange *x)
{
    lmf_server *s = x->server;
    lmf_fault f;
    lmf_request r;
    json_t *body = lmf__body_parse(x, &f), *named = json_object();
    lmf__request_init(&r, s->ctx);
    bool good = body && lmf__ollama_model(s, body, named, &f) && lmf__request_read(&r, s, named, &f);
    if (good && !lmf__tenant_may_use(x->tenant, r.model))
        good = lmf__refuse(&f, 404, "model", NULL, "the model \"%.100s\" is not served to this key", r.model);
    if (good) {
        char stamp[40];
        struct stat st = { 0 };
        lmf__ollama_time(stat(s->model->path, &st) ? 0 : (int64_t)st.st_mtime, stamp);
        json_t *can = json_pack("[s, s]", "completion", "embedding");
        if (s->chat.source)
            json_array_append_new(can, json_string("tools")); /* in words, where the template knows none */
        if (s->constraints.think_open >= 0)
            json_array_append_new(can, json_string("thinking"));
        lmf__reply_json(x, 200, json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:s}", "modelfile", "", "parameters", "", "template",
                                          lmf_json_string(s->model->chat_source ? s->model->chat_source : ""), "details",
                                          details(s->model, r.adapter < 0 ? NULL : s->o.model_name), "model_info", model_info(s),
                                          "capabilities", can, "modified_at", stamp));
    } else {
        lmf__reply_fault(x, &f);
    }
    lmf__request_clear(&r);
    json_decref(named);
    json_decref(body);
}

static void version(lmf_exchange *x) { lmf__reply_json(x, 200, json_pack("{s:s}", "version", LMF_VERSION)); }

/* What would change which models there are. */
static void refuse(lmf_exchange *x)
{
    lmf_fault f;
    lmf__refuse(&f, 501, NULL, NULL, "%s is not implemented: the models are those that lmfast serve was started with, --model and "
                "--adapter", x->endpoint->path);
    lmf__reply_fault(x, &f);
}

const lmf_endpoint lmf_endpoint_ollama_tags = { "GET", "/api/tags", tags, "The models, as Ollama's clients list them",
    .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_ps = { "GET", "/api/ps", ps, "The models that are loaded: all", .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_version = { "GET", "/api/version", version, "The program's version, as Ollama's clients ask",
    .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_show = { "POST", "/api/show", show, "What a model is and can do", .fault = lmf__ollama_fault,
    .required = "model", .members = "\"model\":{\"type\":\"string\"}" };
const lmf_endpoint lmf_endpoint_ollama_pull = { "POST", "/api/pull", refuse, "Not implemented: 501", .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_push = { "POST", "/api/push", refuse, "Not implemented: 501", .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_create = { "POST", "/api/create", refuse, "Not implemented: 501", .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_copy = { "POST", "/api/copy", refuse, "Not implemented: 501", .fault = lmf__ollama_fault };
const lmf_endpoint lmf_endpoint_ollama_delete = { "DELETE", "/api/delete", refuse, "Not implemented: 501", .fault = lmf__ollama_fault };
