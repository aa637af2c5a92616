/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts of a text may not be seen in what is shown: every way to cut short texts, and longer ones at every two places. */
#include <stdio.h>
#include <string.h>
#include "test.h"
#include "text/stream/stream.h"
#include "text/tokenizer/tokenizer_test.h"

typedef struct row { const char *text, *stop[3], *want; int i_stop; } row;
/* want by hand; a stop text of the row that ends first, counted in bytes, ends the answer */
static const row rows[] = {
    { "abc", { NULL }, "abc", -1 },
    { "", { "x" }, "", -1 },
    { "one END two", { "END" }, "one ", 0 },
    { "EEND", { "END" }, "E", 0 },
    { "EN EN", { "END" }, "EN EN", -1 },            /* what waited leaves at the end */
    { "aabaabaac", { "aabaac" }, "aab", 0 },        /* begins inside of a false beginning */
    { "abcd", { "bcd", "c" }, "ab", 1 },            /* c is complete first, though bcd begins before it */
    { "xabcd", { "d", "abcd" }, "x", 1 },           /* both end there: the longer */
    { "xabcd", { "cd", "ab", "abcd" }, "x", 1 },
    { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80.", { "\xf0\x9f\x98\x80" }, "\xc3\xa9\xe2\x82\xac", 0 },
    { "a\xe2\x82", { "b" }, "a\xef\xbf\xbd", -1 },  /* cut at the end */
    { "a\xe2\x82", { "\xef\xbf\xbd" }, "a", 0 },    /* and what it is shown as can be a stop text */
    { "\xff" "a\x80" "b\xe2" "c", { "c" }, "\xef\xbf\xbd" "a\xef\xbf\xbd" "b\xef\xbf\xbd", 0 },
    { "\xc3\xa9\xc3\xaa", { "\xc3\xaa\xc3\xab" }, "\xc3\xa9\xc3\xaa", -1 }, /* bytes that begin alike: whole characters wait */
};

static bool is_utf8(const char *p, size_t n)
{
    lmf_decode_stream d = { 0 };
    char copy[256];
    lmf_buf out;
    lmf_ctx *ctx = lmf_test_ctx();
    assert_true(n < sizeof copy);
    lmf_buf_init(&out, ctx, 1024);
    assert_ok(ctx, lmf_decode_stream_bytes(&d, p, n, &out));
    bool same = !d.n_wait && out.n == n && (n == 0 || memcmp(out.data, p, n) == 0);
    lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
    return same;
}

/* Pushes text cut behind byte i where bit i of cuts is set. */
static void run_cut(lmf_ctx *ctx, const row *r, uint64_t cuts)
{
    lmf_text_stream st;
    lmf_buf text;
    lmf_fresh fresh;
    char shown[256];
    size_t n = strlen(r->text), n_shown = 0, begin = 0, n_stop = 0, want = strlen(r->want);
    while (n_stop < 3 && r->stop[n_stop])
        n_stop++;
    lmf_buf_init(&text, ctx, 4096);
    assert_ok(ctx, lmf_text_stream_init(&st, ctx, r->stop, (int)n_stop));
    for (size_t i = 0; i <= n; i++) {
        if (i < n && !(cuts >> i & 1) && i + 1 < n)
            continue;
        if (i < n)
            assert_ok(ctx, lmf_text_stream_push_bytes(&st, r->text + begin, i + 1 - begin, &text, &fresh));
        else
            assert_ok(ctx, lmf_text_stream_end(&st, &text, &fresh));
        begin = i + 1;
        assert_true(is_utf8(fresh.data, fresh.n));
        assert_true(n_shown + fresh.n < sizeof shown);
        memcpy(shown + n_shown, fresh.data, fresh.n);
        n_shown += fresh.n;
        if (n_shown > want || memcmp(shown, r->want, n_shown)) /* a byte too many is seen when it leaves */
            fail_msg("\"%s\" cut as %llx: shown \"%.*s\", not \"%s\"", r->text, (unsigned long long)cuts, (int)n_shown, shown, r->want);
    }
    assert_int_equal(n_shown, want);
    assert_int_equal(st.i_stop, r->i_stop);
    assert_int_equal(text.n, want);
    assert_true(want == 0 || memcmp(text.data, r->want, want) == 0);
    lmf_buf_clear(&text);
}

static void every_cut(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = strlen(rows[i].text);
        assert_true(n < 14);
        for (uint64_t cuts = 0; cuts < (n ? 1u << (n - 1) : 1u); cuts++)
            run_cut(ctx, &rows[i], cuts);
    }
    lmf_test_ctx_done(ctx);
}

