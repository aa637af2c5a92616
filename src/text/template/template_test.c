/* SPDX-License-Identifier: Apache-2.0 */
/* The table tests/parity/template_cases.jsonl holds what jinja2 gives (tools/oracle/template.py checks it); here stand
 * what jinja2 has not: budgets, failing allocations, and that nothing outside of the variables can be reached. */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "test.h"
#include "text/template/template.h"

static const char conversation[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"S\"}, {\"role\": \"user\", \"content\": \"h\\u00e9\"},"
    " {\"role\": \"assistant\", \"content\": \"yes\", \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, null]}}}]}],"
    " \"bos_token\": \"<s>\", \"add_generation_prompt\": true}";

static const char chat[] =
    "{%- set ns = namespace(n=0) -%}{{ bos_token }}\n"
    "{%- macro call(c) %}{{ c.function.name }}({{ c.function.arguments | tojson }}){% endmacro %}\n"
    "{%- for m in messages %}\n"
    "    {%- set ns.n = ns.n + 1 %}\n"
    "    {%- if m.role == 'assistant' %}\n"
    "{{- '<|a|>' }}{% generation %}{{ m['content'] | trim }}{% for c in m.tool_calls %} {{ call(c) }}{% endfor %}{{ '<|end|>' }}{% endgeneration %}\n"
    "    {%- else %}\n"
    "{{- '<|' ~ m.role[0] ~ '|>' + m.content + '<|end|>' }}\n"
    "    {%- endif %}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}{{ '<|a|>' }}{% endif %}{{ ns.n }}";

typedef struct run {
    const char        *source, *vars;
    lmf_template_opts  opts;
    lmf_buf            out;
    lmf_span_list      spans;
} run;

static run run_of(lmf_ctx *ctx, const char *source, const char *vars)
{
    run r = { .source = source, .vars = vars, .opts = lmf_template_opts_default() };
    lmf_buf_init(&r.out, ctx, 16 << 20);
    lmf_span_list_init(&r.spans, ctx);
    return r;
}

static void run_clear(run *r)
{
    lmf_buf_clear(&r->out);
    lmf_span_list_clear(&r->spans);
}

static lmf_status render_n(lmf_ctx *ctx, run *r, size_t n)
{
    lmf_template *t;
    json_t *vars = json_loads(r->vars, 0, NULL);
    assert_non_null(vars);
    lmf_status s = lmf_template_parse(ctx, r->source, n, &t);
    if (!s)
        s = lmf_template_render(t, vars, &r->opts, &r->out, &r->spans);
    lmf_template_destroy(t);
    json_decref(vars);
    return s;
}

static lmf_status render(lmf_ctx *ctx, run *r) { return render_n(ctx, r, strlen(r->source)); }

/* Renders with the defaults; the text must be this one. */
static void gives(lmf_ctx *ctx, const char *source, const char *text)
{
    run r = run_of(ctx, source, "{}");
    assert_ok(ctx, render(ctx, &r));
    assert_string_equal(lmf_buf_str(&r.out), text);
    run_clear(&r);
}

static void refuses(lmf_ctx *ctx, const char *source, lmf_status status, const char *words)
{
    run r = run_of(ctx, source, "{}");
    assert_refused(ctx, status, words, render(ctx, &r));
    assert_int_equal(r.out.n, 0);
    run_clear(&r);
}

static void table(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char *data;
    size_t n;
    int n_rows = 0, n_refused = 0;
    assert_ok(ctx, lmf_file_read(ctx, lmf_test_source_path("tests/parity/template_cases.jsonl"), 1 << 20, &data, &n));
    for (char *line = data, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, n_rows++) {
        json_error_t why;
        json_t *row = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, &why), *text = json_object_get(row, "text"), *spans = json_object_get(row, "spans");
        json_t *source = json_object_get(row, "template"), *vars = json_object_get(row, "vars"), *empty = json_object();
        lmf_template *t;
        run r = run_of(ctx, json_string_value(source), "");
        r.opts.now_unix = 1767323045; /* 2026-01-02 03:04:05 */
        assert_non_null(row);
        lmf_status s = lmf_template_parse(ctx, r.source, json_string_length(source), &t);
        if (!s)
            s = lmf_template_render(t, vars ? vars : empty, &r.opts, &r.out, &r.spans);
        if (!text) {
            n_refused++;
            if (!s)
                fail_msg("row %d: %s: not refused, gives %s", n_rows + 1, r.source, lmf_buf_str(&r.out));
        } else {
            if (s)
                fail_msg("row %d: %s: %s", n_rows + 1, r.source, lmf_error(ctx));
            if (r.out.n != json_string_length(text) || memcmp(lmf_buf_str(&r.out), json_string_value(text), r.out.n) != 0)
                fail_msg("row %d: %s: %s, not %s", n_rows + 1, r.source, lmf_buf_str(&r.out), json_string_value(text));
            assert_int_equal(r.spans.n, json_array_size(spans));
            for (size_t i = 0; i < r.spans.n; i++) {
                assert_int_equal(r.spans.items[i].begin, json_integer_value(json_array_get(json_array_get(spans, i), 0)));
                assert_int_equal(r.spans.items[i].end, json_integer_value(json_array_get(json_array_get(spans, i), 1)));
            }
        }
        lmf_template_destroy(t);
        run_clear(&r);
        json_decref(row);
        json_decref(empty);
    }
    assert_true(n_rows > 500 && n_refused > 50);
    lmf_free(ctx, data, n + 1);
    lmf_test_ctx_done(ctx);
}

