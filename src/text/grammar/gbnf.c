/* SPDX-License-Identifier: Apache-2.0 */
/* gbnf: llama.cpp's form of grammars. Two passes over the text: the first finds the rules and which of them may be empty, the second makes
 * expressions. Rule: both passes are one parser, so that they can't differ. */
#include <string.h>
#include "base/name_index.h"
#include "base/plain.h"
#include "text/grammar/vocab.h"

enum { MAX_DEPTH = 64, MAX_REPEAT = 100000, MAX_SPANS = 256 };

typedef struct rule { char *name; uint32_t id; bool defined, nullable; } rule;
typedef struct gbnf {
    lmf_ctx    *ctx;
    gr_store   *s;
    const char *p;
    size_t      n, at;
    int         line, depth;
    lmf_status  status;
    lmf_arena   arena;
    lmf_name_index index;
    rule        rules[LMF_GRAMMAR_MAX_RULES];
    uint32_t    n_rules;
    bool        making;         /* the second pass */
} gbnf;

typedef struct part { gr_ex x; bool nullable; } part;

static part refuse(gbnf *b, lmf_status status, const char *what)
{
    if (!b->status)
        b->status = LMF_FAIL(b->ctx, status, "the grammar, line %d: %s", b->line, what);
    return (part){ 0 };
}

static bool more(const gbnf *b) { return b->at < b->n && !b->status && !b->s->status; }
static bool is(const gbnf *b, char c) { return more(b) && b->p[b->at] == c; }

/* Spaces and comments; over line ends only inside of parentheses. */
static void space(gbnf *b, bool lines)
{
    while (more(b)) {
        char c = b->p[b->at];
        if (c == '#') {
            while (more(b) && b->p[b->at] != '\n')
                b->at++;
        } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && lines)) {
            b->line += c == '\n';
            b->at++;
        } else {
            return;
        }
    }
}

static bool skip(gbnf *b, char c, bool lines)
{
    if (!is(b, c))
        return false;
    b->at++;
    space(b, lines);
    return true;
}

static size_t name_length(const gbnf *b)
{
    size_t k = b->at;
    while (k < b->n && ((b->p[k] >= 'a' && b->p[k] <= 'z') || (b->p[k] >= 'A' && b->p[k] <= 'Z') || (b->p[k] >= '0' && b->p[k] <= '9') ||
           b->p[k] == '-' || b->p[k] == '_'))
        k++;
    return k - b->at;
}

static rule *find_rule(gbnf *b, size_t n)
{
    char *name = lmf_arena_strndup(&b->arena, b->p + b->at, n);
    int32_t i = name ? lmf_name_index_find(&b->index, name) : -1;
    if (i >= 0)
        return &b->rules[i];
    if (!name || b->n_rules == LMF_GRAMMAR_MAX_RULES || lmf_name_index_add(&b->index, name, (int32_t)b->n_rules)) {
        refuse(b, LMF_E_LIMIT, "too many rules");
        return NULL;
    }
    b->rules[b->n_rules] = (rule){ .name = name, .id = lmf__gr_rule(b->s) };
    return &b->rules[b->n_rules++];
}

static uint32_t hex_digits(gbnf *b, int n)
{
    uint32_t u = 0;
    for (int i = 0; i < n; i++, b->at++) {
        char c = more(b) ? b->p[b->at] : 0;
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0) {
            refuse(b, LMF_E_FORMAT, "an escape lacks digits");
            return 0;
        }
        u = u * 16 + (uint32_t)d;
    }
    if (u > 0x10ffff)
        refuse(b, LMF_E_FORMAT, "an escape is no character");
    return u;
}

