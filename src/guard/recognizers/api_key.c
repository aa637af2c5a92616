/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>
#include "guard/shapes.h"

/* Keys that their makers mark, and how many characters follow at least. */
static const struct { const char *mark; size_t least; } shapes[] = {
    { "sk-ant-", 20 }, { "sk-proj-", 20 }, { "sk-", 20 }, { "sk_live_", 16 }, { "sk_test_", 16 }, { "pk_live_", 16 }, { "rk_live_", 16 },
    { "ghp_", 36 }, { "gho_", 36 }, { "ghu_", 36 }, { "ghs_", 36 }, { "ghr_", 36 }, { "github_pat_", 22 }, { "glpat-", 20 }, { "xoxb-",
    20 },
    { "xoxp-", 20 }, { "xoxa-", 20 }, { "xapp-", 20 }, { "AKIA", 16 }, { "ASIA", 16 }, { "AIza", 35 }, { "ya29.", 20 }, { "hf_", 30 },
    { "npm_", 36 }, { "pypi-", 40 }, { "dop_v1_", 64 }, { "shpat_", 32 }, { "SG.", 40 }, { "gsk_", 40 }, { "r8_", 36 }, { "eyJ", 60 } };
enum { MOST = 2048, LEAST_OPEN = 20 };

static bool in_key(int c) { return lmf_is_word(c) || c == '_' || c == '-' || c == '.' || c == '/' || c == '+' || c == '='; }

/* Bits a character. */
static double entropy(const char *s, size_t n)
{
    int count[256] = { 0 };
    double bits = 0;
    for (size_t i = 0; i < n; i++)
        count[(unsigned char)s[i]]++;
    for (int c = 0; c < 256; c++)
        if (count[c])
            bits -= count[c] * log2((double)count[c] / (double)n);
    return bits / (double)n;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    size_t n = 0, digits = 0, small = 0, big = 0;
    int c;
    for (; n < MOST && in_key(c = lmf_guard_at(t, at + n)); n++)
        digits += lmf_is_digit(c), big += lmf_is_upper(c), small += lmf_is_letter(c) && !lmf_is_upper(c);
    const char *s = t->s + at;
    while (n && strchr(".-/+", s[n - 1])) /* the sentence's */
        n--;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        size_t mark = strlen(shapes[i].mark);
        if (n >= mark + shapes[i].least && !memcmp(s, shapes[i].mark, mark) && (digits || big) && entropy(s + mark, n - mark) > 2.5)
            return (lmf_match){ n, 0.95f };
    }
    bool mixed = digits >= 2 && (small >= 2 || big >= 2) && !memchr(s, '/', n);
    return mixed && n >= LEAST_OPEN && n <= 256 && entropy(s, n) > 3.5 ? (lmf_match){ n, 0.3f } : (lmf_match){ 0 };
}

static const char *const context[] = { "api key", "api-key", "api_key", "apikey", "key", "token", "secret", "password", "passwd", "bearer",
    "authorization", "credential", "credentials", "access_key", "secret_key", NULL };
const lmf_recognizer lmf_recognizer_api_key = { "API_KEY", "keys by their makers' marks; others by entropy, behind a word that says so",
    "a-zA-Z0-9",
                                                context, match };
