/* SPDX-License-Identifier: Apache-2.0 */
/* tools/oracle/wordpiece.py compares every character and thousands of texts with HF tokenizers. */
#include "text/tokenizer/wordpiece.h"
#include "text/tokenizer/bert_chars.h"
#include "text/tokenizer/tokenizer_test.h"

typedef struct pieces {
    test_vocab    v;
    lmf_norm_step norm[5];
    int32_t       unk, cls, sep, un, aff, able, the, dot, quote, s, e_acute, han, user, word;
} pieces;

static void pieces_init(pieces *f)
{
    static const lmf_norm_kind kinds[] = { LMF_NORM_CLEAN, LMF_NORM_IDEOGRAPHS, LMF_NORM_NFD, LMF_NORM_STRIP_MARKS, LMF_NORM_LOWERCASE };
    memset(f, 0, sizeof *f);
    lmf_vocab_init(&f->v.v);
    f->v.v.model = "WordPiece", f->v.v.piece_prefix = "##", f->v.v.max_word_chars = 10, f->v.v.tidy = true;
    f->v.v.token = f->v.token, f->v.v.kind = f->v.kind, f->v.v.added = f->v.added;
    for (size_t i = 0; i < 5; i++)
        f->norm[i].kind = kinds[i];
    f->v.v.norm = f->norm, f->v.v.n_norm = 5;
    f->unk = test_vocab_add(&f->v, "[UNK]", LMF_TOKEN_CONTROL, 0);
    f->cls = test_vocab_add(&f->v, "[CLS]", LMF_TOKEN_CONTROL, 0);
    f->sep = test_vocab_add(&f->v, "[SEP]", LMF_TOKEN_CONTROL, 0);
    f->un = test_vocab_add(&f->v, "un", LMF_TOKEN_NORMAL, 0);
    f->aff = test_vocab_add(&f->v, "##aff", LMF_TOKEN_NORMAL, 0);
    f->able = test_vocab_add(&f->v, "##able", LMF_TOKEN_NORMAL, 0);
    f->the = test_vocab_add(&f->v, "the", LMF_TOKEN_NORMAL, 0);
    f->dot = test_vocab_add(&f->v, ".", LMF_TOKEN_NORMAL, 0);
    f->quote = test_vocab_add(&f->v, "'", LMF_TOKEN_NORMAL, 0);
    f->s = test_vocab_add(&f->v, "s", LMF_TOKEN_NORMAL, 0);
    f->e_acute = test_vocab_add(&f->v, "\xc3\xa9t", LMF_TOKEN_NORMAL, 0);
    f->han = test_vocab_add(&f->v, "\xe4\xbd\xa0", LMF_TOKEN_NORMAL, 0);
    test_vocab_add(&f->v, "secret", LMF_TOKEN_CONTROL, 0);
    f->user = test_vocab_add(&f->v, "qab", LMF_TOKEN_USER_DEFINED, LMF_ADDED_SINGLE_WORD);
    f->word = test_vocab_add(&f->v, "wab", LMF_TOKEN_USER_DEFINED, LMF_ADDED_SINGLE_WORD | LMF_ADDED_WORD);
    f->v.v.unk = f->unk, f->v.v.bos = f->cls, f->v.v.eos = f->sep;
    f->v.v.add_bos = LMF_YES, f->v.v.add_eos = true;
}

#define CASE(text, ...) assert_encodes(ctx, t, text, strlen(text), 0, IDS(__VA_ARGS__))

