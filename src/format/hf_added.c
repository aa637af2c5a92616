/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what transformers 5 makes of a folder. tokenizer_config.json's added_tokens_decoder overrides the flags in tokenizer.json; only
 * where
 * it is not there, special_tokens_map.json and added_tokens.json are read, and tokenizer.json overrides them. A named token (bos_token,
 * image_token ...) that is none of these is added as a special one. A new token takes the next id, and a file that says another is
 * refused. */
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "format/hf_json.h"

enum { FILE_MAX_BYTES = 64 << 20 };

static lmf_status load_if_there(lmf_ctx *ctx, const char *dir, const char *name, json_t **out)
{
    char path[4096];
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    return lmf_path_stat(path) == LMF_PATH_NONE ? LMF_OK : lmf_json_load(ctx, path, FILE_MAX_BYTES, LMF_JSON_HEADER, out);
}

static bool flag(const json_t *object, const char *key, bool fallback)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

/* A string, or an object's "content". */
static lmf_bytes text_of(const json_t *v)
{
    v = json_is_object(v) ? json_object_get(v, "content") : v;
    return (lmf_bytes){ json_string_value(v), json_string_length(v) };
}

static const char *const standard[] = { "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token" };
enum { N_STANDARD = sizeof standard / sizeof *standard };

static bool is_standard(const char *key)
{
    for (int i = 0; i < N_STANDARD; i++)
        if (!strcmp(key, standard[i]))
            return true;
    return false;
}

/* Whether a key holds one special token: transformers takes every *_token that is a string for one too. */
static bool is_named(const char *key, const json_t *v)
{
    size_t n = strlen(key);
    return is_standard(key) ? text_of(v).n > 0 : n > 6 && !strcmp(key + n - 6, "_token") && json_string_length(v) > 0;
}

typedef struct merger {
    lmf_hf_tokenizer *t;
    json_t           *config, *map, *list; /* tokenizer_config.json, special_tokens_map.json, added_tokens.json */
    json_t           *place;               /* of an added token's text in t->added */
    size_t            cap, n_rows, next;   /* next: id of a new token */
    bool              decoder;             /* config has added_tokens_decoder: it is all that counts beside tokenizer.json */
} merger;

static lmf_hf_added *find_added(const merger *m, lmf_bytes text)
{
    const json_t *at = json_object_getn(m->place, text.p, text.n);
    return at ? &m->t->added[json_integer_value(at)] : NULL;
}

static lmf_status remember(merger *m, size_t i)
{
    lmf_hf_tokenizer *t = m->t;
    size_t id = (size_t)t->added[i].id;
    m->next = id >= m->next ? id + 1 : m->next;
    return json_object_setn_new_nocheck(m->place, t->added[i].text.p, t->added[i].text.n, json_integer((json_int_t)i)) ?
        LMF_NO_MEMORY(t->ctx, 64, "added tokens") : LMF_OK;
}

static lmf_status grow(merger *m)
{
    lmf_hf_tokenizer *t = m->t;
    if (t->n_added < m->cap)
        return LMF_OK;
    size_t cap = 2 * t->n_added + 16;
    lmf_hf_added *more = lmf_arena_array(&t->arena, cap, sizeof *more);
    if (!more)
        return LMF_NO_MEMORY(t->ctx, cap * sizeof *more, "added tokens");
    memcpy(more, t->added, t->n_added * sizeof *more);
    t->added = more;
    m->cap = cap;
    return LMF_OK;
}

/* Adds a token that no list has: at its place in the vocabulary, or behind all. said: the id that file gives it, -1 for none. */
static lmf_status add_new(merger *m, const char *file, lmf_hf_added a, json_int_t said)
{
    lmf_hf_tokenizer *t = m->t;
    int64_t word = lmf_hf_tokenizer_find(t, a.text.p, a.text.n);
    bool known = word >= 0;
    size_t id = known ? (size_t)word : m->next;
    if (said >= 0 && (size_t)said != id)
        return LMF_FAIL(t->ctx, LMF_E_FORMAT,
            "%s gives the token %.100s the id %lld, by %s it is %zu: they contradict each other", file, a.text.p,
            (long long)said, t->file, id);
    if (!known && id >= m->n_rows) { /* transformers gives it an id that the model has no row for */
        t->n_left_out++;
        return LMF_OK;
    }
    if (!known && (id >= t->cap_tokens || t->token[id].p))
        return LMF_FAIL(t->ctx, LMF_E_FORMAT, "%s: there is no place for the token %.100s behind the vocabulary", file, a.text.p);
    LMF_TRY(grow(m));
    char *own = lmf_arena_strndup(&t->arena, a.text.p, a.text.n);
    if (!own)
        return LMF_NO_MEMORY(t->ctx, a.text.n, "an added token");
    a.text.p = own;
    a.id = (int32_t)id;
    t->added[t->n_added++] = a;
    t->token[id] = a.text;
    t->n_tokens = t->n_tokens > id ? t->n_tokens : id + 1;
    return remember(m, t->n_added - 1);
}

