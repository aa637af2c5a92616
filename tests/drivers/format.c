/* SPDX-License-Identifier: Apache-2.0 */
/* format: what tools/oracle/format.py talks to.
 *   gguf FILE | safetensors FILE-OR-FOLDER | adapter FOLDER | tokenizer FOLDER    prints it as JSON
 *   copy-gguf FROM TO | copy-safetensors FROM TO | copy-adapter FROM TO           reads and writes
 *   to-safetensors GGUF TO      its F32 tensors as F32
 *   to-hf GGUF FOLDER PRETOKENIZER.json    vocabulary, template and a config.json
 *   types -                     the block types of files, by number
 *   open GGUF N                 microseconds of opening, least of N */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "format/adapter.h"
#include "format/gguf.h"
#include "format/hf_json.h"
#include "format/safetensors.h"

static json_t *dims(const int64_t *dim, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(dim[i]));
    return list;
}

static json_t *tensor(lmf_ctx *ctx, const char *name, int dtype, const int64_t *dim, int n_dims, const void *data, size_t bytes)
{
    char hash[65];
    if (lmf_sha256_hex(ctx, data, bytes, hash))
        return NULL;
    return json_pack("{s:s, s:i, s:o, s:I, s:s}", "name", name, "dtype", dtype, "shape", dims(dim, n_dims), "bytes", (json_int_t)bytes, "sha256", hash);
}

static json_t *item(const lmf_gguf_kv *kv, size_t i)
{
    int64_t whole;
    double real;
    if (kv->item_type == LMF_GGUF_BOOL)
        return json_boolean(kv->data[i]);
    if (lmf_gguf_kv_i64(kv, i, &whole))
        return json_integer(whole);
    return lmf_gguf_kv_f64(kv, i, &real) ? json_real(real) : json_null();
}

static json_t *pair(const lmf_gguf_kv *kv)
{
    json_t *list = json_array();
    lmf_bytes s;
    for (size_t at = 0; lmf_gguf_kv_next_string(kv, &at, &s);)
        json_array_append_new(list, json_stringn(s.p, s.n));
    for (size_t i = 0; i < kv->n && kv->item_type != LMF_GGUF_STRING; i++)
        json_array_append_new(list, item(kv, i));
    return json_pack("{s:s, s:s, s:s, s:o}", "key", kv->key, "type", lmf_gguf_type_name(kv->type), "item", lmf_gguf_type_name(kv->item_type), "values", list);
}

static lmf_status show_gguf(lmf_ctx *ctx, const char *path, json_t *out)
{
    lmf_gguf *g;
    json_t *pairs = json_array(), *tensors = json_array();
    json_object_set_new(out, "kv", pairs);
    json_object_set_new(out, "tensors", tensors);
    LMF_TRY(lmf_gguf_open(ctx, path, &g));
    for (size_t i = 0; i < lmf_gguf_n_kv(g); i++)
        json_array_append_new(pairs, pair(lmf_gguf_kv_at(g, i)));
    for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        json_array_append_new(tensors, tensor(ctx, t->name, t->dtype, t->dim, t->n_dims, t->data, t->bytes));
    }
    lmf_gguf_close(g);
    return LMF_OK;
}

static lmf_status show_safetensors(lmf_ctx *ctx, const char *path, json_t *out)
{
    lmf_safetensors *st;
    json_t *tensors = json_array();
    json_object_set_new(out, "tensors", tensors);
    LMF_TRY(lmf_path_stat(path) == LMF_PATH_DIR ? lmf_safetensors_open_model(ctx, path, &st) : lmf_safetensors_open(ctx, path, &st));
    for (size_t i = 0; i < lmf_safetensors_n(st); i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(st, i);
        json_array_append_new(tensors, tensor(ctx, t->name, t->dtype, t->dim, t->n_dims, t->data, t->bytes));
    }
    lmf_safetensors_close(st);
    return LMF_OK;
}

static lmf_status show_adapter(lmf_ctx *ctx, const char *dir, json_t *out)
{
    lmf_adapter *a;
    json_t *pairs = json_array();
    json_object_set_new(out, "pairs", pairs);
    LMF_TRY(lmf_adapter_open(ctx, dir, &a));
    for (size_t i = 0; i < lmf_adapter_n(a); i++) {
        const lmf_adapter_pair *p = lmf_adapter_at(a, i);
        json_array_append_new(pairs, json_pack("{s:s, s:I, s:f, s:o, s:o}", "path", p->path, "r", (json_int_t)p->r, "scale", p->scale, "a",
            tensor(ctx, p->a->name, p->a->dtype, p->a->dim, 2, p->a->data, p->a->bytes), "b",
            tensor(ctx, p->b->name, p->b->dtype, p->b->dim, 2, p->b->data, p->b->bytes)));
    }
    lmf_adapter_close(a);
    return LMF_OK;
}

