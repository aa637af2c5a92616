/* SPDX-License-Identifier: Apache-2.0 */
/* Three small languages inside strings: printf-like "%s" % x, "{}".format(x), and strftime_now("%d %b %Y").
 * Rule: widths and precisions come from the template, so each is bounded before it is used. */
#include <stdio.h>
#include <stdlib.h>
#include "text/template/value.h"

enum { MAX_WIDTH = 10000, MAX_PRECISION = 100 };

typedef struct spec {
    char     align, sign, type;
    uint32_t fill;
    bool     alt, zero, comma;
    int      width, precision; /* precision -1: none given */
} spec;

static lmf_status read_int(tpl_run *r, const tpl_str *f, size_t *at, int max, int *out)
{
    int v = 0;
    for (; *at < f->n && f->data[*at] >= '0' && f->data[*at] <= '9'; ++*at) {
        v = v * 10 + (f->data[*at] - '0');
        if (v > max)
            return TPL_FAIL(r, LMF_E_LIMIT, "a width or precision is at most %d", max);
    }
    *out = v;
    return LMF_OK;
}

static void put_padded(tpl_builder *b, const spec *sp, tpl_str *text, char default_align)
{
    int64_t gap = sp->width - lmf__tpl_chars(text), left;
    char align = sp->align ? sp->align : default_align;
    size_t n_sign = align == '=' && text->n && strchr("+- ", text->data[0]) ? 1 : 0;
    if (align == '=' && text->n >= n_sign + 2 && sp->alt && text->data[n_sign] == '0')
        n_sign += 2;
    left = gap <= 0 || align == '<' ? 0 : align == '^' ? gap / 2 : gap;
    lmf__tpl_put(b, text->data, n_sign);
    for (int64_t i = 0; i < left; i++)
        lmf__tpl_put_char(b, sp->fill);
    lmf__tpl_put(b, text->data + n_sign, text->n - n_sign);
    for (int64_t i = left; i < gap; i++)
        lmf__tpl_put_char(b, sp->fill);
}

static size_t group_thousands(char *text, size_t n, size_t cap)
{
    size_t begin = text[0] == '-' || text[0] == '+' || text[0] == ' ' ? 1 : 0, end = begin + strspn(text + begin, "0123456789");
    for (size_t at = end; at > begin + 3 && n + 1 < cap; n++) {
        at -= 3;
        memmove(text + at + 1, text + at, n - at + 1);
        text[at] = ',';
    }
    return n;
}

