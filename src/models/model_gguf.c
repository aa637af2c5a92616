/* SPDX-License-Identifier: Apache-2.0 */
/* A GGUF file as a model: keys to the architecture's configuration, tensors to roles, tokenizer.ggml.* to a vocabulary. */
#include <stdio.h>
#include <string.h>
#include "models/hparam.h"
#include "models/model.h"

static lmf_status find_arch(lmf_model *m, char *name, size_t n)
{
    lmf_bytes text;
    LMF_TRY(lmf_gguf_get_string(m->gguf, "general.architecture", &text));
    if (text.n >= n)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "general.architecture has %zu bytes", text.n);
    memcpy(name, text.p, text.n);
    name[text.n] = 0;
    const lmf_arch *found = NULL; /* a relative may be written under the other's name; it is read as the other */
    for (const lmf_arch *const *a = m->ctx->tables->archs; *a; a++)
        for (const char *const *k = (*a)->gguf_arch; k && *k; k++)
            if (strcmp(*k, name) == 0 && (!found || !(*a)->like))
                found = *a;
    if (found)
        return lmf_arch_resolve(m->ctx, &m->arena, found, &m->arch);
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "the architecture \"%s\" is not supported", name);
}

static lmf_status read_list(lmf_model *m, const lmf_hparam *h, const lmf_gguf_kv *kv)
{
    double v;
    for (size_t i = 0; i < kv->n; i++) {
        if (!lmf_gguf_kv_f64(kv, i, &v))
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "%.100s is no list of numbers", kv->key);
        LMF_TRY(lmf_hparam_set(m->ctx, h, m->config, v));
    }
    return LMF_OK;
}

static lmf_status set_missing(lmf_model *m, const lmf_hparam *h)
{
    return h->flags & LMF_HPARAM_GGUF_0 ? lmf_hparam_set(m->ctx, h, m->config, 0) : lmf_hparam_set_default(m->ctx, h, m->config);
}

static lmf_status read_hparam(lmf_model *m, const lmf_hparam *h, const char *arch)
{
    char key[128];
    double v;
    bool flag;
    lmf_bytes text;
    if (!h->gguf)
        return set_missing(m, h);
    LMF_TRY(lmf_model_name(m->ctx, h->gguf, 0, arch, key, sizeof key));
    const lmf_gguf_kv *kv = lmf_gguf_find(m->gguf, key);
    if (!kv && h->required)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the key %s is missing", key);
    if (!kv)
        return set_missing(m, h);
    switch (h->kind) {
    case LMF_HPARAM_LIST: return read_list(m, h, kv);
    case LMF_HPARAM_TEXT:
        LMF_TRY(lmf_gguf_get_string(m->gguf, key, &text));
        return lmf_hparam_set_text(m->ctx, h, m->config, text.p, text.n);
    case LMF_HPARAM_BOOL:
        LMF_TRY(lmf_gguf_get_bool(m->gguf, key, &flag));
        v = flag;
        break;
    default: LMF_TRY(lmf_gguf_get_f64(m->gguf, key, &v));
    }
    return lmf_hparam_set(m->ctx, h, m->config, v);
}

static bool find_tensor(const lmf_model *m, const char *name, lmf_source *out)
{
    const lmf_gguf_tensor *t = lmf_gguf_tensor_find(m->gguf, name);
    if (!t)
        return false;
    *out = (lmf_source){ .name = t->name, .n_dims = t->n_dims, .dtype = t->dtype, .data = t->data, .bytes = t->bytes,
                          .number = (size_t)(t - lmf_gguf_tensor_at(m->gguf, 0)) };
    memcpy(out->dim, t->dim, sizeof out->dim);
    return true;
}

/* Views into the file become the pointer and length arrays that the tokenizer wants. */
static lmf_status split_views(lmf_model *m, const lmf_bytes *b, size_t n, const char *const **text, const uint32_t **bytes)
{
    const char **t = lmf_arena_array(&m->arena, n, sizeof *t);
    uint32_t *k = lmf_arena_array(&m->arena, n, sizeof *k);
    if (!t || !k)
        return LMF_NO_MEMORY(m->ctx, n * sizeof *t, "the vocabulary");
    for (size_t i = 0; i < n; i++) {
        if (b[i].n > UINT32_MAX)
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "token %zu is too long", i);
        t[i] = b[i].p;
        k[i] = (uint32_t)b[i].n;
    }
    *text = t;
    *bytes = k;
    return LMF_OK;
}

static lmf_status text_of(lmf_model *m, const char *key, const char **out)
{
    lmf_bytes b;
    *out = NULL;
    if (!lmf_gguf_find(m->gguf, key))
        return LMF_OK;
    LMF_TRY(lmf_gguf_get_string(m->gguf, key, &b));
    *out = lmf_arena_strndup(&m->arena, b.p, b.n);
    return *out ? LMF_OK : LMF_NO_MEMORY(m->ctx, b.n, key);
}

