/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: redirects are followed here, not by curl, so that one place decides who gets the token: the endpoint's own scheme, host and port.
 * What another host says about commit and hash is not heard. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "base/number.h"
#include "format/json.h"
#include "hub/parts.h"

enum { MAX_REDIRECTS = 10, MAX_TRIES = 5, MAX_ERROR_BYTES = 8192, LONGEST_WAIT = 120, MAX_TEXT_BYTES = 16 << 20 };

typedef struct exchange {       /* what the callbacks see */
    lmf_hub            *h;
    const lmf__request *q;
    lmf__reply         *r;
    bool                of_hub; /* the endpoint itself answers */
    lmf_status          s;      /* of the sink */
    char                body[MAX_ERROR_BYTES]; /* of an error */
    size_t              n_body;
} exchange;

bool lmf__hub_stopped(lmf_hub *h)
{
    return h->watch.progress && h->watch.progress(h->watch.user, h->file, h->done, h->total);
}

void lmf__hub_note(lmf_hub *h, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    if (!h->watch.note)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    h->watch.note(h->watch.user, text);
}

lmf_status lmf__http_open(lmf_hub *h)
{
    const char *bundle = getenv("SSL_CERT_FILE");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(h->curl = curl_easy_init()))
        return LMF_FAIL(h->ctx, LMF_E_MEMORY, "libcurl could not begin");
    if (!bundle || !bundle[0])
        bundle = getenv("CURL_CA_BUNDLE");
    if (bundle && bundle[0])
        curl_easy_setopt(h->curl, CURLOPT_CAINFO, bundle);
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h->curl, CURLOPT_BUFFERSIZE, 1L << 18);
    curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "lmfast/" LMF_VERSION);
    return LMF_OK;
}

void lmf__http_close(lmf_hub *h)
{
    if (h->curl)
        curl_easy_cleanup(h->curl);
    h->curl = NULL;
}

/* ---- headers ---- */
static void copy(char *to, size_t n, const char *from, size_t k)
{
    to[0] = 0;
    if (k < n) /* longer than any that is meant: as if it were not there */
        memcpy(to, from, k), to[k] = 0;
}

/* W/"abc" -> abc */
static void copy_etag(char *to, size_t n, const char *v, size_t k)
{
    if (k > 2 && !memcmp(v, "W/", 2))
        v += 2, k -= 2;
    if (k >= 2 && v[0] == '"' && v[k - 1] == '"')
        v++, k -= 2;
    copy(to, n, v, k);
}

static int64_t number(const char *v, size_t k)
{
    char text[32];
    int64_t n;
    copy(text, sizeof text, v, k);
    return lmf_number_is(text, &n) ? n : -1;
}

/* "bytes 100-199/200" */
static void content_range(lmf__reply *r, const char *v, size_t k)
{
    char text[96];
    int64_t from, to, of;
    copy(text, sizeof text, v, k);
    const char *p = text + 6;
    if (strncasecmp(text, "bytes ", 6) || !lmf_number_read(&p, &from) || *p++ != '-' || !lmf_number_read(&p, &to) || *p++ != '/')
        return;
    r->from = from;
    r->of = lmf_number_is(p, &of) ? of : -1;
}

/* <https://example.com/list?cursor=x>; rel="next" */
static void next_page(lmf__reply *r, const char *v, size_t k)
{
    char text[sizeof r->next + 64];
    copy(text, sizeof text, v, k);
    char *end = strchr(text, '>');
    if (text[0] == '<' && end && strstr(end, "rel=\"next\""))
        copy(r->next, sizeof r->next, text + 1, (size_t)(end - text) - 1);
}

/* "api";r=0;t=55: when the limit is counted anew */
static void rate_limit(lmf__reply *r, const char *v, size_t k)
{
    char text[256];
    int64_t seconds;
    copy(text, sizeof text, v, k);
    const char *at = strstr(text, ";t="), *p = at ? at + 3 : NULL;
    if (p && r->retry_after < 0 && lmf_number_read(&p, &seconds))
        r->retry_after = (double)seconds;
}

