/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an answer is one JSON value that a schema (2020-12) allows, white space around it aside. What is understood is the table below;
 * any other keyword is refused by its name, for an answer that fits half a schema fits none. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "verify/tool_call.h"
#include "verify/verify.h"

enum { MAX_DEPTH = 128, MAX_SCHEMA = 1 << 20 };

typedef struct judge { lmf_ctx *ctx; const json_t *root; lmf_status status; } judge;

static bool fits(judge *j, const json_t *schema, const json_t *v, int depth);

static bool refuse(judge *j, lmf_status s, const char *what, const char *name)
{
    if (!j->status)
        j->status = LMF_FAIL(j->ctx, s, "the schema %s \"%.100s\"", what, name);
    return false;
}

/* ---- keywords: of a schema that is an object ---- */
static bool is_type(const json_t *v, const char *name)
{
    double x = json_number_value(v);
    return strcmp(name, "integer") == 0  ? json_is_integer(v) || (json_is_real(v) && x == floor(x))
         : strcmp(name, "number") == 0   ? json_is_number(v)
         : strcmp(name, "string") == 0   ? json_is_string(v)
         : strcmp(name, "object") == 0   ? json_is_object(v)
         : strcmp(name, "array") == 0    ? json_is_array(v)
         : strcmp(name, "boolean") == 0  ? json_is_boolean(v)
         : strcmp(name, "null") == 0 && json_is_null(v);
}

static bool type(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s, (void)depth;
    if (json_is_string(k))
        return is_type(v, json_string_value(k));
    if (!json_is_array(k))
        return refuse(j, LMF_E_FORMAT, "has a value that is none of", "type");
    for (size_t i = 0; i < json_array_size(k); i++)
        if (json_is_string(json_array_get(k, i)) && is_type(v, json_string_value(json_array_get(k, i))))
            return true;
    return false;
}

static bool in_enum(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)j, (void)s, (void)depth;
    for (size_t i = 0; i < json_array_size(k); i++)
        if (lmf_json_is_equal(json_array_get(k, i), v))
            return true;
    return false;
}

static bool is_const(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)j, (void)s, (void)depth;
    return lmf_json_is_equal(k, v);
}

static bool properties(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    const char *name;
    json_t *part;
    (void)s;
    json_object_foreach((json_t *)(uintptr_t)k, name, part)
        if (json_is_object(v) && json_object_get(v, name) && !fits(j, part, json_object_get(v, name), depth))
            return false;
    return true;
}

static bool additional(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    const char *name;
    json_t *part;
    if (json_is_object(v))
        json_object_foreach((json_t *)(uintptr_t)v, name, part)
            if (!json_object_get(json_object_get(s, "properties"), name) && !fits(j, k, part, depth))
                return false;
    return true;
}

static bool required(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)j, (void)s, (void)depth;
    for (size_t i = 0; json_is_object(v) && i < json_array_size(k); i++)
        if (json_is_string(json_array_get(k, i)) && !json_object_get(v, json_string_value(json_array_get(k, i))))
            return false;
    return true;
}

static bool prefix_items(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s;
    for (size_t i = 0; i < json_array_size(v) && i < json_array_size(k); i++)
        if (!fits(j, json_array_get(k, i), json_array_get(v, i), depth))
            return false;
    return true;
}

static bool items(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    for (size_t i = json_array_size(json_object_get(s, "prefixItems")); i < json_array_size(v); i++)
        if (!fits(j, k, json_array_get(v, i), depth))
            return false;
    return true;
}

static double length_of(const json_t *v)
{
    double n = 0;
    for (size_t i = 0; i < json_string_length(v); i++) /* characters, not bytes */
        n += (json_string_value(v)[i] & 0xc0) != 0x80;
    return n;
}
#define BOUND(name, holds, what, compare) \
    static bool name(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth) \
    { \
        (void)j, (void)s, (void)depth; \
        return !(holds) || (what) compare json_number_value(k); \
    }
BOUND(min_items, json_is_array(v), (double)json_array_size(v), >=)
BOUND(max_items, json_is_array(v), (double)json_array_size(v), <=)
BOUND(min_length, json_is_string(v), length_of(v), >=)
BOUND(max_length, json_is_string(v), length_of(v), <=)
BOUND(min_properties, json_is_object(v), (double)json_object_size(v), >=)
BOUND(max_properties, json_is_object(v), (double)json_object_size(v), <=)
BOUND(minimum, json_is_number(v), json_number_value(v), >=)
BOUND(maximum, json_is_number(v), json_number_value(v), <=)
BOUND(above, json_is_number(v), json_number_value(v), >)
BOUND(below, json_is_number(v), json_number_value(v), <)

static bool multiple_of(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)j, (void)s, (void)depth;
    double n = json_number_value(v) / json_number_value(k);
    return !json_is_number(v) || n == floor(n);
}

static int count_fits(judge *j, const json_t *list, const json_t *v, int depth)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(list); i++)
        n += fits(j, json_array_get(list, i), v, depth);
    return n;
}
static bool all_of(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s;
    return (size_t)count_fits(j, k, v, depth) == json_array_size(k);
}
static bool any_of(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s;
    return count_fits(j, k, v, depth) > 0;
}
static bool one_of(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s;
    return count_fits(j, k, v, depth) == 1;
}
static bool is_not(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    (void)s;
    return !fits(j, k, v, depth);
}

