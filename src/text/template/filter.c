/* SPDX-License-Identifier: Apache-2.0 */
/* The filters behind `|`. Each is a row of the table at the end: name, parameters, how many of them are required.
 * Rule: what is a generator in jinja2 is a TPL_ITER here (true, without length, used up once), though it is computed
 * at once: a template can see the difference only through a failure that it would never have reached. */
#include <math.h>
#include "text/template/value.h"

#define FILTER(name) static lmf_status name(tpl_run *r, const tpl_value *v, const tpl_value *a, const tpl_args *raw, tpl_value *out)
#define UNUSED (void)r, (void)v, (void)a, (void)raw

static bool absent(const tpl_value *v) { return v->kind == TPL_MISSING || v->kind == TPL_NONE; }

static lmf_status int_or(tpl_run *r, const tpl_value *v, int64_t otherwise, const char *what, int64_t *out)
{
    *out = otherwise;
    return v->kind == TPL_MISSING ? LMF_OK : lmf__tpl_need_int(r, v, what, out);
}

static lmf_status give_str(tpl_str *s, tpl_value *out)
{
    *out = lmf__tpl_of_str(s);
    return LMF_OK;
}

/* ---- text ---- */

static lmf_status recase(tpl_run *r, const tpl_value *v, tpl_case how, tpl_value *out)
{
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    return lmf__tpl_recase(r, s, how, out);
}
FILTER(f_upper) { UNUSED; return recase(r, v, TPL_UPPER, out); }
FILTER(f_lower) { UNUSED; return recase(r, v, TPL_LOWER, out); }
FILTER(f_capitalize) { UNUSED; return recase(r, v, TPL_CAPITALIZE, out); }
FILTER(f_title)
{
    UNUSED;
    LMF_TRY(recase(r, v, TPL_FILTER_TITLE, out));
    out->u.s->markup = false; /* it is put together again by "".join */
    return LMF_OK;
}

FILTER(f_trim)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    return lmf__tpl_strip(r, s, &a[0], 3, out);
}

FILTER(f_string)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    return give_str(s, out);
}

FILTER(f_safe)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    s = lmf__tpl_as_markup(r, s, true);
    return s ? give_str(s, out) : r->status;
}

FILTER(f_escape)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    LMF_TRY(lmf__tpl_escape(r, s, &s));
    return give_str(s, out);
}

FILTER(f_forceescape)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_to_str(r, v, &s));
    LMF_TRY(lmf__tpl_escape(r, s, &s));
    return give_str(s, out);
}

FILTER(f_replace)
{
    UNUSED;
    tpl_str *s, *from, *to;
    int64_t count;
    LMF_TRY(lmf__tpl_to_str(r, v, &s));
    LMF_TRY(lmf__tpl_to_str(r, &a[0], &from));
    LMF_TRY(lmf__tpl_to_str(r, &a[1], &to));
    LMF_TRY(int_or(r, a[2].kind == TPL_NONE ? &(tpl_value){ 0 } : &a[2], -1, "replace's count", &count));
    return lmf__tpl_replace(r, s, from, to, count, out);
}

FILTER(f_indent)
{
    UNUSED;
    tpl_str *s, *width = NULL;
    tpl_list lines = { .r = r };
    tpl_builder b = { .r = r };
    int64_t n = 4;
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (v->kind != TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "indent needs a str, not a %s", lmf__tpl_type(v));
    if (a[0].kind == TPL_STR) {
        width = a[0].u.s;
    } else {
        LMF_TRY(int_or(r, &a[0], 4, "indent's width", &n));
        if (n > 10000)
            return TPL_FAIL(r, LMF_E_LIMIT, "indent's width is at most 10000");
        for (int64_t i = 0; i < n; i++)
            lmf__tpl_put(&b, " ", 1);
        tpl_value w;
        LMF_TRY(lmf__tpl_built(&b, &w));
        width = w.u.s;
    }
    if (v->u.s->markup)
        LMF_TRY(lmf__tpl_escape(r, width, &width));
    /* jinja2 adds a newline first, so a text that ends in one keeps an empty last line */
    tpl_value whole;
    LMF_TRY(lmf__tpl_concat(r, v->u.s, &(tpl_str){ .data = "\n", .n = 1, .n_chars = 1, .markup = v->u.s->markup }, &whole));
    s = whole.u.s;
    LMF_TRY(lmf__tpl_splitlines(r, s, false, &lines));
    bool first = lmf__tpl_truth(&a[1]), blank = lmf__tpl_truth(&a[2]);
    for (size_t i = 0; i < lines.n; i++) {
        const tpl_str *line = lines.items[i].u.s;
        if (i)
            lmf__tpl_put(&b, "\n", 1);
        LMF_TRY(TPL_STEP_BYTES(r, width->n));
        if (i == 0 ? first : blank || line->n)
            lmf__tpl_put(&b, width->data, width->n);
        lmf__tpl_put(&b, line->data, line->n);
    }
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = v->u.s->markup;
    return LMF_OK;
}