/* Nothing waits that need not: after each byte only a true beginning of a stop text, or of a character, is held. */
static void holds_little(void **state)
{
    (void)state;
    static const char text[] = "to STO and STOP";
    static const size_t shown[] = { 1, 2, 3, 3, 3, 3, 7, 8, 9, 10, 11, 11, 11, 11, 11 };
    static const char *const stop[] = { "STOP" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_text_stream st;
    lmf_fresh fresh;
    lmf_buf out;
    lmf_buf_init(&out, ctx, 100);
    assert_ok(ctx, lmf_text_stream_init(&st, ctx, stop, 1));
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        assert_ok(ctx, lmf_text_stream_push_bytes(&st, text + i, 1, &out, &fresh));
        assert_int_equal(st.n_out, shown[i]);
    }
    assert_int_equal(st.i_stop, 0);
    assert_ok(ctx, lmf_text_stream_push_bytes(&st, "more", 4, &out, &fresh));
    assert_true(fresh.n == 0 && out.n == 11);
    lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
}

/* Tokens of a vocabulary: a character and a stop text lie across several; a control token says nothing. */
static void tokens(void **state)
{
    (void)state;
    static const char text[] = "caf\xc3\xa9 ##no";
    static const char *const stop[] = { "##" };
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    lmf_tokenizer *t;
    lmf_text_stream st;
    lmf_fresh fresh;
    lmf_buf out;
    test_vocab_init(&v, "gpt-2");
    int32_t control = test_vocab_add(&v, "<|im_end|>", LMF_TOKEN_CONTROL, 0);
    t = test_tokenizer(ctx, &v);
    lmf_buf_init(&out, ctx, 100);
    assert_ok(ctx, lmf_text_stream_init(&st, ctx, stop, 1));
    for (size_t i = 0; text[i]; i++) {
        int32_t id = -1;
        for (int32_t k = 0; k < 256; k++) { /* the token of that byte */
            size_t n;
            const uint8_t *p = lmf_tokenizer_piece(t, k, &n);
            id = n == 1 && p[0] == (uint8_t)text[i] ? k : id;
        }
        assert_ok(ctx, lmf_text_stream_push(&st, t, control, &out, &fresh));
        assert_int_equal(fresh.n, 0);
        assert_ok(ctx, lmf_text_stream_push(&st, t, id, &out, &fresh));
        assert_int_equal(fresh.n, i == 3 || i == 6 || i > 6 ? 0 : i == 4 ? 2 : 1);
    }
    assert_ok(ctx, lmf_text_stream_end(&st, &out, &fresh));
    assert_true(fresh.n == 0 && strcmp(lmf_buf_str(&out), "caf\xc3\xa9 ") == 0 && st.i_stop == 0);
    lmf_buf_clear(&out);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void refusals(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_text_stream st;
    const char *many[17], *empty[] = { "a", "" }, *cut[] = { "\xe2\x82" }, *tail[] = { "\xa9" };
    for (int i = 0; i < 17; i++)
        many[i] = "x";
    assert_refused(ctx, LMF_E_ARG, "stop text 2 is empty", lmf_text_stream_init(&st, ctx, empty, 2));
    assert_refused(ctx, LMF_E_ARG, "not valid UTF-8", lmf_text_stream_init(&st, ctx, cut, 1));
    assert_refused(ctx, LMF_E_ARG, "not valid UTF-8", lmf_text_stream_init(&st, ctx, tail, 1));
    assert_refused(ctx, LMF_E_LIMIT, "17 stop texts", lmf_text_stream_init(&st, ctx, many, 17));
    assert_ok(ctx, lmf_text_stream_init(&st, ctx, many, 16));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(stream) = {
    { "every way to cut a text shows the same", every_cut }, { "holds no more than it must", holds_little },
    { "characters and stop texts across tokens", tokens }, { "stop texts that can't be are refused", refusals }, { 0 } };
