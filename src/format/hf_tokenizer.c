/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what open hands out is consistent: ids are dense enough to index by, each id has one token, each merge
 * makes a token. Strings are views into the JSON, which stays until close. */
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "format/hf_json.h"

enum { TOKENIZER_MAX_BYTES = 256 << 20, TOKEN_MAX_BYTES = 1 << 16, ID_SLACK = 4096 };

static lmf_bytes bytes_of(const json_t *v)
{
    return (lmf_bytes){ json_string_value(v), json_string_length(v) };
}

static bool flag(const json_t *object, const char *key, bool fallback)
{
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static lmf_status bad(lmf_hf_tokenizer *t, const char *what)
{
    return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: %s", what);
}

static lmf_status set_token(lmf_hf_tokenizer *t, json_int_t id, lmf_bytes text)
{
    if (id < 0 || (size_t)id >= t->n_tokens)
        return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: %.100s has the id %lld, out of all proportion to the vocabulary", text.p, (long long)id);
    lmf_bytes *old = t->token + id;
    if (old->p && (old->n != text.n || memcmp(old->p, text.p, text.n)))
        return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: %.100s and %.100s have the same id %lld", old->p, text.p, (long long)id);
    *old = text;
    return LMF_OK;
}

static lmf_status read_vocab(lmf_hf_tokenizer *t, json_t *vocab)
{
    for (void *it = json_object_iter(vocab); it; it = json_object_iter_next(vocab, it)) {
        const json_t *id = json_object_iter_value(it);
        if (!json_is_integer(id))
            return bad(t, "a token of the vocabulary has an id that is no integer");
        LMF_TRY(set_token(t, json_integer_value(id), (lmf_bytes){ json_object_iter_key(it), json_object_iter_key_len(it) }));
    }
    return LMF_OK;
}

static lmf_status read_added(lmf_hf_tokenizer *t, const json_t *vocab, const json_t *list)
{
    t->n_added = json_array_size(list);
    t->added = lmf_arena_array(&t->arena, t->n_added, sizeof *t->added);
    if (!t->added)
        return LMF_NO_MEMORY(t->ctx, t->n_added * sizeof *t->added, "added tokens");
    for (size_t i = 0; i < t->n_added; i++) {
        const json_t *item = json_array_get(list, i), *id = json_object_get(item, "id"), *text = json_object_get(item, "content");
        if (!json_is_integer(id) || !json_is_string(text) || json_string_length(text) == 0 || json_integer_value(id) > INT32_MAX)
            return bad(t, "an added token has no id or no content");
        const json_t *known = json_object_getn(vocab, json_string_value(text), json_string_length(text));
        if (known && json_integer_value(known) != json_integer_value(id))
            return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: the added token %.100s has another id in the vocabulary", json_string_value(text));
        LMF_TRY(set_token(t, json_integer_value(id), bytes_of(text)));
        bool special = flag(item, "special", false);
        t->added[i] = (lmf_hf_added){ bytes_of(text), (int32_t)json_integer_value(id), special, flag(item, "lstrip", false),
                                      flag(item, "rstrip", false), flag(item, "normalized", !special), flag(item, "single_word", false) };
    }
    return LMF_OK;
}

/* "left right" or ["left", "right"]. */
static bool split_merge(const json_t *item, lmf_hf_merge *m)
{
    if (json_is_array(item)) {
        m->left = bytes_of(json_array_get(item, 0));
        m->right = bytes_of(json_array_get(item, 1));
        return json_array_size(item) == 2 && m->left.n && m->right.n;
    }
    lmf_bytes all = bytes_of(item);
    const char *space = all.p ? memchr(all.p, ' ', all.n) : NULL;
    if (!space)
        return false;
    m->left = (lmf_bytes){ all.p, (size_t)(space - all.p) };
    m->right = (lmf_bytes){ space + 1, all.n - m->left.n - 1 };
    return m->left.n && m->right.n && !memchr(m->right.p, ' ', m->right.n);
}

static lmf_status read_merges(lmf_hf_tokenizer *t, const json_t *vocab, const json_t *list)
{
    lmf_buf both;
    t->n_merges = json_array_size(list);
    t->merge = lmf_arena_array(&t->arena, t->n_merges, sizeof *t->merge);
    if (!t->merge)
        return LMF_NO_MEMORY(t->ctx, t->n_merges * sizeof *t->merge, "merges");
    lmf_buf_init(&both, t->ctx, 2 * TOKEN_MAX_BYTES);
    lmf_status s = LMF_OK;
    for (size_t i = 0; !s && i < t->n_merges; i++) {
        lmf_hf_merge *m = t->merge + i;
        if (!split_merge(json_array_get(list, i), m)) {
            s = LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: merge %zu is no pair of tokens", i);
            break;
        }
        lmf_buf_truncate(&both, 0);
        s = lmf_buf_append(&both, m->left.p, m->left.n);
        if (!s)
            s = lmf_buf_append(&both, m->right.p, m->right.n);
        if (!s && (!json_object_getn(vocab, m->left.p, m->left.n) || !json_object_getn(vocab, m->right.p, m->right.n) ||
                   !json_object_getn(vocab, both.data, both.n)))
            s = LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: merge %zu (%.100s) has a part or a result that is no token", i, both.data);
    }
    lmf_buf_clear(&both);
    return s;
}

static lmf_status check_model(lmf_hf_tokenizer *t, const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(model))
        return bad(t, "there is no model");
    if (!type)
        type = json_object_get(model, "merges") ? "BPE" : "(none)";
    if (strcmp(type, "BPE"))
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the model type %.40s is not read here; BPE is", type);
    if (json_string_length(json_object_get(model, "continuing_subword_prefix")) ||
        json_string_length(json_object_get(model, "end_of_word_suffix")))
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: a BPE with a subword prefix or word suffix is not read here");
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return bad(t, "the model has no vocab or no merges");
    return LMF_OK;
}

