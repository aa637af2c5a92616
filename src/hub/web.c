/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/web.h"
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct lmf_web { lmf_ctx *ctx; CURL *curl; };
typedef struct exchange { lmf_web *w; const lmf_web_request *q; lmf_web_reply *r; bool enough; } exchange;

static void copy(char *to, size_t n, const char *from)
{
    size_t k = strlen(from) < n ? strlen(from) : n - 1;
    memcpy(to, from, k);
    to[k] = 0;
}

static size_t on_header(char *line, size_t one, size_t n, void *user)
{
    exchange *x = user;
    char name[128], value[2048];
    const char *colon = memchr(line, ':', n), *v = colon + 1, *end = line + n;
    if (n > 5 && !strncmp(line, "HTTP/", 5)) /* an earlier one was the proxy's, or 100 */
        x->r->type[0] = x->r->location[0] = 0;
    if (!colon || (size_t)(colon - line) >= sizeof name)
        return one * n;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && strchr(" \t\r\n", end[-1]))
        end--;
    snprintf(name, sizeof name, "%.*s", (int)(colon - line), line);
    snprintf(value, sizeof value, "%.*s", (int)(end - v), v);
    if (!strcasecmp(name, "content-type")) {
        copy(x->r->type, sizeof x->r->type, value);
        x->r->type[strcspn(x->r->type, "; \t")] = 0;
        for (char *p = x->r->type; *p; p++)
            *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    } else if (!strcasecmp(name, "location")) {
        copy(x->r->location, sizeof x->r->location, value);
    }
    return !x->q->header || x->q->header(x->q->user, name, value) ? one * n : 0;
}

static size_t on_body(char *p, size_t one, size_t n, void *user)
{
    exchange *x = user;
    curl_easy_getinfo(x->w->curl, CURLINFO_RESPONSE_CODE, &x->r->status);
    if (x->q->take && !x->q->take(x->q->user, p, one * n)) {
        x->enough = true;
        return 0;
    }
    return one * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    exchange *x = user;
    (void)a, (void)b, (void)c, (void)d;
    x->r->stopped = x->q->stopped && x->q->stopped(x->q->user);
    return x->r->stopped;
}

lmf_status lmf_web_open(lmf_ctx *ctx, lmf_web **out)
{
    const char *bundle = getenv("SSL_CERT_FILE");
    lmf_web *w = *out = lmf_new(ctx, lmf_web);
    if (!w)
        return LMF_NO_MEMORY(ctx, sizeof *w, "a client of HTTP");
    w->ctx = ctx;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(w->curl = curl_easy_init())) {
        lmf_delete(ctx, w);
        *out = NULL;
        return LMF_FAIL(ctx, LMF_E_MEMORY, "libcurl could not begin");
    }
    if (!bundle || !bundle[0])
        bundle = getenv("CURL_CA_BUNDLE");
    if (bundle && bundle[0])
        curl_easy_setopt(w->curl, CURLOPT_CAINFO, bundle);
    curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(w->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(w->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(w->curl, CURLOPT_USERAGENT, "lmfast/" LMF_VERSION);
    curl_easy_setopt(w->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(w->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(w->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    return LMF_OK;
}

void lmf_web_close(lmf_web *w)
{
    if (!w)
        return;
    curl_easy_cleanup(w->curl);
    lmf_delete(w->ctx, w);
}

static void set_body(CURL *curl, const lmf_web_request *q)
{
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, NULL);
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* forgets a body and NOBODY */
    if (q->body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, q->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->n);
    }
    if (q->method && strcmp(q->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    else if (q->method)
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, q->method);
}

void lmf_web_ask(lmf_web *w, const lmf_web_request *q, lmf_web_reply *out)
{
    char why[CURL_ERROR_SIZE] = "";
    exchange x = { .w = w, .q = q, .r = out };
    curl_off_t after = 0;
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:"); /* no round of its own before the body */
    *out = (lmf_web_reply){ .retry_after = -1 };
    for (const char *const *h = q->headers; headers && h && *h; h++) {
        struct curl_slist *more = curl_slist_append(headers, *h);
        if (!more)
            curl_slist_free_all(headers);
        headers = more;
    }
    if (!headers) {
        copy(out->why, sizeof out->why, "there is no memory for a request");
        return;
    }
    set_body(w->curl, q);
    curl_easy_setopt(w->curl, CURLOPT_URL, q->url);
    curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(w->curl, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(w->curl, CURLOPT_HEADERDATA, &x);
    curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, &x);
    curl_easy_setopt(w->curl, CURLOPT_XFERINFODATA, &x);
    CURLcode code = curl_easy_perform(w->curl);
    curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, &out->status);
    out->whole = !code || x.enough;
    out->late = code == CURLE_OPERATION_TIMEDOUT;
    if (!out->whole)
        copy(out->why, sizeof out->why, why[0] ? why : curl_easy_strerror(code));
    if (!code && !curl_easy_getinfo(w->curl, CURLINFO_RETRY_AFTER, &after) && after > 0)
        out->retry_after = (double)after;
    curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(headers);
}

lmf_status lmf_web_host(lmf_ctx *ctx, const char *url, char *host, size_t n)
{
    CURLU *u = curl_url();
    char *scheme = NULL, *name = NULL, *port = NULL, *user = NULL;
    bool good = u && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) &&
                !curl_url_get(u, CURLUPART_HOST, &name, 0) && curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
                (!strcmp(scheme, "http") || !strcmp(scheme, "https"));
    if (good)
        curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
    if (good)
        good = (size_t)snprintf(host, n, "%s%s%s", name, port ? ":" : "", port ? port : "") < n;
    for (char *p = host; good && *p; p++)
        *p = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    curl_free(scheme), curl_free(name), curl_free(port), curl_free(user);
    curl_url_cleanup(u);
    return good ? LMF_OK : LMF_FAIL(ctx, LMF_E_ARG, "\"%.200s\" is no address of http or https that can be asked", url);
}

void lmf_web_escape(lmf_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-_.~", c));
        if (plain)
            lmf_buf_putc(out, (char)c);
        else
            lmf_buf_printf(out, "%%%02X", c);
    }
}
