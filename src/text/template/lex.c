/* SPDX-License-Identifier: Apache-2.0 */
/* The lexer: text outside of tags, with Jinja's rules of white space (trim_blocks, lstrip_blocks, - and +), and the
 * tokens inside of them.
 * Rule: every byte is looked at a bounded number of times; searches for an end restart behind what they found. */
#include <math.h>
#include <stdio.h>
#include "text/template/ast.h"

enum { MAX_BRACKETS = 256 };

typedef struct lexer {
    tpl_run       *r;
    lmf_arena     *scratch;
    const tpl_str *text;
    size_t         at;
    int            line;
    bool           line_starting; /* what was read last ended in a newline */
    char           brackets[MAX_BRACKETS];
    int            n_brackets;
    tpl_tokens    *out;
} lexer;

static lmf_status push(lexer *x, tpl_token_kind kind, int op, tpl_value v, int line)
{
    tpl_tokens *o = x->out;
    if (v.kind == TPL_STR)
        lmf__tpl_chars(v.u.s); /* counted now: a parsed template is never written to */
    if (o->n == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 256;
        tpl_token *items = lmf_arena_array(x->scratch, cap, sizeof *items);
        if (!items)
            return TPL_FAIL(x->r, LMF_E_MEMORY, "out of memory: %zu tokens", cap);
        if (o->n)
            memcpy(items, o->items, o->n * sizeof *items);
        o->items = items;
        o->cap = cap;
    }
    o->items[o->n++] = (tpl_token){ kind, op, line, v };
    return LMF_OK;
}

static bool at_text(const lexer *x, size_t at, const char *s)
{
    size_t n = strlen(s);
    return x->text->n - at >= n && memcmp(x->text->data + at, s, n) == 0;
}

static size_t skip_space(const lexer *x, size_t at)
{
    for (size_t len; at < x->text->n && lmf__tpl_is_space(lmf__tpl_decode(x->text->data + at, x->text->n - at, &len));)
        at += len;
    return at;
}

static void move_to(lexer *x, size_t at)
{
    for (; x->at < at; x->at++)
        x->line += x->text->data[x->at] == '\n';
    if (at > 0)
        x->line_starting = x->text->data[at - 1] == '\n';
}

/* Where a closing tag at `at` ends, white space taken along; 0 if there is none. */
static size_t tag_end(const lexer *x, size_t at, const char *close, bool trims)
{
    if (x->text->data[at] == '-' && at_text(x, at + 1, close))
        return skip_space(x, at + 3);
    if (trims && x->text->data[at] == '+' && at_text(x, at + 1, close))
        return at + 3;
    if (!at_text(x, at, close))
        return 0;
    at += 2;
    return trims && at < x->text->n && x->text->data[at] == '\n' ? at + 1 : at;
}

/* {% raw %} at `at`: where its text begins, and where {% endraw %} begins and ends. */
static size_t raw_begin(const lexer *x, size_t at)
{
    if (!at_text(x, at, "{%"))
        return 0;
    at += 2;
    at += at < x->text->n && (x->text->data[at] == '-' || x->text->data[at] == '+');
    at = skip_space(x, at);
    if (!at_text(x, at, "raw"))
        return 0;
    at = skip_space(x, at + 3);
    return at < x->text->n && x->text->data[at] != '+' && (at_text(x, at, "-%}") || at_text(x, at, "%}")) ? (at_text(x, at, "%}") ? at + 2 : skip_space(x, at + 3)) : 0;
}

/* Emits text[begin:end] before a tag, shortened as its sign and lstrip_blocks want. */
static lmf_status push_data(lexer *x, size_t begin, size_t end, char sign, bool is_variable)
{
    const char *p = x->text->data;
    size_t stop = end, len;
    if (sign == '-') {
        while (stop > begin) {
            size_t before = stop;
            do
                before--;
            while (before > begin && ((unsigned char)p[before] & 0xc0) == 0x80);
            if (!lmf__tpl_is_space(lmf__tpl_decode(p + before, stop - before, &len)))
                break;
            stop = before;
        }
    } else if (sign != '+' && !is_variable) {
        size_t at = end;
        while (at > begin && p[at - 1] != '\n')
            at--;
        if ((at > begin || x->line_starting) && skip_space(x, at) >= end)
            stop = at;
    }
    if (stop > begin) {
        tpl_str *s = lmf__tpl_str_view(x->r, x->text, begin, stop - begin);
        if (!s)
            return x->r->status;
        LMF_TRY(push(x, TPL_T_DATA, 0, lmf__tpl_of_str(s), x->line));
    }
    return LMF_OK;
}

