/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "cli/command.h"
#include "eval/lora.h"
#include "models/model.h"

typedef struct info_args { const char *model; } info_args;

static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, offsetof(info_args, model), .required = true, .positional = true, .help = "GGUF file, Hugging Face folder, or LoRA adapter folder" },
    { 0 }
};

static int64_t file_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

/* Bytes of the weights' file or files. */
static int64_t stored_bytes(lmf_ctx *ctx, const lmf_model *m)
{
    char path[4096];
    int64_t n = 0;
    if (m->gguf)
        return file_bytes(m->path);
    if (!lmf_path_join(ctx, path, sizeof path, m->path, "model.safetensors") && (n = file_bytes(path)) > 0)
        return n;
    for (size_t i = 0; m->st && i < lmf_safetensors_n(m->st); i++)
        n += (int64_t)lmf_safetensors_at(m->st, i)->bytes;
    return n;
}

/* Data types of the weights as they lie in memory: [{type, tensors, parameters, bytes}], tied ones once. */
static json_t *types_json(const lmf_model *m, int64_t *copied)
{
    json_t *list = json_array();
    for (int d = 0; d < 256; d++) {
        int64_t tensors = 0, elements = 0, bytes = 0;
        const char *name = NULL;
        for (int32_t i = 0; i < m->weights->n; i++) {
            const lmf_weight *w = &m->weights->items[i];
            bool seen = false;
            for (int32_t k = 0; k < i && !seen; k++)
                seen = m->weights->items[k].v.data == w->v.data;
            if (w->v.dtype != d || seen)
                continue;
            int64_t n = lmf_view_count(&w->v);
            name = w->v.fmt->name;
            tensors++, elements += n, bytes += (int64_t)lmf_format_bytes(w->v.fmt, n);
            *copied += w->mapped ? 0 : (int64_t)lmf_format_bytes(w->v.fmt, n);
        }
        if (tensors)
            json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "type", name, "tensors", (json_int_t)tensors, "parameters", (json_int_t)elements, "bytes", (json_int_t)bytes));
    }
    return list;
}

static json_t *token_json(const lmf_model *m, int32_t id)
{
    size_t n;
    const uint8_t *p = id >= 0 ? lmf_tokenizer_piece(m->tokenizer, id, &n) : NULL;
    return p ? json_pack("{s:i, s:o?}", "id", id, "text", json_stringn((const char *)p, n)) : json_null();
}

static json_t *tokenizer_json(const lmf_model *m)
{
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    json_t *ends = json_array();
    for (int i = 0; i < m->chat.n_eos; i++)
        json_array_append_new(ends, token_json(m, m->chat.eos[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:{s:o, s:o, s:o, s:o}, s:o}", "model", m->vocab.model ? m->vocab.model : "gpt2", "pre_tokenizer", m->vocab.pretok ? m->vocab.pretok : "",
                     "tokens", (json_int_t)lmf_tokenizer_n_tokens(m->tokenizer), "merges", (json_int_t)m->vocab.n_merges, "add_bos", id->add_bos, "add_eos", id->add_eos, "special", "bos",
                     token_json(m, id->bos), "eos", token_json(m, id->eos), "pad", token_json(m, id->pad), "unk", token_json(m, id->unk), "ends_answer", ends);
}

/* The architecture's own hyper-parameters, by field. */
static json_t *hparams_json(const lmf_model *m)
{
    json_t *o = json_object();
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++) {
        const char *at = (const char *)m->config + h->offset;
        json_object_set_new(o, h->field, h->kind == LMF_HPARAM_I32 ? json_integer(*(const int32_t *)at) : h->kind == LMF_HPARAM_F32 ? json_real((double)*(const float *)at) :
                                         h->kind == LMF_HPARAM_BOOL ? json_boolean(*(const bool *)at) : json_string(at));
    }
    return o;
}

static void print_model(const json_t *r)
{
    const json_t *type, *tok = json_object_get(r, "tokenizer"), *special = json_object_get(tok, "special"), *token;
    const char *key;
    size_t i;
#define N(o, k) (double)json_number_value(json_object_get(o, k))
#define S(o, k) json_string_value(json_object_get(o, k))
    printf("%s\nname          %s\narchitecture  %s, %.0f layers of width %.0f, %.0f heads, %.0f key/value heads\nparameters    %.1f million\ncontext       %.0f tokens\nvocabulary    %.0f tokens\n", S(r, "path"),
           S(r, "name"), S(r, "architecture"), N(r, "n_layers"), N(r, "width"), N(r, "n_heads"), N(r, "n_kv_heads"), N(r, "parameters") / 1e6, N(r, "context"), N(r, "vocab"));
    json_array_foreach(json_object_get(r, "types"), i, type)
        printf("%-13s %s: %.0f tensors, %.1f million, %.1f MB\n", i ? "" : "weights", S(type, "type"), N(type, "tensors"), N(type, "parameters") / 1e6, N(type, "bytes") / 1e6);
    printf("tokenizer     %s, pre-tokenizer %s, %.0f merges\n", S(tok, "model"), S(tok, "pre_tokenizer"), N(tok, "merges"));
    json_object_foreach((json_t *)(uintptr_t)special, key, token)
        if (!json_is_null(token))
            printf("%-13s %.0f %s\n", key, N(token, "id"), S(token, "text"));
    printf("chat template %s\nfile          %.1f MB\nmemory        %.1f MB mapped from the file, %.1f MB more for weights, %.1f kB a token of conversation\n", json_is_true(json_object_get(r, "chat_template")) ? "yes" : "no",
           N(r, "file_bytes") / 1e6, N(json_object_get(r, "memory"), "mapped_bytes") / 1e6, N(json_object_get(r, "memory"), "copied_bytes") / 1e6, N(json_object_get(r, "memory"), "bytes_per_token") / 1e3);
}

