/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/post.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct poster { lmf_ctx *ctx; CURL *curl; } poster;

static size_t on_body(char *p, size_t one, size_t n, void *user)
{
    lmf_posted *r = user;
    size_t k = sizeof r->body - r->n_body < n ? sizeof r->body - r->n_body : n;
    memcpy(r->body + r->n_body, p, k);
    r->n_body += k;
    return one * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const lmf_post *p = user;
    (void)a, (void)b, (void)c, (void)d;
    return p->stopped && p->stopped(p->user);
}

lmf_status lmf_post_open(lmf_ctx *ctx, void **out)
{
    const char *bundle = getenv("SSL_CERT_FILE");
    poster *x = lmf_new(ctx, poster);
    *out = NULL;
    if (!x)
        return LMF_NO_MEMORY(ctx, sizeof *x, "a client of HTTP");
    x->ctx = ctx;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(x->curl = curl_easy_init())) {
        lmf_delete(ctx, x);
        return LMF_FAIL(ctx, LMF_E_MEMORY, "libcurl could not begin");
    }
    if (!bundle || !bundle[0])
        bundle = getenv("CURL_CA_BUNDLE");
    if (bundle && bundle[0])
        curl_easy_setopt(x->curl, CURLOPT_CAINFO, bundle);
    curl_easy_setopt(x->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(x->curl, CURLOPT_USERAGENT, "lmfast/" LMF_VERSION);
    curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(x->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(x->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    *out = x;
    return LMF_OK;
}

void lmf_post_close(void *p)
{
    poster *x = p;
    if (!x)
        return;
    curl_easy_cleanup(x->curl);
    lmf_delete(x->ctx, x);
}

void lmf_post_send(void *p, const lmf_post *q, lmf_posted *out)
{
    poster *x = p;
    char why[CURL_ERROR_SIZE] = "";
    curl_off_t after = 0;
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:"); /* no round of its own before the body */
    *out = (lmf_posted){ .retry_after = -1 };
    for (const char *const *h = q->headers; headers && h && *h; h++) {
        struct curl_slist *more = curl_slist_append(headers, *h);
        if (!more)
            curl_slist_free_all(headers);
        headers = more;
    }
    if (!headers) {
        snprintf(out->why, sizeof out->why, "there is no memory for a request");
        return;
    }
    curl_easy_setopt(x->curl, CURLOPT_URL, q->url);
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, q->body);
    curl_easy_setopt(x->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n);
    curl_easy_setopt(x->curl, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(x->curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)q);
    CURLcode code = curl_easy_perform(x->curl);
    if (code)
        snprintf(out->why, sizeof out->why, "%s", why[0] ? why : curl_easy_strerror(code));
    else
        curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &out->status);
    if (!code && !curl_easy_getinfo(x->curl, CURLINFO_RETRY_AFTER, &after) && after > 0)
        out->retry_after = (double)after;
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
}
