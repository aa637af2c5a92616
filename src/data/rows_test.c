/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/rows.h"
#include "test.h"
#include "text/template/template.h"

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
#define CALL "{\"role\": \"assistant\", \"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]}"
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
        json_t *row;
        assert_ok(ctx, lmf_row_get(&r, i, &row));
        assert_string_equal(json_string_value(json_object_get(row, "text")), want);
        json_decref(row);
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
        { "[1, 2]", "row 1: not a JSON object" },
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
        { ROW(U "," "{\"role\": \"robot\", \"content\": \"x\"}"), "message 2 has the unknown role \"robot\"; system, developer" },
        { ROW(U "," "{\"role\": \"a role that is longer than any role should ever be\", \"content\": \"x\"}"), "message 2 has the unknown role \"a role that is longe\"" },
        { ROW(U "," "{\"role\": \"assistant\"}"), "message 2 has no content" },
        { ROW(U "," "{\"role\": \"assistant\", \"content\": 7}"), "message 2: its content is a number; write it as text" },
        { ROW(U "," "{\"role\": \"assistant\", \"content\": {\"a\": 1}}"), "message 2: its content is an object; write it as text" },
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
    assert_refused(ctx, LMF_E_LIMIT, "row 1: ", lmf_rows_open(ctx, file_of(ctx, text, N), &r));
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

/* What a template sees of a row that was written in some other way. */
static void one_form(void **state)
{
    (void)state;
#define CALLS(a) "\"tool_calls\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"arguments\": " a "}}]"
#define MS(m) "{\"messages\": [" U ", " m "]}"
    static const struct { const char *given, *same; } rows[] = {
        { MS("{\"role\": \"assistant\", \"content\": null, " CALLS("{\"x\": 1}") "}"),
            MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("{\"x\": 1}") "}") },
        { MS("{\"role\": \"assistant\", \"content\": null}"), MS("{\"role\": \"assistant\", \"content\": \"\"}") },
        { MS("{\"role\": \"assistant\", " CALLS("{}") "}"), MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("{}") "}") },
        { MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("\"{\\\"x\\\": [\\\"\\u00e9\\\", 1]}\"") "}"),
            MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("{\"x\": [\"\u00e9\", 1]}") "}") },
        { MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("\" \"") "}"),
            MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("{}") "}") },
        { MS("{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": null, \"name\": null}"), MS(A) },
        { MS("{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": []}"), MS(A) },
        { MS("{\"role\": \"assistant\", \"content\": [\"a\", {\"text\": \"b\"}]}"),
            MS("{\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}") },
        { "{\"messages\": [" U "," A "], \"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\"}",
            "{\"messages\": [" U "," A "], \"tools\": [{\"name\": \"f\"}]}" },
        { "{\"messages\": [" U "," A "], \"tools\": [\"{\\\"name\\\": \\\"f\\\"}\"]}",
            "{\"messages\": [" U "," A "], \"tools\": [{\"name\": \"f\"}]}" },
        { "{\"messages\": [" U "," A "], \"tools\": null}", MS(A) }, { "{\"messages\": [" U "," A "], \"tools\": \"\"}", MS(A) },
            { "{\"messages\": [" U "," A "], \"tools\": []}", MS(A) },
        { "{\"messages\": \"[{\\\"role\\\": \\\"user\\\", \\\"content\\\": \\\"u\\\"}, {\\\"role\\\": \\\"assistant\\\", "
            "\\\"content\\\": \\\"a\\\"}]\"}", MS(A) },
        { "{\"id\": 13835058055282163712, \"text\": \"x\"}", "{\"id\": \"13835058055282163712\", \"text\": \"x\"}" },
        { "{\"id\": 1, \"n\": [-99999999999999999999, 1e300, 9223372036854775807, 0.1], \"text\": \"x\"}",
          "{\"id\": 1, \"n\": [\"" LMF_TEMPLATE_BIG "-99999999999999999999\", 1e300, 9223372036854775807, 0.1], \"text\": \"x\"}" },
        { MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("\"{\\\"x\\\": 18446744073709551616}\"") "}"), /* also in a text */
            MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("{\"x\": \"" LMF_TEMPLATE_BIG "18446744073709551616\"}") "}") },
        { "{\"images\": [], \"image\": null, \"videos\": \"\", \"text\": \"x\"}",
            "{\"images\": [], \"image\": null, \"videos\": \"\", \"text\": \"x\"}" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *got, *want = json_loads(rows[i].same, 0, NULL);
        assert_non_null(want);
        assert_ok(ctx, lmf_rows_open(ctx, file_of(ctx, rows[i].given, strlen(rows[i].given)), &r));
        assert_ok(ctx, lmf_row_get(&r, 0, &got));
        if (!json_equal(got, want))
            fail_msg("row %zu became %s", i, json_dumps(got, 0));
        json_decref(got);
        json_decref(want);
        lmf_rows_close(&r);
    }
    lmf_test_ctx_done(ctx);
}

