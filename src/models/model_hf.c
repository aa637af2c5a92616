/* SPDX-License-Identifier: Apache-2.0 */
/* A Hugging Face folder as a model: config.json to the architecture's configuration, safetensors to roles, tokenizer.json to
 * a vocabulary. */
#include <stdio.h>
#include <string.h>
#include "format/hf_json.h"
#include "models/model.h"
#include "text/pretok.h"

static lmf_status find_arch(lmf_model *m, const lmf_hf_config *c)
{
    for (const lmf_arch *const *a = m->ctx->tables->archs; *a; a++)
        for (const char *const *k = (*a)->hf_class; k && *k; k++)
            if (strcmp(*k, c->arch) == 0) {
                m->arch = *a;
                return LMF_OK;
            }
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "config.json names the architecture \"%.60s\", which is not supported", c->arch);
}

static lmf_status read_hparam(lmf_model *m, const lmf_hparam *h, const json_t *root)
{
    double v = h->fallback;
    const char *text = NULL;
    bool flag;
    lmf_status s = LMF_E_NOT_FOUND;
    if (!h->hf)
        return h->kind == LMF_HPARAM_TEXT ? LMF_OK : lmf__model_set_hparam(m, h, v);
    json_t *at = lmf_json_at(root, h->hf);
    if (!at && h->required)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json has no \"%s\"", h->hf);
    if (!at)
        return h->kind == LMF_HPARAM_TEXT ? LMF_OK : lmf__model_set_hparam(m, h, v);
    if (h->kind == LMF_HPARAM_TEXT) {
        s = lmf_json_get_string(m->ctx, root, h->hf, &text);
        if (!s)
            snprintf((char *)m->config + h->offset, LMF_HPARAM_TEXT_BYTES, "%s", text);
        return s;
    }
    if (h->kind == LMF_HPARAM_BOOL) {
        s = lmf_json_get_bool(m->ctx, root, h->hf, &flag);
        v = !s && flag;
    } else {
        s = lmf_json_get_f64(m->ctx, root, h->hf, &v);
    }
    return s ? s : lmf__model_set_hparam(m, h, v);
}

static bool find_tensor(const lmf_model *m, const char *name, lmf_source *out)
{
    const lmf_st_tensor *t = lmf_safetensors_find(m->st, name);
    if (!t)
        return false;
    *out = (lmf_source){ .name = t->name, .n_dims = t->n_dims, .dtype = t->dtype, .data = t->data, .bytes = t->bytes };
    memcpy(out->dim, t->dim, sizeof out->dim);
    return true;
}

/* One step of pre_tokenizer into desc. */
static lmf_status read_step(lmf_model *m, const json_t *step, lmf_pretok_desc *d)
{
    const char *type = json_string_value(json_object_get(step, "type"));
    if (!type)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: a pre_tokenizer without a type");
    if (strcmp(type, "ByteLevel") == 0) {
        const json_t *regex = json_object_get(step, "use_regex");
        d->byte_level = true;
        d->use_regex = !regex || json_is_true(regex);
        d->add_prefix_space = json_is_true(json_object_get(step, "add_prefix_space"));
    } else if (strcmp(type, "Digits") == 0) {
        d->digits = json_is_true(json_object_get(step, "individual_digits")) ? LMF_DIGITS_EACH : LMF_DIGITS_RUN;
    } else if (strcmp(type, "Split") == 0) {
        const char *behavior = json_string_value(json_object_get(step, "behavior"));
        d->split_regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
        if (!d->split_regex || !behavior || strcmp(behavior, "Isolated"))
            return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: a Split that is no isolated regular expression");
    } else {
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the pre_tokenizer \"%.40s\" is not supported", type);
    }
    return LMF_OK;
}