static bool is_name(const merger *m, lmf_bytes text, bool any);

typedef struct entry { json_int_t id; const char *key; const json_t *value; } entry;

static int by_id(const void *x, const void *y)
{
    json_int_t a = ((const entry *)x)->id, b = ((const entry *)y)->id;
    return (a > b) - (a < b);
}

/* An object's members by ascending id, since new tokens are numbered in that order. keys: the keys are ids, else the values. */
static lmf_status sort_entries(merger *m, json_t *object, bool keys, const char *what, entry **out)
{
    lmf_ctx *ctx = m->t->ctx;
    const char *key;
    json_t *value;
    size_t n = 0;
    entry *e = *out = lmf_arena_array(&m->t->arena, json_object_size(object), sizeof *e);
    if (!e)
        return LMF_NO_MEMORY(ctx, json_object_size(object) * sizeof *e, "added tokens");
    json_object_foreach(object, key, value) {
        char *end = NULL;
        json_int_t id = keys ? strtoll(key, &end, 10) : json_is_integer(value) ? json_integer_value(value) : -1;
        if ((keys && (*end || end == key)) || id < 0 || id >= INT32_MAX || !*key)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: the entry \"%.100s\" has no token id", what, key);
        e[n++] = (entry){ id, key, value };
    }
    qsort(e, n, sizeof *e, by_id);
    for (size_t i = 1; i < n; i++)
        if (e[i].id == e[i - 1].id)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "%s gives %.100s and %.100s the same id", what, e[i - 1].key, e[i].key);
    return LMF_OK;
}

static lmf_status contradict(const merger *m, const char *file, lmf_bytes text, json_int_t said, json_int_t id)
{
    return LMF_FAIL(m->t->ctx, LMF_E_FORMAT,
        "%s gives the token %.100s the id %lld, by %s it is %lld: they contradict each other", file, text.p, (long long)said,
        m->t->file, (long long)id);
}

/* added_tokens_decoder: {"5": {"content": ..., "lstrip": ...}}. */
static lmf_status take_decoder(merger *m, json_t *decoder)
{
    static const char file[] = "tokenizer_config.json";
    entry *e;
    LMF_TRY(sort_entries(m, decoder, true, "tokenizer_config.json, added_tokens_decoder", &e));
    for (size_t i = 0; i < json_object_size(decoder); i++) {
        const json_t *v = e[i].value;
        bool special = flag(v, "special", false);
        lmf_bytes text = text_of(v);
        if (!text.n)
            return LMF_FAIL(m->t->ctx, LMF_E_FORMAT, "%s: the added token %lld has no content", file, (long long)e[i].id);
        lmf_hf_added a = { text, 0, special || is_name(m, text, true), flag(v, "lstrip", false), flag(v, "rstrip", false), flag(v,
            "normalized", !special), flag(v, "single_word", false) };
        lmf_hf_added *old = find_added(m, text);
        if (old && old->id != e[i].id)
            return contradict(m, file, text, e[i].id, old->id);
        if (old)
            a.text = old->text, a.id = old->id, a.special |= old->special,
                *old = a; /* once special, always: tokenizers keeps it in its set */
        else
            LMF_TRY(add_new(m, file, a, e[i].id));
    }
    return LMF_OK;
}

static bool is_in_list(const json_t *list, lmf_bytes text)
{
    size_t i;
    const json_t *v;
    json_array_foreach(list, i, v) {
        lmf_bytes b = text_of(v);
        if (b.n == text.n && !memcmp(b.p, text.p, b.n))
            return true;
    }
    return false;
}

static const json_t *extra_of(const json_t *root)
{
    const json_t *v = json_object_get(root, "extra_special_tokens");
    v = v && (json_array_size(v) || json_object_size(v)) ? v : json_object_get(root, "additional_special_tokens");
    return json_array_size(v) || json_object_size(v) ? v : NULL;
}

/* A list of the configuration, even an empty one of the newer key, hides the map's additional_special_tokens; an object doesn't. */
static bool hides_older_key(const json_t *config)
{
    const json_t *newer = json_object_get(config, "extra_special_tokens");
    return json_is_array(extra_of(config)) || (json_is_array(newer) && !json_object_get(config, "additional_special_tokens"));
}

/* Whether a key of one of the files names text; any: other keys than the standard ones too. */
static bool is_name(const merger *m, lmf_bytes text, bool any)
{
    json_t *const roots[2] = { m->config, m->decoder ? NULL : m->map };
    for (int i = 0; i < 2; i++) {
        const char *key;
        json_t *v;
        json_object_foreach(roots[i], key, v)
            if (is_named(key, v) && (any || is_standard(key)) && text_of(v).n == text.n && !memcmp(text_of(v).p, text.p, text.n))
                return true;
    }
    return false;
}

