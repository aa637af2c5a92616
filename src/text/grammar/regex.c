/* SPDX-License-Identifier: Apache-2.0 */
/* regex: ECMA's expressions without look-around and back references. Rule: where engines differ on a class (Python's \w is Unicode's,
 * ECMA's is ASCII's), what is allowed here is what both take. */
#include <string.h>
#include <utf8proc.h>
#include "base/plain.h"
#include "text/grammar/vocab.h"

enum { MAX_DEPTH = 40, MAX_SPANS = 2048, MAX_REPEAT = 100000 };

typedef struct regex {
    lmf_ctx    *ctx;
    gr_store   *s;
    const char *p;
    size_t      n, at;
    int         depth;
    bool        json, search;
    lmf_status  status;
} regex;

typedef struct spans { gr_span of[MAX_SPANS]; size_t n; } spans;

static gr_ex refuse(regex *r, lmf_status status, const char *what)
{
    char start[160] = { 0 }, plain[200]; /* the text itself need not end in a NUL */
    memcpy(start, r->p, r->n < sizeof start ? r->n : sizeof start - 1);
    if (!r->status)
        r->status = LMF_FAIL(r->ctx, status, "the expression \"%s\" has %s (byte %zu)", lmf_plain_text(start, plain, sizeof plain), what,
            r->at);
    return GR_NONE;
}

static bool more(const regex *r) { return r->at < r->n && !r->status && !r->s->status; }
static bool is(const regex *r, char c) { return more(r) && r->p[r->at] == c; }
static bool skip(regex *r, char c) { return is(r, c) ? r->at++, true : false; }

/* One character as it stands. */
static uint32_t literal(regex *r)
{
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t k = utf8proc_iterate((const utf8proc_uint8_t *)r->p + r->at, (utf8proc_ssize_t)(r->n - r->at), &c);
    if (k < 1)
        return refuse(r, LMF_E_FORMAT, "a byte that is not UTF-8"), 0;
    r->at += (size_t)k;
    return (uint32_t)c;
}

static void add(regex *r, spans *x, uint32_t from, uint32_t to)
{
    if (x->n == MAX_SPANS)
        refuse(r, LMF_E_LIMIT, "too large a class");
    else
        x->of[x->n++] = (gr_span){ from, to };
}

static int by_start(const void *a, const void *b)
{
    const gr_span *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static void invert(regex *r, spans *x)
{
    spans out = { .n = 0 };
    uint32_t next = 0;
    qsort(x->of, x->n, sizeof *x->of, by_start);
    for (size_t i = 0; i < x->n; i++) {
        if (x->of[i].from > next)
            add(r, &out, next, x->of[i].from - 1);
        next = x->of[i].to + 1 > next ? x->of[i].to + 1 : next;
    }
    if (next <= 0x10ffff)
        add(r, &out, next, 0x10ffff);
    *x = out;
}

static bool in_class(char c, uint32_t u)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)u);
    bool number = k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
    if (c == 'D')
        return number;
    if (c == 'S')
        return k == UTF8PROC_CATEGORY_ZS || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP || u == 0x85 || u == 0xfeff ||
            (u >= 0x1c && u <= 0x1f);
    return number || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_ME) || k == UTF8PROC_CATEGORY_PC;
}

/* \d \w \s, or in capitals what none of the engines takes for one. */
static void add_class(regex *r, spans *x, char c)
{
    spans own = { .n = 0 };
    char low = (char)(c | 32);
    if (low == 's')
        add(r, &own, 9, 13), add(r, &own, ' ', ' ');
    else
        add(r, &own, '0', '9');
    if (low == 'w')
        add(r, &own, 'A', 'Z'), add(r, &own, '_', '_'), add(r, &own, 'a', 'z');
    if (c != low) {
        for (uint32_t u = c == 'S' ? 0x1c : 0x80, from; u <= 0x10ffff; u++) {
            for (from = u; u <= 0x10ffff && in_class(c, u); u++)
                ;
            if (u > from)
                add(r, &own, from, u - 1);
        }
        invert(r, &own);
    }
    for (size_t i = 0; i < own.n; i++)
        add(r, x, own.of[i].from, own.of[i].to);
}

static uint32_t hex_digits(regex *r, int least, int most)
{
    uint32_t u = 0;
    int n = 0;
    for (; n < most && more(r); n++) {
        char c = r->p[r->at];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            break;
        u = u * 16 + (uint32_t)d, r->at++;
    }
    if (n < least || u > 0x10ffff)
        refuse(r, LMF_E_FORMAT, "an escape without its digits");
    return u;
}

