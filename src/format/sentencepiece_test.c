/* SPDX-License-Identifier: Apache-2.0 */
#include "format/sentencepiece.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/wire.h"
#include "pieces.h"
#include "test.h"

#define MARK "\xe2\x96\x81"

/* <unk>, <s>, </s>, a piece of the user's, a normal one; BPE, nothing normalized. */
static void begin(lmf_buf *b, lmf_ctx *ctx)
{
    lmf_buf_init(b, ctx, 1 << 20);
    lmf_test_put_piece(b, "<unk>", 0, LMF_PIECE_UNKNOWN);
    lmf_test_put_piece(b, "<s>", 0, LMF_PIECE_CONTROL);
    lmf_test_put_piece(b, "</s>", 0, LMF_PIECE_CONTROL);
    lmf_test_put_piece(b, "<u>", 0, LMF_PIECE_USER_DEFINED);
    lmf_test_put_piece(b, MARK "a", -1.5f, LMF_PIECE_NORMAL);
    lmf_test_put_number(b, 2, 3, 2);
    lmf_test_put_number(b, 3, 4, 0);
}

static void pieces_and_settings(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b;
    lmf_sentencepiece sp;
    begin(&b, ctx);
    lmf_test_put_text(&b, 3, 1, "identity");
    lmf_test_put_text(&b, 2, 53, "how it was trained");
    assert_ok(ctx, lmf_sentencepiece_parse(ctx, b.data, b.n, "m", &sp));
    assert_true(sp.n == 5 && sp.unk == 0 && sp.bos == 1 && sp.eos == 2 && sp.pad == -1 && !sp.byte_fallback && sp.add_dummy_prefix);
    assert_true(sp.piece[4].score == -1.5f && sp.piece[4].kind == LMF_PIECE_NORMAL && sp.piece[3].kind == LMF_PIECE_USER_DEFINED);
    assert_string_equal(sp.piece[4].text.p, MARK "a");
    lmf_sentencepiece_close(&sp);
    /* a message that comes again is laid over the first */
    lmf_test_put_number(&b, 3, 3, 0);
    lmf_test_put_text(&b, 2, 46, "</s>");
    lmf_test_put_text(&b, 2, 48, "<s>");
    lmf_test_put_number(&b, 2, 35, 1);
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        lmf_test_put_piece(&b, name, 0, LMF_PIECE_BYTE);
    }
    assert_ok(ctx, lmf_sentencepiece_parse(ctx, b.data, b.n, "m", &sp));
    assert_true(sp.n == 261 && sp.bos == 2 && sp.eos == 2 && sp.pad == 1 && sp.byte_fallback && !sp.add_dummy_prefix);
    lmf_sentencepiece_close(&sp);
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
}

/* field 0: a piece of text and kind; text NULL: a number in message; else a text there. */
static void what_is_refused(void **state)
{
    static const struct { lmf_status status; const char *why; int message, field, number; const char *text; float score; } rows[] = {
        { LMF_E_UNSUPPORTED, "model type Unigram", 2, 3, 1, NULL, 0 }, { LMF_E_UNSUPPORTED, "model type Word", 2, 3, 3, NULL, 0 },
        { LMF_E_UNSUPPORTED, "model type Char", 2, 3, 4, NULL, 0 }, { LMF_E_UNSUPPORTED, "model type (unknown)", 2, 3, 9, NULL, 0 },
        { LMF_E_UNSUPPORTED, "treat_whitespace_as_suffix", 2, 24, 1, NULL, 0 }, { LMF_E_UNSUPPORTED, "remove_extra", 3, 4, 1, NULL, 0 },
        { LMF_E_UNSUPPORTED, "escape_whitespaces false", 3, 5, 0, NULL, 0 }, { LMF_E_UNSUPPORTED, "normalization by a", 3, 2, 0, "x", 0 },
        { LMF_E_UNSUPPORTED, "a denormalizer", 5, 2, 0, "x", 0 }, { LMF_E_FORMAT, "no piece <0x00>", 2, 35, 1, NULL, 0 },
        { LMF_E_FORMAT, "trainer_spec is damaged", 2, 3, 0, "x", 0 }, { LMF_E_FORMAT, "trainer_spec is damaged", 2, 46, 1, NULL, 0 },
        { LMF_E_FORMAT, "normalizer_spec is damaged", 3, 2, 1, NULL, 0 }, { LMF_E_FORMAT, "normalizer_spec is damaged", 3, 3, 1, "x", 0 },
        { LMF_E_FORMAT, "denormalizer_spec is damaged", 5, 2, 1, NULL, 0 },
        { LMF_E_FORMAT, "both of the type UNKNOWN", 0, 0, LMF_PIECE_UNKNOWN, "x", 0 },
        { LMF_E_UNSUPPORTED, "the type UNUSED", 0, 0, LMF_PIECE_UNUSED, "x", 0 },
        { LMF_E_UNSUPPORTED, "control piece of one character", 0, 0, LMF_PIECE_CONTROL, MARK, 0 },
        { LMF_E_UNSUPPORTED, "a user-defined piece with a space", 0, 0, LMF_PIECE_USER_DEFINED, "a b", 0 },
        { LMF_E_FORMAT, "not <0x00> to <0xFF>", 0, 0, LMF_PIECE_BYTE, "<0x0a>", 0 },
        { LMF_E_FORMAT, "byte_fallback is false", 0, 0, LMF_PIECE_BYTE, "<0x0A>", 0 },
        { LMF_E_FORMAT, "unknown type 7", 0, 0, 7, "x", 0 }, { LMF_E_FORMAT, "empty or not UTF-8", 0, 0, 1, "", 0 },
        { LMF_E_FORMAT, "empty or not UTF-8", 0, 0, 1, "\xff", 0 }, { LMF_E_FORMAT, "not finite", 0, 0, 1, "x", INFINITY },
    };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_buf b;
        lmf_sentencepiece sp;
        begin(&b, ctx);
        if (!rows[i].field)
            lmf_test_put_piece(&b, rows[i].text, rows[i].score, rows[i].number);
        else if (rows[i].text)
            lmf_test_put_text(&b, rows[i].message, rows[i].field, rows[i].text);
        else
            lmf_test_put_number(&b, rows[i].message, rows[i].field, rows[i].number);
        assert_refused(ctx, rows[i].status, rows[i].why, lmf_sentencepiece_parse(ctx, b.data, b.n, "m", &sp));
        assert_true(!sp.ctx && !sp.n);
        lmf_buf_clear(&b);
    }
    lmf_test_ctx_done(ctx);
}

