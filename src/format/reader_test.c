/* SPDX-License-Identifier: Apache-2.0 */
#include "format/reader.h"
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "format/names.h"
#include "format/types.h"
#include "test.h"

static void ends_are_found(void **state)
{
    (void)state;
    static const uint8_t bytes[12] = { 1, 0, 0, 0, 0, 0, 0, 0, 'a' };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_reader r;
    lmf_bytes s;
    uint64_t v;
    const uint8_t *p;
    lmf_reader_init(&r, ctx, bytes, sizeof bytes, "some/file");
    assert_ok(ctx, lmf_reader_string(&r, "a name", 8, &s));
    assert_true(s.n == 1 && *s.p == 'a');
    assert_refused(ctx, LMF_E_FORMAT, "the last number needs 8 bytes, but the file ends after 3 more (byte 9)", lmf_reader_u64(&r, "the last number", &v));
    assert_refused(ctx, LMF_E_FORMAT, "18446744073709551615 bytes", lmf_reader_view(&r, "x", UINT64_MAX, &p));
    assert_int_equal(r.at, 9); /* a refused read moves nothing */
    assert_ok(ctx, lmf_reader_align(&r, "padding", 4));
    assert_int_equal(lmf_reader_left(&r), 0);
    lmf_test_ctx_done(ctx);
}

static void counts_are_bounded(void **state)
{
    (void)state;
    uint8_t bytes[8 + 40] = { 10 };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_reader r;
    size_t n;
    lmf_bytes s;
    lmf_reader_init(&r, ctx, bytes, sizeof bytes, "f");
    assert_ok(ctx, lmf_reader_count(&r, "n", 4, 10, &n));
    assert_int_equal(n, 10);
    r.at = 0;
    assert_refused(ctx, LMF_E_FORMAT, "can't hold", lmf_reader_count(&r, "n", 5, 10, &n));
    r.at = 0;
    assert_refused(ctx, LMF_E_FORMAT, "more than the 9 allowed", lmf_reader_count(&r, "n", 4, 9, &n));
    r.at = 0;
    assert_refused(ctx, LMF_E_FORMAT, "more than the 9 allowed", lmf_reader_string(&r, "s", 9, &s));
    lmf_test_ctx_done(ctx);
}

static void names_are_clean(void **state)
{
    (void)state;
    static const struct { const char *text; bool ok; } rows[] = {
        { "token_embd.weight", true }, { "\xc3\xa9", true }, { "\xf0\x9f\x98\x80", true }, { "\xed\x9f\xbf", true },
        { "", false }, { "a\nb", false }, { "\x1b[31m", false }, { "\x7f", false },
        { "\xc0\x80", false }, { "\xed\xa0\x80", false }, { "\xf4\x90\x80\x80", false }, { "\xe2\x82", false }, { "\x80", false },
        { "\xf0\x80\x80\x80", false }, { "\xe0\x80\x80", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (lmf_name_is_clean(rows[i].text, strlen(rows[i].text), 64) != rows[i].ok)
            fail_msg("row %zu", i);
    assert_false(lmf_name_is_clean("a\0b", 3, 64));
    assert_false(lmf_name_is_clean("abcd", 4, 3));
}

static void names_are_sorted_and_found(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_arena arena;
    lmf_names names;
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_true(lmf_names_init(&names, &arena, 500));
    for (uint32_t i = 0; i < 500; i++)
        names.row[i] = (lmf_name_row){ lmf_arena_printf(&arena, "n%u", i * 7919 % 500), i };
    assert_null(lmf_names_sort(&names));
    for (uint32_t i = 0; i < 500; i++) {
        char text[16];
        snprintf(text, sizeof text, "n%u", i * 7919 % 500);
        assert_int_equal(lmf_names_find(&names, text), i);
    }
    assert_int_equal(lmf_names_find(&names, "n500"), -1);
    names.row[3].name = "n7";
    assert_string_equal(lmf_names_sort(&names), "n7");
    lmf_arena_clear(&arena);
    lmf_test_ctx_done(ctx);
}

static void ranges_overlap_or_not(void **state)
{
    (void)state;
    lmf_range apart[] = { { 20, 30, 0 }, { 0, 10, 1 }, { 10, 10, 2 }, { 10, 20, 3 } }, over[] = { { 20, 30, 0 }, { 0, 11, 1 }, { 10, 20, 2 } };
    assert_null(lmf_ranges_sort(apart, 4));
    assert_int_equal(lmf_ranges_sort(over, 3)->i, 2);
}

static void finite_or_not(void **state)
{
    (void)state;
    float f[3] = { 1, 3.4e38f, -0.0f };
    uint16_t h[2] = { 0x7bff, 0xfbff }, b[2] = { 0x7f7f, 0 };
    double d[2] = { 1e308, 0 };
    assert_true(lmf_floats_are_finite(0, f, sizeof f) && lmf_floats_are_finite(1, h, sizeof h) && lmf_floats_are_finite(30, b, sizeof b) &&
                lmf_floats_are_finite(28, d, sizeof d));
    f[2] = -1.0f / 0.0f, h[1] = 0xfc01, b[1] = 0xff80, d[1] = 0.0 / 0.0;
    assert_false(lmf_floats_are_finite(0, f, sizeof f));
    assert_false(lmf_floats_are_finite(1, h, sizeof h));
    assert_false(lmf_floats_are_finite(30, b, sizeof b));
    assert_false(lmf_floats_are_finite(28, d, sizeof d));
}

LMF_TESTS(reader) = {
    { "the end of the bytes is found and named", ends_are_found },
    { "counts are bounded by the bytes left", counts_are_bounded },
    { "names are clean UTF-8", names_are_clean },
    { "names are sorted, found, and found twice", names_are_sorted_and_found },
    { "ranges overlap or not", ranges_overlap_or_not },
    { "floats are finite or not", finite_or_not },
    { 0 },
};