static int hex_digits(const char *p, size_t n, size_t count, uint32_t *out)
{
    uint32_t v = 0;
    if (n < count)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const char *at = p[i] ? strchr("0123456789abcdef0123456789ABCDEF", p[i]) : NULL;
        if (!at)
            return 0;
        v = v * 16 + (uint32_t)((at - (const char *)strchr("0123456789abcdef0123456789ABCDEF", '0')) % 16);
    }
    *out = v;
    return 1;
}

/* One escape, p[0] is the backslash; n bytes up to the closing quote. */
static lmf_status unescape_one(lexer *x, tpl_builder *b, const char *p, size_t n, size_t *used)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char text[12];
    size_t len, count;
    uint32_t c = 0;
    const char *at = p[1] ? strchr(from, p[1]) : NULL;
    *used = 2;
    if (at)
        return lmf__tpl_put(b, &to[at - from], 1), LMF_OK;
    if (p[1] == '\n')
        return LMF_OK;
    if (p[1] >= '0' && p[1] <= '7') {
        for (*used = 1; *used < 4 && *used < n && p[*used] >= '0' && p[*used] <= '7'; ++*used)
            c = c * 8 + (uint32_t)(p[*used] - '0');
        return lmf__tpl_put_char(b, c), LMF_OK;
    }
    if (p[1] == 'x' || p[1] == 'u' || p[1] == 'U') {
        count = p[1] == 'x' ? 2 : p[1] == 'u' ? 4 : 8;
        if (!hex_digits(p + 2, n - 2, count, &c) || c > 0x10ffff)
            return TPL_FAIL(x->r, LMF_E_FORMAT, "a \\%c in a string needs %zu hexadecimal digits of a character", p[1], count);
        if (c >= 0xd800 && c < 0xe000)
            return TPL_FAIL(x->r, LMF_E_FORMAT, "half of a surrogate pair in a string");
        *used = 2 + count;
        return lmf__tpl_put_char(b, c), LMF_OK;
    }
    if (p[1] == 'N')
        return TPL_FAIL(x->r, LMF_E_UNSUPPORTED, "characters by name (\\N{...}) are not supported");
    if ((unsigned char)p[1] >= 0x80) { /* jinja2 writes such a character as an escape first, and so loses it */
        c = lmf__tpl_decode(p + 1, n - 1, &len);
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        lmf__tpl_puts(b, text);
        *used = 1 + len;
        return LMF_OK;
    }
    return lmf__tpl_put(b, p, 2), LMF_OK; /* an unknown escape stays */
}

static lmf_status lex_string(lexer *x)
{
    const char *p = x->text->data;
    size_t at = x->at + 1, used;
    char quote = p[x->at];
    int line = x->line;
    tpl_value v;
    tpl_builder b = { .r = x->r };
    size_t end = at;
    while (end < x->text->n && p[end] != quote)
        end += p[end] == '\\' ? 2 : 1;
    if (end >= x->text->n)
        return TPL_FAIL(x->r, LMF_E_FORMAT, "a string has no closing %c", quote);
    while (at < end) {
        size_t plain = at;
        while (plain < end && p[plain] != '\\')
            plain++;
        lmf__tpl_put(&b, p + at, plain - at);
        at = plain;
        if (at < end) {
            LMF_TRY(unescape_one(x, &b, p + at, end - at, &used));
            at += used;
        }
    }
    LMF_TRY(lmf__tpl_built(&b, &v));
    move_to(x, end + 1);
    return push(x, TPL_T_STRING, 0, v, line);
}

static size_t digits(const lexer *x, size_t at, const char *allowed)
{
    const char *p = x->text->data;
    size_t n = x->text->n, end = at;
    while (end < n && ((p[end] && strchr(allowed, p[end])) || (p[end] == '_' && end > at && p[end - 1] != '_' && end + 1 < n && p[end + 1] && strchr(allowed, p[end + 1]))))
        end++;
    return end;
}

