/* SPDX-License-Identifier: Apache-2.0 */
/* template: chat templates. An interpreter for the part of Jinja2 that chat templates are written in, giving the
 * same bytes as jinja2 3.1.6 under Hugging Face's settings (immutable sandbox, trim_blocks, lstrip_blocks, loop
 * controls, generation blocks, their tojson). A template is untrusted code: it sees the variables given and
 * nothing else (no file, environment, clock or process), and ends within its budgets.
 *
 * Owner: the caller destroys what parse made; variables are read, never kept or changed.
 * Threads: a parsed template is immutable; several threads may render it, each into its own buffer.
 *
 *     lmf_template *t;
 *     LMF_TRY(lmf_template_parse(ctx, source, n, &t));
 *     lmf_buf text;
 *     lmf_buf_init(&text, ctx, 1 << 22);
 *     lmf_template_opts opts = lmf_template_opts_default();
 *     lmf_status s = lmf_template_render(t, vars, &opts, &text, NULL); // {"messages": [...], ...}
 *     lmf_template_destroy(t);
 *
 * Not there: template inheritance, include, import, recursive loops, integers past 64 bits, and the filters
 * groupby, pprint, random, urlize, urlencode, xmlattr, wordwrap, filesizeformat, striptags; each is refused. */
#ifndef LMF_TEXT_TEMPLATE_H
#define LMF_TEXT_TEMPLATE_H
#include <jansson.h>
#include "base/buf.h"

typedef struct lmf_template lmf_template;

typedef struct lmf_span { size_t begin, end; } lmf_span; /* bytes of the output, end excluded */

typedef struct lmf_span_list { /* the caller's storage; render appends */
    lmf_ctx  *ctx;
    lmf_span *items;
    size_t    n, cap;
} lmf_span_list;

void lmf_span_list_init(lmf_span_list *list, lmf_ctx *ctx);
void lmf_span_list_clear(lmf_span_list *list);

typedef struct lmf_template_opts {
    uint64_t max_steps;  /* evaluated nodes, plus one for each 64 bytes or 8 items handled; default 1,000,000 */
    int      max_depth;  /* nesting of blocks, expressions and macro calls together; default 400, at most 2,000 */
    size_t   max_output; /* bytes, what macros and set blocks hold back included; default 4 MiB */
    size_t   max_memory; /* bytes of values; default 64 MiB */
    int64_t  now_unix;   /* seconds since 1970, UTC: what strftime_now() shows; default 0 */
} lmf_template_opts;

lmf_template_opts lmf_template_opts_default(void);

/* Integers past 64 bits, which jansson can't hold: a string in vars that begins so and goes on with a decimal number stands for that
 * number. It is shown, compared with itself and written by tojson as Python would; computing with it is refused. */
#define LMF_TEMPLATE_BIG "\xf4\x8f\xbf\xbe"

/* source: UTF-8, at most 1 MiB. Refuses with the template's line: LMF_E_FORMAT for a syntax error, LMF_E_LIMIT for
 * too deep nesting, LMF_E_UNSUPPORTED for a construct that is not there. */
lmf_status lmf_template_parse(lmf_ctx *ctx, const char *source, size_t n, lmf_template **out);
void       lmf_template_destroy(lmf_template *t); /* NULL is fine */

/* Appends the text to out. vars: a JSON object, whose keys are the template's variables. opts NULL: the defaults.
 * spans, optional: where the output of {% generation %} blocks lies in out, in the order in which they end.
 * On failure out holds what it held before. LMF_E_ARG: the template raised an exception, its own (the sentence holds
 * its words) or a type error; LMF_E_LIMIT: a budget is spent; LMF_E_UNSUPPORTED as above. */
lmf_status lmf_template_render(const lmf_template *t, const json_t *vars, const lmf_template_opts *opts, lmf_buf *out, lmf_span_list *spans);

#endif
