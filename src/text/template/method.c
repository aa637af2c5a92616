/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes, items, slices, and the methods of str, dict, list and tuple.
 * Rule: what a template can reach is what the tables here name. A name that Python has and this engine has not is
 * refused, so that it can't be taken for a key; one that changes its object is undefined, as in the sandbox. */
#include "text/template/value.h"

lmf_status lmf__tpl_bind(tpl_run *r, const char *fn, const char *params, int n_required, const tpl_args *args, tpl_value a[TPL_MAX_PARAMS])
{
    bool by_position = params[0] == '/';
    size_t n = 0;
    memset(a, 0, TPL_MAX_PARAMS * sizeof *a);
    for (const char *p = params + by_position, *end; *p; p = *end ? end + 1 : end, n++) {
        end = strchrnul(p, ',');
        if (n < args->n_pos)
            a[n] = args->pos[n];
        for (size_t k = 0; k < args->n_kw; k++) {
            if (by_position || args->names[k]->n != (size_t)(end - p) || memcmp(args->names[k]->data, p, args->names[k]->n) != 0)
                continue;
            if (a[n].kind != TPL_MISSING)
                return TPL_FAIL(r, LMF_E_ARG, "%s gets two values for '%.*s'", fn, (int)(end - p), p);
            a[n] = args->kw[k];
        }
        if ((int)n < n_required && a[n].kind == TPL_MISSING)
            return TPL_FAIL(r, LMF_E_ARG, "%s needs the argument '%.*s'", fn, (int)(end - p), p);
    }
    if (args->n_pos > n)
        return TPL_FAIL(r, LMF_E_ARG, "%s takes at most %zu arguments, not %zu", fn, n, args->n_pos);
    for (size_t k = 0; k < args->n_kw; k++) {
        const char *p = by_position ? "" : params;
        size_t len = args->names[k]->n;
        while (*p && !(strncmp(p, args->names[k]->data, len) == 0 && (p[len] == ',' || !p[len])))
            p = *strchrnul(p, ',') ? strchrnul(p, ',') + 1 : "";
        if (!*p)
            return TPL_FAIL(r, LMF_E_ARG, "%s has no argument '%.*s'", fn, (int)len, args->names[k]->data);
    }
    return LMF_OK;
}

/* ---- arguments ---- */

static bool absent(const tpl_value *v) { return v->kind == TPL_MISSING || v->kind == TPL_NONE; }

static lmf_status need_str(tpl_run *r, const tpl_value *v, const char *what, tpl_str **out)
{
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (v->kind != TPL_STR)
        return TPL_FAIL(r, LMF_E_ARG, "%s must be a str, not a %s", what, lmf__tpl_type(v));
    *out = v->u.s;
    return LMF_OK;
}

/* An optional integer. */
static lmf_status int_or(tpl_run *r, const tpl_value *v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    return absent(v) ? LMF_OK : lmf__tpl_need_int(r, v, "a count or position", out);
}

static lmf_status give_view(tpl_run *r, const tpl_str *s, size_t begin, size_t end, tpl_value *out)
{
    tpl_str *v = lmf__tpl_str_view(r, s, begin, end - begin);
    if (!v)
        return r->status;
    *out = lmf__tpl_of_str(v);
    return LMF_OK;
}

static const char *find_in(const tpl_str *s, size_t from, const tpl_str *sub)
{
    return sub->n ? memmem(s->data + from, s->n - from, sub->data, sub->n) : s->data + from;
}

/* ---- stripping and splitting ---- */

static bool strip_char(tpl_str *chars, uint32_t c)
{
    if (!chars)
        return lmf__tpl_is_space(c);
    for (size_t i = 0, len; i < chars->n; i += len)
        if (lmf__tpl_decode(chars->data + i, chars->n - i, &len) == c)
            return true;
    return false;
}

static size_t last_char(const tpl_str *s, size_t end) /* where the character before end begins */
{
    do
        end--;
    while (end > 0 && ((unsigned char)s->data[end] & 0xc0) == 0x80);
    return end;
}

lmf_status lmf__tpl_strip(tpl_run *r, tpl_str *s, const tpl_value *chars, int sides, tpl_value *out)
{
    tpl_str *set = NULL;
    size_t begin = 0, end = s->n, len, at;
    if (!absent(chars))
        LMF_TRY(need_str(r, chars, "the characters to strip", &set));
    while ((sides & 1) && begin < end && strip_char(set, lmf__tpl_decode(s->data + begin, end - begin, &len)))
        begin += len;
    while ((sides & 2) && end > begin && (at = last_char(s, end), strip_char(set, lmf__tpl_decode(s->data + at, end - at, &len))))
        end = at;
    LMF_TRY(lmf__tpl_step(r, (s->n - (end - begin)) * (set ? set->n + 1 : 1) / 64));
    return give_view(r, s, begin, end, out);
}