/* added_tokens.json: {"<x>": 5}. */
static lmf_status take_list(merger *m)
{
    static const char file[] = "added_tokens.json";
    entry *e;
    LMF_TRY(sort_entries(m, m->list, false, file, &e));
    for (size_t i = 0; i < json_object_size(m->list); i++) {
        lmf_bytes text = { e[i].key, strlen(e[i].key) };
        const lmf_hf_added *old = find_added(m, text);
        /* as transformers: the map's additional_special_tokens do not count here, its extra_special_tokens do */
        bool special = is_name(m, text, false) || is_in_list(extra_of(m->config), text) ||
            is_in_list(json_object_get(m->map, "extra_special_tokens"), text);
        if (old && old->id != e[i].id)
            return contradict(m, file, text, e[i].id, old->id);
        if (!old)
            LMF_TRY(add_new(m, file, (lmf_hf_added){ text, 0, special || is_name(m, text, true), false, false, !special, false }, e[i].id));
    }
    return LMF_OK;
}

/* A special token by name or, extra, of a list: one of a list that is known already stays what it is. */
static lmf_status take_name(merger *m, const char *file, const json_t *v, bool extra)
{
    lmf_bytes text = text_of(v);
    if (!text.n)
        return LMF_OK;
    lmf_hf_added a = { text, 0, true, flag(v, "lstrip", false), flag(v, "rstrip", false), flag(v, "normalized", false), flag(v,
        "single_word", false) }, *old = find_added(m, text);
    if (old)
        old->special |= !extra;
    return old ? LMF_OK : add_new(m, file, a, -1);
}

/* Named tokens, then the lists of further ones. A key of the map counts before the same of the configuration. */
static lmf_status take_names(merger *m)
{
    static const char *const file[2] = { "special_tokens_map.json", "tokenizer_config.json" };
    json_t *const roots[2] = { m->decoder ? NULL : m->map, m->config };
    const char *key;
    json_t *v;
    for (int i = 0; i < N_STANDARD; i++) {
        int k = json_object_get(roots[0], standard[i]) ? 0 : 1;
        LMF_TRY(take_name(m, file[k], json_object_get(roots[k], standard[i]), false));
    }
    for (int k = 1; k >= 0; k--)
        json_object_foreach(roots[k], key, v)
            if (is_named(key, v) && !is_standard(key))
                LMF_TRY(take_name(m, file[k], v, false));
    for (int k = 1; k >= 0; k--) {
        const json_t *extra = extra_of(roots[k]);
        size_t i;
        if (k == 0 && hides_older_key(m->config))
            extra = json_object_get(roots[0], "extra_special_tokens");
        else if (k == 0 && !extra && json_object_size(json_object_get(m->config, "extra_special_tokens"))) /* names beside a list */
            extra = json_object_get(m->config, "additional_special_tokens");
        json_array_foreach(extra, i, v)
            LMF_TRY(take_name(m, file[k], v, true));
        if (json_is_object(extra))
            json_object_foreach((json_t *)(uintptr_t)extra, key, v)
                LMF_TRY(take_name(m, file[k], v, false));
    }
    return LMF_OK;
}

lmf_status lmf_hf_tokenizer_merge_added(lmf_hf_tokenizer *t, const char *dir, size_t n_rows)
{
    merger m = { .t = t, .cap = t->n_added, .n_rows = n_rows };
    lmf_status s = (m.place = json_object()) ? LMF_OK : LMF_NO_MEMORY(t->ctx, 64, "added tokens");
    m.next = t->n_words;
    for (size_t i = 0; i < t->n_added && !s; i++)
        s = remember(&m, i);
    if (s)
        goto done;
    LMF_TRY_TO(done, load_if_there(t->ctx, dir, "tokenizer_config.json", &m.config));
    LMF_TRY_TO(done, load_if_there(t->ctx, dir, "special_tokens_map.json", &m.map));
    LMF_TRY_TO(done, load_if_there(t->ctx, dir, "added_tokens.json", &m.list));
    json_t *decoder = json_object_get(m.config, "added_tokens_decoder");
    m.decoder = decoder != NULL;
    if (decoder && !json_is_object(decoder)) {
        s = LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer_config.json: added_tokens_decoder is no object");
        goto done;
    }
    if (decoder)
        LMF_TRY_TO(done, take_decoder(&m, decoder));
    else
        LMF_TRY_TO(done, take_list(&m));
    LMF_TRY_TO(done, take_names(&m));
done:
    json_decref(m.config);
    json_decref(m.map);
    json_decref(m.list);
    json_decref(m.place);
    return s;
}
