/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a terminal could take for a command is C0, DEL, C1 (U+0080 to U+009F), the directional U+202A to U+202E and U+2066 to U+2069,
 * and the line ends U+2028 and U+2029; all else of UTF-8 passes. */
#include "base/plain.h"
#include <stdint.h>
#include <stdio.h>
#include <string.h>

size_t lmf_utf8_length(const char *text, size_t n)
{
    const uint8_t *p = (const uint8_t *)text;
    if (n == 0 || p[0] == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t k = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    uint32_t code = p[0] & (0x7F >> k);
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < k; i++) {
        if (i >= n || (p[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3F);
    }
    bool fine = k == 2 || (k == 3 && code >= 0x800 && (code < 0xD800 || code > 0xDFFF)) || (k == 4 && code >= 0x10000 && code <= 0x10FFFF);
    return fine ? k : 0;
}

bool lmf_utf8_is_command(const char *text, size_t k)
{
    const uint8_t *p = (const uint8_t *)text;
    if (k == 1)
        return p[0] < 0x20 || p[0] == 0x7F;
    if (k == 2)
        return p[0] == 0xC2 && p[1] < 0xA0;
    return k == 3 && p[0] == 0xE2 && ((p[1] == 0x80 && p[2] >= 0xA8 && p[2] <= 0xAE) || (p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9));
}

char *lmf_plain_text(const char *from, char *to, size_t n)
{
    size_t at = 0;
    while (*from) {
        char escape[16];
        size_t k = lmf_utf8_length(from, 4);
        bool keep = k && !lmf_utf8_is_command(from, k);
        if (!keep)
            snprintf(escape, sizeof escape, *from == '\n' ? "\\n" : "\\x%02x", (unsigned)(uint8_t)*from);
        const char *bytes = keep ? from : escape;
        size_t n_bytes = keep ? k : strlen(escape);
        if (at + n_bytes >= n)
            break;
        memcpy(to + at, bytes, n_bytes);
        at += n_bytes;
        from += keep ? k : 1;
    }
    if (n)
        to[at] = 0;
    return to;
}
