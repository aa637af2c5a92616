/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a mask allows leads to an expression that has a text. far is never less than the truth: it decides when a limit is looked
 * at. */
#include <string.h>
#include "text/grammar/vocab.h"

typedef struct walk {
    const lmf_grammar_vocab *v;
    gr_store *s;
    uint32_t *bits, far;
    gr_exit  *exit; uint32_t n_exit, cap_exit; /* of a head; cap_exit 0: none are wanted */
    uint8_t   first;
} walk;

static bool add_exit(walk *w, const gr_trie *trie, uint32_t at)
{
    if (w->n_exit == w->cap_exit) {
        gr_exit *p = lmf_realloc(w->s->ctx, w->exit, w->cap_exit * sizeof *p, 2 * w->cap_exit * sizeof *p);
        if (!p) {
            lmf__gr_fail(w->s, LMF_E_MEMORY);
            return false;
        }
        w->exit = p, w->cap_exit *= 2;
    }
    w->exit[w->n_exit++] = (gr_exit){ trie, at, w->first };
    return true;
}

/* The subtree [begin, end); its first node's parent has read all that came before x. */
static void run(walk *w, const gr_trie *trie, uint32_t begin, uint32_t end, gr_ex x)
{
    const gr_row *stack[GR_MAX_TOKEN + 2];
    const gr_leaf *at = trie->at;
    gr_store *s = w->s;
    int depth0 = begin < end ? at[begin].depth : 0;
    stack[0] = lmf__gr_row(s, x);
    if (!stack[0])
        return;
    for (uint32_t i = begin; i < end;) {
        const gr_leaf leaf = at[i];
        gr_ex next = lmf__gr_step(stack[leaf.depth - depth0], leaf.byte);
        if (next == GR_NONE) {
            i = leaf.skip;
            continue;
        }
        if (leaf.token >= 0) {
            uint32_t least = s->node[next].least == GR_UNKNOWN ? lmf__gr_least(s, next) : s->node[next].least;
            w->bits[leaf.token / 32] |= 1u << leaf.token % 32;
            if (w->v->twin[leaf.token] >= 0)
                lmf__gr_set_token(w->v, w->v->twin[leaf.token], w->bits);
            w->far = least > w->far ? least : w->far;
        }
        if (leaf.skip == ++i)
            continue;
        const gr_node *n = &s->node[next];
        if (w->cap_exit && n->nullable && !add_exit(w, trie, i - 1))
            return;
        const gr_row *r = n->row && n->row->live ? n->row : lmf__gr_row(s, next);
        if (!r)
            return;
        if (r->n_bytes)
            stack[leaf.depth - depth0 + 1] = r;
        else
            i = leaf.skip;
    }
}

/* All of the tree: only subtrees of bytes that may come. */
static void run_all(walk *w, const gr_trie *trie, gr_ex x)
{
    const gr_row *r = lmf__gr_row(w->s, x);
    if (!r)
        return;
    for (int c = 0; c < r->map->n; c++) {
        if (r->target[c] == GR_NONE)
            continue;
        for (int b = r->map->count[c] > 1 ? 0 : r->map->first[c], end = r->map->count[c] > 1 ? 256 : b + 1; b < end; b++)
            if (r->map->class_of[b] == c && trie->first[b] < trie->n)
                w->first = (uint8_t)b, run(w, trie, trie->first[b], trie->at[trie->first[b]].skip, x);
    }
}

void lmf__gr_walk(const lmf_grammar_vocab *v, gr_store *s, const gr_trie *trie, uint32_t begin, uint32_t end, gr_ex x, uint32_t *bits,
                  uint32_t *far)
{
    walk w = { .v = v, .s = s, .bits = bits, .far = *far };
    run(&w, trie, begin, end, x);
    *far = w.far;
}

/* How many bytes of the alphabet may come one after another, each alike; a token of them leads nowhere else. -1: they are not alike, or
 * the unit could end among them. */
