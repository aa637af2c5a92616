/* SPDX-License-Identifier: Apache-2.0 */
/* Masks against the definition (a token may come if it can be accepted), texts that schemas and grammars take or not (by hand), refusals by
 * name, limits, and what must end in time. tools/oracle/schema.py does the same at length with the real vocabulary and jsonschema. */
#include <string.h>
#include <time.h>
#include "test.h"
#include "text/grammar/grammar.h"
#include "text/tokenizer/tokenizer_test.h"

typedef struct fixture { lmf_ctx *ctx; test_vocab tv; lmf_tokenizer *tok; lmf_grammar_vocab *v; int32_t end,
    control; uint32_t bits[TEST_TOKENS / 32 + 1]; } fixture;

static lmf_status open_vocab(fixture *f, lmf_ctx *ctx)
{
    static const char *const merge[] = { "a b", "ab c", "\" :", "\" }", "\" ,", "t r", "tr u", "tru e", "1 2", "12 3", "\xc4\xa0 \"",
        "\xc4\xa0 a", "x \"", "x\" :",
        "n a", "na m", "nam e", "] }", "} }", "\\ n", "\" i", "i d" };
    f->ctx = ctx;
    test_vocab_init(&f->tv, "gpt-2");
    for (size_t i = 0; i < sizeof merge / sizeof *merge; i++)
        test_vocab_merge(&f->tv, merge[i]);
    f->control = test_vocab_add(&f->tv, "<|im_start|>", LMF_TOKEN_CONTROL, 0);
    f->end = test_vocab_add(&f->tv, "<|im_end|>", LMF_TOKEN_CONTROL, 0);
    test_vocab_add(&f->tv, "<0x61>", LMF_TOKEN_BYTE, 0); /* tokens with the bytes of others: what lets one lets both */
    test_vocab_add(&f->tv, " a", LMF_TOKEN_USER_DEFINED, 0);
    f->tv.v.eos = f->end;
    LMF_TRY(lmf_tokenizer_create(ctx, &f->tv.v, &f->tok));
    return lmf_grammar_vocab_create(ctx, f->tok, NULL, 0, &f->v);
}

static void close_vocab(fixture *f)
{
    lmf_grammar_vocab_destroy(f->v);
    lmf_tokenizer_destroy(f->tok);
}

/* {"tools": {name: schema or null}, "most": calls, "else": schema} */
static lmf_status compile_tools(fixture *f, const json_t *from, lmf_grammar **g)
{
    lmf_grammar_tool tool[8];
    lmf_grammar_calls calls = { .open = "<call>\n", .between = "\n</call>\n<call>\n", .close = "\n</call>", .arguments = "arguments",
        .tool = tool };
    const char *name;
    json_t *schema;
    json_object_foreach(json_object_get(from, "tools"), name, schema)
        tool[calls.n_tools++] = (lmf_grammar_tool){ name, json_is_null(schema) ? NULL : schema };
    calls.max_calls = (int32_t)json_integer_value(json_object_get(from, "most"));
    calls.otherwise = json_object_get(from, "else");
    return lmf_grammar_compile_calls(f->ctx, f->v, &calls, NULL, g);
}

static lmf_status compile(fixture *f, const char *kind, const char *text, lmf_grammar **g)
{
    const char *choice[] = { "yes", "no", "yesterday", "\xc3\xa9" };
    if (*kind == 'g')
        return lmf_grammar_compile_gbnf(f->ctx, f->v, text, strlen(text), NULL, g);
    if (*kind == 'r')
        return lmf_grammar_compile_regex(f->ctx, f->v, text, strlen(text), NULL, g);
    if (*kind == 'c')
        return lmf_grammar_compile_choices(f->ctx, f->v, choice, 4, NULL, g);
    json_t *schema = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(schema);
    lmf_grammar_opts o = lmf_grammar_opts_default();
    o.closed = *kind == 'n';
    lmf_status s = *kind == 't' ? compile_tools(f, schema, g) : lmf_grammar_compile_json_schema(f->ctx, f->v, schema, &o, g);
    json_decref(schema);
    return s;
}