static uint32_t character(gbnf *b)
{
    static const char letter[] = "nrt\"\\[]-^'", value[] = "\n\r\t\"\\[]-^'";
    if (is(b, '\\')) {
        char c = ++b->at < b->n ? b->p[b->at] : 0;
        const char *l = c ? strchr(letter, c) : NULL;
        b->at++;
        if (l)
            return (uint8_t)value[l - letter];
        if (c == 'x' || c == 'u' || c == 'U')
            return hex_digits(b, c == 'x' ? 2 : c == 'u' ? 4 : 8);
        refuse(b, LMF_E_FORMAT, "an escape is unknown");
        return 0;
    }
    size_t k = more(b) ? lmf_utf8_length(b->p + b->at, b->n - b->at) : 0;
    const uint8_t *p = (const uint8_t *)b->p + b->at;
    b->line += k == 1 && *p == '\n';
    b->at += k;
    switch (k) {
    case 1: return p[0];
    case 2: return (uint32_t)(p[0] & 31) << 6 | (p[1] & 63);
    case 3: return (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
    case 4: return (uint32_t)(p[0] & 7) << 18 | (uint32_t)(p[1] & 63) << 12 | (uint32_t)(p[2] & 63) << 6 | (p[3] & 63);
    default: refuse(b, LMF_E_FORMAT, "text that is not UTF-8, or ends within a literal"); return 0;
    }
}

static part literal(gbnf *b)
{
    part out = { GR_EMPTY, true };
    while (more(b) && !is(b, '"')) {
        uint32_t c = character(b);
        out.x = b->making ? lmf__gr_seq(b->s, out.x, lmf__gr_chars(b->s, &(gr_span){ c, c }, 1, false)) : out.x;
        out.nullable = false;
    }
    if (!is(b, '"'))
        return refuse(b, LMF_E_FORMAT, "a literal has no end");
    b->at++;
    return out;
}

static part class(gbnf *b)
{
    gr_span span[MAX_SPANS + 1];
    size_t n = 0;
    bool negative = is(b, '^');
    b->at += negative;
    while (more(b) && !is(b, ']')) {
        uint32_t from = character(b), to = from;
        if (is(b, '-') && b->at + 1 < b->n && b->p[b->at + 1] != ']')
            b->at++, to = character(b);
        if (to < from || n == MAX_SPANS)
            return refuse(b, LMF_E_FORMAT, "a class has a range that is none, or too many");
        size_t k = n++;
        for (; k && span[k - 1].from > from; k--)
            span[k] = span[k - 1];
        span[k] = (gr_span){ from, to };
    }
    if (!is(b, ']'))
        return refuse(b, LMF_E_FORMAT, "a class has no end");
    b->at++;
    if (negative) {
        uint32_t next = 0;
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            gr_span x = span[i];
            if (x.from > next)
                span[kept++] = (gr_span){ next, x.from - 1 };
            next = x.to + 1 > next ? x.to + 1 : next;
        }
        if (next <= 0x10ffff)
            span[kept++] = (gr_span){ next, 0x10ffff };
        n = kept;
    }
    return (part){ b->making ? lmf__gr_chars(b->s, span, n, false) : GR_EMPTY, false };
}

static part sum(gbnf *b, bool lines);

static part atom(gbnf *b)
{
    size_t n = name_length(b);
    if (n) {
        rule *r = find_rule(b, n);
        b->at += n;
        return r ? (part){ b->making ? lmf__gr_call(b->s, r->id, r->nullable) : GR_EMPTY, r->nullable } : (part){ 0 };
    }
    if (is(b, '"'))
        return b->at++, literal(b);
    if (is(b, '['))
        return b->at++, class(b);
    if (is(b, '.'))
        return b->at++, (part){ b->making ? lmf__gr_chars(b->s, &(gr_span){ 0, 0x10ffff }, 1, false) : GR_EMPTY, false };
    if (skip(b, '(', true)) {
        part x = sum(b, true);
        if (!is(b, ')'))
            return refuse(b, LMF_E_FORMAT, "a group has no end");
        b->at++;
        return x;
    }
    return refuse(b, is(b, '<') || is(b, '!') ? LMF_E_UNSUPPORTED : LMF_E_FORMAT,
                  is(b, '<') || is(b, '!') ? "tokens in a grammar are not supported" : "a literal, class, group or name is expected");
}

static uint32_t number(gbnf *b, uint32_t none)
{
    uint32_t n = 0;
    size_t begin = b->at;
    for (; more(b) && b->p[b->at] >= '0' && b->p[b->at] <= '9' && n <= MAX_REPEAT; b->at++)
        n = n * 10 + (uint32_t)(b->p[b->at] - '0');
    if (n > MAX_REPEAT)
        refuse(b, LMF_E_LIMIT, "too many repetitions");
    return b->at == begin ? none : n;
}

static part repeated(gbnf *b)
{
    part x = atom(b);
    while (more(b)) {
        uint32_t least = 0, most = GR_INF;
        if (is(b, '?')) {
            most = 1;
        } else if (is(b, '+')) {
            least = 1;
        } else if (is(b, '{')) {
            b->at++;
            space(b, true);
            least = most = number(b, 0);
            space(b, true);
            if (skip(b, ',', true))
                most = number(b, GR_INF);
            space(b, true);
            if (!is(b, '}') || most < least)
                return refuse(b, LMF_E_FORMAT, "a repetition is none");
        } else if (!is(b, '*')) {
            break;
        }
        b->at++;
        x.x = b->making ? lmf__gr_rep(b->s, x.x, least, most) : x.x;
        x.nullable |= least == 0;
    }
    return x;
}

