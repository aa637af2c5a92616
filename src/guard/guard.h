/* SPDX-License-Identifier: Apache-2.0 */
/* guard: personal data and secrets in a text: where they are, what they are, and the text without them. Text in, findings out; no model.
 * A recognizer is one file in recognizers/; entities have Presidio's names. Time is linear in the text: every match is bounded, nothing
 * goes back. What begins first is found, of two that begin together the surer one, then the longer one; what overlaps it is not.
 *
 *     lmf_guard_policy p;
 *     lmf_guard_policy_init(&p);                              // every entity, replaced by <ENTITY>
 *     LMF_TRY(lmf_guard_policy_set(ctx, &p, "CREDIT_CARD", "block"));
 *     lmf_guard_open(&stream, ctx, &p);
 *     s = lmf_guard_push(&stream, text, n, true, &out);       // or piece by piece
 *     lmf_guard_close(&stream);
 *
 * Owner: policies are plain values. Threads: any number at once; a stream, one at a time. */
#ifndef LMF_GUARD_GUARD_H
#define LMF_GUARD_GUARD_H
#include "base/buf.h"

/* A text that may go on behind its n bytes. Whoever looks past the end of one that does is undecided, not wrong. */
typedef struct lmf_guard_text {
    const char *s;
    size_t n;
    bool whole, undecided;
    const char *failed;                          /* set by a recognizer that can't tell: why. Then nothing is let through */
} lmf_guard_text;
static inline int lmf_guard_at(lmf_guard_text *t, size_t i)             /* a byte, or -1: the end */
{
    if (i < t->n)
        return (unsigned char)t->s[i];
    t->undecided |= !t->whole;
    return -1;
}

typedef struct lmf_match { size_t n; float score; } lmf_match;          /* n 0: nothing begins here */

typedef struct lmf_recognizer {
    const char *entity;                          /* "EMAIL_ADDRESS" */
    const char *help;                            /* what is found, and what proves it */
    const char *starts;                          /* bytes that it begins with, as a set: "0-9+(" */
    const char *const *context;                  /* words before it, of whose presence the score rises; NULL: none */
    lmf_match (*match)(lmf_guard_text *t, size_t at); /* t->s[at] is in starts, and no letter or digit stands before it */
} lmf_recognizer;

enum { LMF_GUARD_MAX_ENTITIES = 64, LMF_GUARD_LONGEST = 4096, /* bytes of a match */
       LMF_GUARD_PHRASE = LMF_GUARD_MAX_ENTITIES - 1, /* the entity of a policy's own phrases */
       LMF_GUARD_MAX_PHRASES = 64, LMF_GUARD_PHRASE_BYTES = 128,
       LMF_GUARD_CONTEXT = 48 };                 /* bytes before a match in which words of its context count */

typedef enum lmf_guard_operator {
    LMF_GUARD_REPLACE,                           /* <ENTITY> */
    LMF_GUARD_REDACT,                            /* nothing in its place */
    LMF_GUARD_MASK,                              /* a * a character */
    LMF_GUARD_HASH,                              /* SHA-256 of salt and text, in hexadecimal */
    LMF_GUARD_ENCRYPT,                           /* <ENTITY:...>, which lmf_guard_restore turns back with the same key */
    LMF_GUARD_KEEP,                              /* found and told of, not touched */
    LMF_GUARD_BLOCK,                             /* the text is not let through */
    LMF_GUARD_IGNORE                             /* not looked for */
} lmf_guard_operator;

typedef struct lmf_guard_policy {
    float   threshold;                           /* 0 to 1: below that a match is none; 0.5 */
    uint8_t by[LMF_GUARD_MAX_ENTITIES];          /* an operator an entity, in the order of ctx->tables->recognizers */
    char    name[64];                            /* what the policy is called; "": it has no name */
    char    salt[128];                           /* of hash */
    char    key[128];                            /* of encrypt; "": there is none */
    char    phrase[LMF_GUARD_MAX_PHRASES][LMF_GUARD_PHRASE_BYTES]; /* found as the entity BLOCKED_PHRASE: whole words, ASCII letters in
                                                    either case, white space of any length */
    int32_t n_phrases;
    int64_t max_prompt_tok, max_answer_tok;      /* of a request that the server answers; 0: as many as fit */
} lmf_guard_policy;

void lmf_guard_policy_init(lmf_guard_policy *p);
/* entity: a name, or "DEFAULT": all. LMF_E_ARG: no such entity or operator, with those that are. */
lmf_status lmf_guard_policy_set(lmf_ctx *ctx, lmf_guard_policy *p, const char *entity, const char *op);
/* A text that is found as BLOCKED_PHRASE; what becomes of it is block where the policy says nothing of that entity. LMF_E_ARG: it begins
 * or ends with white space, is empty or too long; LMF_E_LIMIT: there are LMF_GUARD_MAX_PHRASES. */
lmf_status lmf_guard_policy_add_phrase(lmf_ctx *ctx, lmf_guard_policy *p, const char *phrase);
/* LMF_E_ARG: an operator that wants a key or a salt has none. */
lmf_status lmf_guard_policy_check(lmf_ctx *ctx, const lmf_guard_policy *p);
const char *lmf_guard_operator_name(lmf_guard_operator op);
const char *lmf_guard_entity_name(const lmf_ctx *ctx, int entity);
int lmf_guard_n_entities(const lmf_ctx *ctx);

typedef struct lmf_finding {
    size_t begin, end;                           /* bytes from the text's beginning, of a stream from its own */
    float  score;
    int    entity;                               /* index in ctx->tables->recognizers */
} lmf_finding;

/* ---- a text, or a stream of pieces: the same findings however it is cut ---- */
typedef struct lmf_guard_stream {
    lmf_ctx *ctx;
    const lmf_guard_policy *policy;
    uint64_t begins[256];                        /* by a byte: a bit a recognizer that may begin with it */
    lmf_buf  held;                               /* context that has gone out, then what is not decided */
    size_t   seen;                               /* bytes of held that have gone out */
    size_t   base;                               /* where held begins in the stream */
    int64_t  n_found[LMF_GUARD_MAX_ENTITIES];
    bool     blocked;                            /* an entity that is to be blocked was met: nothing goes out from it on */
    int      blocked_by;                         /* which */
    lmf_status status;                           /* a failure: nothing goes out from it on */
    void   (*found)(void *user, const lmf_finding *f, const char *text, size_t n); /* or NULL: nobody is told */
    void    *user;
} lmf_guard_stream;

void       lmf_guard_open(lmf_guard_stream *s, lmf_ctx *ctx, const lmf_guard_policy *p); /* p stays */
/* Appends to out what is certain by now, as the policy wants it. last: nothing follows. LMF_E_LIMIT: out is full; LMF_E_INTERNAL: a
 * recognizer failed. Behind a failure each push fails, and what was not out stays in. */
lmf_status lmf_guard_push(lmf_guard_stream *s, const char *text, size_t n, bool last, lmf_buf *out);
void       lmf_guard_close(lmf_guard_stream *s);

/* Turns what encrypt wrote back. LMF_E_ARG: the policy has no key; LMF_E_FORMAT: a mark that this key did not write, with its place. */
lmf_status lmf_guard_restore(lmf_ctx *ctx, const lmf_guard_policy *p, const char *text, size_t n, lmf_buf *out);

#endif
