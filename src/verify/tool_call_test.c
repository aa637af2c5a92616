/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/tool_call.h"
#include <string.h>
#include "test.h"

static json_t *parse(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!j)
        fail_msg("no JSON: %s", text);
    return j;
}

static void equality(void **state)
{
    (void)state;
    static const struct { const char *a, *b; bool same; } rows[] = {
        { "1", "1.0", true }, { "1", "1.5", false }, { "0.1", "1e-1", true }, { "9007199254740993", "9007199254740992", false },
        { "1", "true", false }, { "0", "false", false },
        { "null", "null", true }, { "true", "true", true }, { "\"a\"", "\"a\"", true }, { "\"a\"", "\"A\"", false },
        { "\"a\\u0000b\"", "\"a\\u0000c\"", false }, { "\"1\"", "1", false },
        { "[1, 2]", "[1.0, 2]", true }, { "[1, 2]", "[2, 1]", false }, { "[1]", "[1, 1]", false },
        { "{\"a\": 1, \"b\": []}", "{\"b\": [], \"a\": 1.0}", true },
        { "{\"a\": 1}", "{\"a\": 1, \"b\": 1}", false }, { "{\"a\": 1}", "{\"b\": 1}", false }, { "{}", "[]", false },
        { "{\"a\": {\"b\": [null]}}", "{\"a\": {\"b\": [null]}}", true } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *a = parse(rows[i].a), *b = parse(rows[i].b);
        if (lmf_json_is_equal(a, b) != rows[i].same || lmf_json_is_equal(b, a) != rows[i].same)
            fail_msg("%s and %s", rows[i].a, rows[i].b);
        json_decref(a);
        json_decref(b);
    }
}

static void verdicts(void **state)
{
    (void)state;
    static const char allowed[] = "{\"allowed\": {\"f\": {\"x\": [4], \"y\": [\"\", \"a\", 2.5], \"z\": [[1, 2], null]}}}";
    static const char call[] = "{\"name\": \"f\", \"arguments\": {\"x\": 4, \"z\": null}}", home[] = "{\"intent\": \"On\", "
        "\"name\": \"fan\"}", plain[] = "{\"name\": \"g\", \"k\": 1}";
    static const struct { const char *row, *reference, *answer; int valid, name, exact; } rows[] = {
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": 4.0, \"z\": [1, 2]}}", 1, 1, 1 },
        { allowed, call, " \n{\"name\": \"f\", \"arguments\": {\"z\": null, \"y\": 2.5, \"x\": 4}}\n", 1, 1, 1 },
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": 4}}", 1, 1, 0 },                           /* z is required */
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": 4, \"z\": null, \"w\": 1}}", 1, 1, 0 },     /* no others */
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": \"4\", \"z\": null}}", 1, 1, 0 },
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": 4, \"y\": \"A\", \"z\": null}}", 1, 1, 0 }, /* strings to the byte */
        { allowed, call, "{\"name\": \"f\", \"arguments\": [4]}", 1, 1, 0 },
        { allowed, call, "{\"name\": \"h\", \"arguments\": {\"x\": 4, \"z\": null}}", 1, 0, 0 },
        { allowed, call, "{\"arguments\": {}}", 1, 0, 0 },
        { allowed, call, "{\"name\": \"f\", \"arguments\": {\"x\": 4, \"z\": null}} and more", 0, 0, 0 },
        { allowed, call, "```json\n{}\n```", 0, 0, 0 }, { allowed, call, "[1]", 0, 0, 0 }, { allowed, call, "", 0, 0, 0 },
        { allowed, call, "{\"name\": \"f\"", 0, 0, 0 },
        { "{}", home, "{\"name\": \"fan\", \"intent\": \"On\"}", 1, 1, 1 }, { "{}", home, "{\"intent\": \"On\"}", 1, 1, 0 },
        { "{}", home, "{\"intent\": \"Off\", \"name\": \"fan\"}", 1, 0, 0 },
        { "{}", plain, "{\"k\": 1.0, \"name\": \"g\"}", 1, 1, 1 }, { "{}", plain, "{\"name\": \"g\"}", 1, 1, 0 },
        { "{}", "yes", "yes", 0, 0, 1 }, { "{}", "yes", "yes ", 0, 0, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *row = parse(rows[i].row);
        lmf_verdict v = lmf_answer_judge(row, rows[i].reference, rows[i].answer, strlen(rows[i].answer));
        if (v.valid != rows[i].valid || v.name != rows[i].name || v.exact != rows[i].exact)
            fail_msg("%s: valid %d, name %d, exact %d", rows[i].answer, v.valid, v.name, v.exact);
        json_decref(row);
    }
}

/* Calls as a template writes them: the objects by value and order, what stands around them to the byte. */
static void verdicts_of_calls(void **state)
{
    (void)state;
    static const char row[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}, {\"role\": \"assistant\", \"content\": \"\", "
        "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {}}}]}]}";
#define CALL(n, x) "<call>{\"name\": \"" n "\", \"arguments\": {\"x\": " x "}}</call>"
    static const struct { const char *reference, *answer; int valid, name, exact; } rows[] = {
        { CALL("f", "1") "\n" CALL("g", "2"), CALL("f", "1") "\n" CALL("g", "2"), 1, 1, 1 },
        { CALL("f", "1") "\n" CALL("g", "2"), "\n<call>{\"arguments\":{\"x\":1.0},\"name\":\"f\"}</call>\n" CALL("g", "2") " ", 1, 1, 1 },
        { CALL("f", "1") "\n" CALL("g", "2"), CALL("g", "2") "\n" CALL("f", "1"), 1, 0, 0 },
        { CALL("f", "1") "\n" CALL("g", "2"), CALL("f", "1"), 1, 0, 0 },
        { CALL("f", "1"), CALL("f", "2"), 1, 1, 0 },
        { CALL("f", "1"), "{\"name\": \"f\", \"arguments\": {\"x\": 1}}", 1, 1, 0 }, /* not as the template writes it */
        { CALL("f", "1"), "<call>{\"name\": \"f\", \"argum", 0, 0, 0 },
        { "f(x=1)", "f(x=1)", 0, 0, 1 }, { "f(x=1)", "f(x=2)", 0, 0, 0 },
        { "{\"name\": \"f\", \"arguments\": {}}", "{\"name\": \"f\", \"arguments\": {}}", 1, 1, 1 } };
    json_t *j = parse(row);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_verdict v = lmf_answer_judge(j, rows[i].reference, rows[i].answer, strlen(rows[i].answer));
        if (v.valid != rows[i].valid || v.name != rows[i].name || v.exact != rows[i].exact)
            fail_msg("row %zu: valid %d, name %d, exact %d", i, v.valid, v.name, v.exact);
    }
    json_decref(j);
}

LMF_TESTS(tool_call) = { { "verdicts of tool calls", verdicts_of_calls }, { "JSON equality", equality }, { "verdicts", verdicts }, { 0 } };