FILTER(f_truncate)
{
    UNUSED;
    tpl_str *s, *end = &(tpl_str){ .data = "...", .n = 3, .n_chars = 3 };
    int64_t length, leeway;
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (v->kind != TPL_STR || (a[2].kind != TPL_MISSING && a[2].kind != TPL_STR))
        return TPL_FAIL(r, LMF_E_ARG, "truncate needs a str");
    s = v->u.s;
    if (a[2].kind == TPL_STR)
        end = a[2].u.s;
    LMF_TRY(int_or(r, &a[0], 255, "truncate's length", &length));
    LMF_TRY(int_or(r, a[3].kind == TPL_NONE ? &(tpl_value){ 0 } : &a[3], 5, "truncate's leeway", &leeway));
    if (length < lmf__tpl_chars(end) || leeway < 0 || length > INT32_MAX || leeway > INT32_MAX)
        return TPL_FAIL(r, LMF_E_ARG, "truncate's length must be at least that of its ending, and its leeway not negative");
    if (lmf__tpl_chars(s) <= length + leeway)
        return give_str(s, out);
    tpl_str *part = lmf__tpl_str_view(r, s, 0, lmf__tpl_offset(s, length - lmf__tpl_chars(end)));
    if (!part)
        return r->status;
    if (!lmf__tpl_truth(&a[1])) {
        const char *at = memrchr(part->data, ' ', part->n);
        if (at)
            part->n = (size_t)(at - part->data), part->n_chars = -1;
    }
    return lmf__tpl_concat(r, part, end, out);
}

FILTER(f_center)
{
    UNUSED;
    tpl_str *s;
    tpl_value self, method, width = a[0].kind == TPL_MISSING ? lmf__tpl_int(80) : a[0];
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    self = lmf__tpl_of_str(s);
    LMF_TRY(lmf__tpl_attribute(r, &self, &(tpl_str){ .data = "center", .n = 6 }, &method));
    return lmf__tpl_call(r, &method, &(tpl_args){ .pos = &width, .n_pos = 1 }, out);
}

FILTER(f_wordcount)
{
    UNUSED;
    tpl_str *s;
    int64_t n = 0;
    bool in_word = false;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    LMF_TRY(TPL_STEP_BYTES(r, s->n * 4));
    for (size_t i = 0, len; i < s->n; i += len) {
        bool word = lmf__tpl_word_char(lmf__tpl_decode(s->data + i, s->n - i, &len), false);
        n += word && !in_word;
        in_word = word;
    }
    *out = lmf__tpl_int(n);
    return LMF_OK;
}

FILTER(f_format)
{
    UNUSED;
    tpl_str *s;
    LMF_TRY(lmf__tpl_soft_str(r, v, &s));
    if (raw->n_pos && raw->n_kw)
        return TPL_FAIL(r, LMF_E_ARG, "format takes arguments by position or by name, not both");
    if (raw->n_kw) {
        tpl_dict *d;
        LMF_TRY(lmf__tpl_make_dict(r, raw, &d));
        return lmf__tpl_percent(r, s, &(tpl_value){ TPL_DICT, { .d = d } }, out);
    }
    tpl_seq args = { .kind = TPL_TUPLE, .n = raw->n_pos, .items = raw->pos };
    return lmf__tpl_percent(r, s, &(tpl_value){ TPL_SEQ, { .seq = &args } }, out);
}

FILTER(f_tojson) { UNUSED; return lmf__tpl_tojson(r, v, a, out); }

/* ---- numbers ---- */

FILTER(f_abs)
{
    UNUSED;
    double f;
    if (!lmf__tpl_number(v, &f))
        return TPL_FAIL(r, LMF_E_ARG, "abs of a %s", lmf__tpl_type(v));
    return lmf__tpl_negate(r, v, signbit(f), out);
}