static size_t on_header(char *line, size_t one, size_t n, void *user)
{
    exchange *x = user;
    lmf__reply *r = x->r;
    const char *colon = memchr(line, ':', n);
    if (n > 5 && !strncmp(line, "HTTP/", 5)) { /* an earlier one was the proxy's, or 100 */
        r->etag[0] = r->location[0] = r->next[0] = r->error_code[0] = r->error[0] = 0;
        r->length = r->from = r->of = -1, r->retry_after = -1;
        return one * n;
    }
    if (!colon)
        return one * n;
    size_t k = (size_t)(colon - line);
    const char *v = colon + 1, *end = line + n;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && strchr(" \t\r\n", end[-1]))
        end--;
    size_t nv = (size_t)(end - v);
#define IS(name) (k == sizeof name - 1 && !strncasecmp(line, name, k))
    if (IS("location"))
        copy(r->location, sizeof r->location, v, nv);
    else if (IS("content-length"))
        r->length = number(v, nv);
    else if (IS("content-range"))
        content_range(r, v, nv);
    else if (IS("etag"))
        copy_etag(r->etag, sizeof r->etag, v, nv);
    else if (IS("link"))
        next_page(r, v, nv);
    else if (IS("ratelimit"))
        rate_limit(r, v, nv);
    else if (x->of_hub && IS("x-repo-commit"))
        copy(r->commit, sizeof r->commit, v, nv);
    else if (x->of_hub && IS("x-linked-etag"))
        copy_etag(r->linked_etag, sizeof r->linked_etag, v, nv);
    else if (x->of_hub && IS("x-linked-size"))
        r->linked_bytes = number(v, nv);
    else if (x->of_hub && IS("x-error-code"))
        copy(r->error_code, sizeof r->error_code, v, nv);
    else if (x->of_hub && IS("x-error-message"))
        copy(r->error, sizeof r->error, v, nv);
#undef IS
    return one * n;
}

/* ---- bodies ---- */
static size_t on_body(char *p, size_t one, size_t n, void *user)
{
    exchange *x = user;
    curl_easy_getinfo(x->h->curl, CURLINFO_RESPONSE_CODE, &x->r->status);
    if (x->r->status < 200 || x->r->status > 299) { /* only as much of an error as is read */
        size_t k = n < sizeof x->body - x->n_body ? n : sizeof x->body - x->n_body;
        memcpy(x->body + x->n_body, p, k);
        x->n_body += k;
        return one * n;
    }
    x->s = x->q->sink ? x->q->sink(x->q->user, x->r, p, n) : LMF_OK;
    return x->s ? 0 : one * n;
}

static int on_progress(void *user, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return lmf__hub_stopped(user);
}

/* {"error": "..."} */
static void error_text(exchange *x)
{
    json_t *root = x->n_body ? json_loadb(x->body, x->n_body, 0, NULL) : NULL;
    const char *text = json_string_value(json_object_get(root, "error"));
    if (text && !x->r->error[0])
        snprintf(x->r->error, sizeof x->r->error, "%s", text);
    json_decref(root);
}

/* scheme://host:port of both are equal */
static bool same_origin(const char *a, const char *b)
{
    CURLU *u[2] = { curl_url(), curl_url() };
    char *part[2];
    static const CURLUPart parts[] = { CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT };
    bool same = u[0] && u[1] && !curl_url_set(u[0], CURLUPART_URL, a, 0) && !curl_url_set(u[1], CURLUPART_URL, b, 0);
    for (int i = 0; i < 3 && same; i++) {
        for (int k = 0; k < 2; k++)
            part[k] = NULL, same &= !curl_url_get(u[k], parts[i], &part[k], CURLU_DEFAULT_PORT);
        same = same && !strcasecmp(part[0], part[1]);
        curl_free(part[0]), curl_free(part[1]);
    }
    curl_url_cleanup(u[0]), curl_url_cleanup(u[1]);
    return same;
}

