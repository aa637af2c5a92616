/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing here changes a value that a template could already see; a string's spare room is only written
 * behind every string that shares it. */
#include "text/template/value.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include "base/checked.h"

enum { SMALL_DICT = 8, ROOM_FROM = 256, MAX_NESTING = 200 };

lmf_status lmf__tpl_step(tpl_run *r, uint64_t cost)
{
    r->steps += cost + 1;
    if (r->steps <= r->opts.max_steps)
        return LMF_OK;
    return TPL_FAIL(r, LMF_E_LIMIT, "the template takes more than %llu steps; is there a loop without end?", (unsigned long long)r->opts.max_steps);
}

void *lmf__tpl_alloc(tpl_run *r, size_t n, size_t item_bytes)
{
    void *p = lmf_arena_array(r->arena, n, item_bytes);
    size_t bytes;
    if (p)
        return p;
    if (!lmf_mul_size(n, item_bytes, &bytes) || bytes > r->arena->max_bytes || r->arena->total_bytes > r->arena->max_bytes - bytes)
        r->status = TPL_FAIL(r, LMF_E_LIMIT, "the template's values need more than %zu bytes", r->arena->max_bytes);
    else /* a block is larger than what was asked for, so near the maximum this may be the maximum too */
        r->status = TPL_FAIL(r, LMF_E_MEMORY, "out of memory: %zu bytes for a value, with %zu of at most %zu in use", bytes, r->arena->total_bytes, r->arena->max_bytes);
    return NULL;
}

/* ---- strings ---- */

uint32_t lmf__tpl_decode(const char *p, size_t n, size_t *len)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80)
        return *len = 1, u[0];
    if (u[0] < 0xe0 && n >= 2)
        return *len = 2, (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
    if (u[0] < 0xf0 && n >= 3)
        return *len = 3, (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    if (n >= 4)
        return *len = 4, (u[0] & 7u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
    return *len = 1, 0xfffd;
}

size_t lmf__tpl_encode(uint32_t c, char out[4])
{
    if (c < 0x80)
        return out[0] = (char)c, 1;
    if (c < 0x800)
        return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 0x3f)), out[2] = (char)(0x80 | (c & 0x3f)), 3;
    out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    return out[2] = (char)(0x80 | (c >> 6 & 0x3f)), out[3] = (char)(0x80 | (c & 0x3f)), 4;
}

bool lmf__tpl_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
        c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

int64_t lmf__tpl_chars(tpl_str *s)
{
    if (s->n_chars < 0) {
        int64_t n = 0;
        for (size_t i = 0; i < s->n; i++)
            n += ((unsigned char)s->data[i] & 0xc0) != 0x80;
        s->n_chars = n;
    }
    return s->n_chars;
}

size_t lmf__tpl_offset(tpl_str *s, int64_t i_char)
{
    if ((size_t)lmf__tpl_chars(s) == s->n)
        return (size_t)i_char;
    size_t i = 0;
    for (; i < s->n; i++)
        if (((unsigned char)s->data[i] & 0xc0) != 0x80 && i_char-- == 0)
            break;
    return i;
}

bool lmf__tpl_str_eq(const tpl_str *a, const char *b)
{
    size_t n = strlen(b);
    return a->n == n && memcmp(a->data, b, n) == 0;
}

static tpl_str *str_header(tpl_run *r, const char *data, size_t n)
{
    tpl_str *s = lmf__tpl_alloc(r, 1, sizeof *s);
    if (s)
        *s = (tpl_str){ .data = data, .n = n, .n_chars = -1 };
    return s;
}

tpl_str *lmf__tpl_str(tpl_run *r, const char *p, size_t n)
{
    char *copy = lmf__tpl_alloc(r, n, 1);
    if (!copy)
        return NULL;
    if (n)
        memcpy(copy, p, n);
    return str_header(r, copy, n);
}

tpl_str *lmf__tpl_str_view(tpl_run *r, const tpl_str *of, size_t begin, size_t n)
{
    tpl_str *s = str_header(r, of->data + begin, n);
    if (s)
        s->markup = of->markup;
    return s;
}

lmf_status lmf__tpl_str_value(tpl_run *r, const char *p, size_t n, tpl_value *out)
{
    tpl_str *s = lmf__tpl_str(r, p, n);
    if (!s)
        return r->status;
    *out = lmf__tpl_of_str(s);
    return LMF_OK;
}