typedef struct row { const char *kind, *text, *good[6], *bad[8]; } row;
static const row rows[] = {
    { "schema", "{\"type\":\"string\"}", { "\"\"", "\"a\\u00e9\\n\xc3\xa9\"", "\"\\ud83d\\ude00\"" }, { "\"", "a", "\"\\ud83d\"",
        "\"\\x\"", "\"\n\"", "\"\\ude00\"" } },
    { "schema", "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", { "\"ab\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
        "\"\\n\\u0041\"" }, { "\"a\"", "\"abcd\"" } },
    { "schema", "{\"type\":\"integer\"}", { "0", "-12", "123", "-999999999999999999" }, { "01", "1.5", "-", "+1", "1e3",
        "1000000000000000000" } },
    { "schema", "{\"type\":\"integer\",\"minimum\":1}", { "1", "999999999999999999" }, { "0", "1000000000000000000" } },
    { "schema", "{\"type\":\"integer\",\"minimum\":1000000000000000000}", { "1000000000000000000" }, { "999999999999999999" } },
    { "schema", "{\"type\":\"integer\",\"minimum\":-5,\"exclusiveMaximum\":120}", { "-5", "0", "99", "119" }, { "-6", "120", "1000", "-0",
        "00" } },
    { "schema", "{\"type\":\"number\",\"minimum\":0.5,\"maximum\":12.25}", { "0.5", "0.51", "12.25", "12.250", "7", "12" }, { "0.49",
        "12.251", "13", "0", "-1", "12." } },
    { "schema", "{\"type\":\"number\",\"exclusiveMinimum\":-1.5,\"exclusiveMaximum\":0}", { "-1.49", "-0.001", "-1" }, { "-1.5", "0", "-0",
        "-0.0", "1" } },
    { "schema", "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":0,\"maximum\":100}", { "0", "7", "98" }, { "8", "105", "-7" } },
    { "schema", "{\"type\":\"number\"}", { "1.5e-7", "0.0", "-3", "2E+10" }, { ".5", "1.", "1e", "1e999", "NaN" } },
    { "schema", "{\"type\":[\"null\",\"boolean\"]}", { "null", "true", "false" }, { "nul", "True", "0" } },
    { "schema", "{\"enum\":[\"a\",\"ab\",1,{\"k\":[1,null]}]}", { "\"a\"", "\"ab\"", "1", "{\"k\": [1,null]}" }, { "\"abc\"", "2", "{}" } },
    { "schema", "{\"enum\":[\"a\",5,50],\"type\":\"integer\",\"minimum\":10}", { "50" }, { "5", "\"a\"" } },
    { "schema", "{\"pattern\":\"^a+$\",\"type\":\"string\"}", { "\"a\"", "\"aaaa\"" }, { "\"\"", "\"ab\"", "\"\\u0061\"" } },
    { "schema", "{\"pattern\":\"b\",\"type\":\"string\",\"maxLength\":3}", { "\"b\"", "\"abc\"", "\"\\nb\\\"\"" }, { "\"ac\"",
        "\"abcd\"" } },
    { "schema", "{\"type\":\"string\",\"format\":\"date\"}", { "\"2024-02-29\"", "\"2000-02-29\"" }, { "\"2023-02-29\"", "\"1900-02-29\"",
        "\"2024-04-31\"", "\"2024-13-01\"" } },
    { "schema",
        "{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":true},\"required\":[\"a\"],"
        "\"additionalProperties\":false,\"type\":\"object\"}",
      { "{\"a\":1}", "{\"a\": 1, \"b\": []}" }, { "{}", "{\"b\":1,\"a\":1}", "{\"a\":\"x\"}", "{\"a\":1,\"c\":1}", "{\"a\":1,}",
          "{ \"a\":1}", "{\"a\":  1}" } },
    { "schema", "{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"null\"}},\"additionalProperties\":{\"type\":\"integer\"}}",
      { "{}", "{\"id\":null}", "{\"i\":1,\"idx\": 2}", "{\"\":1}", "{\"name\":123}" }, { "{\"id\":1}", "{\"x\":null}", "{\"i\\u0064\":1}",
          "{\"a\":1,\"id\":null}" } },
    { "schema",
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{},\"c\":{}},\"additionalProperties\":false,"
        "\"minProperties\":2,\"maxProperties\":2}",
      { "{\"a\":1,\"b\":2}", "{\"b\":1,\"c\":2}" }, { "{\"a\":1}", "{\"a\":1,\"b\":2,\"c\":3}", "{}" } },
    { "schema", "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":2}", { "[1]", "[1, 2]", "[1,2]" },
        { "[]", "[1,2,3]", "[1 ,2]", "[\"a\"]" } },
    { "schema", "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":false}", { "[]", "[1]", "[1,2]" }, { "[2]",
        "[1,2,3]" } },
    { "schema", "{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"string\",\"maxLength\":1}]}", { "1", "\"a\"", "\"\"" }, { "\"ab\"",
        "null" } },
    { "schema", "{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"maximum\":5},{\"type\":[\"number\",\"string\"]}]}", { "3", "5" },
        { "2", "6", "\"a\"", "3.5" } },
    { "schema",
        "{\"oneOf\":[{\"properties\":{\"t\":{\"const\":1}},\"required\":[\"t\"],"
        "\"type\":\"object\"},{\"properties\":{\"t\":{\"const\":2},\"u\":{\"type\":\"null\"}},"
      "\"required\":[\"t\",\"u\"],\"type\":\"object\"}]}", { "{\"t\":1}", "{\"t\":2,\"u\":null}", "{\"t\":1,\"u\":5}" }, { "{\"t\":2}",
          "{\"t\":3}" } },
    { "schema",
        "{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"array\","
        "\"items\":{\"$ref\":\"#/$defs/n\"}}},\"additionalProperties\":false}},"
      "\"$ref\":\"#/$defs/n\"}", { "{}", "{\"k\":[{},{\"k\":[{\"k\":[]}]}]}" }, { "{\"k\":[{]}", "[]" } },
    { "schema", "true", { "[{\"a\":[true]}]", "\"x\"" }, { "", "[1", "[1]]" } },
    { "named", "{\"properties\":{\"a\":{\"type\":\"object\",\"properties\":{\"b\":{}},\"additionalProperties\":{}}}}",
      { "{}", "{\"a\":{\"x\":1}}", "3" }, { "{\"x\":1}", "{\"a\":{},\"x\":1}" } },
    { "named", "{\"type\":\"object\"}", { "{\"x\":1}" }, { "1" } },
    { "named", "{\"type\":\"object\",\"allOf\":[{\"properties\":{\"a\":{}}},{\"properties\":{\"b\":{}}}]}", { "{\"a\":1,\"b\":2}" },
        { "{\"c\":1}" } },
    { "tools",
        "{\"tools\":{\"f\":{\"properties\":{\"x\":{\"$ref\":\"#/$defs/n\"}},\"required\":[\"x\"],\"$defs\":{\"n\":{\"type\":\"integer\"}}},"
        "\"g\\n\":null,"
        "\"h\":{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#/$defs/n\"}},\"$defs\":{\"n\":{\"type\":\"null\"}}}},\"most\":2}",
      { "<call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</call>", "<call>\n{\"name\":\"g\\n\",\"arguments\":{}}\n</call>",
        "<call>\n{\"name\": \"h\", \"arguments\": {\"x\": null}}\n</call>\n<call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</call>" },
      { "<call>\n{\"name\": \"f\", \"arguments\": {}}\n</call>", "<call>\n{\"name\": \"f\", \"arguments\": 1}\n</call>",
        "<call>\n{\"name\": \"h\", \"arguments\": {\"x\": 1}}\n</call>", "{}", "<call>\n{\"name\":\"g\\n\",\"arguments\":{}}",
        "<call>\n{\"name\":\"g\\n\",\"arguments\":{\"x\":1}}\n</call>", "<call>\n{\"name\":\"i\",\"arguments\":{}}\n</call>",
        "<call>\n{\"name\":\"h\",\"arguments\":{}}\n</call>\n<call>\n{\"name\":\"h\",\"arguments\":{}}\n</call>"
            "\n<call>\n{\"name\":\"h\",\"arguments\":{}}\n</call>" } },
    { "tools", "{\"tools\":{\"f\":null},\"most\":1,\"else\":{\"type\":\"integer\"}}",
        { "<call>\n{\"name\":\"f\",\"arguments\":{}}\n</call>", "12" },
        { "x", "12<call>" } },
    { "regex", "(ab|a)c{2,3}[^x-z]?", { "abcc", "accc", "accq", "acc\xc3\xa9" }, { "ac", "accccc", "accx", "bcc" } },
    { "regex", "^a.b$", { "axb", "a\xe2\x82\xac" "b" }, { "ab", "a\nb" } },
    { "choices", "", { "yes", "no", "yesterday", "\xc3\xa9" }, { "ye", "yester", "not", "" } },
    { "gbnf",
        "# comment\nroot ::= list\nlist ::= \"[\" (item (\",\" ws item)*)? \"]\"\nitem ::= [a-c]+ | list | \"\\x41\"\nws ::= \" \"?\n",
      { "[]", "[a, bc,[A]]" }, { "[", "[d]", "[a,]", "[a,  b]" } },
    { "gbnf", "root ::= a{2,3} b\n  | [^a-z\\n]\na ::= \"a\" | empty \"x\"\nempty ::= \"\"\nb ::=\n  \"b\"?", { "aa", "xaxb", "Q" }, { "a",
        "aaaa", "q", "\n" } },
};

