/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a key that the tables know is written from the model as it is in memory; whatever else a source GGUF held is carried over. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "export/parts.h"
#include "models/hparam.h"
#include "nn/rope_freq.h"

enum { KEY_BYTES = 128 };

typedef struct writer { lmf_gguf_writer *w; lmf_exporter *x; const char *arch; } writer;

/* Llama 3's stretching of rope has no keys in GGUF: it is a tensor of factors. */
static bool is_llama3_rope(const lmf_model *m)
{
    const lmf_hparam *h = lmf_hparam_find(m->arch, "rope_type");
    return h && strcmp((const char *)m->config + h->offset, "llama3") == 0;
}

static lmf_status put_list(const writer *o, const char *key, const lmf_hparam_list *list)
{
    int32_t v[LMF_HPARAM_LIST_ITEMS];
    bool whole = true;
    for (int i = 0; i < list->n; i++) {
        whole &= list->v[i] == floorf(list->v[i]) && fabsf(list->v[i]) < 0x1p31f;
        v[i] = whole ? (int32_t)list->v[i] : 0;
    }
    if (list->n == 0)
        return LMF_OK;
    return whole ? lmf_gguf_put_i32s(o->w, key, v, (size_t)list->n) : lmf_gguf_put_f32s(o->w, key, list->v, (size_t)list->n);
}

static lmf_status put_hparam(const writer *o, const lmf_hparam *h)
{
    char key[KEY_BYTES];
    const lmf_model *m = o->x->model;
    const char *at = (const char *)m->config + h->offset;
    if (!h->gguf || (is_llama3_rope(m) && strstr(h->gguf, ".rope.scaling.")))
        return LMF_OK;
    LMF_TRY(lmf_model_name(o->x->ctx, h->gguf, 0, o->arch, key, sizeof key));
    switch (h->kind) {
    case LMF_HPARAM_I32: return *(const int32_t *)at <= 0 ? LMF_OK : /* the source did not say it */
                                lmf_gguf_put_u32(o->w, key, (uint32_t) * (const int32_t *)at);
    case LMF_HPARAM_F32: return lmf_gguf_put_f32(o->w, key, *(const float *)at);
    case LMF_HPARAM_BOOL: return lmf_gguf_put_bool(o->w, key, *(const bool *)at);
    case LMF_HPARAM_LIST: return put_list(o, key, (const lmf_hparam_list *)(const void *)at);
    default: return !*at || strcmp(at, "default") == 0 ? LMF_OK : lmf_gguf_put_text(o->w, key, at);
    }
}

/* rope_freqs.weight from config.json's llama3 parameters: what each pair's frequency is divided by. */
static lmf_status add_rope_factors(lmf_exporter *x)
{
    static const char *const fields[] = { "rope_base", "rope_factor", "rope_low", "rope_high", "rope_context" };
    const lmf_model *m = x->model;
    const lmf_weight_row *row = m->arch->weights;
    lmf_rope_spec rope = { .type = "llama3", .n_rot = (int32_t)m->arch->dim(m->config, 'C') };
    float *const to[] = { &rope.base, &rope.factor, &rope.low, &rope.high };
    while (row->role && strcmp(row->role, "rope_factors"))
        row++;
    if (!is_llama3_rope(m) || lmf_weights_find(m->weights, "rope_factors"))
        return LMF_OK;
    for (int i = 0; i < 5; i++) {
        const lmf_hparam *h = lmf_hparam_find(m->arch, fields[i]);
        if (!h || !row->role)
            return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "%s: the llama3 rope scaling has no form in GGUF", m->arch->name);
        if (i < 4)
            *to[i] = (float)lmf_hparam_number(h, m->config);
        else
            rope.context = (int32_t)lmf_hparam_number(h, m->config);
    }
    int64_t n = rope.n_rot / 2;
    float *f = lmf_arena_array(&x->arena, (size_t)n, sizeof *f);
    if (!f)
        return LMF_NO_MEMORY(x->ctx, (size_t)n * sizeof *f, "rope factors");
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)lmf_rope_divisor(&rope, i);
    x->items[x->n++] = (lmf_out_tensor){ .name = row->gguf, .row = row, .own = f, .fmt = lmf_format_get(x->ctx, LMF_F32), .dim = { n }, .n_dims = 1 };
    return LMF_OK;
}

/* general.file_type: llama.cpp's number for "mostly this type". */
static uint32_t file_type(const lmf_exporter *x)
{
    const lmf_format *most = NULL;
    int64_t most_n = 0;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t n = 0;
        for (int64_t k = 0; k < x->n; k++)
            n += x->items[k].fmt == x->items[i].fmt && x->items[k].n_dims > 1;
        if (n > most_n)
            most = x->items[i].fmt, most_n = n;
    }
    return most && (most->file_type || most->dtype == LMF_F32) ? most->file_type : 1024; /* "guessed" */
}

