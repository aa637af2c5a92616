/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/final.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_DEPTH = 64 };
static const char *const marks[] = { "####", "\\boxed{", "answer is", "answer:", NULL };

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* ---- JSON ---- */

/* The same with whole reals as integers: 1.0 and 1 are one answer. The caller's reference. */
static json_t *plain_json(const json_t *j, int depth)
{
    const char *key;
    json_t *part, *out;
    double x = json_number_value(j);
    if (depth > MAX_DEPTH)
        return NULL;
    if (json_is_real(j) && x == floor(x) && fabs(x) < 9e15)
        return json_integer((json_int_t)x);
    if (json_is_array(j)) {
        out = json_array();
        for (size_t i = 0; out && i < json_array_size(j); i++)
            if (json_array_append_new(out, plain_json(json_array_get(j, i), depth + 1))) {
                json_decref(out);
                return NULL;
            }
        return out;
    }
    if (!json_is_object(j))
        return json_deep_copy(j);
    out = json_object();
    json_object_foreach((json_t *)(uintptr_t)j, key, part)
        if (out && json_object_set_new(out, key, plain_json(part, depth + 1))) {
            json_decref(out);
            return NULL;
        }
    return out;
}

/* The first object or list at or behind text that is whole; *whole: nothing but white space stands around it. */
static json_t *find_json(const char *text, size_t n, bool *whole)
{
    *whole = false;
    for (size_t i = 0, n_tries = 0; i < n && n_tries < 64; i++) {
        if (text[i] != '{' && text[i] != '[')
            continue;
        json_error_t e;
        json_t *j = json_loadb(text + i, n - i, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &e);
        n_tries++;
        if (!j)
            continue;
        size_t end = i + (size_t)e.position;
        while (end < n && is_space(text[end]))
            end++;
        *whole = end == n && strspn(text, " \t\n\r") == i;
        return j;
    }
    return NULL;
}

static int put_bytes(const char *p, size_t n, void *out) { return lmf_buf_append(out, p, n) ? -1 : 0; }

static lmf_status put_json(const json_t *j, lmf_buf *out)
{
    json_t *plain = plain_json(j, 0); /* NULL: deeper than answers are, so none */
    if (plain)
        json_dump_callback(plain, put_bytes, out, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(plain);
    return out->status;
}

/* ---- marks ---- */

/* What stands behind the last mark, and its end. NULL: no mark. */
static const char *behind_mark(const char *text, size_t n, const char **end)
{
    const char *found = NULL;
    bool boxed = false;
    for (size_t i = 0; i < n; i++)
        for (const char *const *m = marks; *m; m++)
            if (strncasecmp(text + i, *m, strlen(*m)) == 0)
                found = text + i + strlen(*m), boxed = m == &marks[1];
    if (!found)
        return NULL;
    int depth = 1;
    while (is_space(*found) || *found == ':')
        found++;
    for (*end = found; *end < text + n && (boxed ? depth : **end != '\n'); ++*end) {
        depth += (**end == '{') - (**end == '}');
        if (boxed && !depth)
            break;
    }
    return found;
}

/* Signs of stress and of money around an answer say nothing. */
static void trim(const char **p, const char **end)
{
    while (*p < *end && (is_space(**p) || strchr("*_`\"$(=", **p)))
        ++*p;
    while (*end > *p && (is_space((*end)[-1]) || strchr("*_`\".!)", (*end)[-1])))
        --*end;
}

static bool begins_number(const char *p, const char *end)
{
    p += p < end && (*p == '-' || *p == '+');
    p += p < end && *p == '$';
    return p < end && *p >= '0' && *p <= '9';
}

static lmf_status put_number(double x, lmf_buf *out)
{
    return isfinite(x) ? lmf_buf_printf(out, "%.15g", x == 0 ? 0 : x) : LMF_OK;
}

/* The number that p .. end begins with. */
static lmf_status put_first_number(const char *p, const char *end, lmf_buf *out)
{
    char text[80] = "#### ";
    double x;
    bool minus = *p == '-';
    while (strchr("+-$", *p) && p < end)
        p++;
    size_t n = (size_t)(end - p) < sizeof text - 8 ? (size_t)(end - p) : sizeof text - 8;
    snprintf(text + 5, sizeof text - 5, "%s%.*s", minus ? "-" : "", (int)n, p);
    return lmf_answer_number(text, &x) ? put_number(x, out) : LMF_OK;
}

/* Where the number begins that p .. end ends with; end: it ends with none. */
static const char *last_number(const char *p, const char *end)
{
    const char *at = end;
    int n_points = 0;
    for (; at > p && strchr("0123456789.,", at[-1]); at--)
        n_points += at[-1] == '.';
    if (at == end || at[0] == '.' || at[0] == ',' || n_points > 1)
        return end;
    at -= at > p && strchr("-+", at[-1]);
    return at == p || is_space(at[-1]) || strchr("=($*", at[-1]) ? at : end;
}

lmf_status lmf_answer_final(lmf_final_kind kind, const char *text, size_t n, lmf_buf *out)
{
    double x;
    bool whole = false;
    const char *end = text + n, *open = NULL;
    for (const char *p = text; (p = strstr(p, "<think>")); p += 7)
        open = p;
    for (const char *p = text; (p = strstr(p, "</think>")); p += 8)
        text = p + 8;
    if (open && open >= text)
        return LMF_OK;
    n = (size_t)(end - text);
    if (kind == LMF_FINAL_NUMBER)
        return lmf_answer_number(text, &x) ? put_number(x, out) : LMF_OK;
    json_t *j = kind == LMF_FINAL_TEXT ? NULL : find_json(text, n, &whole);
    if (kind == LMF_FINAL_JSON || whole) {
        lmf_status s = j ? put_json(j, out) : LMF_OK;
        json_decref(j);
        return s;
    }
    json_decref(j);
    const char *p = behind_mark(text, n, &end);
    bool marked = p != NULL;
    p = marked ? p : text;
    trim(&p, &end);
    if (kind == LMF_FINAL_AUTO && !marked && last_number(p, end) < end)
        p = last_number(p, end), marked = true;
    if (kind == LMF_FINAL_AUTO && marked && begins_number(p, end))
        return put_first_number(p, end, out);
    return lmf_answer_plain(p, (size_t)(end - p), out);
}