/* Behind the backslash; false: a class was added to x. */
static bool escape(regex *r, spans *x, bool in_set, uint32_t *out)
{
    char c = more(r) ? r->p[r->at] : 0;
    static const char letter[] = "tnrfv0", value[] = "\t\n\r\f\v\0";
    if (!more(r)) {
        refuse(r, LMF_E_FORMAT, "a backslash at its end");
        return true;
    }
    if (strchr("dDwWsS", c)) {
        r->at++;
        add_class(r, x, c);
        return false;
    }
    if (c == 'b' && in_set)
        return r->at++, *out = 8, true;
    if (c == 'b' || c == 'B')
        refuse(r, LMF_E_UNSUPPORTED, "a word boundary, which is not supported");
    else if ((c >= '1' && c <= '9') || c == 'k')
        refuse(r, LMF_E_UNSUPPORTED, "a back reference, which is not supported");
    else if (c == 'p' || c == 'P')
        refuse(r, LMF_E_UNSUPPORTED, "a Unicode property (\\p), which is not supported");
    else if (c == 'c' || c == 'A' || c == 'Z' || c == 'z' || c == 'G')
        refuse(r, LMF_E_UNSUPPORTED, "an escape that is not supported");
    if (r->status)
        return true;
    const char *l = strchr(letter, c);
    if (l) {
        *out = (uint8_t)value[l - letter], r->at++;
    } else if (c == 'x') {
        r->at++, *out = hex_digits(r, 2, 2);
    } else if (c == 'u') {
        r->at++;
        bool braces = skip(r, '{');
        *out = hex_digits(r, braces ? 1 : 4, braces ? 6 : 4);
        if (braces && !skip(r, '}'))
            refuse(r, LMF_E_FORMAT, "\\u{ without its end");
        if (!braces && *out >= 0xd800 && *out < 0xdc00 && r->n - r->at >= 6 && r->p[r->at] == '\\' && r->p[r->at + 1] == 'u') {
            r->at += 2;
            *out = 0x10000 + ((*out - 0xd800) << 10) + ((hex_digits(r, 4, 4) - 0xdc00) & 0x3ff);
        }
    } else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        refuse(r, LMF_E_UNSUPPORTED, "an escape that is not supported");
    } else {
        *out = literal(r);
    }
    return true;
}

static gr_ex class(regex *r)
{
    spans x = { .n = 0 };
    bool negative = skip(r, '^');
    while (more(r) && !is(r, ']')) {
        uint32_t from = 0, to;
        bool single = skip(r, '\\') ? escape(r, &x, true, &from) : (from = literal(r), true);
        to = from;
        if (is(r, '-') && r->at + 1 < r->n && r->p[r->at + 1] != ']') {
            r->at++;
            if (!single || !(skip(r, '\\') ? escape(r, &x, true, &to) : (to = literal(r), true)) || to < from)
                return refuse(r, LMF_E_FORMAT, "a range in a class that is none");
        }
        if (single)
            add(r, &x, from, to);
    }
    if (!skip(r, ']'))
        return refuse(r, LMF_E_FORMAT, "a class without its end");
    if (negative)
        invert(r, &x);
    return r->status ? GR_NONE : lmf__gr_chars(r->s, x.of, x.n, r->json);
}

static gr_ex any_but(regex *r, bool line_ends)
{
    const gr_span all[] = { { 0, 9 }, { 11, 12 }, { 14, 0x2027 }, { 0x202a, 0x10ffff } }, every = { 0, 0x10ffff };
    return line_ends ? lmf__gr_chars(r->s, all, 4, r->json) : lmf__gr_chars(r->s, &every, 1, r->json);
}

static gr_ex sum(regex *r, bool outer);

static gr_ex atom(regex *r)
{
    if (skip(r, '(')) {
        if (skip(r, '?')) {
            if (skip(r, '<') && more(r) && !is(r, '=') && !is(r, '!')) {
                while (more(r) && !skip(r, '>'))
                    r->at++;
            } else if (!skip(r, ':')) {
                return refuse(r, LMF_E_UNSUPPORTED, "a look-around or flags in a group, which are not supported");
            }
        }
        gr_ex x = sum(r, false);
        return skip(r, ')') ? x : refuse(r, LMF_E_FORMAT, "a group without its end");
    }
    if (skip(r, '['))
        return class(r);
    if (skip(r, '.'))
        return any_but(r, true);
    if (is(r, '^') || is(r, '$'))
        return refuse(r, LMF_E_UNSUPPORTED, "an anchor that is not at its start or end, which is not supported");
    if (is(r, '*') || is(r, '+') || is(r, '?'))
        return refuse(r, LMF_E_FORMAT, "a repetition of nothing");
    spans x = { .n = 0 };
    uint32_t c = 0;
    if (!skip(r, '\\'))
        c = literal(r);
    else if (!escape(r, &x, false, &c))
        return lmf__gr_chars(r->s, x.of, x.n, r->json);
    return r->status ? GR_NONE : lmf__gr_chars(r->s, &(gr_span){ c, c }, 1, r->json);
}

static bool number(regex *r, uint32_t *out)
{
    size_t begin = r->at;
    uint64_t n = 0;
    for (; more(r) && r->p[r->at] >= '0' && r->p[r->at] <= '9' && n <= MAX_REPEAT; r->at++)
        n = n * 10 + (uint64_t)(r->p[r->at] - '0');
    if (n > MAX_REPEAT)
        refuse(r, LMF_E_LIMIT, "too many repetitions");
    *out = (uint32_t)n;
    return r->at > begin;
}