static lmf_status show_tokenizer(lmf_ctx *ctx, const char *dir, json_t *out)
{
    lmf_hf_tokenizer t;
    lmf_hf_special s;
    json_t *tokens = json_array(), *merges = json_array();
    json_object_set_new(out, "tokens", tokens);
    json_object_set_new(out, "merges", merges);
    LMF_TRY(lmf_hf_tokenizer_open(ctx, dir, &t));
    for (size_t i = 0; i < t.n_tokens; i++)
        json_array_append_new(tokens, t.token[i].p ? json_stringn(t.token[i].p, t.token[i].n) : json_null());
    for (size_t i = 0; i < t.n_merges; i++)
        json_array_append_new(merges, json_pack("[s%, s%]", t.merge[i].left.p, t.merge[i].left.n, t.merge[i].right.p, t.merge[i].right.n));
    json_object_set_new(out, "n_added", json_integer((json_int_t)t.n_added));
    lmf_hf_tokenizer_close(&t);
    LMF_TRY(lmf_hf_special_open(ctx, dir, &s));
    json_object_set_new(out, "bos", json_string(s.bos));
    json_object_set_new(out, "eos", json_string(s.eos));
    json_object_set_new(out, "template", json_string(s.chat_template));
    lmf_hf_special_close(&s);
    return LMF_OK;
}

static lmf_status copy_gguf(lmf_ctx *ctx, const char *from, const char *to)
{
    lmf_gguf *g;
    lmf_gguf_writer *w = NULL;
    LMF_TRY(lmf_gguf_open(ctx, from, &g));
    lmf_status s = lmf_gguf_writer_create(ctx, to, &w);
    for (size_t i = 0; !s && i < lmf_gguf_n_kv(g); i++)
        s = lmf_gguf_put_kv(w, lmf_gguf_kv_at(g, i));
    for (size_t i = 0; !s && i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        s = lmf_gguf_add_tensor(w, t->name, t->dtype, t->dim, t->n_dims);
    }
    if (!s)
        s = lmf_gguf_begin(w);
    for (size_t i = 0; !s && i < lmf_gguf_n_tensors(g); i++)
        s = lmf_gguf_write(w, lmf_gguf_tensor_at(g, i)->data, lmf_gguf_tensor_at(g, i)->bytes);
    if (!s)
        s = lmf_gguf_commit(w);
    lmf_gguf_writer_destroy(w);
    lmf_gguf_close(g);
    return s;
}

static lmf_status copy_safetensors(lmf_ctx *ctx, const char *from, const char *to)
{
    lmf_safetensors *st;
    lmf_safetensors_writer *w = NULL;
    LMF_TRY(lmf_safetensors_open(ctx, from, &st));
    lmf_status s = lmf_safetensors_writer_create(ctx, to, &w);
    for (size_t i = 0; !s && i < lmf_safetensors_n(st); i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(st, i);
        s = lmf_safetensors_add(w, t->name, t->dtype, t->dim, t->n_dims);
    }
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;)
        s = lmf_safetensors_write(w, lmf_safetensors_at(st, (size_t)i)->data, lmf_safetensors_at(st, (size_t)i)->bytes);
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    lmf_safetensors_close(st);
    return s;
}

static lmf_status to_safetensors(lmf_ctx *ctx, const char *from, const char *to)
{
    lmf_gguf *g;
    lmf_safetensors_writer *w = NULL;
    LMF_TRY(lmf_gguf_open(ctx, from, &g));
    lmf_status s = lmf_safetensors_writer_create(ctx, to, &w);
    for (size_t i = 0; !s && i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        if (t->dtype == 0)
            s = lmf_safetensors_add(w, t->name, 0, t->dim, t->n_dims);
    }
    if (!s)
        s = lmf_safetensors_begin(w);
    for (size_t i = 0; !s && i < lmf_gguf_n_tensors(g); i++)
        if (lmf_gguf_tensor_at(g, i)->dtype == 0)
            s = lmf_safetensors_write(w, lmf_gguf_tensor_at(g, i)->data, lmf_gguf_tensor_at(g, i)->bytes);
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    lmf_gguf_close(g);
    return s;
}

enum { PAIRS_MAX = 4096 };

