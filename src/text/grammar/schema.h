/* SPDX-License-Identifier: Apache-2.0 */
/* schema: what schema.c (what a schema allows, as a sum of cases of one type each) and emit.c (cases as expressions) share. */
#ifndef LMF_TEXT_GRAMMAR_SCHEMA_H
#define LMF_TEXT_GRAMMAR_SCHEMA_H
#include "text/grammar/vocab.h"

typedef struct js_all { const json_t **of; uint32_t n; } js_all;  /* schemas that hold all at once, by address; none: anything */
typedef struct js_prop { const char *name; size_t n_name; js_all is; bool required; } js_prop;
typedef enum js_kind { JS_NULL, JS_BOOL, JS_NUMBER, JS_STRING, JS_ARRAY, JS_OBJECT, JS_VALUE } js_kind;

typedef struct js_case {
    js_kind  kind;
    struct js_case *next;
    const json_t *value;                           /* VALUE: just that */
    bool     integer, has_text, above, below;      /* NUMBER: above, below: the bound itself is none of them; STRING: text counts */
    const json_t *low, *high;                      /* NUMBER: bounds; NULL: none */
    uint32_t multiple;                             /* NUMBER: 0: of anything */
    gr_ex    text;                                 /* STRING: pattern and format, between the quotes */
    uint32_t least, most;                          /* characters, items, properties; GR_INF: no bound */
    js_all  *prefix; uint32_t n_prefix;            /* ARRAY */
    js_all   rest;                                 /* ARRAY: items; OBJECT: properties without a name here */
    js_prop *prop;   uint32_t n_prop;              /* OBJECT, in their order */
    bool     open;                                 /* OBJECT: additionalProperties was said */
} js_case;

typedef struct js {
    lmf_ctx     *ctx;
    lmf_grammar *g;
    gr_store    *s;
    const json_t *root;
    lmf_arena    arena;
    int          depth;
    uint32_t     n_case;
    js_all      *rule; uint32_t n_rule, cap_rule, first_rule; /* rule first_rule + i allows what rule[i] does */
    gr_ex        comma, colon;
} js;

lmf_status lmf__js_cases(js *c, js_all all, js_case **out);
lmf_status lmf__js_all(js *c, const json_t *const *schema, uint32_t n, js_all *out); /* all n at once */
lmf_status lmf__js_format(js *c, const char *name, gr_ex *out);
lmf_status lmf__js_emit(js *c, const js_case *k, gr_ex *out);
lmf_status lmf__js_rule(js *c, js_all all, gr_ex *call);  /* the rule of all, a new one where it is not there yet */
lmf_status lmf__js_number(js *c, const js_case *k, gr_ex *out);
lmf_status lmf__js_number_text(js *c, const json_t *v, char *text, size_t n);
lmf_status lmf__js_quote(js *c, const char *p, size_t n, lmf_buf *out); /* a JSON string in its shortest form, without quotes */
/* What holds under all n schemas; $ref looks into the first. Rules are made and not finished. *n_values: counted on, up to a limit. */
lmf_status lmf__js_schema(lmf_grammar *g, const json_t *const *schema, uint32_t n, size_t *n_values, gr_ex *out);
gr_ex lmf__js_mark(lmf_grammar *g, const char *mark);                    /* "," or ":" and the white space behind it */
/* The end of each compilation; a failure destroys *g. */
lmf_status lmf__js_done(lmf_grammar **g, lmf_status status, uint32_t first_node, uint32_t first_rule, gr_ex start);
bool lmf__js_compare(const json_t *a, const json_t *b, int *order);      /* numbers; false: no numbers */

#endif
