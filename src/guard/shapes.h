/* SPDX-License-Identifier: Apache-2.0 */
/* shapes: what recognizers share: borders of words, numbers that are written in groups, check sums. */
#ifndef LMF_GUARD_SHAPES_H
#define LMF_GUARD_SHAPES_H
#include "guard/guard.h"

static inline bool lmf_is_digit(int c) { return c >= '0' && c <= '9'; }
static inline bool lmf_is_upper(int c) { return c >= 'A' && c <= 'Z'; }
static inline bool lmf_is_letter(int c) { return lmf_is_upper(c) || (c >= 'a' && c <= 'z'); }
static inline bool lmf_is_word(int c) { return lmf_is_digit(c) || lmf_is_letter(c); }
static inline bool lmf_is_hex(int c) { return lmf_is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

/* Whether neither a letter nor a digit stands at i. */
static inline bool lmf_guard_ends(lmf_guard_text *t, size_t i) { return !lmf_is_word(lmf_guard_at(t, i)); }

/* Whether the number from `at` to `end` is no part of a longer one: "978-84-1347-250-8" holds no 978-84-1347. */
static inline bool lmf_guard_stands_alone(lmf_guard_text *t, size_t at, size_t end)
{
    int before = at > 0 ? (unsigned char)t->s[at - 1] : ' ', after = lmf_guard_at(t, end);
    if (at > 1 && (before == '-' || before == '.' || before == '/') && lmf_is_word((unsigned char)t->s[at - 2]))
        return false;
    return !((after == '-' || after == '.' || after == '/') && lmf_is_word(lmf_guard_at(t, end + 1)));
}

enum { LMF_GROUPED_MOST = 34 };
typedef struct lmf_grouped {
    char    c[LMF_GROUPED_MOST + 1];             /* digits (and letters) without what stands between groups */
    uint8_t end[LMF_GROUPED_MOST + 1];           /* end[k]: bytes from the beginning to behind c[k - 1] */
    uint8_t edge[LMF_GROUPED_MOST + 1];          /* edge[k]: a group ends behind c[k - 1]: a separator or the border follows */
    int     n;                                   /* c is cut at `most`; edge[n] then is 0 if more follow */
    char    separator;                           /* the first one met, or 0 */
    bool    mixed;                               /* separators differ */
} lmf_grouped;

/* Digits, with letters also ASCII letters, from `at` on; single separators of the set may stand between them. */
lmf_grouped lmf_guard_grouped(lmf_guard_text *t, size_t at, const char *separators, int most, bool letters);
/* Whether groups end exactly behind these counts: "3-2-4" is {3, 5, 9}. Ends with 0. */
bool        lmf_guard_groups_are(const lmf_grouped *g, const int *ends);
bool        lmf_guard_luhn(const char *digits, int n);

#endif
