/* SPDX-License-Identifier: Apache-2.0 */
/* schema: what a JSON schema allows, as cases of one type each. Keywords side by side, $ref and allOf make products of sums, anyOf and
 * oneOf
 * sums. What is inside of arrays and objects stays a set of schemas until a rule is made of it, so recursion has an end. Rule: a keyword
 * that is not in this file is refused; nothing is dropped that could tell values apart. */
#include "text/grammar/schema.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/plain.h"

enum { MAX_CASES = 20000, MAX_EXPAND = 64 };
enum { T_NULL = 1, T_BOOL = 2, T_NUMBER = 4, T_STRING = 8, T_ARRAY = 16, T_OBJECT = 32, T_INTEGER = 64, T_ALL = 63 };

static lmf_status bad(js *c, const char *keyword, const char *why)
{
    char plain[100];
    return LMF_FAIL(c->ctx, LMF_E_FORMAT, "the schema's keyword \"%s\" %s", lmf_plain_text(keyword, plain, sizeof plain), why);
}

static lmf_status unsupported(js *c, const char *keyword, const char *why)
{
    char plain[100];
    return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the schema's keyword \"%s\" is not supported%s%s", lmf_plain_text(keyword, plain,
        sizeof plain),
                    *why ? ": " : "", why);
}

static lmf_status no_memory(js *c) { return LMF_FAIL(c->ctx, LMF_E_LIMIT, "the schema takes more memory than it may"); }

static js_case *new_case(js *c, js_kind kind)
{
    js_case *k = c->n_case < MAX_CASES ? lmf_arena_alloc(&c->arena, sizeof *k) : NULL;
    if (k)
        *k = (js_case){ .kind = kind, .most = GR_INF }, c->n_case++;
    return k;
}

bool lmf__js_compare(const json_t *a, const json_t *b, int *order)
{
    if (!json_is_number(a) || !json_is_number(b))
        return false;
    if (json_is_integer(a) && json_is_integer(b)) {
        *order = (json_integer_value(a) > json_integer_value(b)) - (json_integer_value(a) < json_integer_value(b));
    } else {
        double x = json_number_value(a), y = json_number_value(b);
        *order = (x > y) - (x < y);
    }
    return true;
}

/* JSON schema's equality: 1 is 1.0. */
static bool equal(const json_t *a, const json_t *b)
{
    int order;
    size_t i;
    const char *key;
    json_t *x;
    if (lmf__js_compare(a, b, &order))
        return order == 0;
    if (json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_array(a)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach(a, i, x)
            if (!equal(x, json_array_get(b, i)))
                return false;
        return true;
    }
    if (json_is_object(a)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)a, key, x)
            if (!json_object_get(b, key) || !equal(x, json_object_get(b, key)))
                return false;
        return true;
    }
    return json_equal(a, b) == 1;
}

static lmf_status add_all(js *c, js_all *to, js_all more)
{
    if (!more.n)
        return LMF_OK;
    const json_t **p = lmf_arena_array(&c->arena, to->n + more.n, sizeof *p);
    if (!p)
        return no_memory(c);
    uint32_t n = 0, i = 0, j = 0;
    while (i < to->n || j < more.n) {
        const json_t *x = j == more.n || (i < to->n && (uintptr_t)to->of[i] <= (uintptr_t)more.of[j]) ? to->of[i++] : more.of[j++];
        if (!n || p[n - 1] != x)
            p[n++] = x;
    }
    *to = (js_all){ p, n };
    return LMF_OK;
}

static lmf_status one(js *c, const json_t *schema, js_all *out)
{
    const json_t **p = lmf_arena_alloc(&c->arena, sizeof *p);
    if (!p)
        return no_memory(c);
    *p = schema;
    *out = json_is_true(schema) ? (js_all){ 0 } : (js_all){ p, 1 };
    return LMF_OK;
}