static lmf_status put_int(tpl_builder *b, spec sp, int64_t v)
{
    char text[200], digits[80];
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const char *prefix = "";
    size_t n = 0;
    unsigned base = sp.type == 'x' || sp.type == 'X' ? 16 : sp.type == 'o' ? 8 : sp.type == 'b' ? 2 : 10;
    do
        digits[n++] = (sp.type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
    while (u /= base);
    while ((int)n < sp.precision && n < sizeof digits)
        digits[n++] = '0';
    if (sp.alt)
        prefix = base == 16 ? (sp.type == 'X' ? "0X" : "0x") : base == 8 ? "0o" : base == 2 ? "0b" : "";
    const char *sign = v < 0 ? "-" : sp.sign == '+' ? "+" : sp.sign == ' ' ? " " : "";
    size_t k = (size_t)snprintf(text, sizeof text, "%s%s", sign, prefix);
    while (n)
        text[k++] = digits[--n];
    text[k] = 0;
    if (sp.comma)
        k = group_thousands(text, k, sizeof text);
    tpl_str s = { .data = text, .n = k, .n_chars = -1 };
    put_padded(b, &sp, &s, '>');
    return b->status;
}

static lmf_status put_float(tpl_builder *b, spec sp, double f)
{
    char text[600], fmt[8] = "%.*f";
    size_t n;
    if (!sp.type && sp.precision < 0) {
        n = lmf__tpl_float_repr(f, text);
    } else {
        fmt[3] = sp.type && sp.type != '%' && sp.type != 'n' ? sp.type : sp.type == '%' ? 'f' : 'g';
        n = lmf__tpl_print_double(text, sizeof text - 200, fmt, sp.precision < 0 ? 6 : sp.precision, sp.type == '%' ? f * 100 : f);
        if (!sp.type && !strpbrk(text, ".en"))
            n += (size_t)snprintf(text + n, 3, ".0");
    }
    if (text[0] != '-' && (sp.sign == '+' || sp.sign == ' ')) {
        memmove(text + 1, text, n + 1);
        text[0] = sp.sign;
        n++;
    }
    if (sp.comma)
        n = group_thousands(text, n, sizeof text - 2);
    if (sp.type == '%')
        text[n++] = '%', text[n] = 0;
    tpl_str s = { .data = text, .n = n, .n_chars = -1 };
    put_padded(b, &sp, &s, '>');
    return b->status;
}

static lmf_status put_text(tpl_builder *b, const spec *sp, tpl_str *s)
{
    tpl_str cut = *s;
    if (sp->precision >= 0 && lmf__tpl_chars(s) > sp->precision)
        cut.n = lmf__tpl_offset(s, sp->precision), cut.n_chars = sp->precision;
    put_padded(b, sp, &cut, '<');
    return b->status ? b->status : TPL_STEP_BYTES(b->r, cut.n + (size_t)sp->width);
}

/* ---- "%s" % x ---- */

typedef struct percent { tpl_builder b; tpl_str *f; size_t at, i_arg; const tpl_value *args; bool used; } percent;

static lmf_status next_arg(percent *p, tpl_value *out)
{
    tpl_run *r = p->b.r;
    if (p->args->kind == TPL_SEQ && p->args->u.seq->kind == TPL_TUPLE) {
        if (p->i_arg >= p->args->u.seq->n)
            return TPL_FAIL(r, LMF_E_ARG, "not enough arguments for the format string");
        *out = p->args->u.seq->items[p->i_arg++];
        return LMF_OK;
    }
    if (p->used)
        return TPL_FAIL(r, LMF_E_ARG, "not enough arguments for the format string");
    p->used = true;
    *out = *p->args;
    return LMF_OK;
}

static lmf_status percent_width(percent *p, int max, int *out)
{
    tpl_value v;
    int64_t i;
    if (p->at >= p->f->n || p->f->data[p->at] != '*')
        return read_int(p->b.r, p->f, &p->at, max, out);
    p->at++;
    LMF_TRY(next_arg(p, &v));
    LMF_TRY(lmf__tpl_need_int(p->b.r, &v, "the width *", &i));
    if (i > max || i < -max)
        return TPL_FAIL(p->b.r, LMF_E_LIMIT, "a width or precision is at most %d", max);
    *out = (int)i;
    return LMF_OK;
}

static lmf_status percent_number(percent *p, spec sp, const tpl_value *v)
{
    tpl_run *r = p->b.r;
    double f;
    if (!lmf__tpl_number(v, &f))
        return TPL_FAIL(r, LMF_E_ARG, "%%%c needs a number, not a %s", sp.type, lmf__tpl_type(v));
    if (sp.zero && !sp.align)
        sp.align = '=', sp.fill = '0';
    if (strchr("eEfFgG", sp.type))
        return put_float(&p->b, sp, f);
    if (v->kind == TPL_FLOAT && strchr("oxX", sp.type))
        return TPL_FAIL(r, LMF_E_ARG, "%%%c needs an integer, not a float", sp.type);
    if (!(f >= -0x1p63 && f < 0x1p63))
        return TPL_FAIL(r, LMF_E_ARG, "%%%c of a number that is no 64-bit integer", sp.type);
    return put_int(&p->b, sp, v->kind == TPL_FLOAT ? (int64_t)f : v->kind == TPL_BOOL ? v->u.b : v->u.i);
}

static lmf_status percent_one(percent *p)
{
    tpl_run *r = p->b.r;
    tpl_str *f = p->f, *s;
    tpl_value v = TPL_NONE_VALUE, *found = NULL;
    spec sp = { .fill = ' ', .precision = -1 };
    bool keyed = false;
    if (p->at < f->n && f->data[p->at] == '(') {
        const char *end = memchr(f->data + p->at, ')', f->n - p->at);
        if (!end || p->args->kind != TPL_DICT)
            return TPL_FAIL(r, LMF_E_ARG, "%%(name) needs a mapping");
        tpl_str *key = lmf__tpl_str_view(r, f, p->at + 1, (size_t)(end - f->data) - p->at - 1);
        if (!key)
            return r->status;
        LMF_TRY(lmf__tpl_dict_find_str(r, p->args->u.d, key, &found));
        if (!found)
            return TPL_FAIL(r, LMF_E_ARG, "the mapping has no key '%.*s'", (int)key->n, key->data);
        v = *found;
        keyed = p->used = true;
        p->at = (size_t)(end - f->data) + 1;
    }
    for (; p->at < f->n && f->data[p->at] && strchr("-+ #0", f->data[p->at]); p->at++) {
        char c = f->data[p->at];
        if (c == '-')
            sp.align = '<';
        else if (c == '#')
            sp.alt = true;
        else if (c == '0')
            sp.zero = true;
        else if (sp.sign != '+')
            sp.sign = c;
    }
    LMF_TRY(percent_width(p, MAX_WIDTH, &sp.width));
    if (sp.width < 0)
        sp.align = '<', sp.width = -sp.width;
    if (p->at < f->n && f->data[p->at] == '.') {
        p->at++;
        LMF_TRY(percent_width(p, MAX_PRECISION, &sp.precision));
    }
    while (p->at < f->n && f->data[p->at] && strchr("hlL", f->data[p->at]))
        p->at++;
    if (p->at >= f->n)
        return TPL_FAIL(r, LMF_E_ARG, "the format string ends inside of a %% conversion");
    sp.type = f->data[p->at++];
    if (sp.type == '%')
        return lmf__tpl_put(&p->b, "%", 1), p->b.status;
    if (!keyed)
        LMF_TRY(next_arg(p, &v));
    switch (sp.type) {
    case 's':
        LMF_TRY(lmf__tpl_to_str(r, &v, &s));
        if (f->markup && !(v.kind == TPL_STR && v.u.s->markup))
            LMF_TRY(lmf__tpl_escape(r, s, &s));
        sp.align = sp.align ? sp.align : '>';
        return put_text(&p->b, &sp, s);
    case 'r': {
        tpl_builder text = { .r = r };
        lmf__tpl_repr(&text, &v, 0);
        LMF_TRY(lmf__tpl_built(&text, &v));
        sp.align = sp.align ? sp.align : '>';
        return put_text(&p->b, &sp, v.u.s);
    }
    case 'd': case 'i': case 'u':
        sp.type = 'd';
        return percent_number(p, sp, &v);
    case 'e': case 'E': case 'f': case 'F': case 'g': case 'G': case 'o': case 'x': case 'X': return percent_number(p, sp, &v);
    default: return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the conversion %%%c is not supported", sp.type >= ' ' && sp.type < 127 ? sp.type : '?');
    }
}

lmf_status lmf__tpl_percent(tpl_run *r, tpl_str *fmt, const tpl_value *args, tpl_value *out)
{
    percent p = { .b = { .r = r }, .f = fmt, .args = args };
    LMF_TRY(TPL_STEP_BYTES(r, fmt->n));
    while (p.at < fmt->n) {
        const char *next = memchr(fmt->data + p.at, '%', fmt->n - p.at);
        size_t n = next ? (size_t)(next - fmt->data) - p.at : fmt->n - p.at;
        lmf__tpl_put(&p.b, fmt->data + p.at, n);
        p.at += n;
        if (!next)
            break;
        p.at++;
        LMF_TRY(percent_one(&p));
    }
    if (args->kind == TPL_SEQ && args->u.seq->kind == TPL_TUPLE ? p.i_arg < args->u.seq->n && !p.used : !p.used && args->kind != TPL_DICT && !(args->kind == TPL_SEQ && args->u.seq->kind == TPL_LIST))
        return TPL_FAIL(r, LMF_E_ARG, "not all arguments of the format string are used");
    LMF_TRY(lmf__tpl_built(&p.b, out));
    out->u.s->markup = fmt->markup;
    return LMF_OK;
}

/* ---- "{}".format(x) ---- */

static lmf_status parse_spec(tpl_run *r, const tpl_str *f, size_t at, size_t end, spec *sp)
{
    size_t len = 1, n2;
    tpl_str part = { .data = f->data, .n = end };
    *sp = (spec){ .fill = ' ', .precision = -1 };
    if (at < end) {
        uint32_t c = lmf__tpl_decode(f->data + at, end - at, &len);
        if (at + len < end && f->data[at + len] && strchr("<>=^", f->data[at + len]))
            sp->fill = c, sp->align = f->data[at + len], at += len + 1;
        else if (c && c < 0x80 && strchr("<>=^", (int)c))
            sp->align = (char)c, at++;
    }
    if (at < end && f->data[at] && strchr("+- ", f->data[at]))
        sp->sign = f->data[at++];
    if (at < end && f->data[at] == '#')
        sp->alt = true, at++;
    if (at < end && f->data[at] == '0') {
        at++;
        sp->zero = true;
        if (!sp->align)
            sp->fill = '0';
    }
    LMF_TRY(read_int(r, &part, &at, MAX_WIDTH, &sp->width));
    if (at < end && f->data[at] == ',')
        sp->comma = true, at++;
    if (at < end && f->data[at] == '.') {
        n2 = ++at;
        LMF_TRY(read_int(r, &part, &at, MAX_PRECISION, &sp->precision));
        if (at == n2)
            return TPL_FAIL(r, LMF_E_ARG, "a '.' without precision in a format");
    }
    if (at < end && f->data[at] && strchr("sdbcoxXneEfFgG%", f->data[at]))
        sp->type = f->data[at++];
    return at == end ? LMF_OK : TPL_FAIL(r, LMF_E_ARG, "the format '%.*s' is not understood", (int)(end - at), f->data + at);
}

static lmf_status put_formatted(tpl_builder *b, spec *sp, const tpl_value *v, bool given)
{
    tpl_run *r = b->r;
    tpl_str *s;
    double f;
    if (!given || v->kind == TPL_STR || !lmf__tpl_number(v, &f) || (v->kind == TPL_BOOL && !sp->type)) {
        if (given && v->kind != TPL_STR && v->kind != TPL_BOOL)
            return TPL_FAIL(r, LMF_E_ARG, "a %s takes no format", lmf__tpl_type(v));
        if (given && ((sp->type && sp->type != 's') || sp->sign || sp->comma || sp->alt || sp->align == '='))
            return TPL_FAIL(r, LMF_E_ARG, "a number's format for a str");
        LMF_TRY(lmf__tpl_to_str(r, v, &s));
        return put_text(b, sp, s);
    }
    if (sp->zero && !sp->align)
        sp->align = '=';
    if (sp->type == 's' || sp->type == 'c' || (v->kind == TPL_FLOAT && sp->type && strchr("dboxX", sp->type)))
        return TPL_FAIL(r, LMF_E_ARG, "the format %c does not fit a %s", sp->type, lmf__tpl_type(v));
    if (v->kind == TPL_FLOAT || (sp->type && strchr("eEfFgG%", sp->type)))
        return put_float(b, *sp, f);
    if (sp->precision >= 0)
        return TPL_FAIL(r, LMF_E_ARG, "an integer's format takes no precision");
    return put_int(b, *sp, v->kind == TPL_INT ? v->u.i : v->u.b);
}

/* "0.name[key]" up to end: the argument, then its attributes and items. */
static lmf_status find_field(tpl_run *r, tpl_str *f, size_t at, size_t end, const tpl_args *args, size_t *i_auto, tpl_value *out)
{
    size_t stop = at;
    while (stop < end && f->data[stop] != '.' && f->data[stop] != '[')
        stop++;
    tpl_str *name = lmf__tpl_str_view(r, f, at, stop - at);
    int64_t i = -1;
    bool overflow, numbered = name && lmf__tpl_parse_int(name->data, name->n, 10, &i, &overflow);
    if (!name)
        return r->status;
    if (name->n == 0 || numbered) {
        if ((name->n == 0 && *i_auto == SIZE_MAX) || (numbered && *i_auto != 0 && *i_auto != SIZE_MAX))
            return TPL_FAIL(r, LMF_E_ARG, "numbered and automatic fields are mixed in a format string");
        size_t k = numbered ? (size_t)i : (*i_auto)++;
        if (numbered)
            *i_auto = SIZE_MAX;
        if (k >= args->n_pos)
            return TPL_FAIL(r, LMF_E_ARG, "the format string has more fields than arguments");
        *out = args->pos[k];
    } else {
        size_t k = 0;
        while (k < args->n_kw && !(args->names[k]->n == name->n && memcmp(args->names[k]->data, name->data, name->n) == 0))
            k++;
        if (k == args->n_kw)
            return TPL_FAIL(r, LMF_E_ARG, "the format string names '%.*s', which is not given", (int)name->n, name->data);
        *out = args->kw[k];
    }
    for (at = stop; at < end; at = stop) {
        char open = f->data[at++];
        for (stop = at; stop < end && (open == '[' ? f->data[stop] != ']' : f->data[stop] != '.' && f->data[stop] != '[');)
            stop++;
        tpl_str *key = lmf__tpl_str_view(r, f, at, stop - at);
        if (!key)
            return r->status;
        if (open == '[' && stop < end)
            stop++;
        tpl_value k = lmf__tpl_of_str(key);
        if (open == '[' && lmf__tpl_parse_int(key->data, key->n, 10, &i, &overflow))
            k = lmf__tpl_int(i);
        if (open == '.')
            LMF_TRY(lmf__tpl_getattr(r, out, key, out));
        else
            LMF_TRY(lmf__tpl_getitem(r, out, &k, out));
    }
    return LMF_OK;
}

static lmf_status format_field(tpl_builder *b, tpl_str *f, size_t at, size_t end, const tpl_args *args, size_t *i_auto)
{
    tpl_run *r = b->r;
    size_t name_end = at;
    tpl_value v;
    spec sp;
    while (name_end < end && f->data[name_end] != ':' && f->data[name_end] != '!')
        name_end += f->data[name_end] == '[' && memchr(f->data + name_end, ']', end - name_end)
            ? (size_t)((const char *)memchr(f->data + name_end, ']', end - name_end) - (f->data + name_end)) : 1;
    LMF_TRY(find_field(r, f, at, name_end, args, i_auto, &v));
    at = name_end;
    if (at < end && f->data[at] == '!') {
        tpl_builder text = { .r = r };
        tpl_str *s;
        char how = at + 1 < end ? f->data[at + 1] : 0;
        at += 2;
        if ((how != 'r' && how != 's') || (at < end && f->data[at] != ':'))
            return TPL_FAIL(r, LMF_E_ARG, "a conversion in a format string is !r or !s");
        if (how == 'r') {
            lmf__tpl_repr(&text, &v, 0);
            LMF_TRY(lmf__tpl_built(&text, &v));
        } else {
            LMF_TRY(lmf__tpl_to_str(r, &v, &s));
            v = lmf__tpl_of_str(s);
        }
    }
    at += at < end;
    if (memchr(f->data + at, '{', end - at))
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "nested fields in a format string are not supported");
    LMF_TRY(parse_spec(r, f, at, end, &sp));
    if (f->markup && (v.kind == TPL_STR || !lmf__tpl_number(&v, &(double){ 0 }))) {
        tpl_str *s;
        LMF_TRY(lmf__tpl_soft_str(r, &v, &s));
        LMF_TRY(lmf__tpl_escape(r, s, &s));
        v = lmf__tpl_of_str(s);
    }
    return put_formatted(b, &sp, &v, at < end);
}

