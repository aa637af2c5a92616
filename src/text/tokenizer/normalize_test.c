/* SPDX-License-Identifier: Apache-2.0 */
/* Values are the Unicode standard's own examples (Annex 15) and tables; tools/oracle/folders.py compares every character with tokenizers.
 * */
#include "text/tokenizer/normalize.h"
#include "tokenizer_test.h"

enum { NFC, NFD, NFKC, NFKD, LOWER, PREPEND, REPLACE, CLEAN, IDEOGRAPHS, STRIP_MARKS };

static void assert_becomes(lmf_ctx *ctx, const lmf_norm_step *step, size_t n_steps, const char *text, const char *want)
{
    lmf_buf out;
    lmf_buf_init(&out, ctx, 1 << 24);
    assert_ok(ctx, lmf__normalize(step, n_steps, (const uint8_t *)text, strlen(text), &out));
    if (strcmp(lmf_buf_str(&out), want))
        fail_msg("\"%s\" became \"%s\", not \"%s\"", text, lmf_buf_str(&out), want);
    if (lmf__normalize_is_same(step, n_steps, (const uint8_t *)text, strlen(text)))
        assert_string_equal(text, want);
    lmf_buf_clear(&out);
}

static void forms(void **state)
{
    static const struct { int form; const char *text, *want; } rows[] = {
        { NFC, "e\xcc\x81", "\xc3\xa9" },                                      /* e + acute */
        { NFC, "xe\xcc\x81y \xc3\xa9", "x\xc3\xa9y \xc3\xa9" },
        { NFD, "\xc3\xa9", "e\xcc\x81" },
        { NFC, "s\xcc\x87\xcc\xa3", "\xe1\xb9\xa9" },                          /* dot above before dot below: both, U+1E69 */
        { NFD, "\xe1\xb9\xa9", "s\xcc\xa3\xcc\x87" },                          /* and ordered: below is the lesser class */
        { NFC, "q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87" },                     /* ordered, nothing to compose with */
        { NFC, "\xe2\x84\xab", "\xc3\x85" },                                   /* Angstrom sign */
        { NFC, "\xef\xac\x81", "\xef\xac\x81" }, { NFKC, "\xef\xac\x81", "fi" }, { NFKD, "\xe2\x91\xa0", "1" }, /* ligature fi, circled 1 */
        { NFC, "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81" },       /* Hangul */
        { NFD, "\xea\xb0\x81", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8" },
        { NFC, "e\xff\xcc\x81", "e\xff\xcc\x81" },                             /* a stray byte separates */
        { NFC, "\xff" "e\xcc\x81\xcc", "\xff\xc3\xa9\xcc" },                   /* and a character cut short stays */
        { NFC, "a\xdf\xbd\xcc\x81", "a\xdf\xbd\xcc\x81" },
            /* U+07FD came with Unicode 11: a letter here, so nothing joins over it */
        { NFC, "", "" }, { NFC, "\xcc\x81", "\xcc\x81" },
        { LOWER, "AbC\xc3\x89\xce\xa3", "abc\xc3\xa9\xcf\x83" }, { LOWER, "\xc4\xb0", "i\xcc\x87" }, { LOWER, "A\xff", "a\xff" },
        { CLEAN, "a\t\xc2\xa0\x01\xc2\x85" "b\xef\xbf\xbd\xff\xe2\x80\x8b", "a  b" }, /* U+0085 is a control character, and goes */
        { IDEOGRAPHS, "a\xe4\xbd\xa0\xe5\xa5\xbd" "b\xff", "a \xe4\xbd\xa0  \xe5\xa5\xbd b\xff" }, 
        { IDEOGRAPHS, "\xed\x95\x9c", "\xed\x95\x9c" },
        { STRIP_MARKS, "e\xcc\x81\xc3\xa9\xff\xcc", "e\xc3\xa9\xff\xcc" }, /* composed ones are NFD's to take apart */
    };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_becomes(ctx, &(lmf_norm_step){ .kind = (lmf_norm_kind)rows[i].form }, 1, rows[i].text, rows[i].want);
    lmf_test_ctx_done(ctx);
}

static void steps(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_norm_step prepend = { LMF_NORM_PREPEND, NULL, "_", 0, 1 }, replace = { LMF_NORM_REPLACE, "ab", "b", 2, 1 };
    const lmf_norm_step all[] = { prepend, replace, { .kind = LMF_NORM_LOWERCASE }, { .kind = LMF_NORM_NFC } };
    assert_becomes(ctx, &prepend, 1, "x", "_x");
    assert_becomes(ctx, &prepend, 1, "", ""); /* nothing before nothing */
    assert_becomes(ctx, &replace, 1, "ababXaab", "bbXab"); /* from left to right, what was put is not looked at again */
    assert_becomes(ctx, all, 4, "abE\xcc\x81", "_b\xc3\xa9");
    assert_becomes(ctx, all, 0, "abE\xcc\x81", "abE\xcc\x81");
    lmf_test_ctx_done(ctx);
}

/* A million marks of falling class: ordered by counting, or this does not end. */
static void many_marks(void **state)
{
    enum { PAIRS = 1 << 18 };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf text, out;
    lmf_buf_init(&text, ctx, 1 << 24);
    lmf_buf_init(&out, ctx, 1 << 24);
    assert_ok(ctx, lmf_buf_putc(&text, 'q'));
    for (int i = 0; i < PAIRS; i++)
        assert_ok(ctx, lmf_buf_puts(&text, "\xcc\x81\xcc\x96")); /* above 230, below 220 */
    assert_ok(ctx, lmf__normalize(&(lmf_norm_step){ .kind = LMF_NORM_NFC }, 1, (const uint8_t *)text.data, text.n, &out));
    assert_int_equal(out.n, text.n);
    assert_true(!memcmp(out.data + 1, "\xcc\x96\xcc\x96", 4) && !memcmp(out.data + out.n - 4, "\xcc\x81\xcc\x81", 4));
    assert_true(!memcmp(out.data + 1 + 2 * PAIRS - 2, "\xcc\x96\xcc\x81", 4));
    lmf_buf_clear(&text);
    lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
}

/* Added tokens around the steps: at first over the text as it is, then the NORMALIZED ones, themselves normalized, in the gaps. */
static void added_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    int32_t raw = test_vocab_add(&v, "<A>", LMF_TOKEN_USER_DEFINED, 0), late = test_vocab_add(&v, "<B>", LMF_TOKEN_USER_DEFINED,
        LMF_ADDED_NORMALIZED);
    const lmf_norm_step lower = { .kind = LMF_NORM_LOWERCASE };
    v.v.norm = &lower, v.v.n_norm = 1;
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    int32_t a = lmf_tokenizer_find(t, "a", 1), lt = lmf_tokenizer_find(t, "<", 1), gt = lmf_tokenizer_find(t, ">", 1);
    assert_encodes(ctx, t, "A<A><B><b>", 10, 0, IDS(a, raw, late, late));
    assert_encodes(ctx, t, "<a>", 3, 0, IDS(lt, a, gt)); /* found in the text as it is alone */
    assert_encodes(ctx, t, "<A>", 3, LMF_ENCODE_PLAIN, IDS(lt, a, gt)); /* no token is looked for, the steps are taken */
    assert_int_equal(lmf_tokenizer_find(t, "<B>", 3), late); /* by its own text */
    assert_true(lmf_tokenizer_find(t, "<b>", 3) < 0);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static lmf_status normalize_all(lmf_ctx *ctx, void *arg)
{
    static const char text[] = "e\xcc\x81 \xea\xb0\x81";
    const lmf_norm_step all[] = { { .kind = LMF_NORM_NFD }, { .kind = LMF_NORM_NFC } };
    lmf_buf out;
    (void)arg;
    lmf_buf_init(&out, ctx, 1 << 16);
    lmf_status s = lmf__normalize(all, 2, (const uint8_t *)text, sizeof text - 1, &out);
    lmf_buf_clear(&out);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(normalize_all, NULL) >= 4);
}

LMF_TESTS(normalize) = {
    { "normal forms and lower case", forms },
    { "steps in order", steps },
    { "many marks in linear time", many_marks },
    { "added tokens before and after the steps", added_tokens },
    { "each call fails once", each_call_fails },
    { 0 },
};