static void conversation_and_spans(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    run r = run_of(ctx, chat, conversation);
    assert_ok(ctx, lmf_buf_puts(&r.out, "kept "));
    assert_ok(ctx, render(ctx, &r));
    assert_string_equal(lmf_buf_str(&r.out), "kept <s><|s|>S<|end|><|u|>h\u00e9<|end|><|a|>yes f({\"x\": [1, 2.5, null]})<|end|><|a|>3");
    assert_int_equal(r.spans.n, 1);
    const char *begin = strstr(r.out.data, "yes"), *end = strstr(r.out.data, "<|a|>3");
    assert_int_equal(r.spans.items[0].begin, begin - r.out.data);
    assert_int_equal(r.spans.items[0].end, end - r.out.data);
    run_clear(&r);
    lmf_test_ctx_done(ctx);
}

static void sentences(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    refuses(ctx, "a\nb {{ raise_exception('roles must alternate') }}", LMF_E_ARG, "line 2: roles must alternate");
    refuses(ctx, "\n\n{{ x.y }}", LMF_E_ARG, "line 3: 'x' is undefined");
    refuses(ctx, "{% if x %}\n{% frob %}", LMF_E_FORMAT, "line 2: expected a statement, found 'frob'");
    refuses(ctx, "\n{{ 1|nofilter }}", LMF_E_FORMAT, "line 2: the filter 'nofilter' does not exist");
    refuses(ctx, "{{ x|urlize }}", LMF_E_UNSUPPORTED, "'urlize' is not supported");
    refuses(ctx, "{% extends 'x' %}", LMF_E_UNSUPPORTED, "'extends' is not supported");
    refuses(ctx, "{{ 9223372036854775807 + 1 }}", LMF_E_UNSUPPORTED, "64-bit");
    refuses(ctx, "{{ [1]|map('string') }}", LMF_E_ARG, "|list");
    run r = run_of(ctx, "a\xff", "{}");
    assert_refused(ctx, LMF_E_FORMAT, "byte 1 is not UTF-8", render(ctx, &r));
    run_clear(&r);
    r = run_of(ctx, "a", "[]");
    assert_refused(ctx, LMF_E_ARG, "must be a JSON object", render(ctx, &r));
    run_clear(&r);
    r = run_of(ctx, "text before {{ 1/0 }}", "{}");
    assert_ok(ctx, lmf_buf_puts(&r.out, "kept"));
    assert_refused(ctx, LMF_E_ARG, "division by zero", render(ctx, &r));
    assert_string_equal(lmf_buf_str(&r.out), "kept");
    run_clear(&r);
    lmf_test_ctx_done(ctx);
}

