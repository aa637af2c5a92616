/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"
#include <string.h>

lmf_grouped lmf_guard_grouped(lmf_guard_text *t, size_t at, const char *separators, int most, bool letters)
{
    lmf_grouped g = { 0 };
    size_t i = at;
    for (;;) {
        int c = lmf_guard_at(t, i);
        if (lmf_is_digit(c) || (letters && lmf_is_letter(c))) {
            if (g.n == most)
                return g;
            g.c[g.n++] = (char)c;
            g.end[g.n] = (uint8_t)(++i - at);
            continue;
        }
        g.edge[g.n] = !lmf_is_word(c);
        if (c <= 0 || !g.n || !strchr(separators, c))
            return g;
        int after = lmf_guard_at(t, i + 1);
        if (!lmf_is_digit(after) && !(letters && lmf_is_letter(after)))
            return g;
        g.mixed |= g.separator && g.separator != c;
        g.separator = g.separator ? g.separator : (char)c;
        i++;
    }
}

bool lmf_guard_groups_are(const lmf_grouped *g, const int *ends)
{
    int next = 0;
    for (int k = 1; k <= g->n; k++) {
        bool wanted = k == ends[next];
        if (wanted != g->edge[k])
            return false;
        next += wanted;
        if (wanted && !ends[next])
            return true;
    }
    return false;
}

bool lmf_guard_luhn(const char *digits, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++) {
        int d = digits[n - 1 - i] - '0';
        d = i % 2 ? 2 * d : d;
        sum += d > 9 ? d - 9 : d;
    }
    return sum % 10 == 0;
}
