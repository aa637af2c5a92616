/* SPDX-License-Identifier: Apache-2.0 */
/* Truth, equality, order, membership and text of values, as Python has them.
 * Rule: recursion over nested values is bounded by MAX_NESTING; a namespace can hold itself. */
#include "text/template/value.h"
#include <stdio.h>

enum { MAX_NESTING = 200 };

bool lmf__tpl_truth(const tpl_value *v)
{
    switch (v->kind) {
    case TPL_BOOL: return v->u.b;
    case TPL_INT: return v->u.i != 0;
    case TPL_FLOAT: return v->u.f != 0;
    case TPL_STR: return v->u.s->n > 0;
    case TPL_SEQ: return v->u.seq->kind == TPL_ITER || v->u.seq->n > 0;
    case TPL_DICT: return v->u.d->n > 0;
    case TPL_NAMESPACE: case TPL_MACRO: case TPL_FUNC: case TPL_METHOD: case TPL_LOOP: return true;
    case TPL_MISSING: case TPL_UNDEFINED: case TPL_NONE: break;
    }
    return false;
}

const char *lmf__tpl_type(const tpl_value *v)
{
    static const char *const seqs[] = { "list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator" };
    static const char *const names[] = { "missing value", "undefined value", "NoneType", "bool", "int", "float", "str", "", "dict", "namespace",
        "macro", "function", "method", "loop" };
    return v->kind == TPL_SEQ ? seqs[v->u.seq->kind] : v->kind == TPL_STR && v->u.s->markup ? "Markup" : v->kind == TPL_STR &&
        v->u.s->number ? "int" : names[v->kind];
}

lmf_status lmf__tpl_need_defined(tpl_run *r, const tpl_value *v)
{
    if (v->kind != TPL_UNDEFINED)
        return LMF_OK;
    if (!v->u.s)
        return TPL_FAIL(r, LMF_E_ARG, "an undefined value is used");
    return TPL_FAIL(r, LMF_E_ARG, "%.*s", (int)v->u.s->n, v->u.s->data);
}

lmf_status lmf__tpl_need_int(tpl_run *r, const tpl_value *v, const char *what, int64_t *out)
{
    if (v->kind != TPL_INT && v->kind != TPL_BOOL)
        return TPL_FAIL(r, LMF_E_ARG, "%s must be an integer, not a %s", what, lmf__tpl_type(v));
    *out = v->kind == TPL_INT ? v->u.i : v->u.b;
    return LMF_OK;
}

static bool is_list_like(const tpl_value *v) { return v->kind == TPL_SEQ && v->u.seq->kind <= TPL_RANGE; }

static lmf_status equal_deep(tpl_run *r, const tpl_value *a, const tpl_value *b, int depth, bool *out)
{
    double f, g;
    *out = false;
    if (depth > MAX_NESTING)
        return TPL_FAIL(r, LMF_E_LIMIT, "values nest too deep to be compared");
    if (lmf__tpl_number(a, &f) && lmf__tpl_number(b, &g)) {
        *out = lmf__tpl_compare_numbers(a, b) == 0;
    } else if (a->kind != b->kind) {
        return LMF_OK;
    } else if (a->kind == TPL_STR) {
        *out = a->u.s->n == b->u.s->n && (a->u.s->data == b->u.s->data || memcmp(a->u.s->data, b->u.s->data, a->u.s->n) == 0);
        return *out ? TPL_STEP_BYTES(r, a->u.s->n) : LMF_OK;
    } else if (is_list_like(a) && is_list_like(b)) {
        tpl_seq *s = a->u.seq, *t = b->u.seq;
        if (s->kind != t->kind || s->n != t->n)
            return LMF_OK;
        for (size_t i = 0; i < s->n; i++) {
            tpl_value x = lmf__tpl_at(s, i), y = lmf__tpl_at(t, i);
            LMF_TRY(lmf__tpl_step(r, 0));
            LMF_TRY(equal_deep(r, &x, &y, depth + 1, out));
            if (!*out)
                return LMF_OK;
        }
        *out = true;
    } else if (a->kind == TPL_DICT) {
        if (a->u.d->n != b->u.d->n)
            return LMF_OK;
        for (size_t i = 0; i < a->u.d->n; i++) {
            tpl_value *other;
            LMF_TRY(lmf__tpl_step(r, 0));
            LMF_TRY(lmf__tpl_dict_find(r, b->u.d, &a->u.d->entries[i].key, &other));
            if (!other)
                return *out = false, LMF_OK;
            LMF_TRY(equal_deep(r, &a->u.d->entries[i].value, other, depth + 1, out));
            if (!*out)
                return LMF_OK;
        }
        *out = true;
    } else if (a->kind == TPL_FUNC) {
        *out = a->u.i == b->u.i;
    } else if (a->kind == TPL_NONE || a->kind == TPL_UNDEFINED) {
        *out = true;
    } else {
        *out = a->u.d == b->u.d; /* the same object */
    }
    return LMF_OK;
}