lmf_status lmf__js_all(js *c, const json_t *const *schema, uint32_t n, js_all *out)
{
    js_all x;
    *out = (js_all){ 0 };
    for (uint32_t i = 0; i < n; i++) {
        LMF_TRY(one(c, schema[i], &x));
        LMF_TRY(add_all(c, out, x));
    }
    return LMF_OK;
}

static bool is_never(js_all a)
{
    for (uint32_t i = 0; i < a.n; i++)
        if (json_is_false(a.of[i]))
            return true;
    return false;
}

static lmf_status expand(js *c, const json_t *schema, js_case **out);

lmf_status lmf__js_cases(js *c, js_all all, js_case **out);

static js_prop *find(const js_case *k, const js_prop *p)
{
    for (uint32_t i = 0; i < k->n_prop; i++)
        if (k->prop[i].n_name == p->n_name && !memcmp(k->prop[i].name, p->name, p->n_name))
            return &k->prop[i];
    return NULL;
}

static lmf_status and_objects(js *c, const js_case *a, const js_case *b, js_case *out)
{
    out->prop = lmf_arena_array(&c->arena, a->n_prop + b->n_prop + 1, sizeof *out->prop);
    if (!out->prop)
        return no_memory(c);
    for (int turn = 0; turn < 2; turn++) {
        const js_case *x = turn ? b : a, *y = turn ? a : b;
        for (uint32_t i = 0; i < x->n_prop; i++) {
            const js_prop *other = find(y, &x->prop[i]);
            if (turn && other)
                continue;
            js_prop *p = &out->prop[out->n_prop++];
            *p = x->prop[i];
            LMF_TRY(add_all(c, &p->is, other ? other->is : y->rest));
            p->required |= other && other->required;
        }
    }
    out->open = a->open || b->open;
    LMF_TRY(add_all(c, &out->rest, a->rest));
    return add_all(c, &out->rest, b->rest);
}

static lmf_status and_arrays(js *c, const js_case *a, const js_case *b, js_case *out)
{
    out->n_prefix = a->n_prefix > b->n_prefix ? a->n_prefix : b->n_prefix;
    out->prefix = lmf_arena_array(&c->arena, out->n_prefix + 1, sizeof *out->prefix);
    if (!out->prefix)
        return no_memory(c);
    for (uint32_t i = 0; i < out->n_prefix; i++) {
        LMF_TRY(add_all(c, &out->prefix[i], i < a->n_prefix ? a->prefix[i] : a->rest));
        LMF_TRY(add_all(c, &out->prefix[i], i < b->n_prefix ? b->prefix[i] : b->rest));
    }
    out->open = a->open || b->open;
    LMF_TRY(add_all(c, &out->rest, a->rest));
    return add_all(c, &out->rest, b->rest);
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t t = a % b;
        a = b, b = t;
    }
    return a;
}

static lmf_status and_numbers(js *c, const js_case *a, const js_case *b, js_case *out, bool *none)
{
    int order;
    *out = *a;
    out->next = NULL;
    out->integer = a->integer || b->integer;
    if (b->low && (!a->low || (lmf__js_compare(b->low, a->low, &order) && (order > 0 || (order == 0 && b->above)))))
        out->low = b->low, out->above = b->above;
    if (b->high && (!a->high || (lmf__js_compare(b->high, a->high, &order) && (order < 0 || (order == 0 && b->below)))))
        out->high = b->high, out->below = b->below;
    *none = out->low && out->high && lmf__js_compare(out->low, out->high, &order) && (order > 0 || (order == 0 && (out->above ||
        out->below)));
    if (a->multiple && b->multiple) {
        uint64_t both = (uint64_t)a->multiple / gcd(a->multiple, b->multiple) * b->multiple;
        if (both > 1000000)
            return unsupported(c, "multipleOf", "it goes up to 1,000,000");
        out->multiple = (uint32_t)both;
    } else {
        out->multiple = a->multiple | b->multiple;
    }
    return LMF_OK;
}

static lmf_status holds_all(js *c, const json_t *v, js_all all, bool *holds);

