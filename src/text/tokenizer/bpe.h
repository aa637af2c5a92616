/* SPDX-License-Identifier: Apache-2.0 */
/* bpe: byte-pair encoding. A word starts as one token a byte; the pair of neighbours whose merge stands first
 * in the list becomes one token, the leftmost of equals, until no pair has a merge.
 * SentencePiece's kind starts with one token a character, the bytes of one that is no token as tokens of their own, and may go by
 * scores: any two neighbours that are a token together are a merge, the token with the greatest score first.
 * Most words of a text are tokens that their own merges lead to; which, is found out once a token and kept.
 * Owner: tokenizer.c. Threads: after init only `whole` changes, by relaxed atomics (two threads find out the same). */
#ifndef LMF_TEXT_BPE_H
#define LMF_TEXT_BPE_H
#include <stdatomic.h>
#include "text/tokenizer/tokenizer.h"

typedef struct lmf__bpe_slot { uint32_t hash, id1; } lmf__bpe_slot;                /* id1: id + 1, 0 is free */
typedef struct lmf__bpe_merge { uint64_t pair; uint32_t rank, id1; } lmf__bpe_merge; /* pair: left << 32 | right */

typedef struct lmf_bpe {
    lmf_ctx         *ctx;
    size_t           n_tokens;
    uint32_t        *begin;         /* [n_tokens + 1] into bytes: token i is bytes[begin[i], begin[i+1]) */
    uint8_t         *bytes;         /* [n_bytes] */
    size_t           n_bytes;
    uint8_t         *kind;          /* [n_tokens] */
    _Atomic uint8_t *whole;         /* [n_tokens] do a token's merges lead to it: 0 not known, 1 yes, 2 no */
    lmf__bpe_slot   *words;         /* bytes to id: tokens that merges may give */
    size_t           n_words;       /* slots, a power of two */
    lmf__bpe_merge  *merges;
    size_t           n_merges;      /* slots */
    int32_t          byte_id[256];  /* -1: that byte has no token */
    bool             literal;       /* tokens are spelled as they are, and none merge: WordPiece's */
    bool             spaced;        /* characters, not bytes; a space in `bytes` is U+2581 in the vocabulary */
    uint32_t        *rank;          /* [n_tokens] by scores: least merges first; NULL: by the list */
    int32_t          ascii_id[128]; /* tokens of one character that is ASCII, -1: none */
    int32_t          unk;           /* of a character without token and bytes; -1: it is left out */
    bool             fuse_unk;      /* such characters in a row are one */
    bool             can_cut;       /* a word may end before a space: but for a byte before it in `bridge`, no token lies across */
    bool             bridge[256];
    bool             whole_words;   /* a word that is a token is that token */
} lmf_bpe;

/* Zeroed storage. On failure the caller still clears. */
lmf_status lmf__bpe_init(lmf_bpe *b, lmf_ctx *ctx, const lmf_vocab *v);
void       lmf__bpe_clear(lmf_bpe *b);
/* spaced: where text[from, to) may be parted without any merge lying across, the first place behind from; to: nowhere. */
size_t     lmf__bpe_cut(const lmf_bpe *b, const uint8_t *text, size_t from, size_t to);
/* Appends the tokens of one word, n > 0. */
lmf_status lmf__bpe_word(const lmf_bpe *b, const uint8_t *word, size_t n, lmf_ids *ids);
uint32_t   lmf__bpe_rank(const lmf_bpe *b, int32_t left, int32_t right);           /* of their merge, the least first; UINT32_MAX: none */
const lmf_bpe *lmf__tokenizer_bpe(const lmf_tokenizer *t);
int32_t    lmf__bpe_find(const lmf_bpe *b, const uint8_t *word, size_t n);         /* -1: not a word */

#endif
