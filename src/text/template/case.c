/* SPDX-License-Identifier: Apache-2.0 */
/* Upper and lower case and character classes, as Python's str has them, on utf8proc's data.
 * Rule: one character may become up to three; those few are in the table below, utf8proc's own map is one to one. */
#include <utf8proc.h>
#include "text/template/value.h"

typedef struct special { uint32_t c; const char *upper, *title; } special;
static const special specials[] = { /* Unicode SpecialCasing.txt, unconditional rows whose upper case is longer */
    { 0xdf, "SS", "Ss" }, { 0x149, "\u02bcN", "\u02bcN" }, { 0x1f0, "J\u030c", "J\u030c" }, { 0x390, "\u0399\u0308\u0301", "\u0399\u0308\u0301" },
    { 0x3b0, "\u03a5\u0308\u0301", "\u03a5\u0308\u0301" }, { 0x587, "\u0535\u0552", "\u0535\u0582" }, { 0x1e96, "H\u0331", "H\u0331" },
    { 0x1e97, "T\u0308", "T\u0308" }, { 0x1e98, "W\u030a", "W\u030a" }, { 0x1e99, "Y\u030a", "Y\u030a" }, { 0x1e9a, "A\u02be", "A\u02be" },
    { 0xfb00, "FF", "Ff" }, { 0xfb01, "FI", "Fi" }, { 0xfb02, "FL", "Fl" }, { 0xfb03, "FFI", "Ffi" }, { 0xfb04, "FFL", "Ffl" },
    { 0xfb05, "ST", "St" }, { 0xfb06, "ST", "St" },
};

static const special *find_special(uint32_t c)
{
    for (size_t i = 0; c >= 0xdf && i < sizeof specials / sizeof *specials; i++)
        if (specials[i].c == c)
            return &specials[i];
    return NULL;
}

static utf8proc_category_t category(uint32_t c) { return utf8proc_category((utf8proc_int32_t)c); }

static bool is_lower(uint32_t c)
{
    if (c < 0x80)
        return c >= 'a' && c <= 'z';
    return category(c) == UTF8PROC_CATEGORY_LL || c == 0xaa || c == 0xba || (c >= 0x2b0 && c <= 0x2b8) || (c >= 0x2170 && c <= 0x217f) || (c >= 0x24d0 && c <= 0x24e9);
}
static bool is_upper(uint32_t c)
{
    if (c < 0x80)
        return c >= 'A' && c <= 'Z';
    return category(c) == UTF8PROC_CATEGORY_LU || (c >= 0x2160 && c <= 0x216f) || (c >= 0x24b6 && c <= 0x24cf);
}
static bool is_title(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }
static bool is_cased(uint32_t c) { return is_lower(c) || is_upper(c) || is_title(c); }
static bool is_case_ignorable(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK ||
        c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2019;
}

/* A sigma at the end of a word becomes the final form. */
static bool is_final_sigma(const tpl_str *s, size_t at, size_t len)
{
    size_t i = at, l;
    bool before = false;
    while (i > 0) {
        do
            i--;
        while (i > 0 && ((unsigned char)s->data[i] & 0xc0) == 0x80);
        uint32_t c = lmf__tpl_decode(s->data + i, s->n - i, &l);
        if (!is_case_ignorable(c)) {
            before = is_cased(c);
            break;
        }
    }
    for (i = at + len; before && i < s->n; i += l) {
        uint32_t c = lmf__tpl_decode(s->data + i, s->n - i, &l);
        if (!is_case_ignorable(c))
            return !is_cased(c);
    }
    return before;
}

static void put_lower(tpl_builder *b, const tpl_str *s, size_t at, size_t len, uint32_t c)
{
    if (c < 0x80)
        lmf__tpl_put_char(b, c >= 'A' && c <= 'Z' ? c + 32 : c);
    else if (c == 0x130)
        lmf__tpl_puts(b, "i\u0307");
    else if (c == 0x3a3)
        lmf__tpl_put_char(b, is_final_sigma(s, at, len) ? 0x3c2 : 0x3c3);
    else
        lmf__tpl_put_char(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static void put_upper(tpl_builder *b, uint32_t c, bool title)
{
    const special *sp = find_special(c);
    if (sp)
        lmf__tpl_puts(b, title ? sp->title : sp->upper);
    else if (c < 0x80)
        lmf__tpl_put_char(b, c >= 'a' && c <= 'z' ? c - 32 : c);
    else
        lmf__tpl_put_char(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c) : utf8proc_toupper((utf8proc_int32_t)c)));
}

