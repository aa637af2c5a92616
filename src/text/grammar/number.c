/* SPDX-License-Identifier: Apache-2.0 */
/* number: numbers between bounds, as digits. Rule: a bound is compared digit by digit, so it is exact where a float would not be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "text/grammar/schema.h"

#define SEQ lmf__gr_seq

typedef struct decimal { bool minus; char whole[64], part[64]; } decimal; /* digits before and behind the point, no more than needed */

lmf_status lmf__js_number_text(js *c, const json_t *v, char *text, size_t n)
{
    (void)c;
    if (json_is_integer(v)) {
        snprintf(text, n, "%lld", (long long)json_integer_value(v));
        return LMF_OK;
    }
    char *end;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, n, "%.*g", digits, json_real_value(v));
        if (strtod(text, &end) == json_real_value(v))
            break;
    }
    return LMF_OK;
}

static lmf_status read_decimal(js *c, const json_t *v, decimal *d)
{
    char text[64], digits[64];
    size_t n = 0, point = 0;
    int power = 0;
    bool dot = false;
    memset(d, 0, sizeof *d);
    LMF_TRY(lmf__js_number_text(c, v, text, sizeof text));
    const char *p = text;
    d->minus = *p == '-';
    for (p += d->minus; *p && *p != 'e'; p++) {
        if (*p == '.')
            dot = true;
        else
            digits[n++] = *p, point += !dot;
    }
    char *end;
    if (*p == 'e')
        power = (int)strtol(p + 1, &end, 10);
    if (power > 30 || power < -30)
        return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the schema's bound %s is not supported; bounds go from 1e-30 to 1e30", text);
    int at = (int)point + power; /* digits before the point */
    size_t w = 0, f = 0;
    for (int i = at < 0 ? at : 0; i < (int)n || i < at; i++) {
        char digit = i >= 0 && i < (int)n ? digits[i] : '0';
        if (i < at && (w || digit != '0'))
            d->whole[w++] = digit;
        else if (i >= at)
            d->part[f++] = digit;
    }
    while (f && d->part[f - 1] == '0')
        d->part[--f] = 0;
    if (!w)
        strncpy(d->whole, "0", 2);
    d->minus &= w || f;
    return LMF_OK;
}

static gr_ex digits(gr_store *s, uint32_t least, uint32_t most) { return lmf__gr_rep(s, lmf__gr_range(s, '0', '9'), least, most); }

/* Digits of a fraction, behind the point and those that were as in the bound. */
static gr_ex part_above(gr_store *s, const char *f, bool strictly)
{
    if (!*f)
        return strictly ? SEQ(s, digits(s, 0, GR_INF), SEQ(s, lmf__gr_range(s, '1', '9'), digits(s, 0, GR_INF))) : digits(s, 0, GR_INF);
    gr_ex x = *f < '9' ? SEQ(s, lmf__gr_range(s, *f + 1, '9'), digits(s, 0, GR_INF)) : GR_NONE;
    return lmf__gr_or(s, x, SEQ(s, lmf__gr_lit(s, f, 1), part_above(s, f + 1, strictly)));
}

static gr_ex part_below(gr_store *s, const char *f, bool strictly)
{
    if (!*f)
        return strictly ? GR_NONE : lmf__gr_rep(s, lmf__gr_str(s, "0"), 0, GR_INF);
    gr_ex x = *f > '0' ? SEQ(s, lmf__gr_range(s, '0', *f - 1), digits(s, 0, GR_INF)) : GR_NONE;
    return lmf__gr_alt(s, (gr_ex[]){ x, GR_EMPTY, SEQ(s, lmf__gr_lit(s, f, 1), part_below(s, f + 1, strictly)) }, 3);
}

/* What may stand behind the digits before the point; a point has a digit behind it. */
static gr_ex point(gr_store *s, gr_ex part)
{
    return SEQ(s, lmf__gr_str(s, "."), lmf__gr_and(s, part, digits(s, 1, 60)));
}

static gr_ex free_part(gr_store *s, bool integer) { return integer ? GR_EMPTY : lmf__gr_opt(s, point(s, digits(s, 0, GR_INF))); }

static gr_ex end_above(gr_store *s, const decimal *d, bool strictly, bool integer)
{
    if (integer)
        return *d->part || strictly ? GR_NONE : GR_EMPTY;
    gr_ex x = point(s, part_above(s, d->part, strictly));
    return *d->part || strictly ? x : lmf__gr_opt(s, x);
}

