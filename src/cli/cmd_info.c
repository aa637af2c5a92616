/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "cli/command.h"
#include "eval/lora.h"
#include "format/hf_json.h"
#include "format/json.h"
#include "models/hparam.h"
#include "models/model.h"

typedef struct info_args { const char *model; } info_args;

static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, offsetof(info_args, model), .required = true, .hub = LMF_HUB_MODEL, .positional = true, .help = "GGUF file, Hugging Face folder, LoRA adapter folder, or org/name of the hub" },
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

/* Whether the weight shares its bytes with the one that its row is tied to. */
static bool is_second_of_tied(const lmf_model *m, const lmf_weight *w)
{
    for (const lmf_weight_row *row = m->arch->weights; row->role; row++) {
        const lmf_weight *other = row->tied && strcmp(row->role, w->name) == 0 ? lmf_weights_find(m->weights, row->tied) : NULL;
        if (other && other->v.data == w->v.data)
            return true;
    }
    return false;
}

/* Data types of the weights as they lie in memory: [{type, tensors, parameters, bytes}], tied ones once. */
static json_t *types_json(const lmf_model *m, int64_t *copied)
{
    struct { int64_t tensors, elements, bytes; const char *name; } by_type[256] = { 0 };
    json_t *list = json_array();
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (w->v.dtype >= 256 || is_second_of_tied(m, w))
            continue;
        int64_t n = lmf_view_count(&w->v), bytes = (int64_t)lmf_format_bytes(w->v.fmt, n);
        by_type[w->v.dtype].name = w->v.fmt->name;
        by_type[w->v.dtype].tensors++, by_type[w->v.dtype].elements += n, by_type[w->v.dtype].bytes += bytes;
        *copied += w->mapped ? 0 : bytes;
    }
    for (int d = 0; d < 256; d++)
        if (by_type[d].tensors)
            json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "type", by_type[d].name, "tensors", (json_int_t)by_type[d].tensors, "parameters",
                                                  (json_int_t)by_type[d].elements, "bytes", (json_int_t)by_type[d].bytes));
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
    return json_pack("{s:o, s:o, s:I, s:I, s:b, s:b, s:{s:o, s:o, s:o, s:o}, s:o}", "model", lmf_json_string(m->vocab.model ? m->vocab.model : "gpt2"), "pre_tokenizer",
                     lmf_json_string(m->vocab.pretok ? m->vocab.pretok : ""),
                     "tokens", (json_int_t)lmf_tokenizer_n_tokens(m->tokenizer), "merges", (json_int_t)m->vocab.n_merges, "add_bos", id->add_bos, "add_eos", id->add_eos, "special", "bos",
                     token_json(m, id->bos), "eos", token_json(m, id->eos), "pad", token_json(m, id->pad), "unk", token_json(m, id->unk), "ends_answer", ends);
}

/* The architecture's own hyper-parameters, by field. */
static json_t *hparams_json(const lmf_model *m)
{
    json_t *o = json_object();
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++)
        json_object_set_new(o, h->field, lmf_hparam_json(h, m->config));
    return o;
}

static void print_model(const json_t *r)
{
    const json_t *type, *tok = json_object_get(r, "tokenizer"), *special = json_object_get(tok, "special"), *token;
    const char *key;
    size_t i;
#define N(o, k) (double)json_number_value(json_object_get(o, k))
#define S(o, k) lmf_plain_text(json_string_value(json_object_get(o, k)), (char[1024]){ 0 }, 1024)
    printf("%s\nname          %s\narchitecture  %s, %.0f layers of width %.0f, %.0f heads, %.0f key/value heads\nparameters    %.1f million\ncontext       %.0f tokens\nvocabulary    %.0f tokens\n", S(r, "path"),
           S(r, "name"), S(r, "architecture"), N(r, "n_layers"), N(r, "width"), N(r, "n_heads"), N(r, "n_kv_heads"), N(r, "parameters") / 1e6, N(r, "context"), N(r, "vocab"));
    json_array_foreach(json_object_get(r, "types"), i, type)
        printf("%-13s %s: %.0f tensors, %.1f million, %.1f MB\n", i ? "" : "weights", S(type, "type"), N(type, "tensors"), N(type, "parameters") / 1e6, N(type, "bytes") / 1e6);
    printf("tokenizer     %s, pre-tokenizer %s, %.0f merges\n", S(tok, "model"), S(tok, "pre_tokenizer"), N(tok, "merges"));
    json_object_foreach((json_t *)(uintptr_t)special, key, token)
        if (!json_is_null(token))
            printf("%-13s %.0f %s\n", key, N(token, "id"), json_string_value(json_object_get(token, "text")) ? S(token, "text") : "");
    printf("chat template %s\nfile          %.1f MB\n"
           "memory        %.1f MB mapped from the file, %.1f MB more for weights, %.1f kB a token of conversation\n", 
           json_object_get(r, "chat_template_error") ? S(r, "chat_template_error")
                                                     : json_is_true(json_object_get(r, "chat_template")) ? "yes" : "no",
           N(r, "file_bytes") / 1e6, N(json_object_get(r, "memory"), "mapped_bytes") / 1e6, N(json_object_get(r, "memory"), "copied_bytes") / 1e6, N(json_object_get(r, "memory"), "bytes_per_token") / 1e3);
}