lmf_status lmf__tpl_recase(tpl_run *r, const tpl_str *s, tpl_case how, tpl_value *out)
{
    tpl_builder b = { .r = r };
    bool start = true;
    LMF_TRY(TPL_STEP_BYTES(r, s->n * 4));
    for (size_t at = 0, len; at < s->n; at += len) {
        uint32_t c = lmf__tpl_decode(s->data + at, s->n - at, &len);
        switch (how) {
        case TPL_UPPER: put_upper(&b, c, false); break;
        case TPL_LOWER: put_lower(&b, s, at, len, c); break;
        case TPL_CAPITALIZE: case TPL_TITLE: case TPL_FILTER_TITLE:
            if (start)
                put_upper(&b, c, how != TPL_FILTER_TITLE);
            else
                put_lower(&b, s, at, len, c);
            break;
        case TPL_SWAPCASE:
            if (is_upper(c))
                put_lower(&b, s, at, len, c);
            else if (is_lower(c))
                put_upper(&b, c, false);
            else
                lmf__tpl_put(&b, s->data + at, len);
        }
        if (how == TPL_TITLE)
            start = !is_cased(c);
        else if (how == TPL_FILTER_TITLE) /* jinja2's own: words start behind these */
            start = lmf__tpl_is_space(c) || (c && c < 0x80 && strchr("-({[<", (int)c));
        else
            start = false;
    }
    LMF_TRY(lmf__tpl_built(&b, out));
    out->u.s->markup = s->markup;
    return LMF_OK;
}

bool lmf__tpl_printable(uint32_t c)
{
    if (c < 0x80)
        return c >= 0x20 && c < 0x7f;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF: case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS: case UTF8PROC_CATEGORY_ZL: case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
static bool is_decimal(uint32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
static bool is_digit(uint32_t c)
{
    return is_decimal(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 || (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
static bool is_numeric(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

bool lmf__tpl_word_char(uint32_t c, bool first)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
    utf8proc_category_t k = category(c);
    return is_alpha(c) || k == UTF8PROC_CATEGORY_NL || (!first && (k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_PC));
}

static bool in_class(uint32_t c, tpl_class k, bool first)
{
    switch (k) {
    case TPL_ALNUM: return is_alpha(c) || is_numeric(c);
    case TPL_ALPHA: return is_alpha(c);
    case TPL_ASCII: return c < 0x80;
    case TPL_DECIMAL: return is_decimal(c);
    case TPL_DIGIT: return is_digit(c);
    case TPL_IDENTIFIER: return lmf__tpl_word_char(c, first);
    case TPL_NUMERIC: return is_numeric(c);
    case TPL_PRINTABLE: return lmf__tpl_printable(c);
    case TPL_SPACE: return lmf__tpl_is_space(c);
    default: return false;
    }
}

lmf_status lmf__tpl_is_class(tpl_run *r, const tpl_str *s, tpl_class k, bool *out)
{
    bool cased = false, previous_cased = false;
    LMF_TRY(TPL_STEP_BYTES(r, s->n));
    *out = false;
    for (size_t at = 0, len; at < s->n; at += len) {
        uint32_t c = lmf__tpl_decode(s->data + at, s->n - at, &len);
        if (k == TPL_IS_LOWER || k == TPL_IS_UPPER) {
            if (k == TPL_IS_LOWER ? is_upper(c) || is_title(c) : is_lower(c) || is_title(c))
                return LMF_OK;
            cased |= is_cased(c);
        } else if (k == TPL_IS_TITLE) {
            if (is_cased(c) && previous_cased != is_lower(c))
                return LMF_OK;
            cased |= previous_cased = is_cased(c);
        } else if (!in_class(c, k, at == 0)) {
            return LMF_OK;
        }
    }
    *out = k == TPL_IS_LOWER || k == TPL_IS_UPPER || k == TPL_IS_TITLE ? cased : s->n > 0 || k == TPL_ASCII || k == TPL_PRINTABLE;
    return LMF_OK;
}