static const json_t *part(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    return json_is_object(v) ? v : NULL;
}

static lmf_status fill(lmf_hf_tokenizer *t)
{
    const json_t *model = json_object_get(t->root, "model"), *added = json_object_get(t->root, "added_tokens"), *unk;
    LMF_TRY(check_model(t, model));
    json_t *vocab = json_object_get(model, "vocab");
    if (added && !json_is_array(added) && !json_is_null(added))
        return bad(t, "added_tokens is no list");
    t->n_tokens = 2 * (json_object_size(vocab) + json_array_size(added)) + ID_SLACK;
    t->token = lmf_arena_array(&t->arena, t->n_tokens, sizeof *t->token);
    if (!t->token)
        return LMF_NO_MEMORY(t->ctx, t->n_tokens * sizeof *t->token, "a vocabulary");
    LMF_TRY(read_vocab(t, vocab));
    LMF_TRY(read_added(t, vocab, added));
    LMF_TRY(read_merges(t, vocab, json_object_get(model, "merges")));
    while (t->n_tokens && !t->token[t->n_tokens - 1].p)
        t->n_tokens--;
    if (t->n_tokens == 0)
        return bad(t, "the vocabulary is empty");
    t->byte_fallback = flag(model, "byte_fallback", false);
    t->ignore_merges = flag(model, "ignore_merges", false);
    t->fuse_unk = flag(model, "fuse_unk", false);
    unk = json_object_get(model, "unk_token");
    t->unk = bytes_of(unk);
    t->normalizer = part(t->root, "normalizer");
    t->pre_tokenizer = part(t->root, "pre_tokenizer");
    t->post_processor = part(t->root, "post_processor");
    t->decoder = part(t->root, "decoder");
    return LMF_OK;
}

static lmf_status take_root(lmf_ctx *ctx, json_t *root, lmf_hf_tokenizer *out)
{
    out->ctx = ctx;
    out->root = root;
    lmf_arena_init(&out->arena, ctx, SIZE_MAX / 2);
    lmf_status s = fill(out);
    if (s)
        lmf_hf_tokenizer_close(out);
    return s;
}

lmf_status lmf_hf_tokenizer_parse(lmf_ctx *ctx, const char *text, size_t n, lmf_hf_tokenizer *out)
{
    json_t *root;
    *out = (lmf_hf_tokenizer){ 0 };
    LMF_TRY(lmf_json_parse(ctx, text, n, "tokenizer.json", LMF_JSON_VOCAB, &root));
    return take_root(ctx, root, out);
}

lmf_status lmf_hf_tokenizer_open(lmf_ctx *ctx, const char *dir, lmf_hf_tokenizer *out)
{
    char path[4096];
    json_t *root;
    *out = (lmf_hf_tokenizer){ 0 };
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "tokenizer.json"));
    LMF_TRY(lmf_json_load(ctx, path, TOKENIZER_MAX_BYTES, LMF_JSON_VOCAB, &root));
    return take_root(ctx, root, out);
}

