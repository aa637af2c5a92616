/* SPDX-License-Identifier: Apache-2.0 */
/* The filter tojson: the bytes of Python's json.dumps, with the four options that Hugging Face's filter passes on. */
#include <stdio.h>
#include "text/template/value.h"

enum { MAX_NESTING = 200 };

typedef struct dump {
    tpl_builder b;
    bool        ascii, sort, pretty;
    tpl_str    *indent, *item_sep, *key_sep;
} dump;

static void put_json_str(dump *d, const tpl_str *s)
{
    char text[16];
    d->b.status = d->b.status ? d->b.status : TPL_STEP_BYTES(d->b.r, s->n);
    lmf__tpl_put(&d->b, "\"", 1);
    for (size_t at = 0, len; at < s->n; at += len) {
        uint32_t c = lmf__tpl_decode(s->data + at, s->n - at, &len);
        const char *esc = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : c == '\t' ? "\\t" : c == '\b' ? "\\b" : c == '\f' ? "\\f" : NULL;
        if (esc) {
            lmf__tpl_puts(&d->b, esc);
        } else if (c >= 0x20 && (c < 0x7f || !d->ascii)) {
            lmf__tpl_put(&d->b, s->data + at, len);
        } else {
            if (c >= 0x10000)
                snprintf(text, sizeof text, "\\u%04x\\u%04x", (unsigned)(0xd800 + ((c - 0x10000) >> 10)), (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
            else
                snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
            lmf__tpl_puts(&d->b, text);
        }
    }
    lmf__tpl_put(&d->b, "\"", 1);
}

static void put_number(dump *d, const tpl_value *v)
{
    char text[TPL_NUMBER_TEXT];
    if (v->kind == TPL_BOOL)
        lmf__tpl_puts(&d->b, v->u.b ? "true" : "false");
    else if (v->kind == TPL_INT)
        lmf__tpl_put(&d->b, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)v->u.i));
    else if (v->u.f != v->u.f)
        lmf__tpl_puts(&d->b, "NaN");
    else if (v->u.f - v->u.f != 0)
        lmf__tpl_puts(&d->b, v->u.f < 0 ? "-Infinity" : "Infinity");
    else
        lmf__tpl_put(&d->b, text, lmf__tpl_float_repr(v->u.f, text));
}

static void put_line(dump *d, int level)
{
    if (!d->pretty)
        return;
    lmf__tpl_put(&d->b, "\n", 1);
    for (int i = 0; i < level; i++)
        lmf__tpl_put(&d->b, d->indent->data, d->indent->n);
}

static lmf_status put_value(dump *d, const tpl_value *v, int level);

static lmf_status put_key(dump *d, const tpl_value *key)
{
    switch (key->kind) {
    case TPL_STR: put_json_str(d, key->u.s); break;
    case TPL_NONE: lmf__tpl_puts(&d->b, "\"null\""); break;
    case TPL_BOOL: case TPL_INT: case TPL_FLOAT:
        lmf__tpl_put(&d->b, "\"", 1);
        put_number(d, key);
        lmf__tpl_put(&d->b, "\"", 1);
        break;
    default: return TPL_FAIL(d->b.r, LMF_E_ARG, "a %s can't be a key in JSON", lmf__tpl_type(key));
    }
    return LMF_OK;
}

/* Entry numbers in the order of their keys: insertion into runs, then merging. */
static lmf_status sort_entries(tpl_run *r, const tpl_dict *d, size_t *order, size_t *spare)
{
    for (size_t i = 0; i < d->n; i++)
        order[i] = i;
    for (size_t width = 1; width < d->n; width *= 2) {
        for (size_t lo = 0; lo < d->n; lo += 2 * width) {
            size_t mid = lo + width < d->n ? lo + width : d->n, hi = mid + width < d->n ? mid + width : d->n, a = lo, b = mid;
            for (size_t k = lo; k < hi; k++) {
                bool take_b = a >= mid;
                LMF_TRY(lmf__tpl_step(r, 0));
                if (a < mid && b < hi)
                    LMF_TRY(lmf__tpl_less(r, &d->entries[order[b]].key, &d->entries[order[a]].key, &take_b));
                spare[k] = order[take_b ? b++ : a++];
            }
        }
        memcpy(order, spare, d->n * sizeof *order);
    }
    return LMF_OK;
}