static void budgets(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const struct { const char *source; lmf_status status; const char *words; } rows[] = {
        { "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", LMF_E_LIMIT, "" },
        { "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", LMF_E_LIMIT, "nest" },
        { "{{ 'a' * 1000000000 }}", LMF_E_LIMIT, "bytes" },
        { "{{ [0] * 1000000000 }}", LMF_E_LIMIT, "bytes" },
        { "{{ range(10**9) }}", LMF_E_LIMIT, "range" },
        { "{% set ns = namespace(s='abcdefgh') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", LMF_E_LIMIT, "" },
        { "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}", LMF_E_LIMIT, "" },
        { "{% set s = 'x' * 1000000 %}{% for i in range(100) %}{{ s }}{% endfor %}", LMF_E_LIMIT, "output" },
        { "{% set s = 'x' * 30000000 %}{% for i in range(99) %}{% if s == s ~ 'y' %}{% endif %}{% endfor %}", LMF_E_LIMIT, "" },
        { "{{ '%99999d' % 1 }}", LMF_E_LIMIT, "width" }, { "{{ '{:99999}'.format(1) }}", LMF_E_LIMIT, "width" },
        { "{{ 'x'.center(10**12) }}", LMF_E_LIMIT, "width" }, { "{{ 'a'|indent(10**9) }}", LMF_E_LIMIT, "width" },
        { "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", LMF_E_LIMIT, "deep" },
        { "{% set ns = namespace(l=[]) %}{% for i in range(500) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}", LMF_E_LIMIT, "deeper" },
        { "{{ 9**9**9**9 }}", LMF_E_UNSUPPORTED, "64-bit" },
        { "{% set s = 'ab' * 100000 %}{{ s|replace('', s) }}", LMF_E_LIMIT, "" },
        { "{{ ('a' * 10000)|list|map('replace', 'a', 'b' * 1000000)|list }}", LMF_E_LIMIT, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refuses(ctx, rows[i].source, rows[i].status, rows[i].words);

    static const char open[] = "((((((((((((((((((((", neg[] = "{{ ---------------------------------------- 1 }}";
    char deep[4096] = "{{ ";
    gives(ctx, neg, "1");
    for (int i = 0; i < 20; i++)
        strcat(deep, open);
    refuses(ctx, deep, LMF_E_LIMIT, "nest");
    memset(deep + 3, '-', 3000);
    strcpy(deep + 3003, "1 }}");
    refuses(ctx, deep, LMF_E_LIMIT, "deeper");

    run r = run_of(ctx, "{% for i in range(100) %}{{ i }}{% endfor %}", "{}");
    r.opts.max_steps = 50;
    assert_refused(ctx, LMF_E_LIMIT, "more than 50 steps", render(ctx, &r));
    r.opts.max_steps = 1000000;
    r.opts.max_output = 189;
    assert_refused(ctx, LMF_E_LIMIT, "larger than 189 bytes", render(ctx, &r));
    r.opts.max_output = 190;
    assert_ok(ctx, render(ctx, &r));
    assert_int_equal(r.out.n, 190);
    run_clear(&r);
    lmf_test_ctx_done(ctx);
}

/* A string that grows by appending costs its length, not the square of it. */
static void accumulating_is_linear(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    gives(ctx, "{% set ns = namespace(s='') %}{% for i in range(20000) %}{% set ns.s = ns.s ~ 'twenty bytes of text' %}{% endfor %}{{ ns.s|length }}", "400000");
    gives(ctx, "{% set a = 'x' * 300 %}{% set b = a + 'y' %}{% set c = b + '1' %}{% set d = b + '2' %}{{ c[300:] }}{{ d[300:] }}{{ b[300:] }}", "y1y2y");
    lmf_test_ctx_done(ctx);
}

static void nothing_else_is_reachable(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const char *const refused[] = {
        "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ ''['__class__']['__mro__'] }}", "{{ ''|attr('__class__')|attr('__base__') }}", "{{ [].__class__.__base__ }}",
        "{{ {}.__class__.__init__.__globals__ }}", "{{ range.__globals__.os }}", "{{ raise_exception.__globals__ }}{{ raise_exception.__globals__.os }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}", "{{ lipsum.__globals__['os'] }}", "{{ joiner.__init__ }}", "{{ self.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}", "{{ dict.fromkeys('ab') }}", "{{ '{0.__class__.__mro__}'.format('') }}", "{{ '%(__class__)s' % '' }}",
        "{{ [1].append(2) }}", "{{ {}.update({'a': 1}) }}", "{{ {}.setdefault('a', 1) }}", "{{ [2, 1].sort() }}", "{{ {}.pop('a') }}", "{{ config.items() }}", "{{ request.application }}",
        "{{ get_flashed_messages.__globals__ }}", "{% set ns = namespace() %}{% set ns.__class__ = 1 %}", "{{ namespace(_x=1) }}", "{% include '/etc/passwd' %}", "{% import 'os' as os %}",
        "{{ ''.__class__() }}", "{{ (1).__class__.__base__ }}", "{{ 'a'.encode() }}", "{{ 'a'.format_map({}) }}", "{{ [].copy.__self__.x }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__.x }}", "{% for i in [1] %}{{ loop._iterator.x }}{{ loop.__init__.x }}{% endfor %}", "{{ ([1]|map('string')).gi_frame }}",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        run r = run_of(ctx, refused[i], "{}");
        if (!render(ctx, &r))
            fail_msg("%s is not refused: %s", refused[i], lmf_buf_str(&r.out));
        run_clear(&r);
    }
    gives(ctx, "{{ ''.__class__ }}{{ [].append }}{{ {}.update is defined }}{{ ''['__class__'] is defined }}", "FalseFalse");
    gives(ctx, "{{ os is defined }}{{ environ is defined }}{{ open is defined }}{{ __import__ is defined }}{{ __builtins__ is defined }}", "FalseFalseFalseFalseFalse");
    gives(ctx, "{{ strftime_now('%Y') }}", "1970"); /* the time is an argument: there is no clock */
    lmf_test_ctx_done(ctx);
}

static void input_is_not_changed(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_template *t;
    lmf_buf out;
    json_t *vars = json_loads(conversation, 0, NULL), *copy = json_deep_copy(vars);
    lmf_buf_init(&out, ctx, 1 << 20);
    assert_ok(ctx, lmf_template_parse(ctx, chat, strlen(chat), &t));
    assert_ok(ctx, lmf_template_render(t, vars, NULL, &out, NULL));
    size_t n = out.n;
    assert_ok(ctx, lmf_template_render(t, vars, NULL, &out, NULL)); /* a template may be used again */
    assert_int_equal(out.n, 2 * n);
    assert_memory_equal(out.data, out.data + n, n);
    assert_true(json_equal(vars, copy));
    json_decref(vars);
    json_decref(copy);
    lmf_buf_clear(&out);
    lmf_template_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void opts_are_checked(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    run r = run_of(ctx, "x", "{}");
    r.opts.max_depth = 0;
    assert_refused(ctx, LMF_E_ARG, "max_depth", render(ctx, &r));
    r.opts.max_depth = 1000000;
    assert_refused(ctx, LMF_E_ARG, "max_depth", render(ctx, &r));
    r.opts = lmf_template_opts_default();
    r.opts.max_memory = 20000;
    r.source = "{{ 'x' * 30000 }}";
    assert_refused(ctx, LMF_E_LIMIT, "20000 bytes", render(ctx, &r));
    char *big = lmf_alloc(ctx, (1 << 20) + 1);
    assert_non_null(big);
    r.source = big;
    assert_refused(ctx, LMF_E_LIMIT, "at most 1048576", render_n(ctx, &r, (1 << 20) + 1));
    lmf_free(ctx, big, (1 << 20) + 1);
    run_clear(&r);
    lmf_test_ctx_done(ctx);
}

static lmf_status render_chat(lmf_ctx *ctx, void *arg)
{
    run r = run_of(ctx, arg, conversation);
    lmf_status s = render(ctx, &r);
    run_clear(&r);
    return s;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(render_chat, (void *)chat) > 5);
    /* small: under the sanitizer every piece of an arena is an allocation, and the sweep is quadratic */
    static const char large[] = "{% set l = range(9)|list %}{{ l|map('string')|join(',') }}{{ l|sort(reverse=true)|tojson(indent=2) }}{{ '%s' % 1 }}{{ '{}'.format(2) }}"
        "{% for i in l[:2] %}{% generation %}{{ i }}{% endgeneration %}{% endfor %}{{ 'a a b'.split()|unique|list }}{{ {'a': 1}|dictsort }}{{ 'x'|title|indent }}";
    assert_true(lmf_test_fail_each_call(render_chat, (void *)large) > 5);
}

/* What could recurse as often as the template likes: each renders or is refused with a sentence, on whatever stack there is. */
static void any_length(void **state)
{
    (void)state;
    enum { N = 80000 };
    static const struct { const char *begin, *part, *end; lmf_status want; } rows[] = {
        { "{{ 1", "|e", " }}", LMF_OK }, { "{% filter e", "|e", " %}1{% endfilter %}", LMF_OK }, { "{% set x | e", "|e",
            " %}1{% endset %}{{ x }}", LMF_OK },
        { "{{ 1", "+1", " }}", LMF_E_LIMIT }, { "{{ 1", "~1", " }}", LMF_OK }, { "{{ 'a'", "[0]", " }}", LMF_E_LIMIT }, { "{{ x", ".a",
            " }}", LMF_E_LIMIT },
        { "{{ 1", " and 1", " }}", LMF_E_LIMIT }, { "{{ 1", " or 1", " }}", LMF_E_LIMIT }, { "{{ ", "not ", "1 }}", LMF_E_LIMIT },
        { "{{ ", "-", "1 }}", LMF_E_LIMIT }, { "{{ ", "(", "1", LMF_E_LIMIT }, { "{{ ", "[", "1", LMF_E_LIMIT }, { "{{ ", "{1:", "1",
            LMF_E_LIMIT }, { "{{ 1", "**1", " }}", LMF_E_LIMIT },
        { "{{ 1", " if 1 else 1", " }}", LMF_E_LIMIT }, { "{{ 1", " if 1", " }}", LMF_E_LIMIT }, { "{{ f", "()", " }}", LMF_E_LIMIT },
            { "", "{% if 1 %}", "", LMF_E_LIMIT },
        { "", "{% for i in [1] %}", "", LMF_E_LIMIT }, { "{% set ", "(", "a", LMF_E_LIMIT }, { "{{ 1", "<2", " }}", LMF_OK } };
    static char text[N * 20];
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *vars = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_template *t = NULL;
        lmf_buf out;
        char *p = stpcpy(text, rows[i].begin);
        lmf_buf_init(&out, ctx, 1 << 20);
        for (size_t k = 0; k < N && (size_t)(p - text) < (1 << 20) - 64; k++)
            p = stpcpy(p, rows[i].part);
        p = stpcpy(p, rows[i].end);
        lmf_status s = lmf_template_parse(ctx, text, (size_t)(p - text), &t);
        if (!s)
            s = lmf_template_render(t, vars, NULL, &out, NULL);
        if (s != rows[i].want)
            fail_msg("%s%s...: %s: %s", rows[i].begin, rows[i].part, lmf_status_name(s), lmf_error(ctx));
        if (s)
            assert_non_null(strstr(lmf_error(ctx), "deeper than"));
        else if (rows[i].part[0] == '|')
            assert_string_equal(lmf_buf_str(&out), "1");
        lmf_template_destroy(t);
        lmf_buf_clear(&out);
    }
    json_decref(vars);
    lmf_test_ctx_done(ctx);
}

/* Python's int has no end; expected values are Python's. */
static void big_integers(void **state)
{
    (void)state;
    static const char vars[] = "{\"n\": \"" LMF_TEMPLATE_BIG "-18446744073709551616\", \"l\": "
        "[\"" LMF_TEMPLATE_BIG "99999999999999999999\"], \"x\": \"" LMF_TEMPLATE_BIG "-1e999\"}";
    static const struct { const char *source, *want; } rows[] = {
        { "{{ n }}", "-18446744073709551616" }, { "{{ n|tojson }} {{ l|tojson }} {{ l }}",
            "-18446744073709551616 [99999999999999999999] [99999999999999999999]" },
        { "{{ n is number }} {{ n is integer }} {{ n is string }} {{ n is iterable }} {{ n|string is string }}",
            "True True False False True" }, { "{{ x }} {{ x|tojson }}", "-inf -Infinity" } };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        run r = run_of(ctx, rows[i].source, vars);
        lmf_template *t;
        json_t *v = json_loads(vars, 0, NULL);
        assert_ok(ctx, lmf_template_parse(ctx, r.source, strlen(r.source), &t));
        assert_ok(ctx, lmf_template_render(t, v, NULL, &r.out, NULL));
        assert_string_equal(lmf_buf_str(&r.out), rows[i].want);
        lmf_template_destroy(t);
        assert_ok(ctx, lmf_template_parse(ctx, "{{ n + 1 }}", 11, &t));
        assert_refused(ctx, LMF_E_UNSUPPORTED, "past 64 bits", lmf_template_render(t, v, NULL, &r.out, NULL));
        lmf_template_destroy(t);
        json_decref(v);
        lmf_buf_clear(&r.out);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(template) = {
    { "chains and nests of any length", any_length }, { "integers past 64 bits", big_integers },
    { "same text as jinja2", table }, { "a conversation and its generation spans", conversation_and_spans }, { "failures are sentences with a line", sentences },
    { "budgets", budgets }, { "accumulating is linear", accumulating_is_linear }, { "nothing but the variables is reachable", nothing_else_is_reachable },
    { "input is not changed", input_is_not_changed }, { "options are checked", opts_are_checked }, { "every allocation may fail", every_allocation_may_fail }, { 0 }
};
