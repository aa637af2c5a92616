/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: characters are whole UTF-8 without surrogates; in JSON each has one spelling here, the one that json.dumps(ensure_ascii=False)
 * gives. */
#include <stdio.h>
#include <string.h>
#include "text/grammar/vocab.h"

/* A byte base | v and n bytes behind it, where all their bits together are from .. to. */
static gr_ex utf8_range(gr_store *s, uint32_t base, uint32_t from, uint32_t to, int n)
{
    uint32_t bits = 6 * (uint32_t)n, mask = (1u << bits) - 1, a = from >> bits, b = to >> bits;
    gr_ex part[3];
    size_t k = 0;
    if (n == 0)
        return lmf__gr_range(s, (int)(base | from), (int)(base | to));
    if (a == b)
        return lmf__gr_seq(s, lmf__gr_range(s, (int)(base | a), (int)(base | a)), utf8_range(s, 0x80, from & mask, to & mask, n - 1));
    if (from & mask)
        part[k++] = utf8_range(s, base, from, a << bits | mask, n), a++;
    bool cut = (to & mask) != mask;
    if (cut)
        part[k++] = utf8_range(s, base, b << bits, to, n);
    if (a + cut <= b) {
        gr_ex full = lmf__gr_range(s, (int)(base | a), (int)(base | (b - cut)));
        for (int i = 0; i < n; i++)
            full = lmf__gr_seq(s, full, lmf__gr_range(s, 0x80, 0xbf));
        part[k++] = full;
    }
    return lmf__gr_alt(s, part, k);
}

static gr_ex add_raw(gr_store *s, gr_ex x, uint32_t from, uint32_t to)
{
    static const uint32_t end[] = { 0, 0x7f, 0x7ff, 0xffff, 0x10ffff }, lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (int n = 1; n <= 4; n++) {
        uint32_t a = n > 1 && from <= end[n - 1] ? end[n - 1] + 1 : from, b = to > end[n] ? end[n] : to;
        if (a > b || to < a)
            continue;
        if (n == 3 && a < 0xe000 && b >= 0xd800) { /* surrogates are no characters */
            if (a < 0xd800)
                x = lmf__gr_or(s, x, utf8_range(s, 0xe0, a, 0xd7ff, 2));
            if (b >= 0xe000)
                x = lmf__gr_or(s, x, utf8_range(s, 0xe0, 0xe000, b, 2));
        } else {
            x = lmf__gr_or(s, x, utf8_range(s, lead[n], a, b, n - 1));
        }
    }
    return x;
}

static gr_ex add_escapes(gr_store *s, gr_ex x, uint32_t from, uint32_t to)
{
    static const char letter[32] = { [8] = 'b', [9] = 't', [10] = 'n', [12] = 'f', [13] = 'r' };
    for (uint32_t c = from; c <= to && c < 32; c++) {
        char text[8];
        if (letter[c])
            snprintf(text, sizeof text, "\\%c", letter[c]);
        else
            snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
        x = lmf__gr_or(s, x, lmf__gr_str(s, text));
    }
    if (from <= '"' && to >= '"')
        x = lmf__gr_or(s, x, lmf__gr_str(s, "\\\""));
    return from <= '\\' && to >= '\\' ? lmf__gr_or(s, x, lmf__gr_str(s, "\\\\")) : x;
}

gr_ex lmf__gr_chars(gr_store *s, const gr_span *span, size_t n, bool json)
{
    gr_ex x = GR_NONE;
    for (size_t i = 0; i < n && !s->status; i++) {
        uint32_t from = span[i].from, to = span[i].to > 0x10ffff ? 0x10ffff : span[i].to;
        if (!json) {
            x = add_raw(s, x, from, to);
            continue;
        }
        const gr_span raw[] = { { 32, '"' - 1 }, { '"' + 1, '\\' - 1 }, { '\\' + 1, 0x10ffff } };
        x = add_escapes(s, x, from, to);
        for (int k = 0; k < 3; k++) {
            uint32_t a = from > raw[k].from ? from : raw[k].from, b = to < raw[k].to ? to : raw[k].to;
            if (a <= b)
                x = add_raw(s, x, a, b);
        }
    }
    return x;
}

static gr_ex hex(gr_store *s, const char *from_to)
{
    uint32_t set[8] = { 0 };
    for (const char *p = from_to; *p; p++)
        set[*p / 32] |= 1u << *p % 32;
    return lmf__gr_set(s, set);
}
#define SEQ4(a, b, c, d) lmf__gr_seq(s, a, lmf__gr_seq(s, b, lmf__gr_seq(s, c, d)))

