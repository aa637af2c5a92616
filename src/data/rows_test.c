/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/rows.h"
#include "test.h"

static const char *file_of(lmf_ctx *ctx, const char *text, size_t n)
{
    const char *path = lmf_test_path("rows.jsonl");
    assert_ok(ctx, lmf_file_write(ctx, path, text, n));
    return path;
}

#define U "{\"role\": \"user\", \"content\": \"u\"}"
#define A "{\"role\": \"assistant\", \"content\": \"a\"}"
#define S "{\"role\": \"system\", \"content\": \"s\"}"
#define T "{\"role\": \"tool\", \"content\": \"t\"}"
#define CALL "{\"role\": \"assistant\", \"tool_calls\": [{\"type\": \"function\"}]}"
#define ROW(...) "{\"messages\": [" __VA_ARGS__ "]}\n"

static void reads_all_shapes(void **state)
{
    (void)state;
    static const char text[] = ROW(U "," A) "\n  \t\r\n" ROW(S "," U "," A "," U "," A) "{\"prompt\": \"p\", \"completion\": \"c\"}\r\n" ROW(U "," CALL "," T "," T "," A)
        "{\"text\": \"t\", \"more\": [1, {\"x\": null}]}";
    static const int64_t lines[] = { 1, 4, 5, 6, 7 };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    assert_ok(ctx, lmf_rows_open(ctx, file_of(ctx, text, sizeof text - 1), &r));
    assert_int_equal(r.n, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(r.items[i].line, lines[i]);
    assert_int_equal(strlen(r.sha256), 64);
    lmf_rows_close(&r);
    lmf_rows_close(&r);
    lmf_test_ctx_done(ctx);
}

static void grows(void **state)
{
    (void)state;
    enum { N = 1000 };
    static char text[N * 16];
    size_t n = 0;
    for (int i = 0; i < N; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "{\"text\": \"%d\"}\n", i);
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    char want[8];
    assert_ok(ctx, lmf_rows_open(ctx, file_of(ctx, text, n), &r));
    assert_int_equal(r.n, N);
    for (int i = 0; i < N; i++) {
        snprintf(want, sizeof want, "%d", i);
        assert_string_equal(json_string_value(json_object_get(r.items[i].json, "text")), want);
    }
    lmf_rows_close(&r);
    lmf_test_ctx_done(ctx);
}

static void refuses(void **state)
{
    (void)state;
    static const struct { const char *text, *words; } cases[] = {
        { "", "holds no rows" },
        { "\n \n", "holds no rows" },
        { "{\"text\": \"x\"}\nnot json\n", "line 2: no JSON" },
        { "{\"text\": \"x\"}\n\n{\"text\": \n", "line 3: no JSON" },
        { "{\"text\": \"x\", \"text\": \"y\"}", "line 1: no JSON: duplicate" },
        { "{\"text\": \"\xff\"}", "line 1: no JSON" },
        { "{\"text\": \"x\"} trailing", "line 1: no JSON" },
        { "[1, 2]", "line 1: not a JSON object" },
        { "\"text\"", "line 1: " },
        { "{}", "line 1: a row has" },
        { "{\"text\": 3}", "line 1: a row has" },
        { "{\"prompt\": \"p\"}", "line 1: a row has" },
        { "{\"prompt\": \"p\", \"completion\": null}", "line 1: a row has" },
        { "{\"messages\": []}", "line 1: \"messages\" is not a list" },
        { "{\"messages\": \"hello\"}", "line 1: \"messages\" is not a list" },
        { "{\"messages\": {\"role\": \"user\"}}", "line 1: \"messages\" is not a list" },
        { ROW("3"), "message 1 has no role" },
        { ROW("{\"role\": 3}"), "message 1 has no role" },
        { ROW(U), "no message is the assistant's" },
        { ROW(A), "message 1 has the role \"assistant\" after the start" },
        { ROW(T "," A), "message 1 has the role \"tool\" after the start" },
        { ROW(U "," U "," A), "message 2 has the role \"user\" after user" },
        { ROW(U "," A "," A), "message 3 has the role \"assistant\" after assistant" },
        { ROW(U "," S "," A), "message 2 has the role \"system\" after user" },
        { ROW(U "," T "," A), "message 2 has the role \"tool\" after user" },
        { ROW(U "," "{\"role\": \"robot\", \"content\": \"x\"}"), "message 2 has the role \"robot\" after user" },
        { ROW(U "," "{\"role\": \"a role that is longer than any role should ever be\", \"content\": \"x\"}"), "message 2 has the role \"a role that is longe\"" },
        { ROW(U "," "{\"role\": \"assistant\"}"), "message 2 has no content" },
        { ROW(U "," "{\"role\": \"assistant\", \"content\": 7}"), "message 2 has no content" },
        { ROW(U "," "{\"role\": \"assistant\", \"content\": null}"), "message 2 has no content" },
        { ROW(U "," A) ROW(U), "line 2: no message" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = file_of(ctx, cases[i].text, strlen(cases[i].text));
        assert_refused(ctx, LMF_E_FORMAT, cases[i].words, lmf_rows_open(ctx, path, &r));
        assert_non_null(strstr(lmf_error(ctx), path));
        assert_true(r.n == 0 && !r.items && !r.path);
    }
    assert_refused(ctx, LMF_E_FORMAT, "no JSON", lmf_rows_open(ctx, file_of(ctx, "{\"text\": \"a\0b\"}", 15), &r));
    assert_refused(ctx, LMF_E_NOT_FOUND, "nowhere.jsonl", lmf_rows_open(ctx, lmf_test_path("nowhere.jsonl"), &r));
    lmf_test_ctx_done(ctx);
}

/* Nested past the parser's depth: a refusal, no overflow. */
static void deep(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static char text[N];
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    memset(text, '[', N);
    assert_refused(ctx, LMF_E_FORMAT, "line 1: no JSON", lmf_rows_open(ctx, file_of(ctx, text, N), &r));
    lmf_test_ctx_done(ctx);
}

static lmf_status open_all(lmf_ctx *ctx, void *arg)
{
    lmf_rows r;
    LMF_TRY(lmf_rows_open(ctx, arg, &r));
    lmf_rows_close(&r);
    return LMF_OK;
}

static void each_call_fails(void **state)
{
    (void)state;
    static const char text[] = ROW(U "," A) ROW(U "," A);
    lmf_ctx *ctx = lmf_test_ctx();
    char path[512];
    snprintf(path, sizeof path, "%s", file_of(ctx, text, sizeof text - 1));
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(open_all, path) >= 4);
}

LMF_TESTS(rows) = { { "all shapes, blank lines, line numbers", reads_all_shapes }, { "a thousand rows", grows }, { "refusals name file and line", refuses },
                    { "deep nesting", deep }, { "each call fails once", each_call_fails }, { 0 } };