static void bytes_that_are_none(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b, one;
    lmf_sentencepiece sp;
    char *text = lmf_alloc(ctx, LMF_PIECE_MAX_BYTES + 2);
    begin(&b, ctx);
    lmf_buf_init(&one, ctx, 100);
    assert_refused(ctx, LMF_E_FORMAT, "it is empty", lmf_sentencepiece_parse(ctx, "", 0, "m", &sp));
    assert_refused(ctx, LMF_E_FORMAT, "cut or damaged", lmf_sentencepiece_parse(ctx, "{\"a\":1}", 7, "m", &sp));
    assert_refused(ctx, LMF_E_FORMAT, "no pieces", lmf_sentencepiece_parse(ctx, "\x12\0", 2, "m", &sp));
    lmf_wire_int(&one, 1, 5); /* a number where a piece should be */
    assert_refused(ctx, LMF_E_FORMAT, "piece 0 is damaged", lmf_sentencepiece_parse(ctx, one.data, one.n, "m", &sp));
    lmf_test_put_text(&b, 2, 1, "a file");
    lmf_test_put_number(&b, 2, 3, 2); /* last, so that no cut is whole */
    size_t whole = b.n, n_ok = 0;
    for (size_t n = 0; n <= whole; n++) {
        lmf_status s = lmf_sentencepiece_parse(ctx, b.data, n, "m", &sp);
        assert_true(!s == (sp.n > 0));
        n_ok += !s;
        lmf_sentencepiece_close(&sp);
    }
    assert_true(n_ok >= 1 && n_ok <= 3); /* between messages */
    memset(text, 'x', LMF_PIECE_MAX_BYTES + 1);
    text[LMF_PIECE_MAX_BYTES + 1] = 0;
    lmf_test_put_piece(&b, text, 0, 1);
    assert_refused(ctx, LMF_E_LIMIT, "piece 5 has 4097 bytes", lmf_sentencepiece_parse(ctx, b.data, b.n, "m", &sp));
    lmf_free(ctx, text, LMF_PIECE_MAX_BYTES + 2);
    lmf_buf_clear(&one);
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
}

static lmf_status open_body(lmf_ctx *ctx, void *path)
{
    lmf_sentencepiece sp;
    LMF_TRY(lmf_sentencepiece_open(ctx, path, &sp));
    lmf_sentencepiece_close(&sp);
    return LMF_OK;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b;
    char path[600];
    snprintf(path, sizeof path, "%s", lmf_test_path("tokenizer.model"));
    begin(&b, ctx);
    for (int i = 0; i < 2000; i++) {
        char text[8];
        snprintf(text, sizeof text, "x%d", i);
        lmf_test_put_piece(&b, text, (float)-i, 1);
    }
    assert_ok(ctx, lmf_file_write(ctx, path, b.data, b.n));
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(open_body, path) >= 3);
}

LMF_TESTS(sentencepiece) = { { "pieces and settings", pieces_and_settings }, { "what is refused, each with its sentence", what_is_refused },
                             { "bytes that are no model, and cut anywhere", bytes_that_are_none },
                             { "every call may fail", every_call_may_fail }, { 0 } };
