/* SPDX-License-Identifier: Apache-2.0 */
/* wordpiece: BERT's way from words to tokens. A word is a run of characters between white space and punctuation; a punctuation
 * character is a word of its own. The longest token that begins a word is its first piece, the longest one with the prefix ("##") that
 * begins what is left the next; a word whose rest no token begins, or of more than max_chars characters, is the unknown token as a whole.
 * Devlin et al. 2018, arXiv 1810.04805; HF tokenizers' BertPreTokenizer and WordPiece.
 * Owner: tokenizer.c. Threads: constant after init. */
#ifndef LMF_TEXT_WORDPIECE_H
#define LMF_TEXT_WORDPIECE_H
#include "text/tokenizer/bpe.h"

enum { LMF_WORDPIECE_MAX_PREFIX = 32, LMF_WORDPIECE_MAX_CHARS = 1000 };

typedef struct lmf_wordpiece {
    uint8_t prefix[LMF_WORDPIECE_MAX_PREFIX];
    size_t  n_prefix, max_chars;
    size_t  longest;          /* bytes of the longest token */
    int32_t unk;
} lmf_wordpiece;

/* b: an initialized table with literal tokens. LMF_E_FORMAT: no unknown token, no prefix, merges; LMF_E_UNSUPPORTED: a longer prefix
 * or longer words than the above. */
lmf_status lmf__wordpiece_init(lmf_wordpiece *w, lmf_ctx *ctx, const lmf_vocab *v, const lmf_bpe *b);
/* Appends the tokens of text, in time linear in n for the longest token of a vocabulary. */
lmf_status lmf__wordpiece_text(const lmf_wordpiece *w, const lmf_bpe *b, const uint8_t *text, size_t n, lmf_ids *ids);
/* What HF's decoder puts for a token, begun: there is text before it: a space, or none before a piece of a word and, with tidy,
 * before what is written without. *space: put one; text moves behind a prefix. */
void       lmf__wordpiece_shown(const lmf_wordpiece *w, bool tidy, bool begun, const uint8_t **text, size_t *n, bool *space);

#endif
