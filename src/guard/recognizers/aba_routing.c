/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, "-", 9, false);
    if (g.n != 9 || !g.edge[9] || !lmf_guard_stands_alone(t, at, at + g.end[9]) || (g.separator && !lmf_guard_groups_are(&g,
        (const int[]){ 4, 8, 9, 0 })))
        return (lmf_match){ 0 };
    static const int weight[9] = { 3, 7, 1, 3, 7, 1, 3, 7, 1 };
    int sum = 0, first = 10 * (g.c[0] - '0') + g.c[1] - '0';
    for (int i = 0; i < 9; i++)
        sum += weight[i] * (g.c[i] - '0');
    if (sum % 10 || !(first <= 12 || (first >= 21 && first <= 32) || (first >= 61 && first <= 72) || first == 80))
        return (lmf_match){ 0 };
    return (lmf_match){ g.end[9], g.separator ? 0.5f : 0.2f };
}

static const char *const context[] = { "aba", "routing", "routing number", "routing no", "rtn", "transit", NULL };
const lmf_recognizer lmf_recognizer_aba_routing = { "ABA_ROUTING_NUMBER",
    "US bank routing numbers: check sum, district, and a word that says so",
                                                    "0-9", context, match };
