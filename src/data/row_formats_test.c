/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/rows.h"
#include "test.h"

static const char *write_as(lmf_ctx *ctx, const char *name, const char *text)
{
    const char *path = lmf_test_path(name);
    assert_ok(ctx, lmf_file_write(ctx, path, text, strlen(text)));
    return path;
}

/* Row i of a file, as JSON with sorted keys. */
static void expect_row(const char *name, const char *text, const lmf_rows_opts *opts, int64_t i, const char *want)
{
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows rows;
    json_t *row;
    assert_ok(ctx, lmf_rows_open_as(ctx, write_as(ctx, name, text), opts, &rows));
    assert_ok(ctx, lmf_row_get(&rows, i, &row));
    char *got = json_dumps(row, JSON_SORT_KEYS | JSON_COMPACT);
    assert_string_equal(got, want);
    free(got);
    json_decref(row);
    lmf_rows_close(&rows);
    lmf_test_ctx_done(ctx);
}

#define U(text) "{\"content\":\"" text "\",\"role\":\"user\"}"
#define A(text) "{\"content\":\"" text "\",\"role\":\"assistant\"}"
#define S(text) "{\"content\":\"" text "\",\"role\":\"system\"}"

static void formats(void **state)
{
    (void)state;
    static const lmf_rows_opts o;
    static const struct { const char *row, *want; } rows[] = {
        /* LLaMA-Factory's data/README: instruction and input are joined by a line feed; history comes first */
        { "{\"instruction\": \"Add\", \"input\": \"1 2\", \"output\": \"3\"}", "{\"messages\":[" U("Add\\n1 2") "," A("3") "]}" },
        { "{\"instruction\": \"Hi\", \"input\": \"\", \"output\": \"Ho\"}", "{\"messages\":[" U("Hi") "," A("Ho") "]}" },
        { "{\"instruction\": \"Hi\", \"output\": \"Ho\", \"input\": null}", "{\"messages\":[" U("Hi") "," A("Ho") "]}" },
        { "{\"instruction\": \"\", \"input\": \"x\", \"output\": \"y\"}", "{\"messages\":[" U("x") "," A("y") "]}" },
        { "{\"system\": \"Be\", \"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"q\", \"r\"], [\"s\", \"t\"]]}",
          "{\"messages\":[" S("Be") "," U("q") "," A("r") "," U("s") "," A("t") "," U("a") "," A("b") "]}" },
        { "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}",
          "{\"messages\":[" U("a") "," A("b") "]}" },
        { "{\"system\": \"Be\", \"conversations\": [{\"role\": \"user\", \"content\": \"a\"}, {\"from\": \"chatgpt\", \"value\": \"b\", "
          "\"weight\": 1}]}", "{\"messages\":[" S("Be") "," U("a") "," A("b") "]}" },
        { "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\", \"weight\": 0}, "
          "{\"from\": \"human\", \"value\": \"c\"}, {\"from\": \"gpt\", \"value\": \"d\"}]}",
          "{\"messages\":[" U("a") ",{\"content\":\"b\",\"role\":\"assistant\",\"weight\":0}," U("c") "," A("d") "]}" },
        { "{\"conversations\": \"[{\\\"from\\\": \\\"human\\\", \\\"value\\\": \\\"a\\\"}, {\\\"from\\\": \\\"gpt\\\", \\\"value\\\": "
          "\\\"b\\\"}]\"}", "{\"messages\":[" U("a") "," A("b") "]}" },
        { "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"function_call\", \"value\": \"{\\\"name\\\": "
            "\\\"f\\\", "
          "\\\"arguments\\\": {\\\"x\\\": 1}}\"}, {\"from\": \"observation\", \"value\": \"7\"}, {\"from\": \"gpt\", \"value\": \"b\"}], "
          "\"tools\": \"[{\\\"name\\\": \\\"f\\\"}]\"}",
          "{\"messages\":[" U("a") ",{\"content\":\"\",\"role\":\"assistant\",\"tool_calls\":[{\"arguments\":{\"x\":1},\"name\":\"f\"}]},"
          "{\"content\":\"7\",\"role\":\"tool\"}," A("b") "],\"tools\":[{\"name\":\"f\"}]}" },
        { "{\"segments\": [{\"text\": \"a\", \"label\": false}, {\"text\": \"b\", \"label\": true}]}",
          "{\"segments\":[{\"label\":false,\"text\":\"a\"},{\"label\":true,\"text\":\"b\"}]}" },
        /* the known forms win: their keys are not a format's */
        { "{\"messages\": [" U("m") "," A("n") "], \"instruction\": \"a\", \"output\": \"b\"}",
          "{\"instruction\":\"a\",\"messages\":[" U("m") "," A("n") "],\"output\":\"b\"}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        expect_row("rows.jsonl", rows[i].row, &o, 0, rows[i].want);
}

static void renamed(void **state)
{
    (void)state;
    lmf_rows_opts o = { .n_renames = 2, .rename = { { "instruction", "question" }, { "output", "answer" } } };
    expect_row("rows.jsonl", "{\"question\": \"a\", \"answer\": \"b\", \"id\": 3}", &o, 0,
        "{\"id\":3,\"messages\":[" U("a") "," A("b") "]}");
    o = (lmf_rows_opts){ .n_renames = 1, .rename = { { "text", "content" } } };
    expect_row("rows.csv", "content\nabc\n", &o, 0, "{\"text\":\"abc\"}");
}

static void refused(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *words; } rows[] = {
        { "r.jsonl", "{\"foo\": 1, \"bar\": 2}", "line 1: a row has \"messages\"" },
        { "r.jsonl", "{\"foo\": 1, \"bar\": 2}", "sharegpt (conversations of turns from human and gpt). This one has the keys foo, bar" },
        { "r.jsonl", "{\"instruction\": \"a\", \"output\": \"b\", \"history\": \"x\"}", "line 1: \"history\" is no list of pairs" },
        { "r.jsonl", "{\"instruction\": \"a\", \"output\": \"b\", \"history\": [[\"x\"]]}", "entry 1 of \"history\" is no pair" },
        { "r.jsonl", "{\"conversations\": [{\"from\": \"alien\", \"value\": \"a\"}]}", "turn 1 is from \"alien\"; known are human, gpt" },
        { "r.jsonl", "{\"conversations\": [{\"from\": \"human\"}]}", "turn 1 has no \"from\" or no \"value\"" },
        { "r.jsonl", "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"function_call\", \"value\": \"call "
            "me\"}]}",
          "turn 2 is a function_call whose value is no call in JSON" },
        { "r.jsonl", "{\"conversations\": \"nothing\"}", "\"conversations\" is no list of turns" },
        { "r.jsonl", "{\"conversations\": [{\"from\": \"gpt\", \"value\": \"a\"}]}",
            "message 1 has the role \"assistant\" after the start" },
        { "r.jsonl", "{\"segments\": 3}", "\"segments\" is no list" },
        { "r.jsonl", "{\"segments\": [{\"text\": \"a\"}]}", "segment 1 has no \"text\", or no \"label\" that is true or false" },
        { "r.jsonl", "{\"segments\": [{\"text\": \"a\", \"label\": false}]}", "no segment has the label true: there is nothing to learn" },
        { "r.csv", "text\n\"a\nb\n", "r.csv, line 2: a quote opens here and does not close" },
        { "r.csv", "text\n\"a\" b\n", "r.csv, line 2: something follows behind a closing quote" },
        { "r.csv", "prompt,completion\na,b\nc\n", "r.csv, line 3: 1 fields, where the first line has 2 names (parted by \",\")" },
        { "r.csv", "prompt,completion\n\"a\nb\",c\nd\n", "r.csv, line 4: 1 fields" }, /* a field of two lines */
        { "r.csv", "prompt;completion\na;b;c\n", "r.csv, line 2: 3 fields, where the first line has 2 names (parted by \";\")" },
        { "r.csv", "text,text\na,b\n", "record 1: no JSON: duplicate key" },
        { "r.csv", "name,age\nx,3\n", "record 1: a row has \"messages\"" },
        { "r.csv", "text\n\xff\n", "record 1: no JSON: it holds bytes that are not UTF-8" },
        { "r.csv", "text\n", "holds no rows" },
        { "r.txt", " \n\n\t\n", "holds no rows" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_rows r;
        lmf_status s = lmf_rows_open(ctx, write_as(ctx, rows[i].name, rows[i].text), &r);
        if (s != LMF_E_FORMAT || !strstr(lmf_error(ctx), rows[i].words))
            fail_msg("%s gives \"%s\", not \"%s\"", rows[i].text, s ? lmf_error(ctx) : "success", rows[i].words);
        lmf_test_ctx_done(ctx);
    }
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rows_opts o = { .n_renames = 1, .rename = { { "instruction", "question" } } };
    lmf_rows r;
    assert_refused(ctx, LMF_E_FORMAT, "the row has no key \"question\", which is to be its \"instruction\"",
                   lmf_rows_open_as(ctx, write_as(ctx, "r.jsonl", "{\"text\": \"a\"}"), &o, &r));
    o = (lmf_rows_opts){ .format = lmf_row_format_find(ctx->tables, "alpaca") };
    assert_refused(ctx, LMF_E_FORMAT, "a row of the format alpaca has the texts \"instruction\" and \"output\"",
                   lmf_rows_open_as(ctx, write_as(ctx, "r.jsonl", "{\"text\": \"a\"}"), &o, &r));
    lmf_test_ctx_done(ctx);
}

/* RFC 4180, and what spreadsheets make of it. Records are numbered without the line of names. */
static void tables(void **state)
{
    (void)state;
    static const lmf_rows_opts o;
    expect_row("t.csv", "prompt,completion\r\na,\"b, \"\"c\"\"\nd\"\r\n\r\n e ,\r\n", &o, 0,
        "{\"completion\":\"b, \\\"c\\\"\\nd\",\"prompt\":\"a\"}");
    expect_row("t.csv", "prompt,completion\r\na,\"b, \"\"c\"\"\nd\"\r\n\r\n e ,\r\n", &o, 1, "{\"completion\":\"\",\"prompt\":\" e \"}");
    expect_row("t.csv", "\xef\xbb\xbf" "prompt;completion\na,x;b", &o, 0, "{\"completion\":\"b\",\"prompt\":\"a,x\"}");
    expect_row("t.tsv", "prompt\tcompletion\na\tb\n", &o, 0, "{\"completion\":\"b\",\"prompt\":\"a\"}");
    expect_row("t.csv", "\"te\"\"xt\",text\nx,\"\"\"\"\n", &o, 0, "{\"te\\\"xt\":\"x\",\"text\":\"\\\"\"}");
    expect_row("t.csv", "messages\n\"[{\"\"role\"\": \"\"user\"\", \"\"content\"\": \"\"a\"\"}, {\"\"role\"\": \"\"assistant\"\", "
        "\"\"content\"\": "
               "\"\"b\"\"}]\"\n", &o, 0, "{\"messages\":[" U("a") "," A("b") "]}");
}

static void plain_text(void **state)
{
    (void)state;
    static const char text[] = "One\ntwo \"x\"\\\n \n\nThree\r\n\n\nFour";
    lmf_rows_opts o = { 0 };
    expect_row("p.txt", text, &o, 0, "{\"text\":\"One\\ntwo \\\"x\\\"\\\\\\n \\n\\nThree\\r\\n\\n\\nFour\"}");
    o.split = LMF_SPLIT_LINES;
    expect_row("p.txt", text, &o, 1, "{\"text\":\"two \\\"x\\\"\\\\\"}");
    expect_row("p.txt", text, &o, 2, "{\"text\":\"Three\"}");
    expect_row("p.txt", text, &o, 3, "{\"text\":\"Four\"}");
    o.split = LMF_SPLIT_PARAGRAPHS;
    expect_row("p.md", text, &o, 0, "{\"text\":\"One\\ntwo \\\"x\\\"\\\\\"}");
    expect_row("p.md", text, &o, 1, "{\"text\":\"Three\"}");
    expect_row("p.md", text, &o, 2, "{\"text\":\"Four\"}");
}

static lmf_status sweep(lmf_ctx *ctx, void *arg)
{
    lmf_rows rows;
    lmf_status s = lmf_rows_open(ctx, arg, &rows);
    lmf_rows_close(&rows);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[512];
    snprintf(path, sizeof path, "%s", write_as(ctx, "t.csv", "prompt,completion\na,b\nc,d\n"));
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(sweep, path) > 5);
}

LMF_TESTS(row_formats) = {
    { "Alpaca, ShareGPT, segments", formats },
    { "keys under other names", renamed },
    { "refused", refused },
    { "tables", tables },
    { "plain text", plain_text },
    { "each call fails once", each_call_fails },
    { 0 }
};