FILTER(f_int)
{
    UNUSED;
    int64_t base, i;
    double f;
    bool overflow = false, is_float = false;
    LMF_TRY(int_or(r, &a[1], 10, "int's base", &base));
    if (v->kind == TPL_INT || v->kind == TPL_BOOL)
        return *out = lmf__tpl_int(v->kind == TPL_INT ? v->u.i : v->u.b), LMF_OK;
    if (v->kind == TPL_UNDEFINED)
        return lmf__tpl_need_defined(r, v);
    if (v->kind == TPL_STR && lmf__tpl_parse_int(v->u.s->data, v->u.s->n, (int)(base < 0 || base > 36 ? 1 : base), &i, &overflow)) {
        if (overflow)
            return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the integer is outside of 64 bits");
        return *out = lmf__tpl_int(i), LMF_OK;
    }
    if (v->kind == TPL_FLOAT)
        f = v->u.f, is_float = true;
    else if (v->kind == TPL_STR)
        is_float = lmf__tpl_parse_float(v->u.s->data, v->u.s->n, &f);
    if (!is_float || isnan(f) || (isinf(f) && v->kind == TPL_STR))
        return *out = a[0].kind == TPL_MISSING ? lmf__tpl_int(0) : a[0], LMF_OK;
    if (isinf(f))
        return TPL_FAIL(r, LMF_E_ARG, "infinity is no integer");
    if (!(f >= -0x1p63 && f < 0x1p63))
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the integer is outside of 64 bits");
    *out = lmf__tpl_int((int64_t)f);
    return LMF_OK;
}

FILTER(f_float)
{
    UNUSED;
    double f;
    if (v->kind == TPL_UNDEFINED)
        return lmf__tpl_need_defined(r, v);
    if (lmf__tpl_number(v, &f) || (v->kind == TPL_STR && lmf__tpl_parse_float(v->u.s->data, v->u.s->n, &f)))
        *out = lmf__tpl_float(f);
    else
        *out = a[0].kind == TPL_MISSING ? lmf__tpl_float(0) : a[0];
    return LMF_OK;
}

FILTER(f_round)
{
    UNUSED;
    int64_t digits;
    double f;
    bool up = false, down = false;
    if (a[1].kind != TPL_MISSING) {
        up = a[1].kind == TPL_STR && lmf__tpl_str_eq(a[1].u.s, "ceil");
        down = a[1].kind == TPL_STR && lmf__tpl_str_eq(a[1].u.s, "floor");
        if (!up && !down && !(a[1].kind == TPL_STR && lmf__tpl_str_eq(a[1].u.s, "common")))
            return TPL_FAIL(r, LMF_E_ARG, "round's method is 'common', 'ceil' or 'floor'");
    }
    LMF_TRY(int_or(r, &a[0], 0, "round's precision", &digits));
    if (!up && !down)
        return lmf__tpl_round(r, v, digits, out);
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (!lmf__tpl_number(v, &f) || digits > 300 || digits < -300)
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be rounded so", lmf__tpl_type(v));
    double unit = pow(10, (double)digits), scaled = up ? ceil(f * unit) : floor(f * unit);
    *out = lmf__tpl_float((scaled == 0 ? 0 : scaled) / unit); /* Python's ceil gives an int: no negative zero */
    return LMF_OK;
}

/* ---- containers ---- */

FILTER(f_length)
{
    UNUSED;
    int64_t n;
    LMF_TRY(lmf__tpl_length(r, v, &n));
    *out = lmf__tpl_int(n);
    return LMF_OK;
}

FILTER(f_default)
{
    UNUSED;
    bool use = v->kind == TPL_UNDEFINED || (lmf__tpl_truth(&a[1]) && !lmf__tpl_truth(v));
    if (!use)
        return *out = *v, LMF_OK;
    if (a[0].kind == TPL_MISSING)
        return lmf__tpl_str_value(r, "", 0, out);
    *out = a[0];
    return LMF_OK;
}

FILTER(f_first)
{
    UNUSED;
    tpl_seq *s;
    if (v->kind == TPL_SEQ && v->u.seq->kind == TPL_ITER && v->u.seq->pos < v->u.seq->n) /* takes one, leaves the rest */
        return *out = v->u.seq->items[v->u.seq->pos++], LMF_OK;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    *out = s->n ? lmf__tpl_at(s, 0) : lmf__tpl_undefined(r, "No first item, sequence was empty.");
    return LMF_OK;
}

