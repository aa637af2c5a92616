/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token is looked up by its spelling, prefix included, and only in the table's words, where control tokens are not. */
#include "text/tokenizer/wordpiece.h"
#include <string.h>
#include "text/tokenizer/bert_chars.h"
#include "text/tokenizer/pretok.h"

lmf_status lmf__wordpiece_init(lmf_wordpiece *w, lmf_ctx *ctx, const lmf_vocab *v, const lmf_bpe *b)
{
    size_t n_prefix = v->piece_prefix ? strlen(v->piece_prefix) : 0;
    if (v->unk < 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "a WordPiece vocabulary needs its unknown token");
    if (v->n_merges)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "a WordPiece vocabulary has no merges; this one has %zu", v->n_merges);
    if (!n_prefix || n_prefix > LMF_WORDPIECE_MAX_PREFIX)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "a WordPiece prefix of %zu bytes; 1 to %d are supported", n_prefix,
                        LMF_WORDPIECE_MAX_PREFIX);
    if (v->max_word_chars > LMF_WORDPIECE_MAX_CHARS)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "WordPiece words of up to %zu characters; at most %d are supported", v->max_word_chars,
                        LMF_WORDPIECE_MAX_CHARS);
    *w = (lmf_wordpiece){ .n_prefix = n_prefix, .max_chars = v->max_word_chars, .unk = v->unk };
    memcpy(w->prefix, v->piece_prefix, n_prefix);
    for (size_t i = 0; i < b->n_tokens; i++) {
        size_t n = b->begin[i + 1] - b->begin[i];
        w->longest = n > w->longest ? n : w->longest;
    }
    return LMF_OK;
}

/* The longest token that prefix[0, lead) and a beginning of text[0, n) are; *took: bytes of text. -1: none. */
static int32_t longest_piece(const lmf_wordpiece *w, const lmf_bpe *b, size_t lead, const uint8_t *text, size_t n, size_t *took)
{
    uint8_t key[LMF_WORDPIECE_MAX_PREFIX + 4 * LMF_WORDPIECE_MAX_CHARS];
    memcpy(key, w->prefix, lead);
    size_t most = w->longest > lead ? w->longest - lead : 0;
    most = most < n ? most : n;
    memcpy(key + lead, text, most);
    for (size_t k = most; k > 0; k--) {
        if (k < n && (text[k] & 0xc0) == 0x80) /* inside a character */
            continue;
        int32_t id = lmf__bpe_find(b, key, lead + k);
        if (id >= 0)
            return *took = k, id;
    }
    return -1;
}

/* One word; n_chars: how many characters it has. */
static lmf_status put_word(const lmf_wordpiece *w, const lmf_bpe *b, const uint8_t *word, size_t n, size_t n_chars, lmf_ids *ids)
{
    size_t before = ids->n, took;
    if (n_chars > w->max_chars)
        return lmf_ids_append(ids, &w->unk, 1);
    for (size_t at = 0; at < n; at += took) {
        int32_t id = longest_piece(w, b, at ? w->n_prefix : 0, word + at, n - at, &took);
        if (id < 0) {
            ids->n = before;
            return lmf_ids_append(ids, &w->unk, 1);
        }
        LMF_TRY(lmf_ids_append(ids, &id, 1));
    }
    return LMF_OK;
}

lmf_status lmf__wordpiece_text(const lmf_wordpiece *w, const lmf_bpe *b, const uint8_t *text, size_t n, lmf_ids *ids)
{
    size_t begin = 0, n_chars = 0;
    for (size_t at = 0; at < n;) {
        lmf_char c = lmf__char_at(text, n, at);
        bool alone = lmf__bert_is_punctuation(c.cp);
        if (c.cls != LMF_CHAR_SPACE && !alone) {
            at += c.n;
            n_chars++;
            continue;
        }
        if (n_chars)
            LMF_TRY(put_word(w, b, text + begin, at - begin, n_chars, ids));
        if (alone)
            LMF_TRY(put_word(w, b, text + at, c.n, 1, ids));
        begin = at += c.n;
        n_chars = 0;
    }
    return n_chars ? put_word(w, b, text + begin, n - begin, n_chars, ids) : LMF_OK;
}

static bool starts_with(const uint8_t *text, size_t n, const void *with, size_t n_with)
{
    return n >= n_with && !memcmp(text, with, n_with);
}

void lmf__wordpiece_shown(const lmf_wordpiece *w, bool tidy, bool begun, const uint8_t **text, size_t *n, bool *space)
{
    static const char *const joined[] = { ".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re" }; /* what cleanup knows of one token */
    *space = false;
    if (!begun || !*n)
        return;
    if (starts_with(*text, *n, w->prefix, w->n_prefix)) {
        *text += w->n_prefix;
        *n -= w->n_prefix;
        return;
    }
    *space = true;
    for (size_t i = 0; tidy && i < sizeof joined / sizeof *joined; i++)
        if (starts_with(*text, *n, joined[i], strlen(joined[i])))
            *space = false;
}
