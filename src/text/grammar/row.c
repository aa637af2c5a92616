/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a row is made from rows of smaller parts, never from the text. A raw row may lead to expressions that have no text (AND, NOT and
 * MOD hide it); who follows a row takes the live one. */
#include <string.h>
#include "text/grammar/expr.h"

enum { MAX_ROW_DEPTH = 2000, MAX_SEARCH = 100000 };

/* The map with these classes, numbered from 0 in the order of first use. */
static const gr_map *intern(gr_store *s, const uint8_t class_of[256])
{
    uint64_t h = 1, w;
    for (int i = 0; i < 256; i += 8) {
        memcpy(&w, class_of + i, 8);
        h = (h ^ w) * 0x9E3779B97F4A7C15u, h ^= h >> 29;
    }
    if (4 * (s->n_map + 1) > 3 * s->cap_map) {
        uint32_t cap = s->cap_map ? 4 * s->cap_map : 256;
        const gr_map **p = lmf_alloc(s->ctx, cap * sizeof *p);
        if (!p) {
            lmf__gr_fail(s, LMF_E_MEMORY);
            return NULL;
        }
        for (uint32_t i = 0; i < s->cap_map; i++)
            if (s->map[i]) {
                uint32_t at = (uint32_t)s->map[i]->hash & (cap - 1);
                for (; p[at]; at = (at + 1) & (cap - 1))
                    ;
                p[at] = s->map[i];
            }
        lmf_free(s->ctx, s->map, s->cap_map * sizeof *p);
        s->map = p, s->cap_map = cap;
    }
    uint32_t at = (uint32_t)h & (s->cap_map - 1);
    for (; s->map[at]; at = (at + 1) & (s->cap_map - 1))
        if (s->map[at]->hash == h && !memcmp(s->map[at]->class_of, class_of, 256))
            return s->map[at];
    gr_map *m = lmf_arena_alloc(&s->rows, sizeof *m);
    if (!m) {
        lmf__gr_fail(s, LMF_E_LIMIT);
        return NULL;
    }
    memcpy(m->class_of, class_of, 256);
    m->hash = h;
    for (int i = 0; i < 256; i++) { /* printable bytes first: the shortest text is one that can be read */
        int b = (i + 32) & 255, c = class_of[b];
        m->first[c] = m->count[c]++ ? m->first[c] : (uint8_t)b;
        m->n = c >= m->n ? (uint16_t)(c + 1) : m->n;
    }
    s->n_map++;
    return s->map[at] = m;
}

static gr_row *row_of(gr_store *s, const gr_map *m)
{
    gr_row *r = m ? lmf_arena_alloc(&s->rows, sizeof *r + m->n * sizeof *r->target) : NULL;
    if (!r)
        lmf__gr_fail(s, LMF_E_LIMIT);
    else
        r->map = m;
    return r;
}

static gr_row *byte_row(gr_store *s, uint8_t b, gr_ex then)
{
    if (!s->single_map[b]) {
        uint8_t class_of[256] = { 0 };
        class_of[b] = 1; /* byte 0 too: then class 1 comes first in the table, which is fine */
        s->single_map[b] = intern(s, class_of);
    }
    gr_row *r = row_of(s, s->single_map[b]);
    if (r)
        r->target[1] = then;
    return r;
}

static gr_row *set_row(gr_store *s, const uint32_t set[8])
{
    uint8_t class_of[256];
    for (int b = 0; b < 256; b++)
        class_of[b] = set[b / 32] >> b % 32 & 1;
    gr_row *r = row_of(s, intern(s, class_of));
    if (r && r->map->n > 1)
        r->target[1] = GR_EMPTY;
    return r;
}

static gr_row *mod_row(gr_store *s, uint32_t k, uint32_t rest)
{
    uint8_t class_of[256] = { 0 };
    for (int d = 0; d < 10; d++)
        class_of['0' + d] = (uint8_t)(1 + d);
    gr_row *r = row_of(s, intern(s, class_of));
    for (uint32_t d = 0; r && d < 10; d++)
        r->target[1 + d] = lmf__gr_mod(s, k, (uint32_t)(((uint64_t)rest * 10 + d) % k));
    return r;
}

