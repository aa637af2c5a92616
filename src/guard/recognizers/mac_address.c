/* SPDX-License-Identifier: Apache-2.0 */
#include "guard/shapes.h"

static lmf_match match(lmf_guard_text *t, size_t at)
{
    int between = lmf_guard_at(t, at + 2);
    if (between != ':' && between != '-')
        return (lmf_match){ 0 };
    for (size_t i = 0; i < 17; i++) {
        int c = lmf_guard_at(t, at + i);
        if (i % 3 == 2 ? c != between : !lmf_is_hex(c))
            return (lmf_match){ 0 };
    }
    int c = lmf_guard_at(t, at + 17);
    return lmf_is_word(c) || c == between ? (lmf_match){ 0 } : (lmf_match){ 17, 0.9f };
}

const lmf_recognizer lmf_recognizer_mac_address = { "MAC_ADDRESS", "six pairs of hexadecimal digits", "0-9a-fA-F", NULL, match };