static void refuses_forms(void **state)
{
    (void)state;
    static const struct { const char *text, *words; } rows[] = {
        { MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("\"Rome\"") "}"),
            "message 2: the arguments of tool call 1 are no JSON object" },
        { MS("{\"role\": \"assistant\", \"content\": \"\", " CALLS("[1]") "}"), "are no JSON object" },
        { MS("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{}]}"), "tool call 1 has no name" },
        { MS("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": \"f()\"}"), "is text that is no JSON list" },
        { "{\"messages\": [" U "," A "], \"tools\": \"f\"}", "\"tools\" is text that is no JSON list" },
        { "{\"messages\": [" U "," A "], \"tools\": [1]}", "\"tools\" is no list of objects" },
        { MS("{\"role\": \"assistant\", \"content\": [{\"type\": \"image_url\", \"image_url\": \"x\"}]}"),
            "a part of the type \"image_url\"" },
        { MS("{\"role\": \"assistant\", \"content\": [{\"type\": \"text\"}]}"), "part 1 of its content has no text" },
        { "{\"text\": \"a\\u0000b\"}", "U+0000" },
        { "{\"text\": \"a\", \"score\": NaN}", "no JSON: it holds the word NaN, which JSON does not have (character" },
        { "{\"text\": \"a\", \"score\": -Infinity}", "it holds the word Infinity" },
        { "{\"text\": \"a\", \"score\": 1e5x}", "it holds the word x" },
        { "{\"text\": \"NaN\", \"a\": None}", "it holds the word None" },
        { "{'text': \"a\"}", "single quotes" },
        { "{\"text\": \"it's\", }", "a comma stands before a closing bracket" },
        { "{\"text\": \"\\ud83d\\ude00 \\ud83d\"}", "\\ud83d is half of a character" },
        { "{\"text\": \"\\ude00\"}", "\\ude00 is half" },
        { "{\"text\": \"a\", \x01}", "it is not written as JSON is" },
        { "{\"text\": \"a\", \x1b[31}", "it is not written as JSON is" },
        { "{\"text\": \"a\", \"images\": [\"x.png\"]}", "the row has \"images\", and only text is learned" },
        { "{\"text\": \"a\", \"image\": {\"bytes\": null}}", "the row has \"image\"" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_refused(ctx, LMF_E_FORMAT, rows[i].words, lmf_rows_open(ctx, file_of(ctx, rows[i].text, strlen(rows[i].text)), &r));
        assert_true(!strstr(lmf_error(ctx), "JSON_") && !strchr(lmf_error(ctx), '\x1b') && !strchr(lmf_error(ctx), '\x01'));
    }
    lmf_test_ctx_done(ctx);
}

static void lists_and_spread_rows(void **state)
{
    (void)state;
    static const struct { const char *text; int64_t n, last; const char *words; } files[] = {
        { "[{\"text\": \"a\"}, {\"text\": \"b ] , } \\\" \"}\n,{\"text\": \"c\"}]\n", 3, 3, NULL },
            { "\xef\xbb\xbf{\"text\": \"a\"}\n{\"text\": \"b\"}", 2, 2, NULL },
        { "\xef\xbb\xbf [ {\"text\": \"a\"} ]", 1, 1, NULL }, { "{\n  \"text\": \"a\"\n}\n{ \"text\":\n \"b\" }\n", 2, 4, NULL },
        { "[]", 0, 0, "holds no rows" }, { "[{\"text\": \"a\"}", 0, 0, "the list of rows ends too early" },
            { "[{\"text\": \"a\"} {\"text\": \"b\"}]", 0, 0, "a comma is missing" },
        { "[{\"text\": \"a\"}] x", 0, 0, "something follows behind the list" }, { "[{\"text\": \"a\"},]", 0, 0, "row 2: no JSON" },
            { "[{\"text\": \"a\"}, {\"text\": 1}]", 0, 0, "row 2: a row has" },
        { "[{\"text\": \"a}]", 0, 0, "row 1: no JSON" }, { "{\n\"text\": \"a\"", 0, 0, "line 1: no JSON" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = file_of(ctx, files[i].text, strlen(files[i].text));
        if (files[i].words) {
            assert_refused(ctx, LMF_E_FORMAT, files[i].words, lmf_rows_open(ctx, path, &r));
            continue;
        }
        assert_ok(ctx, lmf_rows_open(ctx, path, &r));
        assert_int_equal(r.n, files[i].n);
        assert_int_equal(r.items[r.n - 1].line, files[i].last);
        lmf_rows_close(&r);
    }
    lmf_test_ctx_done(ctx);
}

static void bad_rows_are_counted(void **state)
{
    (void)state;
    static const char text[] = "{\"text\": \"a\"}\nno\n{\"text\": \"b\"}\n{}\n";
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    assert_ok(ctx, lmf_rows_open_with(ctx, file_of(ctx, text, sizeof text - 1), true, &r));
    assert_int_equal(r.n, 2);
    assert_int_equal(r.n_bad, 2);
    assert_int_equal(r.items[1].line, 3);
    assert_non_null(strstr(r.first_bad, "line 2: no JSON"));
    lmf_rows_close(&r);
    assert_refused(ctx, LMF_E_FORMAT, "none of its 1 rows can be used. The first: ", lmf_rows_open_with(ctx, file_of(ctx, "{}", 2),
        true, &r));
    lmf_test_ctx_done(ctx);
}

/* Values take a hundred bytes each: a file may not ask for more than a row's worth at once. */
static void values_are_bounded(void **state)
{
    (void)state;
    enum { N = LMF_ROW_MAX_VALUES };
    static char text[3 * N + 64];
    char *p = stpcpy(text, "{\"text\": \"a\", \"x\": [[]");
    for (int i = 0; i < N; i++)
        p = stpcpy(p, ",[]");
    p = stpcpy(p, "]}");
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows r;
    assert_refused(ctx, LMF_E_LIMIT, "line 1: the row holds ", lmf_rows_open(ctx, file_of(ctx, text, (size_t)(p - text)), &r));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(rows) = { { "one form of many", one_form }, { "forms that are refused", refuses_forms }, { "lists, rows over lines, marks",
    lists_and_spread_rows },
                    { "bad rows left out and counted", bad_rows_are_counted }, { "values of a row are bounded", values_are_bounded },
                        { "all shapes, blank lines, line numbers", reads_all_shapes }, { "a thousand rows", grows },
                            { "refusals name file and line", refuses },
                    { "deep nesting", deep }, { "each call fails once", each_call_fails }, { 0 } };
