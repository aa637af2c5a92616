/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "guard/shapes.h"

/* Length by country: SWIFT's IBAN registry. */
static const char lengths[][5] = { "AD24", "AE23", "AL28", "AT20", "AZ28", "BA20", "BE16", "BG22", "BH22", "BI27", "BR29", "BY28", "CH21",
    "CR22",
    "CY28", "CZ24", "DE22", "DJ27", "DK18", "DO28", "EE20", "EG29", "ES24", "FI18", "FK18", "FO18", "FR27", "GB22", "GE22", "GI23", "GL18",
    "GR27", "GT28", "HN28", "HR21", "HU28", "IE22", "IL23", "IQ23", "IS26", "IT27", "JO30", "KW30", "KZ20", "LB28", "LC32", "LI21", "LT20",
    "LU20", "LV21", "LY25", "MC27", "MD24", "ME22", "MK19", "MN20", "MR27", "MT31", "MU30", "NI28", "NL18", "NO15", "OM23", "PK24", "PL28",
    "PS29", "PT25", "QA29", "RO24", "RS22", "RU33", "SA24", "SC31", "SD18", "SE24", "SI19", "SK24", "SM27", "SO23", "ST25", "SV28", "TL23",
    "TN24", "TR26", "UA29", "VA22", "VG24", "XK20", "YE30" };

static int value(char c) { return lmf_is_digit(c) ? c - '0' : (c | 32) - 'a' + 10; }

static lmf_match match(lmf_guard_text *t, size_t at)
{
    if (!lmf_is_letter(lmf_guard_at(t, at + 1)) || !lmf_is_digit(lmf_guard_at(t, at + 2)) || !lmf_is_digit(lmf_guard_at(t, at + 3)))
        return (lmf_match){ 0 };
    lmf_grouped g = lmf_guard_grouped(t, at, " -", LMF_GROUPED_MOST, true);
    char country[3] = { (char)(g.c[0] & ~32), (char)(g.c[1] & ~32) };
    int n = 0, rest = 0;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths && !n; i++)
        if (!memcmp(lengths[i], country, 2))
            n = 10 * (lengths[i][2] - '0') + lengths[i][3] - '0';
    if (!n || g.n < n || !g.edge[n] || !lmf_guard_stands_alone(t, at, at + g.end[n]))
        return (lmf_match){ 0 };
    for (int i = 0; i < n; i++) { /* the first four stand last */
        int v = value(g.c[(i + 4) % n]);
        rest = (rest * (v > 9 ? 100 : 10) + v) % 97;
    }
    return rest == 1 ? (lmf_match){ g.end[n], 1.0f } : (lmf_match){ 0 };
}

const lmf_recognizer lmf_recognizer_iban = { "IBAN_CODE", "account numbers: length by country, check digits (mod 97)", "A-Za-z", NULL,
    match };