static lmf_status push_view(tpl_run *r, tpl_list *l, const tpl_str *s, size_t begin, size_t end)
{
    tpl_value v;
    LMF_TRY(lmf__tpl_step(r, 0));
    LMF_TRY(give_view(r, s, begin, end, &v));
    return lmf__tpl_push(l, v);
}

static void reverse(tpl_value *v, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        tpl_value t = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = t;
    }
}

static lmf_status split_space(tpl_run *r, tpl_str *s, int64_t max, tpl_list *l)
{
    size_t len;
    for (size_t at = 0, end;; at = end) {
        while (at < s->n && lmf__tpl_is_space(lmf__tpl_decode(s->data + at, s->n - at, &len)))
            at += len;
        if (at >= s->n)
            return LMF_OK;
        if (max-- == 0) {
            for (end = s->n; lmf__tpl_is_space(lmf__tpl_decode(s->data + last_char(s, end), s->n, &len));)
                end = last_char(s, end);
            return push_view(r, l, s, at, end);
        }
        for (end = at; end < s->n && !lmf__tpl_is_space(lmf__tpl_decode(s->data + end, s->n - end, &len));)
            end += len;
        LMF_TRY(push_view(r, l, s, at, end));
    }
}

static lmf_status rsplit_space(tpl_run *r, tpl_str *s, int64_t max, tpl_list *l)
{
    size_t len, at;
    for (size_t end = s->n, begin;; end = begin) {
        while (end > 0 && (at = last_char(s, end), lmf__tpl_is_space(lmf__tpl_decode(s->data + at, end - at, &len))))
            end = at;
        if (end == 0)
            return LMF_OK;
        if (max-- == 0) {
            for (begin = 0; lmf__tpl_is_space(lmf__tpl_decode(s->data + begin, end - begin, &len));)
                begin += len;
            return push_view(r, l, s, begin, end);
        }
        for (begin = end; begin > 0 && (at = last_char(s, begin), !lmf__tpl_is_space(lmf__tpl_decode(s->data + at, begin - at, &len)));)
            begin = at;
        LMF_TRY(push_view(r, l, s, begin, end));
    }
}

static lmf_status do_split(tpl_run *r, tpl_str *s, const tpl_value *a, bool from_right, tpl_value *out)
{
    tpl_list l = { .r = r };
    tpl_str *sep;
    int64_t max;
    LMF_TRY(int_or(r, &a[1], -1, &max));
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    if (absent(&a[0])) {
        LMF_TRY(from_right ? rsplit_space(r, s, max, &l) : split_space(r, s, max, &l));
    } else {
        LMF_TRY(need_str(r, &a[0], "the separator", &sep));
        if (!sep->n)
            return TPL_FAIL(r, LMF_E_ARG, "split with an empty separator");
        if (from_right) {
            size_t end = s->n;
            for (size_t at = s->n >= sep->n ? s->n - sep->n + 1 : 0; at-- > 0 && max != 0;) {
                if (at + sep->n > end || memcmp(s->data + at, sep->data, sep->n) != 0)
                    continue;
                LMF_TRY(push_view(r, &l, s, at + sep->n, end));
                end = at;
                max--;
            }
            LMF_TRY(push_view(r, &l, s, 0, end));
        } else {
            size_t begin = 0;
            for (const char *at; max != 0 && (at = find_in(s, begin, sep)) != NULL; max--) {
                LMF_TRY(push_view(r, &l, s, begin, (size_t)(at - s->data)));
                begin = (size_t)(at - s->data) + sep->n;
            }
            LMF_TRY(push_view(r, &l, s, begin, s->n));
        }
    }
    if (from_right)
        reverse(l.items, l.n);
    return lmf__tpl_listed(&l, TPL_LIST, out);
}