static lmf_status follow(lmf_hub *h, char *url, size_t n, const char *location)
{
    CURLU *u = curl_url();
    char *next = NULL;
    bool fine = u && location[0] && !curl_url_set(u, CURLUPART_URL, url, 0) && !curl_url_set(u, CURLUPART_URL, location, 0) &&
                !curl_url_get(u, CURLUPART_URL, &next, 0) && strlen(next) < n;
    bool falls = fine && !strncmp(url, "https:", 6) && strncmp(next, "https:", 6);
    if (fine && !falls)
        memcpy(url, next, strlen(next) + 1);
    curl_free(next);
    curl_url_cleanup(u);
    if (falls)
        return LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s sends on to an address without encryption (%.100s); refused", h->endpoint, location);
    return fine ? LMF_OK : LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s sends on to \"%.100s\", which is no address", h->endpoint, location);
}

static lmf_status one_exchange(lmf_hub *h, const lmf__request *q, const char *url, lmf__reply *r)
{
    char why[CURL_ERROR_SIZE] = "", line[600];
    exchange x = { .h = h, .q = q, .r = r, .of_hub = same_origin(url, h->endpoint) };
    struct curl_slist *headers = curl_slist_append(NULL, "Accept-Encoding: identity");
    curl_off_t after = 0;
    if (headers && x.of_hub && h->token[0]) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", h->token);
        headers = curl_slist_append(headers, line);
        memset(line, 0, sizeof line);
    }
    if (headers && q->from > 0) {
        snprintf(line, sizeof line, "Range: bytes=%lld-", (long long)q->from);
        headers = curl_slist_append(headers, line);
    }
    if (!headers)
        return LMF_NO_MEMORY(h->ctx, sizeof line, "a request");
    r->status = 0, r->cut = false, r->of_hub = x.of_hub;
    r->etag[0] = r->location[0] = r->next[0] = 0;
    r->length = r->from = r->of = -1, r->retry_after = -1;
    curl_easy_setopt(h->curl, CURLOPT_URL, url);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(h->curl, CURLOPT_NOBODY, q->head ? 1L : 0L);
    if (!q->head)
        curl_easy_setopt(h->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, (long)q->timeout);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)q->timeout);
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(h->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(h->curl, CURLOPT_HEADERDATA, &x);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, &x);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, h);
    CURLcode code = curl_easy_perform(h->curl);
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &r->status);
    if (!curl_easy_getinfo(h->curl, CURLINFO_RETRY_AFTER, &after) && after > 0)
        r->retry_after = (double)after;
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (x.s)
        return x.s;
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return LMF_E_CANCELLED;
    if (code) {
        r->cut = r->status != 0;
        if (!x.of_hub)
            r->status = 0;
        return LMF_FAIL(h->ctx, code == CURLE_OUT_OF_MEMORY ? LMF_E_MEMORY : LMF_E_IO, "can't get %s from %s: %s", q->what, h->endpoint,
                        why[0] ? why : curl_easy_strerror(code));
    }
    error_text(&x);
    return LMF_OK;
}

lmf_status lmf__http_ask(lmf_hub *h, const lmf__request *q, lmf__reply *r)
{
    char url[4096], before[4096];
    memset(r, 0, sizeof *r);
    r->linked_bytes = -1;
    if ((size_t)snprintf(url, sizeof url, "%s", q->url) >= sizeof url)
        return LMF_FAIL(h->ctx, LMF_E_LIMIT, "the address of %s is too long", q->what);
    for (int i = 0; i < MAX_REDIRECTS; i++) {
        LMF_TRY(one_exchange(h, q, url, r));
        if (r->status != 301 && r->status != 302 && r->status != 303 && r->status != 307 && r->status != 308)
            return LMF_OK;
        memcpy(before, url, sizeof before);
        LMF_TRY(follow(h, url, sizeof url, r->location));
        if (q->head && !same_origin(before, url))
            return LMF_OK; /* the bytes lie elsewhere; what they are has been told */
    }
    return LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s: %d addresses, each of which sends on to the next", q->what, MAX_REDIRECTS);
}

/* ---- tries ---- */
bool lmf__http_is_busy(long status) { return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 ||
    status == 504; }