lmf_status lmf__tpl_format(tpl_run *r, tpl_str *f, const tpl_args *args, tpl_value *out)
{
    tpl_builder b = { .r = r };
    size_t i_auto = 0;
    LMF_TRY(TPL_STEP_BYTES(r, f->n));
    for (size_t at = 0; at < f->n;) {
        char c = f->data[at];
        if ((c == '{' || c == '}') && at + 1 < f->n && f->data[at + 1] == c) {
            lmf__tpl_put(&b, &c, 1);
            at += 2;
        } else if (c == '{') {
            size_t end = ++at;
            for (int level = 1; end < f->n; end++)
                if ((level += (f->data[end] == '{') - (f->data[end] == '}')) == 0)
                    break;
            if (end >= f->n)
                return TPL_FAIL(r, LMF_E_ARG, "a '{' in a format string has no '}'");
            LMF_TRY(format_field(&b, f, at, end, args, &i_auto));
            at = end + 1;
        } else if (c == '}') {
            return TPL_FAIL(r, LMF_E_ARG, "a single '}' in a format string");
        } else {
            lmf__tpl_put(&b, &c, 1);
            at++;
        }
    }
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = f->markup;
    return LMF_OK;
}

/* ---- strftime_now ---- */

typedef struct civil { int64_t year; int month, day, hour, minute, second, weekday, yearday; } civil; /* month, weekday from 0; Sunday 0 */