lmf_status lmf__tpl_equal(tpl_run *r, const tpl_value *a, const tpl_value *b, bool *out)
{
    return equal_deep(r, a, b, 0, out);
}

static lmf_status less_deep(tpl_run *r, const tpl_value *a, const tpl_value *b, int depth, bool *out)
{
    double f, g;
    *out = false;
    LMF_TRY(lmf__tpl_need_defined(r, a));
    LMF_TRY(lmf__tpl_need_defined(r, b));
    if (depth > MAX_NESTING)
        return TPL_FAIL(r, LMF_E_LIMIT, "values nest too deep to be compared");
    if (lmf__tpl_number(a, &f) && lmf__tpl_number(b, &g))
        return *out = lmf__tpl_compare_numbers(a, b) == -1, LMF_OK;
    if (a->kind == TPL_STR && b->kind == TPL_STR) {
        size_t n = a->u.s->n < b->u.s->n ? a->u.s->n : b->u.s->n;
        int c = memcmp(a->u.s->data, b->u.s->data, n); /* UTF-8 sorts like its code points */
        *out = c < 0 || (c == 0 && a->u.s->n < b->u.s->n);
        return TPL_STEP_BYTES(r, n);
    }
    if (a->kind == TPL_SEQ && b->kind == TPL_SEQ && a->u.seq->kind == b->u.seq->kind && a->u.seq->kind <= TPL_TUPLE) {
        tpl_seq *s = a->u.seq, *t = b->u.seq;
        for (size_t i = 0; i < s->n && i < t->n; i++) {
            bool same;
            LMF_TRY(lmf__tpl_step(r, 0));
            LMF_TRY(equal_deep(r, &s->items[i], &t->items[i], depth + 1, &same));
            if (!same)
                return less_deep(r, &s->items[i], &t->items[i], depth + 1, out);
        }
        return *out = s->n < t->n, LMF_OK;
    }
    return TPL_FAIL(r, LMF_E_ARG, "a %s and a %s have no order", lmf__tpl_type(a), lmf__tpl_type(b));
}

lmf_status lmf__tpl_less(tpl_run *r, const tpl_value *a, const tpl_value *b, bool *out)
{
    return less_deep(r, a, b, 0, out);
}

lmf_status lmf__tpl_contains(tpl_run *r, const tpl_value *container, const tpl_value *item, bool *out)
{
    tpl_seq *s;
    tpl_value *found;
    *out = false;
    if (container->kind == TPL_STR) {
        if (item->kind != TPL_STR)
            return TPL_FAIL(r, LMF_E_ARG, "only a str can be in a str, not a %s", lmf__tpl_type(item));
        LMF_TRY(TPL_STEP_BYTES(r, container->u.s->n));
        *out = item->u.s->n == 0 || memmem(container->u.s->data, container->u.s->n, item->u.s->data, item->u.s->n) != NULL;
        return LMF_OK;
    }
    if (container->kind == TPL_DICT) {
        LMF_TRY(lmf__tpl_dict_find(r, container->u.d, item, &found));
        return *out = found != NULL, LMF_OK;
    }
    LMF_TRY(lmf__tpl_iterate(r, container, &s));
    for (size_t i = 0; i < s->n && !*out; i++) {
        tpl_value x = lmf__tpl_at(s, i);
        LMF_TRY(lmf__tpl_step(r, 0));
        LMF_TRY(lmf__tpl_equal(r, &x, item, out));
    }
    return LMF_OK;
}

/* ---- text ---- */

static void repr_str(tpl_builder *b, const tpl_str *s)
{
    char quote = memchr(s->data, '\'', s->n) && !memchr(s->data, '"', s->n) ? '"' : '\'', text[12];
    lmf__tpl_put(b, &quote, 1);
    for (size_t i = 0, len; i < s->n; i += len) {
        uint32_t c = lmf__tpl_decode(s->data + i, s->n - i, &len);
        const char *short_form = c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\\' ? "\\\\" : NULL;
        if (short_form) {
            lmf__tpl_puts(b, short_form);
        } else if (c == (unsigned char)quote) {
            lmf__tpl_put(b, "\\", 1);
            lmf__tpl_put(b, &quote, 1);
        } else if (lmf__tpl_printable(c)) {
            lmf__tpl_put(b, s->data + i, len);
        } else {
            snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
            lmf__tpl_puts(b, text);
        }
    }
    lmf__tpl_put(b, &quote, 1);
}

static void repr_items(tpl_builder *b, const char *open, const tpl_seq *s, const char *close, int depth)
{
    lmf__tpl_puts(b, open);
    for (size_t i = 0; i < s->n && !b->status; i++) {
        if (i)
            lmf__tpl_puts(b, ", ");
        lmf__tpl_repr(b, &s->items[i], depth + 1);
    }
    lmf__tpl_puts(b, close);
}

