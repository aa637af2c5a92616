/* SPDX-License-Identifier: Apache-2.0 */
/* web: one request to one address over HTTP, its answer in pieces as they come. Redirects are not followed; proxies and certificates are
 * curl's and the environment's (SSL_CERT_FILE, CURL_CA_BUNDLE).
 *
 *     LMF_TRY(lmf_web_open(ctx, &web));
 *     lmf_web_ask(web, &(lmf_web_request){ .method = "GET", .url = url, .timeout_ms = 10000, .take = take, .user = x }, &reply);
 *     lmf_web_close(web);
 *
 * Owner: open/close; connections are kept in between. Threads: open and close one at a time; a web, one at a time. Within take and header
 * another web may ask, this one not. */
#ifndef LMF_HUB_WEB_H
#define LMF_HUB_WEB_H
#include "base/buf.h"

typedef struct lmf_web lmf_web;

typedef struct lmf_web_request {
    const char *method, *url;        /* method NULL: GET, or POST with a body */
    const char *body;                /* NULL: none */
    size_t      n;
    const char *const *headers;      /* "Name: value", NULL-ended; or NULL */
    int64_t     timeout_ms;          /* of all of it; above 0 */
    bool      (*header)(void *user, const char *name, const char *value); /* of the answer; NULL: nobody looks */
    bool      (*take)(void *user, const char *p, size_t n); /* a piece of the body; false: enough,
        the connection ends. NULL: it is dropped */
    bool      (*stopped)(void *user); /* asked about once a second; true: give up. NULL: never */
    void       *user;
} lmf_web_request;

typedef struct lmf_web_reply {
    long   status;                   /* of HTTP; 0: there was no answer */
    double retry_after;              /* seconds; -1: none is asked for */
    bool   whole;                    /* it came to its end, or take had enough of it */
    bool   late, stopped;            /* the time was up; stopped said so */
    char   type[96];                 /* Content-Type, without what stands behind a semicolon */
    char   location[512];            /* where a redirect leads; cut */
    char   why[256];                 /* not whole */
} lmf_web_reply;

lmf_status lmf_web_open(lmf_ctx *ctx, lmf_web **out);
void       lmf_web_ask(lmf_web *w, const lmf_web_request *q, lmf_web_reply *out);
void       lmf_web_close(lmf_web *w);               /* NULL is fine */

/* host, or host:port where the port is not the scheme's own, in lower case. LMF_E_ARG: no address of http or https, or one with a user in
 * it. */
lmf_status lmf_web_host(lmf_ctx *ctx, const char *url, char *host, size_t n);
/* text as a part of an address: all but letters, digits and -_.~ as %XX. LMF_E_LIMIT past the maximum of out is its status. */
void       lmf_web_escape(lmf_buf *out, const char *text, size_t n);

#endif