/* \u and four digits; the two halves of a pair only together. */
static gr_ex unicode_escape(gr_store *s)
{
    gr_ex any = hex(s, "0123456789abcdefABCDEF"), u = lmf__gr_str(s, "\\u"), d = hex(s, "dD");
    gr_ex plain = SEQ4(hex(s, "0123456789abcefABCEF"), any, any, any), low = SEQ4(d, hex(s, "01234567"), any, any);
    gr_ex first = SEQ4(d, hex(s, "89abAB"), any, any), second = SEQ4(d, hex(s, "cdefCDEF"), any, any);
    gr_ex pair = lmf__gr_seq(s, first, lmf__gr_seq(s, u, second));
    return lmf__gr_seq(s, lmf__gr_str(s, "u"), lmf__gr_alt(s, (gr_ex[]){ plain, low, pair }, 3));
}

/* Digits, fraction and exponent such that f64 holds the number, and i64 the integer. */
static void numbers(lmf_grammar_vocab *v)
{
    gr_store *s = &v->base;
    gr_ex digit = lmf__gr_range(s, '0', '9'), one = lmf__gr_range(s, '1', '9'), sign = lmf__gr_opt(s, lmf__gr_str(s, "-"));
    gr_ex whole = lmf__gr_or(s, lmf__gr_str(s, "0"), lmf__gr_seq(s, one, lmf__gr_rep(s, digit, 0, 300)));
    gr_ex few = lmf__gr_or(s, lmf__gr_str(s, "0"), lmf__gr_seq(s, one, lmf__gr_rep(s, digit, 0, 7)));
    gr_ex fraction = lmf__gr_opt(s, lmf__gr_seq(s, lmf__gr_str(s, "."), lmf__gr_rep(s, digit, 1, GR_INF)));
    gr_ex power = lmf__gr_or(s, lmf__gr_rep(s, digit, 1, 2), lmf__gr_seq(s, lmf__gr_range(s, '1', '2'), lmf__gr_rep(s, digit, 2, 2)));
    gr_ex exponent = lmf__gr_seq(s, hex(s, "eE"), lmf__gr_seq(s, lmf__gr_opt(s, hex(s, "+-")), power));
    gr_ex integer = lmf__gr_or(s, lmf__gr_str(s, "0"), lmf__gr_seq(s, one, lmf__gr_rep(s, digit, 0, GR_INT_DIGITS - 1)));
    v->integer = lmf__gr_seq(s, sign, integer);
    v->number = lmf__gr_seq(s, sign, lmf__gr_or(s, lmf__gr_seq(s, whole, fraction), SEQ4(few, fraction, exponent, GR_EMPTY)));
}

lmf_status lmf__gr_json_base(lmf_grammar_vocab *v)
{
    gr_store *s = &v->base;
    gr_ex quote = lmf__gr_str(s, "\"");
    const gr_span all = { 0, 0x10ffff };
    uint32_t escaped[8] = { 0 };
    for (const char *p = "\"\\/bfnrt"; *p; p++)
        escaped[*p / 32] |= 1u << *p % 32;
    v->plain = lmf__gr_chars(s, &all, 1, true);
    gr_ex raw = GR_NONE;
    raw = add_raw(s, raw, 32, '"' - 1), raw = add_raw(s, raw, '"' + 1, '\\' - 1), raw = add_raw(s, raw, '\\' + 1, 0x10ffff);
    gr_ex escape = lmf__gr_seq(s, lmf__gr_str(s, "\\"), lmf__gr_or(s, lmf__gr_set(s, escaped), unicode_escape(s)));
    v->character = lmf__gr_or(s, raw, escape);
    v->string = lmf__gr_lex(s, lmf__gr_seq(s, lmf__gr_rep(s, v->character, 0, GR_INF), quote));
    v->key = lmf__gr_lex(s, lmf__gr_seq(s, lmf__gr_rep(s, v->plain, 0, GR_INF), quote));
    for (uint32_t n = 0; n < v->longest && n <= GR_N_BOUNDED; n++) /* near a bound of a string's length, and far from it */
        (void)lmf__gr_lex(s, lmf__gr_seq(s, lmf__gr_rep(s, v->character, 0, n), quote));
    for (uint32_t n = 1; n <= v->longest && n <= GR_N_BOUNDED; n++)
        (void)lmf__gr_lex(s, lmf__gr_seq(s, lmf__gr_rep(s, v->character, n, GR_INF), quote));
    numbers(v);
    return lmf__gr_status(s, "JSON");
}