static part product(gbnf *b, bool lines)
{
    part all = { GR_EMPTY, true };
    for (space(b, lines); more(b) && !is(b, '|') && !is(b, ')') && !is(b, '\n'); space(b, lines)) {
        part x = repeated(b);
        all.x = b->making ? lmf__gr_seq(b->s, all.x, x.x) : all.x;
        all.nullable &= x.nullable;
    }
    return all;
}

static part sum(gbnf *b, bool lines)
{
    part all = { GR_NONE, false };
    if (++b->depth > MAX_DEPTH)
        return refuse(b, LMF_E_LIMIT, "too many groups in groups");
    for (;;) {
        part x = product(b, lines);
        all.x = b->making ? lmf__gr_or(b->s, all.x, x.x) : all.x;
        all.nullable |= x.nullable;
        size_t at = b->at;
        int line = b->line;
        space(b, true); /* a line may begin with | */
        if (!is(b, '|')) {
            b->at = lines ? b->at : at, b->line = lines ? b->line : line;
            break;
        }
        b->at++;
        space(b, true);
    }
    b->depth--;
    return all;
}

static bool pass(gbnf *b)
{
    bool changed = false;
    b->at = 0, b->line = 1;
    for (space(b, true); more(b); space(b, true)) {
        size_t n = name_length(b);
        rule *r = n ? find_rule(b, n) : NULL;
        if (!n)
            refuse(b, LMF_E_FORMAT, "a rule's name is expected");
        if (!r)
            return false;
        b->at += n;
        space(b, false);
        if (b->n - b->at < 3 || memcmp(b->p + b->at, "::=", 3))
            return refuse(b, LMF_E_FORMAT, "::= is expected behind the rule's name"), false;
        b->at += 3;
        space(b, true);
        part x = sum(b, false);
        if (is(b, ')'))
            refuse(b, LMF_E_FORMAT, "a parenthesis has no start");
        changed |= x.nullable && !r->nullable;
        r->nullable |= x.nullable, r->defined = true;
        if (b->making)
            b->s->rule[r->id] = lmf__gr_or(b->s, b->s->rule[r->id], x.x);
    }
    return changed;
}

static const char *rule_name(void *arg, uint32_t id)
{
    gbnf *b = arg;
    for (uint32_t i = 0; i < b->n_rules; i++)
        if (b->rules[i].id == id)
            return lmf_arena_printf(&b->arena, "the grammar's rule %s", b->rules[i].name);
    return "a rule of the grammar";
}

static lmf_status make(gbnf *b, gr_ex *start)
{
    uint32_t first_node = b->s->n_node, first_rule = b->s->n_rule;
    for (uint32_t i = 0; pass(b) && i < LMF_GRAMMAR_MAX_RULES; i++)
        ;
    LMF_TRY(b->status);
    for (uint32_t i = 0; i < b->n_rules; i++)
        if (!b->rules[i].defined)
            return LMF_FAIL(b->ctx, LMF_E_FORMAT, "the grammar uses a rule %.60s that it doesn't define", b->rules[i].name);
    int32_t root = lmf_name_index_find(&b->index, "root");
    if (root < 0)
        return LMF_FAIL(b->ctx, LMF_E_FORMAT, "the grammar has no rule root, where an answer begins");
    b->making = true;
    pass(b);
    LMF_TRY(b->status);
    LMF_TRY(lmf__gr_status(b->s, "the grammar"));
    *start = lmf__gr_call(b->s, b->rules[root].id, b->rules[root].nullable);
    lmf_status s = lmf__gr_finish_rules(b->s, first_node, first_rule, rule_name, b);
    return b->s->status ? lmf__gr_status(b->s, "the grammar") : s;
}

lmf_status lmf_grammar_compile_gbnf(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *text, size_t n, const lmf_grammar_opts *opts,
                                    lmf_grammar **out)
{
    gr_ex start = GR_NONE;
    *out = NULL;
    if (n > LMF_GRAMMAR_MAX_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "a grammar of %zu bytes; at most %d are read", n, LMF_GRAMMAR_MAX_BYTES);
    gbnf *b = lmf_new(ctx, gbnf);
    if (!b)
        return LMF_NO_MEMORY(ctx, sizeof *b, "a grammar");
    lmf_status s = lmf__gr_grammar_new(ctx, v, opts, out);
    b->ctx = ctx, b->p = text, b->n = n;
    lmf_arena_init(&b->arena, ctx, 16 << 20);
    lmf_name_index_init(&b->index, ctx);
    if (!s) {
        b->s = &(*out)->s;
        s = make(b, &start);
        s = s ? s : lmf__gr_grammar_done(*out, start, "the grammar");
    }
    lmf_name_index_clear(&b->index);
    lmf_arena_clear(&b->arena);
    lmf_delete(ctx, b);
    if (s) {
        lmf_grammar_destroy(*out);
        *out = NULL;
    }
    return s;
}