static lmf_status read_pretok(lmf_model *m, const json_t *pre)
{
    lmf_pretok_desc d = { 0 };
    const json_t *list = json_object_get(pre, "pretokenizers");
    if (!pre)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json has no pre_tokenizer");
    if (!list)
        LMF_TRY(read_step(m, pre, &d));
    for (size_t i = 0; i < json_array_size(list); i++)
        LMF_TRY(read_step(m, json_array_get(list, i), &d));
    return lmf_pretok_resolve(m->ctx, &d, &m->vocab.pretok);
}

/* Token texts copied into the arena, since the parsed JSON goes. */
static lmf_status copy_tokens(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_vocab *v = &m->vocab;
    size_t n = t->n_tokens;
    const char **token = lmf_arena_array(&m->arena, n, sizeof *token);
    uint32_t *bytes = lmf_arena_array(&m->arena, n, sizeof *bytes);
    uint8_t *kind = lmf_arena_alloc(&m->arena, n), *added = lmf_arena_alloc(&m->arena, n);
    if (!token || !bytes || !kind || !added)
        return LMF_NO_MEMORY(m->ctx, n * sizeof *token, "the vocabulary");
    for (size_t i = 0; i < n; i++) {
        bool none = !t->token[i].p;
        token[i] = none ? lmf_arena_printf(&m->arena, "<unused id %zu>", i) : lmf_arena_strndup(&m->arena, t->token[i].p, t->token[i].n);
        if (!token[i])
            return LMF_NO_MEMORY(m->ctx, t->token[i].n, "the vocabulary");
        bytes[i] = (uint32_t)(none ? strlen(token[i]) : t->token[i].n);
        kind[i] = none ? LMF_TOKEN_UNUSED : LMF_TOKEN_NORMAL;
    }
    for (size_t i = 0; i < t->n_added; i++) {
        const lmf_hf_added *a = &t->added[i];
        kind[a->id] = a->special ? LMF_TOKEN_CONTROL : LMF_TOKEN_USER_DEFINED;
        added[a->id] = (uint8_t)((a->lstrip ? LMF_ADDED_LSTRIP : 0) | (a->rstrip ? LMF_ADDED_RSTRIP : 0) |
                                 (a->single_word ? LMF_ADDED_SINGLE_WORD : 0) | (a->normalized ? LMF_ADDED_NORMALIZED : 0));
    }
    v->token = token, v->token_bytes = bytes, v->kind = kind, v->added = added, v->n_tokens = n;
    return LMF_OK;
}

static lmf_status copy_merges(lmf_model *m, const lmf_hf_tokenizer *t)
{
    const char **merge = lmf_arena_array(&m->arena, t->n_merges, sizeof *merge);
    if (!merge)
        return LMF_NO_MEMORY(m->ctx, t->n_merges * sizeof *merge, "the merges");
    for (size_t i = 0; i < t->n_merges; i++) {
        merge[i] = lmf_arena_printf(&m->arena, "%.*s %.*s", (int)t->merge[i].left.n, t->merge[i].left.p, (int)t->merge[i].right.n, t->merge[i].right.p);
        if (!merge[i])
            return LMF_NO_MEMORY(m->ctx, 0, "the merges");
    }
    m->vocab.merge = merge;
    m->vocab.n_merges = t->n_merges;
    return LMF_OK;
}

static int32_t find_id(const lmf_hf_tokenizer *t, const char *text)
{
    for (size_t i = t->n_added; text[0] && i-- > 0;)
        if (t->added[i].text.n == strlen(text) && memcmp(t->added[i].text.p, text, t->added[i].text.n) == 0)
            return t->added[i].id;
    for (size_t i = 0; text[0] && i < t->n_tokens; i++)
        if (t->token[i].p && t->token[i].n == strlen(text) && memcmp(t->token[i].p, text, t->token[i].n) == 0)
            return (int32_t)i;
    return -1;
}

