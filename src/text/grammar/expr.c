/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a node's parts have smaller numbers than the node, and a node never changes but for its row and least length. */
#include "text/grammar/expr.h"
#include <string.h>

enum { FIRST_BUCKETS = 1024 };

gr_ex lmf__gr_fail(gr_store *s, lmf_status status)
{
    if (!s->status)
        s->status = status;
    return GR_NONE;
}

/* Room for n more items of an array that holds *cap; false: s->status. */
static bool grow(gr_store *s, void **p, uint32_t n, uint32_t more, uint32_t *cap, size_t item)
{
    if (n + (uint64_t)more <= *cap)
        return true;
    uint64_t want = (uint64_t)*cap * 2 > n + (uint64_t)more ? (uint64_t)*cap * 2 : n + (uint64_t)more + 64;
    if (want * item > s->max_bytes) {
        lmf__gr_fail(s, LMF_E_LIMIT);
        return false;
    }
    void *q = lmf_realloc(s->ctx, *p, *cap * item, want * item);
    if (!q) {
        lmf__gr_fail(s, LMF_E_MEMORY);
        return false;
    }
    *p = q, *cap = (uint32_t)want;
    return true;
}
#define GROW(s, array, count, more, cap) grow((s), (void **)&(s)->array, (s)->count, (more), &(s)->cap, sizeof *(s)->array)

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

static uint64_t hash_node(const gr_store *s, const gr_node *n)
{
    uint64_t h = mix(n->kind, (uint64_t)n->c << 32 | n->b);
    if (n->kind == GR_K_LIT) {
        for (uint32_t i = 0; i < n->b && i < 24; i++)
            h = mix(h, (uint8_t)s->byte[n->a + i]);
    } else if (n->kind == GR_K_ALT) {
        for (uint32_t i = 0; i < n->b; i++)
            h = mix(h, s->list[n->a + i]);
    } else if (n->kind == GR_K_SET) {
        for (int i = 0; i < 8; i++)
            h = mix(h, s->set[n->a][i]);
    } else {
        h = mix(h, n->a);
    }
    return h;
}

static bool same(const gr_store *s, const gr_node *x, const gr_node *y)
{
    if (x->kind != y->kind || x->b != y->b || x->c != y->c)
        return false;
    if (x->kind == GR_K_LIT)
        return !memcmp(s->byte + x->a, s->byte + y->a, x->b);
    if (x->kind == GR_K_ALT)
        return !memcmp(s->list + x->a, s->list + y->a, x->b * sizeof *s->list);
    if (x->kind == GR_K_SET)
        return !memcmp(s->set[x->a], s->set[y->a], sizeof *s->set);
    return x->a == y->a;
}

static bool rehash(gr_store *s, uint32_t n_bucket)
{
    uint32_t *b = lmf_alloc(s->ctx, n_bucket * sizeof *b);
    if (!b) {
        lmf__gr_fail(s, LMF_E_MEMORY);
        return false;
    }
    lmf_free(s->ctx, s->bucket, s->n_bucket * sizeof *b);
    s->bucket = b, s->n_bucket = n_bucket;
    for (uint32_t i = GR_FIRST; i < s->n_node; i++) {
        uint32_t at = (uint32_t)hash_node(s, &s->node[i]) & (n_bucket - 1);
        s->node[i].next = b[at], b[at] = i;
    }
    return true;
}

/* The node that is the same, or a new one. */
static gr_ex put(gr_store *s, gr_node n)
{
    uint64_t h = hash_node(s, &n);
    if (s->status)
        return GR_NONE;
    for (gr_ex i = s->bucket[h & (s->n_bucket - 1)]; i; i = s->node[i].next)
        if (same(s, &s->node[i], &n))
            return i;
    if (s->n_node >= s->max_nodes)
        return lmf__gr_fail(s, LMF_E_LIMIT);
    if (!GROW(s, node, n_node, 1, cap_node) || (s->n_node >= s->n_bucket && !rehash(s, s->n_bucket * 4)))
        return GR_NONE;
    n.next = s->bucket[h & (s->n_bucket - 1)], n.row = NULL;
    s->node[s->n_node] = n;
    return s->bucket[h & (s->n_bucket - 1)] = s->n_node++;
}

