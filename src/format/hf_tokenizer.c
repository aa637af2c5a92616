/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what open hands out is consistent: ids are dense enough to index by, each id has one token, each merge
 * makes a token. Strings are views into the JSON, which stays until close. */
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "format/hf_json.h"
#include "format/hf_scan.h"
#include "format/sentencepiece.h"

enum { TOKENIZER_MAX_BYTES = 256 << 20, TOKEN_MAX_BYTES = 1 << 16, ID_SLACK = 4096, MAX_PROBES = 512 };

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

/* ---- the index of words ---- */
static uint64_t hash(const char *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    h ^= h >> 29;
    return h * 0x9e3779b97f4a7c15u >> 32;
}

/* The slot of a text, or the free one where it would go; NULL: too many steps. */
static uint32_t *slot_of(const lmf_hf_tokenizer *t, const char *p, size_t n)
{
    for (size_t i = hash(p, n) & (t->n_slots - 1), k = 0; k < MAX_PROBES; k++, i = (i + 1) & (t->n_slots - 1)) {
        uint32_t at = t->slot[i];
        if (!at || (t->word[at - 1].n == n && !memcmp(t->word[at - 1].p, p, n)))
            return &t->slot[i];
    }
    return NULL;
}

int64_t lmf_hf_tokenizer_find(const lmf_hf_tokenizer *t, const char *text, size_t n)
{
    const uint32_t *at = t->n_slots ? slot_of(t, text, n) : NULL;
    return at && *at ? t->word_id[*at - 1] : -1;
}

/* *twice: a word that stands there two times, or NULL. */
static lmf_status index_words(lmf_hf_tokenizer *t, const char **twice)
{
    *twice = NULL;
    t->n_slots = 16;
    while (t->n_slots < 2 * t->n_words)
        t->n_slots *= 2;
    t->slot = lmf_arena_array(&t->arena, t->n_slots, sizeof *t->slot);
    if (!t->slot)
        return LMF_NO_MEMORY(t->ctx, t->n_slots * sizeof *t->slot, "a vocabulary");
    for (size_t i = 0; i < t->n_words && !*twice; i++) {
        uint32_t *at = slot_of(t, t->word[i].p, t->word[i].n);
        if (!at)
            return LMF_FAIL(t->ctx, LMF_E_LIMIT, "%s: tokens are made to collide: no place for one within %d steps", t->file, MAX_PROBES);
        *twice = *at ? t->word[i].p : NULL;
        *at = (uint32_t)i + 1;
    }
    return LMF_OK;
}

/* Words of a vocabulary that the library read. */
static lmf_status words_of(lmf_hf_tokenizer *t, json_t *vocab)
{
    t->n_words = json_object_size(vocab);
    t->word = lmf_arena_array(&t->arena, t->n_words, sizeof *t->word);
    t->word_id = lmf_arena_array(&t->arena, t->n_words, sizeof *t->word_id);
    if (!t->word || !t->word_id)
        return LMF_NO_MEMORY(t->ctx, t->n_words * sizeof *t->word, "a vocabulary");
    size_t i = 0;
    for (void *it = json_object_iter(vocab); it; it = json_object_iter_next(vocab, it), i++) {
        const json_t *id = json_object_iter_value(it);
        if (!json_is_integer(id))
            return bad(t, "a token of the vocabulary has an id that is no integer");
        t->word[i] = (lmf_bytes){ json_object_iter_key(it), json_object_iter_key_len(it) };
        t->word_id[i] = json_integer_value(id);
    }
    return LMF_OK;
}

