/* SPDX-License-Identifier: Apache-2.0 */
/* arena, buf and checked arithmetic. */
#include <string.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/checked.h"
#include "test.h"

static void arena_pieces(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_arena a;
    unsigned char *p[200];
    lmf_arena_init(&a, ctx, 1 << 20);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 200; i++) {
            p[i] = lmf_arena_alloc(&a, (size_t)i * 3);
            assert_non_null(p[i]);
            assert_int_equal((uintptr_t)p[i] % 16, 0);
            for (int k = 0; k < i * 3; k++)
                assert_int_equal(p[i][k], 0);
            memset(p[i], i, (size_t)i * 3);
        }
        for (int i = 0; i < 200; i++) /* no two overlap */
            for (int k = 0; k < i * 3; k++)
                assert_int_equal(p[i][k], i);
        assert_true(a.total_bytes >= ctx->live_bytes && ctx->live_bytes > 200 * 199 / 2 * 3);
        lmf_arena_clear(&a);
        assert_int_equal(ctx->live_bytes, 0);
        assert_int_equal(a.total_bytes, 0);
    }
    lmf_test_ctx_done(ctx);
}

static void arena_limits(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_arena a;
    lmf_arena_init(&a, ctx, 100000);
    assert_null(lmf_arena_alloc(&a, 100001));
    assert_null(lmf_arena_alloc(&a, SIZE_MAX));
    assert_null(lmf_arena_alloc(&a, SIZE_MAX - 14));
    assert_null(lmf_arena_array(&a, SIZE_MAX / 2, 3));
    assert_null(lmf_arena_array(&a, SIZE_MAX / 8 + 3, 8)); /* wraps to 16 */
    assert_null(lmf_arena_strndup(&a, "x", SIZE_MAX));
    assert_int_equal(ctx->live_bytes, 0);
    int n = 0;
    while (lmf_arena_alloc(&a, 1000))
        n++;
    assert_in_range(n, 60, 99);
    assert_true(a.total_bytes <= 100000);
    lmf_arena_clear(&a);
    assert_non_null(lmf_arena_array(&a, 0, 8));
    lmf_arena_clear(&a);
    lmf_test_ctx_done(ctx);
}

static void arena_texts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_arena a;
    char long_text[5000];
    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    lmf_arena_init(&a, ctx, 1 << 16);
    assert_string_equal(lmf_arena_strdup(&a, ""), "");
    assert_string_equal(lmf_arena_strdup(&a, "abc"), "abc");
    assert_string_equal(lmf_arena_strndup(&a, "abcdef", 4), "abcd");
    assert_string_equal(lmf_arena_printf(&a, "layers.%d.%s", 3, "attn"), "layers.3.attn");
    assert_string_equal(lmf_arena_printf(&a, "%s", long_text), long_text);
    lmf_arena_clear(&a);
    lmf_test_ctx_done(ctx);
}

static lmf_status fill_arena(lmf_ctx *ctx, void *arg)
{
    lmf_arena a;
    lmf_status s = LMF_OK;
    (void)arg;
    lmf_arena_init(&a, ctx, 1 << 20);
    for (int i = 0; i < 5 && !s; i++)
        if (!lmf_arena_alloc(&a, 20000) || !lmf_arena_printf(&a, "%d", i))
            s = LMF_NO_MEMORY(ctx, 20000, "an arena");
    lmf_arena_clear(&a);
    return s;
}

static void arena_out_of_memory(void **state)
{
    (void)state;
    assert_in_range(lmf_test_fail_each_call(fill_arena, NULL), 3, 100);
}

