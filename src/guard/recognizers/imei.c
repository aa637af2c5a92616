/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    lmf_grouped g = lmf_guard_grouped(t, at, "- ", 15, false);
    if (g.n != 15 || !g.edge[15] || !lmf_guard_stands_alone(t, at, at + g.end[15]) || !lmf_guard_luhn(g.c, 15))
        return (lmf_match){ 0 };
    if (g.separator && !lmf_guard_groups_are(&g, (const int[]){ 2, 8, 14, 15, 0 }) && !lmf_guard_groups_are(&g, (const int[]){ 8, 14, 15,
        0 }))
        return (lmf_match){ 0 };
    return (lmf_match){ g.end[15], g.separator ? 0.6f : 0.4f }; /* one number in ten has the check digit */
}

static const char *const context[] = { "imei", "device", "handset", "phone id", "equipment", NULL };
const lmf_recognizer lmf_recognizer_imei = { "IMEI", "numbers of mobile devices: Luhn's check digit, groups or a word that says so", "0-9",
                                             context, match };
