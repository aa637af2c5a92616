/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

/* Issuers by their first digits (ISO/IEC 7812, as issuers publish them), how many digits a number of theirs has, and how sure one is:
 * Maestro
 * shares its digits and lengths with much else. */
static const struct { int low, high, width, least, most; float score; } issuers[] = {
    { 4, 4, 1, 13, 13, 1 }, { 4, 4, 1, 16, 16, 1 }, { 4, 4, 1, 19, 19, 1 }, { 51, 55, 2, 16, 16, 1 }, { 2221, 2720, 4, 16, 16, 1 },
    { 34, 34, 2, 15, 15, 1 }, { 37, 37, 2, 15, 15, 1 }, { 6011, 6011, 4, 16, 19, 1 }, { 644, 649, 3, 16, 19, 1 }, { 65, 65, 2, 16, 19, 1 },
    { 300, 305, 3, 14, 14, 1 }, { 36, 36, 2, 14, 14, 1 }, { 38, 39, 2, 14, 14, 1 }, { 35, 35, 2, 16, 19, 1 }, { 62, 62, 2, 16, 19, 1 },
    { 1800, 1800, 4, 15, 15, 0.7f }, { 2131, 2131, 4, 15, 15, 0.7f }, { 50, 50, 2, 12, 19, 0.7f }, { 56, 58, 2, 12, 19, 0.7f },
    { 60, 63, 2, 12, 19, 0.7f }, { 66, 69, 2, 12, 19, 0.7f }, { 604, 604, 4, 12, 19, 0.7f } };

static float issued(const char *digits, int n)
{
    for (size_t i = 0; i < sizeof issuers / sizeof *issuers; i++) {
        int first = 0;
        for (int k = 0; k < issuers[i].width; k++)
            first = 10 * first + digits[k] - '0';
        if (first >= issuers[i].low && first <= issuers[i].high && n >= issuers[i].least && n <= issuers[i].most)
            return n == 13 ? issuers[i].score / 2 : issuers[i].score; /* as many as the number of an article has */
    }
    return 0;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, " -", 19, false);
    for (int n = g.n; n >= 12; n--) /* behind the number another group may stand */
        if (g.edge[n] && issued(g.c, n) > 0 && lmf_guard_luhn(g.c, n))
            return (lmf_match){ g.end[n], issued(g.c, n) };
    return (lmf_match){ 0 };
}

static const char *const context[] = { "card", "visa", "mastercard", "maestro", "amex", "credit", "debit", "karte", "carte", "tarjeta",
    NULL };
const lmf_recognizer lmf_recognizer_credit_card = { "CREDIT_CARD", "payment cards: issuer's digits, length, Luhn's check digit", "0-9",
    context,
                                                    match };