static lmf_status read_added(lmf_hf_tokenizer *t, const json_t *list)
{
    t->n_added = json_array_size(list);
    t->added = lmf_arena_array(&t->arena, t->n_added, sizeof *t->added);
    if (!t->added)
        return LMF_NO_MEMORY(t->ctx, t->n_added * sizeof *t->added, "added tokens");
    for (size_t i = 0; i < t->n_added; i++) {
        const json_t *item = json_array_get(list, i), *id = json_object_get(item, "id"), *text = json_object_get(item, "content");
        if (!json_is_integer(id) || !json_is_string(text) || json_string_length(text) == 0 || json_integer_value(id) > INT32_MAX)
            return bad(t, "an added token has no id or no content");
        int64_t known = lmf_hf_tokenizer_find(t, json_string_value(text), json_string_length(text));
        if (known >= 0 && known != json_integer_value(id))
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

static lmf_status merges_of(lmf_hf_tokenizer *t, const json_t *list)
{
    t->n_merges = json_array_size(list);
    t->merge = lmf_arena_array(&t->arena, t->n_merges, sizeof *t->merge);
    if (!t->merge)
        return LMF_NO_MEMORY(t->ctx, t->n_merges * sizeof *t->merge, "merges");
    for (size_t i = 0; i < t->n_merges; i++)
        if (!split_merge(json_array_get(list, i), t->merge + i))
            return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: merge %zu is no pair of tokens", i);
    return LMF_OK;
}

static lmf_status check_merges(lmf_hf_tokenizer *t)
{
    lmf_buf both;
    lmf_buf_init(&both, t->ctx, 2 * TOKEN_MAX_BYTES);
    lmf_status s = LMF_OK;
    for (size_t i = 0; !s && i < t->n_merges; i++) {
        const lmf_hf_merge *m = t->merge + i;
        lmf_buf_truncate(&both, 0);
        s = lmf_buf_append(&both, m->left.p, m->left.n);
        if (!s)
            s = lmf_buf_append(&both, m->right.p, m->right.n);
        if (!s && (lmf_hf_tokenizer_find(t, m->left.p, m->left.n) < 0 || lmf_hf_tokenizer_find(t, m->right.p, m->right.n) < 0 ||
                   lmf_hf_tokenizer_find(t, both.data, both.n) < 0))
            s = LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: merge %zu (%.100s) has a part or a result that is no token", i, both.data);
    }
    lmf_buf_clear(&both);
    return s;
}

/* What is not said is as HF tokenizers has it. */
static lmf_status check_wordpiece(lmf_hf_tokenizer *t, const json_t *model)
{
    const json_t *prefix = json_object_get(model, "continuing_subword_prefix"), *most = json_object_get(model, "max_input_chars_per_word");
    if (!json_is_object(json_object_get(model, "vocab")))
        return bad(t, "the model has no vocab");
    if ((prefix && !json_is_string(prefix)) || (most && (!json_is_integer(most) || json_integer_value(most) < 0)))
        return bad(t, "continuing_subword_prefix is no text, or max_input_chars_per_word no count");
    t->wordpiece = true;
    t->prefix = prefix ? bytes_of(prefix) : (lmf_bytes){ "##", 2 };
    t->max_word_chars = most ? json_integer_value(most) : 100;
    return LMF_OK;
}

static lmf_status check_model(lmf_hf_tokenizer *t, const json_t *model)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(model))
        return bad(t, "there is no model");
    if (!type)
        type = json_object_get(model, "merges") ? "BPE" : "(none)";
    if (!strcmp(type, "WordPiece"))
        return check_wordpiece(t, model);
    if (strcmp(type, "BPE"))
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the model type %.40s is not read here; BPE and WordPiece are", type);
    if (json_string_length(json_object_get(model, "continuing_subword_prefix")) ||
        json_string_length(json_object_get(model, "end_of_word_suffix")))
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: a BPE with a subword prefix or word suffix is not read here");
    if (json_number_value(json_object_get(model, "dropout")) != 0)
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: a BPE with dropout splits a text anew each time, which is not done "
            "here");
    if (!json_is_object(json_object_get(model, "vocab")) || !json_is_array(json_object_get(model, "merges")))
        return bad(t, "the model has no vocab or no merges");
    return LMF_OK;
}

static const json_t *part(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    return json_is_object(v) ? v : NULL;
}

