/* SPDX-License-Identifier: Apache-2.0 */
/* A Hugging Face folder's tokenizer as a vocabulary: tokenizer.json (or tokenizer.model, model_hf_pieces.c) with what its neighbours add,
 * and what ends an answer.
 * Rule: every part of tokenizer.json that changes ids is computed or refused by name. */
#include <stdio.h>
#include <string.h>
#include "format/hf_json.h"
#include "format/sentencepiece.h"
#include "models/model.h"
#include "text/tokenizer/pretok.h"

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "";
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
        if (d->split_regex)
            return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: two Splits in the pre_tokenizer are not supported");
        d->split_regex = json_string_value(json_object_get(json_object_get(step, "pattern"), "Regex"));
        if (!d->split_regex || !behavior || strcmp(behavior, "Isolated") || json_is_true(json_object_get(step, "invert")))
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
        const lmf_hf_merge *from = &t->merge[i];
        char *text = lmf_arena_alloc(&m->arena, from->left.n + from->right.n + 2);
        if (!text)
            return LMF_NO_MEMORY(m->ctx, from->left.n + from->right.n, "the merges");
        memcpy(text, from->left.p, from->left.n);
        text[from->left.n] = ' ';
        memcpy(text + from->left.n + 1, from->right.p, from->right.n);
        merge[i] = text;
    }
    m->vocab.merge = merge;
    m->vocab.n_merges = t->n_merges;
    return LMF_OK;
}

/* ---- normalizer ---- */
enum { MAX_NORM_STEPS = 16 };

static lmf_status read_norm_step(lmf_model *m, const json_t *step)
{
    static const struct { const char *type; lmf_norm_kind kind; } forms[] = { { "NFC", LMF_NORM_NFC }, { "NFD", LMF_NORM_NFD }, { "NFKC",
        LMF_NORM_NFKC },
        { "NFKD", LMF_NORM_NFKD }, { "Lowercase", LMF_NORM_LOWERCASE }, { "Prepend", LMF_NORM_PREPEND }, { "Replace", LMF_NORM_REPLACE } };
    lmf_norm_step *steps = (lmf_norm_step *)(uintptr_t)m->vocab.norm, s = { 0 };
    const char *type = type_of(step);
    const json_t *text = NULL, *pattern = NULL;
    size_t i = 0;
    while (i < sizeof forms / sizeof *forms && strcmp(forms[i].type, type))
        i++;
    if (i == sizeof forms / sizeof *forms)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the normalizer \"%.40s\" is not supported", type);
    if (m->vocab.n_norm == MAX_NORM_STEPS)
        return LMF_FAIL(m->ctx, LMF_E_LIMIT, "tokenizer.json: the normalizer has more than %d steps", MAX_NORM_STEPS);
    s.kind = forms[i].kind;
    if (s.kind == LMF_NORM_PREPEND)
        text = json_object_get(step, "prepend");
    if (s.kind == LMF_NORM_REPLACE) {
        text = json_object_get(step, "content");
        pattern = json_object_get(json_object_get(step, "pattern"), "String");
        if (!json_string_length(pattern))
            return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the normalizer Replace with a regular expression is not supported");
    }
    if ((s.kind == LMF_NORM_PREPEND || s.kind == LMF_NORM_REPLACE) && !json_is_string(text))
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: the normalizer %.40s has no text", type);
    s.n_text = json_string_length(text), s.n_pattern = json_string_length(pattern);
    s.text = text ? lmf_arena_strndup(&m->arena, json_string_value(text), s.n_text) : "";
    s.pattern = pattern ? lmf_arena_strndup(&m->arena, json_string_value(pattern), s.n_pattern) : "";
    if (!s.text || !s.pattern)
        return LMF_NO_MEMORY(m->ctx, s.n_text, "the normalizer");
    steps[m->vocab.n_norm++] = s;
    return LMF_OK;
}

/* A setting that must be a boolean; null or absent: fallback. */
static lmf_status bert_flag(lmf_model *m, const json_t *norm, const char *key, bool fallback, bool *out)
{
    const json_t *v = json_object_get(norm, key);
    *out = json_is_boolean(v) ? json_is_true(v) : fallback;
    return !v || json_is_null(v) || json_is_boolean(v) ? LMF_OK
        : LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: BertNormalizer's %s is neither true nor false", key);
}

