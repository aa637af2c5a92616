/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, " -", 10, false);
    if (g.n != 10 || !g.edge[10] || !lmf_guard_stands_alone(t, at, at + g.end[10]) || g.mixed || (g.separator && !lmf_guard_groups_are(&g,
        (const int[]){ 3, 6, 10, 0 })))
        return (lmf_match){ 0 };
    int sum = 0;
    for (int i = 0; i < 9; i++)
        sum += (10 - i) * (g.c[i] - '0');
    int check = (11 - sum % 11) % 11;
    return check == g.c[9] - '0' ? (lmf_match){ g.end[10], 0.4f } : (lmf_match){ 0 }; /* one in eleven numbers has it */
}

static const char *const context[] = { "nhs", "national health", "health service", "health authority", "patient", NULL };
const lmf_recognizer lmf_recognizer_uk_nhs = { "UK_NHS", "NHS numbers: check digit (mod 11), and a word that says so", "0-9", context,
    match };