/* The greatest sum that is a number still. */
static uint32_t sum(uint32_t a, uint32_t b)
{
    if (a == GR_INF || b == GR_INF)
        return GR_INF;
    if (a == GR_UNKNOWN || b == GR_UNKNOWN)
        return GR_UNKNOWN;
    return (uint64_t)a + b >= GR_UNKNOWN ? GR_UNKNOWN - 1 : a + b;
}

static uint32_t product(uint32_t a, uint32_t n)
{
    if (n == 0)
        return 0;
    return a >= GR_UNKNOWN ? a : (uint64_t)a * n >= GR_UNKNOWN ? GR_UNKNOWN - 1 : a * n;
}

uint32_t lmf__gr_least_of(const gr_store *s, const gr_node *n)
{
    const gr_node *x = s->node;
    uint32_t least = GR_INF;
    switch ((gr_kind)n->kind) {
    case GR_K_NONE: return GR_INF;
    case GR_K_EMPTY: return 0;
    case GR_K_SET: return 1;
    case GR_K_LIT: return n->b;
    case GR_K_SEQ: return sum(x[n->a].least, x[n->b].least);
    case GR_K_REP: return product(x[n->a].least, n->b);
    case GR_K_LEX: return x[n->a].least;
    case GR_K_CALL: return s->rule_least[n->a];
    case GR_K_ALT:
        if (n->nullable)
            return 0;
        for (uint32_t i = 0; i < n->b; i++) {
            uint32_t l = x[s->list[n->a + i]].least;
            if (l == GR_UNKNOWN)
                return GR_UNKNOWN;
            least = l < least ? l : least;
        }
        return least;
    case GR_K_NOT: case GR_K_AND: case GR_K_MOD: return n->nullable ? 0 : GR_UNKNOWN;
    }
    return GR_INF;
}

static gr_ex make(gr_store *s, gr_node n)
{
    if (s->status)
        return GR_NONE;
    n.least = lmf__gr_least_of(s, &n);
    return put(s, n);
}

void lmf__gr_init(gr_store *s, lmf_ctx *ctx, size_t max_bytes)
{
    static const gr_node first[GR_FIRST] = {
        [GR_NONE] = { .kind = GR_K_NONE, .least = GR_INF }, [GR_EMPTY] = { .kind = GR_K_EMPTY, .nullable = true },
        [GR_ALL] = { .kind = GR_K_NOT, .nullable = true, .a = GR_NONE } /* not mixed: nothing is missing from it */
    };
    *s = (gr_store){ .ctx = ctx, .max_nodes = 1 << 20, .max_bytes = max_bytes };
    lmf_arena_init(&s->rows, ctx, max_bytes);
    memset(s->has_byte, true, sizeof s->has_byte);
    if (!GROW(s, node, n_node, FIRST_BUCKETS, cap_node) || !rehash(s, FIRST_BUCKETS))
        return;
    memcpy(s->node, first, sizeof first);
    s->n_node = GR_FIRST;
}

static void *copy(gr_store *s, const void *p, size_t n, size_t cap, size_t item)
{
    void *q = cap ? lmf_alloc(s->ctx, cap * item) : NULL;
    if (cap && !q)
        lmf__gr_fail(s, LMF_E_MEMORY);
    else if (n)
        memcpy(q, p, n * item);
    return q;
}
#define COPY(array, n, cap) s->array = copy(s, base->array, base->n, base->cap, sizeof *s->array); s->cap = s->array ? base->cap : 0

