/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "guard/shapes.h"

enum { LOCAL = 64, DOMAIN = 253, LABEL = 63 };
static bool in_local(int c) { return lmf_is_word(c) || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~", c)) || c >= 0x80; }
static bool in_label(int c) { return lmf_is_word(c) || c == '-' || c >= 0x80; }

/* Bytes of a domain with a name at its end; 0: none. */
static size_t domain(lmf_guard_text *t, size_t at)
{
    size_t i = at, label = at, good = 0;
    for (; i - at <= DOMAIN; i++) {
        int c = lmf_guard_at(t, i);
        if (in_label(c) && i - label < LABEL)
            continue;
        size_t n = i - label;
        if (!n || lmf_guard_at(t, label) == '-' || lmf_guard_at(t, i - 1) == '-')
            break;
        if (label > at && n >= 2 && !lmf_is_digit(lmf_guard_at(t, label)))
            good = i - at;
        if (c != '.')
            break;
        label = i + 1;
    }
    return good;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    size_t i = at;
    int c = lmf_guard_at(t, i);
    while (i - at < LOCAL && (in_local(c) || (c == '.' && i > at && lmf_guard_at(t, i - 1) != '.')))
        c = lmf_guard_at(t, ++i);
    if (c != '@' || i == at || lmf_guard_at(t, i - 1) == '.')
        return (lmf_match){ 0 };
    size_t n = domain(t, i + 1);
    return n ? (lmf_match){ i + 1 + n - at, 1.0f } : (lmf_match){ 0 };
}

const lmf_recognizer lmf_recognizer_email = { "EMAIL_ADDRESS", "addresses with a domain", "a-zA-Z0-9_", NULL, match };