lmf_status lmf__tpl_splitlines(tpl_run *r, tpl_str *s, bool keep_ends, tpl_list *out)
{
    size_t begin = 0;
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    for (size_t at = 0, len; at < s->n; at += len) {
        uint32_t c = lmf__tpl_decode(s->data + at, s->n - at, &len);
        if (!((c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029))
            continue;
        size_t end = at;
        if (c == '\r' && at + 1 < s->n && s->data[at + 1] == '\n')
            len = 2;
        LMF_TRY(push_view(r, out, s, begin, keep_ends ? at + len : end));
        begin = at + len;
    }
    return begin < s->n ? push_view(r, out, s, begin, s->n) : LMF_OK;
}

lmf_status lmf__tpl_replace(tpl_run *r, tpl_str *s, tpl_str *from, tpl_str *to, int64_t count, tpl_value *out)
{
    tpl_builder b = { .r = r };
    size_t at = 0, len;
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    if (!from->n) {
        for (; count != 0 && at <= s->n; at += len, count--) {
            LMF_TRY(lmf__tpl_step(r, 0));
            lmf__tpl_put(&b, to->data, to->n);
            if (at == s->n)
                break;
            lmf__tpl_decode(s->data + at, s->n - at, &len);
            lmf__tpl_put(&b, s->data + at, len);
        }
    }
    for (const char *hit; from->n && count != 0 && (hit = find_in(s, at, from)) != NULL; count--) {
        LMF_TRY(TPL_STEP_BYTES(r, to->n));
        lmf__tpl_put(&b, s->data + at, (size_t)(hit - s->data) - at);
        lmf__tpl_put(&b, to->data, to->n);
        at = (size_t)(hit - s->data) + from->n;
    }
    if (at < s->n)
        lmf__tpl_put(&b, s->data + at, s->n - at);
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = s->markup;
    return LMF_OK;
}

/* ---- methods of str. a: the arguments by position in the row's parameter list ---- */
#define METHOD(name) static lmf_status name(tpl_run *r, const tpl_value *self, const tpl_value *a, const tpl_args *raw, tpl_value *out)
#define UNUSED (void)r, (void)self, (void)a, (void)raw

METHOD(str_strip) { UNUSED; return lmf__tpl_strip(r, self->u.s, a, 3, out); }
METHOD(str_lstrip) { UNUSED; return lmf__tpl_strip(r, self->u.s, a, 1, out); }
METHOD(str_rstrip) { UNUSED; return lmf__tpl_strip(r, self->u.s, a, 2, out); }
METHOD(str_split) { UNUSED; return do_split(r, self->u.s, a, false, out); }
METHOD(str_rsplit) { UNUSED; return do_split(r, self->u.s, a, true, out); }
METHOD(str_upper) { UNUSED; return lmf__tpl_recase(r, self->u.s, TPL_UPPER, out); }
METHOD(str_lower) { UNUSED; return lmf__tpl_recase(r, self->u.s, TPL_LOWER, out); }
METHOD(str_title) { UNUSED; return lmf__tpl_recase(r, self->u.s, TPL_TITLE, out); }
METHOD(str_capitalize) { UNUSED; return lmf__tpl_recase(r, self->u.s, TPL_CAPITALIZE, out); }
METHOD(str_swapcase) { UNUSED; return lmf__tpl_recase(r, self->u.s, TPL_SWAPCASE, out); }
METHOD(str_format) { UNUSED; return lmf__tpl_format(r, self->u.s, raw, out); }

METHOD(str_splitlines)
{
    UNUSED;
    tpl_list l = { .r = r };
    LMF_TRY(lmf__tpl_splitlines(r, self->u.s, lmf__tpl_truth(&a[0]), &l));
    return lmf__tpl_listed(&l, TPL_LIST, out);
}

METHOD(str_replace)
{
    UNUSED;
    tpl_str *from, *to;
    int64_t count;
    LMF_TRY(need_str(r, &a[0], "what to replace", &from));
    LMF_TRY(need_str(r, &a[1], "the replacement", &to));
    LMF_TRY(int_or(r, &a[2], -1, &count));
    if (self->u.s->markup)
        LMF_TRY(lmf__tpl_escape(r, to, &to));
    return lmf__tpl_replace(r, self->u.s, from, to, count, out);
}

METHOD(str_join)
{
    UNUSED;
    tpl_seq *s;
    tpl_builder b = { .r = r };
    LMF_TRY(lmf__tpl_iterate(r, &a[0], &s));
    for (size_t i = 0; i < s->n; i++) {
        tpl_value v = lmf__tpl_at(s, i);
        tpl_str *text;
        if (self->u.s->markup) {
            LMF_TRY(lmf__tpl_soft_str(r, &v, &text));
            LMF_TRY(lmf__tpl_escape(r, text, &text));
        } else {
            LMF_TRY(need_str(r, &v, "each part of a join", &text));
        }
        LMF_TRY(TPL_STEP_BYTES(r, text->n + self->u.s->n));
        if (i)
            lmf__tpl_put(&b, self->u.s->data, self->u.s->n);
        lmf__tpl_put(&b, text->data, text->n);
    }
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = self->u.s->markup;
    return LMF_OK;
}

/* The bytes of s[begin:end], for the methods that take a range; false if begin lies behind the end. */
static lmf_status clamp(tpl_run *r, tpl_str *s, const tpl_value *begin, const tpl_value *end, size_t *b, size_t *e, bool *valid)
{
    int64_t n = lmf__tpl_chars(s), i, j;
    LMF_TRY(int_or(r, begin, 0, &i));
    LMF_TRY(int_or(r, end, n, &j));
    i = i < 0 ? (i + n < 0 ? 0 : i + n) : i;
    j = j < 0 ? (j + n < 0 ? 0 : j + n) : j > n ? n : j;
    *valid = i <= n && i <= j;
    *b = lmf__tpl_offset(s, *valid ? i : 0);
    *e = lmf__tpl_offset(s, *valid ? j : 0);
    return TPL_STEP_BYTES(r, s->n);
}

static lmf_status ends_match(tpl_run *r, tpl_str *s, const tpl_value *a, bool at_end, tpl_value *out)
{
    size_t b, e;
    bool valid, hit = false;
    LMF_TRY(clamp(r, s, &a[1], &a[2], &b, &e, &valid));
    bool tuple = a[0].kind == TPL_SEQ && a[0].u.seq->kind == TPL_TUPLE;
    for (size_t i = 0; i < (tuple ? a[0].u.seq->n : 1); i++) {
        tpl_str *x;
        LMF_TRY(need_str(r, tuple ? &a[0].u.seq->items[i] : &a[0], at_end ? "the ending" : "the beginning", &x));
        LMF_TRY(lmf__tpl_step(r, 0));
        hit |= valid && x->n <= e - b && memcmp(at_end ? s->data + e - x->n : s->data + b, x->data, x->n) == 0;
    }
    *out = lmf__tpl_bool(hit);
    return LMF_OK;
}

METHOD(str_startswith) { UNUSED; return ends_match(r, self->u.s, a, false, out); }
METHOD(str_endswith) { UNUSED; return ends_match(r, self->u.s, a, true, out); }

static lmf_status find_sub(tpl_run *r, tpl_str *s, const tpl_value *a, bool from_right, bool must, tpl_value *out)
{
    tpl_str *sub;
    size_t b, e;
    bool valid;
    const char *hit = NULL;
    LMF_TRY(need_str(r, &a[0], "what to find", &sub));
    LMF_TRY(clamp(r, s, &a[1], &a[2], &b, &e, &valid));
    if (valid && sub->n <= e - b) {
        if (from_right) {
            LMF_TRY(lmf__tpl_step(r, (e - b) * (sub->n / 64 + 1) / 16));
            for (size_t at = e - sub->n + 1; at-- > b && !hit;)
                if (memcmp(s->data + at, sub->data, sub->n) == 0)
                    hit = s->data + at;
        } else {
            hit = sub->n ? memmem(s->data + b, e - b, sub->data, sub->n) : s->data + b;
        }
    }
    if (!hit && must)
        return TPL_FAIL(r, LMF_E_ARG, "'%.*s' is not found", (int)(sub->n < 60 ? sub->n : 60), sub->data);
    tpl_str before = { .data = s->data, .n = hit ? (size_t)(hit - s->data) : 0, .n_chars = -1 };
    *out = lmf__tpl_int(hit ? lmf__tpl_chars(&before) : -1);
    return LMF_OK;
}

METHOD(str_find) { UNUSED; return find_sub(r, self->u.s, a, false, false, out); }
METHOD(str_rfind) { UNUSED; return find_sub(r, self->u.s, a, true, false, out); }
METHOD(str_index) { UNUSED; return find_sub(r, self->u.s, a, false, true, out); }
METHOD(str_rindex) { UNUSED; return find_sub(r, self->u.s, a, true, true, out); }

METHOD(str_count)
{
    UNUSED;
    tpl_str *sub, *s = self->u.s;
    size_t b, e;
    bool valid;
    int64_t n = 0;
    LMF_TRY(need_str(r, &a[0], "what to count", &sub));
    LMF_TRY(clamp(r, s, &a[1], &a[2], &b, &e, &valid));
    if (valid && !sub->n) {
        tpl_str part = { .data = s->data + b, .n = e - b, .n_chars = -1 };
        n = lmf__tpl_chars(&part) + 1;
    } else if (valid) {
        for (const char *hit; (hit = memmem(s->data + b, e - b, sub->data, sub->n)) != NULL; n++)
            b = (size_t)(hit - s->data) + sub->n;
    }
    *out = lmf__tpl_int(n);
    return LMF_OK;
}

static lmf_status partition(tpl_run *r, tpl_str *s, const tpl_value *a, bool from_right, tpl_value *out)
{
    tpl_str *sep;
    tpl_value at, none[3] = { a[0] };
    LMF_TRY(need_str(r, &a[0], "the separator", &sep));
    if (!sep->n)
        return TPL_FAIL(r, LMF_E_ARG, "partition with an empty separator");
    LMF_TRY(find_sub(r, s, none, from_right, false, &at));
    tpl_list l = { .r = r };
    size_t cut = at.u.i < 0 ? 0 : lmf__tpl_offset(s, at.u.i), len = at.u.i < 0 ? 0 : sep->n;
    if (at.u.i < 0 && !from_right)
        cut = s->n;
    LMF_TRY(push_view(r, &l, s, 0, cut));
    LMF_TRY(push_view(r, &l, s, cut, cut + len));
    LMF_TRY(push_view(r, &l, s, cut + len, s->n));
    return lmf__tpl_listed(&l, TPL_TUPLE, out);
}

METHOD(str_partition) { UNUSED; return partition(r, self->u.s, a, false, out); }
METHOD(str_rpartition) { UNUSED; return partition(r, self->u.s, a, true, out); }

METHOD(str_removeprefix)
{
    UNUSED;
    tpl_str *x, *s = self->u.s;
    LMF_TRY(need_str(r, &a[0], "the prefix", &x));
    bool hit = x->n <= s->n && memcmp(s->data, x->data, x->n) == 0;
    return give_view(r, s, hit ? x->n : 0, s->n, out);
}

METHOD(str_removesuffix)
{
    UNUSED;
    tpl_str *x, *s = self->u.s;
    LMF_TRY(need_str(r, &a[0], "the suffix", &x));
    bool hit = x->n && x->n <= s->n && memcmp(s->data + s->n - x->n, x->data, x->n) == 0;
    return give_view(r, s, 0, hit ? s->n - x->n : s->n, out);
}

/* side: -1 text at the left, 1 at the right, 0 in the middle, 2 zfill. */
static lmf_status pad(tpl_run *r, tpl_str *s, const tpl_value *a, int side, tpl_value *out)
{
    int64_t width, gap;
    tpl_str *fill = &(tpl_str){ .data = side == 2 ? "0" : " ", .n = 1, .n_chars = 1 };
    LMF_TRY(lmf__tpl_need_int(r, &a[0], "the width", &width));
    if (side != 2 && a[1].kind != TPL_MISSING)
        LMF_TRY(need_str(r, &a[1], "the fill character", &fill));
    if (lmf__tpl_chars(fill) != 1)
        return TPL_FAIL(r, LMF_E_ARG, "the fill must be one character");
    gap = width - lmf__tpl_chars(s);
    if (gap <= 0)
        return give_view(r, s, 0, s->n, out);
    if ((uint64_t)gap > r->opts.max_memory / 4)
        return TPL_FAIL(r, LMF_E_LIMIT, "a width of %lld needs too much memory", (long long)width);
    LMF_TRY(TPL_STEP_BYTES(r, (size_t)gap * 4));
    int64_t left = side < 0 ? 0 : side > 0 ? gap : gap / 2 + (gap & width & 1);
    size_t n_sign = side == 2 && s->n && (s->data[0] == '-' || s->data[0] == '+');
    tpl_builder b = { .r = r };
    lmf__tpl_put(&b, s->data, n_sign);
    for (int64_t i = 0; i < left; i++)
        lmf__tpl_put(&b, fill->data, fill->n);
    lmf__tpl_put(&b, s->data + n_sign, s->n - n_sign);
    for (int64_t i = left; i < gap; i++)
        lmf__tpl_put(&b, fill->data, fill->n);
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = s->markup;
    return LMF_OK;
}

METHOD(str_ljust) { UNUSED; return pad(r, self->u.s, a, -1, out); }
METHOD(str_rjust) { UNUSED; return pad(r, self->u.s, a, 1, out); }
METHOD(str_center) { UNUSED; return pad(r, self->u.s, a, 0, out); }
METHOD(str_zfill) { UNUSED; return pad(r, self->u.s, a, 2, out); }

#define CLASS_METHOD(name, c) METHOD(name) { UNUSED; *out = lmf__tpl_bool(false); return lmf__tpl_is_class(r, self->u.s, c, &out->u.b); }
CLASS_METHOD(str_isalnum, TPL_ALNUM)
CLASS_METHOD(str_isalpha, TPL_ALPHA)
CLASS_METHOD(str_isascii, TPL_ASCII)
CLASS_METHOD(str_isdecimal, TPL_DECIMAL)
CLASS_METHOD(str_isdigit, TPL_DIGIT)
CLASS_METHOD(str_isidentifier, TPL_IDENTIFIER)
CLASS_METHOD(str_islower, TPL_IS_LOWER)
CLASS_METHOD(str_isnumeric, TPL_NUMERIC)
CLASS_METHOD(str_isprintable, TPL_PRINTABLE)
CLASS_METHOD(str_isspace, TPL_SPACE)
CLASS_METHOD(str_istitle, TPL_IS_TITLE)
CLASS_METHOD(str_isupper, TPL_IS_UPPER)

/* ---- methods of dict, list, tuple ---- */

METHOD(dict_get)
{
    UNUSED;
    tpl_value *found;
    LMF_TRY(lmf__tpl_dict_find(r, self->u.d, &a[0], &found));
    *out = found ? *found : a[1].kind == TPL_MISSING ? TPL_NONE_VALUE : a[1];
    return LMF_OK;
}

static lmf_status dict_view(tpl_run *r, const tpl_dict *d, tpl_seq_kind kind, tpl_value *out)
{
    tpl_seq *s = lmf__tpl_seq(r, kind, d->n);
    if (!s)
        return r->status;
    for (size_t i = 0; i < d->n; i++) {
        if (kind != TPL_ITEMS) {
            s->items[i] = kind == TPL_KEYS ? d->entries[i].key : d->entries[i].value;
            continue;
        }
        tpl_seq *pair = lmf__tpl_seq(r, TPL_TUPLE, 2);
        if (!pair)
            return r->status;
        pair->items[0] = d->entries[i].key;
        pair->items[1] = d->entries[i].value;
        s->items[i] = lmf__tpl_of_seq(pair);
    }
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

METHOD(dict_items) { UNUSED; return dict_view(r, self->u.d, TPL_ITEMS, out); }
METHOD(dict_keys) { UNUSED; return dict_view(r, self->u.d, TPL_KEYS, out); }
METHOD(dict_values) { UNUSED; return dict_view(r, self->u.d, TPL_VALUES, out); }
METHOD(copy) { UNUSED; *out = *self; return LMF_OK; } /* nothing can change either */

METHOD(seq_count)
{
    UNUSED;
    int64_t n = 0;
    for (size_t i = 0; i < self->u.seq->n; i++) {
        bool same;
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_equal(r, &self->u.seq->items[i], &a[0], &same));
        n += same;
    }
    *out = lmf__tpl_int(n);
    return LMF_OK;
}

METHOD(seq_index)
{
    UNUSED;
    int64_t n = (int64_t)self->u.seq->n, i, j;
    LMF_TRY(int_or(r, &a[1], 0, &i));
    LMF_TRY(int_or(r, &a[2], n, &j));
    i = i < 0 ? (i + n < 0 ? 0 : i + n) : i;
    j = j < 0 ? j + n : j > n ? n : j;
    for (; i < j; i++) {
        bool same;
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_equal(r, &self->u.seq->items[i], &a[0], &same));
        if (same)
            return *out = lmf__tpl_int(i), LMF_OK;
    }
    return TPL_FAIL(r, LMF_E_ARG, "the value is not in the list");
}