tpl_str *lmf__tpl_as_markup(tpl_run *r, const tpl_str *s, bool markup)
{
    if (s->markup == markup)
        return (tpl_str *)s;
    tpl_str *c = lmf__tpl_str_view(r, s, 0, s->n);
    if (c)
        c->markup = markup;
    return c;
}

lmf_status lmf__tpl_escape(tpl_run *r, const tpl_str *s, tpl_str **out)
{
    static const char *const names[] = { "&amp;", "&lt;", "&gt;", "&#39;", "&#34;" };
    if (s->markup)
        return *out = (tpl_str *)s, LMF_OK;
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    tpl_builder b = { .r = r };
    for (size_t i = 0; i < s->n; i++) {
        const char *at = s->data[i] ? strchr("&<>'\"", s->data[i]) : NULL;
        if (at)
            lmf__tpl_puts(&b, names[at - (const char *)strchr("&<>'\"", '&')]);
        else
            lmf__tpl_put(&b, s->data + i, 1);
    }
    tpl_value v;
    LMF_TRY(lmf__tpl_built(&b, &v));
    v.u.s->markup = true;
    *out = v.u.s;
    return LMF_OK;
}

lmf_status lmf__tpl_concat(tpl_run *r, tpl_str *a, tpl_str *b, tpl_value *out)
{
    bool markup = a->markup || b->markup;
    if (markup) {
        LMF_TRY(lmf__tpl_escape(r, a, &a));
        LMF_TRY(lmf__tpl_escape(r, b, &b));
    }
    LMF_TRY(TPL_STEP_BYTES(r, b->n));
    tpl_str *s;
    tpl_room *room = a->room;
    if (room && a->n == room->used && room->cap - room->used >= b->n) { /* nothing lies behind a yet: append there */
        memcpy((char *)a->data + a->n, b->data, b->n);
        room->used += b->n;
        s = str_header(r, a->data, a->n + b->n);
    } else {
        size_t n = a->n + b->n, cap = n >= ROOM_FROM ? n * 2 : n;
        LMF_TRY(TPL_STEP_BYTES(r, a->n));
        char *data = lmf__tpl_alloc(r, cap, 1);
        if (!data)
            return r->status;
        memcpy(data, a->data, a->n);
        memcpy(data + a->n, b->data, b->n);
        room = NULL;
        if (cap > n) {
            room = lmf__tpl_alloc(r, 1, sizeof *room);
            if (!room)
                return r->status;
            *room = (tpl_room){ n, cap };
        }
        s = str_header(r, data, n);
    }
    if (!s)
        return r->status;
    s->room = room;
    s->markup = markup;
    if (a->n_chars >= 0 && b->n_chars >= 0)
        s->n_chars = a->n_chars + b->n_chars;
    *out = lmf__tpl_of_str(s);
    return LMF_OK;
}

void lmf__tpl_put(tpl_builder *b, const char *p, size_t n)
{
    if (b->status || !n)
        return;
    if (b->cap - b->n < n) {
        size_t cap = b->cap ? b->cap : 48;
        while (cap - b->n < n)
            cap *= 2; /* ends: every n here is at most the arena's maximum */
        char *data = lmf__tpl_alloc(b->r, cap, 1);
        if (!data) {
            b->status = b->r->status;
            return;
        }
        if (b->n)
            memcpy(data, b->data, b->n);
        b->data = data;
        b->cap = cap;
    }
    memcpy(b->data + b->n, p, n);
    b->n += n;
}

void lmf__tpl_puts(tpl_builder *b, const char *s) { lmf__tpl_put(b, s, strlen(s)); }

void lmf__tpl_put_char(tpl_builder *b, uint32_t code_point)
{
    char text[4];
    lmf__tpl_put(b, text, lmf__tpl_encode(code_point, text));
}

lmf_status lmf__tpl_built(tpl_builder *b, tpl_value *out)
{
    tpl_str *s = b->status ? NULL : str_header(b->r, b->data ? b->data : "", b->n);
    if (!s)
        return b->status ? b->status : b->r->status;
    *out = lmf__tpl_of_str(s);
    *b = (tpl_builder){ .r = b->r };
    return LMF_OK;
}

