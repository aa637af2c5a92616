/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "data/samples.h"
#include "formula.h"
#include "models/model.h"

enum { EOS = 261 };
static const char marked[] = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>"
                             "{% endgeneration %}{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
                             "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_samples *s; } fixture;

static fixture setup(const char *chat_template)
{
    fixture f = { .ctx = lmf_test_ctx() };
    assert_ok(f.ctx, lmf_model_open(f.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1, .chat_template = chat_template }), &f.m));
    return f;
}

static void teardown(fixture *f)
{
    lmf_samples_destroy(f->s);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

static lmf_status make(fixture *f, const char *text, int32_t max_tok, lmf_too_long policy)
{
    lmf_rows rows;
    const char *path = lmf_test_path("rows.jsonl");
    lmf_samples_destroy(f->s);
    f->s = NULL;
    assert_ok(f->ctx, lmf_file_write(f->ctx, path, text, strlen(text)));
    assert_ok(f->ctx, lmf_rows_open(f->ctx, path, &rows));
    lmf_status s = lmf_samples_create(&rows, &f->m->chat, max_tok, policy, &f->s);
    lmf_rows_close(&rows);
    assert_true(s ? !f->s : f->s != NULL);
    return s;
}

/* Text of the tokens whose learn mark is `learn`. */
static void text_of(const fixture *f, const lmf_sample *x, int learn, char *out)
{
    for (int32_t k = 0; k < x->n; k++) {
        size_t n;
        const uint8_t *p = lmf_tokenizer_piece(f->m->tokenizer, x->id[k], &n);
        if (x->learn[k] == learn) {
            memcpy(out, p, n);
            out += n;
        }
    }
    *out = 0;
}

static void assert_sample(const fixture *f, int i, const char *learned, const char *rest)
{
    char text[1024];
    int n_learn = 0;
    const lmf_sample *x = &f->s->items[i];
    text_of(f, x, 1, text);
    assert_string_equal(text, learned);
    text_of(f, x, 0, text);
    assert_string_equal(text, rest);
    for (int32_t k = 0; k < x->n; k++)
        n_learn += x->learn[k];
    assert_int_equal(x->n_learn, n_learn);
}

#define CHAT "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"hi the\\nre\"}, " \
    "{\"role\": \"assistant\", \"content\": \"he said: \\u00e9\"}, {\"role\": \"user\", \"content\": \"<|im_end|>\"}, {\"role\": \"assistant\", \"content\": \"\"}]}\n"
#define LEARNED "he said: \u00e9<|im_end|><|im_end|>"
#define REST "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi the\nre<|im_end|>\n<|im_start|>assistant\n\n<|im_start|>user\n<|im_end|><|im_end|>\n<|im_start|>assistant\n"

static void mask_from_prefixes(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    assert_ok(f.ctx, make(&f, CHAT, 512, LMF_LONG_ERROR));
    assert_sample(&f, 0, LEARNED, REST);
    /* what stands behind the last end of turn is cut */
    assert_int_equal(f.s->items[0].id[f.s->items[0].n - 1], EOS);
    assert_int_equal(f.s->n, 1);
    assert_int_equal(f.s->longest, f.s->items[0].n);
    assert_int_equal(f.s->n_tok, f.s->items[0].n);
    assert_int_equal(f.s->n_learn, f.s->items[0].n_learn);
    teardown(&f);
}

static void mask_from_generation_marks(void **state)
{
    (void)state;
    fixture f = setup(marked);
    assert_ok(f.ctx, make(&f, CHAT, 512, LMF_LONG_ERROR));
    assert_sample(&f, 0, LEARNED, REST);
    teardown(&f);
}

/* A template that rewrites earlier turns: refused without marks, fine with them. */
static void template_that_rewrites(void **state)
{
    (void)state;
    static const char without[] = "{{ messages|length }}{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}";
    static const char with[] = "{{ messages|length }}{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
                               "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{% endfor %}";
    fixture f = setup(without);
    assert_refused(f.ctx, LMF_E_FORMAT, "line 1: the template changes earlier turns", make(&f, CHAT, 512, LMF_LONG_ERROR));
    teardown(&f);
    f = setup(with);
    assert_ok(f.ctx, make(&f, CHAT, 512, LMF_LONG_ERROR));
    assert_sample(&f, 0, LEARNED, "5s<|im_end|>hi the\nre<|im_end|><|im_end|><|im_end|>");
    teardown(&f);
}

static void plain_rows(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    assert_ok(f.ctx, make(&f, "{\"prompt\": \"in the\", \"completion\": \" the end\"}\n{\"text\": \"the end\"}\n{\"prompt\": \"\", \"completion\": \"ab\"}\n", 512, LMF_LONG_ERROR));
    assert_sample(&f, 0, " the end<|im_end|>", "in the");
    assert_sample(&f, 1, "he end<|im_end|>", "t"); /* nothing predicts a first token */
    assert_sample(&f, 2, "b<|im_end|>", "a");
    assert_int_equal(f.s->items[2].line, 3);
    teardown(&f);
}

static void empty_mask(void **state)
{
    (void)state;
    static const char answers_are_left_out[] = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}<|im_end|>{% endfor %}";
    fixture f = setup(answers_are_left_out);
    /* refused with what the template made of the row */
    assert_refused(f.ctx, LMF_E_FORMAT, "line 1: nothing in this row is learned (its loss mask is empty). The row as the model sees it: hi the\nre<|im_end|>",
                   make(&f, CHAT, 512, LMF_LONG_ERROR));
    teardown(&f);
    f = setup(NULL);
    /* one token, which nothing predicts */
    assert_refused(f.ctx, LMF_E_FORMAT, "line 2: nothing in this row is learned", make(&f, "{\"text\": \"ab\"}\n{\"text\": \"\"}\n", 512, LMF_LONG_ERROR));
    teardown(&f);
}