/* Classes of bytes that no row tells apart. */
static lmf_status refine(gr_store *s, gr_row *const *row, size_t n, uint8_t class_of[256])
{
    int n_class = 1;
    uint16_t seen[1024], *fresh = seen;
    memset(class_of, 0, 256);
    for (size_t i = 0; i < n; i++) {
        const gr_map *m = row[i]->map;
        if (m->n < 2)
            continue;
        size_t n_pair = (size_t)n_class * m->n;
        fresh = n_pair <= 1024 ? seen : lmf_alloc(s->ctx, n_pair * sizeof *fresh);
        if (!fresh)
            return LMF_E_MEMORY;
        memset(fresh, 0xff, n_pair * sizeof *fresh);
        n_class = 0;
        for (int b = 0; b < 256; b++) {
            size_t pair = (size_t)class_of[b] * m->n + m->class_of[b];
            if (fresh[pair] == 0xffff)
                fresh[pair] = (uint16_t)n_class++;
            class_of[b] = (uint8_t)fresh[pair];
        }
        if (fresh != seen)
            lmf_free(s->ctx, fresh, n_pair * sizeof *fresh);
    }
    return LMF_OK;
}

static gr_row *join_rows(gr_store *s, gr_row *const *row, size_t n, bool and)
{
    uint8_t class_of[256];
    gr_ex small[64], *part = n <= 64 ? small : lmf_alloc(s->ctx, n * sizeof *part);
    lmf_status failed = part ? refine(s, row, n, class_of) : LMF_E_MEMORY;
    gr_row *r = failed ? NULL : row_of(s, intern(s, class_of));
    if (failed)
        lmf__gr_fail(s, failed);
    for (int c = 0; r && c < r->map->n; c++) {
        uint8_t b = r->map->first[c];
        size_t m = 0;
        for (size_t i = 0; i < n; i++) {
            part[m] = lmf__gr_step(row[i], b);
            m += and || part[m] != GR_NONE;
        }
        r->target[c] = and ? lmf__gr_and(s, part[0], part[1]) : m > 1 ? lmf__gr_alt(s, part, m) : m ? part[0] : GR_NONE;
    }
    if (part && part != small)
        lmf_free(s->ctx, part, n * sizeof *part);
    return r;
}

static gr_row *raw_row(gr_store *s, gr_ex x);

static gr_row *alt_row(gr_store *s, uint32_t at, uint32_t n)
{
    gr_row *small[64], **row = n <= 64 ? small : lmf_alloc(s->ctx, n * sizeof *row), *r = NULL;
    bool whole = row != NULL;
    for (uint32_t i = 0; whole && i < n; i++)
        whole = (row[i] = raw_row(s, s->list[at + i])) != NULL;
    if (whole)
        r = join_rows(s, row, n, false);
    else
        lmf__gr_fail(s, LMF_E_MEMORY);
    if (row && row != small)
        lmf_free(s->ctx, row, n * sizeof *row);
    return r;
}

/* The row of x with each target y as y and then tail. */
static gr_row *then_row(gr_store *s, const gr_row *x, gr_ex tail)
{
    gr_row *r = x ? row_of(s, x->map) : NULL;
    for (int c = 0; r && c < r->map->n; c++)
        r->target[c] = lmf__gr_seq(s, x->target[c], tail);
    return r;
}

static gr_row *each_row(gr_store *s, const gr_row *x, gr_ex (*f)(gr_store *s, gr_ex a))
{
    gr_row *r = x ? row_of(s, x->map) : NULL;
    for (int c = 0; r && c < r->map->n; c++)
        r->target[c] = f(s, x->target[c]);
    return r;
}

static gr_row *pair_row(gr_store *s, gr_row *a, gr_row *b, bool and)
{
    return a && b ? join_rows(s, (gr_row *const[]){ a, b }, 2, and) : NULL;
}

static gr_row *make_row(gr_store *s, gr_ex x)
{
    const gr_node n = s->node[x]; /* the array moves */
    switch ((gr_kind)n.kind) {
    case GR_K_NONE: case GR_K_EMPTY: return row_of(s, intern(s, (uint8_t[256]){ 0 }));
    case GR_K_SET: return set_row(s, s->set[n.a]);
    case GR_K_LIT: return byte_row(s, (uint8_t)s->byte[n.a], lmf__gr_lit_rest(s, x));
    case GR_K_MOD: return mod_row(s, n.a, n.b);
    case GR_K_CALL: return raw_row(s, s->rule[n.a]);
    case GR_K_ALT: return alt_row(s, n.a, n.b);
    case GR_K_LEX: return each_row(s, raw_row(s, n.a), lmf__gr_lex);
    case GR_K_NOT: return each_row(s, raw_row(s, n.a), lmf__gr_not);
    case GR_K_AND: {
        gr_row *a = raw_row(s, n.a);
        return pair_row(s, a, raw_row(s, n.b), true);
    }
    case GR_K_REP: {
        gr_ex rest = lmf__gr_rep(s, n.a, n.b ? n.b - 1 : 0, n.c == GR_INF ? GR_INF : n.c - 1);
        return then_row(s, raw_row(s, n.a), rest);
    }
    case GR_K_SEQ: {
        gr_row *head = then_row(s, raw_row(s, n.a), n.b);
        return s->node[n.a].nullable ? pair_row(s, head, raw_row(s, n.b), false) : head;
    }
    }
    return NULL;
}

