/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a state is an expression of the grammar's store. What was made since the grammar was compiled may be dropped only while no
 * matcher holds a state of it. */
#include <string.h>
#include "text/grammar/vocab.h"

struct lmf_matcher {
    lmf_grammar *g;
    gr_ex  state;
    bool   ended;
    size_t n_bytes;
};

enum { WIDE = 24 }; /* bytes that may come next, from which on a unit's mask is kept by itself */

lmf_grammar_opts lmf_grammar_opts_default(void)
{
    return (lmf_grammar_opts){ .struct_bytes = sizeof(lmf_grammar_opts), .max_bytes = 64 << 20, .max_work = 200000 };
}

lmf_status lmf__gr_status(gr_store *s, const char *what)
{
    if (s->status == LMF_E_LIMIT)
        return LMF_FAIL(s->ctx, s->status, "%s: its automaton is too large; shorter repetitions and fewer alternatives make it smaller",
            what);
    return s->status == LMF_E_MEMORY ? LMF_NO_MEMORY(s->ctx, s->n_node * sizeof *s->node, what) : s->status;
}

lmf_status lmf__gr_grammar_new(lmf_ctx *ctx, const lmf_grammar_vocab *v, const lmf_grammar_opts *opts, lmf_grammar **out)
{
    lmf_grammar_opts o = lmf_grammar_opts_default();
    *out = NULL;
    LMF_TRY(lmf_opts_take(ctx, "lmf_grammar_opts", &o, opts, sizeof o));
    if (o.space > LMF_JSON_SPACE_ONE || o.max_bytes < 1 << 20 || o.max_work < 1)
        return LMF_FAIL(ctx, LMF_E_ARG, "a grammar's options: white space %d, %zu bytes, %d of work are out of range", (int)o.space,
            o.max_bytes, o.max_work);
    lmf_grammar *g = lmf_new(ctx, lmf_grammar);
    if (!g)
        return LMF_NO_MEMORY(ctx, sizeof *g, "a grammar");
    g->ctx = ctx, g->v = v, g->opts = o;
    if (lmf__gr_init_from(&g->s, &v->base, ctx, o.max_bytes / 2)) {
        lmf_status s = lmf__gr_status(&g->s, "a grammar");
        lmf_grammar_destroy(g);
        return s;
    }
    g->s.max_nodes = g->s.n_node + (uint32_t)o.max_work;
    *out = g;
    return LMF_OK;
}

lmf_status lmf__gr_grammar_done(lmf_grammar *g, gr_ex start, const char *what)
{
    g->start = start;
    uint32_t least = g->s.status ? 0 : lmf__gr_least(&g->s, start);
    LMF_TRY(lmf__gr_status(&g->s, what));
    if (least == GR_INF)
        return LMF_FAIL(g->ctx, LMF_E_ARG, "%s: no text fits it, or none that the vocabulary can write", what);
    return LMF_OK;
}

static void drop_masks(lmf_grammar *g)
{
    for (uint32_t i = 0; i < g->n_mask; i++) {
        lmf_free(g->ctx, g->mask[i].bits, g->v->n_words * sizeof(uint32_t));
        lmf__gr_head_free(g->ctx, g->mask[i].head, g->v->n_words);
        g->mask[i] = (struct gr_mask){ .n_tok = g->mask[i].n_tok };
    }
    g->mask_bytes = 0;
}

void lmf_grammar_destroy(lmf_grammar *g)
{
    if (!g)
        return;
    drop_masks(g);
    lmf_free(g->ctx, g->mask, g->n_mask * sizeof *g->mask);
    lmf__gr_clear(&g->s);
    lmf_delete(g->ctx, g);
}

bool lmf_grammar_is_spent(const lmf_grammar *g)
{
    const gr_store *s = &g->s;
    return s->status || s->max_nodes - s->n_node < (uint32_t)g->opts.max_work / 2 || s->rows.total_bytes > s->max_bytes / 2;
}

