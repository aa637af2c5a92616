/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/engine_impl.h"
#include "test.h"

static void counts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_pages p;
    assert_ok(ctx, lmf__pages_init(&p, ctx, 4));
    assert_true(lmf__pages_reserve(&p, 3));
    assert_false(lmf__pages_reserve(&p, 2));
    assert_true(lmf__pages_reserve(&p, 1));
    int32_t a = lmf__pages_take(&p), b = lmf__pages_take(&p);
    assert_true(a != b && a >= 0 && a < 4 && b >= 0 && b < 4 && p.n_free == 2 && p.n_reserved == 2);
    lmf__pages_unreserve(&p, 1);
    assert_true(lmf__pages_reserve(&p, 1));
    assert_false(lmf__pages_reserve(&p, 1));
    lmf__pages_retain(&p, a);
    lmf__pages_release(&p, a);
    assert_int_equal(p.n_free, 2); /* still held once */
    lmf__pages_release(&p, a);
    lmf__pages_release(&p, b);
    assert_int_equal(p.n_free, 4);
    lmf__pages_unreserve(&p, 2);
    assert_int_equal(p.n_reserved, 0);
    lmf__pages_clear(&p, ctx);
    lmf_test_ctx_done(ctx);
}

static void every_page_once(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_pages p;
    bool seen[100] = { false };
    assert_ok(ctx, lmf__pages_init(&p, ctx, 100));
    assert_true(lmf__pages_reserve(&p, 100));
    for (int i = 0; i < 100; i++) {
        int32_t page = lmf__pages_take(&p);
        assert_false(seen[page]);
        seen[page] = true;
    }
    assert_false(lmf__pages_reserve(&p, 1));
    lmf__pages_clear(&p, ctx);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(cache) = { { "free, promised and shared pages are counted", counts }, { "every page is given once", every_page_once }, { 0 } };
