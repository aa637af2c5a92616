/* SPDX-License-Identifier: Apache-2.0 */
/* http: bytes of a connection to one HTTP/1.x request, by llhttp without any of its leniences. What two readers could understand in two
 * ways is refused: Content-Length beside Transfer-Encoding, either of them twice, a transfer coding other than chunked, a line that ends in
 * LF alone, a folded header, white space before a colon, chunk extensions, trailers, no Host or two. How the bytes are cut into pushes
 * changes nothing.
 *
 *     lmf_http_init(&h, ctx, NULL);
 *     switch (lmf_http_push(&h, data, n, &used)) {
 *     case LMF_HTTP_MORE: ... wait for bytes
 *     case LMF_HTTP_DONE: ... lmf_http_header(&h, "host"); bytes behind `used` belong to the next request; lmf_http_reset
 *     case LMF_HTTP_BAD:  ... h.status and h.why; the connection is of no more use
 *     }
 *
 * Owner: the caller's storage, init/clear. It must not move. Threads: one at a time. */
#ifndef LMF_SERVE_HTTP_H
#define LMF_SERVE_HTTP_H
#include <llhttp.h>
#include "base/buf.h"

enum { LMF_HTTP_MAX_HEADERS = 100 };

typedef struct lmf_http_limits {
    size_t head_bytes, line_bytes, body_bytes; /* 0: 16 KiB, 8 KiB, 2 MiB */
} lmf_http_limits;

typedef enum lmf_http_state { LMF_HTTP_MORE, LMF_HTTP_DONE, LMF_HTTP_BAD } lmf_http_state;

typedef struct lmf_http {
    lmf_ctx        *ctx;
    lmf_http_limits limits;
    lmf_http_state  state;
    int             status;          /* BAD: 400, 413, 414, 431, 500, 505 */
    const char     *why;             /* BAD: a sentence; static storage */
    bool            begun;           /* there was a byte of a request */
    bool            head_done;       /* all headers are known */
    bool            keep_alive;      /* DONE: the client wants another request on this connection */
    bool            expects;         /* head_done: waits for 100 Continue before it sends the body */
    lmf_buf         body;
    /* ---- inner ---- */
    llhttp_t          parser;
    llhttp_settings_t settings;
    lmf_buf           head;          /* target, NUL, then name, NUL, value, NUL ... */
    size_t            line_begin, raw_bytes;
    struct { size_t name, value; } header[LMF_HTTP_MAX_HEADERS]; /* in head */
    int               n_headers;
} lmf_http;

void           lmf_http_init(lmf_http *h, lmf_ctx *ctx, const lmf_http_limits *limits); /* NULL: the defaults */
void           lmf_http_clear(lmf_http *h);
void           lmf_http_reset(lmf_http *h);            /* for the next request */
/* *used: how many of the bytes were of this request. After DONE and BAD nothing is taken. */
lmf_http_state lmf_http_push(lmf_http *h, const char *data, size_t n, size_t *used);
const char    *lmf_http_method(const lmf_http *h);     /* "POST" */
const char    *lmf_http_target(const lmf_http *h);     /* "/v1/models?x=1" */
/* Value of the header, its name in lower case; NULL: it is not there. The first of several. */
const char    *lmf_http_header(const lmf_http *h, const char *name);
int            lmf_http_header_count(const lmf_http *h, const char *name);

#endif