FILTER(f_last)
{
    UNUSED;
    tpl_seq *s;
    if (!lmf__tpl_has_length(v))
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be reversed; put |list before |last", lmf__tpl_type(v));
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    *out = s->n ? lmf__tpl_at(s, s->n - 1) : lmf__tpl_undefined(r, "No last item, sequence was empty.");
    return LMF_OK;
}

static lmf_status copy_list(tpl_run *r, const tpl_value *v, tpl_seq_kind kind, tpl_seq **out)
{
    tpl_seq *s;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    tpl_seq *c = lmf__tpl_seq(r, kind, s->n);
    if (!c)
        return r->status;
    for (size_t i = 0; i < s->n; i++)
        c->items[i] = lmf__tpl_at(s, i);
    *out = c;
    return LMF_OK;
}

FILTER(f_list)
{
    UNUSED;
    tpl_seq *s;
    LMF_TRY(copy_list(r, v, TPL_LIST, &s));
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

FILTER(f_reverse)
{
    UNUSED;
    tpl_seq *s;
    tpl_value back = lmf__tpl_int(-1), none = { .kind = TPL_MISSING };
    if (v->kind == TPL_STR)
        return lmf__tpl_slice(r, v, &none, &none, &back, out);
    bool generator = v->kind == TPL_SEQ && v->u.seq->kind == TPL_ITER;
    LMF_TRY(copy_list(r, v, generator ? TPL_LIST : TPL_ITER, &s));
    for (size_t i = 0; i < s->n / 2; i++) {
        tpl_value t = s->items[i];
        s->items[i] = s->items[s->n - 1 - i];
        s->items[s->n - 1 - i] = t;
    }
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

FILTER(f_items)
{
    UNUSED;
    tpl_value method;
    if (v->kind == TPL_UNDEFINED) {
        tpl_seq *s = lmf__tpl_seq(r, TPL_ITER, 0);
        return s ? *out = lmf__tpl_of_seq(s), LMF_OK : r->status;
    }
    if (v->kind != TPL_DICT)
        return TPL_FAIL(r, LMF_E_ARG, "items needs a mapping, not a %s", lmf__tpl_type(v));
    LMF_TRY(lmf__tpl_attribute(r, v, &(tpl_str){ .data = "items", .n = 5 }, &method));
    LMF_TRY(lmf__tpl_call(r, &method, &(tpl_args){ 0 }, out));
    out->u.seq->kind = TPL_ITER;
    return LMF_OK;
}

/* "a.b.0": items, and integers where a part is all digits. An absent attribute gives the value itself. */
static lmf_status get_path(tpl_run *r, const tpl_value *v, const tpl_value *path, const tpl_value *otherwise, tpl_value *out)
{
    *out = *v;
    if (absent(path))
        return LMF_OK;
    if (path->kind != TPL_STR) {
        LMF_TRY(lmf__tpl_getitem(r, out, path, out));
        if (out->kind == TPL_UNDEFINED && !absent(otherwise))
            *out = *otherwise;
        return LMF_OK;
    }
    tpl_str *s = path->u.s;
    for (size_t at = 0, end; at <= s->n; at = end + 1) {
        bool digits;
        int64_t i = 0;
        bool overflow;
        const char *dot = memchr(s->data + at, '.', s->n - at);
        end = dot ? (size_t)(dot - s->data) : s->n;
        tpl_str *part = lmf__tpl_str_view(r, s, at, end - at);
        if (!part)
            return r->status;
        LMF_TRY(lmf__tpl_is_class(r, part, TPL_DIGIT, &digits));
        tpl_value key = digits && lmf__tpl_parse_int(part->data, part->n, 10, &i, &overflow) ? lmf__tpl_int(i) : lmf__tpl_of_str(part);
        LMF_TRY(lmf__tpl_getitem(r, out, &key, out));
        if (out->kind == TPL_UNDEFINED && !absent(otherwise))
            *out = *otherwise;
    }
    return LMF_OK;
}

/* What sorting and comparing filters look at: the attribute, in lower case unless case matters. */
static lmf_status sort_key(tpl_run *r, const tpl_value *v, const tpl_value *path, bool case_sensitive, tpl_value *out)
{
    tpl_value none = { .kind = TPL_MISSING };
    LMF_TRY(get_path(r, v, path, &none, out));
    return out->kind == TPL_STR && !case_sensitive ? lmf__tpl_recase(r, out->u.s, TPL_LOWER, out) : LMF_OK;
}

typedef struct pair { tpl_value key, value; } pair;

/* Stable, as sorted(reverse=...) is. */
static lmf_status merge_sort(tpl_run *r, pair *p, size_t n, bool reverse)
{
    pair *spare = lmf__tpl_alloc(r, n, sizeof *spare);
    if (!spare)
        return r->status;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n, a = lo, b = mid;
            for (size_t k = lo; k < hi; k++) {
                bool take_b = a >= mid;
                LMF_TRY(lmf__tpl_step(r, 0));
                if (a < mid && b < hi)
                    LMF_TRY(reverse ? lmf__tpl_less(r, &p[a].key, &p[b].key, &take_b) : lmf__tpl_less(r, &p[b].key, &p[a].key, &take_b));
                spare[k] = take_b ? p[b++] : p[a++];
            }
        }
        memcpy(p, spare, n * sizeof *p);
    }
    return LMF_OK;
}