static lmf_status string_holds(js *c, const json_t *v, const js_case *k, bool *holds)
{
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, LMF_GRAMMAR_MAX_BYTES);
    const char *p = json_string_value(v);
    uint32_t n = 0;
    for (size_t i = 0; i < json_string_length(v); i++)
        n += (p[i] & 0xc0) != 0x80;
    *holds = n >= k->least && n <= k->most;
    lmf_status s = lmf__js_quote(c, p, json_string_length(v), &text);
    gr_ex x = k->text;
    for (size_t i = 0; !s && *holds && k->has_text && i < text.n; i++) {
        const gr_row *r = lmf__gr_row(c->s, x);
        if (!r)
            s = lmf__gr_status(c->s, "the schema");
        else
            x = lmf__gr_step(r, (uint8_t)text.data[i]);
    }
    if (k->has_text)
        *holds &= c->s->node[x].nullable;
    lmf_buf_clear(&text);
    return s;
}

static lmf_status number_holds(const json_t *v, const js_case *k, bool *holds)
{
    int order;
    double d = json_number_value(v);
    *holds = !k->integer || json_is_integer(v) || d == floor(d);
    if (k->low && lmf__js_compare(v, k->low, &order))
        *holds &= k->above ? order > 0 : order >= 0;
    if (k->high && lmf__js_compare(v, k->high, &order))
        *holds &= k->below ? order < 0 : order <= 0;
    if (k->multiple)
        *holds &= json_is_integer(v) ? json_integer_value(v) % k->multiple == 0 : fmod(d, k->multiple) == 0;
    return LMF_OK;
}

static lmf_status holds(js *c, const json_t *v, const js_case *k, bool *out)
{
    size_t i;
    json_t *x;
    const char *key;
    *out = false;
    switch (k->kind) {
    case JS_VALUE: *out = equal(v, k->value); return LMF_OK;
    case JS_NULL: *out = json_is_null(v); return LMF_OK;
    case JS_BOOL: *out = json_is_boolean(v); return LMF_OK;
    case JS_NUMBER: return json_is_number(v) ? number_holds(v, k, out) : LMF_OK;
    case JS_STRING: return json_is_string(v) ? string_holds(c, v, k, out) : LMF_OK;
    case JS_ARRAY:
        *out = json_is_array(v) && json_array_size(v) >= k->least && json_array_size(v) <= k->most;
        for (i = 0; *out && i < json_array_size(v); i++)
            LMF_TRY(holds_all(c, json_array_get(v, i), i < k->n_prefix ? k->prefix[i] : k->rest, out));
        return LMF_OK;
    case JS_OBJECT:
        *out = json_is_object(v) && json_object_size(v) >= k->least && json_object_size(v) <= k->most;
        for (i = 0; *out && i < k->n_prop; i++)
            *out = !k->prop[i].required || json_object_getn(v, k->prop[i].name, k->prop[i].n_name);
        if (*out)
            json_object_foreach((json_t *)v, key, x) {
                const js_prop *p = find(k, &(js_prop){ .name = key, .n_name = strlen(key) });
                if (*out)
                    LMF_TRY(holds_all(c, x, p ? p->is : k->rest, out));
            }
        return LMF_OK;
    }
    return LMF_OK;
}

static lmf_status holds_all(js *c, const json_t *v, js_all all, bool *out)
{
    *out = true;
    for (uint32_t i = 0; i < all.n && *out; i++) {
        js_case *k;
        LMF_TRY(expand(c, all.of[i], &k));
        bool any = false;
        for (; k && !any; k = k->next)
            LMF_TRY(holds(c, v, k, &any));
        *out = any;
    }
    return LMF_OK;
}

