/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/scores.h"
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer/bpe.h"

typedef struct row { uint32_t rank; int32_t to, left, right; } row;

static int by_rank(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return x->rank != y->rank ? (x->rank > y->rank) - (x->rank < y->rank)
         : x->to != y->to     ? (x->to > y->to) - (x->to < y->to)
         : x->left != y->left ? (x->left > y->left) - (x->left < y->left)
                              : (x->right > y->right) - (x->right < y->right);
}

/* All pairs of words that are a word; rows NULL: only counted. */
static size_t each_pair(const lmf_bpe *b, row *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_tokens; i++) {
        const uint8_t *p = b->bytes + b->begin[i];
        size_t k = b->begin[i + 1] - b->begin[i];
        if (lmf__bpe_find(b, p, k) != (int32_t)i)
            continue;
        for (size_t cut = 1; cut < k; cut++) {
            if ((p[cut] & 0xc0) == 0x80)
                continue;
            int32_t l = lmf__bpe_find(b, p, cut), r = l < 0 ? -1 : lmf__bpe_find(b, p + cut, k - cut);
            if (r < 0)
                continue;
            if (rows)
                rows[n] = (row){ b->rank ? b->rank[i] : lmf__bpe_rank(b, l, r), (int32_t)i, l, r };
            n++;
        }
    }
    return n;
}

static lmf_status all_pairs(const lmf_tokenizer *t, lmf_arena *arena, row **rows, size_t *n)
{
    const lmf_bpe *b = lmf__tokenizer_bpe(t);
    *n = each_pair(b, NULL);
    *rows = lmf_arena_array(arena, *n, sizeof **rows);
    if (!*rows)
        return LMF_NO_MEMORY(b->ctx, *n * sizeof **rows, "pairs of tokens");
    each_pair(b, *rows);
    qsort(*rows, *n, sizeof **rows, by_rank);
    return LMF_OK;
}

lmf_status lmf_pairs_of_scores(const lmf_tokenizer *t, lmf_arena *arena, lmf_pair **pair, size_t *n)
{
    row *rows;
    LMF_TRY(all_pairs(t, arena, &rows, n));
    *pair = lmf_arena_array(arena, *n, sizeof **pair);
    if (!*pair)
        return LMF_NO_MEMORY(lmf__tokenizer_bpe(t)->ctx, *n * sizeof **pair, "pairs of tokens");
    for (size_t i = 0; i < *n; i++)
        (*pair)[i] = (lmf_pair){ rows[i].left, rows[i].right };
    return LMF_OK;
}

/* Of the pairs of one token: the later stands further left in a text where they share a token. */
static bool overlaps(const row *rows, size_t n)
{
    for (size_t q = 0; q < n; q++)
        for (size_t p = q + 1; p < n; p++)
            if (rows[p].right == rows[q].left)
                return true;
    return false;
}

lmf_status lmf_scores_of_pairs(const lmf_tokenizer *t, lmf_arena *arena, float **score, bool *same, size_t *n_overlap)
{
    const lmf_bpe *b = lmf__tokenizer_bpe(t);
    row *rows;
    size_t n, place = 0;
    LMF_TRY(all_pairs(t, arena, &rows, &n));
    *score = lmf_arena_array(arena, b->n_tokens, sizeof **score);
    uint8_t *done = lmf_arena_alloc(arena, b->n_tokens);
    if (!*score || !done)
        return LMF_NO_MEMORY(b->ctx, b->n_tokens * sizeof **score, "scores of tokens");
    *same = true;
    *n_overlap = 0;
    for (size_t i = 0, end; i < n; i = end) {
        int32_t to = rows[i].to;
        for (end = i; end < n && rows[end].to == to; end++)
            *same &= rows[end].rank != UINT32_MAX; /* a pair that the list lacks */
        *same &= !done[to];
        *n_overlap += overlaps(rows + i, end - i);
        if (!done[to])
            (*score)[to] = -(float)++place; /* below 2^24 */
        done[to] = 1;
    }
    return LMF_OK;
}
