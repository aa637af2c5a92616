/* SPDX-License-Identifier: Apache-2.0 */
/* grammar: which tokens may come next, so that an answer is always one of a language: JSON under a schema (2020-12), a GBNF
 * grammar, a regular expression, one of several texts. A grammar is an expression over bytes; the text so far leaves what
 * must still come, again an expression (its derivative), made when it is first asked for and kept. Nothing ever goes back in the text.
 *
 *     LMF_TRY(lmf_grammar_vocab_create(ctx, tokenizer, NULL, 0, &vocab));               // once a model
 *     LMF_TRY(lmf_grammar_compile_json_schema(ctx, vocab, schema, NULL, &g));           // once a request, or kept
 *     LMF_TRY(lmf_matcher_open(g, &m));
 *     LMF_TRY(lmf_matcher_shortest(m, &n_least, NULL));                                 // more than the limit: refuse the request
 *     for (int left = limit; !lmf_matcher_ended(m); left--) {
 *         LMF_TRY(lmf_matcher_mask(m, left, bits));
 *         LMF_TRY(lmf_matcher_accept(m, sample(logits, bits)));
 *     }
 *
 * Promises. A mask allows a token only if text that ends the answer can follow, token by token; control tokens never, but the
 * end of the answer where the text is complete. A byte that no token stands for alone is in no answer. With a limit, what is
 * allowed can still be closed within it.
 * JSON is written as json.dumps does: after ',' and ':' one space or none (lmf_json_space), no other white space. Properties come in the
 * order of the schema, those that it doesn't name last. Strings under a pattern or format, keys and the strings of enum and const
 * spell each character in its shortest form; other strings may use any escape. Numbers are such that an f64 holds them.
 *
 * Schema: what is understood is in schema.c; anything else is refused by its name (LMF_E_UNSUPPORTED), what contradicts itself so
 * that no value is left too. title, description, default, examples, $schema, $id, $comment, deprecated, readOnly and writeOnly say
 * nothing about a value and pass.
 *
 * Owner: a grammar borrows vocab, a matcher its grammar; both must outlive it. Threads: a vocab is constant; a grammar and all its matchers
 * belong to one thread at a time. */
#ifndef LMF_TEXT_GRAMMAR_H
#define LMF_TEXT_GRAMMAR_H
#include <jansson.h>
#include "base/buf.h"
#include "text/tokenizer/tokenizer.h"

enum {
    LMF_GRAMMAR_MAX_BYTES = 1 << 20,   /* of a grammar's text; of all choices together */
    LMF_SCHEMA_MAX_VALUES = 10000, LMF_SCHEMA_MAX_DEPTH = 64,
    LMF_GRAMMAR_MAX_RULES = 4096
};

typedef struct lmf_grammar_vocab lmf_grammar_vocab;
/* end [n_end]: tokens that end an answer; NULL: the tokenizer's eos and eot. The tokenizer must outlive it. */
lmf_status lmf_grammar_vocab_create(lmf_ctx *ctx, const lmf_tokenizer *t, const int32_t *end, size_t n_end, lmf_grammar_vocab **out);
void       lmf_grammar_vocab_destroy(lmf_grammar_vocab *v); /* NULL is fine */

typedef enum lmf_json_space { LMF_JSON_SPACE_OPTIONAL, LMF_JSON_SPACE_NONE, LMF_JSON_SPACE_ONE } lmf_json_space;
typedef struct lmf_grammar_opts {
    size_t         struct_bytes;
    lmf_json_space space;              /* behind ',' and ':' in JSON; default optional */
    size_t         max_bytes;          /* memory of the grammar, what is kept for speed included; default 64 MiB, at least 1 MiB */
    int32_t        max_work;           /* expressions that one call may make; default 200,000 */
    bool           closed;             /* an object whose schema names properties and says nothing of others has no others */
} lmf_grammar_opts;
lmf_grammar_opts lmf_grammar_opts_default(void);

typedef struct lmf_grammar lmf_grammar;
/* LMF_E_UNSUPPORTED: a keyword, value or construct that is not understood, by its name and place. LMF_E_FORMAT: no schema, grammar or
 * expression at all. LMF_E_LIMIT: larger than what is read, or its automaton is. LMF_E_ARG: no text fits it. */