static lmf_status read_special(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_hf_special s;
    lmf_vocab *v = &m->vocab;
    LMF_TRY(lmf_hf_special_open(m->ctx, m->path, &s));
    v->bos = find_id(t, s.bos);
    v->eos = find_id(t, s.eos);
    v->pad = find_id(t, s.pad);
    v->unk = find_id(t, s.unk);
    /* what encode adds is said by the post-processor; tokenizer_config.json's flags are only its makers' */
    const char *post = json_string_value(json_object_get(t->post_processor, "type"));
    v->add_bos = s.add_bos == 1 && post && strcmp(post, "ByteLevel") ? LMF_YES : LMF_NO;
    v->whole_words = t->ignore_merges ? LMF_YES : LMF_NO;
    lmf_status r = LMF_OK;
    if (s.chat_template[0] && !(m->chat_source = lmf_arena_strdup(&m->arena, s.chat_template)))
        r = LMF_NO_MEMORY(m->ctx, strlen(s.chat_template), "the chat template");
    lmf_hf_special_close(&s);
    return r;
}

static lmf_status read_vocab(lmf_model *m)
{
    lmf_hf_tokenizer t;
    lmf_buf json;
    lmf_buf_init(&json, m->ctx, 1 << 20);
    LMF_TRY(lmf_hf_tokenizer_open(m->ctx, m->path, &t));
    lmf_status s = LMF_OK;
    LMF_TRY_TO(done, copy_tokens(m, &t));
    LMF_TRY_TO(done, copy_merges(m, &t));
    LMF_TRY_TO(done, read_pretok(m, t.pre_tokenizer));
    LMF_TRY_TO(done, lmf_json_text(m->ctx, t.pre_tokenizer, JSON_COMPACT, &json));
    if (!(m->pre_tokenizer_json = lmf_arena_strdup(&m->arena, lmf_buf_str(&json)))) {
        s = LMF_NO_MEMORY(m->ctx, json.n, "the pre-tokenizer");
        goto done;
    }
    LMF_TRY_TO(done, read_special(m, &t));
    LMF_TRY_TO(done, lmf_hf_eos_ids(m->ctx, m->path, m->chat.eos, LMF_MAX_EOS - 1, &m->chat.n_eos));
    for (int i = 0; i <= m->chat.n_eos; i++) {
        if (i < m->chat.n_eos && (m->chat.eos[i] < 0 || (size_t)m->chat.eos[i] >= m->vocab.n_tokens)) {
            s = LMF_FAIL(m->ctx, LMF_E_FORMAT, "eos_token_id %d is no token", m->chat.eos[i]);
            goto done;
        }
        if (i < m->chat.n_eos && m->chat.eos[i] == m->vocab.eos)
            break;
        if (i == m->chat.n_eos && m->vocab.eos >= 0) {
            m->chat.eos[m->chat.n_eos++] = m->vocab.eos; /* the tokenizer's own end of turn counts too */
            break;
        }
    }
done:
    lmf_buf_clear(&json);
    lmf_hf_tokenizer_close(&t);
    return s;
}

lmf_status lmf__model_open_hf(lmf_model *m)
{
    lmf_hf_config c;
    LMF_TRY(lmf_hf_config_open(m->ctx, m->path, &c));
    lmf_status s = find_arch(m, &c);
    if (!s && !(m->config = lmf_arena_alloc(&m->arena, m->arch->config_bytes)))
        s = LMF_NO_MEMORY(m->ctx, m->arch->config_bytes, "a configuration");
    for (const lmf_hparam *h = m->arch ? m->arch->hparams : NULL; !s && h && h->field; h++)
        s = read_hparam(m, h, c.root);
    lmf_hf_config_close(&c);
    LMF_TRY(s);
    LMF_TRY(lmf__model_check_config(m));
    LMF_TRY(lmf_safetensors_open_model(m->ctx, m->path, &m->st));
    LMF_TRY(lmf__model_map_weights(m, false, find_tensor));
    LMF_TRY(read_vocab(m));
    size_t n = strlen(m->path);
    while (n && m->path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start && m->path[start - 1] != '/')
        start--;
    m->name = lmf_arena_strndup(&m->arena, m->path + start, n - start);
    return m->name ? LMF_OK : LMF_NO_MEMORY(m->ctx, n, "the model's name");
}