/* BertNormalizer as its steps; accents are taken away where letters become small, if it is not said. */
static lmf_status read_bert_norm(lmf_model *m, const json_t *norm)
{
    bool clean, ideographs, lower, strip;
    LMF_TRY(bert_flag(m, norm, "clean_text", true, &clean));
    LMF_TRY(bert_flag(m, norm, "handle_chinese_chars", true, &ideographs));
    LMF_TRY(bert_flag(m, norm, "lowercase", true, &lower));
    LMF_TRY(bert_flag(m, norm, "strip_accents", lower, &strip));
    const struct { bool on; lmf_norm_kind kind; } steps[] = { { clean, LMF_NORM_CLEAN }, { ideographs, LMF_NORM_IDEOGRAPHS },
        { strip, LMF_NORM_NFD }, { strip, LMF_NORM_STRIP_MARKS }, { lower, LMF_NORM_LOWERCASE } };
    lmf_norm_step *to = (lmf_norm_step *)(uintptr_t)m->vocab.norm;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (!steps[i].on)
            continue;
        if (m->vocab.n_norm == MAX_NORM_STEPS)
            return LMF_FAIL(m->ctx, LMF_E_LIMIT, "tokenizer.json: the normalizer has more than %d steps", MAX_NORM_STEPS);
        to[m->vocab.n_norm++] = (lmf_norm_step){ .kind = steps[i].kind, .pattern = "", .text = "" };
    }
    return LMF_OK;
}

/* A step, or a Sequence of them. */
static lmf_status read_norm(lmf_model *m, const json_t *norm)
{
    size_t i;
    const json_t *step;
    if (!norm)
        return LMF_OK;
    if (!m->vocab.norm && !(m->vocab.norm = lmf_arena_array(&m->arena, MAX_NORM_STEPS, sizeof *m->vocab.norm)))
        return LMF_NO_MEMORY(m->ctx, 1024, "the normalizer");
    if (!strcmp(type_of(norm), "BertNormalizer"))
        return read_bert_norm(m, norm);
    if (strcmp(type_of(norm), "Sequence"))
        return read_norm_step(m, norm);
    json_array_foreach(json_object_get(norm, "normalizers"), i, step)
        LMF_TRY(read_norm(m, step)); /* as deep as the JSON, which is bounded */
    return LMF_OK;
}

/* ---- SentencePiece's kind: U+2581 for a space, <0x0A> for a byte ---- */
/* Rule: inside, tokens and texts have spaces (lmf_vocab); so a step that makes spaces marks becomes one that makes marks spaces. */

static bool is_mark(const json_t *text) { return json_is_string(text) && !strcmp(json_string_value(text), LMF_SPACE_MARK); }
static bool is_space(const json_t *text) { return json_is_string(text) && !strcmp(json_string_value(text), " "); }

static bool marks_spaces(const json_t *norm)
{
    size_t i;
    const json_t *step;
    json_array_foreach(json_object_get(norm, "normalizers"), i, step)
        if (marks_spaces(step))
            return true;
    return !strcmp(type_of(norm), "Replace") && is_space(json_object_get(json_object_get(norm, "pattern"), "String")) &&
           is_mark(json_object_get(norm, "content"));
}

static bool is_spaced(const lmf_hf_tokenizer *t)
{
    return !strcmp(type_of(t->pre_tokenizer), "Metaspace") || marks_spaces(t->normalizer);
}

static lmf_status spaced_norm(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_vocab *v = &m->vocab;
    LMF_TRY(read_norm(m, t->normalizer));
    if (!v->norm && !(v->norm = lmf_arena_array(&m->arena, MAX_NORM_STEPS, sizeof *v->norm)))
        return LMF_NO_MEMORY(m->ctx, 1024, "the normalizer");
    lmf_norm_step *s = (lmf_norm_step *)(uintptr_t)v->norm;
    size_t n = 0;
    for (size_t i = 0; i < v->n_norm; i++) {
        bool marks = s[i].n_pattern == 1 && s[i].pattern[0] == ' ' && !strcmp(s[i].text, LMF_SPACE_MARK);
        bool leads = s[i].kind == LMF_NORM_PREPEND && !strcmp(s[i].text, LMF_SPACE_MARK);
        if (leads)
            s[i].text = " ", s[i].n_text = 1;
        else if (!marks && s[i].kind >= LMF_NORM_PREPEND)
            return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: of a normalizer beside U+2581 for spaces, BertNormalizer and "
                            "Prepend and Replace of anything else are not supported");
        if (!marks)
            s[n++] = s[i];
    }
    if (n == MAX_NORM_STEPS)
        return LMF_FAIL(m->ctx, LMF_E_LIMIT, "tokenizer.json: the normalizer has more than %d steps", MAX_NORM_STEPS);
    s[n++] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    v->n_norm = n;
    return LMF_OK;
}