static gr_ex end_below(gr_store *s, const decimal *d, bool strictly, bool integer)
{
    bool itself = *d->part || !strictly;
    if (integer)
        return itself ? GR_EMPTY : GR_NONE;
    gr_ex x = point(s, part_below(s, d->part, strictly));
    return itself ? lmf__gr_opt(s, x) : x;
}

/* Numbers without a sign that are at least d, or at most; i: the digit of d where they may differ. */
static gr_ex from_digit(gr_store *s, const decimal *d, bool above, bool strictly, bool integer, size_t i)
{
    uint32_t rest = (uint32_t)strlen(d->whole + i);
    if (!rest)
        return above ? end_above(s, d, strictly, integer) : end_below(s, d, strictly, integer);
    char here = d->whole[i], low = i == 0 && rest > 1 ? '1' : '0';
    gr_ex other = GR_NONE;
    if (above ? here < '9' : here > low)
        other = SEQ(s, above ? lmf__gr_range(s, here + 1, '9') : lmf__gr_range(s, low, here - 1), digits(s, rest - 1, rest - 1));
    other = SEQ(s, other, free_part(s, integer));
    return lmf__gr_or(s, other, SEQ(s, lmf__gr_lit(s, &here, 1), from_digit(s, d, above, strictly, integer, i + 1)));
}

static gr_ex bounded(gr_store *s, const decimal *d, bool above, bool strictly, bool integer)
{
    uint32_t n = (uint32_t)strlen(d->whole);
    gr_ex same = from_digit(s, d, above, strictly, integer, 0), other = GR_NONE, first = lmf__gr_range(s, '1', '9');
    if (above)
        other = SEQ(s, first, digits(s, n, n > 200 ? n : 200));
    else if (n > 1)
        other = lmf__gr_or(s, lmf__gr_str(s, "0"), SEQ(s, first, digits(s, 0, n - 2)));
    return lmf__gr_or(s, same, SEQ(s, other, free_part(s, integer)));
}

/* Numbers of one sign: at least low, at most high; NULL: no bound. */
static gr_ex one_sign(gr_store *s, const decimal *low, bool above, const decimal *high, bool below, bool integer)
{
    gr_ex x = low ? bounded(s, low, true, above, integer) : GR_ALL, y = high ? bounded(s, high, false, below, integer) : GR_ALL;
    return lmf__gr_and(s, x, y);
}

lmf_status lmf__js_number(js *c, const js_case *k, gr_ex *out)
{
    gr_store *s = c->s;
    bool integer = k->integer || k->multiple;
    decimal low = { 0 }, high = { 0 }, zero = { .whole = "0" };
    *out = integer ? c->g->v->integer : c->g->v->number;
    if (k->low)
        LMF_TRY(read_decimal(c, k->low, &low));
    if (k->high)
        LMF_TRY(read_decimal(c, k->high, &high));
    if (k->low || k->high) {
        gr_ex plus = GR_NONE, minus = GR_NONE;
        bool is_zero = k->high && !strcmp(high.whole, "0") && !*high.part;
        if (!k->high || !high.minus)
            plus = one_sign(s, k->low && !low.minus ? &low : &zero, k->low && !low.minus && k->above, k->high ? &high : NULL, k->below,
                integer);
        if (!k->low || low.minus) /* below 0: bounds change places, and none is -0 */
            minus = one_sign(s, k->high && (high.minus || is_zero) ? &high : &zero, k->high && high.minus ? k->below : true,
                             k->low ? &low : NULL, k->above, integer);
        *out = lmf__gr_or(s, plus, SEQ(s, lmf__gr_str(s, "-"), minus));
        if (!integer) /* a bound on one side leaves digits without end, which no reader takes */
            *out = lmf__gr_and(s, *out, c->g->v->number);
        else if (strlen(low.whole) <= GR_INT_DIGITS && strlen(high.whole) <= GR_INT_DIGITS)
            *out = lmf__gr_and(s, *out, c->g->v->integer);
    }
    if (k->multiple > 1)
        *out = lmf__gr_and(s, *out, SEQ(s, lmf__gr_opt(s, lmf__gr_str(s, "-")), lmf__gr_mod(s, k->multiple, 0)));
    return LMF_OK;
}
