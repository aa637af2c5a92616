/* SPDX-License-Identifier: Apache-2.0 */
/* The number that an answer ends on: the one behind its last ####, in its last \boxed{}, or the last in it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "verify/final.h"
#include "verify/verify.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Groups of three digits behind a comma are one number. */
static bool joins(const char *p, const char *begin)
{
    return *p == ',' && p > begin && is_digit(p[-1]) && is_digit(p[1]) && is_digit(p[2]) && is_digit(p[3]) && !is_digit(p[4]);
}

/* The number at p, whose first digit, or point before one, stands there; *end behind it. */
static double read_number(const char *p, const char **end)
{
    char text[64];
    size_t n = 0;
    const char *begin = p;
    bool point = false;
    for (; n + 1 < sizeof text; p++) {
        bool dot = *p == '.' && !point && is_digit(p[1]);
        point |= dot;
        if (!is_digit(*p) && !dot && (point || !joins(p, begin)))
            break;
        if (*p != ',')
            text[n++] = *p;
    }
    text[n] = 0;
    if ((*p == 'e' || *p == 'E') && (is_digit(p[1]) || ((p[1] == '-' || p[1] == '+') && is_digit(p[2])))) {
        for (text[n++] = *p++; n + 1 < sizeof text && (is_digit(*p) || *p == '-' || *p == '+'); p++)
            text[n++] = *p;
        text[n] = 0;
    }
    while (is_digit(*p)) /* a number too long to be read is none */
        n = sizeof text, p++;
    *end = p;
    char *stop;
    double v = strtod(text, &stop);
    return n < sizeof text && !*stop ? v : NAN;
}

/* The first number of the text, or the last. False: it has none. */
static bool find_number(const char *p, bool last, double *out)
{
    bool found = false;
    for (const char *begin = p; *p;) {
        if (!is_digit(*p) && !(*p == '.' && is_digit(p[1]))) {
            p++;
            continue;
        }
        /* a sign; between two numbers it is a hyphen or a minus */
        bool minus = p > begin && p[-1] == '-' && (p - 1 == begin || (!is_digit(p[-2]) && p[-2] != ')'));
        double v = read_number(p, &p);
        *out = minus ? -v : v;
        found = true;
        if (!last)
            return true;
    }
    return found;
}

static const char *find_last(const char *text, const char *what)
{
    const char *found = NULL;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
        found = p + strlen(what);
    return found;
}

bool lmf_answer_number(const char *text, double *out)
{
    const char *p = find_last(text, "####");
    if (!p)
        p = find_last(text, "\\boxed{");
    return find_number(p ? p : text, !p, out);
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    double want, got;
    (void)state;
    if (!in->reference || !lmf_answer_number(in->reference, &want) || !isfinite(want))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row's answer is no number: give it as \"answer\"");
    *out = lmf_answer_number(in->text, &got) && fabs(got - want) <= 1e-9 * fmax(1, fabs(want));
    return LMF_OK;
}

const lmf_verifier lmf_verifier_number = { .name = "number", .summary = "1 where the answer ends on the number that the row wants",
    .score = score };