#define ROW(name, params, n) { #name, params, n, str_##name }
static const tpl_method_row str_methods[] = {
    ROW(strip, "/chars", 0), ROW(lstrip, "/chars", 0), ROW(rstrip, "/chars", 0), ROW(split, "sep,maxsplit", 0), ROW(rsplit, "sep,maxsplit", 0),
    ROW(splitlines, "keepends", 0), ROW(upper, "", 0), ROW(lower, "", 0), ROW(title, "", 0), ROW(capitalize, "", 0), ROW(swapcase, "", 0),
    ROW(replace, "/old,new,count", 2), ROW(join, "/iterable", 1), ROW(startswith, "/prefix,start,end", 1), ROW(endswith, "/suffix,start,end", 1),
    ROW(find, "/sub,start,end", 1), ROW(rfind, "/sub,start,end", 1), ROW(index, "/sub,start,end", 1), ROW(rindex, "/sub,start,end", 1),
    ROW(count, "/sub,start,end", 1), ROW(partition, "/sep", 1), ROW(rpartition, "/sep", 1), ROW(removeprefix, "/prefix", 1),
    ROW(removesuffix, "/suffix", 1), ROW(ljust, "/width,fillchar", 1), ROW(rjust, "/width,fillchar", 1), ROW(center, "/width,fillchar", 1),
    ROW(zfill, "/width", 1), ROW(format, "*", 0), ROW(isalnum, "", 0), ROW(isalpha, "", 0), ROW(isascii, "", 0), ROW(isdecimal, "", 0),
    ROW(isdigit, "", 0), ROW(isidentifier, "", 0), ROW(islower, "", 0), ROW(isnumeric, "", 0), ROW(isprintable, "", 0), ROW(isspace, "", 0),
    ROW(istitle, "", 0), ROW(isupper, "", 0), { 0 }
};
static const tpl_method_row dict_methods[] = {
    { "get", "/key,default", 1, dict_get }, { "items", "", 0, dict_items }, { "keys", "", 0, dict_keys }, { "values", "", 0, dict_values }, { "copy", "", 0, copy }, { 0 }
};
static const tpl_method_row list_methods[] = {
    { "count", "/value", 1, seq_count }, { "index", "/value,start,stop", 1, seq_index }, { "copy", "", 0, copy }, { 0 }
};
static const tpl_method_row tuple_methods[] = { { "count", "/value", 1, seq_count }, { "index", "/value,start,stop", 1, seq_index }, { 0 } };

