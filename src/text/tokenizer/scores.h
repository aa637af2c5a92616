/* SPDX-License-Identifier: Apache-2.0 */
/* scores: the two ways in which SentencePiece's BPE is written down, each out of the other. GGUF has a score a token: any two neighbours
 * that are a token together merge, the greatest score first, the leftmost of equals. tokenizer.json has a list of pairs, best first.
 * Both are made from a tokenizer of the model llama. Owner: arrays are the arena's. */
#ifndef LMF_TEXT_SCORES_H
#define LMF_TEXT_SCORES_H
#include "base/arena.h"
#include "text/tokenizer/tokenizer.h"

typedef struct lmf_pair { int32_t left, right; } lmf_pair;
/* Every pair of tokens that is a token, by score, then by the ids of the two. */
lmf_status lmf_pairs_of_scores(const lmf_tokenizer *t, lmf_arena *arena, lmf_pair **pair, size_t *n);
/* [n_tokens]; *same: scores say what the list says, which they do if the list has every pair of tokens that is a token, and all pairs of a
 * token stand together. Where two pairs of one token overlap in a text, the list's order of them is not kept; *n_overlap: such tokens. */
lmf_status lmf_scores_of_pairs(const lmf_tokenizer *t, lmf_arena *arena, float **score, bool *same, size_t *n_overlap);

#endif