static lmf_status give_sorted(tpl_run *r, pair *p, size_t n, bool reverse, tpl_value *out)
{
    LMF_TRY(merge_sort(r, p, n, reverse));
    tpl_seq *s = lmf__tpl_seq(r, TPL_LIST, n);
    if (!s)
        return r->status;
    for (size_t i = 0; i < n; i++)
        s->items[i] = p[i].value;
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

FILTER(f_sort) /* reverse, case_sensitive, attribute */
{
    UNUSED;
    tpl_seq *s;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    pair *p = lmf__tpl_alloc(r, s->n, sizeof *p);
    if (!p)
        return r->status;
    for (size_t i = 0; i < s->n; i++) {
        p[i].value = lmf__tpl_at(s, i);
        tpl_list keys = { .r = r };
        tpl_str *path = a[2].kind == TPL_STR ? a[2].u.s : NULL;
        for (size_t at = 0, end; at <= (path ? path->n : 0); at = end + 1) {
            const char *comma = path ? memchr(path->data + at, ',', path->n - at) : NULL;
            end = comma ? (size_t)(comma - path->data) : path ? path->n : 0;
            tpl_value key, one = a[2];
            if (path) {
                tpl_str *part = lmf__tpl_str_view(r, path, at, end - at);
                if (!part)
                    return r->status;
                one = lmf__tpl_of_str(part);
            }
            LMF_TRY(sort_key(r, &p[i].value, &one, lmf__tpl_truth(&a[1]), &key));
            LMF_TRY(lmf__tpl_push(&keys, key));
        }
        LMF_TRY(lmf__tpl_listed(&keys, TPL_LIST, &p[i].key));
    }
    return give_sorted(r, p, s->n, lmf__tpl_truth(&a[0]), out);
}

FILTER(f_dictsort) /* case_sensitive, by, reverse */
{
    UNUSED;
    tpl_value items, none = { .kind = TPL_MISSING };
    LMF_TRY(lmf__tpl_need_defined(r, v));
    bool by_value = a[1].kind == TPL_STR && lmf__tpl_str_eq(a[1].u.s, "value");
    if (!by_value && a[1].kind != TPL_MISSING && !(a[1].kind == TPL_STR && lmf__tpl_str_eq(a[1].u.s, "key")))
        return TPL_FAIL(r, LMF_E_ARG, "dictsort sorts by 'key' or 'value'");
    LMF_TRY(f_items(r, v, a, raw, &items));
    tpl_seq *s = items.u.seq;
    pair *p = lmf__tpl_alloc(r, s->n, sizeof *p);
    if (!p)
        return r->status;
    for (size_t i = 0; i < s->n; i++) {
        p[i].value = s->items[i];
        LMF_TRY(sort_key(r, &s->items[i].u.seq->items[by_value], &none, lmf__tpl_truth(&a[0]), &p[i].key));
    }
    return give_sorted(r, p, s->n, lmf__tpl_truth(&a[2]), out);
}

FILTER(f_unique) /* case_sensitive, attribute */
{
    UNUSED;
    tpl_seq *s;
    tpl_list l = { .r = r };
    tpl_dict *seen = lmf__tpl_dict(r);
    if (!seen)
        return r->status;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    for (size_t i = 0; i < s->n; i++) {
        tpl_value x = lmf__tpl_at(s, i), key, *found;
        LMF_TRY(sort_key(r, &x, &a[1], lmf__tpl_truth(&a[0]), &key));
        LMF_TRY(lmf__tpl_dict_find(r, seen, &key, &found));
        if (found)
            continue;
        LMF_TRY(lmf__tpl_dict_set(r, seen, key, key));
        LMF_TRY(lmf__tpl_push(&l, x));
    }
    return lmf__tpl_listed(&l, TPL_ITER, out);
}

static lmf_status extreme(tpl_run *r, const tpl_value *v, const tpl_value *a, bool greatest, tpl_value *out)
{
    tpl_seq *s;
    tpl_value best_key = { 0 }, key;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    if (!s->n)
        return *out = lmf__tpl_undefined(r, "No aggregated item, sequence was empty."), LMF_OK;
    for (size_t i = 0; i < s->n; i++) {
        tpl_value x = lmf__tpl_at(s, i);
        bool better = i == 0;
        LMF_TRY(sort_key(r, &x, &a[1], lmf__tpl_truth(&a[0]), &key));
        if (i)
            LMF_TRY(greatest ? lmf__tpl_less(r, &best_key, &key, &better) : lmf__tpl_less(r, &key, &best_key, &better));
        if (better)
            *out = x, best_key = key;
    }
    return LMF_OK;
}
FILTER(f_min) { UNUSED; return extreme(r, v, a, false, out); }
FILTER(f_max) { UNUSED; return extreme(r, v, a, true, out); }

FILTER(f_sum) /* attribute, start */
{
    UNUSED;
    tpl_seq *s;
    tpl_value none = { .kind = TPL_MISSING };
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    *out = a[1].kind == TPL_MISSING ? lmf__tpl_int(0) : a[1];
    if (out->kind == TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "sum of strings; use join");
    for (size_t i = 0; i < s->n; i++) {
        tpl_value x = lmf__tpl_at(s, i);
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(get_path(r, &x, &a[0], &none, &x));
        LMF_TRY(lmf__tpl_binary(r, '+', out, &x, out));
    }
    return LMF_OK;
}

FILTER(f_join) /* d, attribute */
{
    UNUSED;
    tpl_seq *s;
    tpl_str *d = &(tpl_str){ .data = "" };
    tpl_builder b = { .r = r };
    tpl_value none = { .kind = TPL_MISSING };
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    if (a[0].kind != TPL_MISSING)
        LMF_TRY(lmf__tpl_to_str(r, &a[0], &d));
    for (size_t i = 0; i < s->n; i++) {
        tpl_value x = lmf__tpl_at(s, i);
        tpl_str *text;
        LMF_TRY(get_path(r, &x, &a[1], &none, &x));
        LMF_TRY(lmf__tpl_to_str(r, &x, &text));
        LMF_TRY(TPL_STEP_BYTES(r, d->n + text->n));
        if (i)
            lmf__tpl_put(&b, d->data, d->n);
        lmf__tpl_put(&b, text->data, text->n);
    }
    return lmf__tpl_built(&b, out);
}

static lmf_status find_named_filter(tpl_run *r, const tpl_value *name, const tpl_filter_row **out)
{
    *out = name->kind == TPL_STR ? lmf__tpl_find_filter(name->u.s) : NULL;
    if (*out)
        return LMF_OK;
    if (name->kind != TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "a filter's name must be a str, not a %s; are its quotes missing?", lmf__tpl_type(name));
    return TPL_FAIL(r, lmf__tpl_known_filter(name->u.s) ? LMF_E_UNSUPPORTED : LMF_E_ARG, "there is no filter '%.*s'", (int)(name->u.s->n < 60 ? name->u.s->n : 60), name->u.s->data);
}

FILTER(f_map)
{
    UNUSED;
    tpl_seq *s;
    tpl_list l = { .r = r };
    tpl_value path = { 0 }, otherwise = { 0 }, x;
    const tpl_filter_row *row = NULL;
    if (!lmf__tpl_truth(v)) /* no arguments are looked at */
        return lmf__tpl_listed(&l, TPL_ITER, out);
    tpl_args rest = *raw;
    if (raw->n_pos == 0) {
        for (size_t i = 0; i < raw->n_kw; i++) {
            if (lmf__tpl_str_eq(raw->names[i], "attribute"))
                path = raw->kw[i];
            else if (lmf__tpl_str_eq(raw->names[i], "default"))
                otherwise = raw->kw[i];
            else
                return TPL_FAIL(r, LMF_E_ARG, "map has no argument '%.*s'", (int)raw->names[i]->n, raw->names[i]->data);
        }
        if (path.kind == TPL_MISSING)
            return TPL_FAIL(r, LMF_E_ARG, "map needs a filter's name, or attribute=");
    } else {
        LMF_TRY(find_named_filter(r, &raw->pos[0], &row));
        rest.pos++;
        rest.n_pos--;
    }
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    for (size_t i = 0; i < s->n; i++) {
        x = lmf__tpl_at(s, i);
        if (row)
            LMF_TRY(lmf__tpl_call_filter(r, row, &x, &rest, &x));
        else
            LMF_TRY(get_path(r, &x, &path, &otherwise, &x));
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_push(&l, x));
    }
    return lmf__tpl_listed(&l, TPL_ITER, out);
}

