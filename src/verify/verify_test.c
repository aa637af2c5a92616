/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/verify.h"
#include <math.h>
#include <string.h>
#include "test.h"
#include "verify/final.h"

typedef struct scored { const char *spec, *row, *reference, *answer; double score; int n_tok; } scored;

static void check_all(const scored *rows, size_t n)
{
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < n; i++) {
        lmf_rewards *r;
        double score = NAN, total;
        json_t *row = json_loads(rows[i].row ? rows[i].row : "{}", 0, NULL);
        assert_non_null(row);
        assert_ok(ctx, lmf_rewards_open(ctx, &rows[i].spec, 1, NULL, &r));
        lmf_verify_in in = { .row = row, .reference = rows[i].reference, .text = rows[i].answer, .n = strlen(rows[i].answer),
                             .n_tok = rows[i].n_tok };
        assert_ok(ctx, lmf_rewards_score(r, &in, &score, &total));
        if (score != rows[i].score)
            fail_msg("%s: \"%s\" for \"%s\" gets %g, not %g", rows[i].spec, rows[i].answer,
                rows[i].reference ? rows[i].reference : "nothing",
                     score, rows[i].score);
        lmf_rewards_close(r);
        json_decref(row);
    }
    lmf_test_ctx_done(ctx);
}
#define CHECK(rows) check_all(rows, sizeof(rows) / sizeof *(rows))

static void numbers(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "number", NULL, "7", "7", 1 }, { "number", NULL, "7", "The answer is 7.", 1 }, { "number", NULL, "7", "7 apples, no: 8", 0 },
        { "number", NULL, "7", "", 0 }, { "number", NULL, "7", "seven", 0 }, { "number", NULL, "-7", "it is -7", 1 },
        { "number", NULL, "7", "10-7", 1 }, { "number", NULL, "-7", "10-7", 0 }, { "number", NULL, "-7", "(3)-7", 0 },
        { "number", NULL, "1234.5", "$1,234.50", 1 }, { "number", NULL, "3", "1, 2, 3", 1 }, { "number", NULL, "1234", "12,34", 0 },
        { "number", NULL, "0.1", ".1", 1 }, { "number", NULL, "1e3", "1000", 1 }, { "number", NULL, "1000", "1E+3", 1 },
        { "number", NULL, "He has 3, then 5.\n#### 8", "2 + 6\n#### 8 apples of 10", 1 }, { "number", NULL, "8", "#### 9 #### 8", 1 },
        { "number", NULL, "8", "so \\boxed{8}, of 12", 1 }, { "number", NULL, "12", "so \\boxed{8}, of 12", 0 },
        { "number", NULL, "2", "2.", 1 }, { "number", NULL, "9007199254740993", "9007199254740992", 1 },
        { "number", NULL, "1", "1111111111111111111111111111111111111111111111111111111111111111111111111111111111", 0 },
    };
    CHECK(rows);
}

static void texts(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "exact", NULL, "Paris", " paris.\n", 1 }, { "exact", NULL, "New  York", "new york", 1 },
        { "exact", NULL, "New York", "newyork", 0 },
        { "exact", NULL, "a", "ab", 0 }, { "exact", NULL, "ab", "a", 0 }, { "exact", NULL, "", "", 1 }, { "exact", NULL, "3.5", "35", 0 },
        { "exact", NULL, "yes", "Yes!", 1 }, { "exact", NULL, "Why?", "why", 1 }, { "exact", NULL, "yes", "yes;", 0 },
        { "regex:^[0-9]+$", NULL, NULL, "42", 1 }, { "regex:^[0-9]+$", NULL, NULL, "42.", 0 }, { "regex:a|b", NULL, NULL, "cb", 1 },
        { "regex:x=1=1", NULL, NULL, "x=1", 1 }, { "regex:a=b", NULL, NULL, "a=b", 1 },
        { "format", NULL, NULL, "<think>hm</think> 7", 1 }, { "format", NULL, NULL, " <think></think>7", 1 },
        { "format", NULL, NULL, "<think>hm</think> \n", 0 }, { "format", NULL, NULL, "<think>hm 7", 0 }, { "format", NULL, NULL, "7", 0 },
        { "format", NULL, NULL, "so <think>hm</think> 7", 0 }, { "format", NULL, NULL, "<think><think>hm</think> 7", 0 },
        { "format", NULL, NULL, "<think>hm</think></think> 7", 0 },
    };
    CHECK(rows);
}