static bool is_written(const lmf_model *m, const char *gguf)
{
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++)
        if (h->gguf && strcmp(h->gguf, gguf) == 0)
            return lmf_hparam_number(h, m->config) > 0;
    return false;
}

static lmf_status put_general(const writer *o)
{
    char key[KEY_BYTES];
    const lmf_model *m = o->x->model;
    int64_t size = m->arch->dim(m->config, 'C');
    LMF_TRY(lmf_gguf_put_text(o->w, "general.architecture", o->arch));
    LMF_TRY(lmf_gguf_put_text(o->w, "general.type", "model"));
    if (m->name && *m->name)
        LMF_TRY(lmf_gguf_put_text(o->w, "general.name", m->name));
    LMF_TRY(lmf_gguf_put_u32(o->w, "general.file_type", file_type(o->x)));
    LMF_TRY(lmf_gguf_put_u32(o->w, "general.quantization_version", 2));
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++)
        LMF_TRY(put_hparam(o, h));
    static const char *const sized[] = { "{arch}.attention.value_length", "{arch}.rope.dimension_count" };
    for (int i = 0; i < 2 && size > 0; i++) {
        if (is_written(m, sized[i]))
            continue;
        LMF_TRY(lmf_model_name(o->x->ctx, sized[i], 0, o->arch, key, sizeof key));
        LMF_TRY(lmf_gguf_put_u32(o->w, key, (uint32_t)size));
    }
    return LMF_OK;
}

/* Tokens and kinds, with names for the rows of the embedding that no token has: readers take the vocabulary's size for the table's. */
static lmf_status put_tokens(const writer *o)
{
    lmf_exporter *x = o->x;
    const lmf_vocab *v = &x->model->vocab;
    size_t n = (size_t)lmf_model_config(x->model)->vocab;
    lmf_bytes *token = lmf_arena_array(&x->arena, n, sizeof *token), *merge = lmf_arena_array(&x->arena, v->n_merges, sizeof *merge);
    int32_t *kind = lmf_arena_array(&x->arena, n, sizeof *kind);
    float *score = lmf_arena_array(&x->arena, n, sizeof *score);
    if (!token || !merge || !kind || !score)
        return LMF_NO_MEMORY(x->ctx, n * sizeof *token, "the vocabulary");
    for (size_t i = 0; i < n; i++) {
        bool real = i < v->n_tokens;
        const char *pad = real ? NULL : lmf_arena_printf(&x->arena, "[PAD%zu]", i);
        if (!real && !pad)
            return LMF_NO_MEMORY(x->ctx, 16, "the vocabulary");
        token[i].p = real ? v->token[i] : pad;
        token[i].n = real && v->token_bytes ? v->token_bytes[i] : strlen(token[i].p);
        kind[i] = !real ? LMF_TOKEN_UNUSED : v->kind && v->kind[i] ? v->kind[i] : LMF_TOKEN_NORMAL;
    }
    for (size_t i = 0; i < n && x->score; i++)
        score[i] = i < v->n_tokens ? x->score[i] : -1e6f;
    for (size_t i = 0; i < v->n_merges; i++)
        merge[i].p = v->merge[i], merge[i].n = v->merge_bytes ? v->merge_bytes[i] : strlen(v->merge[i]);
    LMF_TRY(lmf_gguf_put_strings(o->w, "tokenizer.ggml.tokens", token, n));
    LMF_TRY(lmf_gguf_put_i32s(o->w, "tokenizer.ggml.token_type", kind, n));
    if (x->score) {
        LMF_TRY(lmf_gguf_put_f32s(o->w, "tokenizer.ggml.scores", score, n));
        return lmf_gguf_put_bool(o->w, "tokenizer.ggml.add_space_prefix", x->leads);
    }
    return v->n_merges ? lmf_gguf_put_strings(o->w, "tokenizer.ggml.merges", merge, v->n_merges) : LMF_OK;
}

static lmf_status put_templates(const writer *o)
{
    const lmf_model *m = o->x->model;
    char key[KEY_BYTES];
    lmf_bytes name[64];
    size_t n = 0;
    for (size_t i = 0; i < m->n_templates; i++) {
        if (!lmf__export_is_word(m->templates[i].name))
            continue; /* losses.c says so */
        snprintf(key, sizeof key, "tokenizer.chat_template.%s", m->templates[i].name);
        name[n++] = (lmf_bytes){ m->templates[i].name, strlen(m->templates[i].name) };
        LMF_TRY(lmf_gguf_put_text(o->w, key, m->templates[i].text));
    }
    return n ? lmf_gguf_put_strings(o->w, "tokenizer.chat_templates", name, n) : LMF_OK;
}