lmf_status lmf__http_wait(lmf_hub *h, int i, double retry_after, const char *why)
{
    struct timespec nap = { 0, 50000000 };
    double seconds = retry_after >= 0 ? retry_after : 0.5 * (double)(1 << (i < 5 ? i : 5));
    if (seconds > LONGEST_WAIT)
        return LMF_FAIL(h->ctx, LMF_E_IO, "%s, and the hub asks to wait %.0f s; try again then", why, seconds);
    lmf__hub_note(h, "%s; trying again in %.3g s", why, seconds);
    for (double t = 0; t < seconds; t += 0.05) {
        if (lmf__hub_stopped(h))
            return LMF_E_CANCELLED;
        nanosleep(&nap, NULL);
    }
    return LMF_OK;
}

static const char *kind_word(const lmf_hub_name *name) { return name->kind == LMF_HUB_DATA ? "data set" : "model"; }

lmf_status lmf__http_refused(lmf_hub *h, const lmf_hub_name *name, const char *url, const lmf__reply *r)
{
    const char *code = r->error_code, *token = h->token[0] ? "the token that is set does not open it" :
        "no token is set (HF_TOKEN, or the file that `hf auth login` writes)";
    const char *set = name->kind == LMF_HUB_DATA ? "datasets/" : "";
    if (!strcmp(code, "GatedRepo") || (r->status == 403 && !code[0]))
        return LMF_FAIL(h->ctx, LMF_E_ARG, "%s is gated: accept its terms at %s/%s%s with the account of the token; %s", name->repo,
            h->endpoint, set, name->repo, token);
    if (!strcmp(code, "RevisionNotFound"))
        return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s has no branch, tag or commit \"%s\"", name->repo, name->revision);
    if (!strcmp(code, "EntryNotFound"))
        return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s has no such file at %s: %.300s", name->repo, name->revision, url);
    if (r->status == 404 || r->status == 401 || !strcmp(code, "RepoNotFound"))
        return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s has no %s %s, or it is private; %s", h->endpoint, kind_word(name), name->repo, token);
    return LMF_FAIL(h->ctx, r->status == 403 ? LMF_E_ARG : LMF_E_IO, "%s answers %ld for %s%s%.300s", h->endpoint, r->status, name->repo,
        r->error[0] ? ": " : "", r->error);
}

/* Until it is no longer busy; LMF_OK with a status that is not. */
static lmf_status ask_patiently(lmf_hub *h, const lmf_hub_name *name, const lmf__request *q, lmf__reply *r)
{
    char why[600];
    for (int i = 0;; i++) {
        LMF_TRY(lmf__http_ask(h, q, r));
        if (!lmf__http_is_busy(r->status))
            return LMF_OK;
        if (i + 1 == MAX_TRIES)
            return lmf__http_refused(h, name, q->url, r);
        snprintf(why, sizeof why, "%s answers %ld", h->endpoint, r->status);
        LMF_TRY(lmf__http_wait(h, i, r->retry_after, why));
    }
}

static lmf_status to_text(void *user, const lmf__reply *r, const void *p, size_t n)
{
    (void)r;
    return lmf_buf_append(user, p, n);
}

lmf_status lmf__http_text(lmf_hub *h, const lmf_hub_name *name, const char *url, lmf_buf *text, lmf__reply *r)
{
    lmf__request q = { .url = url, .what = name->repo, .timeout = h->etag_timeout, .sink = to_text, .user = text };
    LMF_TRY(ask_patiently(h, name, &q, r));
    return r->status >= 200 && r->status < 300 ? LMF_OK : lmf__http_refused(h, name, url, r);
}

lmf_status lmf__http_head(lmf_hub *h, const lmf_hub_name *name, const char *url, lmf__reply *r)
{
    lmf__request q = { .url = url, .what = name->repo, .head = true, .timeout = h->etag_timeout };
    LMF_TRY(ask_patiently(h, name, &q, r));
    return r->status >= 200 && r->status < 400 ? LMF_OK : lmf__http_refused(h, name, url, r);
}

void lmf__url_escape(const char *text, bool keep_slash, char *out, size_t n)
{
    size_t at = 0;
    for (; *text && at + 4 < n; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c) || (keep_slash &&
            c == '/');
        at += plain ? (out[at] = (char)c, 1u) : (size_t)snprintf(out + at, 4, "%%%02X", c);
    }
    out[at] = 0;
}
