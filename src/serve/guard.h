/* SPDX-License-Identifier: Apache-2.0 */
/* guard: who may ask. Without a key only those who call the server by a name of this machine, so that a web page whose name was bound to
 * 127.0.0.1 reaches nothing; a browser's page of another origin never; with a key only those who have it.
 * Owner: the caller's storage, nothing to clear. Threads: read only after init. */
#ifndef LMF_SERVE_GUARD_H
#define LMF_SERVE_GUARD_H
#include "serve/exchange.h"

typedef struct lmf_guard {
    char host[256];          /* what was bound */
    bool has_key;            /* there are keys */
} lmf_guard;

/* Whether the address is one that only this machine reaches: "127.0.0.1", "::1", "localhost". */
bool       lmf_guard_is_loopback(const char *host);
lmf_status lmf_guard_init(lmf_guard *g, lmf_ctx *ctx, const char *host, bool has_key);
/* 403: a Host or an Origin that is not this server's. */
bool       lmf_guard_check_origin(const lmf_guard *g, const lmf_http *h, lmf_fault *f);
/* The key that was sent; NULL and a 401: none was. */
const char *lmf_guard_find_key(const lmf_http *h, lmf_fault *f);
/* 415: the body is not declared as JSON, which a page of another origin can't do unasked. */
bool       lmf_guard_check_type(const lmf_http *h, lmf_fault *f);

#endif
