/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: control tokens are not in the tree, so that no mask can allow one; a byte without a token of its own is in no expression, so that
 * whatever expression has a text has it in tokens. */
#include "text/grammar/vocab.h"
#include <string.h>

typedef struct piece { const uint8_t *p; size_t n; int32_t id; } piece;

static int compare(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : x->n != y->n ? (x->n < y->n ? -1 : 1) : x->id - y->id;
}

void lmf__gr_set_token(const lmf_grammar_vocab *v, int32_t id, uint32_t *bits)
{
    for (; id >= 0; id = v->twin[id])
        bits[id / 32] |= 1u << id % 32;
}

static lmf_status add_node(lmf_ctx *ctx, gr_trie *t, uint8_t byte, uint8_t depth)
{
    if (t->n == t->cap) {
        uint32_t cap = 2 * t->cap + 4096;
        gr_leaf *p = lmf_realloc(ctx, t->at, t->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(ctx, cap * sizeof *p, "the tree of tokens");
        t->at = p, t->cap = cap;
    }
    t->at[t->n++] = (gr_leaf){ .token = -1, .byte = byte, .depth = depth };
    return LMF_OK;
}

/* piece [n], sorted; of equal pieces the first is in the tree. */
static lmf_status build(lmf_ctx *ctx, gr_trie *t, const piece *p, size_t n, const bool *taken)
{
    uint32_t open[GR_MAX_TOKEN + 1];
    size_t n_open = 0;
    const piece *last = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t same = 0;
        if (taken[i])
            continue;
        while (last && same < last->n && same < p[i].n && last->p[same] == p[i].p[same])
            same++;
        while (n_open > same)
            t->at[open[--n_open]].skip = t->n;
        for (; n_open < p[i].n; n_open++) {
            open[n_open] = t->n;
            LMF_TRY(add_node(ctx, t, p[i].p[n_open], (uint8_t)n_open));
        }
        if (t->at[open[n_open - 1]].token < 0)
            t->at[open[n_open - 1]].token = p[i].id;
        last = &p[i];
    }
    while (n_open)
        t->at[open[--n_open]].skip = t->n;
    for (int b = 0; b <= 256; b++)
        t->first[b] = t->n;
    for (uint32_t i = 0; i < t->n; i = t->at[i].skip)
        t->first[t->at[i].byte] = i;
    return LMF_OK;
}

static lmf_status make_alphabet(lmf_grammar_vocab *v, gr_alphabet *a, const piece *p, size_t n, bool *taken)
{
    for (size_t l = 1; l <= GR_N_SLICES; l++)
        if (!(a->slice[l] = lmf_alloc(v->ctx, v->n_words * sizeof(uint32_t))))
            return LMF_NO_MEMORY(v->ctx, v->n_words * sizeof(uint32_t), "masks");
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < p[i].n && a->has[p[i].p[k]])
            k++;
        taken[i] = k == p[i].n && k <= GR_N_SLICES;
        if (taken[i])
            a->longest = k > a->longest ? (uint32_t)k : a->longest;
        for (size_t l = k; taken[i] && l <= GR_N_SLICES; l++)
            a->slice[l][p[i].id / 32] |= 1u << p[i].id % 32;
    }
    return build(v->ctx, &a->rest, p, n, taken);
}

static lmf_status take_tokens(lmf_grammar_vocab *v, piece *p, bool *taken)
{
    size_t n = 0;
    for (uint32_t i = 0; i < v->n_tokens; i++) {
        lmf_token_kind kind = lmf_tokenizer_kind(v->tok, (int32_t)i);
        const uint8_t *bytes = lmf_tokenizer_piece(v->tok, (int32_t)i, &p[n].n);
        v->twin[i] = -1;
        if ((kind != LMF_TOKEN_NORMAL && kind != LMF_TOKEN_BYTE && kind != LMF_TOKEN_USER_DEFINED) || !bytes || !p[n].n ||
            p[n].n > GR_MAX_TOKEN)
            continue;
        bool ends = false;
        for (size_t k = 0; k < v->n_end; k++)
            ends |= v->end[k] == (int32_t)i;
        if (!ends)
            p[n].p = bytes, p[n++].id = (int32_t)i;
    }
    qsort(p, n, sizeof *p, compare);
    memset(v->base.has_byte, 0, sizeof v->base.has_byte);
    for (size_t i = 0; i < n; i++) {
        if (i && p[i].n == p[i - 1].n && !memcmp(p[i].p, p[i - 1].p, p[i].n))
            v->twin[p[i - 1].id] = p[i].id;
        uint32_t n_char = 0;
        for (size_t k = 0; k < p[i].n; k++)
            n_char += (p[i].p[k] & 0xc0) != 0x80;
        v->longest = n_char > v->longest ? n_char : v->longest;
        if (p[i].n == 1)
            v->base.has_byte[*p[i].p] = true;
    }
    LMF_TRY(build(v->ctx, &v->all, p, n, taken));
    for (int b = 0; b < 256; b++) {
        v->alphabet[0].has[b] = b >= 32 && b < 127 && b != '"' && b != '\\';
        v->alphabet[2].has[b] = b >= 'a' && b <= 'z';
        v->alphabet[1].has[b] = v->alphabet[2].has[b] || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9');
    }
    for (int i = 0; i < GR_N_ALPHABETS; i++)
        LMF_TRY(make_alphabet(v, &v->alphabet[i], p, n, taken));
    return LMF_OK;
}