typedef struct attributes {
    const tpl_method_row *rows;
    const char *mutating, *missing; /* names between spaces */
} attributes;
static const attributes of_str = { str_methods, "", " encode casefold expandtabs format_map maketrans translate " };
static const attributes of_markup = { str_methods, "", " encode casefold expandtabs format_map maketrans translate escape striptags unescape " };
static const attributes of_dict = { dict_methods, " clear pop popitem setdefault update ", " fromkeys " };
static const attributes of_list = { list_methods, " append clear pop reverse insert sort extend remove ", "" };
static const attributes of_tuple = { tuple_methods, "", "" };
static const attributes of_range = { NULL, "", " count index start step stop " };
static const attributes of_view = { NULL, "", " isdisjoint mapping " };
static const attributes of_iter = { NULL, "", " close gi_code gi_frame gi_running gi_suspended gi_yieldfrom send throw " };
static const attributes of_int = { NULL, "", " as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes " };
static const attributes of_float = { NULL, "", " as_integer_ratio conjugate fromhex hex imag is_integer real " };

static const attributes *attributes_of(const tpl_value *v)
{
    static const attributes *const of_seq[] = { &of_list, &of_tuple, &of_range, &of_view, &of_view, &of_view, &of_iter };
    switch (v->kind) {
    case TPL_STR: return v->u.s->markup ? &of_markup : &of_str;
    case TPL_DICT: return &of_dict;
    case TPL_SEQ: return of_seq[v->u.seq->kind];
    case TPL_INT: case TPL_BOOL: return &of_int;
    case TPL_FLOAT: return &of_float;
    default: return NULL;
    }
}

