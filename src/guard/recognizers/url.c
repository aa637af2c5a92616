/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "guard/shapes.h"

enum { MOST = 2048 };

static bool begins(lmf_guard_text *t, size_t at, const char *with)
{
    for (; *with; with++, at++) {
        int c = lmf_guard_at(t, at);
        if ((lmf_is_upper(c) ? c + 32 : c) != *with)
            return false;
    }
    return true;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    static const char *const schemes[] = { "https://", "http://", "ftp://", "www." };
    size_t i = 0, k = 0, depth = 0;
    while (k < 4 && !begins(t, at, schemes[k]))
        k++;
    if (k == 4)
        return (lmf_match){ 0 };
    size_t first = strlen(schemes[k]);
    for (i = first; i < MOST; i++) {
        int c = lmf_guard_at(t, at + i);
        if (c <= ' ' || c == 0x7f || strchr("<>\"`\\^{|}", c) || (c == ')' && depth == 0))
            break;
        depth += c == '(', depth -= c == ')';
    }
    while (i > first && strchr(".,;:!?'(]", lmf_guard_at(t, at + i - 1)))
        i--;
    return i > first && (k < 3 || memchr(t->s + at + first, '.', i - first)) ? (lmf_match){ i, 0.8f } : (lmf_match){ 0 };
}

const lmf_recognizer lmf_recognizer_url = { "URL", "what begins with http://, https://, ftp:// or www.", "hHfFwW", NULL, match };
