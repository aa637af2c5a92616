/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as Python has them: 64-bit integers that refuse to overflow, true division, floor division and modulo
 * that follow the divisor's sign, floats in their shortest form.
 * Rule: text of a float never depends on the process's locale. */
#include "text/template/value.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/checked.h"

size_t lmf__tpl_print_double(char *text, size_t n, const char *fmt, int precision, double f)
{
    int k = snprintf(text, n, fmt, precision, f);
    size_t len = k < 0 ? 0 : (size_t)k < n ? (size_t)k : n - 1;
    const char *point = localeconv()->decimal_point;
    size_t n_point = strlen(point);
    char *at = strcmp(point, ".") ? strstr(text, point) : NULL;
    if (at) {
        *at = '.';
        memmove(at + 1, at + n_point, len - (size_t)(at - text) - n_point + 1);
        len -= n_point - 1;
    }
    return len;
}

/* p holds a plain decimal number with a '.'. */
static double read_double(const char *p)
{
    char text[512], *end;
    const char *point = localeconv()->decimal_point, *dot = strchr(p, '.');
    if (!dot || strcmp(point, ".") == 0)
        return strtod(p, &end);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(dot - p), p, point, dot + 1);
    return strtod(text, &end);
}

size_t lmf__tpl_float_repr(double f, char text[TPL_NUMBER_TEXT])
{
    char digits[48];
    if (isnan(f))
        return (size_t)snprintf(text, TPL_NUMBER_TEXT, "nan");
    if (isinf(f))
        return (size_t)snprintf(text, TPL_NUMBER_TEXT, f < 0 ? "-inf" : "inf");
    int precision = 0;
    do
        lmf__tpl_print_double(digits, sizeof digits, "%.*e", precision, f);
    while (++precision < 17 && read_double(digits) != f);
    char *e = strchr(digits, 'e');
    int exponent = 0;
    for (const char *d = e + 2; *d; d++)
        exponent = 10 * exponent + (*d - '0');
    exponent = e[1] == '-' ? -exponent : exponent;
    if (exponent >= -4 && exponent < 16) {
        int behind = precision - 1 - exponent;
        return lmf__tpl_print_double(text, TPL_NUMBER_TEXT, "%.*f", behind > 1 ? behind : 1, f);
    }
    return (size_t)snprintf(text, TPL_NUMBER_TEXT, "%.*se%c%02d", (int)(e - digits), digits, exponent < 0 ? '-' : '+', abs(exponent));
}

/* Copies without surrounding whitespace and without single underscores between digits; false if too long or misplaced. */
static bool plain_number(const char *p, size_t n, char *out, size_t cap)
{
    size_t k = 0, len;
    while (n && lmf__tpl_is_space(lmf__tpl_decode(p, n, &len)))
        p += len, n -= len;
    for (size_t i = 0, end = 0; i < n || (n = end, false); i += len) { /* the end of the last character that is no space */
        if (!lmf__tpl_is_space(lmf__tpl_decode(p + i, n - i, &len)))
            end = i + len;
        if (i + len >= n) {
            n = end;
            break;
        }
    }
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '_') {
            if (i == 0 || i + 1 == n || p[i - 1] == '_' || p[i + 1] == '_')
                return false;
            continue;
        }
        if (k + 1 >= cap || p[i] == 0 || (unsigned char)p[i] >= 0x80)
            return false;
        out[k++] = p[i];
    }
    out[k] = 0;
    return k > 0;
}

bool lmf__tpl_parse_float(const char *p, size_t n, double *out)
{
    char text[400], *t = text;
    if (!plain_number(p, n, text, sizeof text))
        return false;
    double sign = *t == '-' ? -1 : 1;
    if (*t == '-' || *t == '+')
        t++;
    if (strcasecmp(t, "inf") == 0 || strcasecmp(t, "infinity") == 0)
        return *out = sign * (double)INFINITY, true;
    if (strcasecmp(t, "nan") == 0)
        return *out = (double)NAN, true;
    size_t a = strspn(t, "0123456789"), b = 0, c = a;
    if (t[c] == '.')
        b = strspn(t + c + 1, "0123456789"), c += b + 1;
    if (a + b == 0)
        return false;
    if (t[c] == 'e' || t[c] == 'E') {
        c += 1 + (t[c + 1] == '-' || t[c + 1] == '+');
        size_t d = strspn(t + c, "0123456789");
        if (!d)
            return false;
        c += d;
    }
    if (t[c])
        return false;
    *out = sign * read_double(t);
    return true;
}

