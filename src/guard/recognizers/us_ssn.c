/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, "- .", 9, false);
    if (g.n != 9 || !g.edge[9] || !lmf_guard_stands_alone(t, at, at + g.end[9]) || g.mixed)
        return (lmf_match){ 0 };
    int area = 100 * (g.c[0] - '0') + 10 * (g.c[1] - '0') + g.c[2] - '0';
    bool grouped = lmf_guard_groups_are(&g, (const int[]){ 3, 5, 9, 0 });
    if ((g.separator && !grouped) || area == 0 || area == 666 || area >= 900 || (g.c[3] == '0' && g.c[4] == '0') ||
        (g.c[5] == '0' && g.c[6] == '0' && g.c[7] == '0' && g.c[8] == '0'))
        return (lmf_match){ 0 };
    return (lmf_match){ g.end[9], g.separator == '-' ? 0.85f : g.separator ? 0.5f : 0.2f };
}

static const char *const context[] = { "ssn", "ssns", "social security", "social", "soc sec", "ssid", "ss#", "ss", NULL };
const lmf_recognizer lmf_recognizer_us_ssn = { "US_SSN", "US social security numbers, by the rules for area, group and serial", "0-9",
    context,
                                               match };