static bool named(const char *names, const tpl_str *name)
{
    for (const char *p = names; (p = memmem(p, strlen(p), name->data, name->n)) != NULL; p++)
        if (name->n && p > names && p[-1] == ' ' && p[name->n] == ' ')
            return true;
    return false;
}

lmf_status lmf__tpl_attribute(tpl_run *r, const tpl_value *v, const tpl_str *name, tpl_value *out)
{
    const attributes *at = attributes_of(v);
    tpl_value *found;
    out->kind = TPL_MISSING;
    if (v->kind == TPL_NAMESPACE) {
        LMF_TRY(lmf__tpl_dict_find_str(r, v->u.d, name, &found));
        if (found)
            *out = *found;
        return LMF_OK;
    }
    if (v->kind == TPL_LOOP)
        return lmf__tpl_loop_attribute(r, v->u.loop, name, out);
    if (name->n > 4 && memcmp(name->data, "__", 2) == 0 && memcmp(name->data + name->n - 2, "__", 2) == 0) {
        *out = lmf__tpl_undefined(r, "access to attribute '%.*s' of a %s is unsafe", (int)(name->n < 60 ? name->n : 60), name->data, lmf__tpl_type(v));
        return LMF_OK;
    }
    for (const tpl_method_row *row = at ? at->rows : NULL; row && row->name; row++) {
        if (!lmf__tpl_str_eq(name, row->name))
            continue;
        tpl_method *m = lmf__tpl_alloc(r, 1, sizeof *m);
        if (!m)
            return r->status;
        *m = (tpl_method){ row, *v };
        *out = (tpl_value){ TPL_METHOD, { .method = m } };
        return LMF_OK;
    }
    if (at && named(at->mutating, name))
        *out = lmf__tpl_undefined(r, "the method '%.*s' changes its %s, which templates may not", (int)name->n, name->data, lmf__tpl_type(v));
    if (at && named(at->missing, name))
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the attribute '%.*s' of a %s is not supported", (int)name->n, name->data, lmf__tpl_type(v));
    return LMF_OK;
}