/* The kept things of x; NULL: no memory. */
static struct gr_mask *kept(lmf_grammar *g, gr_ex x)
{
    if (x >= g->n_mask) {
        uint32_t n = g->s.n_node + g->s.n_node / 2;
        struct gr_mask *p = lmf_realloc(g->ctx, g->mask, g->n_mask * sizeof *p, n * sizeof *p);
        if (!p) {
            lmf__gr_fail(&g->s, LMF_E_MEMORY);
            return NULL;
        }
        g->mask = p, g->n_mask = n;
    }
    return &g->mask[x];
}

/* Room for another mask; else all are dropped, and come back as they are needed. */
static void make_room(lmf_grammar *g, size_t bytes)
{
    if (g->mask_bytes + bytes > g->opts.max_bytes / 2)
        drop_masks(g);
    g->mask_bytes += bytes;
}

/* The unit that allows the same tokens as x where x is a JSON string of bounded length: a bound that no token reaches is none. *more: by
 * how much x's least length is greater. */
static gr_ex unbounded(lmf_grammar *g, gr_ex x, uint32_t *more)
{
    const lmf_grammar_vocab *v = g->v;
    gr_store *s = &g->s;
    const gr_node *in = &s->node[s->node[x].a];
    if (in->kind != GR_K_SEQ || in->b != s->node[s->node[v->string].a].b || s->node[in->a].kind != GR_K_REP ||
        s->node[in->a].a != v->character)
        return x;
    uint32_t least = s->node[in->a].b, most = s->node[in->a].c, n = v->longest;
    *more = least > n ? least - n : 0;
    return lmf__gr_lex(s, lmf__gr_seq(s, lmf__gr_rep(s, v->character, least - *more, most >= n ? GR_INF : most), in->b));
}

/* NULL: x is no unit with many ways on, or s.status. *more: what its far lacks. */
static const gr_head *head_of(lmf_grammar *g, gr_ex x, uint32_t *more)
{
    if (g->s.node[x].kind != GR_K_LEX)
        return NULL;
    if (x >= g->v->n_head)
        x = unbounded(g, x, more);
    if (x < g->v->n_head)
        return g->v->head[x];
    const gr_row *r = lmf__gr_row(&g->s, x);
    if (!r || r->n_bytes < WIDE)
        return NULL;
    struct gr_mask *k = kept(g, x);
    if (!k || k->head)
        return k ? k->head : NULL;
    gr_head *h = lmf__gr_head(g->v, &g->s, x);
    if (!h)
        return NULL;
    make_room(g, sizeof *h + h->bytes + g->v->n_words * sizeof(uint32_t));
    if (!(k = kept(g, x))) {
        lmf__gr_head_free(g->ctx, h, g->v->n_words);
        return NULL;
    }
    return k->head = h;
}

/* Adds what may come from head and then tail. */
static void add_head(lmf_grammar *g, const gr_head *h, gr_ex tail, uint32_t more, uint32_t *bits, uint32_t *far)
{
    uint32_t least = lmf__gr_least(&g->s, tail) + more, reach = h->far + least < h->far ? GR_UNKNOWN : h->far + least;
    for (uint32_t i = 0; i < g->v->n_words; i++)
        bits[i] |= h->bits[i];
    *far = reach > *far ? reach : *far;
    const gr_row *r = lmf__gr_row(&g->s, tail);
    for (uint32_t i = 0; r && r->n_bytes && i < h->n_exit; i++) {
        const gr_trie *t = h->exit[i].trie;
        lmf__gr_walk(g->v, &g->s, t, h->exit[i].at + 1, t->at[h->exit[i].at].skip, tail, bits, far);
    }
}

static const gr_head *split(lmf_grammar *g, gr_ex x, gr_ex *tail, uint32_t *more)
{
    *more = 0;
    const gr_node n = g->s.node[x];
    *tail = n.kind == GR_K_SEQ ? n.b : GR_EMPTY;
    return head_of(g, n.kind == GR_K_SEQ ? n.a : x, more);
}

