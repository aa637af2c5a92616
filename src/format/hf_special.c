/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token may be a string or an object with "content"; a file beside the configuration wins over a key in it, but that
 * special_tokens_map.json is not read where tokenizer_config.json has added_tokens_decoder. */
#include <string.h>
#include "base/file.h"
#include "format/hf_json.h"

enum { FILE_MAX_BYTES = 64 << 20, TEMPLATE_MAX_BYTES = 1 << 20 };

static lmf_status load_if_there(lmf_ctx *ctx, const char *dir, const char *name, json_t **out)
{
    char path[4096];
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    return lmf_path_stat(path) == LMF_PATH_NONE ? LMF_OK : lmf_json_load(ctx, path, FILE_MAX_BYTES, LMF_JSON_HEADER, out);
}

/* Own copy of a string of the JSON; NULL or no string leaves *out. */
static lmf_status take_string(lmf_hf_special *s, const json_t *v, const char **out)
{
    if (json_is_object(v))
        v = json_object_get(v, "content");
    if (!json_is_string(v))
        return LMF_OK;
    const char *own = lmf_arena_strdup(&s->arena, json_string_value(v));
    if (!own)
        return LMF_NO_MEMORY(s->ctx, json_string_length(v), "a special token");
    *out = own;
    return LMF_OK;
}

static lmf_status take_tokens(lmf_hf_special *s, const json_t *root)
{
    static const char *const key[4] = { "bos_token", "eos_token", "pad_token", "unk_token" };
    const char **out[4] = { &s->bos, &s->eos, &s->pad, &s->unk };
    for (int i = 0; i < 4; i++)
        if (**out[i] == 0)
            LMF_TRY(take_string(s, json_object_get(root, key[i]), out[i]));
    return LMF_OK;
}

static lmf_status take_template(lmf_hf_special *s, const json_t *v)
{
    if (json_is_array(v)) { /* [{"name": "default", "template": "..."}, ...] */
        const json_t *item, *chosen = NULL;
        size_t i;
        json_array_foreach(v, i, item) {
            const char *name = json_string_value(json_object_get(item, "name"));
            if (name && !strcmp(name, "default"))
                chosen = item;
        }
        s->no_default = !chosen;
        v = json_object_get(chosen, "template");
    }
    if (json_string_length(v) > TEMPLATE_MAX_BYTES)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "the chat template has %zu bytes, more than %d", json_string_length(v), TEMPLATE_MAX_BYTES);
    return take_string(s, v, &s->chat_template);
}

static lmf_status take_template_file(lmf_hf_special *s, const char *dir)
{
    char path[4096], *text;
    size_t n;
    LMF_TRY(lmf_path_join(s->ctx, path, sizeof path, dir, "chat_template.jinja"));
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        return LMF_OK;
    LMF_TRY(lmf_file_read(s->ctx, path, TEMPLATE_MAX_BYTES, &text, &n));
    s->no_default = false;
    lmf_status status = LMF_OK;
    if (!lmf_utf8_is_valid(text, n) || memchr(text, 0, n))
        status = LMF_FAIL(s->ctx, LMF_E_FORMAT, "%s is not UTF-8 text", path);
    else if (!(s->chat_template = lmf_arena_strndup(&s->arena, text, n)))
        status = LMF_NO_MEMORY(s->ctx, n, path);
    lmf_free(s->ctx, text, n + 1);
    return status;
}

static int said(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    return json_is_boolean(v) ? json_is_true(v) : -1;
}

static lmf_status fill(lmf_hf_special *t, const char *dir)
{
    json_t *config = NULL, *map = NULL;
    lmf_status s;
    LMF_TRY_TO(done, load_if_there(t->ctx, dir, "tokenizer_config.json", &config));
    LMF_TRY_TO(done, load_if_there(t->ctx, dir, "special_tokens_map.json", &map));
    if (!json_object_get(config, "added_tokens_decoder")) /* as transformers does */
        LMF_TRY_TO(done, take_tokens(t, map));
    LMF_TRY_TO(done, take_tokens(t, config));
    LMF_TRY_TO(done, take_string(t, json_object_get(config, "tokenizer_class"), &t->class_name));
    LMF_TRY_TO(done, take_template(t, json_object_get(config, "chat_template")));
    LMF_TRY_TO(done, take_template_file(t, dir));
    t->add_bos = said(config, "add_bos_token");
    t->add_eos = said(config, "add_eos_token");
done:
    json_decref(config);
    json_decref(map);
    return s;
}

lmf_status lmf_hf_special_open(lmf_ctx *ctx, const char *dir, lmf_hf_special *out)
{
    *out = (lmf_hf_special){ ctx, { 0 }, "", "", "", "", -1, -1, "", "", false };
    lmf_arena_init(&out->arena, ctx, 4 * FILE_MAX_BYTES);
    lmf_status s = fill(out, dir);
    if (s)
        lmf_hf_special_close(out);
    return s;
}

void lmf_hf_special_close(lmf_hf_special *s)
{
    if (s->ctx)
        lmf_arena_clear(&s->arena);
    *s = (lmf_hf_special){ 0 };
}

static bool put_string(json_t *root, const char *key, const char *value)
{
    return !value || !*value || !json_object_set_new(root, key, json_string(value));
}

static bool put_flag(json_t *root, const char *key, int value)
{
    return value < 0 || !json_object_set_new(root, key, json_boolean(value));
}

lmf_status lmf_hf_special_save(lmf_ctx *ctx, const char *dir, const lmf_hf_special *t, int64_t max_tokens)
{
    char path[4096];
    json_t *root = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "clean_up_tokenization_spaces", 0);
    bool ok = root && put_string(root, "bos_token", t->bos) && put_string(root, "eos_token", t->eos) && put_string(root, "pad_token", t->pad) &&
              put_string(root, "unk_token", t->unk) && put_flag(root, "add_bos_token", t->add_bos) && put_flag(root, "add_eos_token", t->add_eos) &&
              put_string(root, "chat_template", t->chat_template) &&
              (max_tokens <= 0 || !json_object_set_new(root, "model_max_length", json_integer(max_tokens)));
    lmf_status s = ok ? LMF_OK : LMF_FAIL(ctx, LMF_E_FORMAT, "%s: a special token or the chat template is not UTF-8, or memory is short", dir);
    if (!s)
        s = lmf_path_join(ctx, path, sizeof path, dir, "tokenizer_config.json");
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    if (s || !t->chat_template || !*t->chat_template)
        return s;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "chat_template.jinja"));
    return lmf_file_write(ctx, path, t->chat_template, strlen(t->chat_template));
}