static lmf_status select_items(tpl_run *r, const tpl_value *v, const tpl_args *raw, bool want, bool by_attribute, tpl_value *out)
{
    tpl_seq *s;
    tpl_list l = { .r = r };
    const tpl_test_row *row = NULL;
    tpl_value none = { .kind = TPL_MISSING };
    tpl_args rest = *raw;
    if (!lmf__tpl_truth(v))
        return lmf__tpl_listed(&l, TPL_ITER, out);
    if (by_attribute && !raw->n_pos)
        return TPL_FAIL(r, LMF_E_ARG, "selectattr and rejectattr need an attribute's name");
    rest.pos += by_attribute;
    rest.n_pos -= by_attribute;
    if (rest.n_pos) {
        const tpl_value *name = rest.pos;
        row = name->kind == TPL_STR ? lmf__tpl_find_test(name->u.s) : NULL;
        if (!row)
            return TPL_FAIL(r, LMF_E_ARG, "there is no test '%.*s'", name->kind == TPL_STR ? (int)(name->u.s->n < 60 ? name->u.s->n : 60) : 0, name->kind == TPL_STR ? name->u.s->data : "");
        rest.pos++;
        rest.n_pos--;
    }
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    for (size_t i = 0; i < s->n; i++) {
        tpl_value item = lmf__tpl_at(s, i), x = item;
        bool hit;
        LMF_TRY(lmf__tpl_step(r, 0));
        if (by_attribute)
            LMF_TRY(get_path(r, &item, &raw->pos[0], &none, &x));
        hit = lmf__tpl_truth(&x);
        if (row)
            LMF_TRY(lmf__tpl_call_test(r, row, &x, &rest, &hit));
        if (hit == want)
            LMF_TRY(lmf__tpl_push(&l, item));
    }
    return lmf__tpl_listed(&l, TPL_ITER, out);
}
FILTER(f_select) { UNUSED; return select_items(r, v, raw, true, false, out); }
FILTER(f_reject) { UNUSED; return select_items(r, v, raw, false, false, out); }
FILTER(f_selectattr) { UNUSED; return select_items(r, v, raw, true, true, out); }
FILTER(f_rejectattr) { UNUSED; return select_items(r, v, raw, false, true, out); }