static lmf_status copy_adapter(lmf_ctx *ctx, const char *from, const char *to)
{
    static lmf_adapter_entry entry[PAIRS_MAX];
    lmf_adapter *a;
    LMF_TRY(lmf_adapter_open(ctx, from, &a));
    const lmf_adapter_config *c = lmf_adapter_get_config(a);
    size_t n = lmf_adapter_n(a);
    for (size_t i = 0; i < n && i < PAIRS_MAX; i++) {
        const lmf_adapter_pair *p = lmf_adapter_at(a, i);
        entry[i] = (lmf_adapter_entry){ p->path, p->a->dtype, p->a->dim[1], p->b->dim[0], p->r, p->scale * (double)p->r, p->a->data, p->b->data };
        if (c->use_rslora)
            entry[i].alpha = c->alpha;
    }
    lmf_status s = n > PAIRS_MAX ? LMF_FAIL(ctx, LMF_E_LIMIT, "more than %d pairs", PAIRS_MAX) : lmf_adapter_save(ctx, to, c, entry, n);
    lmf_adapter_close(a);
    return s;
}

static lmf_status save_vocabulary(lmf_ctx *ctx, const lmf_gguf *g, lmf_arena *arena, const char *dir, const char *pre_tokenizer)
{
    lmf_bytes *token, *merge;
    int32_t *type;
    size_t n, n_merges, n_types, n_added = 0;
    char path[4096];
    json_t *root;
    LMF_TRY(lmf_gguf_get_strings(g, "tokenizer.ggml.tokens", arena, &token, &n));
    LMF_TRY(lmf_gguf_get_strings(g, "tokenizer.ggml.merges", arena, &merge, &n_merges));
    LMF_TRY(lmf_gguf_get_i32s(g, "tokenizer.ggml.token_type", arena, &type, &n_types));
    lmf_hf_merge *pairs = lmf_arena_array(arena, n_merges, sizeof *pairs);
    lmf_hf_added *added = lmf_arena_array(arena, n, sizeof *added);
    if (!pairs || !added || n_types != n)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "no memory, or types of another length");
    for (size_t i = 0; i < n_merges; i++) {
        const char *space = memchr(merge[i].p, ' ', merge[i].n);
        if (!space)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "merge %zu", i);
        pairs[i] = (lmf_hf_merge){ { merge[i].p, (size_t)(space - merge[i].p) }, { space + 1, (size_t)(merge[i].p + merge[i].n - space - 1) } };
    }
    for (size_t i = 0; i < n; i++)
        if (type[i] == 3 || type[i] == 4)
            added[n_added++] = (lmf_hf_added){ token[i], (int32_t)i, type[i] == 3, false, false, false, false };
    lmf_hf_bpe bpe = { .token = token, .n_tokens = n, .merge = pairs, .n_merges = n_merges, .added = added, .n_added = n_added,
                       .pre_tokenizer = pre_tokenizer, .decoder = "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true}" };
    LMF_TRY(lmf_hf_tokenizer_build(ctx, &bpe, &root));
    lmf_status s = lmf_path_join(ctx, path, sizeof path, dir, "tokenizer.json");
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    return s;
}

static lmf_status save_config(lmf_ctx *ctx, const lmf_gguf *g, const char *dir)
{
    int64_t layers, width, heads, kv_heads, ff, context, vocab = 0;
    double eps, theta;
    lmf_bytes template;
    char text[1 << 16];
    LMF_TRY(lmf_gguf_get_i64(g, "llama.block_count", &layers));
    LMF_TRY(lmf_gguf_get_i64(g, "llama.embedding_length", &width));
    LMF_TRY(lmf_gguf_get_i64(g, "llama.attention.head_count", &heads));
    LMF_TRY(lmf_gguf_get_i64(g, "llama.attention.head_count_kv", &kv_heads));
    LMF_TRY(lmf_gguf_get_i64(g, "llama.feed_forward_length", &ff));
    LMF_TRY(lmf_gguf_get_i64(g, "llama.context_length", &context));
    LMF_TRY(lmf_gguf_get_f64(g, "llama.attention.layer_norm_rms_epsilon", &eps));
    LMF_TRY(lmf_gguf_get_f64(g, "llama.rope.freq_base", &theta));
    LMF_TRY(lmf_gguf_get_string(g, "tokenizer.chat_template", &template));
    vocab = lmf_gguf_tensor_find(g, "token_embd.weight")->dim[0];
    json_t *root = json_pack("{s:[s], s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b, s:s}", "architectures", "LlamaForCausalLM",
        "model_type", "llama", "hidden_act", "silu", "num_hidden_layers", layers, "hidden_size", width, "num_attention_heads", heads,
        "num_key_value_heads", kv_heads, "intermediate_size", ff, "max_position_embeddings", context, "vocab_size", vocab, "rms_norm_eps", eps,
        "rope_theta", theta, "tie_word_embeddings", 1, "dtype", "float32");
    lmf_status s = lmf_hf_config_save(ctx, dir, root);
    json_decref(root);
    snprintf(text, sizeof text, "%.*s", (int)template.n, template.p);
    lmf_hf_special special = { .bos = "<|im_start|>", .eos = "<|im_end|>", .pad = "<|im_end|>", .add_bos = -1, .add_eos = -1, .chat_template = text };
    return s ? s : lmf_hf_special_save(ctx, dir, &special, context);
}

