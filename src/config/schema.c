/* SPDX-License-Identifier: Apache-2.0 */
#include "config/schema.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *choices_of(const char *text)
{
    json_t *list = json_array();
    for (size_t n; *text; text += n + (text[n] == '|')) {
        n = strcspn(text, "|");
        json_array_append_new(list, json_stringn(text, n));
    }
    return list;
}

/* The default as its type has it. */
static json_t *default_of(const lmf_flag *f)
{
    const char *text = f->fallback;
    char *end;
    if (f->kind == LMF_FLAG_BOOL)
        return json_boolean(text && !strcmp(text, "true"));
    if (!text || f->late)
        return NULL;
    if (f->kind == LMF_FLAG_INT)
        return json_integer(strtoll(text, &end, 10));
    return f->kind == LMF_FLAG_DOUBLE ? json_real(strtod(text, &end)) : json_string(text);
}

static json_t *property(const lmf_flag *f)
{
    static const char *const types[] = { [LMF_FLAG_BOOL] = "boolean", [LMF_FLAG_INT] = "integer", [LMF_FLAG_DOUBLE] = "number",
                                         [LMF_FLAG_STRING] = "string", [LMF_FLAG_CHOICE] = "string", [LMF_FLAG_LIST] = "array" };
    json_t *p = json_pack("{s:s}", "type", types[f->kind]), *value = default_of(f);
    if (f->kind == LMF_FLAG_LIST) { /* one alone may stand without its brackets */
        json_object_set_new(p, "type", json_pack("[s, s]", "array", "string"));
        json_object_set_new(p, "items", json_pack("{s:s}", "type", "string"));
    }
    if (f->kind == LMF_FLAG_CHOICE && f->choices)
        json_object_set_new(p, "enum", choices_of(f->choices));
    bool ranged = (f->kind == LMF_FLAG_INT || f->kind == LMF_FLAG_DOUBLE) && (f->lo != 0 || f->hi != 0);
    if (ranged) {
        bool whole = f->kind == LMF_FLAG_INT;
        json_object_set_new(p, "minimum", whole ? json_integer((json_int_t)f->lo) : json_real(f->lo));
        json_object_set_new(p, "maximum", whole ? json_integer((json_int_t)f->hi) : json_real(f->hi));
    }
    if (value)
        json_object_set_new(p, "default", value);
    if (f->help)
        json_object_set_new(p, "description", json_string(f->help));
    return p;
}

json_t *lmf_config_schema(const char *title, const lmf_flag *fields)
{
    json_t *properties = json_object(), *required = json_array();
    for (const lmf_flag *f = fields; f->name; f++) {
        char name[64];
        size_t n = strlen(f->name);
        if (f->line_only || n >= sizeof name)
            continue;
        for (size_t i = 0; i <= n; i++)
            name[i] = f->name[i] == '-' ? '_' : f->name[i];
        json_object_set_new(properties, name, property(f));
        if (f->required)
            json_array_append_new(required, json_string(name));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:b}", "$schema", "https://json-schema.org/draft/2020-12/schema", "title", title, "type",
                     "object",
                     "properties", properties, "required", required, "additionalProperties", 0);
}