/* Metaspace, or a Split at spaces that the normalizer has left none of. */
static lmf_status spaced_pretok(lmf_model *m, const lmf_hf_tokenizer *t)
{
    static const char *const schemes[] = { "never", "first", "always" };
    const json_t *pre = t->pre_tokenizer, *split = json_object_get(pre, "split");
    const char *type = type_of(pre), *scheme = json_string_value(json_object_get(pre, "prepend_scheme"));
    lmf_vocab *v = &m->vocab;
    const json_t *at = json_object_get(json_object_get(pre, "pattern"), "String");
    if (!pre || (!strcmp(type, "Split") && marks_spaces(t->normalizer) && is_space(at)))
        return LMF_OK;
    if (strcmp(type, "Metaspace") || !is_mark(json_object_get(pre, "replacement")))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: beside U+2581 for spaces the pre_tokenizer \"%.40s\" is not supported",
                        type);
    if (!scheme)
        scheme = json_is_false(json_object_get(pre, "add_prefix_space")) ? "never" : "always";
    int i = 0;
    while (i < 3 && strcmp(schemes[i], scheme))
        i++;
    if (i == 3)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: Metaspace's prepend_scheme \"%.40s\" is not known", scheme);
    v->lead = (lmf_lead)i;
    v->each_space = !split || json_is_true(split);
    return LMF_OK;
}

typedef struct spaced_decoder { bool spaces, bytes, fused, strip; } spaced_decoder;

static lmf_status spaced_step(lmf_model *m, const json_t *step, spaced_decoder *d)
{
    const char *type = type_of(step);
    size_t i;
    const json_t *inner;
    json_int_t start = json_integer_value(json_object_get(step, "start"));
    if (!strcmp(type, "Sequence")) {
        json_array_foreach(json_object_get(step, "decoders"), i, inner)
            LMF_TRY(spaced_step(m, inner, d)); /* as deep as the JSON, which is bounded */
        return LMF_OK;
    }
    if (!strcmp(type, "Replace") && is_mark(json_object_get(json_object_get(step, "pattern"), "String")) &&
        is_space(json_object_get(step, "content")) && !d->fused)
        d->spaces = true;
    else if (!strcmp(type, "ByteFallback") && !d->fused)
        d->bytes = true;
    else if (!strcmp(type, "Fuse"))
        d->fused = true;
    else if (!strcmp(type, "Strip") && is_space(json_object_get(step, "content")) &&
             (start == 0 || (start == 1 && d->fused && d->spaces)) && json_integer_value(json_object_get(step, "stop")) == 0)
        d->strip |= start == 1;
    else
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: a decoder that does \"%.40s\" in this way is not supported beside "
                        "U+2581 for spaces", type);
    return LMF_OK;
}

static lmf_status read_spaced(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_vocab *v = &m->vocab;
    spaced_decoder d = { 0 };
    v->model = "llama";
    v->marked = marks_spaces(t->normalizer);
    LMF_TRY(spaced_norm(m, t));
    LMF_TRY(spaced_pretok(m, t));
    LMF_TRY(spaced_step(m, t->decoder, &d));
    if (!d.spaces || (t->byte_fallback && !d.bytes))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the decoder does not undo U+2581 for spaces and <0x00> for bytes");
    if (t->ignore_merges && !v->each_space)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: ignore_merges beside U+2581 for spaces is supported where Metaspace "
                        "splits only");
    v->strip = d.strip;
    v->fuse_unk = t->fuse_unk;
    uint8_t *kind = (uint8_t *)(uintptr_t)v->kind; /* in our arena */
    for (size_t i = 0; i < v->n_tokens && t->byte_fallback; i++)
        if (kind[i] == LMF_TOKEN_NORMAL && lmf_byte_token(v->token[i], v->token_bytes[i]) >= 0)
            kind[i] = LMF_TOKEN_BYTE;
    return LMF_OK;
}

