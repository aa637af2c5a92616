/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lmf_buf_init(lmf_buf *b, lmf_ctx *ctx, size_t max)
{
    *b = (lmf_buf){ .ctx = ctx, .max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4 };
}

void lmf_buf_clear(lmf_buf *b)
{
    lmf_free(b->ctx, b->data, b->cap);
    lmf_buf_init(b, b->ctx, b->max);
}

lmf_status lmf_buf_reserve(lmf_buf *b, size_t extra)
{
    if (b->status)
        return b->status;
    if (extra > b->max || b->n > b->max - extra)
        return b->status = LMF_FAIL(b->ctx, LMF_E_LIMIT, "a buffer of at most %zu bytes would grow to %zu", b->max, b->n + extra);
    size_t need = b->n + extra + 1;
    if (need <= b->cap)
        return LMF_OK;
    size_t cap = b->cap ? b->cap * 2 : 64;
    if (cap < need)
        cap = need;
    char *p = lmf_realloc(b->ctx, b->data, b->cap, cap);
    if (!p)
        return b->status = LMF_NO_MEMORY(b->ctx, cap, "a buffer");
    b->data = p;
    b->cap = cap;
    return LMF_OK;
}

lmf_status lmf_buf_append(lmf_buf *b, const void *p, size_t n)
{
    LMF_TRY(lmf_buf_reserve(b, n));
    if (n)
        memcpy(b->data + b->n, p, n);
    b->n += n;
    b->data[b->n] = 0;
    return LMF_OK;
}

lmf_status lmf_buf_puts(lmf_buf *b, const char *s) { return lmf_buf_append(b, s, strlen(s)); }
lmf_status lmf_buf_putc(lmf_buf *b, char c) { return lmf_buf_append(b, &c, 1); }

lmf_status lmf_buf_printf(lmf_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    lmf_status s = n < 0 ? (b->status = LMF_E_INTERNAL) : lmf_buf_reserve(b, (size_t)n);
    if (!s) {
        vsnprintf(b->data + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
    return s;
}

lmf_status lmf_buf_put_quoted(lmf_buf *b, const char *text, size_t n)
{
    lmf_buf_putc(b, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            lmf_buf_printf(b, "\\%c", c);
        else if (c < 32 || c == 127)
            lmf_buf_printf(b, "\\u%04x", c);
        else
            lmf_buf_putc(b, (char)c);
    }
    return lmf_buf_putc(b, '"');
}

void lmf_buf_truncate(lmf_buf *b, size_t n)
{
    LMF_ASSERT(n <= b->n);
    b->n = n;
    if (b->data)
        b->data[n] = 0;
}

const char *lmf_buf_str(const lmf_buf *b) { return b->data ? b->data : ""; }
