/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/engine_impl.h"
#include "test.h"

static void counts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_pages p;
    assert_ok(ctx, lmf__pages_init(&p, ctx, 4, 2, false));
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
    assert_ok(ctx, lmf__pages_init(&p, ctx, 100, 1, false));
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

static void keep(lmf_pages *p, lmf_prefix_space space, int32_t parent, int32_t page, int32_t a, int32_t want)
{
    assert_int_equal(lmf__prefix_keep(p, space, parent, page, (int32_t[]){ a, a + 1 }), want);
}

/* Pages 1 2 3 under one text, and what may be found of it, taken away, or found to be there already. */
static void kept_pages(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_pages p;
    lmf_prefix_space base = { -1, 0 }, other = { 0, 0 }, salted = { -1, 5 };
    int32_t page[6];
    assert_ok(ctx, lmf__pages_init(&p, ctx, 6, 2, true));
    assert_true(lmf__pages_reserve(&p, 4));
    for (int i = 0; i < 4; i++)
        page[i] = lmf__pages_take(&p);
    keep(&p, base, -1, page[0], 10, page[0]);
    keep(&p, base, page[0], page[1], 20, page[1]);
    keep(&p, base, page[0], page[2], 20, page[1]); /* somebody else computed the same: the second copy goes */
    assert_true(p.n_free == 3 && p.refs[page[1]] == 2 && p.refs[page[2]] == 0);
    keep(&p, base, page[1], page[3], 30, page[3]);
    assert_int_equal(lmf__prefix_find(&p, base, -1, (int32_t[]){ 10, 11 }), page[0]);
    assert_int_equal(lmf__prefix_find(&p, base, -1, (int32_t[]){ 20, 21 }), -1); /* it stands behind another page */
    assert_int_equal(lmf__prefix_find(&p, other, -1, (int32_t[]){ 10, 11 }), -1);
    assert_int_equal(lmf__prefix_find(&p, salted, -1, (int32_t[]){ 10, 11 }), -1);
    lmf__pages_release(&p, page[1]);
    for (int i = 3; i >= 0; i--)
        if (i != 2)
            lmf__pages_release(&p, page[i]);
    assert_int_equal(p.n_free, 6); /* all may be had, and all are found still */
    assert_int_equal(lmf__prefix_find(&p, base, page[1], (int32_t[]){ 30, 31 }), page[3]);
    lmf__pages_retain(&p, page[0]);
    assert_int_equal(p.n_free, 5);
    assert_true(lmf__pages_reserve(&p, 5));
    assert_false(lmf__pages_reserve(&p, 1));
    for (int i = 0; i < 4; i++) /* three that are plain, then the end of the text */
        lmf__pages_take(&p);
    assert_int_equal(lmf__prefix_find(&p, base, page[1], (int32_t[]){ 30, 31 }), -1);
    assert_int_equal(lmf__prefix_find(&p, base, page[0], (int32_t[]){ 20, 21 }), page[1]);
    assert_int_equal(lmf__pages_take(&p), page[1]);
    assert_int_equal(lmf__prefix_find(&p, base, -1, (int32_t[]){ 10, 11 }), page[0]); /* it is held */
    lmf__prefix_forget(&p, 0);
    assert_true(lmf__page_is_kept(&p, page[0]));
    lmf__prefix_forget(&p, -1);
    assert_false(lmf__page_is_kept(&p, page[0]));
    lmf__pages_release(&p, page[0]);
    assert_true(p.n_free == 1 && p.n_list == 1);
    lmf__pages_clear(&p, ctx);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(cache) = { { "kept pages are found, shared and given up from the end", kept_pages },
                     { "free, promised and shared pages are counted", counts }, { "every page is given once", every_page_once }, { 0 } };
