/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers in f64; ^ binds tighter than a sign before it and groups from the right, % is what is left of a division. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/tool.h"

enum { MAX_DEPTH = 64 };
typedef struct reader { lmf_ctx *ctx; const char *text, *p; int depth; lmf_status status; } reader;

static double sum(reader *r);

static double wrong(reader *r, const char *what)
{
    if (!r->status && *r->p)
        r->status = LMF_FAIL(r->ctx, LMF_E_ARG, "%s at character %d of the expression: \"%.20s\"", what, (int)(r->p - r->text) + 1, r->p);
    else if (!r->status)
        r->status = LMF_FAIL(r->ctx, LMF_E_ARG, "%s at the end of the expression", what);
    return 0;
}

static char peek(reader *r)
{
    while (*r->p == ' ')
        r->p++;
    return *r->p;
}

static double call(reader *r)
{
    static const struct { const char *name; double (*of)(double); } functions[] = {
        { "sqrt", sqrt }, { "abs", fabs }, { "floor", floor }, { "ceil", ceil }, { "round", round }, { "exp", exp }, { "ln", log },
        { "log", log10 }, { "sin", sin }, { "cos", cos }, { "tan", tan } };
    size_t n = strspn(r->p, "abcdefghijklmnopqrstuvwxyz");
    if (n == 2 && memcmp(r->p, "pi", 2) == 0)
        return r->p += 2, 3.14159265358979323846;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strlen(functions[i].name) == n && memcmp(functions[i].name, r->p, n) == 0) {
            r->p += n;
            if (peek(r) != '(')
                return wrong(r, "a ( is wanted behind a function's name");
            r->p++;
            double x = sum(r);
            if (!r->status && peek(r) != ')')
                return wrong(r, "a ) is wanted");
            r->p += !r->status;
            return functions[i].of(x);
        }
    return wrong(r, "there is no such function or constant");
}

static double value(reader *r)
{
    char c = peek(r), *end;
    if (c == '(') {
        r->p++;
        double x = sum(r);
        if (!r->status && peek(r) != ')')
            return wrong(r, "a ) is wanted");
        r->p += !r->status;
        return x;
    }
    if (islower((unsigned char)c))
        return call(r);
    if (!isdigit((unsigned char)c) && c != '.')
        return wrong(r, "a number is wanted");
    double x = strtod(r->p, &end);
    if (end == r->p)
        return wrong(r, "a number is wanted");
    r->p = end;
    return x;
}

static double power(reader *r)
{
    char c = peek(r);
    if (++r->depth > MAX_DEPTH)
        return wrong(r, "this nests too deep");
    double x = 0;
    if (c == '-' || c == '+') {
        r->p++;
        x = power(r);
        x = c == '-' ? -x : x;
    } else {
        x = value(r);
        if (!r->status && (peek(r) == '^' || (r->p[0] == '*' && r->p[1] == '*'))) {
            r->p += *r->p == '^' ? 1 : 2;
            x = pow(x, power(r));
        }
    }
    r->depth--;
    return x;
}

static double product(reader *r)
{
    double x = power(r);
    while (!r->status) {
        char c = peek(r);
        if (c != '*' && c != '/' && c != '%')
            break;
        r->p++;
        double y = power(r);
        if (!r->status && y == 0 && c != '*')
            r->status = LMF_FAIL(r->ctx, LMF_E_ARG, "division by zero");
        x = c == '*' ? x * y : c == '/' ? x / y : fmod(x, y);
    }
    return x;
}

static double sum(reader *r)
{
    if (++r->depth > MAX_DEPTH)
        return wrong(r, "this nests too deep");
    double x = product(r);
    while (!r->status) {
        char c = peek(r);
        if (c != '+' && c != '-')
            break;
        r->p++;
        double y = product(r);
        x = c == '+' ? x + y : x - y;
    }
    r->depth--;
    return x;
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    const char *text = json_string_value(json_object_get(arguments, "expression"));
    (void)use, (void)until;
    if (!text)
        return LMF_FAIL(ctx, LMF_E_ARG, "the argument expression is missing");
    reader r = { .ctx = ctx, .text = text, .p = text };
    double x = sum(&r);
    if (!r.status && peek(&r))
        wrong(&r, "an operator is wanted");
    if (!r.status && !isfinite(x))
        return LMF_FAIL(ctx, LMF_E_ARG, "the result is no finite number");
    if (!r.status)
        lmf_tool_printf(out, "%.15g", x == 0 ? 0 : x);
    return r.status;
}

const lmf_tool lmf_tool_calculator = { .name = "calculator",
    .description = "Computes an arithmetic expression, such as (3 + 4) * 2 or sqrt(2). + - * / % ^ and functions.",
    .schema = "{\"type\": \"object\", \"properties\": {\"expression\": {\"type\": \"string\", \"pattern\": "
              "\"^[0-9a-z+*/().^% -]{1,100}$\"}}, \"required\": [\"expression\"]}",
    .effect = LMF_READS, .timeout_s = 1, .run = run };