lmf_status lmf__gr_init_from(gr_store *s, const gr_store *base, lmf_ctx *ctx, size_t max_bytes)
{
    *s = *base;
    s->ctx = ctx, s->max_bytes = max_bytes;
    lmf_arena_init(&s->rows, ctx, max_bytes);
    COPY(node, n_node, cap_node);
    COPY(bucket, n_bucket, n_bucket);
    COPY(byte, n_byte, cap_byte);
    COPY(set, n_set, cap_set);
    COPY(list, n_list, cap_list);
    COPY(rule, n_rule, cap_rule);
    s->rule_least = copy(s, base->rule_least, base->n_rule, base->cap_rule, sizeof *s->rule_least);
    COPY(map, cap_map, cap_map);
    return s->status;
}

void lmf__gr_clear(gr_store *s)
{
    lmf_free(s->ctx, s->node, s->cap_node * sizeof *s->node);
    lmf_free(s->ctx, s->bucket, s->n_bucket * sizeof *s->bucket);
    lmf_free(s->ctx, s->byte, s->cap_byte);
    lmf_free(s->ctx, s->set, s->cap_set * sizeof *s->set);
    lmf_free(s->ctx, s->list, s->cap_list * sizeof *s->list);
    lmf_free(s->ctx, s->rule, s->cap_rule * sizeof *s->rule);
    lmf_free(s->ctx, s->rule_least, s->cap_rule * sizeof *s->rule_least);
    lmf_free(s->ctx, s->map, s->cap_map * sizeof *s->map);
    lmf_arena_clear(&s->rows);
    *s = (gr_store){ .ctx = s->ctx };
}

gr_ex lmf__gr_set(gr_store *s, const uint32_t set[8])
{
    uint32_t own[8] = { 0 };
    int n = 0, last = 0;
    for (int b = 0; b < 256; b++)
        if (set[b / 32] >> b % 32 & 1 && s->has_byte[b])
            own[b / 32] |= 1u << b % 32, n++, last = b;
    if (n == 0)
        return GR_NONE;
    if (n == 1)
        return lmf__gr_lit(s, &(char){ (char)last }, 1);
    if (!GROW(s, set, n_set, 1, cap_set))
        return GR_NONE;
    memcpy(s->set[s->n_set], own, sizeof own);
    gr_ex x = make(s, (gr_node){ .kind = GR_K_SET, .a = s->n_set });
    s->n_set += x && s->node[x].a == s->n_set;
    return x;
}

gr_ex lmf__gr_range(gr_store *s, int from, int to)
{
    uint32_t set[8] = { 0 };
    for (int b = from; b <= to; b++)
        set[b / 32] |= 1u << b % 32;
    return lmf__gr_set(s, set);
}

static gr_ex lit_at(gr_store *s, uint32_t at, uint32_t n)
{
    return n ? make(s, (gr_node){ .kind = GR_K_LIT, .a = at, .b = n }) : GR_EMPTY;
}

gr_ex lmf__gr_lit(gr_store *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!s->has_byte[(uint8_t)p[i]])
            return GR_NONE;
    if (n > LMF_GRAMMAR_MAX_BYTES)
        return lmf__gr_fail(s, LMF_E_LIMIT);
    if (!n || !GROW(s, byte, n_byte, (uint32_t)n, cap_byte))
        return n ? GR_NONE : GR_EMPTY;
    memcpy(s->byte + s->n_byte, p, n);
    gr_ex x = lit_at(s, s->n_byte, (uint32_t)n);
    s->n_byte += x && s->node[x].a == s->n_byte ? (uint32_t)n : 0;
    return x;
}

gr_ex lmf__gr_str(gr_store *s, const char *p) { return lmf__gr_lit(s, p, strlen(p)); }

gr_ex lmf__gr_lit_rest(gr_store *s, gr_ex x) { return lit_at(s, s->node[x].a + 1, s->node[x].b - 1); }