/* ---- WordPiece ---- */
static lmf_status read_wordpiece(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_vocab *v = &m->vocab;
    const json_t *prefix = json_object_get(t->decoder, "prefix"), *tidy = json_object_get(t->decoder, "cleanup");
    const char *pre = type_of(t->pre_tokenizer), *decoder = type_of(t->decoder);
    v->model = "WordPiece";
    if (strcmp(pre, "BertPreTokenizer"))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: of WordPiece the pre_tokenizer BertPreTokenizer is supported, "
                        "\"%.40s\" is not", pre);
    LMF_TRY(read_norm(m, t->normalizer));
    if (!t->unk.n || lmf_hf_tokenizer_find(t, t->unk.p, t->unk.n) < 0)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: WordPiece's unk_token is not said, or not in the vocabulary");
    if (strcmp(decoder, "WordPiece") || json_string_length(prefix) != t->prefix.n ||
        memcmp(json_string_value(prefix), t->prefix.p, t->prefix.n))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: of WordPiece a decoder of the type WordPiece with the model's prefix "
                        "is supported, others are not");
    uint8_t *added = (uint8_t *)(uintptr_t)v->added; /* in our arena */
    for (size_t i = 0; i < t->n_added; i++)
        if (lmf_hf_tokenizer_find(t, t->added[i].text.p, t->added[i].text.n) >= 0)
            added[t->added[i].id] |= LMF_ADDED_WORD;
    v->piece_prefix = lmf_arena_strndup(&m->arena, t->prefix.p, t->prefix.n);
    v->max_word_chars = (size_t)t->max_word_chars;
    v->tidy = !tidy || json_is_true(tidy);
    return v->piece_prefix ? LMF_OK : LMF_NO_MEMORY(m->ctx, t->prefix.n, "the vocabulary");
}

/* ---- what is put around a text ---- */

/* The token that a TemplateProcessing's piece puts; -1: the piece is the text. */
static lmf_status template_id(lmf_model *m, const json_t *post, const json_t *piece, int32_t *id)
{
    const char *name = json_string_value(json_object_get(json_object_get(piece, "SpecialToken"), "id"));
    const json_t *ids = json_object_get(json_object_get(json_object_get(post, "special_tokens"), name ? name : ""), "ids");
    *id = -1;
    if (!name)
        return json_object_get(piece, "Sequence") ? LMF_OK : LMF_FAIL(m->ctx, LMF_E_FORMAT,
            "tokenizer.json: a piece of the post_processor is neither a SpecialToken nor a Sequence");
    json_int_t v = json_integer_value(json_array_get(ids, 0));
    if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)) || v < 0 || (size_t)v >= m->vocab.n_tokens)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED,
            "tokenizer.json: the post_processor's special token %.60s is not one token of the vocabulary", name);
    *id = (int32_t)v;
    return LMF_OK;
}

/* BertProcessing's ["[CLS]", 101]. */
static lmf_status pair_id(lmf_model *m, const json_t *pair, int32_t *id)
{
    const json_t *v = json_array_get(pair, 1);
    if (!json_is_integer(v) || json_integer_value(v) < 0 || (size_t)json_integer_value(v) >= m->vocab.n_tokens)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: BertProcessing's cls or sep is no token of the vocabulary");
    *id = (int32_t)json_integer_value(v);
    return LMF_OK;
}

/* One token before the text and one behind it at most. */
static lmf_status read_template(lmf_model *m, const json_t *post, int32_t *before, int32_t *behind)
{
    size_t i;
    const json_t *piece, *single = json_object_get(post, "single");
    bool text = false;
    json_array_foreach(single, i, piece) {
        int32_t id;
        LMF_TRY(template_id(m, post, piece, &id));
        int32_t *place = text ? behind : before;
        if ((id < 0 && text) || (id >= 0 && *place >= 0))
            return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED,
                "tokenizer.json: a post_processor that puts more than one token before a text or behind it is not supported");
        if (id >= 0)
            *place = id;
        text |= id < 0;
    }
    return text ? LMF_OK : LMF_FAIL(m->ctx, LMF_E_FORMAT, "tokenizer.json: the post_processor leaves the text out");
}