/* scan: where the vocabulary and the merges were read already, or NULL. */
static lmf_status fill(lmf_hf_tokenizer *t, const lmf__hf_scan *scan)
{
    const json_t *model = json_object_get(t->root, "model"), *added = json_object_get(t->root, "added_tokens"), *unk;
    const char *twice;
    LMF_TRY(check_model(t, model));
    if (added && !json_is_array(added) && !json_is_null(added))
        return bad(t, "added_tokens is no list");
    if (scan)
        t->word = scan->token, t->word_id = scan->id, t->n_words = scan->n_tokens, t->merge = scan->merge, t->n_merges = scan->n_merges;
    else
        LMF_TRY(words_of(t, json_object_get(model, "vocab")));
    LMF_TRY(index_words(t, &twice));
    if (twice)
        return LMF_FAIL(t->ctx, LMF_E_FORMAT, "tokenizer.json: the vocabulary has the token %.100s twice: duplicate object key", twice);
    t->n_tokens = 2 * (t->n_words + json_array_size(added)) + ID_SLACK;
    t->cap_tokens = t->n_tokens;
    t->token = lmf_arena_array(&t->arena, t->n_tokens, sizeof *t->token);
    if (!t->token)
        return LMF_NO_MEMORY(t->ctx, t->n_tokens * sizeof *t->token, "a vocabulary");
    for (size_t i = 0; i < t->n_words; i++)
        LMF_TRY(set_token(t, t->word_id[i], t->word[i]));
    LMF_TRY(read_added(t, added));
    if (!scan)
        LMF_TRY(merges_of(t, json_object_get(model, "merges")));
    t->n_merges = t->wordpiece ? 0 : t->n_merges;
    LMF_TRY(check_merges(t));
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

/* The tree of the file without its two long members, which go to scan; *ok false: it is to be read as a whole. */
static lmf_status parse_rest(lmf_hf_tokenizer *t, const char *text, size_t n, const char *name, lmf__hf_scan *scan, bool *ok)
{
    lmf_buf rest;
    lmf_error_record before = *lmf_error_here(t->ctx);
    *ok = lmf_utf8_is_valid(text, n);
    char *own = *ok ? lmf_arena_strndup(&t->arena, text, n) : NULL;
    if (!*ok)
        return LMF_OK;
    if (!own)
        return LMF_NO_MEMORY(t->ctx, n, name);
    lmf_buf_init(&rest, t->ctx, n + 16);
    lmf_status s = lmf__hf_scan_vocab(&t->arena, own, n, scan, &rest, ok);
    if (!s && *ok) {
        s = lmf_json_parse(t->ctx, lmf_buf_str(&rest), rest.n, name, LMF_JSON_VOCAB, &t->root);
        if (s && s != LMF_E_MEMORY) { /* what is wrong, and where, is said of the whole */
            *ok = false;
            *lmf_error_here(t->ctx) = before;
            s = LMF_OK;
        }
    }
    lmf_buf_clear(&rest);
    return s;
}

static lmf_status parse_named(lmf_ctx *ctx, const char *text, size_t n, const char *name, lmf_hf_tokenizer *out)
{
    lmf__hf_scan scan = { 0 };
    bool ok;
    *out = (lmf_hf_tokenizer){ .ctx = ctx, .file = "tokenizer.json" };
    lmf_arena_init(&out->arena, ctx, SIZE_MAX / 2);
    lmf_status s = parse_rest(out, text, n, name, &scan, &ok);
    if (!s && !ok)
        s = lmf_json_parse(ctx, text, n, name, LMF_JSON_VOCAB, &out->root);
    if (!s)
        s = fill(out, ok ? &scan : NULL);
    if (s)
        lmf_hf_tokenizer_close(out);
    return s;
}

lmf_status lmf_hf_tokenizer_parse(lmf_ctx *ctx, const char *text, size_t n, lmf_hf_tokenizer *out)
{
    return parse_named(ctx, text, n, "tokenizer.json", out);
}

lmf_status lmf_hf_tokenizer_open(lmf_ctx *ctx, const char *dir, lmf_hf_tokenizer *out)
{
    char path[4096], *text;
    size_t n;
    *out = (lmf_hf_tokenizer){ 0 };
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "tokenizer.json"));
    LMF_TRY(lmf_file_read(ctx, path, TOKENIZER_MAX_BYTES, &text, &n));
    lmf_status s = parse_named(ctx, text, n, path, out);
    lmf_free(ctx, text, n + 1);
    return s;
}

/* ---- a tokenizer.model ---- */
static lmf_status fill_pieces(lmf_hf_tokenizer *t, const lmf_sentencepiece *sp)
{
    const char *twice;
    t->n_words = t->n_tokens = sp->n;
    t->cap_tokens = 2 * sp->n + ID_SLACK;
    t->word = lmf_arena_array(&t->arena, sp->n, sizeof *t->word);
    t->word_id = lmf_arena_array(&t->arena, sp->n, sizeof *t->word_id);
    t->token = lmf_arena_array(&t->arena, t->cap_tokens, sizeof *t->token);
    t->added = lmf_arena_array(&t->arena, sp->n, sizeof *t->added);
    if (!t->word || !t->word_id || !t->token || !t->added)
        return LMF_NO_MEMORY(t->ctx, t->cap_tokens * sizeof *t->token, "a vocabulary");
    for (size_t i = 0; i < sp->n; i++) {
        const lmf_piece *p = &sp->piece[i];
        t->word[i] = t->token[i] = p->text;
        t->word_id[i] = (int64_t)i;
        if (p->kind == LMF_PIECE_CONTROL || p->kind == LMF_PIECE_UNKNOWN || p->kind == LMF_PIECE_USER_DEFINED)
            t->added[t->n_added++] = (lmf_hf_added){ p->text, (int32_t)i, p->kind != LMF_PIECE_USER_DEFINED, false, false, false, false };
    }
    t->byte_fallback = sp->byte_fallback;
    t->fuse_unk = true;
    t->unk = sp->piece[sp->unk].text;
    LMF_TRY(index_words(t, &twice));
    return twice ? LMF_FAIL(t->ctx, LMF_E_FORMAT, "%s has the piece %.100s twice", t->file, twice) : LMF_OK;
}

lmf_status lmf_hf_tokenizer_of_pieces(lmf_ctx *ctx, const lmf_sentencepiece *sp, lmf_hf_tokenizer *out)
{
    *out = (lmf_hf_tokenizer){ .ctx = ctx, .file = "tokenizer.model" };
    lmf_arena_init(&out->arena, ctx, SIZE_MAX / 2);
    lmf_status s = fill_pieces(out, sp);
    if (s)
        lmf_hf_tokenizer_close(out);
    return s;
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