static void lengths(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "length:10,4", NULL, NULL, "", 0, 0 }, { "length:10,4", NULL, NULL, "", 0, 6 }, { "length:10,4", NULL, NULL, "", -0.25, 7 },
        { "length:10,4", NULL, NULL, "", -1, 10 }, { "length:10,4", NULL, NULL, "", -1, 99 }, { "length:10", NULL, NULL, "", 0, 10 },
        { "length:10", NULL, NULL, "", -1, 11 },
    };
    CHECK(rows);
}

#define ALLOWED "{\"allowed\": {\"f\": {\"a\": [1], \"b\": [2, \"\"]}}}"
static void calls(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "tool_call", ALLOWED, NULL, "{\"name\": \"f\", \"arguments\": {\"a\": 1}}", 1 },
        { "tool_call", ALLOWED, NULL, "{\"name\": \"f\", \"arguments\": {\"a\": 2}}", 0 },
        { "tool_call:exact", ALLOWED, NULL, "{\"name\": \"f\", \"arguments\": {\"a\": 2}}", 0 },
        { "tool_call:name", ALLOWED, NULL, "{\"name\": \"f\", \"arguments\": {\"a\": 2}}", 1 },
        { "tool_call:name", ALLOWED, NULL, "{\"name\": \"g\"}", 0 }, { "tool_call:valid", ALLOWED, NULL, "{\"name\": \"g\"}", 1 },
        { "tool_call:valid", ALLOWED, NULL, "call f", 0 }, { "tool_call", NULL, "{\"name\": \"f\"}", "{\"name\":\"f\"}", 1 },
    };
    CHECK(rows);
}

#define PERSON "{\"schema\": {\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\", " \
    "\"minLength\": 1, \"maxLength\": 2}, " \
    "\"age\": {\"type\": [\"integer\", \"null\"], \"minimum\": 0}}, \"required\": [\"name\"], \"additionalProperties\": false}}"
#define LIST "{\"schema\": {\"$ref\": \"#/$defs/tree\", \"$defs\": {\"tree\": {\"type\": \"array\", \"maxItems\": 2, " \
    "\"items\": {\"$ref\": \"#/$defs/tree\"}}}}}"
#define PARTS "{\"schema\": \"{\\\"oneOf\\\": [{\\\"type\\\": \\\"integer\\\"}, {\\\"multipleOf\\\": 2.5}], " \
    "\\\"not\\\": {\\\"enum\\\": [3]}}\"}"
#define PAIR "{\"schema\": {\"prefixItems\": [{\"type\": \"string\"}], \"items\": {\"type\": \"integer\"}}}"
static void schemas(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "json_schema", PERSON, NULL, "{\"name\": \"\xc3\xa4\xc3\xa4\", \"age\": 3}", 1 },
        { "json_schema", PERSON, NULL, " {\"name\": \"ab\"}\n", 1 },
        { "json_schema", PAIR, NULL, "[\"a\", 1, 2]", 1 }, { "json_schema", PAIR, NULL, "[\"a\", 1, \"b\"]", 0 },
        { "json_schema", PAIR, NULL, "[1, 1]", 0 },
        { "json_schema", PERSON, NULL, "{\"name\": \"abc\"}", 0 }, { "json_schema", PERSON, NULL, "{\"name\": \"\"}", 0 },
        { "json_schema", PERSON, NULL, "{\"age\": 3}", 0 }, { "json_schema", PERSON, NULL, "{\"name\": \"a\", \"age\": -1}", 0 },
        { "json_schema", PERSON, NULL, "{\"name\": \"a\", \"age\": 1.5}", 0 },
        { "json_schema", PERSON, NULL, "{\"name\": \"a\", \"age\": null}", 1 },
        { "json_schema", PERSON, NULL, "{\"name\": \"a\", \"age\": 2.0}", 1 },
        { "json_schema", PERSON, NULL, "{\"name\": \"a\", \"x\": 1}", 0 },
        { "json_schema", PERSON, NULL, "{\"name\": \"a\"", 0 }, { "json_schema", PERSON, NULL, "{\"name\": \"a\"} {}", 0 },
        { "json_schema", PERSON, NULL, "", 0 }, { "json_schema", LIST, NULL, "[[], [[]]]", 1 },
        { "json_schema", LIST, NULL, "[[], [1]]", 0 },
        { "json_schema", LIST, NULL, "[[], [[], [], []]]", 0 }, { "json_schema", PARTS, NULL, "4", 1 },
        { "json_schema", PARTS, NULL, "7.5", 1 },
        { "json_schema", PARTS, NULL, "5", 0 }, { "json_schema", PARTS, NULL, "3", 0 }, { "json_schema", PARTS, NULL, "0.5", 0 },
        { "json_schema", "{\"schema\": false}", NULL, "1", 0 }, { "json_schema", "{\"schema\": true}", NULL, "1", 1 },
    };
    CHECK(rows);
    static const struct { const char *row, *words; lmf_status s; } bad[] = {
        { "{}", "the row has no \"schema\"", LMF_E_FORMAT }, { "{\"schema\": 3}", "no object, true or false", LMF_E_FORMAT },
        { "{\"schema\": {\"patern\": \"a\"}}", "a keyword that is not understood: \"patern\"", LMF_E_UNSUPPORTED },
        { "{\"schema\": {\"$ref\": \"x.json\"}}", "leads elsewhere", LMF_E_UNSUPPORTED },
        { "{\"schema\": {\"$ref\": \"#/no\"}}", "what is not there", LMF_E_FORMAT },
        { "{\"schema\": {\"$ref\": \"#\"}}", "deeper than is followed", LMF_E_LIMIT },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmf_rewards *r;
        double score, total;
        json_t *row = json_loads(bad[i].row, 0, NULL);
        assert_ok(ctx, lmf_rewards_open(ctx, (const char *[]){ "json_schema" }, 1, NULL, &r));
        assert_refused(ctx, bad[i].s, bad[i].words,
                       lmf_rewards_score(r, &(lmf_verify_in){ .row = row, .text = "not json", .n = 8 }, &score, &total));
        lmf_rewards_close(r);
        json_decref(row);
    }
    lmf_test_ctx_done(ctx);
}