static lmf_status to_hf(lmf_ctx *ctx, const char *from, const char *dir, const char *pre_tokenizer_path)
{
    lmf_gguf *g;
    lmf_arena arena;
    char *pre;
    size_t n;
    LMF_TRY(lmf_file_read(ctx, pre_tokenizer_path, 1 << 20, &pre, &n));
    lmf_status s = lmf_gguf_open(ctx, from, &g);
    lmf_arena_init(&arena, ctx, SIZE_MAX / 2);
    if (!s)
        s = lmf_dir_create(ctx, dir);
    if (!s)
        s = save_vocabulary(ctx, g, &arena, dir, pre);
    if (!s)
        s = save_config(ctx, g, dir);
    lmf_arena_clear(&arena);
    lmf_gguf_close(g);
    lmf_free(ctx, pre, n + 1);
    return s;
}

static lmf_status time_open(lmf_ctx *ctx, const char *path, int n, json_t *out)
{
    double least = 1e300;
    for (int i = 0; i < n; i++) {
        struct timespec a, b;
        lmf_gguf *g;
        clock_gettime(CLOCK_MONOTONIC, &a);
        LMF_TRY(lmf_gguf_open(ctx, path, &g));
        clock_gettime(CLOCK_MONOTONIC, &b);
        lmf_gguf_close(g);
        double us = (double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3;
        least = us < least ? us : least;
    }
    json_object_set_new(out, "open_us", json_real(least));
    json_object_set_new(out, "peak_bytes", json_integer((json_int_t)ctx->peak_bytes));
    return LMF_OK;
}

static lmf_status show_types(lmf_ctx *ctx, json_t *out)
{
    lmf_file_type type;
    char number[16];
    for (uint32_t i = 0; i < 200; i++) {
        snprintf(number, sizeof number, "%u", i);
        if (lmf_file_type_get(ctx, i, &type))
            json_object_set_new(out, number, json_pack("[s, i, i]", type.name, type.block, (int)type.block_bytes));
    }
    return LMF_OK;
}

static lmf_status dispatch(lmf_ctx *ctx, int argc, char **argv, json_t *out)
{
    const char *verb = argc > 2 ? argv[1] : "";
    if (!strcmp(verb, "gguf"))
        return show_gguf(ctx, argv[2], out);
    if (!strcmp(verb, "safetensors"))
        return show_safetensors(ctx, argv[2], out);
    if (!strcmp(verb, "adapter"))
        return show_adapter(ctx, argv[2], out);
    if (!strcmp(verb, "tokenizer"))
        return show_tokenizer(ctx, argv[2], out);
    if (!strcmp(verb, "types"))
        return show_types(ctx, out);
    if (argc < 4)
        return LMF_FAIL(ctx, LMF_E_ARG, "verbs and arguments are in the first lines of tests/drivers/format.c");
    if (!strcmp(verb, "copy-gguf"))
        return copy_gguf(ctx, argv[2], argv[3]);
    if (!strcmp(verb, "copy-safetensors"))
        return copy_safetensors(ctx, argv[2], argv[3]);
    if (!strcmp(verb, "copy-adapter"))
        return copy_adapter(ctx, argv[2], argv[3]);
    if (!strcmp(verb, "to-safetensors"))
        return to_safetensors(ctx, argv[2], argv[3]);
    if (!strcmp(verb, "open"))
        return time_open(ctx, argv[2], atoi(argv[3]), out);
    if (!strcmp(verb, "to-hf") && argc > 4)
        return to_hf(ctx, argv[2], argv[3], argv[4]);
    return LMF_FAIL(ctx, LMF_E_ARG, "no such verb: %s", verb);
}

int main(int argc, char **argv)
{
    lmf_ctx ctx;
    lmf_ctx_init(&ctx, NULL);
    json_t *out = json_object();
    lmf_status s = dispatch(&ctx, argc, argv, out);
    if (s)
        fprintf(stderr, "%s: %s\n", lmf_status_name(s), lmf_error(&ctx));
    else
        json_dumpf(out, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(out);
    bool leak = ctx.live_bytes != 0;
    lmf_ctx_clear(&ctx);
    return s || leak;
}