tpl_value lmf__tpl_undefined(tpl_run *r, const char *fmt, ...)
{
    char text[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return (tpl_value){ TPL_UNDEFINED, { .s = lmf__tpl_str(r, text, strlen(text)) } };
}

/* ---- sequences ---- */

tpl_seq *lmf__tpl_seq(tpl_run *r, tpl_seq_kind kind, size_t n)
{
    tpl_seq *s = lmf__tpl_alloc(r, 1, sizeof *s);
    if (!s || lmf__tpl_step(r, n / 8))
        return s ? r->status = LMF_E_LIMIT, NULL : NULL;
    s->kind = kind;
    s->n = n;
    s->items = lmf__tpl_alloc(r, n, sizeof *s->items);
    return s->items ? s : NULL;
}

lmf_status lmf__tpl_push(tpl_list *l, tpl_value v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        tpl_value *items = lmf__tpl_alloc(l->r, cap, sizeof *items);
        if (!items)
            return l->r->status;
        if (l->n)
            memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = v;
    return LMF_OK;
}

lmf_status lmf__tpl_listed(tpl_list *l, tpl_seq_kind kind, tpl_value *out)
{
    tpl_seq *s = lmf__tpl_alloc(l->r, 1, sizeof *s);
    if (!s)
        return l->r->status;
    *s = (tpl_seq){ .kind = kind, .n = l->n, .items = l->items };
    *out = lmf__tpl_of_seq(s);
    return TPL_STEP_ITEMS(l->r, l->n);
}

tpl_value lmf__tpl_at(const tpl_seq *s, size_t i)
{
    return s->kind == TPL_RANGE ? lmf__tpl_int(s->start + (int64_t)i * s->step) : s->items[i];
}

/* ---- dicts ---- */

bool lmf__tpl_hashable(const tpl_value *v)
{
    if (v->kind == TPL_DICT)
        return false;
    if (v->kind != TPL_SEQ)
        return true;
    if (v->u.seq->kind == TPL_TUPLE)
        for (size_t i = 0; i < v->u.seq->n; i++)
            if (!lmf__tpl_hashable(&v->u.seq->items[i]))
                return false;
    return v->u.seq->kind != TPL_LIST;
}

lmf_status lmf__tpl_hash(tpl_run *r, const tpl_value *v, uint64_t *out)
{
    uint64_t h = 0xcbf29ce484222325u;
    double f;
    if (!lmf__tpl_hashable(v))
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be a key or a member of a set", lmf__tpl_type(v));
    if (v->kind == TPL_STR) {
        LMF_TRY(TPL_STEP_BYTES(r, v->u.s->n));
        for (size_t i = 0; i < v->u.s->n; i++)
            h = (h ^ (unsigned char)v->u.s->data[i]) * 0x100000001b3u;
    } else if (lmf__tpl_number(v, &f)) { /* equal numbers of any type hash alike */
        memcpy(&h, &(double){ f == 0 ? 0 : f }, sizeof h);
        h = (h ^ h >> 29) * 0x9e3779b97f4a7c15u;
    } else if (v->kind == TPL_SEQ && v->u.seq->kind == TPL_TUPLE) {
        for (size_t i = 0; i < v->u.seq->n; i++) {
            uint64_t one;
            LMF_TRY(lmf__tpl_hash(r, &v->u.seq->items[i], &one));
            h = (h ^ one) * 0x100000001b3u;
        }
    } else {
        h += v->kind;
    }
    *out = h ^ h >> 32;
    return LMF_OK;
}

tpl_dict *lmf__tpl_dict(tpl_run *r)
{
    return lmf__tpl_alloc(r, 1, sizeof(tpl_dict));
}

static lmf_status dict_find(tpl_run *r, const tpl_dict *d, const tpl_value *key, uint64_t hash, tpl_entry **out)
{
    bool same;
    *out = NULL;
    size_t n = d->slots ? d->n_slots : d->n;
    for (size_t i = 0; i < n; i++) {
        tpl_entry *e;
        if (d->slots) {
            uint32_t slot = d->slots[(hash + i) & (d->n_slots - 1)];
            if (!slot)
                return LMF_OK;
            e = &d->entries[slot - 1];
            LMF_TRY(lmf__tpl_step(r, 0)); /* chosen keys may collide */
        } else {
            e = &d->entries[i];
        }
        if (e->hash != hash)
            continue;
        LMF_TRY(lmf__tpl_equal(r, &e->key, key, &same));
        if (same)
            return *out = e, LMF_OK;
    }
    return LMF_OK;
}

lmf_status lmf__tpl_dict_find(tpl_run *r, const tpl_dict *d, const tpl_value *key, tpl_value **out)
{
    uint64_t hash;
    tpl_entry *e;
    *out = NULL;
    LMF_TRY(lmf__tpl_hash(r, key, &hash));
    LMF_TRY(dict_find(r, d, key, hash, &e));
    if (e)
        *out = &e->value;
    return LMF_OK;
}

lmf_status lmf__tpl_dict_find_str(tpl_run *r, const tpl_dict *d, const tpl_str *key, tpl_value **out)
{
    tpl_value k = lmf__tpl_of_str((tpl_str *)key);
    return lmf__tpl_dict_find(r, d, &k, out);
}

static lmf_status dict_index(tpl_run *r, tpl_dict *d)
{
    size_t n_slots = 32;
    while (n_slots < d->cap * 2)
        n_slots *= 2;
    uint32_t *slots = lmf__tpl_alloc(r, n_slots, sizeof *slots);
    if (!slots)
        return r->status;
    for (size_t i = 0; i < d->n; i++) {
        size_t at = d->entries[i].hash & (n_slots - 1);
        for (; slots[at]; at = (at + 1) & (n_slots - 1))
            LMF_TRY(lmf__tpl_step(r, 0));
        slots[at] = (uint32_t)i + 1;
    }
    d->slots = slots;
    d->n_slots = n_slots;
    return LMF_OK;
}

lmf_status lmf__tpl_dict_set(tpl_run *r, tpl_dict *d, tpl_value key, tpl_value value)
{
    uint64_t hash;
    tpl_entry *e;
    LMF_TRY(lmf__tpl_hash(r, &key, &hash));
    LMF_TRY(dict_find(r, d, &key, hash, &e));
    if (e)
        return e->value = value, LMF_OK;
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : SMALL_DICT;
        tpl_entry *entries = cap > UINT32_MAX / 4 ? NULL : lmf__tpl_alloc(r, cap, sizeof *entries);
        if (!entries)
            return r->status ? r->status : TPL_FAIL(r, LMF_E_LIMIT, "a mapping has too many keys");
        if (d->n)
            memcpy(entries, d->entries, d->n * sizeof *entries);
        d->entries = entries;
        d->cap = cap;
        if (cap > SMALL_DICT)
            LMF_TRY(dict_index(r, d));
    }
    d->entries[d->n++] = (tpl_entry){ key, value, hash };
    if (d->slots) {
        size_t at = hash & (d->n_slots - 1);
        while (d->slots[at])
            at = (at + 1) & (d->n_slots - 1);
        d->slots[at] = (uint32_t)d->n;
    }
    return LMF_OK;
}