bool lmf__tpl_parse_int(const char *p, size_t n, int base, int64_t *out, bool *overflow)
{
    char text[400], *t = text, *end;
    *overflow = false;
    if (!plain_number(p, n, text, sizeof text))
        return false;
    bool negative = *t == '-';
    if (*t == '-' || *t == '+')
        t++;
    int prefix = t[0] != '0' ? 0 : t[1] == 'x' || t[1] == 'X' ? 16 : t[1] == 'o' || t[1] == 'O' ? 8 : t[1] == 'b' || t[1] == 'B' ? 2 : 0;
    if (prefix && (base == 0 || base == prefix))
        t += 2, base = prefix;
    else if (base == 0)
        base = t[0] == '0' && t[strspn(t, "0")] ? -1 : 10; /* 007 is refused */
    if (base < 2 || base > 36 || !*t || *t == '-' || *t == '+' || *t == ' ')
        return false;
    t -= negative;
    if (negative)
        *t = '-'; /* over a digit of the prefix, or the sign itself */
    errno = 0;
    long long v = strtoll(t, &end, base);
    if (*end || end == t + negative)
        return false;
    *overflow = errno == ERANGE;
    *out = v;
    return true;
}

bool lmf__tpl_number(const tpl_value *v, double *out)
{
    switch (v->kind) {
    case TPL_BOOL: *out = v->u.b; return true;
    case TPL_INT: *out = (double)v->u.i; return true;
    case TPL_FLOAT: *out = v->u.f; return true;
    default: return false;
    }
}

static bool is_int(const tpl_value *v) { return v->kind == TPL_INT || v->kind == TPL_BOOL; }
static int64_t as_int(const tpl_value *v) { return v->kind == TPL_INT ? v->u.i : v->u.b; }

static int compare_int_float(int64_t i, double f)
{
    if (f != f)
        return 2;
    if (f >= 0x1p63)
        return -1;
    if (f < -0x1p63)
        return 1;
    int64_t t = (int64_t)f; /* towards zero */
    if (i != t)
        return i < t ? -1 : 1;
    return (double)t < f ? -1 : (double)t > f ? 1 : 0;
}

int lmf__tpl_compare_numbers(const tpl_value *a, const tpl_value *b)
{
    if (is_int(a) && is_int(b))
        return as_int(a) < as_int(b) ? -1 : as_int(a) > as_int(b);
    if (is_int(a))
        return compare_int_float(as_int(a), b->u.f);
    if (is_int(b)) {
        int c = compare_int_float(as_int(b), a->u.f);
        return c == 2 ? 2 : -c;
    }
    return a->u.f < b->u.f ? -1 : a->u.f > b->u.f ? 1 : a->u.f == b->u.f ? 0 : 2;
}

static lmf_status int_power(tpl_run *r, int64_t base, int64_t exponent, tpl_value *out)
{
    int64_t result = 1;
    bool fits = true;
    while (exponent > 0 && fits) {
        if (exponent & 1)
            fits = lmf_mul_i64(result, base, &result);
        exponent >>= 1;
        if (exponent && fits)
            fits = lmf_mul_i64(base, base, &base);
    }
    if (!fits)
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "a power is outside of 64-bit integers");
    *out = lmf__tpl_int(result);
    return LMF_OK;
}

