/* SPDX-License-Identifier: Apache-2.0 */
/* buf: bytes that grow, up to a maximum given at birth. Always NUL-terminated behind n, so data is a C string
 * where the bytes are text. Failure is sticky: after one, every append is refused with the same status, so a
 * writer checks once at its end.
 * Owner: the caller's storage, init/clear; take moves the bytes out. Threads: one at a time. */
#ifndef LMF_BASE_BUF_H
#define LMF_BASE_BUF_H
#include "base/ctx.h"

typedef struct lmf_buf {
    lmf_ctx   *ctx;
    char      *data;   /* NULL until the first append */
    size_t     n;      /* bytes in use */
    size_t     cap;    /* bytes allocated, the NUL's place included */
    size_t     max;    /* greatest n */
    lmf_status status; /* first failure */
} lmf_buf;

void       lmf_buf_init(lmf_buf *b, lmf_ctx *ctx, size_t max);
void       lmf_buf_clear(lmf_buf *b);
lmf_status lmf_buf_reserve(lmf_buf *b, size_t extra);             /* LMF_E_LIMIT past max, LMF_E_MEMORY */
lmf_status lmf_buf_append(lmf_buf *b, const void *p, size_t n);
lmf_status lmf_buf_puts(lmf_buf *b, const char *s);
lmf_status lmf_buf_putc(lmf_buf *b, char c);
lmf_status lmf_buf_printf(lmf_buf *b, const char *fmt, ...) LMF_PRINTF(2, 3);
/* A text as JSON writes it, in quotes; bytes past ASCII as they are. */
lmf_status lmf_buf_put_quoted(lmf_buf *b, const char *text, size_t n);
void       lmf_buf_truncate(lmf_buf *b, size_t n);                /* n <= b->n */
const char *lmf_buf_str(const lmf_buf *b);                        /* "" when empty */

#endif
