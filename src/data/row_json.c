/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the parser's words are never passed on: it repeats bytes of the file. What is said here names words of letters alone. */
#include <stdio.h>
#include <string.h>
#include "data/rows.h"
#include "text/template/template.h"

/* Numbers that JSON's reader can't hold become strings with the template's mark (LMF_TEMPLATE_BIG). */
static lmf_status mark_numbers(lmf_ctx *ctx, const char *p, size_t n, lmf_buf *out)
{
    lmf_buf_init(out, ctx, 2 * n + 64);
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (quoted || !(c == '-' || (c >= '0' && c <= '9'))) {
            lmf_buf_putc(out, c);
            if (quoted && c == '\\' && i + 1 < n)
                lmf_buf_putc(out, p[++i]);
            else if (c == '"')
                quoted = !quoted;
            continue;
        }
        size_t len = 1;
        while (i + len < n && strchr("-+.eE0123456789", p[i + len]) && p[i + len])
            len++;
        json_error_t e;
        json_t *held = json_loadb(p + i, len, JSON_DECODE_ANY, &e);
        bool big = !held && json_error_code(&e) == json_error_numeric_overflow;
        json_decref(held);
        if (big)
            lmf_buf_puts(out, "\"" LMF_TEMPLATE_BIG);
        lmf_buf_append(out, p + i, len);
        if (big)
            lmf_buf_putc(out, '"');
        i += len - 1;
    }
    return out->status;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* Length of a word of letters at p that JSON does not have; 0: none begins here. */
static size_t foreign_word(const char *p, size_t n)
{
    size_t len = 0;
    while (len < n && is_letter(p[len]))
        len++;
    bool known = (len == 4 && (!memcmp(p, "true", 4) || !memcmp(p, "null", 4))) || (len == 5 && !memcmp(p, "false", 5));
    return known || len > 20 ? 0 : len;
}

/* The \uXXXX at p as a number, or -1. */
static int escape_at(const char *p, size_t n)
{
    int v = 0;
    if (n < 6 || p[0] != '\\' || p[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int d = p[i] >= '0' && p[i] <= '9' ? p[i] - '0' : (p[i] | 32) >= 'a' && (p[i] | 32) <= 'f' ? (p[i] | 32) - 'a' + 10 : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

/* What JSON's grammar does not have, by what other programs write: Python's print and json.dumps, JavaScript. */
static void find_fault(const char *p, size_t n, char *why, size_t why_bytes)
{
    char last = 0; /* before this one, blanks left out */
    bool quoted = false;
    for (size_t i = 0; i < n; i++) {
        int half = quoted ? escape_at(p + i, n - i) : -1, other = half >= 0 ? escape_at(p + i + 6, n - i - 6) : -1;
        size_t word = !quoted && !is_letter(last) ? foreign_word(p + i, n - i) : 0;
        if (half >= 0xD800 && half < 0xDC00 && other >= 0xDC00 && other < 0xE000) {
            i += 11;
        } else if (half >= 0xD800 && half < 0xE000) {
            snprintf(why, why_bytes, "\\u%04x is half of a character (a lone surrogate)", (unsigned)half);
            return;
        } else if (quoted && p[i] == '\\') {
            i++;
        } else if (p[i] == '"') {
            quoted = !quoted;
        } else if (!quoted && p[i] == '\'') {
            snprintf(why, why_bytes, "its texts stand in single quotes, as Python prints them; JSON has double ones");
            return;
        } else if (word && strncmp(p + i, "e", word) && strncmp(p + i, "E", word)) {
            snprintf(why, why_bytes, "it holds the word %.*s, which JSON does not have", (int)word, p + i);
            return;
        } else if (!quoted && (p[i] == '}' || p[i] == ']') && last == ',') {
            snprintf(why, why_bytes, "a comma stands before a closing bracket");
            return;
        }
        if (i < n && !strchr(" \t\r\n", p[i]))
            last = quoted ? '"' : p[i];
    }
}

static lmf_status no_json(lmf_ctx *ctx, const char *p, size_t n, const json_error_t *e)
{
    char why[128] = "it is not written as JSON is";
    switch (json_error_code(e)) {
    case json_error_out_of_memory: return LMF_NO_MEMORY(ctx, 1024, "a row");
    case json_error_premature_end_of_input: snprintf(why, sizeof why, "it ends too early"); break;
    case json_error_end_of_input_expected: snprintf(why, sizeof why, "something follows behind its end"); break;
    case json_error_invalid_utf8: snprintf(why, sizeof why, "it holds bytes that are not UTF-8"); break;
    case json_error_duplicate_key: snprintf(why, sizeof why, "duplicate key: a key stands twice in one object"); break;
    case json_error_null_character:
    case json_error_null_byte_in_key: snprintf(why, sizeof why, "it holds the character U+0000, which no text should"); break;
    default: find_fault(p, n, why, sizeof why);
    }
    return e->position > 0 ? LMF_FAIL(ctx, LMF_E_FORMAT, "no JSON: %s (character %d)", why, e->column)
                           : LMF_FAIL(ctx, LMF_E_FORMAT, "no JSON: %s", why);
}

lmf_status lmf__row_json(lmf_ctx *ctx, const char *p, size_t n, json_t **out)
{
    json_error_t e;
    *out = json_loadb(p, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!*out && json_error_code(&e) == json_error_numeric_overflow) {
        lmf_buf text;
        lmf_status s = mark_numbers(ctx, p, n, &text);
        if (!s)
            *out = json_loadb(text.data, text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
        lmf_buf_clear(&text);
        LMF_TRY(s);
    }
    return *out ? LMF_OK : no_json(ctx, p, n, &e);
}