static void words_become_pieces(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    pieces f;
    pieces_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    CASE("unaffable", f.un, f.aff, f.able);
    CASE("UN\xc3\x81" "FFABLE", f.un, f.aff, f.able);                /* small letters, accents gone */
    CASE("the  the\t\n the", f.the, f.the, f.the);
    CASE("the.the's", f.the, f.dot, f.the, f.quote, f.s);
    CASE("unx the", f.unk, f.the);                                  /* a rest that nothing begins: the whole word is unknown */
    CASE("unaffablex", f.unk);
    CASE("ununununun", f.unk);
    CASE("th\xe2\x80\x8b" "e", f.the);                              /* a format character goes */
    CASE("\xe4\xbd\xa0\xe4\xbd\xa0the", f.han, f.han, f.the);
    CASE("the\xef\xbf\xbd\xff the\x80", f.the, f.the);              /* U+FFFD, and what it would be put for */
    CASE("the\xc2\xa0the\xe3\x80\x80the", f.the, f.the, f.the);
    CASE("secret", f.unk);                                          /* no word is a control token */
    CASE("qab qabable wab wabable", f.user, f.unk, f.word, f.word, f.able); /* of added tokens only words of the model begin words */
    assert_encodes(ctx, t, "", 0, LMF_ENCODE_DEFAULTS, IDS(f.cls, f.sep));
    assert_encodes(ctx, t, "the[SEP]", 8, LMF_ENCODE_DEFAULTS, IDS(f.cls, f.the, f.unk, f.unk, f.unk, f.sep));
    assert_encodes(ctx, t, "the[SEP]", 8, LMF_ENCODE_SPECIAL, IDS(f.the, f.sep));
    assert_int_equal(lmf_tokenizer_find(t, "##able", 6), f.able);
    assert_int_equal(lmf_tokenizer_find(t, "[SEP]", 5), f.sep);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

/* Words of max_word_chars characters, of one more; tokens of which one begins the other. */
static void lengths(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    pieces f;
    pieces_init(&f);
    f.v.v.n_norm = 0;
    int32_t b = test_vocab_add(&f.v, "##b", LMF_TOKEN_NORMAL, 0), bb = test_vocab_add(&f.v, "##bb", LMF_TOKEN_NORMAL, 0);
    int32_t half = test_vocab_add(&f.v, "s\xc3", LMF_TOKEN_NORMAL, 0);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    CASE("sbbbbbbbbb", f.s, bb, bb, bb, bb, b);
    CASE("sbbbbbbbbbb", f.unk);
    CASE("\xc3\xa9tbbbbbbbb", f.e_acute, bb, bb, bb, bb);           /* characters count, not bytes */
    CASE("\xc3\xa9tbbbbbbbbb", f.unk);
    CASE("s\xc3\xa9", f.unk);                                       /* no token ends inside a character */
    CASE("s\xc3 \xff the", half, f.unk, f.the);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void assert_shown(lmf_ctx *ctx, const lmf_tokenizer *t, const int32_t *id, size_t n, unsigned flags, const char *want)
{
    lmf_buf out;
    lmf_decode_stream d = { 0 };
    lmf_buf_init(&out, ctx, 1000);
    assert_ok(ctx, lmf_tokenizer_decode(t, id, n, flags, &out));
    assert_string_equal(lmf_buf_str(&out), want);
    lmf_buf_truncate(&out, 0);
    for (size_t i = 0; i < n; i++)
        assert_ok(ctx, lmf_decode_stream_push(&d, t, id[i], flags, &out));
    assert_ok(ctx, lmf_decode_stream_end(&d, &out));
    assert_string_equal(lmf_buf_str(&out), want);
    lmf_buf_clear(&out);
}

static void pieces_become_words(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    pieces f;
    pieces_init(&f);
    for (int tidy = 1; tidy >= 0; tidy--) {
        f.v.v.tidy = tidy;
        lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
        const int32_t ids[] = { f.cls, f.un, f.aff, f.able, f.the, f.dot, f.the, f.quote, f.s, f.sep };
        assert_shown(ctx, t, ids, 10, 0, tidy ? "[CLS] unaffable the. the ' s [SEP]" : "[CLS] unaffable the . the ' s [SEP]");
        assert_shown(ctx, t, ids, 10, LMF_DECODE_SKIP_SPECIAL, tidy ? "unaffable the. the ' s" : "unaffable the . the ' s");
        assert_shown(ctx, t, ids + 2, 2, 0, "##affable"); /* at the beginning there is nothing to go on with */
        lmf_tokenizer_destroy(t);
    }
    lmf_test_ctx_done(ctx);
}

static void refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_tokenizer *t;
    pieces f;
    static const char *const merges[] = { "un ##aff" };
#define REFUSED(change, status, words) do { pieces_init(&f); change; \
        assert_refused(ctx, status, words, lmf_tokenizer_create(ctx, &f.v.v, &t)); } while (0)
    REFUSED(f.v.v.unk = -1, LMF_E_FORMAT, "needs its unknown token");
    REFUSED(f.v.v.piece_prefix = "", LMF_E_UNSUPPORTED, "a WordPiece prefix of 0 bytes");
    REFUSED(f.v.v.piece_prefix = NULL, LMF_E_UNSUPPORTED, "a WordPiece prefix of 0 bytes");
    REFUSED(f.v.v.piece_prefix = "#################################", LMF_E_UNSUPPORTED, "a WordPiece prefix of 33 bytes");
    REFUSED(f.v.v.max_word_chars = 1001, LMF_E_UNSUPPORTED, "words of up to 1001 characters");
    REFUSED((test_vocab_add(&f.v, "un##aff", LMF_TOKEN_NORMAL, 0), f.v.v.merge = merges, f.v.v.n_merges = 1), LMF_E_FORMAT,
            "has no merges");
    lmf_test_ctx_done(ctx);
}