static lmf_status lex_number(lexer *x)
{
    static const char decimal[] = "0123456789";
    const char *p = x->text->data;
    size_t n = x->text->n, at = x->at, whole = digits(x, at, decimal), end = whole, e;
    bool after_dot = at > 0 && p[at - 1] == '.', is_float = false, overflow;
    tpl_value v;
    double f;
    int64_t i;
    if (!after_dot) {
        if (end + 1 < n && p[end] == '.' && p[end + 1] >= '0' && p[end + 1] <= '9')
            end = digits(x, end + 1, decimal), is_float = true;
        if (end < n && (p[end] == 'e' || p[end] == 'E')) {
            e = end + 1;
            e += e < n && (p[e] == '+' || p[e] == '-');
            if (e < n && p[e] >= '0' && p[e] <= '9')
                end = digits(x, e, decimal), is_float = true;
        }
    }
    if (!is_float) {
        end = at;
        if (p[at] != '0') {
            end = whole;
        } else {
            char kind = at + 1 < n ? (char)(p[at + 1] | 32) : 0;
            const char *set = kind == 'x' ? "0123456789abcdefABCDEF" : kind == 'o' ? "01234567" : kind == 'b' ? "01" : NULL;
            size_t from = at + 2 + (at + 2 < n && p[at + 2] == '_'), stop = set && from < n ? digits(x, from, set) : from;
            end = set && stop > from ? stop : digits(x, at, "0");
        }
        if (!lmf__tpl_parse_int(p + at, end - at, 0, &i, &overflow) || overflow)
            return TPL_FAIL(x->r, LMF_E_UNSUPPORTED, "the number %.*s is outside of 64-bit integers", (int)(end - at < 40 ? end - at : 40), p + at);
        v = lmf__tpl_int(i);
    } else {
        if (!lmf__tpl_parse_float(p + at, end - at, &f) || isinf(f))
            return TPL_FAIL(x->r, LMF_E_UNSUPPORTED, "the number %.*s is too long or too large", (int)(end - at < 40 ? end - at : 40), p + at);
        v = lmf__tpl_float(f);
    }
    int line = x->line;
    move_to(x, end);
    return push(x, TPL_T_NUMBER, 0, v, line);
}

static lmf_status lex_name(lexer *x)
{
    const char *p = x->text->data;
    size_t at = x->at, len;
    for (uint32_t c; at < x->text->n; at += len) {
        c = lmf__tpl_decode(p + at, x->text->n - at, &len);
        if (!lmf__tpl_word_char(c, at == x->at))
            break;
    }
    if (at == x->at)
        return TPL_FAIL(x->r, LMF_E_FORMAT, "unexpected character '%.*s'", (int)(lmf__tpl_decode(p + at, x->text->n - at, &len), len), p + at);
    tpl_str *s = lmf__tpl_str_view(x->r, x->text, x->at, at - x->at);
    if (!s)
        return x->r->status;
    int line = x->line;
    move_to(x, at);
    return push(x, TPL_T_NAME, 0, lmf__tpl_of_str(s), line);
}

static lmf_status lex_operator(lexer *x)
{
    static const char two[][3] = { "//", "**", "==", "!=", "<=", ">=" };
    static const char letters[] = "fpenlg";
    int op = (unsigned char)x->text->data[x->at], line = x->line;
    size_t len = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++)
        if (at_text(x, x->at, two[i]))
            op = letters[i], len = 2;
    if (op == '{' || op == '(' || op == '[') {
        if (x->n_brackets == MAX_BRACKETS)
            return TPL_FAIL(x->r, LMF_E_LIMIT, "brackets nest deeper than %d", MAX_BRACKETS);
        x->brackets[x->n_brackets++] = op == '{' ? '}' : op == '(' ? ')' : ']';
    } else if (op == '}' || op == ')' || op == ']') {
        if (!x->n_brackets || x->brackets[x->n_brackets - 1] != op)
            return TPL_FAIL(x->r, LMF_E_FORMAT, "unexpected '%c'", op);
        x->n_brackets--;
    }
    move_to(x, x->at + len);
    return push(x, TPL_T_OP, op, TPL_NONE_VALUE, line);
}