static lmf_status read_post(lmf_model *m, const json_t *post, int32_t *before, int32_t *behind)
{
    const char *type = type_of(post);
    size_t i;
    const json_t *step;
    if (!post || !strcmp(type, "ByteLevel"))
        return LMF_OK;
    if (!strcmp(type, "TemplateProcessing"))
        return read_template(m, post, before, behind);
    if (!strcmp(type, "BertProcessing")) {
        LMF_TRY(pair_id(m, json_object_get(post, "cls"), before));
        return pair_id(m, json_object_get(post, "sep"), behind);
    }
    if (strcmp(type, "Sequence"))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the post_processor \"%.40s\" is not supported", type);
    json_array_foreach(json_object_get(post, "processors"), i, step)
        LMF_TRY(read_post(m, step, before, behind));
    return LMF_OK;
}

/* What the post-processor puts must be BOS and EOS, if the folder names any: templates and other programs go by those names. */
static lmf_status set_around(lmf_model *m, const char *key, int32_t put, int32_t *named)
{
    if (put >= 0 && *named >= 0 && put != *named)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT,
            "the post_processor of tokenizer.json puts the token %d around texts, %s is token %d: they contradict each other", put, key,
            *named);
    *named = put >= 0 ? put : *named;
    return LMF_OK;
}

/* ---- decoder ---- */
/* Tokens are bytes; a decoder that does more, or other things, to an answer is not ours. */
static lmf_status check_decoder(lmf_model *m, const json_t *decoder)
{
    const char *type = type_of(decoder);
    size_t i;
    const json_t *step;
    if (!decoder || !strcmp(type, "ByteLevel") || !strcmp(type, "Fuse"))
        return LMF_OK;
    if (strcmp(type, "Sequence"))
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer.json: the decoder \"%.40s\" is not supported", type);
    json_array_foreach(json_object_get(decoder, "decoders"), i, step)
        LMF_TRY(check_decoder(m, step)); /* as deep as the JSON, which is bounded */
    return LMF_OK;
}

/* ---- special tokens ---- */

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

static lmf_status keep_templates(lmf_model *m, const lmf_named_text *t, size_t n)
{
    m->templates = n ? lmf_arena_array(&m->arena, n, sizeof *m->templates) : NULL;
    for (size_t i = 0; m->templates && i < n; i++) {
        m->templates[i] = (lmf_named_text){ lmf_arena_strdup(&m->arena, t[i].name), lmf_arena_strdup(&m->arena, t[i].text) };
        if (!m->templates[i].name || !m->templates[i].text)
            return LMF_NO_MEMORY(m->ctx, n * sizeof *t, "chat templates");
    }
    m->n_templates = n;
    return m->templates || !n ? LMF_OK : LMF_NO_MEMORY(m->ctx, n * sizeof *t, "chat templates");
}

/* Settings of tokenizer_config.json that change the ids of a text. */
static lmf_status check_encoding(lmf_model *m, const lmf_hf_tokenizer *t, const lmf_hf_special *s)
{
    if (s->split_special)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED,
                        "tokenizer_config.json: split_special_tokens is true; here a control token is one token");
    if (s->add_prefix_space && (!strcmp(type_of(t->pre_tokenizer), "ByteLevel") || !strncmp(s->class_name, "GPT2", 4)))
        return LMF_FAIL(m->ctx, LMF_E_FORMAT,
                        "add_prefix_space is true in tokenizer_config.json and false in tokenizer.json: they contradict each other");
    return LMF_OK;
}

static lmf_status read_special(lmf_model *m, const lmf_hf_tokenizer *t)
{
    lmf_hf_special s;
    lmf_vocab *v = &m->vocab;
    LMF_TRY(lmf_hf_special_open(m->ctx, m->path, &s));
    v->bos = find_id(t, s.bos);
    v->eos = find_id(t, s.eos);
    v->pad = find_id(t, s.pad);
    int32_t unk = t->unk.n ? (int32_t)lmf_hf_tokenizer_find(t, t->unk.p, t->unk.n) : -1;
    bool own = v->model != NULL; /* what unknown characters become is the model's to say */
    v->unk = own && unk >= 0 ? unk : find_id(t, s.unk);
    int32_t before = -1, behind = -1;
    lmf_status r = check_encoding(m, t, &s);
    v->bos_unnamed = v->bos < 0, v->eos_unnamed = v->eos < 0;
    if (!r)
        r = read_post(m, t->post_processor, &before, &behind);
    if (!r)
        r = set_around(m, "bos_token", before, &v->bos);
    if (!r)
        r = set_around(m, "eos_token", behind, &v->eos);
    /* the post-processor says it; transformers does not read add_bos_token and add_eos_token beside a tokenizer.json */
    v->add_bos = before >= 0 ? LMF_YES : LMF_NO;
    v->add_eos = behind >= 0;
    v->whole_words = t->ignore_merges ? LMF_YES : LMF_NO;
    if (!r && s.chat_template[0] && !(m->chat_source = lmf_arena_strdup(&m->arena, s.chat_template)))
        r = LMF_NO_MEMORY(m->ctx, strlen(s.chat_template), "the chat template");
    if (!r)
        r = keep_templates(m, s.more, s.n_more);
    if (!r && s.not_text && !*s.chat_template)
        m->chat.broken = "its file is not UTF-8 text";
    else if (!r && s.no_default)
        m->chat.broken = "the folder has chat templates, but none of the name default; choose one: --chat-template FILE";
    lmf_hf_special_close(&s);
    return r;
}