/* What both allow; *out NULL: nothing. */
static lmf_status and_case(js *c, const js_case *a, const js_case *b, js_case **out)
{
    bool none = false;
    *out = NULL;
    if (a->kind != JS_VALUE && b->kind == JS_VALUE)
        return and_case(c, b, a, out);
    if (a->kind == JS_VALUE)
        LMF_TRY(holds(c, a->value, b, &none));
    if (a->kind == JS_VALUE ? !none : a->kind != b->kind)
        return LMF_OK;
    js_case *k = new_case(c, a->kind);
    if (!k)
        return no_memory(c);
    none = false;
    if (a->kind == JS_VALUE) {
        k->value = a->value;
    } else if (a->kind == JS_NUMBER) {
        LMF_TRY(and_numbers(c, a, b, k, &none));
    } else if (a->kind >= JS_STRING) {
        k->least = a->least > b->least ? a->least : b->least, k->most = a->most < b->most ? a->most : b->most;
        none = k->least > k->most;
        k->has_text = a->has_text || b->has_text;
        k->text = a->has_text && b->has_text ? lmf__gr_and(c->s, a->text, b->text) : a->has_text ? a->text : b->text;
        if (a->kind == JS_ARRAY)
            LMF_TRY(and_arrays(c, a, b, k));
        if (a->kind == JS_OBJECT)
            LMF_TRY(and_objects(c, a, b, k));
    }
    *out = none ? NULL : k;
    return LMF_OK;
}

static lmf_status and_lists(js *c, const js_case *a, const js_case *b, js_case **out)
{
    js_case **end = out;
    *out = NULL;
    for (; a; a = a->next)
        for (const js_case *x = b; x; x = x->next) {
            LMF_TRY(and_case(c, a, x, end));
            if (*end)
                end = &(*end)->next;
        }
    return LMF_OK;
}

static lmf_status is_empty(js *c, const js_case *k, bool *empty)
{
    *empty = false;
    if (k->kind == JS_STRING && k->has_text) {
        gr_ex length = lmf__gr_rep(c->s, c->g->v->plain, k->least, k->most);
        *empty = lmf__gr_least(c->s, lmf__gr_and(c->s, k->text, length)) == GR_INF;
        return lmf__gr_status(c->s, "the schema");
    }
    for (uint32_t i = 0; k->kind == JS_OBJECT && i < k->n_prop && !*empty; i++) {
        js_case *inner;
        if (!k->prop[i].required)
            continue;
        LMF_TRY(lmf__js_cases(c, k->prop[i].is, &inner));
        *empty = true;
        for (; inner && *empty; inner = inner->next)
            LMF_TRY(is_empty(c, inner, empty));
    }
    return LMF_OK;
}

/* The sum of cases; exact: no value may be in two of them. */
static lmf_status any_of(js *c, const json_t *list, const char *keyword, bool exact, js_case **out)
{
    js_case **end = out;
    *out = NULL;
    if (!json_is_array(list) || !json_array_size(list))
        return bad(c, keyword, "is no list of schemas");
    for (size_t i = 0; i < json_array_size(list); i++) {
        js_case *k, *both;
        LMF_TRY(expand(c, json_array_get(list, i), &k));
        for (js_case *x = exact ? *out : NULL; x; x = x->next)
            for (js_case *y = k; y; y = y->next) {
                bool empty = true;
                LMF_TRY(and_case(c, x, y, &both));
                if (both)
                    LMF_TRY(is_empty(c, both, &empty));
                if (!empty)
                    return unsupported(c, keyword, "two of its schemas may hold at once; use anyOf, or tell them apart by a const");
            }
        for (*end = k; *end; end = &(*end)->next)
            ;
    }
    return LMF_OK;
}

static int hex_digit(char c) /* -1: none */
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static const json_t *follow(const json_t *root, const char *p)
{
    char part[256];
    const json_t *at = root;
    while (at && *p == '/') {
        size_t n = 0;
        for (p++; *p && *p != '/'; p++) {
            char c = *p;
            int high = c == '%' ? hex_digit(p[1]) : -1, low = high >= 0 ? hex_digit(p[2]) : -1;
            if (low >= 0)
                c = (char)(16 * high + low), p += 2;
            else if (c == '~' && (p[1] == '0' || p[1] == '1'))
                c = *++p == '0' ? '~' : '/';
            if (n + 1 < sizeof part)
                part[n++] = c;
        }
        part[n] = 0;
        if (json_is_array(at)) {
            size_t i = 0;
            for (size_t k = 0; k < n; k++)
                i = part[k] >= '0' && part[k] <= '9' && i < 100000 ? i * 10 + (size_t)(part[k] - '0') : 1000000;
            at = n ? json_array_get(at, i) : NULL;
        } else {
            at = json_object_getn(at, part, n);
        }
    }
    return *p ? NULL : at;
}

