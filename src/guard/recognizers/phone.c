/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "guard/shapes.h"

/* Numbers as people write them: + or 00 and the country's code; US numbers in groups of 3, 3, 4; national ones with a leading 0, which
 * need a word that says so. Which numbers are in use is not known here. */
typedef struct dialled { char digit[20]; int n, n_groups, group[20]; size_t end; } dialled;

/* Digits with separators between them: one of " -./", brackets around a group, " (0)". False: no number. */
static bool read_number(lmf_guard_text *t, size_t at, dialled *d)
{
    size_t i = at;
    int depth = 0;
    *d = (dialled){ 0 };
    for (bool fresh = true;;) {
        int c = lmf_guard_at(t, i);
        if (lmf_is_digit(c)) {
            if (d->n == 16)
                return false;
            d->n_groups += fresh;
            d->group[d->n_groups - 1]++;
            d->digit[d->n++] = (char)c;
            d->end = ++i - at;
            fresh = false;
            continue;
        }
        if (lmf_is_letter(c))
            return false;
        fresh = true;
        if (c == '(' && !depth && lmf_is_digit(lmf_guard_at(t, i + 1))) {
            depth = 1, i++;
            continue;
        }
        if (c == ')' && depth) {
            depth = 0, d->end = ++i - at;
            c = lmf_guard_at(t, i);
            if (lmf_is_digit(c))
                continue;
        }
        if (c <= 0 || !strchr(" -./", c))
            return d->n > 0 && !depth;
        size_t next = i + 1;
        if (c == ' ' && lmf_guard_at(t, next) == '-' && lmf_guard_at(t, next + 1) == ' ')
            next += 2;
        int after = lmf_guard_at(t, next);
        if (!lmf_is_digit(after) && !(after == '(' && lmf_is_digit(lmf_guard_at(t, next + 1))))
            return d->n > 0 && !depth;
        i = next;
    }
}

static float judge(const lmf_guard_text *t, size_t at, const dialled *d)
{
    bool plus = t->s[at] == '+', brackets = t->s[at] == '(';
    const int *g = d->group;
    if (plus)
        return d->n >= 8 && d->n <= 15 && d->digit[0] != '0' ? 0.75f : 0;
    if (d->digit[0] == '0' && d->digit[1] == '0')
        return d->n < 10 || d->n > 15 || d->digit[2] == '0' ? 0 : d->n_groups > 1 ? 0.6f : 0.4f;
    int from = d->n == 11 && d->digit[0] == '1' && g[0] == 1;
    if (d->n - from == 10 && d->digit[from] >= '2' && d->digit[from + 3] >= '2') { /* North America */
        if (d->n_groups - from == 3 && g[from] == 3 && g[from + 1] == 3)
            return 0.6f;
        if (d->n_groups - from == 2 && brackets && g[from] == 3 && g[from + 1] == 7)
            return 0.6f;
        return d->n_groups == 1 ? 0.3f : 0.2f;
    }
    return d->n >= 9 && d->n <= 12 && d->digit[0] == '0' && d->n_groups <= 6 ? 0.4f : 0;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    dialled d;
    if (at > 0 && strchr("+.-/", t->s[at - 1]))
        return (lmf_match){ 0 };
    if (!read_number(t, at + (t->s[at] == '+'), &d))
        return (lmf_match){ 0 };
    if (t->s[at] == '(' && lmf_guard_at(t, at + d.end - 1) == ')') /* brackets around all of it are the sentence's */
        return (lmf_match){ 0 };
    float score = judge(t, at, &d);
    return score > 0 ? (lmf_match){ d.end + (t->s[at] == '+'), score } : (lmf_match){ 0 };
}

static const char *const context[] = { "phone", "phones", "telephone", "tel", "mobile", "cell", "call", "fax", "telefon", "handy",
    "mobil", "tlf", "telefono", "teléfono", "telefoon", "puhelin", "téléphone", "móvil", "celular", "cellulare", "whatsapp",
        NULL };
const lmf_recognizer lmf_recognizer_phone = { "PHONE_NUMBER", "international and US numbers; national ones behind a word that says so",
    "+(0-9",
                                              context, match };
