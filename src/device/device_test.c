/* SPDX-License-Identifier: Apache-2.0 */
#include "device/device.h"
#include <string.h>
#include "base/half.h"
#include "device/null/null.h"
#include "test.h"

static void opens_by_name(void **state)
{
    static const struct { const char *name; lmf_status s; const char *words; } bad[] = {
        { "", LMF_E_NOT_FOUND, "plug-in" }, { "tpu", LMF_E_NOT_FOUND, "liblmfast-tpu.so" }, { "cpu:1", LMF_E_ARG, "one CPU device" },
        { "cpu:x", LMF_E_ARG, "cuda:N" }, { "cpu:0junk", LMF_E_ARG, "cuda:N" },
        { "cpu:", LMF_E_ARG, "cuda:N" }, { "cpu: 0", LMF_E_ARG, "cuda:N" }, { "cpu:+0", LMF_E_ARG, "cuda:N" }, { "cpu:99999999999",
            LMF_E_ARG, "cuda:N" },
        { "CPU", LMF_E_ARG, "cuda:N" }, { "cpu:-1", LMF_E_ARG, "cuda:N" }, { "a-name-of-a-device-that-is-long", LMF_E_ARG, "expected cpu"
            } };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *d;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(ctx, bad[i].s, bad[i].words, lmf_device_open(ctx, bad[i].name, &d));
        assert_null(d);
    }
    assert_ok(ctx, lmf_device_open(ctx, "cpu:0", &d));
    assert_true(d->flags == LMF_DEVICE_HOST && d->n_workers >= 1 && !d->sealed);
    lmf_device_close(d);
    lmf_device_close(NULL);
    lmf_test_ctx_done(ctx);
}

static void counts_and_seals(void **state)
{
    static const char *const names[] = { "cpu", "null" };
    (void)state;
    for (int i = 0; i < 2; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_device *d;
        size_t free_bytes, total;
        void *a, *b, *c;
        assert_ok(ctx, lmf_device_open(ctx, names[i], &d));
        assert_ok(ctx, d->ops->alloc(d, 0, 1000, &a));
        assert_ok(ctx, d->ops->alloc(d, 0, 24, &b));
        assert_ok(ctx, d->ops->alloc(d, 1, 7, &c));
        assert_int_equal(d->asked_bytes, 1024);
        assert_int_equal(d->asked_host_bytes, 7);
        assert_true((uintptr_t)a % 256 == 0 && (uintptr_t)b % 256 == 0 && a != b);
        assert_ok(ctx, d->ops->memory(d, &free_bytes, &total));
        assert_true(total > 0 && free_bytes < total);
        d->sealed = true;
        void *more = a;
        assert_refused(ctx, LMF_E_SEALED, "8 bytes", d->ops->alloc(d, 0, 8, &more));
        assert_null(more);
        assert_refused(ctx, LMF_E_SEALED, "sealed", d->ops->alloc(d, 1, 8, &more));
        d->sealed = false;
        d->ops->release(d, 0, a, 1000);
        d->ops->release(d, 0, b, 24);
        d->ops->release(d, 1, c, 7);
        assert_int_equal(d->asked_bytes + d->asked_host_bytes, 0);
        if (i == 0) {
            assert_refused(ctx, LMF_E_MEMORY, "bytes", d->ops->alloc(d, 0, SIZE_MAX - 1, &a));
            assert_null(a);
        }
        lmf_device_close(d);
        lmf_test_ctx_done(ctx);
    }
}

static lmf_status nothing(const lmf_call *c) { (void)c; return LMF_OK; }

enum { X, A, B, Y, N_VIEWS };
typedef struct two_calls { lmf_view v[N_VIEWS]; lmf_view in[2][2], out[2][1]; lmf_call call[2]; } two_calls;

