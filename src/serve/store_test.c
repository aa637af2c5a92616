/* SPDX-License-Identifier: Apache-2.0 */
/* Kept responses: what comes back, to whom, for how long; how many; files that are refused. */
#include "serve/store.h"
#include <stdio.h>
#include <string.h>
#include "test.h"

enum { DAY = 86400 };

static void keeps(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("responses.db");
    json_t *r = json_pack("{s:s}", "id", "resp_1"), *m = json_pack("[{s:s, s:s%}]", "role", "user", "content", "a\0b", (size_t)3);
    json_t *got, *talk;
    lmf_store *s;
    for (int in_file = 0; in_file < 2; in_file++) {
        assert_ok(ctx, lmf_store_open(ctx, in_file ? path : NULL, &s));
        assert_ok(ctx, lmf_store_put(s, "ada", "resp_1", 100, r, m));
        assert_int_equal(lmf_store_get(s, "bob", "resp_1", 100, &got, &talk), LMF_E_NOT_FOUND);
        assert_int_equal(lmf_store_get(s, "ada", "resp_2", 100, &got, &talk), LMF_E_NOT_FOUND);
        assert_int_equal(lmf_store_remove(s, "bob", "resp_1"), LMF_E_NOT_FOUND);
        if (in_file) {
            lmf_store_close(s);
            assert_ok(ctx, lmf_store_open(ctx, path, &s));
        }
        assert_ok(ctx, lmf_store_get(s, "ada", "resp_1", 100 + 30 * DAY, &got, &talk));
        assert_true(json_equal(got, r) && json_equal(talk, m));
        json_decref(got);
        json_decref(talk);
        assert_int_equal(lmf_store_get(s, "ada", "resp_1", 101 + 30 * DAY, &got, &talk), LMF_E_NOT_FOUND);
        assert_ok(ctx, lmf_store_remove(s, "ada", "resp_1"));
        assert_int_equal(lmf_store_get(s, "ada", "resp_1", 100, NULL, NULL), LMF_E_NOT_FOUND);
        lmf_store_close(s);
    }
    json_decref(r);
    json_decref(m);
    lmf_test_ctx_done(ctx);
}

/* The oldest go where there are too many, and what is too old goes with the next that comes. */
static void forgets(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *r = json_object(), *m = json_array();
    char id[32];
    lmf_store *s;
    assert_ok(ctx, lmf_store_open(ctx, NULL, &s));
    for (int i = 0; i < LMF_STORE_MAX + 1; i++) {
        snprintf(id, sizeof id, "resp_%d", i);
        assert_ok(ctx, lmf_store_put(s, "", id, i, r, m));
    }
    assert_int_equal(lmf_store_get(s, "", "resp_0", 0, NULL, NULL), LMF_E_NOT_FOUND);
    assert_ok(ctx, lmf_store_get(s, "", "resp_9999", 0, NULL, NULL));
    assert_ok(ctx, lmf_store_put(s, "", "late", 40 * DAY, r, m));
    assert_int_equal(lmf_store_get(s, "", "resp_9999", 0, NULL, NULL), LMF_E_NOT_FOUND);
    assert_ok(ctx, lmf_store_get(s, "", "late", 40 * DAY, NULL, NULL));
    lmf_store_close(s);
    json_decref(r);
    json_decref(m);
    lmf_test_ctx_done(ctx);
}

static void refuses(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("other.db");
    lmf_store *s;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 2000; i++)
        fputs("no data base ", f);
    fclose(f);
    assert_int_equal(lmf_store_open(ctx, path, &s), LMF_E_IO);
    assert_non_null(strstr(lmf_error(ctx), "not a database"));
    assert_int_equal(lmf_store_open(ctx, "/nowhere/at/all.db", &s), LMF_E_IO);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(store) = { { "keeps", keeps }, { "forgets", forgets }, { "refuses", refuses }, { 0 } };