static gr_ex repeated(regex *r)
{
    gr_ex x = atom(r);
    for (;;) {
        uint32_t least = 0, most = GR_INF;
        size_t begin = r->at;
        if (skip(r, '+')) {
            least = 1;
        } else if (skip(r, '?')) {
            most = 1;
        } else if (skip(r, '{')) {
            if (!number(r, &least)) {
                r->at = begin;
                return r->status ? GR_NONE : refuse(r, LMF_E_FORMAT, "a brace that is no repetition; write \\{");
            }
            most = least;
            if (skip(r, ',') && !number(r, &most))
                most = GR_INF;
            if (!skip(r, '}') || most < least)
                return refuse(r, LMF_E_FORMAT, "a repetition that is none");
        } else if (!skip(r, '*')) {
            return x;
        }
        skip(r, '?'); /* lazy: the same texts */
        if (is(r, '+') || is(r, '*'))
            return refuse(r, LMF_E_UNSUPPORTED, "a possessive or doubled repetition, which is not supported");
        x = lmf__gr_rep(r->s, x, least, most);
    }
}

/* outer: the branch begins and ends where the text does. */
static gr_ex product(regex *r, bool outer)
{
    bool from_start = false, to_end = false;
    gr_ex x = GR_EMPTY;
    if (outer)
        while (skip(r, '^'))
            from_start = true;
    while (more(r) && !is(r, '|') && !is(r, ')')) {
        if (outer && is(r, '$') && (r->at + 1 == r->n || r->p[r->at + 1] == '|')) {
            r->at++, to_end = true;
            break;
        }
        x = lmf__gr_seq(r->s, x, repeated(r));
    }
    if (!outer || !r->search)
        return x;
    gr_ex any = lmf__gr_rep(r->s, any_but(r, false), 0, GR_INF);
    x = from_start ? x : lmf__gr_seq(r->s, any, x);
    return to_end ? x : lmf__gr_seq(r->s, x, any);
}

static gr_ex sum(regex *r, bool outer)
{
    gr_ex x = GR_NONE;
    if (++r->depth > MAX_DEPTH)
        return refuse(r, LMF_E_LIMIT, "too many groups in groups");
    do
        x = lmf__gr_or(r->s, x, product(r, outer));
    while (skip(r, '|'));
    r->depth--;
    return x;
}

lmf_status lmf__gr_regex(lmf_ctx *ctx, gr_store *s, const char *text, size_t n, bool json, bool search, gr_ex *out)
{
    regex r = { .ctx = ctx, .s = s, .p = text, .n = n, .json = json, .search = search };
    if (n > LMF_GRAMMAR_MAX_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "an expression of %zu bytes; at most %d are read", n, LMF_GRAMMAR_MAX_BYTES);
    *out = sum(&r, true);
    if (more(&r))
        refuse(&r, LMF_E_FORMAT, "a parenthesis without its start");
    return r.status;
}

lmf_status lmf_grammar_compile_regex(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *text, size_t n, const lmf_grammar_opts *opts,
                                     lmf_grammar **out)
{
    gr_ex x = GR_NONE;
    LMF_TRY(lmf__gr_grammar_new(ctx, v, opts, out));
    lmf_status s = lmf__gr_regex(ctx, &(*out)->s, text, n, false, false, &x);
    s = s ? s : lmf__gr_grammar_done(*out, lmf__gr_lex(&(*out)->s, x), "the regular expression");
    if (s) {
        lmf_grammar_destroy(*out);
        *out = NULL;
    }
    return s;
}

lmf_status lmf_grammar_compile_choices(lmf_ctx *ctx, const lmf_grammar_vocab *v, const char *const *choice, size_t n,
    const lmf_grammar_opts *opts,
                                       lmf_grammar **out)
{
    *out = NULL;
    if (!n || n > LMF_SCHEMA_MAX_VALUES)
        return LMF_FAIL(ctx, n ? LMF_E_LIMIT : LMF_E_ARG, "%zu choices; from 1 to %d are taken", n, LMF_SCHEMA_MAX_VALUES);
    size_t *n_choice = lmf_alloc(ctx, n * sizeof *n_choice), bytes = 0;
    if (!n_choice)
        return LMF_NO_MEMORY(ctx, n * sizeof *n_choice, "choices");
    for (size_t i = 0; i < n; i++)
        bytes += n_choice[i] = strlen(choice[i]);
    lmf_status s = bytes > LMF_GRAMMAR_MAX_BYTES
                 ? LMF_FAIL(ctx, LMF_E_LIMIT, "choices of %zu bytes; at most %d are read", bytes, LMF_GRAMMAR_MAX_BYTES)
                 : lmf__gr_grammar_new(ctx, v, opts, out);
    if (!s)
        s = lmf__gr_grammar_done(*out, lmf__gr_words(&(*out)->s, choice, n_choice, n), "the list of choices");
    lmf_free(ctx, n_choice, n * sizeof *n_choice);
    if (s) {
        lmf_grammar_destroy(*out);
        *out = NULL;
    }
    return s;
}