/* generation_config.json's ids, or config.json's, and the tokenizer's own. */
static lmf_status read_ends(lmf_model *m)
{
    int32_t id[LMF_MAX_EOS];
    int n;
    LMF_TRY(lmf_hf_eos_ids(m->ctx, m->path, id, LMF_MAX_EOS - 2, &n));
    for (int i = 0; i < n; i++) {
        if ((size_t)id[i] >= m->vocab.n_tokens)
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "eos_token_id %d is no token", id[i]);
        lmf_chat_add_eos(&m->chat, id[i]);
    }
    lmf_chat_add_eos(&m->chat, m->vocab.eos);
    return LMF_OK;
}

/* Part of tokenizer.json as text, to write it again. */
static lmf_status keep_json(lmf_model *m, const json_t *part, const char **out)
{
    lmf_buf json;
    if (!part)
        return LMF_OK;
    lmf_buf_init(&json, m->ctx, 1 << 20);
    lmf_status s = lmf_json_text(m->ctx, part, JSON_COMPACT, &json);
    if (!s && !(*out = lmf_arena_strdup(&m->arena, lmf_buf_str(&json))))
        s = LMF_NO_MEMORY(m->ctx, json.n, "the tokenizer's steps");
    lmf_buf_clear(&json);
    return s;
}

lmf_status lmf__model_read_hf_vocab(lmf_model *m)
{
    lmf_hf_tokenizer t = { 0 };
    lmf_sentencepiece sp;
    bool pieces;
    LMF_TRY(lmf__model_find_pieces(m, &sp, &pieces));
    lmf_status s = LMF_OK;
    LMF_TRY_TO(done, pieces ? lmf_hf_tokenizer_of_pieces(m->ctx, &sp, &t) : lmf_hf_tokenizer_open(m->ctx, m->path, &t));
    LMF_TRY_TO(done, lmf_hf_tokenizer_merge_added(&t, m->path, (size_t)lmf_weights_find(m->weights, "embed")->v.dim[0]));
    LMF_TRY_TO(done, copy_tokens(m, &t));
    LMF_TRY_TO(done, copy_merges(m, &t));
    if (pieces) {
        LMF_TRY_TO(done, lmf__model_read_pieces(m, &sp));
    } else if (t.wordpiece) {
        LMF_TRY_TO(done, read_wordpiece(m, &t));
    } else if (is_spaced(&t)) {
        LMF_TRY_TO(done, read_spaced(m, &t));
    } else {
        LMF_TRY_TO(done, read_pretok(m, t.pre_tokenizer));
        LMF_TRY_TO(done, read_norm(m, t.normalizer));
        LMF_TRY_TO(done, check_decoder(m, t.decoder));
    }
    LMF_TRY_TO(done, keep_json(m, t.pre_tokenizer, &m->pre_tokenizer_json));
    LMF_TRY_TO(done, keep_json(m, t.normalizer, &m->normalizer_json));
    LMF_TRY_TO(done, keep_json(m, t.decoder, &m->decoder_json));
    LMF_TRY_TO(done, read_special(m, &t));
    if (pieces)
        LMF_TRY_TO(done, lmf__model_name_pieces(m, &sp));
    LMF_TRY_TO(done, read_ends(m));
done:
    lmf_hf_tokenizer_close(&t);
    lmf_sentencepiece_close(&sp);
    return s;
}