void lmf_hf_tokenizer_close(lmf_hf_tokenizer *t)
{
    if (!t->ctx)
        return;
    lmf_arena_clear(&t->arena);
    json_decref(t->root);
    *t = (lmf_hf_tokenizer){ 0 };
}

/* ---- building ---- */

/* A parsed text, or null. */
static lmf_status parse_part(lmf_ctx *ctx, const char *text, const char *name, json_t **out)
{
    if (text)
        return lmf_json_parse(ctx, text, strlen(text), name, LMF_JSON_SMALL, out);
    *out = json_null();
    return LMF_OK;
}

static lmf_status build_vocab(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t *vocab)
{
    for (size_t i = 0; i < bpe->n_tokens; i++) {
        lmf_bytes t = bpe->token[i];
        if (!t.p)
            continue;
        if (!lmf_utf8_is_valid(t.p, t.n) || memchr(t.p, 0, t.n))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "token %zu is not UTF-8 or holds a NUL, and can't stand in a tokenizer.json", i);
        if (json_object_getn(vocab, t.p, t.n))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "token %zu (%.*s) occurs twice in the vocabulary", i, (int)(t.n < 100 ? t.n : 100), t.p);
        if (json_object_setn_new_nocheck(vocab, t.p, t.n, json_integer((json_int_t)i)))
            return LMF_NO_MEMORY(ctx, t.n, "a vocabulary");
    }
    return LMF_OK;
}

static lmf_status build_merges(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t *merges)
{
    for (size_t i = 0; i < bpe->n_merges; i++) {
        const lmf_hf_merge *m = bpe->merge + i;
        json_t *pair = json_array();
        if (json_array_append_new(pair, json_stringn(m->left.p, m->left.n)) ||
            json_array_append_new(pair, json_stringn(m->right.p, m->right.n)) || json_array_append(merges, pair)) {
            json_decref(pair);
            return LMF_FAIL(ctx, LMF_E_FORMAT, "merge %zu is not UTF-8, or memory is short", i);
        }
        json_decref(pair);
    }
    return LMF_OK;
}

static lmf_status build_added(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t *list)
{
    for (size_t i = 0; i < bpe->n_added; i++) {
        const lmf_hf_added *a = bpe->added + i;
        json_t *item = json_pack("{s:i, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", a->id, "content", a->text.p, a->text.n, "single_word",
                                 a->single_word, "lstrip", a->lstrip, "rstrip", a->rstrip, "normalized", a->normalized, "special", a->special);
        if (json_array_append_new(list, item))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "added token %zu is not UTF-8, or memory is short", i);
    }
    return LMF_OK;
}

static lmf_status build_model(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t **out)
{
    json_t *vocab = json_object(), *merges = json_array();
    *out = NULL;
    lmf_status s = vocab && merges ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    if (!s)
        s = build_vocab(ctx, bpe, vocab);
    if (!s)
        s = build_merges(ctx, bpe, merges);
    if (!s && !(*out = json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", bpe->unk,
                                 "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", bpe->fuse_unk, "byte_fallback",
                                 bpe->byte_fallback, "ignore_merges", bpe->ignore_merges, "vocab", vocab, "merges", merges)))
        s = LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    json_decref(vocab);
    json_decref(merges);
    return s;
}

lmf_status lmf_hf_tokenizer_build(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t **out)
{
    static const char *const name[4] = { "normalizer", "pre_tokenizer", "post_processor", "decoder" };
    const char *const text[4] = { bpe->normalizer, bpe->pre_tokenizer, bpe->post_processor, bpe->decoder };
    json_t *root = json_pack("{s:s, s:n, s:n}", "version", "1.0", "truncation", "padding"), *added = json_array(), *value;
    *out = NULL;
    lmf_status s = root && added ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    if (!s)
        s = build_added(ctx, bpe, added);
    if (!s && json_object_set(root, "added_tokens", added))
        s = LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    for (int i = 0; !s && i < 4; i++) {
        s = parse_part(ctx, text[i], name[i], &value);
        if (!s && json_object_set_new(root, name[i], value))
            s = LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    }
    if (!s)
        s = build_model(ctx, bpe, &value);
    if (!s && json_object_set_new(root, "model", value))
        s = LMF_NO_MEMORY(ctx, 64, "a tokenizer");
    json_decref(added);
    if (s)
        json_decref(root);
    else
        *out = root;
    return s;
}