static lmf_status int_binary(tpl_run *r, int op, int64_t a, int64_t b, tpl_value *out)
{
    int64_t v = 0;
    bool fits = true;
    if ((op == '/' || op == 'f' || op == '%') && b == 0)
        return TPL_FAIL(r, LMF_E_ARG, "division by zero");
    switch (op) {
    case '+': fits = lmf_add_i64(a, b, &v); break;
    case '-': fits = !__builtin_sub_overflow(a, b, &v); break;
    case '*': fits = lmf_mul_i64(a, b, &v); break;
    case '/': *out = lmf__tpl_float((double)a / (double)b); return LMF_OK;
    case 'f':
        if (b == -1)
            fits = !__builtin_sub_overflow((int64_t)0, a, &v);
        else
            v = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case '%':
        v = b == -1 ? 0 : a % b;
        v += v != 0 && (v < 0) != (b < 0) ? b : 0;
        break;
    default:
        if (b >= 0)
            return int_power(r, a, b, out);
        if (a == 0)
            return TPL_FAIL(r, LMF_E_ARG, "zero to a negative power");
        *out = lmf__tpl_float(pow((double)a, (double)b));
        return LMF_OK;
    }
    if (!fits)
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the result of %c is outside of 64-bit integers", op == 'f' ? '/' : op);
    *out = lmf__tpl_int(v);
    return LMF_OK;
}

static lmf_status float_binary(tpl_run *r, int op, double a, double b, tpl_value *out)
{
    double v = 0, m;
    if ((op == '/' || op == 'f' || op == '%') && b == 0)
        return TPL_FAIL(r, LMF_E_ARG, "division by zero");
    switch (op) {
    case '+': v = a + b; break;
    case '-': v = a - b; break;
    case '*': v = a * b; break;
    case '/': v = a / b; break;
    case 'f': case '%':
        m = fmod(a, b);
        v = (a - m) / b;
        if (m != 0) {
            if ((b < 0) != (m < 0))
                m += b, v -= 1;
        } else {
            m = copysign(0.0, b);
        }
        if (op == '%') {
            v = m;
        } else if (v != 0) {
            double floored = floor(v);
            v = v - floored > 0.5 ? floored + 1 : floored;
        } else {
            v = copysign(0.0, a / b);
        }
        break;
    default:
        if (a == 0 && b < 0)
            return TPL_FAIL(r, LMF_E_ARG, "zero to a negative power");
        v = pow(a, b);
        if (isnan(v) && !isnan(a) && !isnan(b))
            return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the power is a complex number");
        if (isinf(v) && !isinf(a) && !isinf(b))
            return TPL_FAIL(r, LMF_E_ARG, "the power is too large for a float");
    }
    *out = lmf__tpl_float(v);
    return LMF_OK;
}

/* s * n for strings, lists and tuples. */
static lmf_status repeat(tpl_run *r, const tpl_value *v, int64_t n, tpl_value *out)
{
    size_t total, one = v->kind == TPL_STR ? v->u.s->n : v->u.seq->n, count = n > 0 ? (size_t)n : 0;
    bool str = v->kind == TPL_STR;
    if (!lmf_mul_size(one, count, &total) || total > r->opts.max_memory)
        return TPL_FAIL(r, LMF_E_LIMIT, "%zu repeated %zu times needs more than %zu bytes", one, count, r->opts.max_memory);
    LMF_TRY(lmf__tpl_step(r, total / (str ? 64 : 8)));
    if (!str) {
        tpl_seq *s = lmf__tpl_seq(r, v->u.seq->kind, total);
        if (!s)
            return r->status;
        for (size_t i = 0; one && i < total; i += one)
            memcpy(s->items + i, v->u.seq->items, one * sizeof *s->items);
        return *out = lmf__tpl_of_seq(s), LMF_OK;
    }
    char *data = lmf__tpl_alloc(r, total, 1);
    if (!data)
        return r->status;
    for (size_t i = 0; one && i < total; i += one)
        memcpy(data + i, v->u.s->data, one);
    tpl_str whole = { .data = data, .markup = v->u.s->markup };
    tpl_str *s = lmf__tpl_str_view(r, &whole, 0, total);
    return s ? *out = lmf__tpl_of_str(s), LMF_OK : r->status;
}

static bool repeatable(const tpl_value *v)
{
    return v->kind == TPL_STR || (v->kind == TPL_SEQ && v->u.seq->kind <= TPL_TUPLE);
}