static lmf_status reference(js *c, const json_t *v, js_case **out)
{
    const char *p = json_string_value(v);
    if (!p)
        return bad(c, "$ref", "is no text");
    if (*p != '#')
        return unsupported(c, "$ref", "it leads out of the schema");
    const json_t *to = p[1] && p[1] != '/' ? NULL : follow(c->root, p + 1);
    char plain[100];
    if (!to)
        return LMF_FAIL(c->ctx, LMF_E_FORMAT, "the schema's $ref \"%s\" leads nowhere", lmf_plain_text(p, plain, sizeof plain));
    return expand(c, to, out);
}

static lmf_status types_of(js *c, const json_t *v, unsigned *types)
{
    static const struct { const char *name; unsigned type; } names[] = { { "null", T_NULL }, { "boolean", T_BOOL }, { "number", T_NUMBER },
        { "integer", T_INTEGER }, { "string", T_STRING }, { "array", T_ARRAY }, { "object", T_OBJECT } };
    *types = v ? 0 : T_ALL;
    size_t n = json_is_array(v) ? json_array_size(v) : v != NULL;
    for (size_t i = 0, k; i < n; i++) {
        const char *name = json_string_value(json_is_array(v) ? json_array_get(v, i) : v);
        for (k = 0; k < 7 && (!name || strcmp(name, names[k].name)); k++)
            ;
        if (k == 7)
            return bad(c, "type", "names no type of JSON");
        *types |= names[k].type;
    }
    return v && !n ? bad(c, "type", "is empty") : LMF_OK;
}

static lmf_status count_of(js *c, const json_t *schema, const char *keyword, uint32_t *out)
{
    const json_t *v = json_object_get(schema, keyword);
    double d = json_number_value(v);
    if (!v)
        return LMF_OK;
    if (!json_is_number(v) || d != floor(d) || d < 0)
        return bad(c, keyword, "is no number from 0 up");
    *out = d > 1000000000 ? 1000000000 : (uint32_t)d;
    return LMF_OK;
}

static lmf_status number_case(js *c, const json_t *schema, js_case *k)
{
    static const char *const name[] = { "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum" };
    for (int i = 0; i < 4; i++) {
        const json_t *v = json_object_get(schema, name[i]);
        int order;
        if (!v)
            continue;
        if (!json_is_number(v))
            return bad(c, name[i], "is no number");
        const json_t **at = i < 2 ? &k->low : &k->high;
        if (*at && (!lmf__js_compare(v, *at, &order) || (i < 2 ? order < 0 : order > 0)))
            continue;
        *at = v, *(i < 2 ? &k->above : &k->below) = i & 1;
    }
    const json_t *m = json_object_get(schema, "multipleOf");
    double d = json_number_value(m);
    if (m && (!json_is_number(m) || d <= 0))
        return bad(c, "multipleOf", "is no number above 0");
    if (m && (d != floor(d) || d > 1000000))
        return unsupported(c, "multipleOf", "only whole numbers up to 1,000,000 are");
    k->multiple = m ? (uint32_t)d : 0;
    return LMF_OK;
}

static lmf_status string_case(js *c, const json_t *schema, js_case *k)
{
    const json_t *p = json_object_get(schema, "pattern"), *f = json_object_get(schema, "format");
    gr_ex x;
    LMF_TRY(count_of(c, schema, "minLength", &k->least));
    LMF_TRY(count_of(c, schema, "maxLength", &k->most));
    if (p) {
        if (!json_is_string(p))
            return bad(c, "pattern", "is no text");
        lmf_status s = lmf__gr_regex(c->ctx, c->s, json_string_value(p), json_string_length(p), true, true, &x);
        if (s)
            return lmf_fail_prefix(c->ctx, s, "the schema's keyword \"pattern\"");
        k->text = x, k->has_text = true;
    }
    if (f) {
        if (!json_is_string(f))
            return bad(c, "format", "is no text");
        LMF_TRY(lmf__js_format(c, json_string_value(f), &x));
        k->text = k->has_text ? lmf__gr_and(c->s, k->text, x) : x, k->has_text = true;
    }
    return LMF_OK;
}