static lmf_status put_dict(dump *d, const tpl_dict *o, int level)
{
    tpl_run *r = d->b.r;
    size_t *order = NULL;
    if (d->sort) {
        order = lmf__tpl_alloc(r, o->n * 2, sizeof *order);
        if (!order)
            return r->status;
        LMF_TRY(sort_entries(r, o, order, order + o->n));
    }
    lmf__tpl_put(&d->b, "{", 1);
    for (size_t i = 0; i < o->n; i++) {
        const tpl_entry *e = &o->entries[order ? order[i] : i];
        if (i)
            lmf__tpl_put(&d->b, d->item_sep->data, d->item_sep->n);
        put_line(d, level + 1);
        LMF_TRY(put_key(d, &e->key));
        lmf__tpl_put(&d->b, d->key_sep->data, d->key_sep->n);
        LMF_TRY(put_value(d, &e->value, level + 1));
    }
    if (o->n)
        put_line(d, level);
    lmf__tpl_put(&d->b, "}", 1);
    return d->b.status;
}

static lmf_status put_value(dump *d, const tpl_value *v, int level)
{
    tpl_run *r = d->b.r;
    LMF_TRY(lmf__tpl_step(r, d->pretty ? (uint64_t)level / 8 : 0));
    if (level > MAX_NESTING)
        return TPL_FAIL(r, LMF_E_LIMIT, "a value nests deeper than %d levels in tojson", MAX_NESTING);
    switch (v->kind) {
    case TPL_NONE: lmf__tpl_puts(&d->b, "null"); break;
    case TPL_BOOL: case TPL_INT: case TPL_FLOAT: put_number(d, v); break;
    case TPL_STR:
        if (v->u.s->number)
            lmf__tpl_put(&d->b, v->u.s->data, v->u.s->n);
        else
            put_json_str(d, v->u.s);
        break;
    case TPL_DICT: return put_dict(d, v->u.d, level);
    case TPL_SEQ:
        if (v->u.seq->kind <= TPL_TUPLE) {
            lmf__tpl_put(&d->b, "[", 1);
            for (size_t i = 0; i < v->u.seq->n; i++) {
                if (i)
                    lmf__tpl_put(&d->b, d->item_sep->data, d->item_sep->n);
                put_line(d, level + 1);
                LMF_TRY(put_value(d, &v->u.seq->items[i], level + 1));
            }
            if (v->u.seq->n)
                put_line(d, level);
            lmf__tpl_put(&d->b, "]", 1);
            break;
        }
        /* fall through */
    default: return TPL_FAIL(r, LMF_E_ARG, "a %s can't be written as JSON", lmf__tpl_type(v));
    }
    return d->b.status;
}

lmf_status lmf__tpl_tojson(tpl_run *r, const tpl_value *v, const tpl_value args[4], tpl_value *out)
{
    static const char spaces[] = "                                                                ";
    const tpl_value *indent = &args[1], *separators = &args[2];
    tpl_str comma = { .data = ", ", .n = 2 }, colon = { .data = ": ", .n = 2 }, blank = { .data = spaces };
    dump d = { .b = { .r = r }, .ascii = lmf__tpl_truth(&args[0]), .sort = lmf__tpl_truth(&args[3]), .item_sep = &comma, .key_sep = &colon, .indent = &blank };
    int64_t width;
    d.pretty = indent->kind != TPL_MISSING && indent->kind != TPL_NONE;
    if (d.pretty) {
        comma.n = 1;
        if (indent->kind == TPL_STR) {
            d.indent = indent->u.s;
        } else {
            LMF_TRY(lmf__tpl_need_int(r, indent, "tojson's indent", &width));
            if (width > (int64_t)sizeof spaces - 1)
                return TPL_FAIL(r, LMF_E_LIMIT, "tojson's indent is at most %zu", sizeof spaces - 1);
            blank.n = width > 0 ? (size_t)width : 0;
        }
    }
    if (separators->kind != TPL_MISSING && separators->kind != TPL_NONE) {
        tpl_seq *s;
        LMF_TRY(lmf__tpl_iterate(r, separators, &s));
        tpl_value a = s->n == 2 ? lmf__tpl_at(s, 0) : *separators, b = s->n == 2 ? lmf__tpl_at(s, 1) : *separators;
        if (a.kind != TPL_STR || b.kind != TPL_STR || s->n != 2)
            return TPL_FAIL(r, LMF_E_ARG, "tojson's separators must be two strings");
        d.item_sep = a.u.s;
        d.key_sep = b.u.s;
    }
    LMF_TRY(put_value(&d, v, 0));
    return lmf__tpl_built(&d.b, out);
}
