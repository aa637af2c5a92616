/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token may be a string or an object with "content"; a file beside the configuration wins over a key in it, but that
 * special_tokens_map.json is not read where tokenizer_config.json has added_tokens_decoder. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "format/hf_json.h"

enum { FILE_MAX_BYTES = 64 << 20, TEMPLATE_MAX_BYTES = 1 << 20, MAX_TEMPLATES = 64 };

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

static lmf_status no_memory(lmf_hf_special *s, size_t n) { return LMF_NO_MEMORY(s->ctx, n, "a chat template"); }

/* One of a list. A template without a name or without a text is none, as in transformers. */
static lmf_status add_template(lmf_hf_special *s, const char *name, const char *text)
{
    if (strlen(text) > TEMPLATE_MAX_BYTES)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "the chat template has %zu bytes, more than %d", strlen(text), TEMPLATE_MAX_BYTES);
    text = lmf_arena_strdup(&s->arena, text);
    if (!text)
        return no_memory(s, TEMPLATE_MAX_BYTES);
    if (strcmp(name, "default") == 0)
        return s->chat_template = text, LMF_OK;
    if (s->n_more == MAX_TEMPLATES)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "there are more than %d chat templates", MAX_TEMPLATES);
    if (!s->more && !(s->more = lmf_arena_array(&s->arena, MAX_TEMPLATES, sizeof *s->more)))
        return no_memory(s, MAX_TEMPLATES * sizeof *s->more);
    if (!(name = lmf_arena_strdup(&s->arena, name)))
        return no_memory(s, TEMPLATE_MAX_BYTES);
    size_t i = 0;
    while (i < s->n_more && strcmp(s->more[i].name, name))
        i++;
    s->more[i] = (lmf_named_text){ name, text }; /* the last of a name counts */
    s->n_more += i == s->n_more;
    return LMF_OK;
}

static lmf_status take_template(lmf_hf_special *s, const json_t *v)
{
    const json_t *item;
    size_t i;
    if (json_is_string(v))
        return add_template(s, "default", json_string_value(v));
    if (json_is_object(v)) { /* {"default": "...", ...} */
        const char *name;
        json_t *text;
        json_object_foreach((json_t *)(uintptr_t)v, name, text)
            if (json_is_string(text))
                LMF_TRY(add_template(s, name, json_string_value(text)));
    }
    json_array_foreach(v, i, item) { /* [{"name": "default", "template": "..."}, ...] */
        const char *name = json_string_value(json_object_get(item, "name")), *text = json_string_value(json_object_get(item, "template"));
        if (name && text)
            LMF_TRY(add_template(s, name, text));
    }
    return LMF_OK;
}

static lmf_status take_template_file(lmf_hf_special *s, const char *path, const char *name)
{
    char *text;
    size_t n;
    LMF_TRY(lmf_file_read(s->ctx, path, TEMPLATE_MAX_BYTES, &text, &n));
    bool is_text = lmf_utf8_is_valid(text, n) && !memchr(text, 0, n);
    lmf_status status = is_text ? add_template(s, name, text) : LMF_OK;
    if (!is_text)
        s->not_text = true; /* fails what renders, nothing else */
    lmf_free(s->ctx, text, n + 1);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(((const lmf_named_text *)a)->name, ((const lmf_named_text *)b)->name); }

/* NAME.jinja in the folder beside chat_template.jinja, in the order of names, whatever the file system's is. */
static lmf_status take_further_files(lmf_hf_special *s, const char *dir)
{
    char path[4096], name[256];
    DIR *d = opendir(dir);
    lmf_status status = LMF_OK;
    for (struct dirent *e; d && !status && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n <= 6 || strcmp(e->d_name + n - 6, ".jinja"))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)n - 6, e->d_name);
        status = lmf_path_join(s->ctx, path, sizeof path, dir, e->d_name);
        if (!status)
            status = take_template_file(s, path, name);
    }
    if (d)
        closedir(d);
    if (s->n_more)
        qsort(s->more, s->n_more, sizeof *s->more, by_name);
    return status;
}

/* Files, where there are any, are all that counts. */
static lmf_status take_template_files(lmf_hf_special *s, const char *dir)
{
    char file[4096], further[4096];
    LMF_TRY(lmf_path_join(s->ctx, file, sizeof file, dir, "chat_template.jinja"));
    LMF_TRY(lmf_path_join(s->ctx, further, sizeof further, dir, "additional_chat_templates"));
    bool one = lmf_path_stat(file) != LMF_PATH_NONE, more = lmf_path_stat(further) == LMF_PATH_DIR && !lmf_dir_is_empty(further);
    if (one || more)
        s->chat_template = "", s->n_more = 0;
    if (one)
        LMF_TRY(take_template_file(s, file, "default"));
    return more ? take_further_files(s, further) : LMF_OK;
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
    LMF_TRY_TO(done, take_template_files(t, dir));
    t->no_default = !*t->chat_template && t->n_more;
    t->add_bos = said(config, "add_bos_token");
    t->add_eos = said(config, "add_eos_token");
    t->legacy = said(config, "legacy");
    t->prefix_space = said(config, "add_prefix_space");
    t->add_prefix_space = t->prefix_space == 1;
    t->split_special = said(config, "split_special_tokens") == 1;
done:
    json_decref(config);
    json_decref(map);
    return s;
}

lmf_status lmf_hf_special_open(lmf_ctx *ctx, const char *dir, lmf_hf_special *out)
{
    *out = (lmf_hf_special){ ctx, { 0 }, "", "", "", "", -1, -1, "", "", NULL, 0, false, false, false, false, -1, -1 };
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

/* One template is a string, several are a list. */
static bool put_templates(json_t *root, const lmf_hf_special *t)
{
    if (!t->n_more)
        return put_string(root, "chat_template", t->chat_template);
    json_t *list = json_array();
    bool ok = list != NULL;
    if (ok && *t->chat_template)
        ok = !json_array_append_new(list, json_pack("{s:s, s:s}", "name", "default", "template", t->chat_template));
    for (size_t i = 0; ok && i < t->n_more; i++)
        ok = !json_array_append_new(list, json_pack("{s:s, s:s}", "name", t->more[i].name, "template", t->more[i].text));
    return !json_object_set_new(root, "chat_template", list) && ok;
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
              put_templates(root, t) &&
              (max_tokens <= 0 || !json_object_set_new(root, "model_max_length", json_integer(max_tokens)));
    lmf_status s = ok ? LMF_OK : LMF_FAIL(ctx, LMF_E_FORMAT, "%s: a special token or the chat template is not UTF-8, or memory is short", dir);
    if (!s)
        s = lmf_path_join(ctx, path, sizeof path, dir, "tokenizer_config.json");
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    if (s || t->n_more || !t->chat_template || !*t->chat_template)
        return s;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "chat_template.jinja"));
    return lmf_file_write(ctx, path, t->chat_template, strlen(t->chat_template));
}