static bool takes(fixture *f, lmf_matcher *m, const char *text)
{
    lmf_matcher_reset(m);
    (void)f;
    return !lmf_matcher_accept_bytes(m, text, strlen(text)) && lmf_matcher_complete(m);
}

static void takes_texts(void **state)
{
    (void)state;
    fixture f;
    lmf_grammar *g;
    lmf_matcher *m;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(f.ctx, compile(&f, rows[i].kind, rows[i].text, &g));
        assert_ok(f.ctx, lmf_matcher_open(g, &m));
        for (int k = 0; k < 6 && rows[i].good[k]; k++)
            if (!takes(&f, m, rows[i].good[k]))
                fail_msg("%s does not take %s", rows[i].text, rows[i].good[k]);
        for (int k = 0; k < 8 && rows[i].bad[k]; k++)
            if (takes(&f, m, rows[i].bad[k]))
                fail_msg("%s takes %s", rows[i].text, rows[i].bad[k]);
        lmf_matcher_close(m);
        lmf_grammar_destroy(g);
    }
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

/* Behind each prefix of each good text: every token's bit against accepting it, and with a limit against what the limit leaves. */
static void check_mask(fixture *f, lmf_matcher *m, lmf_matcher *other, const char *text, size_t n, int n_left)
{
    size_t n_piece;
    int least;
    lmf_matcher_reset(m);
    assert_ok(f->ctx, lmf_matcher_accept_bytes(m, text, n));
    assert_ok(f->ctx, lmf_matcher_mask(m, n_left, f->bits));
    for (int32_t id = 0; id < (int32_t)f->tv.v.n_tokens; id++) {
        lmf_matcher_reset(other);
        assert_ok(f->ctx, lmf_matcher_accept_bytes(other, text, n));
        bool want = lmf_matcher_accept(other, id) == LMF_OK;
        if (want && n_left >= 0) {
            assert_ok(f->ctx, lmf_matcher_shortest(other, &least, NULL));
            want = least <= n_left - 1;
        }
        assert_int_equal(id == f->control && want, false);
        if ((f->bits[id / 32] >> id % 32 & 1) != want)
            fail_msg("behind \"%.*s\", %d left: token %d (%s) is %s", (int)n, text, n_left, id, (const char *)lmf_tokenizer_piece(f->tok,
                id, &n_piece),
                     want ? "missing" : "allowed");
    }
}