static lmf_status id_of(lmf_model *m, const char *key, int32_t *out)
{
    int64_t id;
    if (!lmf_gguf_find(m->gguf, key))
        return LMF_OK;
    LMF_TRY(lmf_gguf_get_i64(m->gguf, key, &id));
    /* some writers mark "none" with all bits set */
    if (id == 0xffffffffLL || id == -1)
        return LMF_OK;
    if (id < 0 || (uint64_t)id >= m->vocab.n_tokens)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "%s is %lld, but there are %zu tokens", key, (long long)id, m->vocab.n_tokens);
    *out = (int32_t)id;
    return LMF_OK;
}

static lmf_status read_kinds(lmf_model *m)
{
    int32_t *types;
    size_t n;
    if (!lmf_gguf_find(m->gguf, "tokenizer.ggml.token_type"))
        return LMF_OK;
    LMF_TRY(lmf_gguf_get_i32s(m->gguf, "tokenizer.ggml.token_type", &m->arena, &types, &n));
    if (n != m->vocab.n_tokens)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.ggml.token_type has %zu entries for %zu tokens", n, m->vocab.n_tokens);
    uint8_t *kind = lmf_arena_alloc(&m->arena, n);
    if (!kind)
        return LMF_NO_MEMORY(m->ctx, n, "the vocabulary");
    for (size_t i = 0; i < n; i++)
        kind[i] = types[i] >= 1 && types[i] <= 6 ? (uint8_t)types[i] : 0;
    m->vocab.kind = kind;
    return LMF_OK;
}

/* SentencePiece's BPE. What a file does not say is as in llama.cpp: ids 0, 1 and 2 for unknown, begin and end, a space in front. */
static lmf_status read_spaced(lmf_model *m)
{
    static const char scores[] = "tokenizer.ggml.scores", lead[] = "tokenizer.ggml.add_space_prefix", trim[] =
        "tokenizer.ggml.remove_extra_whitespaces";
    lmf_vocab *v = &m->vocab;
    float *score;
    size_t n;
    bool leads = true, trims = false;
    LMF_TRY(lmf_gguf_get_f32s(m->gguf, scores, &m->arena, &score, &n));
    if (n != v->n_tokens)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "%s has %zu entries for %zu tokens", scores, n, v->n_tokens);
    if (lmf_gguf_find(m->gguf, lead))
        LMF_TRY(lmf_gguf_get_bool(m->gguf, lead, &leads));
    if (lmf_gguf_find(m->gguf, trim))
        LMF_TRY(lmf_gguf_get_bool(m->gguf, trim, &trims));
    if (trims)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "%s is true, which is not supported", trim);
    int32_t *const id[] = { &v->unk, &v->bos, &v->eos };
    static const char *const key[] = { "unknown", "bos", "eos" };
    char text[64];
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "tokenizer.ggml.%s_token_id", key[i]);
        if (*id[i] < 0 && !lmf_gguf_find(m->gguf, text) && (size_t)i < v->n_tokens)
            *id[i] = i;
    }
    lmf_norm_step *s = lmf_arena_array(&m->arena, 2, sizeof *s);
    if (!s)
        return LMF_NO_MEMORY(m->ctx, 2 * sizeof *s, "the vocabulary");
    if (leads)
        s[v->n_norm++] = (lmf_norm_step){ LMF_NORM_PREPEND, NULL, " ", 0, 1 };
    s[v->n_norm++] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    v->norm = s;
    v->score = score;
    v->n_merges = 0;
    v->strip = leads;
    v->fuse_unk = true;
    return LMF_OK;
}