gr_ex lmf__gr_seq(gr_store *s, gr_ex a, gr_ex b)
{
    if (a == GR_NONE || b == GR_NONE || s->status)
        return GR_NONE;
    if (a == GR_EMPTY)
        return b;
    if (b == GR_EMPTY)
        return a;
    if (a == GR_ALL && b == GR_ALL)
        return a;
    /* the parts of a in front of b, from the last to the first */
    gr_ex small[32], *part = small;
    uint32_t n = 0, cap = 32;
    for (; s->node[a].kind == GR_K_SEQ; a = s->node[a].b) {
        if (n == cap) {
            gr_ex *more = lmf_alloc(s->ctx, 4 * cap * sizeof *more);
            if (!more) {
                lmf__gr_fail(s, LMF_E_MEMORY);
                break;
            }
            memcpy(more, part, n * sizeof *part);
            if (part != small)
                lmf_free(s->ctx, part, cap * sizeof *part);
            part = more, cap *= 4;
        }
        part[n++] = s->node[a].a;
    }
    for (;; a = part[--n]) {
        const gr_node *x = &s->node[a], *y = &s->node[b];
        b = make(s, (gr_node){ .kind = GR_K_SEQ, .nullable = x->nullable && y->nullable, .calls = x->calls || y->calls,
                               .mixed = x->mixed || y->mixed, .a = a, .b = b });
        if (!n)
            break;
    }
    if (part != small)
        lmf_free(s->ctx, part, cap * sizeof *part);
    return s->status ? GR_NONE : b;
}

/* Ascending, each once; heap sort, so that no list is slow. */
static size_t sort(gr_ex *x, size_t n)
{
    size_t kept = 0;
    for (size_t end = n, root = n / 2; end > 1;) {
        gr_ex v;
        if (root > 0)
            v = x[--root];
        else
            v = x[--end], x[end] = x[0];
        size_t at = root;
        for (size_t child; (child = 2 * at + 1) < end; at = child) {
            child += child + 1 < end && x[child + 1] > x[child];
            if (x[child] <= v)
                break;
            x[at] = x[child];
        }
        x[at] = v;
    }
    for (size_t i = 0; i < n; i++)
        if (!kept || x[kept - 1] != x[i])
            x[kept++] = x[i];
    return kept;
}

/* x without what adds nothing to a sum; sets become one. Returns how many are left. */
static size_t tidy(gr_store *s, gr_ex *x, size_t n)
{
    uint32_t set[8] = { 0 };
    size_t kept = 0, n_sets = 0;
    bool nullable = false;
    for (size_t i = 0; i < n; i++)
        nullable |= x[i] != GR_EMPTY && s->node[x[i]].nullable;
    for (size_t i = 0; i < n; i++) {
        const gr_node *p = &s->node[x[i]];
        if (x[i] == GR_NONE || (x[i] == GR_EMPTY && nullable))
            continue;
        if (p->kind == GR_K_SET || (p->kind == GR_K_LIT && p->b == 1)) {
            n_sets++;
            for (int w = 0; w < 8; w++)
                set[w] |= p->kind == GR_K_SET ? s->set[p->a][w] : (uint8_t)s->byte[p->a] / 32 == w ? 1u << (uint8_t)s->byte[p->a] % 32 : 0;
            if (n_sets > 1)
                continue;
        }
        x[kept++] = x[i];
    }
    if (n_sets > 1) {
        gr_ex all = lmf__gr_set(s, set);
        for (size_t i = 0; i < kept; i++)
            if (s->node[x[i]].kind == GR_K_SET || (s->node[x[i]].kind == GR_K_LIT && s->node[x[i]].b == 1))
                x[i] = all;
    }
    return kept;
}

gr_ex lmf__gr_alt(gr_store *s, gr_ex *x, size_t n)
{
    size_t all = 0, at = 0;
    if (s->status)
        return GR_NONE;
    for (size_t i = 0; i < n; i++) {
        if (x[i] == GR_ALL)
            return GR_ALL;
        all += s->node[x[i]].kind == GR_K_ALT ? s->node[x[i]].b : 1;
    }
    if (all > s->max_nodes || !GROW(s, list, n_list, (uint32_t)all, cap_list))
        return lmf__gr_fail(s, LMF_E_LIMIT);
    gr_ex *flat = s->list + s->n_list;
    for (size_t i = 0; i < n; i++) {
        const gr_node *p = &s->node[x[i]];
        if (p->kind == GR_K_ALT)
            memcpy(flat + at, s->list + p->a, p->b * sizeof *flat), at += p->b;
        else
            flat[at++] = x[i];
    }
    at = sort(flat, tidy(s, flat, at));
    if (at < 2)
        return at && !s->status ? flat[0] : GR_NONE;
    gr_node made = { .kind = GR_K_ALT, .a = s->n_list, .b = (uint32_t)at };
    for (size_t i = 0; i < at; i++) {
        made.nullable |= s->node[flat[i]].nullable, made.calls |= s->node[flat[i]].calls;
        made.mixed |= s->node[flat[i]].mixed;
    }
    gr_ex y = make(s, made);
    s->n_list += y && s->node[y].a == s->n_list ? (uint32_t)at : 0;
    return y;
}

