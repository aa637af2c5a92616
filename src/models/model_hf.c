/* SPDX-License-Identifier: Apache-2.0 */
/* A Hugging Face folder as a model: config.json to the architecture's configuration, safetensors to roles; model_hf_vocab.c reads
 * the vocabulary. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "format/hf_json.h"
#include "models/hparam.h"
#include "models/model.h"

/* "MistralForCausalLM" is of the type "mistral". */
static bool is_class_of(const char *class_name, const char *model_type)
{
    size_t n = strlen(model_type);
    return n && strncasecmp(class_name, model_type, n) == 0 && strcmp(class_name + n, "ForCausalLM") == 0;
}

/* The architecture whose class it is; that of model_type where class_name is "". NULL: none. */
static const lmf_arch *arch_of(const lmf_ctx *ctx, const char *class_name, const char *model_type)
{
    for (const lmf_arch *const *a = ctx->tables->archs; *a; a++)
        for (const char *const *k = (*a)->hf_class; k && *k; k++)
            if (*class_name ? strcmp(*k, class_name) == 0 : is_class_of(*k, model_type) || strcmp((*a)->hf_model_type, model_type) == 0)
                return *a;
    return NULL;
}

/* By its class; a folder that names none, by its model_type. */
static lmf_status find_arch(lmf_model *m, const lmf_hf_config *c)
{
    const lmf_arch *by_type = arch_of(m->ctx, "", c->model_type), *arch = arch_of(m->ctx, c->arch, c->model_type);
    const char *name = c->arch[0] ? c->arch : c->model_type;
    if (!arch && !name[0])
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "config.json names neither architectures nor a model_type");
    if (!arch)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "config.json names the architecture \"%.60s\", which is not supported", name);
    if (by_type && by_type != arch)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json: the architecture \"%.60s\" and the model_type \"%.60s\" contradict each other",
                        c->arch, c->model_type);
    return lmf_arch_resolve(m->ctx, &m->arena, arch, &m->arch);
}

static lmf_status read_list(lmf_model *m, const lmf_hparam *h, const json_t *list)
{
    size_t i;
    const json_t *item;
    if (!json_is_array(list))
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json: \"%s\" is no list", h->hf);
    json_array_foreach(list, i, item) {
        if (json_is_string(item))
            LMF_TRY(lmf_hparam_set_text(m->ctx, h, m->config, json_string_value(item), json_string_length(item)));
        else if (!h->words && (json_is_number(item) || json_is_boolean(item)))
            LMF_TRY(lmf_hparam_set(m->ctx, h, m->config, json_is_boolean(item) ? json_is_true(item) : json_number_value(item)));
        else
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json: item %zu of \"%s\" is no %s", i, h->hf, h->words ? "text" : "number");
    }
    return LMF_OK;
}

static lmf_status read_hparam(lmf_model *m, const lmf_hparam *h, const json_t *root)
{
    double v = 0;
    const char *text = NULL;
    bool flag = false;
    const json_t *at = h->hf ? lmf_json_at(root, h->hf) : NULL;
    if (!at && h->required)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json has no \"%s\"", h->hf);
    if (!at && h->hf && (h->flags & LMF_HPARAM_NULL_IS_0) && json_is_null(json_object_get(root, h->hf)))
        return lmf_hparam_set(m->ctx, h, m->config, 0);
    if (!at)
        return lmf_hparam_set_default(m->ctx, h, m->config);
    switch (h->kind) {
    case LMF_HPARAM_LIST: return read_list(m, h, at);
    case LMF_HPARAM_TEXT:
        LMF_TRY(lmf_json_get_string(m->ctx, root, h->hf, &text));
        return lmf_hparam_set_text(m->ctx, h, m->config, text, strlen(text));
    case LMF_HPARAM_BOOL:
        LMF_TRY(lmf_json_get_bool(m->ctx, root, h->hf, &flag));
        v = flag;
        break;
    default: LMF_TRY(lmf_json_get_f64(m->ctx, root, h->hf, &v));
    }
    return lmf_hparam_set(m->ctx, h, m->config, v);
}

static bool find_tensor(const lmf_model *m, const char *name, lmf_source *out)
{
    const lmf_st_tensor *t = lmf_safetensors_find(m->st, name);
    if (!t)
        return false;
    const lmf_source *unpacked = m->packed ? &m->packed[t - lmf_safetensors_at(m->st, 0)] : NULL;
    if (unpacked && unpacked->data) {
        *out = *unpacked;
        return true;
    }
    *out = (lmf_source){ .name = t->name, .n_dims = t->n_dims, .dtype = t->dtype, .data = t->data, .bytes = t->bytes,
                          .number = (size_t)(t - lmf_safetensors_at(m->st, 0)) };
    memcpy(out->dim, t->dim, sizeof out->dim);
    return true;
}

lmf_status lmf__model_read_hf_config(lmf_model *m)
{
    lmf_hf_config c;
    LMF_TRY(lmf_hf_config_open(m->ctx, m->path, &c));
    lmf_status s = find_arch(m, &c);
    if (!s && !(m->config = lmf_arena_alloc(&m->arena, m->arch->config_bytes)))
        s = LMF_NO_MEMORY(m->ctx, m->arch->config_bytes, "a configuration");
    for (const lmf_hparam *h = m->arch ? m->arch->hparams : NULL; !s && h && h->field; h++)
        s = read_hparam(m, h, c.root);
    if (!s)
        s = lmf__model_check_config(m);
    if (!s)
        s = lmf__model_check_hf_keys(m, c.root);
    lmf_hf_config_close(&c);
    return s;
}

lmf_status lmf__model_open_hf(lmf_model *m)
{
    LMF_TRY(lmf__model_read_hf_config(m));
    LMF_TRY(lmf_safetensors_open_model(m->ctx, m->path, &m->st));
    LMF_TRY(lmf__model_unpack_nf4(m));
    LMF_TRY(lmf__model_map_weights(m, false, find_tensor));
    LMF_TRY(lmf__model_read_hf_vocab(m));
    size_t n = strlen(m->path);
    while (n && m->path[n - 1] == '/')
        n--;
    size_t start = n;
    while (start && m->path[start - 1] != '/')
        start--;
    m->name = lmf_arena_strndup(&m->arena, m->path + start, n - start);
    return m->name ? LMF_OK : LMF_NO_MEMORY(m->ctx, n, "the model's name");
}
