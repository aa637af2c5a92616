/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a splitter never looks at bytes it has already given away more than a fixed number of times, so a text costs
 * linear time whatever is in it. */
#include "text/tokenizer/pretok.h"
#include <string.h>
#include <utf8proc.h>

const lmf_pretok *lmf_pretok_find(const lmf_ctx *ctx, const char *name)
{
    for (const lmf_pretok *const *row = ctx->tables ? ctx->tables->pretoks : NULL; row && *row; row++)
        for (const char *const *s = (*row)->names; *s; s++)
            if (!strcmp(*s, name))
                return *row;
    return NULL;
}

lmf_status lmf_pretok_resolve(lmf_ctx *ctx, const lmf_pretok_desc *desc, const char **name)
{
    *name = NULL;
    const char *regex = desc->split_regex ? desc->split_regex : LMF_REGEX_GPT2;
    if (!desc->byte_level)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "pre_tokenizer has no ByteLevel step: only byte-level vocabularies are supported");
    if (desc->add_prefix_space)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "pre_tokenizer ByteLevel asks for add_prefix_space, which is not supported");
    if (!desc->split_regex == !desc->use_regex)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "pre_tokenizer must have exactly one of a Split pattern and ByteLevel's use_regex");
    for (const lmf_pretok *const *row = ctx->tables ? ctx->tables->pretoks : NULL; row && *row; row++)
        if ((*row)->hf_digits == desc->digits && (*row)->hf_regex && !strcmp((*row)->hf_regex, regex)) {
            *name = (*row)->names[0];
            return LMF_OK;
        }
    return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "no pre-tokenizer splits by \"%.400s\"%s: add src/text/pretok_<name>.c", regex,
                    desc->digits == LMF_DIGITS_EACH ? " behind individual digits" : desc->digits ? " behind runs of digits" : "");
}

/* ---- characters ---- */
enum { O = LMF_CHAR_OTHER, L = LMF_CHAR_LETTER, N = LMF_CHAR_NUMBER, S = LMF_CHAR_SPACE };
const uint8_t lmf__ascii_class[128] = {
    O, O, O, O, O, O, O, O, O, S, S, S, S, S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O,
    S, O, O, O, O, O, O, O, O, O, O, O, O, O, O, O, N, N, N, N, N, N, N, N, N, N, O, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, O, O, O, O, O,
};

/* Letters and numbers that Unicode 15.1 and 16.0 added; utf8proc 2.8 knows 15.0. */
static const struct { int32_t first, last; uint8_t cls; } newer[] = {
    { 0x1c89, 0x1c8a, L }, { 0xa7cb, 0xa7cd, L }, { 0xa7da, 0xa7dc, L }, { 0x105c0, 0x105f3, L }, { 0x10d40, 0x10d49, N },
    { 0x10d4a, 0x10d65, L }, { 0x10d6f, 0x10d85, L }, { 0x10ec2, 0x10ec4, L }, { 0x11380, 0x11389, L }, { 0x1138b, 0x1138b, L },
    { 0x1138e, 0x1138e, L }, { 0x11390, 0x113b5, L }, { 0x113b7, 0x113b7, L }, { 0x113d1, 0x113d1, L }, { 0x113d3, 0x113d3, L },
    { 0x116d0, 0x116e3, N }, { 0x11bc0, 0x11be0, L }, { 0x11bf0, 0x11bf9, N }, { 0x13460, 0x143fa, L }, { 0x16100, 0x1611d, L },
    { 0x16130, 0x16139, N }, { 0x16d40, 0x16d6c, L }, { 0x16d70, 0x16d79, N }, { 0x18cff, 0x18cff, L }, { 0x1ccf0, 0x1ccf9, N },
    { 0x1e5d0, 0x1e5ed, L }, { 0x1e5f0, 0x1e5f0, L }, { 0x1e5f1, 0x1e5fa, N }, { 0x2ebf0, 0x2ee5d, L },
};

static uint8_t class_of(int32_t cp)
{
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_LU: case UTF8PROC_CATEGORY_LL: case UTF8PROC_CATEGORY_LT: case UTF8PROC_CATEGORY_LM: case UTF8PROC_CATEGORY_LO:
        return L;
    case UTF8PROC_CATEGORY_ND: case UTF8PROC_CATEGORY_NL: case UTF8PROC_CATEGORY_NO:
        return N;
    case UTF8PROC_CATEGORY_ZS: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP:
        return S;
    case UTF8PROC_CATEGORY_CN:
        for (size_t i = 0; i < sizeof newer / sizeof *newer; i++)
            if (cp <= newer[i].last)
                return cp >= newer[i].first ? newer[i].cls : O;
        return O;
    default:
        return cp == 0x85 ? S : O; /* NEL: a control character, and White_Space */
    }
}