static civil civil_from_unix(int64_t t)
{
    static const int before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334 };
    int64_t days = t / 86400, rest = t % 86400;
    if (rest < 0)
        rest += 86400, days--;
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365, doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    civil c = { .day = (int)(doy - (153 * mp + 2) / 5 + 1), .month = (int)(mp < 10 ? mp + 2 : mp - 10), .year = yoe + era * 400 + (mp >= 10),
                .hour = (int)(rest / 3600), .minute = (int)(rest / 60 % 60), .second = (int)(rest % 60) };
    c.weekday = (int)((days % 7 + 11) % 7); /* day 0 was a Thursday */
    bool leap = (c.year % 4 == 0 && c.year % 100 != 0) || c.year % 400 == 0;
    c.yearday = before[c.month] + c.day + (leap && c.month > 1);
    return c;
}

lmf_status lmf__tpl_strftime(tpl_run *r, const tpl_str *f, tpl_value *out)
{
    static const char *const days[] = { "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" };
    static const char *const months[] = { "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December" };
    tpl_builder b = { .r = r };
    int64_t limit = INT64_C(253402300799); /* the end of the year 9999 */
    civil c = civil_from_unix(r->opts.now_unix > limit ? limit : r->opts.now_unix < -INT64_C(62135596800) ? -INT64_C(62135596800) : r->opts.now_unix);
    char text[64];
    LMF_TRY(TPL_STEP_BYTES(r, f->n));
    for (size_t i = 0; i < f->n; i++) {
        if (f->data[i] != '%' || i + 1 == f->n) {
            lmf__tpl_put(&b, f->data + i, 1);
            continue;
        }
        bool bare = f->data[i + 1] == '-' && i + 2 < f->n;
        i += 1 + bare;
        int hour12 = c.hour % 12 ? c.hour % 12 : 12;
        const char *two = bare ? "%d" : "%02d";
        switch (f->data[i]) {
        case 'Y': snprintf(text, sizeof text, "%lld", (long long)c.year); break;
        case 'm': snprintf(text, sizeof text, two, c.month + 1); break;
        case 'd': snprintf(text, sizeof text, two, c.day); break;
        case 'e': snprintf(text, sizeof text, bare ? "%d" : "%2d", c.day); break;
        case 'H': snprintf(text, sizeof text, two, c.hour); break;
        case 'I': snprintf(text, sizeof text, two, hour12); break;
        case 'M': snprintf(text, sizeof text, two, c.minute); break;
        case 'S': snprintf(text, sizeof text, two, c.second); break;
        case 'y': snprintf(text, sizeof text, two, (int)(c.year % 100)); break;
        case 'j': snprintf(text, sizeof text, bare ? "%d" : "%03d", c.yearday); break;
        case 'f': snprintf(text, sizeof text, "000000"); break;
        case 'b': case 'h': snprintf(text, sizeof text, "%.3s", months[c.month]); break;
        case 'B': snprintf(text, sizeof text, "%s", months[c.month]); break;
        case 'a': snprintf(text, sizeof text, "%.3s", days[c.weekday]); break;
        case 'A': snprintf(text, sizeof text, "%s", days[c.weekday]); break;
        case 'w': snprintf(text, sizeof text, "%d", c.weekday); break;
        case 'u': snprintf(text, sizeof text, "%d", c.weekday ? c.weekday : 7); break;
        case 'p': snprintf(text, sizeof text, "%s", c.hour < 12 ? "AM" : "PM"); break;
        case 'F': snprintf(text, sizeof text, "%lld-%02d-%02d", (long long)c.year, c.month + 1, c.day); break;
        case 'T': snprintf(text, sizeof text, "%02d:%02d:%02d", c.hour, c.minute, c.second); break;
        case 'R': snprintf(text, sizeof text, "%02d:%02d", c.hour, c.minute); break;
        case 'D': snprintf(text, sizeof text, "%02d/%02d/%02d", c.month + 1, c.day, (int)(c.year % 100)); break;
        case 'c': snprintf(text, sizeof text, "%.3s %.3s %2d %02d:%02d:%02d %lld", days[c.weekday], months[c.month], c.day, c.hour, c.minute, c.second, (long long)c.year); break;
        case 'x': snprintf(text, sizeof text, "%02d/%02d/%02d", c.month + 1, c.day, (int)(c.year % 100)); break;
        case 'X': snprintf(text, sizeof text, "%02d:%02d:%02d", c.hour, c.minute, c.second); break;
        case 'Z': case 'z': text[0] = 0; break; /* a time without zone shows none */
        case 'n': snprintf(text, sizeof text, "\n"); break;
        case 't': snprintf(text, sizeof text, "\t"); break;
        case '%': snprintf(text, sizeof text, "%%"); break;
        default: return TPL_FAIL(r, LMF_E_UNSUPPORTED, "strftime_now does not know %%%.1s", f->data[i] >= ' ' && f->data[i] < 127 ? f->data + i : "?");
        }
        lmf__tpl_puts(&b, text);
    }
    return lmf__tpl_built(&b, out);
}