gr_ex lmf__gr_or(gr_store *s, gr_ex a, gr_ex b)
{
    if (a == b || b == GR_NONE)
        return a;
    return a == GR_NONE ? b : lmf__gr_alt(s, (gr_ex[]){ a, b }, 2);
}

gr_ex lmf__gr_opt(gr_store *s, gr_ex a) { return lmf__gr_or(s, a, GR_EMPTY); }

gr_ex lmf__gr_rep(gr_store *s, gr_ex a, uint32_t least, uint32_t most)
{
    if (most == 0 || a == GR_EMPTY || (a == GR_NONE && least == 0))
        return GR_EMPTY;
    if (a == GR_NONE || a == GR_ALL || s->status)
        return a;
    const gr_node *x = &s->node[a];
    least = x->nullable ? 0 : least;
    if ((least == 1 && most == 1) || (x->kind == GR_K_REP && x->b == 0 && x->c == GR_INF && most == GR_INF))
        return a;
    return make(s, (gr_node){ .kind = GR_K_REP, .nullable = least == 0, .calls = x->calls, .mixed = x->mixed, .a = a, .b = least,
        .c = most });
}

gr_ex lmf__gr_and(gr_store *s, gr_ex a, gr_ex b)
{
    if (a == GR_NONE || b == GR_NONE || s->status)
        return GR_NONE;
    if (a == b || b == GR_ALL)
        return a;
    if (a == GR_ALL)
        return b;
    if (a == GR_EMPTY || b == GR_EMPTY)
        return s->node[a].nullable && s->node[b].nullable ? GR_EMPTY : GR_NONE;
    gr_ex low = a < b ? a : b, high = a < b ? b : a;
    return make(s, (gr_node){ .kind = GR_K_AND, .nullable = s->node[a].nullable && s->node[b].nullable, .mixed = true, .a = low,
        .b = high });
}

gr_ex lmf__gr_not(gr_store *s, gr_ex a)
{
    if (a == GR_NONE || s->status)
        return s->status ? GR_NONE : GR_ALL;
    if (s->node[a].kind == GR_K_NOT)
        return s->node[a].a;
    return make(s, (gr_node){ .kind = GR_K_NOT, .nullable = !s->node[a].nullable, .mixed = true, .a = a });
}

gr_ex lmf__gr_lex(gr_store *s, gr_ex a)
{
    const gr_node *x = &s->node[a];
    if (a < GR_FIRST || x->kind == GR_K_LIT || x->kind == GR_K_SET || x->kind == GR_K_LEX || s->status)
        return s->status ? GR_NONE : a;
    return make(s, (gr_node){ .kind = GR_K_LEX, .nullable = x->nullable, .calls = x->calls, .mixed = x->mixed, .a = a });
}

gr_ex lmf__gr_mod(gr_store *s, uint32_t k, uint32_t rest)
{
    return make(s, (gr_node){ .kind = GR_K_MOD, .nullable = rest == 0, .mixed = true, .a = k, .b = rest });
}