static tpl_value no_attribute(tpl_run *r, const tpl_value *v, const tpl_value *key)
{
    int64_t i = key->kind == TPL_INT ? key->u.i : 0;
    if (key->kind == TPL_STR)
        return lmf__tpl_undefined(r, "a %s has no attribute '%.*s'", lmf__tpl_type(v), (int)(key->u.s->n < 100 ? key->u.s->n : 100), key->u.s->data);
    return key->kind == TPL_INT ? lmf__tpl_undefined(r, "a %s has no element %lld", lmf__tpl_type(v), (long long)i) : lmf__tpl_undefined(r, "a %s has no such element", lmf__tpl_type(v));
}

/* v[key] alone; TPL_MISSING where Python raises TypeError or LookupError. */
static lmf_status item(tpl_run *r, const tpl_value *v, const tpl_value *key, tpl_value *out)
{
    out->kind = TPL_MISSING;
    if (v->kind == TPL_DICT) {
        tpl_value *found = NULL;
        if (lmf__tpl_hashable(key))
            LMF_TRY(lmf__tpl_dict_find(r, v->u.d, key, &found));
        if (found)
            *out = *found;
    } else if ((v->kind == TPL_STR || (v->kind == TPL_SEQ && v->u.seq->kind <= TPL_RANGE)) && (key->kind == TPL_INT || key->kind == TPL_BOOL)) {
        int64_t n, i = key->kind == TPL_INT ? key->u.i : key->u.b;
        LMF_TRY(lmf__tpl_length(r, v, &n));
        i += i < 0 ? n : 0;
        if (i < 0 || i >= n)
            return LMF_OK;
        if (v->kind == TPL_SEQ)
            return *out = lmf__tpl_at(v->u.seq, (size_t)i), LMF_OK;
        size_t at = lmf__tpl_offset(v->u.s, i), len;
        LMF_TRY(TPL_STEP_BYTES(r, (size_t)n == v->u.s->n ? 0 : at));
        lmf__tpl_decode(v->u.s->data + at, v->u.s->n - at, &len);
        return give_view(r, v->u.s, at, at + len, out);
    }
    return LMF_OK;
}

