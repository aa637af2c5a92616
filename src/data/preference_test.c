/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/samples.h"
#include "formula.h"
#include "models/model.h"

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_samples *s; } fixture;

static fixture setup(const char *chat_template)
{
    fixture f = { .ctx = lmf_test_ctx() };
    const lmf_formula made = { .seed = 1, .n_layers = 1, .chat_template = chat_template };
    assert_ok(f.ctx, lmf_model_open(f.ctx, lmf_test_formula_model(&made), &f.m));
    return f;
}

static void teardown(fixture *f)
{
    lmf_samples_destroy(f->s);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

static lmf_status make(fixture *f, const char *text, uint32_t takes, int32_t max_tok, lmf_too_long policy)
{
    lmf_rows rows;
    const char *path = lmf_test_path("rows.jsonl");
    lmf_samples_destroy(f->s);
    f->s = NULL;
    assert_ok(f->ctx, lmf_file_write(f->ctx, path, text, strlen(text)));
    assert_ok(f->ctx, lmf_rows_open(f->ctx, path, &rows));
    lmf_status s = lmf_samples_create_of(&rows, &f->m->chat, takes, max_tok, policy, &f->s);
    lmf_rows_close(&rows);
    return s;
}

/* Text of the tokens of sample i that are learned, or are not. */
static void assert_text(const fixture *f, int64_t i, int learn, const char *want)
{
    char text[1024], *out = text;
    const lmf_sample *x = &f->s->items[i];
    for (int32_t k = 0; k < x->n; k++) {
        size_t n;
        const uint8_t *p = lmf_tokenizer_piece(f->m->tokenizer, x->id[k], &n);
        if (x->learn[k] == learn) {
            memcpy(out, p, n);
            out += n;
        }
    }
    *out = 0;
    assert_string_equal(text, want);
}

#define USER(text) "<|im_start|>user\n" text "<|im_end|>\n<|im_start|>assistant\n"
#define M(role, text) "{\"role\": \"" role "\", \"content\": \"" text "\"}"
#define U(text) M("user", text)
#define A(text) M("assistant", text)
#define PAIR(chosen, rejected) "\"chosen\": " chosen ", \"rejected\": " rejected

/* One prompt, two answers, in every way to write them down. */
static void messages(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char *const rows[] = {
        "{\"prompt\": [" U("u") "], " PAIR("[" A("good") "]", "[" A("bad") "]") "}",
        "{" PAIR("[" U("u") ", " A("good") "]", "[" U("u") ", " A("bad") "]") "}",
        "{\"prompt\": null, " PAIR("[" U("u") ", " A("good") "]", "[" U("u") ", " A("bad") "]") "}",
        "{\"prompt\": \"u\", " PAIR("[" U("u") ", " A("good") "]", "[" U("u") ", " A("bad") "]") "}",
        "{\"prompt\": \"u\", " PAIR("[" A("good") "]", "[" A("bad") "]") "}",
        "{\"prompt\": [" U("u") "], " PAIR("\"good\"", "\"bad\"") ", \"score\": 3}",
        /* other columns beside them */
        "{\"messages\": [" U("u") ", " A("else") "], \"prompt\": [" U("u") "], " PAIR("\"good\"", "\"bad\"")
        ", \"completion\": \"else\"}" };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(f.ctx, make(&f, rows[i], LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
        assert_int_equal(f.s->group_size, 2);
        assert_int_equal(f.s->n, 2);
        for (int k = 0; k < 2; k++) {
            assert_text(&f, k, 0, USER("u"));
            assert_text(&f, k, 1, k ? "bad<|im_end|>" : "good<|im_end|>");
        }
    }
    teardown(&f);
}

/* An assistant's turn of the prompt is no answer; several turns behind it are. */
static void turns(void **state)
{
    (void)state;
    static const char marked[] = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}"
        "{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    static const char row[] = "{" PAIR("[" U("a") ", " A("b") ", " U("c") ", " A("d") ", " U("e") ", " A("f") "]",
                                       "[" U("a") ", " A("b") ", " U("c") ", " A("g") "]") "}";
    for (int i = 0; i < 2; i++) {
        fixture f = setup(i ? marked : NULL);
        assert_ok(f.ctx, make(&f, row, LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
        assert_text(&f, 0, 1, "d<|im_end|>f<|im_end|>");
        assert_text(&f, 1, 1, "g<|im_end|>");
        teardown(&f);
    }
}

static void texts(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char rows[] = "{\"prompt\": \"the sky is\", " PAIR("\" blue\"", "\" red\"") "}\n"
        "{" PAIR("\"the sky is blue\"", "\"the sky is black\"") "}\n" /* as far as they are the same */
        "{" PAIR("\"the sky is wide\"", "\"the sky is red\"") "}\n"   /* the space is the answer's */
        "{" PAIR("\"a\\u00e9\"", "\"a\\u00e8\"") "}\n"               /* c3 a9 and c3 a8: no half character */
        "{\"prompt\": \"x\", " PAIR("\"\"", "\"y\"") "}\n";
    static const char *const want[][2] = { { "the sky is", " blue" }, { "the sky is", " red" }, { "the sky is bl", "ue" },
        { "the sky is bl", "ack" }, { "the sky is", " wide" }, { "the sky is", " red" }, { "a", "\u00e9" }, { "a", "\u00e8" },
        { "x", "" }, { "x", "y" } };
    assert_ok(f.ctx, make(&f, rows, LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
    assert_int_equal(f.s->n, 10);
    for (int i = 0; i < 10; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s<|im_end|>", want[i][1]);
        assert_text(&f, i, 0, want[i][0]);
        assert_text(&f, i, 1, text);
        assert_int_equal(f.s->items[i].line, i / 2 + 1);
    }
    teardown(&f);
}

/* A pair goes as a whole, and counts as one row. */
static void too_long(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char rows[] = "{\"prompt\": \"a\", " PAIR("\"b\"", "\"cdefghijklmnop\"") "}\n"
                               "{\"prompt\": \"a\", " PAIR("\"b\"", "\"c\"") "}\n"
                               "{\"prompt\": \"abcdefghijkl\", " PAIR("\"b\"", "\"c\"") "}\n"
                               "{\"prompt\": \"a\", " PAIR("\"bcdefghijklm\"", "\"cdefghijklm\"") "}\n";
    assert_refused(f.ctx, LMF_E_LIMIT, "line 1: 16 tokens, more than the 8", make(&f, rows, LMF_TAKES_PREFERENCE, 8, LMF_LONG_ERROR));
    assert_ok(f.ctx, make(&f, rows, LMF_TAKES_PREFERENCE, 8, LMF_LONG_SKIP));
    assert_int_equal(f.s->n, 2);
    assert_int_equal(f.s->n_skipped, 3);
    assert_int_equal(f.s->items[0].line, 2);
    assert_true(f.s->n_tok == 6 && f.s->n_learn == 4 && f.s->longest == 3);
    assert_ok(f.ctx, make(&f, rows, LMF_TAKES_PREFERENCE, 8, LMF_LONG_TRUNCATE));
    assert_true(f.s->n == 6 && f.s->n_skipped == 1 && f.s->n_truncated == 2); /* of the third the answers lie behind the cut */
    assert_true(lmf_samples_longest_group(f.s) == 16 && lmf_samples_group_tok(f.s, 1) == 6 && lmf_samples_n_groups(f.s) == 3);
    teardown(&f);
}

static void refusals(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char *const cases[][2] = {
        { "{" PAIR("\"a\"", "5") "}", "line 1: \"rejected\" is neither text nor a list of messages" },
        { "{\"prompt\": 5, " PAIR("\"a\"", "\"b\"") "}", "line 1: \"prompt\" is neither" },
        { "{\"prompt\": \"p\", " PAIR("\"a\"", "\"a\"") "}", "are the same" },
        { "{" PAIR("[" U("a") "]", "[" U("a") "]") "}", "are the same" },
        { "{" PAIR("[" U("a") ", " A("a") "]", "[" U("b") "]") "}", "begin with no message that both have" },
        { "{" PAIR("[" U("a") ", " A("a") "]", "[" U("a") "]") "}", "\"rejected\" has no message behind the prompt" },
        { "{\"prompt\": \"b\", " PAIR("[" U("a") ", " A("a") "]", "[" U("a") ", " A("c") "]") "}", "is not the last message" },
        { "{\"prompt\": \"\", " PAIR("\"a\"", "\"b\"") "}", "\"prompt\" is empty: there is nothing to answer" },
        { "{" PAIR("\"a\"", "\"b\"") "}", "begin with nothing that both have, and there is no \"prompt\"" },
        { "{\"prompt\": [], " PAIR("\"a\"", "\"b\"") "}", "\"prompt\" holds no message" },
        { "{\"prompt\": [" U("a") "], " PAIR("[" U("b") "]", "\"c\"") "}", "has the role \"user\" after user" },
        { "{\"text\": \"a\"}", "line 1: rows with \"chosen\" and \"rejected\" are wanted here" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(f.ctx, LMF_E_FORMAT, cases[i][1], make(&f, cases[i][0], LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
    assert_refused(f.ctx, LMF_E_FORMAT, "line 1: rows with \"messages\", or \"prompt\" and \"completion\", "
                   "or \"text\", or \"segments\" are wanted here",
                   make(&f, "{" PAIR("\"a\"", "\"b\"") "}", LMF_TAKES_SINGLE, 512, LMF_LONG_ERROR));
    assert_refused(f.ctx, LMF_E_ARG, "stand alone",
                   make(&f, "{\"text\": \"a\"}", LMF_TAKES_PREFERENCE | LMF_TAKES_TEXT, 512, LMF_LONG_ERROR));
    /* a template that writes the last message of a prompt in another way when it is not the last */
    teardown(&f);
    f = setup("{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}{% generation %}x{% endgeneration %}"
              "{% elif loop.last %}!{% endif %}{% endfor %}");
    assert_refused(f.ctx, LMF_E_FORMAT, "line 1: the template writes the prompt in another way",
                   make(&f, "{\"prompt\": [" U("a") "], " PAIR("\"a\"", "\"b\"") "}", LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
    teardown(&f);
}

#define L(prompt, completion, label) "{\"prompt\": \"" prompt "\", \"completion\": \"" completion "\", \"label\": " label "}\n"

/* What is measured: the prompt with the answer of the nearest row before it that has another prompt, the last standing before the first. */
static void labelled(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char rows[] = L("one", "a", "true") L("one", "b", "false") L("two", "c", "1") L("one", "d", "0")
        "{\"messages\": [" U("u") ", " A("w") ", " U("x") ", " A("y") "], \"label\": true}\n"
        "{\"prompt\": [" U("two") "], \"completion\": [" A("z") "], \"label\": false, \"score\": 3}\n";
    static const struct { const char *prompt, *own, *other; int label; } want[] = {
        { "one", "a", "z", 1 }, { "one", "b", "z", -1 }, { "two", "c", "b", 1 }, { "one", "d", "c", -1 },
        { USER("u") "w<|im_end|>\n" USER("x"), "y", "d", 1 }, { USER("two"), "z", "y", -1 } };
    char text[128];
    assert_ok(f.ctx, make(&f, rows, LMF_TAKES_LABELLED, 512, LMF_LONG_ERROR));
    assert_true(f.s->n == 12 && f.s->group_size == 2 && f.s->n_measured == 1 && lmf_samples_n_trained(f.s) == 1);
    assert_true(f.s->n_label[0] == 3 && f.s->n_label[1] == 3 && f.s->n_learn == 12);
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < 2; k++) {
            assert_int_equal(f.s->items[2 * i + k].label, want[i].label);
            assert_text(&f, 2 * i + k, 0, want[i].prompt);
            snprintf(text, sizeof text, "%s<|im_end|>", k ? want[i].other : want[i].own);
            assert_text(&f, 2 * i + k, 1, text);
        }
    int32_t first = f.s->items[0].n;
    assert_true(lmf_samples_group_tok(f.s, 0) == first && lmf_samples_longest_group(f.s) == f.s->items[8].n);
    /* what is measured fits as well, at the cost of its end */
    static const char uneven[] = L("abcdef", "g", "true") L("a", "bcdefg", "false");
    assert_ok(f.ctx, make(&f, uneven, LMF_TAKES_LABELLED, 8, LMF_LONG_ERROR));
    assert_text(&f, 1, 1, "bc");
    assert_text(&f, 3, 1, "g<|im_end|>");
    /* labels are part of what data are */
    char sha[65], other[65];
    assert_ok(f.ctx, lmf_samples_sha256(f.s, f.ctx, sha));
    f.s->items[0].label = -1;
    assert_ok(f.ctx, lmf_samples_sha256(f.s, f.ctx, other));
    assert_string_not_equal(sha, other);
    teardown(&f);
}

static void labels_refused(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    static const char *const cases[][2] = {
        { L("a", "b", "true") L("c", "d", "true"), "rows.jsonl: all 2 rows have the label true: there is nothing to tell apart" },
        { L("a", "b", "false"), "all 1 rows have the label false" },
        { L("a", "b", "true") L("a", "c", "false"), "all rows have the same prompt" },
        { L("a", "b", "\"good\""), "line 1: \"label\" is neither true nor false" },
        { L("a", "b", "2"), "line 1: \"label\" is neither" }, { L("a", "b", "null"), "line 1: \"label\" is neither" },
        { L("", "b", "true"), "line 1: \"prompt\" is empty" },
        { "{\"prompt\": \"a\", \"completion\": \"b\"}", "line 1: rows with \"prompt\", \"completion\" and \"label\" are wanted here" } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(f.ctx, LMF_E_FORMAT, cases[i][1], make(&f, cases[i][0], LMF_TAKES_LABELLED, 512, LMF_LONG_ERROR));
    assert_refused(f.ctx, LMF_E_ARG, "stand alone", make(&f, cases[0][0], LMF_TAKES_LABELLED | LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR));
    assert_refused(f.ctx, LMF_E_LIMIT, "tokens, more than the 4",
                   make(&f, L("abcdef", "b", "true"), LMF_TAKES_LABELLED, 4, LMF_LONG_ERROR));
    teardown(&f);
}

LMF_TESTS(preference) = { { "messages in every form", messages }, { "turns of the prompt are not learned", turns },
                          { "texts, and what they share", texts }, { "too long", too_long }, { "refusals", refusals },
                          { "labelled rows", labelled }, { "labels refused", labels_refused }, { 0 } };