static void repr_seq(tpl_builder *b, const tpl_value *v, int depth)
{
    char text[96];
    const tpl_seq *s = v->u.seq;
    switch (s->kind) {
    case TPL_LIST: repr_items(b, "[", s, "]", depth); break;
    case TPL_TUPLE: repr_items(b, "(", s, s->n == 1 ? ",)" : ")", depth); break;
    case TPL_KEYS: repr_items(b, "dict_keys([", s, "])", depth); break;
    case TPL_VALUES: repr_items(b, "dict_values([", s, "])", depth); break;
    case TPL_ITEMS: repr_items(b, "dict_items([", s, "])", depth); break;
    case TPL_RANGE:
        if (s->step == 1)
            snprintf(text, sizeof text, "range(%lld, %lld)", (long long)s->start, (long long)s->stop);
        else
            snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)s->start, (long long)s->stop, (long long)s->step);
        lmf__tpl_puts(b, text);
        break;
    case TPL_ITER:
        b->status = TPL_FAIL(b->r, LMF_E_ARG, "a generator (what map, select and their like give) has no text; put |list or |join behind it");
    }
}

static void repr_dict(tpl_builder *b, const tpl_dict *d, int depth)
{
    lmf__tpl_puts(b, "{");
    for (size_t i = 0; i < d->n && !b->status; i++) {
        if (i)
            lmf__tpl_puts(b, ", ");
        lmf__tpl_repr(b, &d->entries[i].key, depth + 1);
        lmf__tpl_puts(b, ": ");
        lmf__tpl_repr(b, &d->entries[i].value, depth + 1);
    }
    lmf__tpl_puts(b, "}");
}

void lmf__tpl_repr(tpl_builder *b, const tpl_value *v, int depth)
{
    char text[TPL_NUMBER_TEXT];
    if (b->status || (b->status = lmf__tpl_step(b->r, 0)))
        return;
    if (depth > MAX_NESTING) {
        b->status = TPL_FAIL(b->r, LMF_E_LIMIT, "a value nests too deep to be shown");
        return;
    }
    switch (v->kind) {
    case TPL_NONE: lmf__tpl_puts(b, "None"); break;
    case TPL_BOOL: lmf__tpl_puts(b, v->u.b ? "True" : "False"); break;
    case TPL_INT:
        snprintf(text, sizeof text, "%lld", (long long)v->u.i);
        lmf__tpl_puts(b, text);
        break;
    case TPL_FLOAT: lmf__tpl_put(b, text, lmf__tpl_float_repr(v->u.f, text)); break;
    case TPL_STR:
        if ((b->status = TPL_STEP_BYTES(b->r, v->u.s->n)))
            return;
        if (v->u.s->number) {
            lmf__tpl_put(b, v->u.s->data, v->u.s->n);
            break;
        }
        if (v->u.s->markup)
            lmf__tpl_puts(b, "Markup(");
        repr_str(b, v->u.s);
        if (v->u.s->markup)
            lmf__tpl_puts(b, ")");
        break;
    case TPL_SEQ: repr_seq(b, v, depth); break;
    case TPL_DICT: repr_dict(b, v->u.d, depth); break;
    case TPL_NAMESPACE:
        lmf__tpl_puts(b, "<Namespace ");
        repr_dict(b, v->u.d, depth);
        lmf__tpl_puts(b, ">");
        break;
    case TPL_UNDEFINED: case TPL_MISSING: lmf__tpl_puts(b, "Undefined"); break;
    case TPL_MACRO:
        lmf__tpl_puts(b, "<Macro ");
        if (v->u.macro->name)
            repr_str(b, v->u.macro->name);
        else
            lmf__tpl_puts(b, "anonymous");
        lmf__tpl_puts(b, ">");
        break;
    case TPL_FUNC: case TPL_METHOD: case TPL_LOOP:
        b->status = TPL_FAIL(b->r, LMF_E_ARG, "a %s has no text; is a call's () missing?", lmf__tpl_type(v));
    }
}

lmf_status lmf__tpl_soft_str(tpl_run *r, const tpl_value *v, tpl_str **out)
{
    tpl_value text;
    tpl_builder b = { .r = r };
    if (v->kind == TPL_STR && v->u.s->number)
        return *out = lmf__tpl_str_view(r, v->u.s, 0, v->u.s->n), *out ? LMF_OK : r->status;
    if (v->kind == TPL_STR)
        return *out = v->u.s, LMF_OK;
    if (v->kind != TPL_UNDEFINED && v->kind != TPL_MISSING)
        lmf__tpl_repr(&b, v, 0);
    LMF_TRY(lmf__tpl_built(&b, &text));
    *out = text.u.s;
    return LMF_OK;
}

lmf_status lmf__tpl_to_str(tpl_run *r, const tpl_value *v, tpl_str **out)
{
    LMF_TRY(lmf__tpl_soft_str(r, v, out));
    *out = lmf__tpl_as_markup(r, *out, false);
    return *out ? LMF_OK : r->status;
}