static gr_row *raw_row(gr_store *s, gr_ex x)
{
    if (s->node[x].row)
        return s->node[x].row;
    if (s->status || ++s->depth > MAX_ROW_DEPTH) {
        lmf__gr_fail(s, LMF_E_LIMIT);
        return NULL;
    }
    gr_row *r = make_row(s, x);
    s->depth--;
    if (s->status)
        return NULL;
    return s->node[x].row = r;
}

/* Bytes of the shortest text of x, which is AND, NOT or MOD: breadth first over rows; what else is met knows its length. All that was
 * searched in vain has no text either. */
static uint32_t search(gr_store *s, gr_ex x)
{
    struct step { gr_ex x; uint32_t from, depth; } *queue = NULL;
    uint32_t cap = 0, n = 0, best = GR_INF, best_at = 0, *seen = NULL, n_seen = 0;
    for (uint32_t i = 0; i == 0 || (i < n && queue[i].depth < best); i++) {
        gr_ex y = i ? queue[i].x : x;
        const gr_row *r = s->n_searched++ < s->max_nodes + MAX_SEARCH ? raw_row(s, y) : NULL;
        if (!r)
            break;
        if (n + r->map->n + 1 > cap) {
            uint32_t more = 2 * cap + 512;
            struct step *q = lmf_realloc(s->ctx, queue, cap * sizeof *q, more * sizeof *q);
            if (!q)
                break;
            queue = q, cap = more;
        }
        if (!i)
            queue[n++] = (struct step){ x, 0, 0 };
        for (int c = 0; c < r->map->n; c++) {
            gr_ex t = r->target[c];
            if (s->n_node > n_seen) {
                uint32_t want = s->n_node + s->n_node / 2;
                uint32_t *p = lmf_realloc(s->ctx, seen, n_seen * sizeof *p, want * sizeof *p);
                if (!p)
                    goto out;
                seen = p, n_seen = want;
            }
            if (seen[t])
                continue;
            seen[t] = 1;
            uint32_t least = s->node[t].least;
            if (least == GR_UNKNOWN && s->node[t].kind != GR_K_AND && s->node[t].kind != GR_K_NOT && s->node[t].kind != GR_K_MOD)
                least = lmf__gr_least(s, t);
            if (least == GR_UNKNOWN)
                queue[n++] = (struct step){ t, i, queue[i].depth + 1 };
            else if (least != GR_INF && queue[i].depth + 1 + least < best)
                best = queue[i].depth + 1 + least, best_at = i;
        }
    }
    if (!s->status) {
        for (uint32_t i = best_at; best != GR_INF && i < n; i = queue[i].from) { /* the way there knows its length now */
            s->node[queue[i].x].least = best - queue[i].depth;
            if (!i)
                break;
        }
        for (uint32_t i = 0; best == GR_INF && i < n; i++)
            s->node[queue[i].x].least = GR_INF;
    }
out:
    if (s->node[x].least == GR_UNKNOWN)
        lmf__gr_fail(s, LMF_E_LIMIT);
    lmf_free(s->ctx, queue, cap * sizeof *queue);
    lmf_free(s->ctx, seen, n_seen * sizeof *seen);
    return s->node[x].least;
}

uint32_t lmf__gr_least(gr_store *s, gr_ex x)
{
    gr_node n = s->node[x];
    if (n.least != GR_UNKNOWN)
        return n.least;
    if (s->status || s->depth > MAX_ROW_DEPTH)
        return lmf__gr_fail(s, LMF_E_LIMIT), GR_INF;
    s->depth++;
    if (n.kind == GR_K_AND || n.kind == GR_K_NOT || n.kind == GR_K_MOD) {
        n.least = search(s, x);
    } else {
        if (n.kind == GR_K_ALT) {
            for (uint32_t i = 0; i < n.b; i++)
                (void)lmf__gr_least(s, s->list[n.a + i]);
        } else {
            (void)lmf__gr_least(s, n.a);
            if (n.kind == GR_K_SEQ)
                (void)lmf__gr_least(s, n.b);
        }
        n.least = lmf__gr_least_of(s, &n);
    }
    s->depth--;
    if (s->status || n.least == GR_UNKNOWN)
        return lmf__gr_fail(s, LMF_E_LIMIT), GR_INF;
    return s->node[x].least = n.least;
}

