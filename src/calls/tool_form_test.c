/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls as several templates spell them, found out and told from text again. */
#include <string.h>
#include "calls/tool_form.h"
#include "calls/tool_scan.h"
#include "test.h"
#include "text/tokenizer/tokenizer_test.h"

#define TURN(call) "{% for m in messages %}<|im_start|>{{ m.role }}\n" \
    "{% if m.tool_calls %}{% for c in m.tool_calls %}" call "{% endfor %}{% else %}{{ m.content }}" \
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

typedef struct fixture { lmf_ctx *ctx; test_vocab v; lmf_tokenizer *tokenizer; lmf_template *source; lmf_tool_form form; } fixture;

static void open_form(fixture *f, const char *template)
{
    f->ctx = lmf_test_ctx();
    test_vocab_init(&f->v, "gpt-2");
    test_vocab_add(&f->v, "<|im_start|>", LMF_TOKEN_CONTROL, 0);
    test_vocab_add(&f->v, "<|im_end|>", LMF_TOKEN_CONTROL, 0);
    f->tokenizer = test_tokenizer(f->ctx, &f->v);
    assert_ok(f->ctx, lmf_template_parse(f->ctx, template, strlen(template), &f->source));
    lmf_chat chat = { .ctx = f->ctx, .tokenizer = f->tokenizer, .source = f->source };
    lmf_chat_forms forms;
    assert_ok(f->ctx, lmf_chat_find_forms(&chat, &forms));
    assert_ok(f->ctx, lmf_tool_form_find(&chat, &forms, &f->form));
}

static void close_form(fixture *f)
{
    lmf_template_destroy(f->source);
    lmf_tokenizer_destroy(f->tokenizer);
    lmf_test_ctx_done(f->ctx);
}

static void found(void **state)
{
    static const struct { const char *template, *open, *close, *arguments, *lead, *tail, *between; } forms[] = {
        { TURN("<tool_call>\n{{ c.function | tojson }}\n</tool_call>\n"), "<tool_call>", "</tool_call>", "arguments",
            "\n", "\n", "\n</tool_call>\n<tool_call>\n" },
        { TURN("{\"name\": \"{{ c.function.name }}\", \"parameters\": {{ c.function.arguments | tojson }}}"), "", "", "parameters",
            "", "", "" },
        { TURN("[TOOL_CALLS] [{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson }}}]"),
            "[TOOL_CALLS] [", "]", "arguments", "", "", "][TOOL_CALLS] [" },
        { TURN("{{ c.function.name }}({{ c.function.arguments | tojson }})"), .open = NULL }, { TURN(""), .open = NULL } };
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        fixture f = { 0 };
        open_form(&f, forms[i].template);
        assert_int_equal(f.form.known, forms[i].open != NULL);
        if (f.form.known) {
            assert_string_equal(f.form.open, forms[i].open);
            assert_string_equal(f.form.close, forms[i].close);
            assert_string_equal(f.form.arguments, forms[i].arguments);
            assert_string_equal(f.form.lead, forms[i].lead);
            assert_string_equal(f.form.tail, forms[i].tail);
            assert_string_equal(f.form.between, forms[i].between);
        }
        close_form(&f);
    }
}

/* As a stream gives them, a byte at a time, and all at once. */
static size_t n_calls(const lmf_tool_form *form, const char *text, size_t *begin)
{
    size_t n = strlen(text), k[2] = { 0 };
    *begin = lmf_tool_form_begin(form, text, n, 0);
    for (int turn = 0; turn < 2; turn++) {
        lmf_tool_scan scan = { .at = *begin };
        lmf_tool_piece p;
        char arguments[1024];
        size_t n_arguments = 0;
        for (size_t have = turn ? n : *begin; have <= n; have++)
            while (lmf_tool_scan_next(&scan, form, text, have, &p)) {
                if (p.name) {
                    assert_string_equal(json_string_value(p.name), strchr(text, '\\') && !strstr(text, "{\"a\"") ? "f\"\\" : "f");
                    json_decref(p.name);
                    k[turn]++;
                } else {
                    memcpy(arguments + n_arguments, p.arguments, p.n);
                    n_arguments += p.n;
                }
            }
        arguments[n_arguments] = 0;
        if (!lmf_tool_scan_is_whole(&scan, form, text, n))
            k[turn] = 0;
        else if (k[turn] == 1)
            assert_string_equal(arguments, strstr(text, "{\"a\"") ? "{\"a\": \"}</tool_call>\\\"\"}" : "{}");
    }
    assert_int_equal(k[0], k[1]);
    return k[0];
}

#define CALL "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": \"}</tool_call>\\\"\"}}\n</tool_call>"

static void told(void **state)
{
    static const lmf_tool_form form = { true, "<tool_call>", "</tool_call>", "\n", "\n", "\n</tool_call>\n<tool_call>\n", "arguments" },
        bare = { true, "", "", "", "", "", "parameters" };
    static const struct { const char *text; size_t n, begin; } texts[] = {
        { CALL, 1, 0 }, { "Well. " CALL "\n" CALL " ", 2, 6 }, { "no call", 0, 7 }, { "<tool", 0, 0 }, { "a <tool> <tool_ca", 0, 9 },
        { "<tool_call>{\"name\": \"f\"}</tool_call>", 0, 0 }, { "<tool_call>{\"name\": 3, \"arguments\": {}}</tool_call>", 0, 0 },
            { "<tool_call>{\"name\": \"f\\\"\\\\\", \"arguments\": {}}</tool_call>", 1, 0 },
            { CALL " and more", 0, 0 }, { CALL "\n<tool_call>", 0, 0 },
        { "<tool_call>{\"name\": \"f\", \"arguments\": {}}", 1, 0 }, { "<tool_call>{\"name\": \"f\", \"arguments\": {}", 0, 0 },
        { "<tool_call>{\"name\": \"f\", \"name\": \"f\", \"arguments\": {}}</tool_call>", 0, 0 },
        { "<tool_call>{\"name\": \"f\", \"arguments\": {}, \"id\": 1}</tool_call>", 0, 0 } };
    size_t begin;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(n_calls(&form, texts[i].text, &begin), texts[i].n);
        assert_int_equal(begin, texts[i].begin);
    }
    assert_int_equal(n_calls(&bare, " {\"name\": \"f\", \"parameters\": {}}", &begin), 1);
    assert_int_equal(n_calls(&bare, "It is {\"name\": \"f\", \"parameters\": {}}", &begin), 0);
}

LMF_TESTS(tool_form) = { { "the form is found from the template", found }, { "calls are told from text", told }, { 0 } };
