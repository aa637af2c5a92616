/* SPDX-License-Identifier: Apache-2.0 */
/* post: one body to one address over HTTP, and what was answered: for those that tell others of what happens here. Redirects are not
 * followed; proxies and certificates are curl's and the environment's (SSL_CERT_FILE, CURL_CA_BUNDLE).
 *
 *     LMF_TRY(lmf_post_open(ctx, &poster));
 *     lmf_post_send(poster, &(lmf_post){ .url = url, .body = text, .n = n, .timeout_ms = 10000 }, &answer);
 *     lmf_post_close(poster);
 *
 * Owner: open/close; connections are kept in between. Threads: open and close one at a time; a poster, one at a time. */
#ifndef LMF_HUB_POST_H
#define LMF_HUB_POST_H
#include "base/ctx.h"

typedef struct lmf_post {
    const char *url, *body;
    size_t      n;
    const char *const *headers;      /* "Name: value", NULL-ended; or NULL */
    int64_t     timeout_ms;          /* of all of it */
    bool      (*stopped)(void *user); /* asked about once a second; true: give up. NULL: never */
    void       *user;
} lmf_post;

typedef struct lmf_posted {
    long   status;                   /* 0: there was no answer */
    double retry_after;              /* seconds; -1: none is asked for */
    char   why[256];                 /* status 0 */
    char   body[4096];
    size_t n_body;                   /* its beginning */
} lmf_posted;

lmf_status lmf_post_open(lmf_ctx *ctx, void **poster);
void       lmf_post_send(void *poster, const lmf_post *p, lmf_posted *out);
void       lmf_post_close(void *poster);             /* NULL is fine */

#endif
