/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/pretok.h"
#include <stdio.h>
#include <string.h>
#include "test.h"

static const lmf_pretok *row(lmf_ctx *ctx, const char *name)
{
    const lmf_pretok *p = lmf_pretok_find(ctx, name);
    if (!p)
        fail_msg("no pre-tokenizer \"%s\"", name);
    return p;
}

/* Words of text joined with '|'. */
static void assert_splits(lmf_ctx *ctx, const char *name, const char *text, const char *want)
{
    char got[256];
    size_t n = strlen(text), k = 0;
    for (size_t at = 0; at < n;) {
        size_t end = row(ctx, name)->next((const uint8_t *)text, n, at);
        assert_true(end > at && end <= n && k + n + 2 < sizeof got);
        k += (size_t)snprintf(got + k, sizeof got - k, "%s%.*s", at ? "|" : "", (int)(end - at), text + at);
        at = end;
    }
    assert_string_equal(got, want);
}

static void splits_as_the_patterns(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const struct { const char *name, *text, *want; } rows[] = {
        { "gpt-2", "Hello world", "Hello| world" },
        { "gpt-2", "we'll  go, it'S 's", "we|'ll| | go|,| it|'|S| '|s" },
        { "gpt-2", "a  12345 b\n\n c", "a| | 12345| b|\n\n| c" },
        { "gpt-2", "x \n\ty  ", "x| \n|\t|y|  " },
        { "gpt-2", "''s're", "''|s|'re" },
        { "gpt-2", "\xc3\xa9\xc2\xb2\xe3\x80\x80!\xc2\x85", "\xc3\xa9|\xc2\xb2|\xe3\x80\x80|!|\xc2\x85" },
        { "gpt-2", "a\xff\xc3 b", "a|\xff\xc3| b" },
        { "smollm", "a  12345 b", "a|  |1|2|3|4|5| b" },
        { "smollm", " 1 .\xe2\x85\xa7 2\n3", " |1| .|\xe2\x85\xa7| |2|\n|3" },
        { "smollm", "it's 1's", "it|'s| |1|'s" },
        { "llama-bpe", "Hello world", "Hello| world" },
        { "llama-bpe", "we'LL 12345678!\r\n\n x", "we|'LL| |123|456|78|!\r\n\n| x" },
        { "llama-bpe", "a \n  \n  b", "a| \n  \n| | b" },
        { "llama-bpe", "$x -y\ty,z  ", "$x| -|y|\ty|,z|  " },
        { "llama-bpe", "'\xc5\xbf" "a's", "'\xc5\xbf|a|'s" },
        { "llama-bpe", "  .\n1\n2", " | .\n|1|\n|2" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_splits(ctx, rows[i].name, rows[i].text, rows[i].want);
    lmf_test_ctx_done(ctx);
}

/* Each contraction of each published pattern: a word of its own before whatever follows; in capitals where the pattern folds case. */
static void knows_every_contraction(void **state)
{
    (void)state;
    static const struct { const char *name; bool folds; } splitters[] = { { "gpt-2", false }, { "smollm", false }, { "llama-bpe", true }, { "qwen2", true } };
    static const char *const parts[][2] = { { "s", "S" }, { "t", "T" }, { "re", "RE" }, { "ve", "VE" }, { "m", "M" }, { "ll", "LL" }, { "d", "D" } };
    lmf_ctx *ctx = lmf_test_ctx();
    char text[16], want[16];
    for (size_t i = 0; i < sizeof splitters / sizeof *splitters; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            for (int upper = 0; upper < 2; upper++) {
                snprintf(text, sizeof text, "x'%sx", parts[k][upper]);
                if (upper && !splitters[i].folds)
                    snprintf(want, sizeof want, "x|'|%sx", parts[k][upper]);
                else
                    snprintf(want, sizeof want, "x|'%s|x", parts[k][upper]);
                assert_splits(ctx, splitters[i].name, text, want);
            }
    lmf_test_ctx_done(ctx);
}

static void classes_of_characters(void **state)
{
    (void)state;
    static const struct { const char *text; int32_t cp; uint8_t cls; } rows[] = {
        { "a", 'a', LMF_CHAR_LETTER }, { "7", '7', LMF_CHAR_NUMBER }, { "\t", '\t', LMF_CHAR_SPACE }, { "_", '_', LMF_CHAR_OTHER },
        { "\x1c", 0x1c, LMF_CHAR_OTHER }, { "\xc2\x85", 0x85, LMF_CHAR_SPACE }, { "\xc2\xa0", 0xa0, LMF_CHAR_SPACE },
        { "\xe2\x80\xa8", 0x2028, LMF_CHAR_SPACE }, { "\xe2\x80\x8b", 0x200b, LMF_CHAR_OTHER }, { "\xe1\xa0\x8e", 0x180e, LMF_CHAR_OTHER },
        { "\xe2\x85\xa7", 0x2167, LMF_CHAR_NUMBER }, { "\xcc\x81", 0x301, LMF_CHAR_OTHER }, { "\xf0\xa0\x80\x80", 0x20000, LMF_CHAR_LETTER },
        { "\xf0\x90\x97\x80", 0x105c0, LMF_CHAR_LETTER }, { "\xf0\x90\xb5\x80", 0x10d40, LMF_CHAR_NUMBER }, { "\xf0\xae\xb9\x9d", 0x2ee5d, LMF_CHAR_LETTER },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        lmf_char c = lmf__char_at((const uint8_t *)rows[i].text, n, 0);
        if (c.cp != rows[i].cp || c.cls != rows[i].cls || c.n != n)
            fail_msg("U+%04X: cp %X, class %u, %u bytes", rows[i].cp, c.cp, c.cls, c.n);
    }
    assert_true(lmf__char_is_word('a') && lmf__char_is_word('_') && lmf__char_is_word(0x301) && lmf__char_is_word('9') && lmf__char_is_word(0x200d) && lmf__char_is_word(0x1f170));
    assert_false(lmf__char_is_word(' ') || lmf__char_is_word('-') || lmf__char_is_word(-1) || lmf__char_is_word(0xb2));
}

static void scans_utf8(void **state)
{
    (void)state;
    static const struct { const char *text; size_t n; int k; } rows[] = {
        { "\x7f", 1, 1 }, { "\xc2\x80", 2, 2 }, { "\xe0\xa0\x80", 3, 3 }, { "\xed\x9f\xbf", 3, 3 }, { "\xf4\x8f\xbf\xbf", 4, 4 },
        { "\x80", 1, -1 }, { "\xc1\xbf", 2, -1 }, { "\xe0\x9f\xbf", 3, -1 }, { "\xed\xa0\x80", 3, -1 }, { "\xf0\x8f\xbf\xbf", 4, -1 },
        { "\xf4\x90\x80\x80", 4, -1 }, { "\xf5", 1, -1 }, { "\xe2\x82" "a", 3, -2 }, { "\xf0\x9f\x98" "a", 4, -3 },
        { "\xc2", 1, 0 }, { "\xe2\x82", 2, 0 }, { "\xf0\x9f\x98", 3, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t cp = -1;
        int k = lmf__utf8_scan((const uint8_t *)rows[i].text, rows[i].n, &cp);
        if (k != rows[i].k)
            fail_msg("row %zu: %d, not %d", i, k, rows[i].k);
    }
}

/* Any bytes: words cover the text. A quadratic splitter would not come to an end over these. */
static void covers_long_and_broken_texts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    enum { BYTES = 1 << 20 };
    static const char *const patterns[] = { " ", "\n", " \n", "\xe3\x80\x80", "'", " '", "1", "1 ", "\xff", "\xf0\x9f", "a", "\xc2\xa0x", NULL };
    uint8_t *text = lmf_alloc(ctx, BYTES);
    assert_non_null(text);
    for (const lmf_pretok *const *p = ctx->tables->pretoks; *p; p++)
        for (int i = 0; i < (int)(sizeof patterns / sizeof *patterns); i++) {
            uint32_t x = 1;
            size_t n_words = 0, n = patterns[i] ? strlen(patterns[i]) : 0;
            for (size_t k = 0; k < BYTES; k++)
                text[k] = n ? (uint8_t)patterns[i][k % n] : (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
            for (size_t at = 0; at < BYTES; n_words++) {
                size_t end = (*p)->next(text, BYTES, at);
                assert_true(end > at && end <= BYTES);
                at = end;
            }
            assert_true(n_words >= 1);
        }
    lmf_free(ctx, text, BYTES);
    lmf_test_ctx_done(ctx);
}

static void resolves_descriptions(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *name;
    lmf_pretok_desc d = { .byte_level = true, .use_regex = true };
    assert_ok(ctx, lmf_pretok_resolve(ctx, &d, &name));
    assert_string_equal(name, "gpt-2");
    d.digits = LMF_DIGITS_EACH;
    assert_ok(ctx, lmf_pretok_resolve(ctx, &d, &name));
    assert_string_equal(name, "smollm");
    d = (lmf_pretok_desc){ .byte_level = true, .split_regex = row(ctx, "llama3")->hf_regex };
    assert_ok(ctx, lmf_pretok_resolve(ctx, &d, &name));
    assert_string_equal(name, "llama-bpe");

    d.digits = LMF_DIGITS_RUN;
    assert_refused(ctx, LMF_E_UNSUPPORTED, "behind runs of digits", lmf_pretok_resolve(ctx, &d, &name));
    assert_null(name);
    d = (lmf_pretok_desc){ .byte_level = true, .split_regex = "\\p{Han}+" };
    assert_refused(ctx, LMF_E_UNSUPPORTED, "\\p{Han}+", lmf_pretok_resolve(ctx, &d, &name));
    d.use_regex = true;
    assert_refused(ctx, LMF_E_UNSUPPORTED, "exactly one", lmf_pretok_resolve(ctx, &d, &name));
    d = (lmf_pretok_desc){ .byte_level = true };
    assert_refused(ctx, LMF_E_UNSUPPORTED, "exactly one", lmf_pretok_resolve(ctx, &d, &name));
    d = (lmf_pretok_desc){ .use_regex = true };
    assert_refused(ctx, LMF_E_UNSUPPORTED, "ByteLevel", lmf_pretok_resolve(ctx, &d, &name));
    d = (lmf_pretok_desc){ .byte_level = true, .use_regex = true, .add_prefix_space = true };
    assert_refused(ctx, LMF_E_UNSUPPORTED, "add_prefix_space", lmf_pretok_resolve(ctx, &d, &name));
    assert_null(lmf_pretok_find(ctx, "no such"));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(pretok) = {
    { "splits as the patterns", splits_as_the_patterns },
    { "knows every contraction", knows_every_contraction },
    { "classes of characters", classes_of_characters },
    { "scans UTF-8", scans_utf8 },
    { "covers long and broken texts", covers_long_and_broken_texts },
    { "resolves descriptions", resolves_descriptions },
    { 0 },
};
