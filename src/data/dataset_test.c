/* SPDX-License-Identifier: Apache-2.0 */
#include "data/dataset.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "formula.h"
#include "models/model.h"
#include "test.h"

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_dataset *d; char spec[4][600]; const char *list[4]; lmf_dataset_opts o; } fixture;

static void setup(fixture *f)
{
    *f = (fixture){ .ctx = lmf_test_ctx() };
    assert_ok(f->ctx, lmf_model_open(f->ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }), &f->m));
    f->o = (lmf_dataset_opts){ .spec = f->list, .samples = { LMF_TAKES_SINGLE, 256, LMF_LONG_ERROR, LMF_TRAIN_ANSWERS }, .seed = 3 };
}

static void teardown(fixture *f)
{
    lmf_dataset_close(f->d);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

/* n rows "a0", "a1" ... of prompt and completion, those in same doubled; options behind the path. */
static void add_file(fixture *f, const char *letter, int n, const char *options)
{
    char text[20000] = "", name[32];
    for (int i = 0; i < n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"prompt\": \"%s\", \"completion\": \"%d of %s\"}\n", letter, i,
            letter);
    snprintf(name, sizeof name, "%s.jsonl", letter);
    const char *path = lmf_test_path(name);
    assert_ok(f->ctx, lmf_file_write(f->ctx, path, text, strlen(text)));
    snprintf(f->spec[f->o.n_specs], sizeof f->spec[0], "%s%s", path, options);
    f->list[f->o.n_specs] = f->spec[f->o.n_specs];
    f->o.n_specs++;
}

static void add_text(fixture *f, const char *name, const char *text)
{
    const char *path = lmf_test_path(name);
    assert_ok(f->ctx, lmf_file_write(f->ctx, path, text, strlen(text)));
    snprintf(f->spec[f->o.n_specs], sizeof f->spec[0], "%s", path);
    f->list[f->o.n_specs] = f->spec[f->o.n_specs];
    f->o.n_specs++;
}

static int64_t of_file(const lmf_samples *s, int i)
{
    int64_t n = 0;
    for (int64_t k = 0; k < s->n; k++)
        n += s->items[k].i_file == i;
    return n;
}

static void specifications(void **state)
{
    (void)state;
    fixture f;
    lmf_arena a;
    lmf_data_spec s;
    setup(&f);
    lmf_arena_init(&a, f.ctx, 1 << 20);
    assert_ok(f.ctx, lmf_data_spec_parse(&a, "x.csv:type=alpaca,weight=0.5,instruction=q,split=lines,file=csv", &s));
    assert_string_equal(s.path, "x.csv");
    assert_string_equal(s.rows.format->name, "alpaca");
    assert_true(s.weight == 0.5 && s.rows.n_renames == 1 && s.rows.split == LMF_SPLIT_LINES && s.rows.kind == LMF_FILE_CSV);
    assert_string_equal(s.rows.rename[0].to, "instruction");
    assert_string_equal(s.rows.rename[0].from, "q");
    assert_ok(f.ctx, lmf_data_spec_parse(&a, "C:/x:y", &s)); /* no option in it */
    assert_string_equal(s.path, "C:/x:y");
    assert_true(s.weight == 1 && !s.rows.format);
    char path[600]; /* what is there under its whole name is that */
    snprintf(path, sizeof path, "%s:type=alpaca", lmf_test_path("odd"));
    assert_ok(f.ctx, lmf_file_write(f.ctx, path, "x", 1));
    assert_ok(f.ctx, lmf_data_spec_parse(&a, path, &s));
    assert_string_equal(s.path, path);
    static const struct { const char *text, *words; } bad[] = {
        { "x:type=alpacca", "has type=alpacca, but alpaca, sharegpt, messages" },
        { "x:weight=0", "has weight=0, but a weight is a number above 0, at most 1000" },
        { "x:weight=nan", "has weight=nan, but a weight" },
        { "x:weight=2x", "has weight=2x, but a weight" },
        { "x:file=parquet", "has file=parquet, but json, csv and text are known" },
        { "x:split=words", "has split=words, but lines, paragraphs and none are known" },
        { "x:type=alpaca,oops", "has the option \"oops\", but must have KEY=VALUE there" },
        { "x:type=", "has the option \"type=\", but must have KEY=VALUE there" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_refused(f.ctx, LMF_E_ARG, bad[i].words, lmf_data_spec_parse(&a, bad[i].text, &s));
    lmf_arena_clear(&a);
    teardown(&f);
}

static void weights(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    add_file(&f, "a", 10, "");
    add_file(&f, "b", 10, ":weight=0.3");
    add_file(&f, "c", 10, ":weight=2.5");
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    assert_int_equal(of_file(f.d->train, 0), 10);
    assert_int_equal(of_file(f.d->train, 1), 3);
    assert_int_equal(of_file(f.d->train, 2), 25);
    assert_null(f.d->held_out);
    int64_t tok = 0;
    for (int64_t k = 0; k < f.d->train->n; k++)
        tok += f.d->train->items[k].n;
    assert_int_equal(tok, f.d->train->n_tok);
    lmf_dataset *again; /* the seed decides, and nothing else */
    char first[65], second[65];
    assert_ok(f.ctx, lmf_samples_sha256(f.d->train, f.ctx, first));
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &again));
    assert_ok(f.ctx, lmf_samples_sha256(again->train, f.ctx, second));
    assert_string_equal(first, second);
    lmf_dataset_close(again);
    f.o.seed++;
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &again));
    assert_ok(f.ctx, lmf_samples_sha256(again->train, f.ctx, second));
    assert_string_not_equal(first, second);
    lmf_dataset_close(again);
    teardown(&f);
}

