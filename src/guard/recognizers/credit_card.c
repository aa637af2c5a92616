/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

/* Issuers by their first digits (ISO/IEC 7812, as issuers publish them), and how many digits a number of theirs has. */
static const struct { int low, high, width, least, most; } issuers[] = {
    { 4, 4, 1, 13, 13 }, { 4, 4, 1, 16, 16 }, { 4, 4, 1, 19, 19 }, { 51, 55, 2, 16, 16 }, { 2221, 2720, 4, 16, 16 }, { 34, 34, 2, 15,
    15 }, { 37, 37, 2, 15, 15 },
    { 6011, 6011, 4, 16, 19 }, { 644, 649, 3, 16, 19 }, { 65, 65, 2, 16, 19 }, { 300, 305, 3, 14, 19 }, { 36, 36, 2, 14, 19 },
    { 38, 39, 2, 14, 19 }, { 3528, 3589, 4, 16, 19 }, { 62, 62, 2, 16, 19 }, { 50, 50, 2, 12, 19 }, { 56, 58, 2, 12, 19 },
    { 60, 63, 2, 12, 19 }, { 66, 69, 2, 12, 19 }, { 1800, 1800, 4, 15, 15 }, { 2131, 2131, 4, 15, 15 } };

static bool is_issued(const char *digits, int n)
{
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
        int first = 0;
        for (int k = 0; k < issuers[i].width; k++)
            first = 10 * first + digits[k] - '0';
        if (first >= issuers[i].low && first <= issuers[i].high && n >= issuers[i].least && n <= issuers[i].most)
            return true;
    }
    return false;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, " -", 19, false);
    for (int n = g.n; n >= 12; n--) /* behind the number another group may stand */
        if (g.edge[n] && is_issued(g.c, n) && lmf_guard_luhn(g.c, n))
            return (lmf_match){ g.end[n], 1.0f };
    return (lmf_match){ 0 };
}

const lmf_recognizer lmf_recognizer_credit_card = { "CREDIT_CARD", "payment cards: issuer's digits, length, Luhn's check digit", "0-9",
    NULL,
                                                    match };