static lmf_status array_case(js *c, const json_t *schema, js_case *k)
{
    const json_t *prefix = json_object_get(schema, "prefixItems"), *items = json_object_get(schema, "items");
    LMF_TRY(count_of(c, schema, "minItems", &k->least));
    LMF_TRY(count_of(c, schema, "maxItems", &k->most));
    if (prefix && !json_is_array(prefix))
        return bad(c, "prefixItems", "is no list of schemas");
    if (json_is_array(items))
        return unsupported(c, "items", "a list is called prefixItems since 2020-12");
    if (json_is_true(json_object_get(schema, "uniqueItems")) && k->most > 1)
        return unsupported(c, "uniqueItems", "");
    k->n_prefix = (uint32_t)json_array_size(prefix);
    if (!(k->prefix = lmf_arena_array(&c->arena, k->n_prefix + 1, sizeof *k->prefix)))
        return no_memory(c);
    for (uint32_t i = 0; i < k->n_prefix; i++)
        LMF_TRY(one(c, json_array_get(prefix, i), &k->prefix[i]));
    return items ? one(c, items, &k->rest) : LMF_OK;
}

static lmf_status object_case(js *c, const json_t *schema, js_case *k)
{
    json_t *props = json_object_get(schema, "properties"), *required = json_object_get(schema, "required"), *v;
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *key;
    size_t i;
    LMF_TRY(count_of(c, schema, "minProperties", &k->least));
    LMF_TRY(count_of(c, schema, "maxProperties", &k->most));
    if (props && !json_is_object(props))
        return bad(c, "properties", "is no object");
    if (required && !json_is_array(required))
        return bad(c, "required", "is no list of names");
    k->open = more != NULL;
    if (more)
        LMF_TRY(one(c, more, &k->rest));
    if (!(k->prop = lmf_arena_array(&c->arena, json_object_size(props) + json_array_size(required) + 1, sizeof *k->prop)))
        return no_memory(c);
    json_object_foreach(props, key, v) {
        js_prop *p = &k->prop[k->n_prop++];
        p->name = key, p->n_name = strlen(key);
        LMF_TRY(one(c, v, &p->is));
    }
    json_array_foreach(required, i, v) {
        if (!json_is_string(v))
            return bad(c, "required", "is no list of names");
        js_prop name = { .name = json_string_value(v), .n_name = json_string_length(v), .is = k->rest, .required = true }, *p = find(k,
            &name);
        if (p)
            p->required = true;
        else
            k->prop[k->n_prop++] = name;
    }
    return LMF_OK;
}

static lmf_status typed(js *c, const json_t *schema, js_case **out)
{
    unsigned types;
    js_case **end = out, *k;
    LMF_TRY(types_of(c, json_object_get(schema, "type"), &types));
    types |= types & T_INTEGER ? T_NUMBER | (types & T_NUMBER ? 0 : T_INTEGER << 1) : 0;
    for (int kind = JS_NULL; kind <= JS_OBJECT; kind++) {
        if (!(types >> kind & 1))
            continue;
        if (!(k = new_case(c, (js_kind)kind)))
            return no_memory(c);
        k->integer = kind == JS_NUMBER && types & T_INTEGER << 1;
        if (kind == JS_NUMBER)
            LMF_TRY(number_case(c, schema, k));
        else if (kind == JS_STRING)
            LMF_TRY(string_case(c, schema, k));
        else if (kind == JS_ARRAY)
            LMF_TRY(array_case(c, schema, k));
        else if (kind == JS_OBJECT)
            LMF_TRY(object_case(c, schema, k));
        *end = k, end = &k->next;
    }
    *end = NULL;
    return LMF_OK;
}