uint32_t lmf__gr_rule(gr_store *s)
{
    if (s->n_rule == s->cap_rule) {
        uint32_t cap = 2 * s->cap_rule + 16;
        bool fits = s->n_rule < 8 * LMF_GRAMMAR_MAX_RULES;
        gr_ex *body = fits ? lmf_alloc(s->ctx, cap * sizeof *body) : NULL;
        uint32_t *least = body ? lmf_alloc(s->ctx, cap * sizeof *least) : NULL;
        if (!least) {
            lmf_free(s->ctx, body, cap * sizeof *body);
            lmf__gr_fail(s, fits ? LMF_E_MEMORY : LMF_E_LIMIT);
            return 0;
        }
        for (uint32_t i = 0; i < s->n_rule; i++)
            body[i] = s->rule[i], least[i] = s->rule_least[i];
        lmf_free(s->ctx, s->rule, s->cap_rule * sizeof *body);
        lmf_free(s->ctx, s->rule_least, s->cap_rule * sizeof *least);
        s->rule = body, s->rule_least = least, s->cap_rule = cap;
    }
    s->rule[s->n_rule] = GR_NONE, s->rule_least[s->n_rule] = GR_INF;
    return s->n_rule++;
}

gr_ex lmf__gr_call(gr_store *s, uint32_t rule, bool nullable)
{
    return make(s, (gr_node){ .kind = GR_K_CALL, .nullable = nullable, .calls = true, .a = rule });
}

static int compare_words(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int c = memcmp(a, b, n_a < n_b ? n_a : n_b);
    return c ? c : n_a < n_b ? -1 : n_a > n_b;
}

typedef struct words { const char *const *word; const size_t *n_word; uint32_t *order; } words;

static void sort_words(const words *w, uint32_t *tmp, size_t begin, size_t end)
{
    if (end - begin < 2)
        return;
    size_t mid = begin + (end - begin) / 2, i = begin, j = mid;
    sort_words(w, tmp, begin, mid);
    sort_words(w, tmp, mid, end);
    for (size_t k = begin; k < end; k++) {
        bool left = j == end || (i < mid && compare_words(w->word[w->order[i]], w->n_word[w->order[i]], w->word[w->order[j]],
            w->n_word[w->order[j]]) <= 0);
        tmp[k] = left ? w->order[i++] : w->order[j++];
    }
    memcpy(w->order + begin, tmp + begin, (end - begin) * sizeof *tmp);
}

/* Words begin .. end, sorted, behind their first `at` bytes, which are the same: what they share, then a sum over the byte in which they
 * differ. */
static gr_ex words_from(gr_store *s, const words *w, size_t begin, size_t end, size_t at)
{
    const char *first = w->word[w->order[begin]], *last = w->word[w->order[end - 1]];
    size_t n_first = w->n_word[w->order[begin]], n_last = w->n_word[w->order[end - 1]], shared = at, n = 0;
    while (shared < n_first && shared < n_last && first[shared] == last[shared])
        shared++;
    gr_ex head = lmf__gr_lit(s, first + at, shared - at), branch[257];
    size_t i = begin;
    for (; i < end && w->n_word[w->order[i]] == shared; i++)
        branch[n] = GR_EMPTY, n += n == 0;
    while (i < end && n < 257 && !s->status) {
        size_t next = i;
        while (next < end && w->word[w->order[next]][shared] == w->word[w->order[i]][shared])
            next++;
        branch[n++] = next == i + 1 ? lmf__gr_lit(s, w->word[w->order[i]] + shared, w->n_word[w->order[i]] - shared)
                                    : words_from(s, w, i, next, shared);
        i = next;
    }
    return lmf__gr_seq(s, head, lmf__gr_alt(s, branch, n));
}

gr_ex lmf__gr_words(gr_store *s, const char *const *word, const size_t *n_word, size_t n)
{
    if (!n || s->status)
        return GR_NONE;
    uint32_t *order = lmf_alloc(s->ctx, 2 * n * sizeof *order);
    if (!order)
        return lmf__gr_fail(s, LMF_E_MEMORY);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    words w = { word, n_word, order };
    sort_words(&w, order + n, 0, n);
    gr_ex x = words_from(s, &w, 0, n, 0);
    lmf_free(s->ctx, order, 2 * n * sizeof *order);
    return x;
}