/* ---- what can't be run: the file as it is, and why ---- */

static void count_type(json_t *types, const char *name, int64_t n, size_t bytes)
{
    json_t *t = json_object_get(types, name);
    if (!t)
        json_object_set_new(types, name, t = json_pack("{s:s, s:i, s:i, s:i}", "type", name, "tensors", 0, "parameters", 0, "bytes", 0));
    json_object_set_new(t, "tensors", json_integer(json_integer_value(json_object_get(t, "tensors")) + 1));
    json_object_set_new(t, "parameters", json_integer(json_integer_value(json_object_get(t, "parameters")) + n));
    json_object_set_new(t, "bytes", json_integer(json_integer_value(json_object_get(t, "bytes")) + (json_int_t)bytes));
}

static int64_t product(const int64_t *dim, int n)
{
    int64_t all = 1;
    for (int i = 0; i < n; i++)
        all *= dim[i];
    return all;
}

/* Numbers and texts of a GGUF file's metadata; a list as its length. */
static json_t *pairs_json(const lmf_gguf *g)
{
    json_t *o = json_object();
    for (size_t i = 0; i < lmf_gguf_n_kv(g); i++) {
        const lmf_gguf_kv *kv = lmf_gguf_kv_at(g, i);
        size_t at = 0;
        double v;
        int64_t n;
        lmf_bytes text;
        bool one = kv->n == 1 && kv->type == kv->item_type;
        json_object_set_new(o, kv->key, !one ? json_pack("{s:I}", "items", (json_int_t)kv->n) : lmf_gguf_kv_i64(kv, 0, &n) ? json_integer(n) : lmf_gguf_kv_f64(kv, 0, &v) ? json_real(v) :
                                        !lmf_gguf_kv_next_string(kv, &at, &text) ? json_null() : text.n < 200 && lmf_utf8_is_valid(text.p, text.n) ? json_stringn(text.p, text.n) :
                                        json_pack("{s:I}", "bytes", (json_int_t)text.n));
    }
    return o;
}

static lmf_status outline_gguf(lmf_cli *cli, const char *path, json_t *r, json_t *types)
{
    lmf_gguf *g;
    LMF_TRY(lmf_gguf_open(cli->ctx, path, &g));
    for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        lmf_file_type type;
        count_type(types, lmf_file_type_get(cli->ctx, t->dtype, &type) ? type.name : "unknown", product(t->dim, t->n_dims), t->bytes);
    }
    json_object_set_new(r, "file_bytes", json_integer(file_bytes(path)));
    json_t *pairs = pairs_json(g);
    json_object_set(r, "architecture", json_object_get(pairs, "general.architecture"));
    json_object_set_new(r, "metadata", pairs);
    lmf_gguf_close(g);
    return LMF_OK;
}

static lmf_status outline_hf(lmf_cli *cli, const char *path, json_t *r, json_t *types)
{
    lmf_hf_config c;
    lmf_safetensors *st;
    int64_t bytes = 0;
    LMF_TRY(lmf_hf_config_open(cli->ctx, path, &c));
    json_object_set_new(r, "architecture", lmf_json_string(c.arch[0] ? c.arch : c.model_type));
    json_object_set(r, "metadata", c.root);
    lmf_hf_config_close(&c);
    LMF_TRY(lmf_safetensors_open_model(cli->ctx, path, &st));
    for (size_t i = 0; i < lmf_safetensors_n(st); i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(st, i);
        count_type(types, t->type, product(t->dim, t->n_dims), t->bytes);
        bytes += (int64_t)t->bytes;
    }
    json_object_set_new(r, "file_bytes", json_integer(bytes));
    lmf_safetensors_close(st);
    return LMF_OK;
}