lmf_status lmf__tpl_binary(tpl_run *r, int op, const tpl_value *a, const tpl_value *b, tpl_value *out)
{
    double f, g;
    if (op == '%' && a->kind == TPL_STR)
        return lmf__tpl_percent(r, a->u.s, b, out);
    LMF_TRY(lmf__tpl_need_defined(r, a));
    LMF_TRY(lmf__tpl_need_defined(r, b));
    if ((a->kind == TPL_STR && a->u.s->number) || (b->kind == TPL_STR && b->u.s->number))
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "integers past 64 bits are shown, but not computed with");
    if (is_int(a) && is_int(b))
        return int_binary(r, op, as_int(a), as_int(b), out);
    if (lmf__tpl_number(a, &f) && lmf__tpl_number(b, &g))
        return float_binary(r, op, f, g, out);
    if (op == '+' && a->kind == TPL_STR && b->kind == TPL_STR)
        return lmf__tpl_concat(r, a->u.s, b->u.s, out);
    if (op == '+' && repeatable(a) && repeatable(b) && a->kind == TPL_SEQ && b->kind == TPL_SEQ && a->u.seq->kind == b->u.seq->kind) {
        tpl_seq *s = lmf__tpl_seq(r, a->u.seq->kind, a->u.seq->n + b->u.seq->n);
        if (!s)
            return r->status;
        memcpy(s->items, a->u.seq->items, a->u.seq->n * sizeof *s->items);
        memcpy(s->items + a->u.seq->n, b->u.seq->items, b->u.seq->n * sizeof *s->items);
        return *out = lmf__tpl_of_seq(s), LMF_OK;
    }
    if (op == '*' && repeatable(a) && is_int(b))
        return repeat(r, a, as_int(b), out);
    if (op == '*' && repeatable(b) && is_int(a))
        return repeat(r, b, as_int(a), out);
    return TPL_FAIL(r, LMF_E_ARG, "%s can't be applied to a %s and a %s", op == 'f' ? "//" : op == 'p' ? "**" : (char[]){ (char)op, 0 },
        lmf__tpl_type(a), lmf__tpl_type(b));
}

lmf_status lmf__tpl_negate(tpl_run *r, const tpl_value *a, bool negative, tpl_value *out)
{
    LMF_TRY(lmf__tpl_need_defined(r, a));
    if (a->kind == TPL_FLOAT)
        return *out = lmf__tpl_float(negative ? -a->u.f : a->u.f), LMF_OK;
    if (!is_int(a))
        return TPL_FAIL(r, LMF_E_ARG, "a sign before a %s", lmf__tpl_type(a));
    return int_binary(r, negative ? '-' : '+', 0, as_int(a), out);
}

lmf_status lmf__tpl_round(tpl_run *r, const tpl_value *v, int64_t digits, tpl_value *out)
{
    char text[400];
    if (is_int(v)) {
        int64_t i = as_int(v), unit = 1;
        if (digits >= 0)
            return *out = lmf__tpl_int(i), LMF_OK;
        for (; digits < 0; digits++)
            if (!lmf_mul_i64(unit, 10, &unit))
                return *out = lmf__tpl_int(0), LMF_OK;
        int64_t low = i / unit - (i % unit < 0), rest = i - low * unit;
        if (rest * 2 > unit || (rest * 2 == unit && low % 2))
            low++;
        return int_binary(r, '*', low, unit, out);
    }
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (v->kind != TPL_FLOAT)
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be rounded", lmf__tpl_type(v));
    if (!isfinite(v->u.f) || digits > 30 || v->u.f == 0)
        return *out = *v, LMF_OK;
    if (digits >= 0) {
        lmf__tpl_print_double(text, sizeof text, "%.*f", (int)digits, v->u.f); /* exact, half to even */
        return *out = lmf__tpl_float(read_double(text)), LMF_OK;
    }
    if (digits < -308)
        return *out = lmf__tpl_float(copysign(0.0, v->u.f)), LMF_OK;
    double unit = pow(10, (double)-digits);
    *out = lmf__tpl_float(nearbyint(v->u.f / unit) * unit);
    return LMF_OK;
}
