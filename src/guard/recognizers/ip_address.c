/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

/* Four numbers below 256. */
static size_t v4(lmf_guard_text *t, size_t at)
{
    size_t i = at;
    for (int k = 0; k < 4; k++) {
        int n = 0, v = 0, c;
        for (; n < 3 && lmf_is_digit(c = lmf_guard_at(t, i)); n++, i++)
            v = 10 * v + c - '0';
        if (!n || v > 255 || (n > 1 && lmf_guard_at(t, i - (size_t)n) == '0'))
            return 0;
        if (k < 3 && lmf_guard_at(t, i++) != '.')
            return 0;
    }
    return !lmf_guard_ends(t, i) || (lmf_guard_at(t, i) == '.' && lmf_is_digit(lmf_guard_at(t, i + 1))) ? 0 : i - at;
}

/* Eight groups of up to four hexadecimal digits, one run of which may be left out as "::"; the last two may be a v4 address. */
static size_t v6(lmf_guard_text *t, size_t at)
{
    size_t i = at;
    int n_groups = 0;
    bool gap = false;
    for (;;) {
        if (lmf_guard_at(t, i) == ':' && lmf_guard_at(t, i + 1) == ':') {
            if (gap)
                return 0;
            gap = true, i += 2;
            if (!lmf_is_hex(lmf_guard_at(t, i)))
                break;
        } else if (n_groups) {
            if (lmf_guard_at(t, i) != ':' || !lmf_is_hex(lmf_guard_at(t, i + 1)))
                break;
            i++;
        }
        size_t four = v4(t, i);
        if (four) {
            n_groups += 2, i += four;
            break;
        }
        size_t begin = i;
        while (i - begin < 4 && lmf_is_hex(lmf_guard_at(t, i)))
            i++;
        if (i == begin || ++n_groups == 8)
            break;
    }
    if (lmf_is_word(lmf_guard_at(t, i)) || lmf_guard_at(t, i) == ':' || n_groups > 8 || (gap ? n_groups < 2 : n_groups != 8))
        return 0;
    return i - at;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    size_t n;
    if (at > 0 && (t->s[at - 1] == '.' || t->s[at - 1] == ':')) /* inside of another */
        return (lmf_match){ 0 };
    if ((n = v4(t, at)))
        return (lmf_match){ n, 0.6f };
    n = v6(t, at);
    return (lmf_match){ n, 0.8f };
}

const lmf_recognizer lmf_recognizer_ip_address = { "IP_ADDRESS", "IPv4 and IPv6 addresses", "0-9a-fA-F:", NULL, match };