static lmf_status read_vocab(lmf_model *m)
{
    lmf_vocab *v = &m->vocab;
    lmf_bytes *tokens, *merges;
    bool flag;
    LMF_TRY(text_of(m, "tokenizer.ggml.model", &v->model));
    LMF_TRY(text_of(m, "tokenizer.ggml.pre", &v->pretok));
    LMF_TRY(lmf_gguf_get_strings(m->gguf, "tokenizer.ggml.tokens", &m->arena, &tokens, &v->n_tokens));
    LMF_TRY(split_views(m, tokens, v->n_tokens, &v->token, &v->token_bytes));
    LMF_TRY(read_kinds(m));
    if (lmf_gguf_find(m->gguf, "tokenizer.ggml.merges")) {
        LMF_TRY(lmf_gguf_get_strings(m->gguf, "tokenizer.ggml.merges", &m->arena, &merges, &v->n_merges));
        LMF_TRY(split_views(m, merges, v->n_merges, &v->merge, &v->merge_bytes));
    }
    const struct { const char *key; int32_t *id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", &v->bos }, { "tokenizer.ggml.eos_token_id", &v->eos }, { "tokenizer.ggml.eot_token_id", &v->eot },
        { "tokenizer.ggml.padding_token_id", &v->pad }, { "tokenizer.ggml.unknown_token_id", &v->unk } };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        LMF_TRY(id_of(m, ids[i].key, ids[i].id));
    if (lmf_gguf_find(m->gguf, "tokenizer.ggml.add_bos_token")) {
        LMF_TRY(lmf_gguf_get_bool(m->gguf, "tokenizer.ggml.add_bos_token", &flag));
        v->add_bos = flag ? LMF_YES : LMF_NO;
    }
    if (lmf_gguf_find(m->gguf, "tokenizer.ggml.add_eos_token"))
        LMF_TRY(lmf_gguf_get_bool(m->gguf, "tokenizer.ggml.add_eos_token", &v->add_eos));
    if (v->model && strcmp(v->model, "llama") == 0)
        LMF_TRY(read_spaced(m));
    int32_t eom = -1;
    LMF_TRY(id_of(m, "tokenizer.ggml.eom_token_id", &eom));
    const int32_t ends[] = { v->eos, v->eot, eom };
    for (int i = 0; i < 3; i++)
        lmf_chat_add_eos(&m->chat, ends[i]);
    return LMF_OK;
}

/* What is no text fails what renders, nothing else. */
static lmf_status read_template(lmf_model *m, const char *key, const char **out)
{
    lmf_bytes b;
    *out = NULL;
    if (!lmf_gguf_find(m->gguf, key))
        return LMF_OK;
    LMF_TRY(lmf_gguf_get_string(m->gguf, key, &b));
    if (lmf_utf8_is_valid(b.p, b.n) && !memchr(b.p, 0, b.n))
        return text_of(m, key, out);
    if (!m->chat_source)
        m->chat.broken = "it is not UTF-8 text";
    return LMF_OK;
}

/* tokenizer.chat_template.NAME: all but the default. */
static lmf_status read_templates(lmf_model *m)
{
    static const char prefix[] = "tokenizer.chat_template.";
    enum { MOST = 64 };
    for (size_t i = 0; i < lmf_gguf_n_kv(m->gguf); i++) {
        const lmf_gguf_kv *kv = lmf_gguf_kv_at(m->gguf, i);
        const char *text;
        if (strncmp(kv->key, prefix, sizeof prefix - 1))
            continue;
        if (m->n_templates == MOST)
            return LMF_FAIL(m->ctx, LMF_E_LIMIT, "there are more than %d chat templates", MOST);
        if (!m->templates && !(m->templates = lmf_arena_array(&m->arena, MOST, sizeof *m->templates)))
            return LMF_NO_MEMORY(m->ctx, MOST * sizeof *m->templates, "chat templates");
        LMF_TRY(read_template(m, kv->key, &text));
        if (text)
            m->templates[m->n_templates++] = (lmf_named_text){ kv->key + sizeof prefix - 1, text };
    }
    return LMF_OK;
}

lmf_status lmf__model_open_gguf(lmf_model *m)
{
    char arch[64];
    const char *text;
    LMF_TRY(lmf_gguf_open(m->ctx, m->path, &m->gguf));
    LMF_TRY(find_arch(m, arch, sizeof arch));
    m->config = lmf_arena_alloc(&m->arena, m->arch->config_bytes);
    if (!m->config)
        return LMF_NO_MEMORY(m->ctx, m->arch->config_bytes, "a configuration");
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++)
        LMF_TRY(read_hparam(m, h, arch));
    LMF_TRY(read_vocab(m));
    lmf_config_base *c = m->config;
    const lmf_gguf_tensor *table = lmf_gguf_tensor_find(m->gguf, "token_embd.weight");
    if (table && table->n_dims == 2 && table->dim[0] < 1 << 28)
        c->vocab = (int32_t)table->dim[0]; /* what the file says of it may be missing, the table is there */
    LMF_TRY(lmf__model_check_config(m));
    LMF_TRY(lmf__model_check_gguf_keys(m, arch));
    LMF_TRY(lmf__model_map_weights(m, true, find_tensor));
    LMF_TRY(text_of(m, "general.name", &text));
    m->name = (char *)(uintptr_t)(text ? text : "");
    LMF_TRY(read_template(m, "tokenizer.chat_template", &text));
    m->chat_source = (char *)(uintptr_t)text;
    LMF_TRY(read_templates(m));
    if (!m->chat_source && !m->chat.broken && m->n_templates)
        m->chat.broken = "the file has chat templates, but none that is the default; choose one: --chat-template FILE";
    return LMF_OK;
}
