/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: files that are taken and such that are refused, with the sentence; limits under a clock of the test's. */
#include <stdio.h>
#include <string.h>
#include "serve/tenant.h"
#include "test.h"

#define H "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8" /* of "password" */
#define G "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" /* of "secret" */
#define KEYS(entries) "{\"keys\": [" entries "]}"
#define ENTRY(name, hash, more) "{\"name\": \"" name "\", \"sha256\": \"" hash "\"" more "}"
#define ONE(more) KEYS(ENTRY("a", H, ", " more))

static const char *file(const char *text)
{
    const char *path = lmf_test_path("keys.json");
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

static void files(void **state)
{
    static const struct { const char *text, *says; } rows[] = {
        { KEYS(""), "1 to" }, { "{}", "keys" }, { "[]", "" }, { "{\"keys\": [" ENTRY("a", H, "") "], \"x\": 1}", "nothing else" },
        { KEYS("1"), "keys[0] must have a name" }, { KEYS("{\"sha256\": \"" H "\"}"), "name" }, { KEYS(ENTRY("a b", H, "")), "letters" },
        { KEYS(ENTRY("a\\\"", H, "")), "letters" }, { KEYS(ENTRY("a", "password", "")), "sha256sum" },
        { ONE("\"key\": \"x\""), "not known" }, { KEYS(ENTRY("a", H, "") "," ENTRY("b", H, "")), "keys[1] has the name or the hash" },
        { KEYS(ENTRY("a", H, "") "," ENTRY("a", G, "")), "keys[1] has the name or the hash" },
        { ONE("\"requests_per_minute\": 0"), "requests_per_minute" }, { ONE("\"concurrent_requests\": 1.5"), "concurrent_requests" },
        { ONE("\"tokens_per_day\": \"9\""), "tokens_per_day" }, { ONE("\"models\": []"), "not empty" }, { ONE("\"models\": [1]"), "names" },
        { ONE("\"metrics\": 1"), "true or false" } };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_tenants all;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_status s = lmf__tenants_open(&all, ctx, NULL, file(rows[i].text));
        if (!s || !strstr(lmf_error(ctx), rows[i].says))
            fail_msg("%s: %s", rows[i].text, s ? lmf_error(ctx) : "taken");
        lmf__tenants_close(&all);
    }
    assert_int_equal(lmf__tenants_open(&all, ctx, "password", "x"), LMF_E_ARG);
    lmf__tenants_close(&all);
    assert_int_equal(lmf__tenants_open(&all, ctx, "short", NULL), LMF_E_ARG);
    lmf__tenants_close(&all);
    lmf_test_ctx_done(ctx);
}

static void finds(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_tenants all;
    const char *two = KEYS(ENTRY("a", H, "") "," ENTRY("b", G, ", \"models\": [\"m\"], \"metrics\": true"));
    assert_ok(ctx, lmf__tenants_open(&all, ctx, NULL, file(two)));
    lmf_tenant *a = lmf__tenants_find(&all, "password"), *b = lmf__tenants_find(&all, "secret");
    assert_true(a && b && strcmp(a->name, "a") == 0 && strcmp(b->name, "b") == 0 && a->salt != b->salt);
    assert_true(!a->metrics && b->metrics && lmf__tenant_may_use(a, "other") && lmf__tenant_may_use(b, "m"));
    assert_false(lmf__tenant_may_use(b, "other"));
    assert_null(lmf__tenants_find(&all, ""));
    assert_null(lmf__tenants_find(&all, "Password"));
    assert_null(lmf__tenants_find(&all, H));
    lmf__tenants_close(&all);
    assert_ok(ctx, lmf__tenants_open(&all, ctx, "password", NULL));
    assert_ptr_equal(lmf__tenants_find(&all, "password"), &all.of[0]);
    lmf__tenants_close(&all);
    lmf_test_ctx_done(ctx);
}

static void limits(void **state)
{
    (void)state;
    lmf_tenant t = { .per_minute = 3, .allowance = 3, .most_live = 2, .tok_per_day = 100 };
    lmf_fault f = { 0 };
    const int64_t s = 1000000, day = 20000 * 86400;
    assert_true(lmf__tenant_begin(&t, 1 * s, day, &f) && lmf__tenant_begin(&t, 1 * s, day, &f));
    assert_false(lmf__tenant_begin(&t, 1 * s, day, &f)); /* two run */
    assert_true(f.status == 429 && f.retry_s == 1 && strstr(f.message, "at once"));
    lmf__tenant_end(&t);
    assert_true(lmf__tenant_begin(&t, 1 * s, day, &f));
    lmf__tenant_end(&t);
    assert_false(lmf__tenant_begin(&t, 2 * s, day + 1, &f)); /* three in this minute; the next in 19 s */
    assert_true(f.retry_s >= 19 && f.retry_s <= 20 && strstr(f.message, "minute"));
    assert_false(lmf__tenant_begin(&t, 20 * s, day + 19, &f));
    assert_true(lmf__tenant_begin(&t, 21 * s + 1000, day + 20, &f));
    lmf__tenant_end(&t);
    lmf__tenant_end(&t);
    lmf__tenant_count(&t, day + 20, 60, 0);
    assert_true(lmf__tenant_begin(&t, 600 * s, day + 600, &f));
    lmf__tenant_count(&t, day + 600, 0, 40);
    lmf__tenant_end(&t);
    assert_false(lmf__tenant_begin(&t, 601 * s, day + 601, &f));
    assert_true(f.retry_s == 86400 - 601 && strstr(f.message, "day"));
    assert_true(lmf__tenant_begin(&t, 86400 * s, day + 86400, &f)); /* the next */
    assert_true(t.n_requests == 6 && t.n_refused == 4 && t.n_prompt_tok == 60 && t.n_answer_tok == 40 && t.n_live == 1);
}

LMF_TESTS(tenant) = { { "files of keys, and what they must not hold", files }, { "a key is its tenant's alone", finds },
    { "requests at once, a minute, tokens a day", limits }, { 0 } };