/* a = f(x); y = g(a, b) on addresses of our choice; b is written by nobody. */
static lmf_status walk(lmf_device *d, uintptr_t a, uintptr_t y, bool read_b, size_t scratch, uintptr_t scratch_at, size_t *high)
{
    two_calls t = { 0 };
    lmf_program *p;
    for (int i = 0; i < N_VIEWS; i++) {
        t.v[i] = (lmf_view){ .fmt = lmf_device_format(d, LMF_F32), .dtype = LMF_F32, .n_dims = 1, .dim = { 64 }, .cls = i == X ? LMF_INPUT : LMF_STEP };
        lmf_view_set_dense(&t.v[i]);
        t.v[i].data = (void *)(i == A ? a : i == Y ? y : (uintptr_t)0x10000 + (uintptr_t)i * 4096);
    }
    t.in[0][0] = t.v[X], t.out[0][0] = t.v[A], t.in[1][0] = t.v[A], t.in[1][1] = t.v[B], t.out[1][0] = t.v[Y];
    for (int i = 0; i < 2; i++)
        t.call[i] = (lmf_call){ .row = &lmf_kernel_ref, .ref = nothing, .in = t.in[i], .out = t.out[i], .n_in = (uint8_t)(i ? 1 + read_b : 1), .n_out = 1 };
    t.call[1].scratch = (void *)scratch_at, t.call[1].scratch_bytes = scratch;
    lmf_status s = d->ops->program_create(d, t.call, 2, false, &p);
    if (s)
        return s;
    s = d->ops->program_launch(d, NULL, p);
    *high = lmf_null_high_water(d);
    d->ops->program_destroy(d, p);
    return s;
}

static void null_checks_reads(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *d;
    void *arena;
    size_t high;
    assert_ok(ctx, lmf_device_open(ctx, "null", &d));
    assert_ok(ctx, d->ops->alloc(d, 0, 4096, &arena));
    uintptr_t at = (uintptr_t)arena;
    assert_ok(ctx, walk(d, at, at + 256, false, 0, 0, &high));
    assert_int_equal(high, 512);
    assert_ok(ctx, walk(d, at + 256, at, false, 100, at + 1024, &high));
    assert_int_equal(high, 1124);
    assert_refused(ctx, LMF_E_INTERNAL, "overwritten", walk(d, at, at + 128, false, 0, 0, &high)); /* y lies on half of a, which its call reads */
    assert_refused(ctx, LMF_E_INTERNAL, "overwritten", walk(d, at, at + 512, false, 8, at + 248, &high)); /* scratch on the end of a */
    assert_refused(ctx, LMF_E_INTERNAL, "input 1 of call 1 is read before anything wrote it", walk(d, at, at + 256, true, 0, 0, &high));
    d->ops->release(d, 0, arena, 4096);
    lmf_device_close(d);
    lmf_test_ctx_done(ctx);
}

/* Elements of any type through f64, strides honoured. */
static void elements(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const uint16_t types[] = { LMF_F32, LMF_F64, LMF_F16, LMF_BF16, LMF_I8, LMF_I16, LMF_I32, LMF_I64, LMF_U64 };
    uint64_t bytes[64];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        lmf_view v = { .data = bytes, .fmt = lmf_format_get(ctx, types[i]), .dtype = types[i], .n_dims = 2, .dim = { 3, 4 }, .stride = { 10, 1 } };
        memset(bytes, 0, sizeof bytes);
        for (int64_t k = 0; k < 12; k++)
            lmf_set(&v, k, (double)(k + 1));
        for (int64_t k = 0; k < 12; k++) {
            assert_true(lmf_get(&v, k) == (double)(k + 1));
            assert_true(lmf_get_int(&v, k) == k + 1);
        }
        lmf_view flat = { .data = bytes, .fmt = v.fmt, .dtype = types[i], .n_dims = 1, .dim = { 30 } };
        lmf_view_set_dense(&flat);
        assert_true(lmf_get(&flat, 10) == 5 && lmf_get(&flat, 4) == 0 && lmf_get(&flat, 23) == 12);
        assert_false(lmf_view_is_dense(&v));
        assert_true(lmf_view_is_dense(&flat) && lmf_view_rows(&v) == 3 && lmf_view_count(&v) == 12);
    }
    const lmf_format *q8 = lmf_format_get(ctx, LMF_Q8_0);
    float x[64];
    unsigned char block[128];
    for (int k = 0; k < 64; k++)
        x[k] = (float)(k - 32);
    q8->pack(x, block, 64);
    lmf_view v = { .data = block, .fmt = q8, .dtype = LMF_Q8_0, .n_dims = 2, .dim = { 2, 32 } };
    lmf_view_set_dense(&v);
    for (int64_t k = 0; k < 64; k++)
        assert_float_equal(lmf_get(&v, k), k - 32, 0.2);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(device) = {
    { "opens by name", opens_by_name },
    { "counts and seals", counts_and_seals },
    { "null checks reads", null_checks_reads },
    { "elements", elements },
    { 0 }
};