/* What a program does wrong is said, and the next answer finds it started anew. */
static void programs(void **state)
{
    (void)state;
    static const struct { const char *spec, *words; lmf_status s; } bad[] = {
        { "process:exit 3", "ended with status 3", LMF_E_IO }, { "process:kill -9 $$", "ended by signal 9", LMF_E_IO },
        { "process:read x; echo hello", "wrote no score", LMF_E_FORMAT },
        { "process:read x; echo '{\"score\": \"1\"}'; read y", "wrote no score", LMF_E_FORMAT },
        { "process:read x; printf '1\\n2\\n'", "more than one line", LMF_E_FORMAT },
        { "process:sleep 30", "not answered within 0.2 seconds", LMF_E_IO },
        { "process:read x; echo 1e999; read y", "wrote no score", LMF_E_FORMAT },
        { "process:read x; yes | tr -d '\\n'", "bytes for one answer", LMF_E_LIMIT },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *row = json_pack("{s:i}", "k", 7);
    lmf_verify_in in = { .row = row, .reference = "r", .text = "an \"answer\"\n", .n = 12, .n_tok = 3 };
    lmf_rewards *r;
    double score, total;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_ok(ctx, lmf_rewards_open(ctx, &bad[i].spec, 1, &(lmf_verify_opts){ strstr(bad[i].spec, "sleep") ? 0.2 : 60 }, &r));
        for (int again = 0; again < 2; again++)
            assert_refused(ctx, bad[i].s, bad[i].words, lmf_rewards_score(r, &in, &score, &total));
        lmf_rewards_close(r);
    }
    /* each line is what was asked; the second answer goes to the same process */
    const char *good = "process:n=0; while read -r line; do n=$((n + 1)); case $line in *'\"answer\":\"an \\\"answer\\\"\\n\""
                       ",\"reference\":\"r\","
                       "\"row\":{\"k\":7},"
                       "\"tokens\":3}') echo \"{\\\"score\\\": $n}\";; *) echo no;; esac; done";
    assert_ok(ctx, lmf_rewards_open(ctx, &good, 1, &(lmf_verify_opts){ 60 }, &r));
    for (int k = 1; k <= 3; k++) {
        assert_ok(ctx, lmf_rewards_score(r, &in, &score, &total));
        assert_true(score == k);
    }
    lmf_rewards_close(r);
    json_decref(row);
    lmf_test_ctx_done(ctx);
}

#define ADD "{\"test\": \"def check(f):\\n    assert f(2, 3) == 5\\n    assert f(0, -1) == -1\\n\", \"entry_point\": \"add\", " \
    "\"prompt\": \"from typing import List\\n\\ndef add(a: int, b: int) -> int:\\n    \\\"\\\"\\\"The sum.\\\"\\\"\\\"\\n\"}"