static int chain(gr_store *s, const gr_alphabet *a, gr_ex x, uint32_t *far)
{
    for (int n = 0;; n++) {
        const gr_row *r = s->node[x].nullable ? NULL : lmf__gr_row(s, x);
        gr_ex next = GR_INF;
        if (!r)
            return -1;
        for (int b = 0; b < 256; b++)
            if (a->has[b]) {
                gr_ex t = lmf__gr_step(r, (uint8_t)b);
                if (next != GR_INF && t != next)
                    return -1;
                next = t;
            }
        if (next == GR_NONE || n == (int)a->longest)
            return n;
        uint32_t least = lmf__gr_least(s, next);
        *far = least > *far ? least : *far;
        if (next == x)
            return (int)a->longest;
        x = next;
    }
}

static void take_bits(const lmf_grammar_vocab *v, const gr_trie *t, uint8_t b, uint32_t *bits)
{
    for (uint32_t i = t->first[b], end = i < t->n ? t->at[i].skip : i; i < end; i++)
        for (int32_t id = t->at[i].token; id >= 0; id = v->twin[id])
            bits[id / 32] &= ~(1u << id % 32);
}

/* What x allows, from what a unit that is much alike does: only behind bytes where they part is anything walked. False: they aren't
 * alike. */
static bool like(walk *w, const lmf_grammar_vocab *v, gr_ex x, gr_ex other)
{
    const gr_row *a = lmf__gr_row(w->s, x), *b = lmf__gr_row(w->s, other);
    const gr_head *h = v->head ? v->head[other] : NULL;
    bool parts[256];
    int n = 0;
    if (!a || !b || !h)
        return false;
    for (int c = 0; c < 256; c++)
        n += parts[c] = lmf__gr_step(a, (uint8_t)c) != lmf__gr_step(b, (uint8_t)c);
    if (n > 32)
        return false;
    memcpy(w->bits, h->bits, v->n_words * sizeof *w->bits);
    w->far = h->far;
    for (uint32_t i = 0; i < h->n_exit; i++)
        if (!parts[h->exit[i].first]) {
            w->first = h->exit[i].first;
            if (!add_exit(w, h->exit[i].trie, h->exit[i].at))
                return true;
        }
    for (int c = 0; c < 256; c++)
        if (parts[c] && v->all.first[c] < v->all.n) {
            take_bits(v, &v->all, (uint8_t)c, w->bits);
            w->first = (uint8_t)c;
            run(w, &v->all, v->all.first[c], v->all.at[v->all.first[c]].skip, x);
        }
    return true;
}

gr_head *lmf__gr_head(const lmf_grammar_vocab *v, gr_store *s, gr_ex x)
{
    gr_head *h = lmf_new(s->ctx, gr_head);
    walk w = { .v = v, .s = s, .cap_exit = 64 };
    if (h)
        h->bits = lmf_alloc(s->ctx, v->n_words * sizeof *h->bits);
    w.exit = lmf_alloc(s->ctx, w.cap_exit * sizeof *w.exit);
    if (!h || !h->bits || !w.exit) {
        lmf__gr_fail(s, LMF_E_MEMORY);
    } else {
        w.bits = h->bits;
        int n = -1, i = 0;
        bool done = x >= v->n_head && v->n_head && (like(&w, v, x, v->key) || like(&w, v, x, v->string));
        for (; i < GR_N_ALPHABETS && n < 0 && !done; i++)
            n = chain(s, &v->alphabet[i], x, &w.far);
        if (n > 0)
            memcpy(h->bits, v->alphabet[i - 1].slice[n], v->n_words * sizeof *h->bits);
        if (!done)
            run_all(&w, n > 0 ? &v->alphabet[i - 1].rest : &v->all, x);
    }
    if (s->status) {
        lmf_free(s->ctx, w.exit, w.cap_exit * sizeof *w.exit);
        lmf__gr_head_free(s->ctx, h, v->n_words);
        return NULL;
    }
    h->exit = w.exit, h->n_exit = w.n_exit, h->far = w.far;
    h->bytes = w.cap_exit * sizeof *w.exit;
    return h;
}

void lmf__gr_head_free(lmf_ctx *ctx, gr_head *h, uint32_t n_words)
{
    if (!h)
        return;
    lmf_free(ctx, h->bits, n_words * sizeof *h->bits);
    lmf_free(ctx, h->exit, h->bytes);
    lmf_delete(ctx, h);
}