bool lmf__char_is_word(int32_t cp)
{
    if (cp < 0)
        return false;
    if (cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||                                           /* joiners, circled */
        (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) || (cp >= 0x1f170 && cp <= 0x1f189)) /* letters */
        return true;
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_MN: case UTF8PROC_CATEGORY_MC: case UTF8PROC_CATEGORY_ME: case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_NO:
        return false;
    default:
        return class_of(cp) == L || class_of(cp) == N;
    }
}

int lmf__utf8_scan(const uint8_t *p, size_t n, int32_t *cp)
{
    uint8_t b = p[0];
    if (b < 0x80)
        return *cp = b, 1;
    int want = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (!want)
        return -1;
    int32_t c = b & (0x7f >> want);
    for (int i = 1; i < want; i++) {
        if ((size_t)i == n)
            return 0;
        /* the second byte's range excludes overlong forms, surrogates and what lies past 10FFFF */
        uint8_t lo = i > 1 ? 0x80 : b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
        uint8_t hi = i > 1 ? 0xbf : b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
        if (p[i] < lo || p[i] > hi)
            return -i;
        c = c << 6 | (p[i] & 0x3f);
    }
    return *cp = c, want;
}

lmf_char lmf__char_wide(const uint8_t *text, size_t n, size_t at)
{
    int32_t cp;
    int k = lmf__utf8_scan(text + at, n - at, &cp);
    return k > 0 ? (lmf_char){ cp, class_of(cp), (uint8_t)k } : (lmf_char){ -1, O, 1 };
}

/* ---- splitters ---- */

/* Bytes of 's 't 're 've 'm 'll 'd at `at`, or 0. Folding case, U+017F (long s) is an s. */
static size_t contraction(const uint8_t *text, size_t n, size_t at, bool fold)
{
    uint8_t a = at + 1 < n ? text[at + 1] : 0, b = at + 2 < n ? text[at + 2] : 0;
    if (fold && a == 0xc5 && b == 0xbf)
        return 3;
    if (fold && a >= 'A' && a <= 'Z')
        a |= 0x20;
    if (fold && b >= 'A' && b <= 'Z')
        b |= 0x20;
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

/* \s+(?!\S)|\s+ : before a word the last space stays behind, to go with it. */
static size_t split_spaces(const uint8_t *text, size_t n, size_t at, bool numbers_alone, bool newlines)
{
    size_t end = at, last = at, after_newline = 0;
    lmf_char c = { .cls = O };
    for (; end < n; end += c.n) {
        c = lmf__char_at(text, n, end);
        if (c.cls != S)
            break;
        last = end;
        if (c.cp == '\n' || c.cp == '\r')
            after_newline = end + c.n;
    }
    if (newlines && after_newline)
        return after_newline;
    return end == n || last == at || (numbers_alone && c.cls == N) ? end : last;
}

size_t lmf__split_gpt2(const uint8_t *text, size_t n, size_t at, bool numbers_alone)
{
    size_t k;
    if (text[at] == '\'' && (k = contraction(text, n, at, false)))
        return at + k;
    lmf_char c = lmf__char_at(text, n, at);
    if (numbers_alone && c.cls == N)
        return at + c.n;
    size_t i = at + c.n;
    if (text[at] == ' ' && i < n) {
        lmf_char next = lmf__char_at(text, n, i);
        if (next.cls != S && !(numbers_alone && next.cls == N))
            c = next, i += next.n;
    }
    if (c.cls == S)
        return split_spaces(text, n, at, numbers_alone, false);
    return lmf__char_run(text, n, i, c.cls, SIZE_MAX);
}

size_t lmf__split_llama3(const uint8_t *text, size_t n, size_t at, size_t max_numbers)
{
    size_t k;
    if (text[at] == '\'' && (k = contraction(text, n, at, true)))
        return at + k;
    lmf_char c = lmf__char_at(text, n, at);
    size_t i = at + c.n;
    if (c.cls == L)
        return lmf__char_run(text, n, i, L, SIZE_MAX);
    if (c.cls == N)
        return lmf__char_run(text, n, i, N, max_numbers - 1);
    if (c.cp != '\r' && c.cp != '\n' && i < n) {
        lmf_char next = lmf__char_at(text, n, i);
        if (next.cls == L)
            return lmf__char_run(text, n, i + next.n, L, SIZE_MAX);
        if (c.cp == ' ' && next.cls == O)
            c = next, i += next.n;
    }
    if (c.cls == S)
        return split_spaces(text, n, at, false, true);
    i = lmf__char_run(text, n, i, O, SIZE_MAX);
    while (i < n && (text[i] == '\r' || text[i] == '\n'))
        i++;
    return i;
}