#define LISTED "{\"setup\": \"import math\", \"tests\": [\"assert area(1) == math.pi\", \"assert area(0) == 0\"]}"
static void unit_tests(void **state)
{
    (void)state;
    static const scored rows[] = {
        { "unit_test", ADD, NULL, "    return a + b\n", 1 }, { "unit_test", ADD, NULL, "    return a - b\n", 0 },
        { "unit_test", ADD, NULL, "def add(a, b):\n    return sum(List[int] and (a, b))", 1 },
        { "unit_test", ADD, NULL, "<think>```\nno\n```</think>So:\n```\nadd(1, 2)\n```\n```python\ndef add(a, b): return a + b\n```", 1 },
        { "unit_test", ADD, NULL, "```python\ndef add(a, b):\n    return a + b", 1 }, { "unit_test", ADD, NULL, "It is 5.", 0 },
        { "unit_test", ADD, NULL, "", 0 }, { "unit_test", ADD, NULL, "import sys\nsys.exit(0)", 0 },
        { "unit_test", ADD, NULL, "import os\nos._exit(0)", 0 }, { "unit_test", ADD, NULL, "open('passed.txt', 'w').write('x')", 0 },
        { "unit_test:1", ADD, NULL, "def add(a, b):\n    while True: pass", 0 },
        { "unit_test", ADD, NULL, "def add(a, b):\n    print('x' * 1000000)\n    return a + b", 1 },
        { "unit_test", ADD, NULL, "def add(a, b):\n    import socket\n    socket.socket()\n    return a + b", 0 },
        { "unit_test", ADD, NULL, "def add(a, b):\n    x = bytearray(1 << 40)\n    return a + b", 0 },
        { "unit_test", ADD, NULL, "def add(a, b):\n    return open('/etc/passwd') and a + b", 0 },
        { "unit_test", LISTED, NULL, "```py\ndef area(r):\n    return math.pi * r ** 2\n```", 1 },
        { "unit_test", LISTED, NULL, "def area(r):\n    return math.pi * r", 1 },
        { "unit_test", LISTED, NULL, "def area(r): return 3", 0 },
    };
    CHECK(rows);
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rewards *r;
    double score, total;
    const char *spec = "unit_test";
    assert_refused(ctx, LMF_E_ARG, "the seconds", lmf_rewards_open(ctx, (const char *[]){ "unit_test:soon" }, 1, NULL, &r));
    assert_ok(ctx, lmf_rewards_open(ctx, &spec, 1, NULL, &r));
    for (int i = 0; i < 2; i++) {
        json_t *row = json_loads(i ? "{\"tests\": [3]}" : "{}", 0, NULL);
        assert_refused(ctx, LMF_E_FORMAT, i ? "tests[0] is no text" : "the row has no tests",
                       lmf_rewards_score(r, &(lmf_verify_in){ .row = row, .text = "x", .n = 1 }, &score, &total));
        json_decref(row);
    }
    lmf_rewards_close(r);
    lmf_test_ctx_done(ctx);
}

static void sums(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_rewards *r;
    double score[3], total;
    json_t *row = json_object();
    assert_ok(ctx, lmf_rewards_open(ctx, (const char *[]){ "number=2", "exact", "length:3=0.5" }, 3, NULL, &r));
    assert_string_equal(r->item[0].text, "number");
    lmf_verify_in in = { .row = row, .reference = "5", .text = "so 5", .n = 4, .n_tok = 4 };
    assert_ok(ctx, lmf_rewards_score(r, &in, score, &total));
    assert_true(score[0] == 1 && score[1] == 0 && score[2] == -1 && total == 1.5);
    in.reference = NULL; /* a score that can't be had is no zero */
    assert_refused(ctx, LMF_E_FORMAT, "the reward number: the row's answer is no number", lmf_rewards_score(r, &in, score, &total));
    lmf_rewards_close(r);
    json_decref(row);
    lmf_test_ctx_done(ctx);
}

static void refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const struct { const char *spec, *words; } bad[] = {
        { "nmber", "there is no verifier \"nmber\"; there are: exact, format" },
        { "number=much", "the weight \"much\", which is no number" },
        { "number=nan", "no number" }, { "number:3", "takes no argument" }, { "regex", "needs an argument" },
        { "regex:", "needs an argument" },
        { "regex:(", "can't be read" }, { "regex:(a)\\1", "without back references" }, { "length:4,5", "SOFT at most MOST" },
        { "length:x", "MOST,SOFT" }, { "length:4,", "MOST,SOFT" }, { "tool_call:all", "exact, name and valid" },
        { "", "there is no verifier \"\"" },
    };
    lmf_rewards *r;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(ctx, LMF_E_ARG, bad[i].words, lmf_rewards_open(ctx, &bad[i].spec, 1, NULL, &r));
    assert_refused(ctx, LMF_E_ARG, "given twice", lmf_rewards_open(ctx, (const char *[]){ "number", "number=2" }, 2, NULL, &r));
    assert_refused(ctx, LMF_E_ARG, "0 rewards", lmf_rewards_open(ctx, NULL, 0, NULL, &r));
    lmf_test_ctx_done(ctx);
}