/* The inside of a tag, up to and with its closing. */
static lmf_status lex_tag(lexer *x, bool block)
{
    const char *close = block ? "%}" : "}}";
    tpl_run *r = x->r;
    for (;;) {
        r->line = x->line;
        size_t end = x->at < x->text->n && !x->n_brackets ? tag_end(x, x->at, close, block) : 0;
        if (end) {
            int line = x->line;
            move_to(x, end);
            return push(x, block ? TPL_T_BLOCK_END : TPL_T_VAR_END, 0, TPL_NONE_VALUE, line);
        }
        move_to(x, skip_space(x, x->at));
        if (x->at >= x->text->n)
            return TPL_FAIL(r, LMF_E_FORMAT, "the template ends inside of a tag; '%s' is missing", close);
        r->line = x->line;
        if (!x->n_brackets && tag_end(x, x->at, close, block))
            continue;
        char c = x->text->data[x->at];
        if (c >= '0' && c <= '9')
            LMF_TRY(lex_number(x));
        else if (c == '\'' || c == '"')
            LMF_TRY(lex_string(x));
        else if ((c && strchr("+-/*%~[](){}=<>.:|,;", c)) || at_text(x, x->at, "!="))
            LMF_TRY(lex_operator(x));
        else
            LMF_TRY(lex_name(x));
    }
}

/* The first position from `at` on where a closing tag stands, and where that ends; SIZE_MAX if there is none. */
static size_t search_end(const lexer *x, size_t at, const char *close, size_t *end)
{
    for (; at < x->text->n; at++) {
        char c = x->text->data[at];
        if ((c == close[0] || c == '-' || c == '+') && (*end = tag_end(x, at, close, true)) != 0)
            return at;
    }
    return SIZE_MAX;
}

static lmf_status lex_raw(lexer *x, size_t begin)
{
    const char *p = x->text->data;
    move_to(x, begin);
    if (begin >= x->text->n)
        return LMF_OK;
    for (size_t at = begin; at < x->text->n; at++) {
        if (p[at] != '{' || !at_text(x, at, "{%"))
            continue;
        size_t name = at + 2, end;
        char sign = name < x->text->n && (p[name] == '-' || p[name] == '+') ? p[name] : 0;
        name = skip_space(x, name + (sign != 0));
        if (!at_text(x, name, "endraw"))
            continue;
        name = skip_space(x, name + 6);
        end = name < x->text->n ? tag_end(x, name, "%}", true) : 0;
        if (!end)
            continue;
        LMF_TRY(push_data(x, begin, at, sign, false));
        move_to(x, end);
        return LMF_OK;
    }
    return TPL_FAIL(x->r, LMF_E_FORMAT, "{%% raw %%} has no {%% endraw %%}");
}

lmf_status lmf__tpl_lex(tpl_run *r, lmf_arena *scratch, const tpl_str *text, tpl_tokens *out)
{
    lexer lx = { .r = r, .scratch = scratch, .text = text, .line = 1, .line_starting = true, .out = out }, *x = &lx;
    while (x->at < text->n) {
        size_t tag = x->at, end;
        r->line = x->line;
        while (tag < text->n && !(text->data[tag] == '{' && tag + 1 < text->n && strchr("{%#", text->data[tag + 1]) && text->data[tag + 1]))
            tag++;
        if (tag >= text->n) {
            LMF_TRY(push_data(x, x->at, tag, '+', true));
            move_to(x, tag);
            break;
        }
        char kind = text->data[tag + 1], sign = tag + 2 < text->n && (text->data[tag + 2] == '-' || text->data[tag + 2] == '+') ? text->data[tag + 2] : 0;
        LMF_TRY(push_data(x, x->at, tag, sign, kind == '{'));
        move_to(x, tag);
        r->line = x->line;
        size_t raw = kind == '%' ? raw_begin(x, tag) : 0;
        if (raw) {
            LMF_TRY(lex_raw(x, raw));
            continue;
        }
        move_to(x, tag + 2 + (sign != 0));
        if (kind == '#') {
            if (x->at >= text->n) /* jinja2 takes a comment that has not even begun for the end */
                break;
            if (search_end(x, x->at, "#}", &end) == SIZE_MAX)
                return TPL_FAIL(r, LMF_E_FORMAT, "a comment has no end; '#}' is missing");
            move_to(x, end);
            continue;
        }
        LMF_TRY(push(x, kind == '%' ? TPL_T_BLOCK_BEGIN : TPL_T_VAR_BEGIN, 0, TPL_NONE_VALUE, x->line));
        LMF_TRY(lex_tag(x, kind == '%'));
    }
    r->line = x->line;
    return push(x, TPL_T_END, 0, TPL_NONE_VALUE, x->line);
}