static void buf_grows(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b;
    lmf_buf_init(&b, ctx, 10000);
    assert_string_equal(lmf_buf_str(&b), "");
    assert_ok(ctx, lmf_buf_append(&b, NULL, 0));
    assert_string_equal(lmf_buf_str(&b), "");
    for (int i = 0; i < 1000; i++) {
        assert_ok(ctx, lmf_buf_printf(&b, "%03d", i));
        assert_int_equal(b.data[b.n], 0);
    }
    assert_int_equal(b.n, 3000);
    assert_memory_equal(b.data + 2997, "999", 4);
    assert_ok(ctx, lmf_buf_puts(&b, "ab"));
    assert_ok(ctx, lmf_buf_putc(&b, 'c'));
    assert_string_equal(b.data + 3000, "abc");
    assert_ok(ctx, lmf_buf_append(&b, "\0z", 2));
    assert_int_equal(b.n, 3005);
    lmf_buf_truncate(&b, 2);
    assert_string_equal(lmf_buf_str(&b), "00");
    assert_ok(ctx, lmf_buf_append(&b, "x", 1));
    assert_string_equal(lmf_buf_str(&b), "00x"); /* no old bytes behind it */
    lmf_buf_clear(&b);
    assert_int_equal(ctx->live_bytes, 0);
    assert_ok(ctx, lmf_buf_puts(&b, "again"));
    assert_int_equal(b.max, 10000);
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
}

static void buf_maximum_is_sticky(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b;
    lmf_buf_init(&b, ctx, 10);
    assert_ok(ctx, lmf_buf_append(&b, "0123456789", 10));
    assert_refused(ctx, LMF_E_LIMIT, "at most 10 bytes", lmf_buf_putc(&b, 'x'));
    assert_string_equal(b.data, "0123456789");
    lmf_buf_truncate(&b, 0);
    assert_int_equal(lmf_buf_puts(&b, "a"), LMF_E_LIMIT); /* the first failure stays */
    assert_int_equal(b.n, 0);
    lmf_buf_clear(&b);
    assert_ok(ctx, lmf_buf_puts(&b, "a"));
    assert_refused(ctx, LMF_E_LIMIT, "would grow", lmf_buf_reserve(&b, SIZE_MAX));
    lmf_buf_clear(&b);
    assert_refused(ctx, LMF_E_LIMIT, "would grow", lmf_buf_printf(&b, "%s", "01234567890"));
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
}

static lmf_status fill_buf(lmf_ctx *ctx, void *arg)
{
    lmf_buf b;
    (void)arg;
    lmf_buf_init(&b, ctx, 1 << 20);
    for (int i = 0; i < 300; i++)
        (void)lmf_buf_printf(&b, "%d,", i);
    lmf_status s = b.status;
    lmf_buf_clear(&b);
    return s;
}

static void buf_out_of_memory(void **state)
{
    (void)state;
    assert_in_range(lmf_test_fail_each_call(fill_buf, NULL), 4, 30);
}

static void checked_edges(void **state)
{
    (void)state;
    size_t z;
    int64_t i;
    assert_true(lmf_mul_size(SIZE_MAX / 2, 2, &z) && z == SIZE_MAX - 1);
    assert_false(lmf_mul_size(SIZE_MAX / 2 + 1, 2, &z));
    assert_true(lmf_mul_size(0, SIZE_MAX, &z) && z == 0);
    assert_true(lmf_add_size(SIZE_MAX - 1, 1, &z) && z == SIZE_MAX);
    assert_false(lmf_add_size(SIZE_MAX, 1, &z));
    assert_false(lmf_mul_i64(INT64_MIN, -1, &i));
    assert_true(lmf_mul_i64(INT64_MAX, -1, &i) && i == -INT64_MAX);
    assert_false(lmf_mul_i64(INT64_C(1) << 32, INT64_C(1) << 31, &i));
    assert_false(lmf_add_i64(INT64_MAX, 1, &i));
    assert_false(lmf_add_i64(INT64_MIN, -1, &i));
    assert_true(lmf_add_i64(INT64_MAX, INT64_MIN, &i) && i == -1);
    assert_int_equal(lmf_align_up(0, 64), 0);
    assert_int_equal(lmf_align_up(1, 64), 64);
    assert_int_equal(lmf_align_up(64, 64), 64);
    assert_int_equal(lmf_align_up(65, 64), 128);
}

LMF_TESTS(base_memory) = {
    { "arena pieces", arena_pieces }, { "arena limits", arena_limits }, { "arena texts", arena_texts }, { "arena out of memory", arena_out_of_memory },
    { "buf grows", buf_grows }, { "buf maximum is sticky", buf_maximum_is_sticky }, { "buf out of memory", buf_out_of_memory },
    { "checked edges", checked_edges }, { 0 }
};