/* Masks of the states of JSON's string, which most grammars meet. All rows here are live from now on. */
static lmf_status make_heads(lmf_grammar_vocab *v)
{
    gr_store *s = &v->base;
    for (uint32_t i = 0; i < s->n_node && !s->status; i++)
        if (s->node[i].kind == GR_K_LEX || s->node[i].row)
            (void)lmf__gr_row(s, i);
    v->n_head = s->n_node;
    if (!(v->head = lmf_alloc(v->ctx, v->n_head * sizeof(gr_head *))))
        return LMF_NO_MEMORY(v->ctx, v->n_head, "masks");
    for (uint32_t i = 0; i < v->n_head && !s->status; i++)
        if (s->node[i].kind == GR_K_LEX && s->node[i].row->n_bytes >= 24 && !(v->head[i] = lmf__gr_head(v, s, i)))
            break;
    if (!s->status && s->n_node != v->n_head)
        return LMF_FAIL(v->ctx, LMF_E_INTERNAL, "the states of a JSON string have no end");
    return lmf__gr_status(s, "the vocabulary's automaton");
}

lmf_status lmf_grammar_vocab_create(lmf_ctx *ctx, const lmf_tokenizer *t, const int32_t *end, size_t n_end, lmf_grammar_vocab **out)
{
    const lmf_token_ids *ids = lmf_tokenizer_ids(t);
    int32_t own[2];
    lmf_status s = LMF_OK;
    *out = NULL;
    lmf_grammar_vocab *v = lmf_new(ctx, lmf_grammar_vocab);
    if (!v)
        return LMF_NO_MEMORY(ctx, sizeof *v, "a vocabulary");
    v->ctx = ctx, v->tok = t, v->n_tokens = (uint32_t)lmf_tokenizer_n_tokens(t), v->n_words = (v->n_tokens + 31) / 32;
    lmf__gr_init(&v->base, ctx, 16 << 20);
    if (!end) {
        n_end = 0, end = own;
        if (ids->eos >= 0)
            own[n_end++] = ids->eos;
        if (ids->eot >= 0 && ids->eot != ids->eos)
            own[n_end++] = ids->eot;
    }
    piece *p = lmf_alloc(ctx, v->n_tokens * sizeof *p);
    bool *taken = lmf_alloc(ctx, v->n_tokens);
    v->twin = lmf_alloc(ctx, v->n_tokens * sizeof *v->twin);
    v->end = n_end ? lmf_alloc(ctx, n_end * sizeof *v->end) : NULL;
    if (!p || !taken || !v->twin || (n_end && !v->end)) {
        s = LMF_NO_MEMORY(ctx, v->n_tokens * sizeof *p, "a vocabulary");
        goto done;
    }
    for (size_t i = 0; i < n_end; i++)
        if (end[i] < 0 || (uint32_t)end[i] >= v->n_tokens) {
            s = LMF_FAIL(ctx, LMF_E_ARG, "token %d that is to end an answer is none of the vocabulary's %u", end[i], v->n_tokens);
            goto done;
        }
    v->n_end = n_end;
    if (n_end)
        memcpy(v->end, end, n_end * sizeof *end);
    LMF_TRY_TO(done, lmf__gr_status(&v->base, "a vocabulary"));
    LMF_TRY_TO(done, take_tokens(v, p, taken));
    LMF_TRY_TO(done, lmf__gr_json_base(v));
    LMF_TRY_TO(done, make_heads(v));
    *out = v;
done:
    lmf_free(ctx, p, v->n_tokens * sizeof *p);
    lmf_free(ctx, taken, v->n_tokens);
    if (s) {
        v->n_end = v->end ? n_end : 0;
        lmf_grammar_vocab_destroy(v);
    }
    return s;
}

void lmf_grammar_vocab_destroy(lmf_grammar_vocab *v)
{
    if (!v)
        return;
    for (uint32_t i = 0; v->head && i < v->n_head; i++)
        lmf__gr_head_free(v->ctx, v->head[i], v->n_words);
    lmf_free(v->ctx, v->head, v->n_head * sizeof *v->head);
    for (int i = 0; i < GR_N_ALPHABETS; i++) {
        for (int l = 1; l <= GR_N_SLICES; l++)
            lmf_free(v->ctx, v->alphabet[i].slice[l], v->n_words * sizeof(uint32_t));
        lmf_free(v->ctx, v->alphabet[i].rest.at, v->alphabet[i].rest.cap * sizeof(gr_leaf));
    }
    lmf_free(v->ctx, v->all.at, v->all.cap * sizeof(gr_leaf));
    lmf_free(v->ctx, v->twin, v->n_tokens * sizeof *v->twin);
    lmf_free(v->ctx, v->end, v->n_end * sizeof *v->end);
    lmf__gr_clear(&v->base);
    lmf_delete(v->ctx, v);
}