static void make_mask(lmf_grammar *g, gr_ex x, uint32_t *bits, uint32_t *far)
{
    const lmf_grammar_vocab *v = g->v;
    gr_store *s = &g->s;
    gr_ex tail, small[64], *rest = small;
    const gr_node n = s->node[x];
    uint32_t more;
    const gr_head *h = split(g, x, &tail, &more);
    size_t n_rest = 0;
    if (h) {
        add_head(g, h, tail, more, bits, far);
        return;
    }
    if (n.kind == GR_K_ALT && n.b <= 64) { /* a sum allows what its parts do: those with many ways on by themselves */
        for (uint32_t i = 0; i < n.b && !s->status; i++) {
            gr_ex part = s->list[n.a + i];
            if ((h = split(g, part, &tail, &more)))
                add_head(g, h, tail, more, bits, far);
            else
                rest[n_rest++] = part;
        }
        x = n_rest == n.b ? x : lmf__gr_alt(s, rest, n_rest);
    }
    const gr_row *r = s->status ? NULL : lmf__gr_row(s, x);
    for (int b = 0; r && r->n_bytes && b < 256; b++)
        if (lmf__gr_step(r, (uint8_t)b) != GR_NONE && v->all.first[b] < v->all.n)
            lmf__gr_walk(v, s, &v->all, v->all.first[b], v->all.at[v->all.first[b]].skip, x, bits, far);
}

lmf_status lmf_matcher_open(lmf_grammar *g, lmf_matcher **out)
{
    lmf_matcher *m = *out = lmf_new(g->ctx, lmf_matcher);
    if (!m)
        return LMF_NO_MEMORY(g->ctx, sizeof *m, "a matcher");
    m->g = g;
    lmf_matcher_reset(m);
    return LMF_OK;
}

void lmf_matcher_close(lmf_matcher *m)
{
    if (m)
        lmf_delete(m->g->ctx, m);
}

void lmf_matcher_reset(lmf_matcher *m)
{
    m->state = m->g->start, m->ended = false, m->n_bytes = 0;
}

void lmf_matcher_copy(lmf_matcher *m, const lmf_matcher *from)
{
    LMF_ASSERT(m->g == from->g);
    m->state = from->state, m->ended = from->ended, m->n_bytes = from->n_bytes;
}

bool lmf_matcher_must_end(const lmf_matcher *m)
{
    const gr_row *r = lmf_matcher_complete(m) && !m->ended ? lmf__gr_row(&m->g->s, m->state) : NULL;
    return r && r->n_bytes == 0;
}

bool lmf_matcher_complete(const lmf_matcher *m) { return m->g->s.node[m->state].nullable; }
bool lmf_matcher_ended(const lmf_matcher *m) { return m->ended; }
size_t lmf_matcher_n_bytes(const lmf_matcher *m) { return m->n_bytes; }

static bool is_end(const lmf_grammar_vocab *v, int32_t id)
{
    for (size_t i = 0; i < v->n_end; i++)
        if (v->end[i] == id)
            return true;
    return false;
}

static lmf_status follow(lmf_matcher *m, const uint8_t *p, size_t n)
{
    gr_store *s = &m->g->s;
    gr_ex x = m->state;
    for (size_t i = 0; i < n; i++) {
        const gr_row *r = lmf__gr_row(s, x);
        if (!r)
            return lmf__gr_status(s, "the grammar");
        if ((x = lmf__gr_step(r, p[i])) == GR_NONE)
            return LMF_FAIL(m->g->ctx, LMF_E_ARG, "what was to follow byte %zu of the answer is not allowed by the grammar",
                m->n_bytes + i);
    }
    m->state = x, m->n_bytes += n;
    return LMF_OK;
}

lmf_status lmf_matcher_accept_bytes(lmf_matcher *m, const void *p, size_t n)
{
    return m->ended && n ? LMF_FAIL(m->g->ctx, LMF_E_ARG, "the answer has ended") : follow(m, p, n);
}