const gr_row *lmf__gr_row(gr_store *s, gr_ex x)
{
    gr_row *r = s->node[x].row;
    if (r && r->live)
        return r;
    if (!(r = raw_row(s, x)))
        return NULL;
    r->single = -1;
    r->n_bytes = 0;
    for (int c = 0; c < r->map->n; c++) {
        if (r->target[c] != GR_NONE && lmf__gr_least(s, r->target[c]) == GR_INF)
            r->target[c] = GR_NONE;
        if (r->target[c] == GR_NONE)
            continue;
        r->n_bytes = (uint16_t)(r->n_bytes + r->map->count[c]);
        r->single = r->map->first[c];
    }
    r->single = r->n_bytes == 1 ? r->single : -1;
    r->live = true;
    return s->status ? NULL : r;
}

enum { NEW, OPEN, DONE };

/* Whether x can come to a rule without a byte before it that is open already: then a row would never end. *bad: that rule. */
static bool begins_with_itself(gr_store *s, gr_ex x, uint8_t *mark, uint8_t *rule_mark, uint32_t *bad)
{
    const gr_node *n = &s->node[x];
    bool found = false;
    if (!n->calls || mark[x])
        return false;
    if (s->depth > MAX_ROW_DEPTH) {
        lmf__gr_fail(s, LMF_E_LIMIT);
        return false;
    }
    s->depth++;
    switch ((gr_kind)n->kind) {
    case GR_K_CALL:
        if (rule_mark[n->a] == OPEN) {
            *bad = n->a, found = true;
        } else if (rule_mark[n->a] == NEW) {
            rule_mark[n->a] = OPEN;
            found = begins_with_itself(s, s->rule[n->a], mark, rule_mark, bad);
            rule_mark[n->a] = DONE;
        }
        break;
    case GR_K_ALT:
        for (uint32_t i = 0; i < n->b && !found; i++)
            found = begins_with_itself(s, s->list[n->a + i], mark, rule_mark, bad);
        break;
    case GR_K_SEQ:
        found = begins_with_itself(s, n->a, mark, rule_mark, bad);
        if (!found && s->node[n->a].nullable)
            found = begins_with_itself(s, n->b, mark, rule_mark, bad);
        break;
    case GR_K_REP: case GR_K_LEX:
        found = begins_with_itself(s, n->a, mark, rule_mark, bad);
        break;
    default: break;
    }
    s->depth--;
    if (!found)
        mark[x] = 1;
    return found;
}

static void relax_rules(gr_store *s, uint32_t first_node, uint32_t first_rule)
{
    for (uint32_t i = first_node; i < s->n_node; i++)
        if (s->node[i].kind == GR_K_AND || s->node[i].kind == GR_K_NOT || s->node[i].kind == GR_K_MOD)
            (void)lmf__gr_least(s, i);
    for (bool changed = true; changed && !s->status;) {
        changed = false;
        for (uint32_t i = first_node; i < s->n_node; i++) {
            gr_node *n = &s->node[i];
            if (n->kind != GR_K_AND && n->kind != GR_K_NOT && n->kind != GR_K_MOD)
                n->least = lmf__gr_least_of(s, n);
        }
        for (uint32_t i = first_rule; i < s->n_rule; i++) {
            uint32_t least = s->node[s->rule[i]].least;
            changed |= least < s->rule_least[i];
            s->rule_least[i] = least;
        }
    }
}

lmf_status lmf__gr_finish_rules(gr_store *s, uint32_t first_node, uint32_t first_rule, const char *(*name)(void *arg, uint32_t rule),
    void *arg)
{
    uint32_t n_node = s->n_node, n_rule = s->n_rule, bad = 0;
    uint8_t *mark = lmf_alloc(s->ctx, n_node + n_rule + 1);
    if (!mark || s->status) {
        lmf_free(s->ctx, mark, n_node + n_rule + 1);
        return s->status ? s->status : LMF_NO_MEMORY(s->ctx, n_node, "a grammar");
    }
    bool found = false;
    for (uint32_t i = first_rule; i < n_rule && !found && !s->status; i++) {
        if (mark[n_node + i] != NEW)
            continue;
        mark[n_node + i] = OPEN;
        found = begins_with_itself(s, s->rule[i], mark, mark + n_node, &bad);
        mark[n_node + i] = DONE;
    }
    lmf_free(s->ctx, mark, n_node + n_rule + 1);
    if (found)
        return LMF_FAIL(s->ctx, LMF_E_UNSUPPORTED, "%s begins with itself, without a byte before it; write the repetition at its end",
            name(arg, bad));
    if (!s->status)
        relax_rules(s, first_node, first_rule);
    return s->status;
}