static void held_out(void **state)
{
    (void)state;
    static const struct { double ask; int64_t got; } rows[] = { { 0.25, 5 }, { 0.01, 1 }, { 7, 7 }, { 19, 19 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fixture f;
        int64_t shared, lines[2];
        setup(&f);
        add_file(&f, "a", 20, "");
        f.o.hold_out = rows[i].ask;
        assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
        assert_int_equal(f.d->held_out->n, rows[i].got);
        assert_int_equal(f.d->train->n, 20 - rows[i].got);
        assert_ok(f.ctx, lmf_samples_shared(f.d->train, f.d->held_out, &shared, lines));
        assert_int_equal(shared, 0);
        teardown(&f);
    }
    fixture f;
    setup(&f);
    add_file(&f, "a", 20, "");
    f.o.hold_out = 20;
    assert_refused(f.ctx, LMF_E_ARG, "20 rows are to be held out of 20: none would be left", lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    teardown(&f);
}

/* What is the same lies on one side, wherever it comes from. */
static void doubles(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        fixture f;
        int64_t shared, lines[2];
        setup(&f);
        add_file(&f, "a", 12, "");
        snprintf(f.spec[1], sizeof f.spec[1], "%s", f.spec[0]);
        f.list[1] = f.spec[1], f.o.n_specs = 2;
        f.o.hold_out = 0.3;
        f.o.seed = seed;
        assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
        assert_int_equal(f.d->file[0].n_duplicates, 0);
        assert_int_equal(f.d->file[1].n_duplicates, 12);
        assert_int_equal(f.d->file[1].first_duplicate, 1);
        assert_int_equal(f.d->held_out->n, 8);
        assert_ok(f.ctx, lmf_samples_shared(f.d->train, f.d->held_out, &shared, lines));
        assert_int_equal(shared, 0);
        lmf_dataset_close(f.d);
        f.o.drop_duplicates = true;
        assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
        assert_int_equal(f.d->train->n + f.d->held_out->n, 12);
        assert_int_equal(of_file(f.d->train, 1) + of_file(f.d->held_out, 1), 0);
        teardown(&f);
    }
    fixture f;
    int64_t shared, lines[2];
    setup(&f);
    add_file(&f, "a", 3, "");
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    assert_ok(f.ctx, lmf_samples_shared(f.d->train, f.d->train, &shared, lines));
    assert_int_equal(shared, 3);
    assert_true(lines[0] == 1 && lines[1] == 1);
    teardown(&f);
}

static void empty_answers(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    add_text(&f, "e.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \" \"}\n"
                            "{\"prompt\": \"a\", \"completion\": \"\"}\n{\"prompt\": \"a\", \"completion\": \"\"}\n");
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    assert_int_equal(f.d->file[0].n_empty, 3);
    assert_int_equal(f.d->file[0].first_empty, 2);
    assert_int_equal(f.d->file[0].n_duplicates, 1);
    assert_int_equal(f.d->file[0].first_duplicate, 4);
    assert_int_equal(f.d->file[0].duplicate_of, 3);
    assert_int_equal(f.d->train->n, 4);
    lmf_dataset_close(f.d);
    f.o.drop_empty = true;
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    assert_int_equal(f.d->train->n, 1);
    teardown(&f);
}

/* Each piece is full but the last, and nothing is lost. */
static void long_text(void **state)
{
    (void)state;
    fixture f;
    char text[2100];
    setup(&f);
    for (size_t i = 0; i < sizeof text - 1; i++)
        text[i] = (char)('a' + i * i % 23);
    text[sizeof text - 1] = 0;
    add_text(&f, "book.txt", text);
    assert_refused(f.ctx, LMF_E_LIMIT, "more than the 256 of a sequence; --too-long split", lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    f.o.samples.too_long = LMF_LONG_SPLIT;
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    const lmf_samples *s = f.d->train;
    lmf_buf back;
    lmf_buf_init(&back, f.ctx, 1 << 20);
    for (int64_t k = 0; k < s->n; k++) {
        assert_int_equal(s->items[k].n_learn, s->items[k].n - 1);
        assert_true(k + 1 == s->n ? s->items[k].n <= 256 : s->items[k].n == 256);
        assert_ok(f.ctx, lmf_tokenizer_decode(f.m->chat.tokenizer, s->items[k].id, (size_t)s->items[k].n, LMF_DECODE_SKIP_SPECIAL, &back));
    }
    assert_true(s->n > 2);
    assert_string_equal(lmf_buf_str(&back), text);
    lmf_buf_clear(&back);
    teardown(&f);
}

/* The pieces of text that are trained, parted by "|". */
static void expect_trained(const char *row, lmf_train_on on, const char *want)
{
    fixture f;
    lmf_buf got;
    setup(&f);
    add_text(&f, "r.jsonl", row);
    f.o.samples.train_on = on;
    assert_ok(f.ctx, lmf_dataset_open(&f.m->chat, &f.o, &f.d));
    const lmf_sample *s = f.d->train->items;
    lmf_buf_init(&got, f.ctx, 1 << 16);
    for (int32_t i = 0; i < s->n; i++) {
        if (s->learn[i] && got.n && !s->learn[i - 1])
            lmf_buf_putc(&got, '|');
        if (s->learn[i])
            assert_ok(f.ctx, lmf_tokenizer_decode(f.m->chat.tokenizer, &s->id[i], 1, 0, &got));
    }
    assert_string_equal(lmf_buf_str(&got), want);
    lmf_buf_clear(&got);
    teardown(&f);
}

static void what_is_trained(void **state)
{
    (void)state;
    static const char two[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": "
        "\"one\"}, {\"role\": "
        "\"user\", \"content\": \"r\"}, {\"role\": \"assistant\", \"content\": \"two\"}]}";
    expect_trained(two, LMF_TRAIN_ANSWERS, "one<|im_end|>|two<|im_end|>");
    expect_trained(two, LMF_TRAIN_LAST, "two<|im_end|>");
    /* all but the first token, which nothing predicts */
    expect_trained(two, LMF_TRAIN_ALL, "user\nq<|im_end|>\n<|im_start|>assistant\none<|im_end|>\n<|im_start|>user\nr<|im_end|>\n"
                                       "<|im_start|>assistant\ntwo<|im_end|>\n");
    static const char plain[] = "{\"prompt\": \"ab\", \"completion\": \"cd\"}";
    expect_trained(plain, LMF_TRAIN_ANSWERS, "cd<|im_end|>");
    expect_trained("{\"segments\": [{\"text\": \"a\", \"label\": false}, {\"text\": \"b\", \"label\": true}, {\"text\": \"cd\", "
        "\"label\": false}, "
                   "{\"text\": \"<|im_end|>\", \"label\": true}]}", LMF_TRAIN_ANSWERS, "b|<|im_end|>");
}

static lmf_status sweep(lmf_ctx *ctx, void *arg)
{
    fixture *f = arg;
    lmf_dataset *d;
    lmf_chat chat = f->m->chat;
    chat.ctx = ctx;
    LMF_TRY(lmf_dataset_open(&chat, &f->o, &d));
    lmf_dataset_close(d);
    return LMF_OK;
}

static void each_call_fails(void **state)
{
    (void)state;
    fixture f;
    setup(&f);
    add_file(&f, "a", 3, "");
    add_file(&f, "b", 3, ":weight=1.5");
    f.o.hold_out = 2;
    assert_true(lmf_test_fail_each_call(sweep, &f) > 10);
    teardown(&f);
}

LMF_TESTS(dataset) = {
    { "specifications", specifications },
    { "weights", weights },
    { "held out", held_out },
    { "doubles", doubles },
    { "empty answers", empty_answers },
    { "long text in pieces", long_text },
    { "what is trained", what_is_trained },
    { "each call fails once", each_call_fails },
    { 0 }
};