lmf_status lmf_matcher_accept(lmf_matcher *m, int32_t id)
{
    size_t n = 0;
    if (m->ended)
        return LMF_FAIL(m->g->ctx, LMF_E_ARG, "the answer has ended");
    if (is_end(m->g->v, id)) {
        if (!lmf_matcher_complete(m))
            return LMF_FAIL(m->g->ctx, LMF_E_ARG, "the answer can't end behind %zu bytes; it is not complete", m->n_bytes);
        m->ended = true;
        return LMF_OK;
    }
    lmf_token_kind kind = lmf_tokenizer_kind(m->g->v->tok, id);
    const uint8_t *p = lmf_tokenizer_piece(m->g->v->tok, id, &n);
    if (!p || !n || n > GR_MAX_TOKEN || (kind != LMF_TOKEN_NORMAL && kind != LMF_TOKEN_BYTE && kind != LMF_TOKEN_USER_DEFINED))
        return LMF_FAIL(m->g->ctx, LMF_E_ARG, "token %d is no text, so it is in no answer", id);
    return follow(m, p, n);
}

/* The next byte of the shortest text; the same wherever x is come from, so that what is left of a shortest text is one. */
static bool next_byte(gr_store *s, gr_ex x, uint8_t *b, gr_ex *then)
{
    uint32_t least = lmf__gr_least(s, x);
    const gr_row *r = least && least != GR_INF ? lmf__gr_row(s, x) : NULL;
    for (int c = 0; r && c < r->map->n; c++)
        if (r->target[c] != GR_NONE && lmf__gr_least(s, r->target[c]) == least - 1) {
            *b = r->map->first[c], *then = r->target[c];
            return true;
        }
    return false;
}

/* Tokens that write p[0 .. n), at least; every byte has one. work [n + 1]. */
static uint32_t count_tokens(const gr_trie *t, const uint8_t *p, size_t n, uint32_t *work)
{
    work[n] = 0;
    for (size_t i = n; i-- > 0;) {
        uint32_t best = GR_INF, at = t->first[p[i]], end = at < t->n ? t->at[at].skip : at;
        for (size_t k = i; at < end;) {
            if (t->at[at].token >= 0 && work[k + 1] + 1 < best)
                best = work[k + 1] + 1;
            uint32_t child = at + 1, last = t->at[at].skip;
            if (++k == n)
                break;
            while (child < last && t->at[child].byte != p[k])
                child = t->at[child].skip;
            if (child >= last)
                break;
            at = child;
        }
        work[i] = best;
    }
    return work[0];
}

/* Tokens of the shortest text of x, the end not counted; appended to text where not NULL. */
static uint32_t least_tokens(lmf_grammar *g, gr_ex x, lmf_buf *text)
{
    struct gr_mask *k = kept(g, x);
    if (!k || (k->n_tok && !text))
        return k ? k->n_tok - 1 : GR_INF;
    uint32_t n = lmf__gr_least(&g->s, x), n_tok = GR_INF;
    gr_ex at = x;
    if (g->s.status || n >= GR_UNKNOWN || n > LMF_GRAMMAR_MAX_BYTES)
        return n;
    uint8_t *p = lmf_alloc(g->ctx, n + 1);
    uint32_t *work = lmf_alloc(g->ctx, (n + 1) * sizeof *work);
    for (uint32_t i = 0; p && i < n && next_byte(&g->s, at, &p[i], &at); i++)
        ;
    if (!p || !work)
        lmf__gr_fail(&g->s, LMF_E_MEMORY);
    else if (!g->s.status) {
        n_tok = count_tokens(&g->v->all, p, n, work);
        if (text)
            lmf_buf_append(text, p, n);
        if ((k = kept(g, x)))
            k->n_tok = n_tok + 1;
    }
    lmf_free(g->ctx, p, n + 1);
    lmf_free(g->ctx, work, (n + 1) * sizeof *work);
    return n_tok;
}