static lmf_status put_tokenizer(const writer *o)
{
    const lmf_model *m = o->x->model;
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    const struct { const char *key; int32_t id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", id->bos }, { "tokenizer.ggml.eos_token_id", o->x->end[0] }, { "tokenizer.ggml.eot_token_id",
            o->x->end[1] },
        { "tokenizer.ggml.eom_token_id", o->x->end[2] },
        { "tokenizer.ggml.padding_token_id", id->pad }, { "tokenizer.ggml.unknown_token_id", id->unk } };
    bool spaced = lmf__export_is_spaced(o->x);
    LMF_TRY(lmf_gguf_put_text(o->w, "tokenizer.ggml.model", spaced ? "llama" : "gpt2"));
    if (m->vocab.pretok)
        LMF_TRY(lmf_gguf_put_text(o->w, "tokenizer.ggml.pre", m->vocab.pretok));
    LMF_TRY(put_tokens(o));
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0 || (spaced && (i < 2 || i == 5))) /* readers of llama have ids of their own for what is not said */
            LMF_TRY(lmf_gguf_put_u32(o->w, ids[i].key, (uint32_t)ids[i].id));
    LMF_TRY(lmf_gguf_put_bool(o->w, "tokenizer.ggml.add_bos_token", id->add_bos));
    LMF_TRY(lmf_gguf_put_bool(o->w, "tokenizer.ggml.add_eos_token", id->add_eos));
    if (m->chat_source)
        LMF_TRY(lmf_gguf_put_text(o->w, "tokenizer.chat_template", m->chat_source));
    return put_templates(o);
}

static bool starts_with(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* Pairs of the source that nothing above writes: license, tags, counts that only other programs read. */
static lmf_status carry_over(const writer *o)
{
    static const char *const ours[] = { "general.architecture", "general.type", "general.name", "general.file_type", "general.quantization_version", "general.alignment",
        "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
        "tokenizer.ggml.padding_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token", "tokenizer.ggml.scores", "tokenizer.ggml.add_space_prefix",
        "tokenizer.ggml.remove_extra_whitespaces", "tokenizer.chat_template", "tokenizer.chat_templates", LMF__EXPORT_KEY };
    char key[KEY_BYTES];
    const lmf_gguf *g = o->x->model->gguf;
    for (size_t i = 0; g && i < lmf_gguf_n_kv(g); i++) {
        const lmf_gguf_kv *kv = lmf_gguf_kv_at(g, i);
        bool known = starts_with(kv->key, "split.") || starts_with(kv->key, "tokenizer.chat_template.") || starts_with(kv->key, "quantize.") || strstr(kv->key, ".rope.dimension_count") || strstr(kv->key, ".attention.value_length");
        for (size_t k = 0; k < sizeof ours / sizeof *ours && !known; k++)
            known = strcmp(kv->key, ours[k]) == 0;
        for (const lmf_hparam *h = o->x->model->arch->hparams; h->field && !known; h++) {
            if (h->gguf)
                LMF_TRY(lmf_model_name(o->x->ctx, h->gguf, 0, o->arch, key, sizeof key));
            known = h->gguf && strcmp(key, kv->key) == 0;
        }
        if (!known)
            LMF_TRY(lmf_gguf_put_kv(o->w, kv));
    }
    return LMF_OK;
}

static lmf_status sink(void *user, const void *data, size_t n)
{
    return lmf_gguf_write(((writer *)user)->w, data, n);
}

static lmf_status write_all(writer *o)
{
    lmf_exporter *x = o->x;
    LMF_TRY(lmf__export_losses(x));
    LMF_TRY(add_rope_factors(x));
    LMF_TRY(put_general(o));
    LMF_TRY(put_tokenizer(o));
    LMF_TRY(carry_over(o));
    LMF_TRY(lmf_gguf_put_text(o->w, LMF__EXPORT_KEY, "0000000000000000000000000000000000000000000000000000000000000000")); /* the place for its hash */
    for (int64_t i = 0; i < x->n; i++)
        LMF_TRY(lmf_gguf_add_tensor(o->w, x->items[i].name, x->items[i].fmt->dtype, x->items[i].dim, x->items[i].n_dims));
    LMF_TRY(lmf_gguf_begin(o->w));
    for (int64_t i = 0; i < x->n; i++) {
        LMF_TRY(lmf__export_tensor(x, &x->items[i], sink, o));
        if (x->opts->progress && !x->opts->progress(x->opts->user, i + 1, x->n))
            return LMF_FAIL(x->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    }
    return lmf_gguf_commit(o->w);
}

lmf_status lmf__export_gguf(lmf_exporter *x, const char *path)
{
    writer o = { .x = x, .arch = x->model->arch->gguf_arch ? x->model->arch->gguf_arch[0] : NULL };
    if (!o.arch)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the architecture %s has no form in GGUF", x->model->arch->name);
    LMF_TRY(lmf_gguf_writer_create(x->ctx, path, &o.w));
    lmf_status s = write_all(&o);
    lmf_gguf_writer_destroy(o.w);
    return s;
}