static lmf_status show_model(lmf_cli *cli, const char *path)
{
    lmf_model *m;
    lmf_state_spec state;
    LMF_TRY(lmf_model_open(cli->ctx, path, &m));
    const lmf_config_base *c = lmf_model_config(m);
    int64_t copied = 0, total = 0;
    size_t i;
    json_t *types = types_json(m, &copied), *type;
    json_array_foreach(types, i, type)
        total += json_integer_value(json_object_get(type, "bytes"));
    m->arch->state(m->config, &state);
    json_t *r = json_pack("{s:s, s:s, s:s, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:b, s:I, s:{s:I, s:I, s:I}}", "path", path, "kind", m->gguf ? "gguf" : "hf", "name", m->name ? m->name : "",
        "architecture", m->arch->name, "parameters", (json_int_t)m->n_params, "n_layers", c->n_layers, "width", c->width, "n_heads", (int)m->arch->dim(m->config, 'H'), "n_kv_heads",
        (int)m->arch->dim(m->config, 'K'), "context", c->context, "vocab", c->vocab, "hparams", hparams_json(m), "types", types, "tokenizer", tokenizer_json(m), "chat_template",
        m->chat_template != NULL, "file_bytes", (json_int_t)stored_bytes(cli->ctx, m), "memory", "mapped_bytes", (json_int_t)(total - copied), "copied_bytes", (json_int_t)copied,
        "bytes_per_token", (json_int_t)(state.kv_width * state.n_kv_layers * 4));
    lmf_status s = r ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_FORMAT, "%s: a name in the file is not UTF-8", path);
    if (r && cli->json)
        s = lmf_cli_print_json(cli, r);
    else if (r) {
        print_model(r);
        json_decref(r);
    }
    lmf_model_close(m);
    return s;
}

static lmf_status show_adapter(lmf_cli *cli, const char *path)
{
    lmf_adapter *a;
    LMF_TRY(lmf_adapter_open(cli->ctx, path, &a));
    const lmf_adapter_config *c = lmf_adapter_get_config(a);
    json_t *targets = c->target_regex ? json_string(c->target_regex) : json_array();
    int64_t n_params = 0, bytes = 0;
    for (size_t i = 0; !c->target_regex && i < c->n_targets; i++)
        json_array_append_new(targets, json_string(c->target[i]));
    for (size_t i = 0; i < lmf_adapter_n(a); i++) {
        const lmf_adapter_pair *p = lmf_adapter_at(a, i);
        n_params += p->r * (p->a->dim[1] + p->b->dim[0]);
        bytes += (int64_t)(p->a->bytes + p->b->bytes);
    }
    const char *type = lmf_adapter_n(a) ? lmf_adapter_at(a, 0)->a->type : "";
    json_t *r = json_pack("{s:s, s:s, s:I, s:f, s:b, s:f, s:o, s:s, s:I, s:I, s:s, s:I}", "path", path, "kind", "adapter", "r", (json_int_t)c->r, "alpha", c->alpha, "rslora", c->use_rslora, "dropout",
                          c->dropout, "target_modules", targets, "base_model", c->base_model, "layers", (json_int_t)lmf_adapter_n(a), "parameters", (json_int_t)n_params, "type", type, "bytes", (json_int_t)bytes);
    lmf_status s = r ? LMF_OK : LMF_NO_MEMORY(cli->ctx, 256, "a report");
    if (r && cli->json)
        s = lmf_cli_print_json(cli, r);
    else if (r) {
        char *list = json_dumps(json_object_get(r, "target_modules"), JSON_ENCODE_ANY);
        printf("%s\nLoRA adapter  r %lld, alpha %g%s, %zu layers\nbase          %s\ntargets       %s\nparameters    %.2f million, %s, %.1f MB\n", path, (long long)c->r, c->alpha, c->use_rslora ? ", rank-stabilized" : "",
               lmf_adapter_n(a), *c->base_model ? c->base_model : "not named", list ? list : "", (double)n_params / 1e6, type, (double)bytes / 1e6);
        free(list);
        json_decref(r);
    }
    lmf_adapter_close(a);
    return s;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const char *path = ((info_args *)args)->model;
    lmf_model_kind kind;
    LMF_TRY(lmf_model_path_kind(cli->ctx, path, &kind));
    return kind == LMF_MODEL_ADAPTER ? show_adapter(cli, path) : show_model(cli, path);
}

const lmf_command lmf_command_info = { "info", "show what a model file or adapter holds", flags, sizeof(info_args), run,
    .example = "lmfast info SmolLM2-135M-Instruct.Q4_1.gguf" };