FILTER(f_batch) /* linecount, fill_with */
{
    UNUSED;
    tpl_seq *s;
    int64_t n;
    tpl_list rows = { .r = r }, row = { .r = r };
    tpl_value one;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    LMF_TRY(lmf__tpl_need_int(r, &a[0], "batch's size", &n));
    for (size_t i = 0; i < s->n; i++) {
        if ((int64_t)row.n == n) {
            LMF_TRY(lmf__tpl_listed(&row, TPL_LIST, &one));
            LMF_TRY(lmf__tpl_push(&rows, one));
            row = (tpl_list){ .r = r };
        }
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_push(&row, lmf__tpl_at(s, i)));
    }
    if (row.n) {
        while (!absent(&a[1]) && (int64_t)row.n < n) {
            LMF_TRY(lmf__tpl_step(r, 0));
            LMF_TRY(lmf__tpl_push(&row, a[1]));
        }
        LMF_TRY(lmf__tpl_listed(&row, TPL_LIST, &one));
        LMF_TRY(lmf__tpl_push(&rows, one));
    }
    return lmf__tpl_listed(&rows, TPL_ITER, out);
}

FILTER(f_slice) /* slices, fill_with */
{
    UNUSED;
    tpl_seq *s;
    int64_t n, at = 0;
    tpl_list rows = { .r = r };
    tpl_value one;
    LMF_TRY(lmf__tpl_iterate(r, v, &s));
    LMF_TRY(lmf__tpl_need_int(r, &a[0], "slice's count", &n));
    if (n == 0)
        return TPL_FAIL(r, LMF_E_ARG, "slice into no parts");
    for (int64_t k = 0; k < n; k++) {
        tpl_list row = { .r = r };
        int64_t each = (int64_t)s->n / n + (k < (int64_t)s->n % n);
        for (int64_t i = 0; i < each; i++, at++)
            LMF_TRY(lmf__tpl_push(&row, lmf__tpl_at(s, (size_t)at)));
        if (!absent(&a[1]) && k >= (int64_t)s->n % n)
            LMF_TRY(lmf__tpl_push(&row, a[1]));
        LMF_TRY(lmf__tpl_step(r, (uint64_t)each));
        LMF_TRY(lmf__tpl_listed(&row, TPL_LIST, &one));
        LMF_TRY(lmf__tpl_push(&rows, one));
    }
    return lmf__tpl_listed(&rows, TPL_ITER, out);
}