static lmf_status values(js *c, const json_t *list, js_case **out)
{
    js_case **end = out;
    size_t n = json_is_array(list) ? json_array_size(list) : 0;
    *out = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!(*end = new_case(c, JS_VALUE)))
            return no_memory(c);
        (*end)->value = json_array_get(list, i), end = &(*end)->next;
    }
    return n ? LMF_OK : bad(c, "enum", "is no list of values");
}

static lmf_status check_keywords(js *c, const json_t *schema)
{
    static const char *const known[] = { "type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems",
        "anyOf",
        "oneOf", "allOf", "$ref", "pattern", "format", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
            "minimum",
        "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "$defs", "definitions",
        "title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly",
            "discriminator" };
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)schema, key, v) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(key, known[i]))
            i++;
        if (i < sizeof known / sizeof *known || (!strcmp(key, "uniqueItems") && json_is_boolean(v)))
            continue;
        return unsupported(c, key, "");
    }
    return LMF_OK;
}

static lmf_status combine(js *c, const json_t *schema, js_case **list)
{
    const json_t *v;
    js_case *more;
    if ((v = json_object_get(schema, "$ref"))) {
        LMF_TRY(reference(c, v, &more));
        LMF_TRY(and_lists(c, *list, more, list));
    }
    if ((v = json_object_get(schema, "allOf"))) {
        if (!json_is_array(v))
            return bad(c, "allOf", "is no list of schemas");
        for (size_t i = 0; i < json_array_size(v); i++) {
            LMF_TRY(expand(c, json_array_get(v, i), &more));
            LMF_TRY(and_lists(c, *list, more, list));
        }
    }
    if ((v = json_object_get(schema, "anyOf"))) {
        LMF_TRY(any_of(c, v, "anyOf", false, &more));
        LMF_TRY(and_lists(c, *list, more, list));
    }
    if ((v = json_object_get(schema, "oneOf"))) {
        LMF_TRY(any_of(c, v, "oneOf", true, &more));
        LMF_TRY(and_lists(c, *list, more, list));
    }
    return LMF_OK;
}

static lmf_status expand(js *c, const json_t *schema, js_case **out)
{
    js_case *list, *more;
    const json_t *v;
    *out = NULL;
    if (json_is_false(schema))
        return LMF_OK;
    if (!json_is_object(schema) && !json_is_true(schema))
        return LMF_FAIL(c->ctx, LMF_E_FORMAT, "a schema is an object, true or false; one in the schema is none of them");
    if (++c->depth > MAX_EXPAND)
        return LMF_FAIL(c->ctx, LMF_E_LIMIT,
            "the schema's $ref, allOf, anyOf and oneOf are nested more than %d deep, or one leads to itself", MAX_EXPAND);
    if (json_is_object(schema))
        LMF_TRY(check_keywords(c, schema));
    LMF_TRY(typed(c, schema, &list));
    if ((v = json_object_get(schema, "enum"))) {
        LMF_TRY(values(c, v, &more));
        LMF_TRY(and_lists(c, more, list, &list));
    }
    if ((v = json_object_get(schema, "const"))) {
        if (!(more = new_case(c, JS_VALUE)))
            return no_memory(c);
        more->value = v;
        LMF_TRY(and_lists(c, more, list, &list));
    }
    LMF_TRY(combine(c, schema, &list));
    c->depth--;
    *out = list;
    return lmf__gr_status(c->s, "the schema");
}

lmf_status lmf__js_cases(js *c, js_all all, js_case **out)
{
    js_case *more;
    *out = NULL;
    if (is_never(all))
        return LMF_OK;
    LMF_TRY(expand(c, all.n ? all.of[0] : json_true(), out));
    for (uint32_t i = 1; i < all.n; i++) {
        LMF_TRY(expand(c, all.of[i], &more));
        LMF_TRY(and_lists(c, *out, more, out));
    }
    return LMF_OK;
}