static void masks_are_what_is_accepted(void **state)
{
    (void)state;
    fixture f;
    lmf_grammar *g;
    lmf_matcher *m, *other;
    int least;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(f.ctx, compile(&f, rows[i].kind, rows[i].text, &g));
        assert_ok(f.ctx, lmf_matcher_open(g, &m));
        assert_ok(f.ctx, lmf_matcher_open(g, &other));
        for (int k = 0; k < 3 && rows[i].good[k]; k++)
            for (size_t n = 0; n <= strlen(rows[i].good[k]); n++) {
                check_mask(&f, m, other, rows[i].good[k], n, -1);
                assert_ok(f.ctx, lmf_matcher_shortest(m, &least, NULL));
                check_mask(&f, m, other, rows[i].good[k], n, least + (int)(n % 4));
                assert_int_equal(lmf_matcher_mask(m, least - 1, f.bits), LMF_E_LIMIT);
            }
        lmf_matcher_close(m);
        lmf_matcher_close(other);
        lmf_grammar_destroy(g);
    }
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

/* Walks by the lowest allowed token (which never ends by itself) still end within the limit. */
static void limits_close(void **state)
{
    (void)state;
    fixture f;
    lmf_grammar *g;
    lmf_matcher *m;
    int least, n_words;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    n_words = (int)(f.tv.v.n_tokens + 31) / 32;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(f.ctx, compile(&f, rows[i].kind, rows[i].text, &g));
        assert_ok(f.ctx, lmf_matcher_open(g, &m));
        assert_ok(f.ctx, lmf_matcher_shortest(m, &least, NULL));
        for (int limit = least; limit < least + 12; limit++) {
            int left = limit;
            lmf_matcher_reset(m);
            for (; !lmf_matcher_ended(m) && left > 0; left--) {
                int w = 0;
                assert_ok(f.ctx, lmf_matcher_mask(m, left, f.bits));
                while (w < n_words && !f.bits[w])
                    w++;
                assert_true(w < n_words);
                assert_ok(f.ctx, lmf_matcher_accept(m, 32 * w + __builtin_ctz(f.bits[w])));
            }
            assert_true(lmf_matcher_ended(m));
        }
        lmf_matcher_close(m);
        lmf_grammar_destroy(g);
    }
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