lmf_status lmf__tpl_getattr(tpl_run *r, const tpl_value *v, const tpl_str *name, tpl_value *out)
{
    tpl_value key = lmf__tpl_of_str((tpl_str *)name), self = *v, got;
    LMF_TRY(lmf__tpl_need_defined(r, &self));
    LMF_TRY(lmf__tpl_attribute(r, &self, name, &got));
    if (got.kind == TPL_MISSING)
        LMF_TRY(item(r, &self, &key, &got));
    *out = got.kind == TPL_MISSING ? no_attribute(r, &self, &key) : got;
    return LMF_OK;
}

lmf_status lmf__tpl_getitem(tpl_run *r, const tpl_value *v, const tpl_value *key, tpl_value *out)
{
    tpl_value self = *v, got;
    LMF_TRY(lmf__tpl_need_defined(r, &self));
    LMF_TRY(item(r, &self, key, &got));
    if (got.kind == TPL_MISSING && key->kind == TPL_STR)
        LMF_TRY(lmf__tpl_attribute(r, &self, key->u.s, &got));
    *out = got.kind == TPL_MISSING ? no_attribute(r, &self, key) : got;
    return LMF_OK;
}

/* A range again, with the bounds that Python computes. */
static lmf_status slice_range(tpl_run *r, const tpl_seq *from, int64_t i, int64_t j, int64_t k, int64_t count, tpl_value *out)
{
    tpl_seq *s = lmf__tpl_alloc(r, 1, sizeof *s);
    if (!s)
        return r->status;
    *s = (tpl_seq){ .kind = TPL_RANGE, .n = (size_t)count, .start = from->start + i * from->step, .stop = from->start + j * from->step };
    if (__builtin_mul_overflow(from->step, k, &s->step))
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the step of a range is outside of 64-bit integers");
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}

lmf_status lmf__tpl_slice(tpl_run *r, const tpl_value *v, const tpl_value *begin, const tpl_value *end, const tpl_value *step, tpl_value *out)
{
    int64_t n, k, i, j, count;
    LMF_TRY(lmf__tpl_need_defined(r, v));
    if (v->kind != TPL_STR && !(v->kind == TPL_SEQ && v->u.seq->kind <= TPL_RANGE))
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be sliced", lmf__tpl_type(v));
    LMF_TRY(lmf__tpl_length(r, v, &n));
    LMF_TRY(int_or(r, step, 1, &k));
    if (k == 0)
        return TPL_FAIL(r, LMF_E_ARG, "a slice's step is zero");
    k = k < -INT64_MAX ? -INT64_MAX : k;
    LMF_TRY(int_or(r, begin, k > 0 ? 0 : n - 1, &i));
    LMF_TRY(int_or(r, end, k > 0 ? n : -1, &j));
    int64_t low = k > 0 ? 0 : -1, high = k > 0 ? n : n - 1;
    if (!absent(begin))
        i = i < 0 ? (i + n < low ? low : i + n) : i > high ? high : i;
    if (!absent(end))
        j = j < 0 ? (j + n < low ? low : j + n) : j > high ? high : j;
    count = k > 0 ? (j > i ? (j - i - 1) / k + 1 : 0) : (i > j ? (i - j - 1) / -k + 1 : 0);
    if (v->kind == TPL_STR) {
        tpl_str *s = v->u.s;
        LMF_TRY(TPL_STEP_BYTES(r, s->n));
        if (k == 1)
            return give_view(r, s, lmf__tpl_offset(s, i < j ? i : 0), lmf__tpl_offset(s, i < j ? j : 0), out);
        tpl_seq *chars;
        tpl_builder b = { .r = r };
        LMF_TRY(lmf__tpl_iterate(r, v, &chars));
        for (; count > 0; count--, i += count ? k : 0)
            lmf__tpl_put(&b, chars->items[i].u.s->data, chars->items[i].u.s->n);
        LMF_TRY(lmf__tpl_built(&b, out));
        out->u.s->markup = s->markup;
        return LMF_OK;
    }
    if (v->u.seq->kind == TPL_RANGE)
        return slice_range(r, v->u.seq, i, j, k, count, out);
    tpl_seq *from = v->u.seq, *s = lmf__tpl_seq(r, from->kind == TPL_TUPLE ? TPL_TUPLE : TPL_LIST, (size_t)count);
    if (!s)
        return r->status;
    for (int64_t at = 0; at < count; at++, i += at < count ? k : 0)
        s->items[at] = lmf__tpl_at(from, (size_t)i);
    *out = lmf__tpl_of_seq(s);
    return LMF_OK;
}