static void too_long(void **state)
{
    (void)state;
    static const char text[] = "{\"prompt\": \"0123456789\", \"completion\": \"ab\"}\n{\"prompt\": \"01\", \"completion\": \"abcdefghij\"}\n{\"text\": \"xyz\"}\n";
    fixture f = setup(NULL);
    assert_refused(f.ctx, LMF_E_LIMIT, "line 1: 13 tokens, more than the 8", make(&f, text, 8, LMF_LONG_ERROR));
    assert_ok(f.ctx, make(&f, text, 13, LMF_LONG_ERROR));
    assert_int_equal(f.s->longest, 13);
    assert_ok(f.ctx, make(&f, text, 8, LMF_LONG_SKIP));
    assert_int_equal(f.s->n, 1);
    assert_int_equal(f.s->n_skipped, 2);
    assert_int_equal(f.s->items[0].line, 3);
    assert_ok(f.ctx, make(&f, text, 8, LMF_LONG_TRUNCATE));
    assert_int_equal(f.s->n, 2); /* row 1's answer lies behind the cut */
    assert_int_equal(f.s->n_skipped, 1);
    assert_int_equal(f.s->n_truncated, 1);
    assert_sample(&f, 0, "abcdef", "01");
    assert_int_equal(f.s->longest, 8);
    assert_refused(f.ctx, LMF_E_FORMAT, "none of the 3 rows fits into 3 tokens", make(&f, text, 3, LMF_LONG_SKIP));
    teardown(&f);
}

static void base_model(void **state)
{
    (void)state;
    fixture f = setup("");
    f.m->chat.source = NULL;
    assert_refused(f.ctx, LMF_E_UNSUPPORTED, "line 1: the model has no chat template", make(&f, CHAT, 512, LMF_LONG_ERROR));
    assert_ok(f.ctx, make(&f, "{\"text\": \"ab\"}\n", 512, LMF_LONG_ERROR));
    teardown(&f);
}

static void prompts(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    lmf_rows rows;
    lmf_ids ids;
    const char *answer, *path = lmf_test_path("rows.jsonl");
    static const char text[] = CHAT "{\"prompt\": \"in\", \"completion\": \"out\"}\n{\"text\": \"t\"}\n";
    assert_ok(f.ctx, lmf_file_write(f.ctx, path, text, sizeof text - 1));
    assert_ok(f.ctx, lmf_rows_open(f.ctx, path, &rows));
    lmf_ids_init(&ids, f.ctx, 4096);
    assert_ok(f.ctx, make(&f, CHAT, 512, LMF_LONG_ERROR));
    assert_ok(f.ctx, lmf_row_prompt(&rows, 0, &f.m->chat, &ids, &answer));
    assert_string_equal(answer, "");
    /* the prompt is the training sample without its last answer, which is the end of turn alone */
    assert_int_equal(ids.n, f.s->items[0].n - 1);
    assert_memory_equal(ids.data, f.s->items[0].id, ids.n * sizeof *ids.data);
    ids.n = 0;
    assert_ok(f.ctx, lmf_row_prompt(&rows, 1, &f.m->chat, &ids, &answer));
    assert_string_equal(answer, "out");
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.data[0], 257);
    assert_refused(f.ctx, LMF_E_FORMAT, "line 3: a test row has", lmf_row_prompt(&rows, 2, &f.m->chat, &ids, &answer));
    lmf_ids_clear(&ids);
    lmf_rows_close(&rows);
    teardown(&f);
}

static lmf_status create_all(lmf_ctx *ctx, void *arg)
{
    const char *const *paths = arg;
    lmf_model *m;
    lmf_rows rows;
    lmf_samples *s = NULL;
    LMF_TRY(lmf_model_open(ctx, paths[0], &m));
    lmf_status r = lmf_rows_open(ctx, paths[1], &rows);
    if (!r)
        r = lmf_samples_create(&rows, &m->chat, 512, LMF_LONG_ERROR, &s);
    lmf_samples_destroy(s);
    lmf_rows_close(&rows);
    lmf_model_close(m);
    return r;
}

static void each_call_fails(void **state)
{
    (void)state;
    static char model[512], rows[512];
    lmf_ctx *ctx = lmf_test_ctx();
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }));
    snprintf(rows, sizeof rows, "%s", lmf_test_path("rows.jsonl"));
    assert_ok(ctx, lmf_file_write(ctx, rows, CHAT "{\"text\": \"t\"}\n", sizeof(CHAT "{\"text\": \"t\"}\n") - 1));
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(create_all, (const char *[]){ model, rows }) > 20);
}

LMF_TESTS(samples) = { { "mask from rendered prefixes", mask_from_prefixes }, { "mask from generation marks", mask_from_generation_marks },
                       { "a template that rewrites turns", template_that_rewrites }, { "prompt and completion, text", plain_rows },
                       { "an empty mask is refused with the row", empty_mask }, { "too long: refuse, skip, cut", too_long },
                       { "a base model", base_model }, { "prompts for evaluation", prompts }, { "each call fails once", each_call_fails }, { 0 } };