/* The greatest lengths that are taken fit the buffers: run under a sanitizer. */
static void longest_words(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static char token[LMF_TOKEN_MAX_BYTES + 1], text[4 * LMF_WORDPIECE_MAX_CHARS];
    pieces f;
    pieces_init(&f);
    memset(token, 'x', LMF_TOKEN_MAX_BYTES);
    f.v.token[f.the] = token;
    f.v.v.n_norm = 0, f.v.v.piece_prefix = "################################", f.v.v.max_word_chars = LMF_WORDPIECE_MAX_CHARS;
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    for (int i = 0; i < LMF_WORDPIECE_MAX_CHARS; i++)
        memcpy(text + 4 * i, "\xf0\x90\x8d\x88", 4);
    assert_encodes(ctx, t, text, sizeof text, 0, IDS(f.unk));
    memset(text, 's', sizeof text);
    assert_encodes(ctx, t, text, sizeof text, 0, IDS(f.unk));
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void sets_of_characters(void **state)
{
    static const int32_t marks[] = { 0x300, 0x36f, 0x1734, 0xe01ef }, letters[] = { 'a', 0x2ff, 0x7fd, 0x16fe4 };
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_true(lmf__bert_is_mark(marks[i]) && !lmf__bert_is_mark(letters[i]) && !lmf__bert_is_punctuation(letters[i]));
    assert_true(lmf__bert_is_punctuation('!') && lmf__bert_is_punctuation('~') && lmf__bert_is_punctuation('$') &&
                lmf__bert_is_punctuation(0x3001) && !lmf__bert_is_punctuation(0x2e43) && !lmf__bert_is_punctuation(-1));
    assert_true(lmf__bert_is_ideograph(0x4e00) && lmf__bert_is_ideograph(0x2fa1f) && !lmf__bert_is_ideograph(0x2b820) &&
                !lmf__bert_is_ideograph(0xac00) && !lmf__bert_is_ideograph(0x3042));
    assert_true(lmf__bert_is_dropped(0) && lmf__bert_is_dropped(0x7f) && lmf__bert_is_dropped(0xfffd) && lmf__bert_is_dropped(0x10fffd) &&
                !lmf__bert_is_dropped('\t') && !lmf__bert_is_dropped('\n') && !lmf__bert_is_dropped(0x8e2));
}

static lmf_status make_encode_decode(lmf_ctx *ctx, void *arg)
{
    const pieces *f = arg;
    lmf_tokenizer *t = NULL;
    lmf_ids ids;
    lmf_buf out;
    lmf_status s;
    lmf_ids_init(&ids, ctx, 1000);
    lmf_buf_init(&out, ctx, 1000);
    LMF_TRY_TO(done, lmf_tokenizer_create(ctx, &f->v.v, &t));
    LMF_TRY_TO(done, lmf_tokenizer_encode(t, "Unaff\xc3\xa1" "ble [SEP] the.", 19, LMF_ENCODE_SPECIAL, &ids));
    LMF_TRY_TO(done, lmf_tokenizer_decode(t, ids.data, ids.n, 0, &out));
done:
    lmf_buf_clear(&out);
    lmf_ids_clear(&ids);
    lmf_tokenizer_destroy(t);
    return s;
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    pieces f;
    pieces_init(&f);
    assert_true(lmf_test_fail_each_call(make_encode_decode, &f) >= 12);
}

LMF_TESTS(wordpiece) = {
    { "words become pieces", words_become_pieces },
    { "lengths of words and pieces", lengths },
    { "pieces become words", pieces_become_words },
    { "what is refused", refused },
    { "the longest words and tokens fit", longest_words },
    { "sets of characters", sets_of_characters },
    { "every failing allocation is survived", every_failing_allocation_is_survived },
    { 0 },
};