lmf_status lmf_grammar_compile_json_schema(lmf_ctx *ctx, const lmf_grammar_vocab *v, const json_t *schema, const lmf_grammar_opts *opts,
                                           lmf_grammar **out);
/* As llama.cpp's: rules `name ::= ...` with literals, classes, groups, | * + ? {m,n}, comments; begins at root. */
lmf_status lmf_grammar_compile_gbnf(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *text, size_t n, const lmf_grammar_opts *opts,
                                    lmf_grammar **out);
/* The whole answer fits the expression (ECMA's syntax; no look-around, no back references). */
lmf_status lmf_grammar_compile_regex(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *text, size_t n, const lmf_grammar_opts *opts,
                                     lmf_grammar **out);
lmf_status lmf_grammar_compile_choices(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *const *choice, size_t n,
    const lmf_grammar_opts *opts,
                                       lmf_grammar **out);
/* Calls of tools, {"name": one of them, arguments: an object that fits its schema}, one behind another. */
typedef struct lmf_grammar_tool { const char *name; const json_t *schema; } lmf_grammar_tool; /* schema NULL: no arguments */
typedef struct lmf_grammar_calls {
    const char *open, *between, *close;   /* what stands before the first call, between two, behind the last */
    const char *arguments;                /* the key beside "name" */
    const lmf_grammar_tool *tool;
    size_t      n_tools;                  /* 1 or more */
    int32_t     max_calls;                /* 1 or more */
    const json_t *otherwise;              /* the answer may be a value of this schema instead; NULL: it may not */
} lmf_grammar_calls;
lmf_status lmf_grammar_compile_calls(lmf_ctx *ctx, const lmf_grammar_vocab *v, const lmf_grammar_calls *calls, const lmf_grammar_opts *opts,
                                     lmf_grammar **out);
/* It has used up more than half of what it may, or failed: one that is kept for others is better made anew. */
bool       lmf_grammar_is_spent(const lmf_grammar *g);
void       lmf_grammar_destroy(lmf_grammar *g); /* NULL is fine */

typedef struct lmf_matcher lmf_matcher;
lmf_status lmf_matcher_open(lmf_grammar *g, lmf_matcher **out);
void       lmf_matcher_close(lmf_matcher *m);                      /* NULL is fine */
void       lmf_matcher_reset(lmf_matcher *m);                      /* to the start */
void       lmf_matcher_copy(lmf_matcher *m, const lmf_matcher *from); /* of the same grammar */
/* Writes bits [ceil(tokens of the tokenizer / 32)]: bit v % 32 of bits[v / 32] says that token v may come. n_left: tokens that may still be
 * written, the ending one included; negative: no limit. LMF_E_LIMIT: n_left can't hold the shortest end (*bits are all 0), or the
 * automaton has become too large. After the end no bit is set. */
lmf_status lmf_matcher_mask(lmf_matcher *m, int n_left, uint32_t *bits);
/* LMF_E_ARG: the token may not come; nothing has changed. */
lmf_status lmf_matcher_accept(lmf_matcher *m, int32_t id);
/* The same of any bytes: forced text that is not sampled. */
lmf_status lmf_matcher_accept_bytes(lmf_matcher *m, const void *p, size_t n);
bool       lmf_matcher_complete(const lmf_matcher *m);             /* the text so far is an answer */
bool       lmf_matcher_ended(const lmf_matcher *m);                /* and its end was accepted */
bool       lmf_matcher_must_end(const lmf_matcher *m);             /* complete, and nothing but the end may follow */
/* Appends the text that must come, whatever is sampled: nothing where there is a choice, or where the answer may end. */
lmf_status lmf_matcher_forced(lmf_matcher *m, lmf_buf *out);
/* *n_tok: tokens of the shortest text that ends the answer, as the steering would write it, the ending one included; it is appended to text
 * where not NULL. */
lmf_status lmf_matcher_shortest(lmf_matcher *m, int *n_tok, lmf_buf *text);
size_t     lmf_matcher_n_bytes(const lmf_matcher *m);              /* of text accepted so far */

#endif