/* "#" and "#/a/b" inside the schema; no escapes but those of the pointer, which no name here needs. */
static bool ref(judge *j, const json_t *s, const json_t *k, const json_t *v, int depth)
{
    const char *p = json_string_value(k);
    const json_t *at = j->root;
    (void)s;
    if (!p || p[0] != '#' || (p[1] && p[1] != '/') || strpbrk(p, "~%"))
        return refuse(j, LMF_E_UNSUPPORTED, "has a $ref that leads elsewhere,", p ? p : "");
    for (p++; at && *p == '/';) {
        size_t n = strcspn(++p, "/");
        at = json_object_getn(at, p, n);
        p += n;
    }
    return at ? fits(j, at, v, depth) : refuse(j, LMF_E_FORMAT, "has a $ref to what is not there,", json_string_value(k));
}

typedef struct keyword { const char *name; bool (*holds)(judge *, const json_t *, const json_t *, const json_t *, int); } keyword;
static const keyword keywords[] = {
    { "type", type }, { "enum", in_enum }, { "const", is_const }, { "properties", properties }, { "additionalProperties", additional },
    { "required", required }, { "prefixItems", prefix_items }, { "items", items }, { "minItems", min_items }, { "maxItems", max_items },
    { "minLength", min_length }, { "maxLength", max_length }, { "minProperties", min_properties }, { "maxProperties", max_properties },
    { "minimum", minimum }, { "maximum", maximum }, { "exclusiveMinimum", above }, { "exclusiveMaximum", below },
    { "multipleOf", multiple_of }, { "allOf", all_of }, { "anyOf", any_of }, { "oneOf", one_of }, { "not", is_not }, { "$ref", ref },
    /* say nothing about a value */
    { "title", NULL }, { "description", NULL }, { "default", NULL }, { "examples", NULL }, { "$schema", NULL }, { "$id", NULL },
    { "$comment", NULL }, { "$defs", NULL }, { "definitions", NULL }, { "deprecated", NULL }, { "readOnly", NULL }, { "writeOnly", NULL },
};

static const keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}

static bool fits(judge *j, const json_t *schema, const json_t *v, int depth)
{
    const char *name;
    json_t *k;
    bool all = true;
    if (depth > MAX_DEPTH)
        return refuse(j, LMF_E_LIMIT, "goes deeper than is followed, by a $ref or", "properties");
    if (json_is_boolean(schema))
        return json_is_true(schema);
    if (!json_is_object(schema))
        return refuse(j, LMF_E_FORMAT, "has in a place of a schema no object, true or false:", "value");
    /* each is looked at: one that is not understood is said whatever the others */
    json_object_foreach((json_t *)(uintptr_t)schema, name, k) {
        const keyword *w = find_keyword(name);
        if (!w)
            return refuse(j, LMF_E_UNSUPPORTED, "has a keyword that is not understood:", name);
        all = (!w->holds || w->holds(j, schema, k, v, depth + 1)) && all;
    }
    return all && !j->status;
}

/* ---- as a verifier ---- */
static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    json_t *schema = state ? json_incref(state) : json_incref(json_object_get(in->row, "schema"));
    if (json_is_string(schema)) { /* JSON in a text, as columns of tables hold it */
        json_t *inner = json_loads(json_string_value(schema), JSON_DECODE_ANY, NULL);
        json_decref(schema);
        schema = inner;
    }
    if (!schema)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row has no \"schema\", and no file is given: json_schema:FILE");
    judge j = { .ctx = ctx, .root = schema };
    json_t *v = json_loadb(in->text, in->n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    *out = fits(&j, schema, v ? v : json_null(), 0) && v; /* an answer that is no JSON: the schema is read all the same */
    json_decref(v);
    json_decref(schema);
    return j.status;
}

static lmf_status open_schema(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    char *text;
    size_t n;
    json_error_t e;
    (void)opts;
    if (!argument)
        return LMF_OK;
    lmf_status s = lmf_file_read(ctx, argument, MAX_SCHEMA, &text, &n);
    if (s)
        return lmf_fail_prefix(ctx, s, "json_schema");
    json_t *schema = json_loadb(text, n, 0, &e);
    lmf_free(ctx, text, n + 1);
    if (!schema)
        return LMF_FAIL(ctx, LMF_E_ARG, "json_schema: %.200s, line %d: %.200s", argument, e.line, e.text);
    judge j = { .ctx = ctx, .root = schema };
    fits(&j, schema, json_null(), 0); /* what is not understood is said before anything is sampled, as far as this leads */
    if (j.status)
        json_decref(schema);
    else
        *state = schema;
    return j.status;
}

static void close_schema(lmf_ctx *ctx, void *state)
{
    (void)ctx;
    json_decref(state);
}

const lmf_verifier lmf_verifier_json_schema = { .name = "json_schema", .summary = "1 where the answer is JSON that the schema allows",
    .argument = "a file with the schema; without one it is the row's \"schema\"", .open = open_schema,
    .close = close_schema, .score = score };