FILTER(f_attr)
{
    UNUSED;
    if (a[0].kind != TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "attr needs a name");
    LMF_TRY(lmf__tpl_need_defined(r, v));
    LMF_TRY(lmf__tpl_attribute(r, v, a[0].u.s, out));
    if (out->kind == TPL_MISSING)
        *out = lmf__tpl_undefined(r, "a %s has no attribute '%.*s'", lmf__tpl_type(v), (int)(a[0].u.s->n < 60 ? a[0].u.s->n : 60), a[0].u.s->data);
    return LMF_OK;
}

static const tpl_filter_row filters[] = {
    { "abs", "", 0, f_abs }, { "attr", "name", 1, f_attr }, { "batch", "linecount,fill_with", 1, f_batch }, { "capitalize", "", 0, f_capitalize },
    { "center", "width", 0, f_center }, { "count", "", 0, f_length }, { "d", "default_value,boolean", 0, f_default },
    { "default", "default_value,boolean", 0, f_default }, { "dictsort", "case_sensitive,by,reverse", 0, f_dictsort }, { "e", "", 0, f_escape },
    { "escape", "", 0, f_escape }, { "first", "", 0, f_first }, { "float", "default", 0, f_float }, { "forceescape", "", 0, f_forceescape },
    { "format", "*", 0, f_format }, { "indent", "width,first,blank", 0, f_indent }, { "int", "default,base", 0, f_int }, { "items", "", 0, f_items },
    { "join", "d,attribute", 0, f_join }, { "last", "", 0, f_last }, { "length", "", 0, f_length }, { "list", "", 0, f_list },
    { "lower", "", 0, f_lower }, { "map", "*", 0, f_map }, { "max", "case_sensitive,attribute", 0, f_max }, { "min", "case_sensitive,attribute", 0, f_min },
    { "reject", "*", 0, f_reject }, { "rejectattr", "*", 0, f_rejectattr }, { "replace", "old,new,count", 2, f_replace }, { "reverse", "", 0, f_reverse },
    { "round", "precision,method", 0, f_round }, { "safe", "", 0, f_safe }, { "select", "*", 0, f_select }, { "selectattr", "*", 0, f_selectattr },
    { "slice", "slices,fill_with", 1, f_slice }, { "sort", "reverse,case_sensitive,attribute", 0, f_sort }, { "string", "", 0, f_string },
    { "sum", "attribute,start", 0, f_sum }, { "title", "", 0, f_title }, { "tojson", "ensure_ascii,indent,separators,sort_keys", 0, f_tojson },
    { "trim", "chars", 0, f_trim }, { "truncate", "length,killwords,end,leeway", 0, f_truncate }, { "unique", "case_sensitive,attribute", 0, f_unique },
    { "upper", "", 0, f_upper }, { "wordcount", "", 0, f_wordcount },
};

const tpl_filter_row *lmf__tpl_find_filter(const tpl_str *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (lmf__tpl_str_eq(name, filters[i].name))
            return &filters[i];
    return NULL;
}

bool lmf__tpl_known_filter(const tpl_str *name)
{
    static const char *const others[] = { "filesizeformat", "groupby", "pprint", "random", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (lmf__tpl_str_eq(name, others[i]))
            return true;
    return false;
}

lmf_status lmf__tpl_call_filter(tpl_run *r, const tpl_filter_row *row, const tpl_value *v, const tpl_args *args, tpl_value *out)
{
    tpl_value a[TPL_MAX_PARAMS] = { 0 }, self = *v;
    LMF_TRY(lmf__tpl_step(r, 0));
    if (row->params[0] != '*')
        LMF_TRY(lmf__tpl_bind(r, row->name, row->params, row->n_required, args, a));
    return row->call(r, &self, a, args, out);
}
