/* SPDX-License-Identifier: Apache-2.0 */
/* expr: expressions over bytes, each kept once: equal parts have one number, so that an expression is a state of the automaton. The row
 * of an expression says for each byte what must follow (its derivative); it is made when first asked for.
 * A failure is kept in gr_store.status, makers then give GR_NONE: callers look once, at their end. */
#ifndef LMF_TEXT_GRAMMAR_EXPR_H
#define LMF_TEXT_GRAMMAR_EXPR_H
#include "base/arena.h"
#include "text/grammar/grammar.h"

typedef uint32_t gr_ex;
enum { GR_NONE, GR_EMPTY, GR_ALL, GR_FIRST };      /* no text; the empty text; any text */
enum { GR_INF = UINT32_MAX };
#define GR_UNKNOWN (GR_INF - 1)                    /* a least length that is found by search when it is needed */

typedef enum gr_kind { GR_K_NONE, GR_K_EMPTY, GR_K_NOT, GR_K_SET, GR_K_LIT, GR_K_SEQ, GR_K_ALT, GR_K_REP, GR_K_AND, GR_K_CALL, GR_K_LEX,
    GR_K_MOD } gr_kind;

/* SET a: number of the set; LIT a, b: place and length in bytes; SEQ a b, a is no SEQ; ALT a, b: place and number in list; REP a, b to c
 * times; NOT a; AND a b; CALL a: rule; LEX a: a by itself, a unit that masks are kept for; MOD: digits whose number is b mod a so far. */
typedef struct gr_node {
    uint8_t  kind;
    bool     nullable, calls, mixed;               /* mixed: holds AND, NOT or MOD, so some derivatives may have no text */
    uint32_t a, b, c;
    uint32_t least;                                /* bytes of the shortest text; GR_INF: none */
    uint32_t next;                                 /* with the same hash */
    struct gr_row *row;
} gr_node;

typedef struct gr_map {                            /* bytes in classes; each map once */
    uint64_t hash;
    uint8_t  class_of[256];
    uint16_t n;
    uint16_t count[256];                           /* [n] bytes in a class */
    uint8_t  first[256];                           /* [n] the byte that stands for it: printable where one is */
} gr_map;

typedef struct gr_row {
    const gr_map *map;
    bool     live;                                 /* targets without text are GR_NONE */
    int16_t  single;                               /* once live: the one byte whose target is not GR_NONE; -1: several or none */
    uint16_t n_bytes;                              /* once live: with a target */
    gr_ex    target[];                             /* [map->n] */
} gr_row;

typedef struct gr_store {
    lmf_ctx   *ctx;
    lmf_status status;
    uint32_t   max_nodes;                          /* refused beyond */
    size_t     max_bytes;
    gr_node   *node;     uint32_t n_node, cap_node;
    uint32_t  *bucket;   uint32_t n_bucket;        /* power of two */
    char      *byte;     uint32_t n_byte, cap_byte;
    uint32_t (*set)[8];  uint32_t n_set, cap_set;
    gr_ex     *list;     uint32_t n_list, cap_list;
    gr_ex     *rule;     uint32_t n_rule, cap_rule; /* bodies; GR_NONE: not yet */
    uint32_t  *rule_least;
    lmf_arena  rows;
    const gr_map **map;  uint32_t n_map, cap_map;  /* cap_map: power of two, open addressing */
    const gr_map *single_map[256];                 /* class 1: that byte alone */
    uint32_t   depth;                              /* of making rows */
    uint32_t   n_searched;
    bool       has_byte[256];                      /* single tokens */
} gr_store;

void  lmf__gr_init(gr_store *s, lmf_ctx *ctx, size_t max_bytes);
void  lmf__gr_clear(gr_store *s);
/* A store that goes on where base ended: base is constant, its rows are shared, and it must outlive s. */
lmf_status lmf__gr_init_from(gr_store *s, const gr_store *base, lmf_ctx *ctx, size_t max_bytes);
gr_ex lmf__gr_fail(gr_store *s, lmf_status status); /* returns GR_NONE */
uint32_t lmf__gr_least_of(const gr_store *s, const gr_node *n); /* from its parts */
gr_ex lmf__gr_lit_rest(gr_store *s, gr_ex x);               /* a literal behind its first byte */

gr_ex lmf__gr_set(gr_store *s, const uint32_t set[8]);
gr_ex lmf__gr_range(gr_store *s, int from, int to);
gr_ex lmf__gr_lit(gr_store *s, const char *p, size_t n);
gr_ex lmf__gr_str(gr_store *s, const char *p);
gr_ex lmf__gr_seq(gr_store *s, gr_ex a, gr_ex b);
gr_ex lmf__gr_alt(gr_store *s, gr_ex *x, size_t n);         /* x is changed */
gr_ex lmf__gr_or(gr_store *s, gr_ex a, gr_ex b);
gr_ex lmf__gr_rep(gr_store *s, gr_ex a, uint32_t least, uint32_t most);
gr_ex lmf__gr_opt(gr_store *s, gr_ex a);
gr_ex lmf__gr_and(gr_store *s, gr_ex a, gr_ex b);
gr_ex lmf__gr_not(gr_store *s, gr_ex a);
gr_ex lmf__gr_lex(gr_store *s, gr_ex a);
gr_ex lmf__gr_mod(gr_store *s, uint32_t k, uint32_t rest);
gr_ex lmf__gr_call(gr_store *s, uint32_t rule, bool nullable);
uint32_t lmf__gr_rule(gr_store *s);                         /* a new one, its body still to be set */
gr_ex lmf__gr_words(gr_store *s, const char *const *word, const size_t *n_word, size_t n); /* any of them; sorted inside */

/* Least lengths through rules; refuses a rule that begins with itself (name(arg, rule) for the sentence). first: nodes before have none. */
lmf_status lmf__gr_finish_rules(gr_store *s, uint32_t first_node, uint32_t first_rule, const char *(*name)(void *arg, uint32_t rule),
    void *arg);

const gr_row *lmf__gr_row(gr_store *s, gr_ex x);            /* live; NULL: s->status */
uint32_t lmf__gr_least(gr_store *s, gr_ex x);
static inline gr_ex lmf__gr_step(const gr_row *r, uint8_t b) { return r->target[r->map->class_of[b]]; }

#endif