static double given;
static lmf_status give(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *score)
{
    (void)ctx, (void)state, (void)in;
    return *score = given, LMF_OK;
}

static void not_finite(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_verifier v = { .name = "given", .score = give };
    lmf_rewards r = { .ctx = ctx, .n = 1, .item = { { &v, "given", 1, NULL } } };
    double score, total;
    static const double values[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 3; i++) {
        given = values[i];
        assert_refused(ctx, LMF_E_FORMAT, "which is not finite", lmf_rewards_score(&r, &(lmf_verify_in){ 0 }, &score, &total));
    }
    lmf_test_ctx_done(ctx);
}

static lmf_status open_three(lmf_ctx *ctx, void *user)
{
    lmf_rewards *r = NULL;
    (void)user;
    lmf_status s = lmf_rewards_open(ctx, (const char *[]){ "number", "regex:a", "length:4" }, 3, NULL, &r);
    lmf_rewards_close(r);
    return s;
}
static void each_call_fails(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(open_three, NULL) >= 4);
}

/* What a vote counts; "": there is no final answer. */
static void finals(void **state)
{
    static const struct { lmf_final_kind kind; const char *text, *final; } rows[] = {
        { LMF_FINAL_AUTO, "42", "42" }, { LMF_FINAL_AUTO, "so 6 * 7.\n#### 42", "42" },
        { LMF_FINAL_AUTO, "The answer is: **$1,234.50**.", "1234.5" }, { LMF_FINAL_AUTO, "17 + 25 = 42.", "42" },
        { LMF_FINAL_AUTO, "17 + 25 is equal to 42", "42" }, { LMF_FINAL_AUTO, "x = -7", "-7" }, { LMF_FINAL_AUTO, "10-7", "10-7" },
        { LMF_FINAL_AUTO, "in \\boxed{\\frac{1}{2}} there", "\\frac{1}{2}" },
        { LMF_FINAL_AUTO, "Paris has 2 million people.", "paris has 2 million people" },
        { LMF_FINAL_AUTO, "The ANSWER is  Paris\nor so", "paris" }, { LMF_FINAL_AUTO, "version 1.2.3", "version 1.2.3" },
        { LMF_FINAL_AUTO, "#### 042", "42" }, { LMF_FINAL_AUTO, "#### -0", "0" },
        { LMF_FINAL_AUTO, " {\"b\": 1.0, \"a\": [2]} ", "{\"a\":[2],\"b\":1}" },
        { LMF_FINAL_AUTO, "{\"a\": 1} and {\"a\": 2}", "{\"a\": 1} and {\"a\": 2}" },
        { LMF_FINAL_JSON, "so: {\"a\": 1} and {\"a\": 2}", "{\"a\":1}" }, { LMF_FINAL_JSON, "{\"a\": ", "" },
        { LMF_FINAL_NUMBER, "Paris has 2 million people.", "2" }, { LMF_FINAL_NUMBER, "none", "" }, { LMF_FINAL_TEXT, "#### 042", "042" },
        { LMF_FINAL_AUTO, "<think>1 or 2</think>\n3", "3" }, { LMF_FINAL_AUTO, "<think>1 or 2", "" },
        { LMF_FINAL_NUMBER, "<think>1 or 2", "" }, { LMF_FINAL_AUTO, "", "" }, { LMF_FINAL_AUTO, "####", "" },
        { LMF_FINAL_AUTO, "\\boxed{", "" }, { LMF_FINAL_AUTO, "-", "-" }, { LMF_FINAL_AUTO, "#### -", "-" },
        { LMF_FINAL_AUTO, "1e400", "1e400" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_buf out;
        lmf_buf_init(&out, ctx, 1 << 16);
        assert_ok(ctx, lmf_answer_final(rows[i].kind, rows[i].text, strlen(rows[i].text), &out));
        if (strcmp(lmf_buf_str(&out), rows[i].final))
            fail_msg("the final answer of \"%s\" is \"%s\", not \"%s\"", rows[i].text, lmf_buf_str(&out), rows[i].final);
        lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(verify) = { { "final_answers", finals },
    { "numbers", numbers }, { "texts", texts }, { "lengths", lengths }, { "calls", calls },
    { "schemas", schemas }, { "programs", programs }, { "unit tests", unit_tests }, { "several are added up", sums },
    { "what can't be read is refused", refused }, { "not finite", not_finite }, { "each call fails once", each_call_fails }, { 0 }
};
