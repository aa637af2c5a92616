/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, "- ", 9, false);
    if (g.n != 9 || !g.edge[9] || !lmf_guard_stands_alone(t, at, at + g.end[9]) || g.mixed || g.c[0] != '9' || (g.separator
        && !lmf_guard_groups_are(&g, (const int[]){ 3, 5, 9, 0 })))
        return (lmf_match){ 0 };
    int group = 10 * (g.c[3] - '0') + g.c[4] - '0';
    if (!((group >= 50 && group <= 65) || (group >= 70 && group <= 88) || (group >= 90 && group <= 92) || group >= 94))
        return (lmf_match){ 0 };
    return (lmf_match){ g.end[9], g.separator == '-' ? 0.8f : g.separator ? 0.5f : 0.2f };
}

static const char *const context[] = { "itin", "taxpayer", "individual taxpayer", "tax id", "tin", NULL };
const lmf_recognizer lmf_recognizer_us_itin = { "US_ITIN", "US taxpayer numbers: 9, and the groups that the IRS gives", "9", context,
    match };
