/* SPDX-License-Identifier: Apache-2.0 */
/* vocab: the tokens as a tree of bytes, and what of masks no grammar changes. Constant after create. */
#ifndef LMF_TEXT_GRAMMAR_VOCAB_H
#define LMF_TEXT_GRAMMAR_VOCAB_H
#include "text/grammar/expr.h"

enum { GR_MAX_TOKEN = 255, GR_N_ALPHABETS = 3, GR_N_SLICES = 24, GR_N_BOUNDED = 128,
    GR_INT_DIGITS = 18 }; /* any number of these fits into i64 */

typedef struct gr_leaf { int32_t token; uint32_t skip; uint8_t byte, depth; } gr_leaf; /* in depth-first order; skip: behind the subtree */
typedef struct gr_trie { gr_leaf *at; uint32_t n, cap; uint32_t first[257]; } gr_trie;    /* first: subtree of a byte; n: none */
/* Tokens of these bytes alone, by length, and a tree of all others: where any of the bytes may come next, n times, nothing is walked. */
typedef struct gr_alphabet { bool has[256]; uint32_t *slice[GR_N_SLICES + 1]; uint32_t longest; gr_trie rest; } gr_alphabet;

typedef struct gr_exit { const gr_trie *trie; uint32_t at; uint8_t first; } gr_exit; /* first: the byte that tokens there begin with */
/* What a unit allows by itself, whatever comes behind it; behind each exit tokens go on into that. */
typedef struct gr_head { uint32_t *bits; gr_exit *exit; uint32_t n_exit, far; size_t bytes; } gr_head;

struct lmf_grammar_vocab {
    lmf_ctx  *ctx;
    const lmf_tokenizer *tok;
    uint32_t  n_tokens, n_words;
    int32_t  *twin;                     /* [n_tokens] the next token with the same bytes; -1: none */
    int32_t  *end; size_t n_end;
    gr_trie   all;
    gr_alphabet alphabet[GR_N_ALPHABETS];
    gr_store  base;
    gr_head **head; uint32_t n_head;    /* [base.n_node] */
    uint32_t  longest;                  /* token, in characters of a JSON string */
    gr_ex     character, string;        /* JSON's: one of a string, in any form; a string behind its quote */
    gr_ex     plain, key;               /* the same in the shortest form */
    gr_ex     integer, number;
};

struct lmf_grammar {
    lmf_ctx  *ctx;
    const lmf_grammar_vocab *v;
    gr_store  s;
    lmf_grammar_opts opts;
    gr_ex     start;
    struct gr_mask { uint32_t *bits; uint32_t far, n_tok; gr_head *head; bool wide; } *mask; /* [n_mask], by expression */
    uint32_t  n_mask;
    size_t    mask_bytes;
};

void     lmf__gr_set_token(const lmf_grammar_vocab *v, int32_t id, uint32_t *bits);
/* Sets what may come of the subtree [begin, end) of trie from x on; *far: the greatest least length that a token leaves. */
void     lmf__gr_walk(const lmf_grammar_vocab *v, gr_store *s, const gr_trie *trie, uint32_t begin, uint32_t end, gr_ex x, uint32_t *bits,
                      uint32_t *far);
gr_head *lmf__gr_head(const lmf_grammar_vocab *v, gr_store *s, gr_ex x); /* NULL: s->status */
void     lmf__gr_head_free(lmf_ctx *ctx, gr_head *h, uint32_t n_words);
lmf_status lmf__gr_json_base(lmf_grammar_vocab *v);

/* Regular expressions and characters; json: as a JSON string spells them, in the shortest form. */
typedef struct gr_span { uint32_t from, to; } gr_span;
gr_ex lmf__gr_chars(gr_store *s, const gr_span *span, size_t n, bool json); /* any order, may overlap */
/* search: the expression may be found anywhere in the text. */
lmf_status lmf__gr_regex(lmf_ctx *ctx, gr_store *s, const char *text, size_t n, bool json, bool search, gr_ex *out);
lmf_status lmf__gr_status(gr_store *s, const char *what);   /* a sentence for s->status */
lmf_status lmf__gr_grammar_new(lmf_ctx *ctx, const lmf_grammar_vocab *v, const lmf_grammar_opts *opts, lmf_grammar **out);
lmf_status lmf__gr_grammar_done(lmf_grammar *g, gr_ex start, const char *what); /* a text must fit */

#endif