/* A string, or a number that was too big for JSON's reader. */
static lmf_status str_from_json(tpl_run *r, const char *p, size_t n, tpl_value *out)
{
    const size_t mark = sizeof LMF_TEMPLATE_BIG - 1;
    size_t i = mark;
    if (n <= mark || memcmp(p, LMF_TEMPLATE_BIG, mark))
        return lmf__tpl_str_value(r, p, n, out);
    for (i += p[i] == '-'; i < n && p[i] >= '0' && p[i] <= '9'; i++)
        ;
    if (i < n) /* with a point or an exponent: infinite as a double, as in Python */
        return *out = lmf__tpl_float(p[mark] == '-' ? -HUGE_VAL : HUGE_VAL), LMF_OK;
    LMF_TRY(lmf__tpl_str_value(r, p + mark, n - mark, out));
    out->u.s->number = true;
    return LMF_OK;
}

lmf_status lmf__tpl_from_json(tpl_run *r, const json_t *j, int depth, tpl_value *out)
{
    *out = TPL_NONE_VALUE;
    if (depth > MAX_NESTING)
        return TPL_FAIL(r, LMF_E_LIMIT, "the variables nest deeper than %d levels", MAX_NESTING);
    switch (j ? json_typeof(j) : JSON_NULL) {
    case JSON_TRUE: *out = lmf__tpl_bool(true); break;
    case JSON_FALSE: *out = lmf__tpl_bool(false); break;
    case JSON_INTEGER: *out = lmf__tpl_int(json_integer_value(j)); break;
    case JSON_REAL: *out = lmf__tpl_float(json_real_value(j)); break;
    case JSON_STRING: return str_from_json(r, json_string_value(j), json_string_length(j), out);
    case JSON_ARRAY: {
        tpl_seq *s = lmf__tpl_alloc(r, 1, sizeof *s);
        if (!s)
            return r->status;
        s->n = json_array_size(j);
        s->items = lmf__tpl_alloc(r, s->n, sizeof *s->items);
        if (!s->items)
            return r->status;
        for (size_t i = 0; i < s->n; i++)
            LMF_TRY(lmf__tpl_from_json(r, json_array_get(j, i), depth + 1, &s->items[i]));
        *out = lmf__tpl_of_seq(s);
        break;
    }
    case JSON_OBJECT: {
        tpl_dict *d = lmf__tpl_dict(r);
        if (!d)
            return r->status;
        for (void *it = json_object_iter((json_t *)j); it; it = json_object_iter_next((json_t *)j, it)) {
            tpl_value key, value;
            const char *name = json_object_iter_key(it);
            LMF_TRY(lmf__tpl_str_value(r, name, json_object_iter_key_len(it), &key));
            LMF_TRY(lmf__tpl_from_json(r, json_object_iter_value(it), depth + 1, &value));
            LMF_TRY(lmf__tpl_dict_set(r, d, key, value));
        }
        *out = lmf__tpl_of_dict(d);
        break;
    }
    case JSON_NULL: break;
    }
    return LMF_OK;
}

