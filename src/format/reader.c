/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: comparisons are of what is asked against what is left (n <= r->n - r->at), never of a sum: a sum can
 * wrap. */
#include "format/reader.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lmf_reader_init(lmf_reader *r, lmf_ctx *ctx, const void *data, size_t n, const char *path)
{
    *r = (lmf_reader){ .ctx = ctx, .data = data, .n = n };
    size_t len = strlen(path);
    bool cut = len >= sizeof r->what;
    snprintf(r->what, sizeof r->what, "%s%s", cut ? "..." : "", cut ? path + len - (sizeof r->what - 4) : path);
}

size_t lmf_reader_left(const lmf_reader *r)
{
    return r->n - r->at;
}

lmf_status lmf_reader_fail(lmf_reader *r, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return LMF_FAIL(r->ctx, LMF_E_FORMAT, "%s: %s (byte %zu)", r->what, text, r->at);
}

lmf_status lmf_reader_view(lmf_reader *r, const char *field, uint64_t n, const uint8_t **out)
{
    *out = NULL;
    if (n > lmf_reader_left(r))
        return lmf_reader_fail(r, "%s needs %llu bytes, but the file ends after %zu more", field, (unsigned long long)n,
                               lmf_reader_left(r));
    *out = r->data + r->at;
    r->at += (size_t)n;
    return LMF_OK;
}

lmf_status lmf_reader_u8(lmf_reader *r, const char *field, uint8_t *out)
{
    const uint8_t *p;
    *out = 0;
    LMF_TRY(lmf_reader_view(r, field, 1, &p));
    *out = *p;
    return LMF_OK;
}

lmf_status lmf_reader_u32(lmf_reader *r, const char *field, uint32_t *out)
{
    const uint8_t *p;
    *out = 0;
    LMF_TRY(lmf_reader_view(r, field, 4, &p));
    *out = lmf_le32(p);
    return LMF_OK;
}

lmf_status lmf_reader_u64(lmf_reader *r, const char *field, uint64_t *out)
{
    const uint8_t *p;
    *out = 0;
    LMF_TRY(lmf_reader_view(r, field, 8, &p));
    *out = lmf_le64(p);
    return LMF_OK;
}

lmf_status lmf_reader_count(lmf_reader *r, const char *field, size_t min_bytes, uint64_t max, size_t *out)
{
    uint64_t n;
    *out = 0;
    LMF_TRY(lmf_reader_u64(r, field, &n));
    if (n > lmf_reader_left(r) / min_bytes)
        return lmf_reader_fail(r, "%s is %llu, which the %zu bytes left can't hold", field, (unsigned long long)n,
                               lmf_reader_left(r));
    if (n > max)
        return lmf_reader_fail(r, "%s is %llu, more than the %llu allowed", field, (unsigned long long)n,
                               (unsigned long long)max);
    *out = (size_t)n;
    return LMF_OK;
}

lmf_status lmf_reader_string(lmf_reader *r, const char *field, size_t max, lmf_bytes *out)
{
    uint64_t n;
    const uint8_t *p;
    *out = (lmf_bytes){ 0 };
    LMF_TRY(lmf_reader_u64(r, field, &n));
    if (n <= lmf_reader_left(r) && n > max)
        return lmf_reader_fail(r, "%s has %llu bytes, more than the %zu allowed", field, (unsigned long long)n, max);
    LMF_TRY(lmf_reader_view(r, field, n, &p));
    *out = (lmf_bytes){ (const char *)p, (size_t)n };
    return LMF_OK;
}

lmf_status lmf_reader_align(lmf_reader *r, const char *field, size_t align)
{
    const uint8_t *p;
    return lmf_reader_view(r, field, (align - (r->at & (align - 1))) & (align - 1), &p);
}

bool lmf_utf8_is_valid(const char *p, size_t n)
{
    const uint8_t *s = (const uint8_t *)p, *end = s + n;
    while (s < end) {
        if (*s < 0x80) {
            s++;
            continue;
        }
        int more = *s >= 0xf0 ? 3 : *s >= 0xe0 ? 2 : 1;
        if (*s < 0xc2 || *s > 0xf4 || end - s <= more)
            return false;
        uint32_t c = *s & (0x3fu >> more);
        for (int i = 1; i <= more; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return false;
            c = c << 6 | (s[i] & 0x3fu);
        }
        if ((more == 2 && c < 0x800) || (more == 3 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000))
            return false;
        s += more + 1;
    }
    return true;
}

bool lmf_name_is_clean(const char *p, size_t n, size_t max)
{
    if (n == 0 || n > max)
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            return false;
    return lmf_utf8_is_valid(p, n);
}