lmf_status lmf_matcher_shortest(lmf_matcher *m, int *n_tok, lmf_buf *text)
{
    uint32_t n = m->ended ? 0 : least_tokens(m->g, m->state, text);
    LMF_TRY(lmf__gr_status(&m->g->s, "the grammar"));
    *n_tok = n >= INT32_MAX - 1 ? INT32_MAX : (int)n + !m->ended;
    return text ? text->status : LMF_OK;
}

lmf_status lmf_matcher_forced(lmf_matcher *m, lmf_buf *out)
{
    gr_store *s = &m->g->s;
    gr_ex x = m->state;
    for (size_t n = 0; !m->ended && !s->node[x].nullable && n < LMF_GRAMMAR_MAX_BYTES; n++) {
        const gr_row *r = lmf__gr_row(s, x);
        if (!r)
            return lmf__gr_status(s, "the grammar");
        if (r->single < 0)
            break;
        LMF_TRY(lmf_buf_putc(out, (char)r->single));
        x = lmf__gr_step(r, (uint8_t)r->single);
    }
    return LMF_OK;
}

/* Clears the bits of tokens behind which n_left - 1 tokens and the end don't suffice. */
static void limit(lmf_matcher *m, int n_left, uint32_t *bits)
{
    lmf_grammar *g = m->g;
    gr_store *s = &g->s;
    const gr_trie *t = &g->v->all;
    gr_ex stack[GR_MAX_TOKEN + 2];
    memset(bits, 0, g->v->n_words * sizeof *bits);
    stack[0] = m->state;
    for (uint32_t i = 0; i < t->n && !s->status;) {
        const gr_leaf leaf = t->at[i];
        const gr_row *r = lmf__gr_row(s, stack[leaf.depth]);
        gr_ex next = r ? lmf__gr_step(r, leaf.byte) : GR_NONE;
        if (next == GR_NONE) {
            i = leaf.skip;
            continue;
        }
        stack[leaf.depth + 1] = next;
        if (leaf.token >= 0 && (lmf__gr_least(s, next) + 2 <= (uint32_t)n_left || least_tokens(g, next, NULL) + 2 <= (uint32_t)n_left))
            lmf__gr_set_token(g->v, leaf.token, bits);
        i++;
    }
}

lmf_status lmf_matcher_mask(lmf_matcher *m, int n_left, uint32_t *bits)
{
    lmf_grammar *g = m->g;
    const lmf_grammar_vocab *v = g->v;
    size_t bytes = v->n_words * sizeof *bits;
    uint32_t far = 0;
    memset(bits, 0, bytes);
    if (m->ended)
        return LMF_OK;
    struct gr_mask *k = kept(g, m->state);
    if (k && k->bits) {
        memcpy(bits, k->bits, bytes), far = k->far;
    } else if (k) {
        make_mask(g, m->state, bits, &far);
        make_room(g, bytes);
        uint32_t *own = g->s.status ? NULL : lmf_alloc(g->ctx, bytes);
        k = own ? kept(g, m->state) : NULL;
        if (k) {
            memcpy(own, bits, bytes);
            k->bits = own, k->far = far;
        } else {
            lmf_free(g->ctx, own, bytes);
            lmf__gr_fail(&g->s, LMF_E_MEMORY);
        }
    }
    if (n_left >= 0 && !g->s.status && (uint64_t)far + 2 > (uint64_t)n_left) {
        uint32_t least = least_tokens(g, m->state, NULL);
        if (!g->s.status && (uint64_t)least + 1 > (uint64_t)n_left) {
            memset(bits, 0, bytes);
            return LMF_FAIL(g->ctx, LMF_E_LIMIT, "%d tokens can't hold what is left of the answer; the shortest has %u", n_left, least + 1);
        }
        if (!g->s.status)
            limit(m, n_left, bits);
    }
    if (g->s.status) {
        memset(bits, 0, bytes);
        return lmf__gr_status(&g->s, "the grammar");
    }
    for (size_t i = 0; lmf_matcher_complete(m) && i < v->n_end; i++)
        bits[v->end[i] / 32] |= 1u << v->end[i] % 32;
    return LMF_OK;
}