/* ---- iteration and length ---- */

bool lmf__tpl_iterable(const tpl_value *v)
{
    return v->kind == TPL_UNDEFINED || (v->kind == TPL_STR && !v->u.s->number) || v->kind == TPL_SEQ || v->kind == TPL_DICT;
}

lmf_status lmf__tpl_iterate(tpl_run *r, const tpl_value *v, tpl_seq **out)
{
    tpl_seq *s;
    size_t n = 0;
    switch (v->kind) {
    case TPL_SEQ:
        s = v->u.seq;
        if (s->kind == TPL_ITER) { /* what is left of it, and nothing is afterwards */
            tpl_seq *rest = lmf__tpl_alloc(r, 1, sizeof *rest);
            if (!rest)
                return r->status;
            *rest = (tpl_seq){ .kind = TPL_LIST, .n = s->n - s->pos, .items = s->items + s->pos };
            s->pos = s->n;
            s = rest;
        }
        return *out = s, LMF_OK;
    case TPL_DICT:
        s = lmf__tpl_seq(r, TPL_LIST, v->u.d->n);
        if (!s)
            return r->status;
        for (size_t i = 0; i < s->n; i++)
            s->items[i] = v->u.d->entries[i].key;
        return *out = s, LMF_OK;
    case TPL_STR:
        s = lmf__tpl_seq(r, TPL_LIST, (size_t)lmf__tpl_chars(v->u.s));
        if (!s)
            return r->status;
        for (size_t at = 0, len; at < v->u.s->n; at += len, n++) {
            lmf__tpl_decode(v->u.s->data + at, v->u.s->n - at, &len);
            tpl_str *c = lmf__tpl_str_view(r, v->u.s, at, len);
            if (!c)
                return r->status;
            c->markup = false; /* iterating over Markup gives plain characters */
            s->items[n] = lmf__tpl_of_str(c);
        }
        return *out = s, LMF_OK;
    case TPL_UNDEFINED:
        s = lmf__tpl_seq(r, TPL_LIST, 0);
        return *out = s, s ? LMF_OK : r->status;
    default:
        return TPL_FAIL(r, LMF_E_ARG, "a %s can't be iterated over", lmf__tpl_type(v));
    }
}

bool lmf__tpl_has_length(const tpl_value *v)
{
    return lmf__tpl_iterable(v) && !(v->kind == TPL_SEQ && v->u.seq->kind == TPL_ITER);
}

lmf_status lmf__tpl_length(tpl_run *r, const tpl_value *v, int64_t *out)
{
    *out = 0;
    if (!lmf__tpl_has_length(v))
        return TPL_FAIL(r, LMF_E_ARG, "a %s has no length", lmf__tpl_type(v));
    if (v->kind == TPL_STR) {
        if (v->u.s->n_chars < 0)
            LMF_TRY(TPL_STEP_BYTES(r, v->u.s->n));
        *out = lmf__tpl_chars(v->u.s);
    } else if (v->kind == TPL_SEQ) {
        *out = (int64_t)v->u.seq->n;
    } else if (v->kind == TPL_DICT) {
        *out = (int64_t)v->u.d->n;
    }
    return LMF_OK;
}