static void forced_and_shortest(void **state)
{
    (void)state;
    fixture f;
    lmf_grammar *g;
    lmf_matcher *m;
    lmf_buf text;
    int n;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    lmf_buf_init(&text, f.ctx, 1000);
    assert_ok(f.ctx, compile(&f, "schema",
        "{\"type\":\"object\",\"properties\":{\"name\":{\"const\":\"abc\"}},\"required\":[\"name\"],\"additionalProperties\":false}", &g));
    assert_ok(f.ctx, lmf_matcher_open(g, &m));
    assert_ok(f.ctx, lmf_matcher_forced(m, &text));
    assert_string_equal(lmf_buf_str(&text), "{\"name\":"); /* then a space or none */
    assert_ok(f.ctx, lmf_matcher_accept_bytes(m, text.data, text.n));
    lmf_buf_truncate(&text, 0);
    assert_ok(f.ctx, lmf_matcher_forced(m, &text));
    assert_int_equal(text.n, 0);
    assert_ok(f.ctx, lmf_matcher_shortest(m, &n, &text));
    assert_string_equal(lmf_buf_str(&text), "\"abc\"}");
    assert_int_equal(n, 4); /* " abc "} and the end */
    assert_ok(f.ctx, lmf_matcher_accept_bytes(m, " \"abc\"}", 7));
    assert_true(lmf_matcher_complete(m) && !lmf_matcher_ended(m));
    assert_ok(f.ctx, lmf_matcher_accept(m, f.end));
    assert_true(lmf_matcher_ended(m));
    assert_refused(f.ctx, LMF_E_ARG, "has ended", lmf_matcher_accept(m, 'a'));
    lmf_matcher_close(m);
    lmf_grammar_destroy(g);
    lmf_buf_clear(&text);
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

typedef struct refusal { const char *kind, *text; lmf_status status; const char *words; } refusal;
static const refusal refusals[] = {
    { "schema", "{\"patternProperties\":{}}", LMF_E_UNSUPPORTED, "\"patternProperties\"" },
    { "schema", "{\"type\":\"array\",\"items\":{\"not\":{}}}", LMF_E_UNSUPPORTED, "\"not\"" },
    { "schema", "{\"type\":\"array\",\"uniqueItems\":true}", LMF_E_UNSUPPORTED, "\"uniqueItems\"" },
    { "schema", "{\"format\":\"nonsense\"}", LMF_E_UNSUPPORTED, "nonsense" },
    { "schema", "{\"multipleOf\":0.1}", LMF_E_UNSUPPORTED, "\"multipleOf\"" },
    { "schema", "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", LMF_E_UNSUPPORTED, "may hold at once" },
    { "schema", "{\"pattern\":\"(?=a)\"}", LMF_E_UNSUPPORTED, "\"pattern\"" },
    { "schema", "{\"$ref\":\"#/$defs/x\"}", LMF_E_FORMAT, "leads nowhere" },
    { "schema", "{\"$ref\":\"#\"}", LMF_E_LIMIT, "leads to itself" },
    { "schema", "{\"$ref\":\"http://example.com\"}", LMF_E_UNSUPPORTED, "\"$ref\"" },
    { "schema", "{\"type\":\"strin\"}", LMF_E_FORMAT, "\"type\"" },
    { "schema", "{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", LMF_E_ARG, "no text fits" },
    { "schema", "{\"type\":\"string\",\"pattern\":\"^ab$\",\"maxLength\":1}", LMF_E_ARG, "no text fits" },
    { "schema", "{\"required\":[\"a\"],\"type\":\"object\",\"properties\":{\"a\":false}}", LMF_E_ARG, "no text fits" },
    { "schema", "false", LMF_E_ARG, "no text fits" },
    { "schema", "3", LMF_E_FORMAT, "a schema is an object" },
    { "regex", "(a", LMF_E_FORMAT, "group without its end" },
    { "regex", "a\\b", LMF_E_UNSUPPORTED, "word boundary" },
    { "regex", "(a)\\1", LMF_E_UNSUPPORTED, "back reference" },
    { "regex", "a^b", LMF_E_UNSUPPORTED, "anchor" },
    { "gbnf", "root ::= x", LMF_E_FORMAT, "rule x" },
    { "gbnf", "x ::= \"a\"", LMF_E_FORMAT, "no rule root" },
    { "gbnf", "root ::= a \"b\"\na ::= e root | \"c\"\ne ::= \"\"", LMF_E_UNSUPPORTED, "begins with itself" },
    { "gbnf", "root ::= \"a\" root", LMF_E_ARG, "no text fits" },
    { "gbnf", "root ::= \"a", LMF_E_FORMAT, "line 1" },
};

static void refuses_by_name(void **state)
{
    (void)state;
    fixture f;
    lmf_grammar *g;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        lmf_status s = compile(&f, refusals[i].kind, refusals[i].text, &g);
        if (s != refusals[i].status || !strstr(lmf_error(f.ctx), refusals[i].words))
            fail_msg("%s: %s (%s)", refusals[i].text, lmf_status_name(s), s ? lmf_error(f.ctx) : "taken");
        assert_null(g);
    }
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

/* Each is answered or refused within a second of this thread's time, walks of 100 tokens included. */
static void hostile_ends(void **state)
{
    (void)state;
    static const char *const expression[] = { "(a+)+b", "(a|a)*b(a|a){20}", "((a{0,100}){0,100}){0,100}", "(.*a){30}", "(a|b)*a(a|b){60}",
        "a{99999}",
        "((((((((((a?){9}){9}){9}){9}){9}){9}){9}){9}){9})" };
    fixture f;
    lmf_grammar *g;
    lmf_matcher *m;
    assert_ok(f.ctx, open_vocab(&f, lmf_test_ctx()));
    for (size_t i = 0; i < sizeof expression / sizeof *expression; i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        if (!compile(&f, "regex", expression[i], &g)) {
            assert_ok(f.ctx, lmf_matcher_open(g, &m));
            for (int k = 0; k < 100 && !lmf_matcher_mask(m, -1, f.bits) && !lmf_matcher_accept(m, k % 3 == 1 ? 'b' : 'a'); k++)
                ;
            lmf_matcher_close(m);
            lmf_grammar_destroy(g);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        assert_true((double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec) < 10); /* a second, ten under a sanitizer */
    }
    close_vocab(&f);
    lmf_test_ctx_done(f.ctx);
}

static lmf_status whole(lmf_ctx *ctx, void *arg)
{
    fixture f = { 0 };
    lmf_grammar *g = NULL;
    lmf_matcher *m = NULL;
    int least;
    (void)arg;
    lmf_status s = open_vocab(&f, ctx);
    s = s ? s : compile(&f, "gbnf", "root ::= [a-z]+ (\",\" root)?", &g);
    lmf_grammar_destroy(g);
    g = NULL;
    s = s ? s : compile(&f, "schema",
        "{\"type\":\"object\",\"properties\":{\"id\":{\"pattern\":\"^a+b$\",\"maxLength\":4,\"type\":\"string\"}}}", &g);
    s = s ? s : lmf_matcher_open(g, &m);
    s = s ? s : lmf_matcher_accept_bytes(m, "{\"", 2);
    s = s ? s : lmf_matcher_mask(m, -1, f.bits);
    s = s ? s : lmf_matcher_shortest(m, &least, NULL);
    s = s ? s : lmf_matcher_mask(m, least + 1, f.bits);
    lmf_matcher_close(m);
    lmf_grammar_destroy(g);
    close_vocab(&f);
    return s;
}

static void survives_failures(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(whole, NULL) > 20);
}

LMF_TESTS(grammar) = { { "texts that schemas, expressions and grammars take", takes_texts },
    { "a mask allows what can be accepted, and with a limit what can be closed", masks_are_what_is_accepted },
    { "within any limit that holds the shortest answer one ends", limits_close }, { "forced text, the shortest end", forced_and_shortest },
    { "what is not understood is refused by name", refuses_by_name }, { "hostile expressions end in time", hostile_ends },
    { "each allocation fails once", survives_failures }, { 0 } };