/* The file was read as a file, but is no model that runs: why, and what is in it. The first failure stays where it is no file either. */
static lmf_status show_outline(lmf_cli *cli, const char *path, lmf_status why)
{
    lmf_error_record first = cli->ctx->error;
    lmf_model_kind kind;
    json_t *types = json_object(), *list = json_array(), *type, *metadata, *value;
    json_t *r = json_pack("{s:o, s:b, s:o}", "path", lmf_json_string(path), "runs", 0, "why", lmf_json_string(lmf_error(cli->ctx)));
    const char *key;
    lmf_status s = !r || !types || !list ? why : lmf_model_path_kind(cli->ctx, path, &kind);
    if (!s)
        s = kind == LMF_MODEL_GGUF ? outline_gguf(cli, path, r, types) : kind == LMF_MODEL_HF ? outline_hf(cli, path, r, types) : why;
    if (s) {
        json_decref(r);
        json_decref(types);
        json_decref(list);
        cli->ctx->error = first;
        return why;
    }
    json_object_foreach(types, key, type)
        json_array_append(list, type);
    json_decref(types);
    json_object_set_new(r, "types", list);
    if (cli->json)
        return lmf_cli_print_json(cli, r);
    const char *arch = json_string_value(json_object_get(r, "architecture"));
    printf("%s\ncan't be run   %s\narchitecture  %s\n", S(r, "path"), S(r, "why"), arch && *arch ? S(r, "architecture") : "not named");
    size_t i;
    json_array_foreach(list, i, type)
        printf("%-13s %s: %.0f tensors, %.1f million, %.1f MB\n", i ? "" : "tensors", S(type, "type"), json_number_value(json_object_get(type, "tensors")),
               json_number_value(json_object_get(type, "parameters")) / 1e6, json_number_value(json_object_get(type, "bytes")) / 1e6);
    metadata = json_object_get(r, "metadata");
    json_object_foreach(metadata, key, value) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
        printf("  %s = %s\n", lmf_plain_text(key, (char[256]){ 0 }, 256), lmf_plain_text(text ? text : "", (char[101]){ 0 }, 101));
        free(text);
    }
    json_decref(r);
    return LMF_OK;
}

static lmf_status show_model(lmf_cli *cli, const char *path)
{
    lmf_model *m;
    lmf_status s = lmf_model_open(cli->ctx, path, &m);
    if (s)
        return show_outline(cli, path, s);
    const lmf_config_base *c = lmf_model_config(m);
    int64_t copied = 0, total = 0;
    size_t i;
    json_t *types = types_json(m, &copied), *type;
    json_array_foreach(types, i, type)
        total += json_integer_value(json_object_get(type, "bytes"));
    json_t *r = json_pack("{s:o, s:s, s:o, s:s, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:b, s:I, s:{s:I, s:I, s:I}}", "path", lmf_json_string(path), "kind", m->gguf ? "gguf" : "hf", "name",
        lmf_json_string(m->name ? m->name : ""),
        "architecture", m->arch->name, "parameters", (json_int_t)m->n_params, "n_layers", c->n_layers, "width", c->width, "n_heads", (int)m->arch->dim(m->config, 'H'), "n_kv_heads",
        (int)m->arch->dim(m->config, 'K'), "context", c->context, "vocab", c->vocab, "hparams", hparams_json(m), "types", types, "tokenizer", tokenizer_json(m), "chat_template",
        m->chat_template != NULL, "file_bytes", (json_int_t)stored_bytes(cli->ctx, m), "memory", "mapped_bytes", (json_int_t)(total - copied), "copied_bytes", (json_int_t)copied,
        "bytes_per_token", (json_int_t)(lmf_arch_state(m->arch, m->config).kv_width * 4));
    s = r ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_FORMAT, "%s: a value in it is no finite number, or there is no memory", path);
    if (r && m->chat.broken)
        json_object_set_new(r, "chat_template_error", lmf_json_string(m->chat.broken));
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
    json_t *targets = c->target_regex ? lmf_json_string(c->target_regex) : json_array();
    int64_t n_params = 0, bytes = 0;
    for (size_t i = 0; !c->target_regex && i < c->n_targets; i++)
        json_array_append_new(targets, lmf_json_string(c->target[i]));
    for (size_t i = 0; i < lmf_adapter_n(a); i++) {
        const lmf_adapter_pair *p = lmf_adapter_at(a, i);
        n_params += p->r * (p->a->dim[1] + p->b->dim[0]);
        bytes += (int64_t)(p->a->bytes + p->b->bytes);
    }
    const char *type = lmf_adapter_n(a) ? lmf_adapter_at(a, 0)->a->type : "";
    json_t *r = json_pack("{s:o, s:s, s:I, s:f, s:b, s:f, s:o, s:o, s:I, s:I, s:s, s:I}", "path", lmf_json_string(path), "kind", "adapter", "r", (json_int_t)c->r, "alpha", c->alpha, "rslora", c->use_rslora, "dropout",
                          c->dropout, "target_modules", targets, "base_model", lmf_json_string(c->base_model), "layers", (json_int_t)lmf_adapter_n(a), "parameters", (json_int_t)n_params, "type", type, "bytes", (json_int_t)bytes);
    lmf_status s = r ? LMF_OK : LMF_NO_MEMORY(cli->ctx, 256, "a report");
    if (r && cli->json)
        s = lmf_cli_print_json(cli, r);
    else if (r) {
        char *list = json_dumps(json_object_get(r, "target_modules"), JSON_ENCODE_ANY);
        printf("%s\nLoRA adapter  r %lld, alpha %g%s, %zu layers\nbase          %s\ntargets       %s\nparameters    %.2f million, %s, %.1f MB\n", S(r, "path"), (long long)c->r, c->alpha, c->use_rslora ? ", rank-stabilized" : "",
               lmf_adapter_n(a), *c->base_model ? S(r, "base_model") : "not named", lmf_plain_text(list ? list : "", (char[2048]){ 0 }, 2048), (double)n_params / 1e6, type, (double)bytes / 1e6);
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
