/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every byte that is kept is counted against a limit before it is kept; a refusal is final. */
#include "serve/http.h"
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES = 16 << 10, LINE_BYTES = 8 << 10, BODY_BYTES = 2 << 20 };

static int refuse(lmf_http *h, int status, const char *why)
{
    if (!h->status)
        h->status = status, h->why = why;
    return HPE_USER;
}

static int keep(lmf_http *h, const char *at, size_t n)
{
    if (h->head.n + n - h->line_begin > h->limits.line_bytes)
        return h->n_headers ? refuse(h, 431, "a header is too long") : refuse(h, 414, "the request's target is too long");
    if (lmf_buf_append(&h->head, at, n))
        return h->head.status == LMF_E_LIMIT ? refuse(h, 431, "the headers are too long") : refuse(h, 500,
            "there is no memory for the headers");
    return 0;
}

static int on_begin(llhttp_t *p)
{
    ((lmf_http *)p->data)->begun = true;
    return 0;
}

static int on_url(llhttp_t *p, const char *at, size_t n) { return keep(p->data, at, n); }

static int end_text(llhttp_t *p)
{
    lmf_http *h = p->data;
    if (lmf_buf_putc(&h->head, 0))
        return refuse(h, 431, "the headers are too long");
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    lmf_http *h = p->data;
    if (h->head_done)
        return refuse(h, 400, "headers behind a chunked body are not taken");
    if (h->n_headers == 0 || h->header[h->n_headers - 1].value) { /* the first piece of a name */
        if (h->n_headers == LMF_HTTP_MAX_HEADERS)
            return refuse(h, 431, "there are more than 100 headers");
        h->header[h->n_headers].name = h->line_begin = h->head.n;
        h->header[h->n_headers++].value = 0;
    }
    return keep(h, at, n);
}

static int on_field_complete(llhttp_t *p)
{
    lmf_http *h = p->data;
    if (h->head_done || h->n_headers == 0)
        return refuse(h, 400, "headers behind a chunked body are not taken");
    int rc = end_text(p);
    h->header[h->n_headers - 1].value = h->head.n;
    return rc;
}

static int on_value(llhttp_t *p, const char *at, size_t n) { return keep(p->data, at, n); }

static int on_value_complete(llhttp_t *p)
{
    lmf_http *h = p->data;
    size_t n = h->head.n, begin = h->header[h->n_headers - 1].value;
    while (n > begin && (h->head.data[n - 1] == ' ' || h->head.data[n - 1] == '\t'))
        n--; /* white space behind a value is not of it */
    lmf_buf_truncate(&h->head, n);
    return end_text(p);
}

static int check_head(lmf_http *h)
{
    int n_codings = lmf_http_header_count(h, "transfer-encoding"), n_lengths = lmf_http_header_count(h, "content-length");
    int n_hosts = lmf_http_header_count(h, "host");
    const char *expect = lmf_http_header(h, "expect");
    if (h->parser.http_major != 1 || h->parser.http_minor > 1)
        return refuse(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (n_hosts > 1 || (n_hosts == 0 && h->parser.http_minor == 1))
        return refuse(h, 400, "a request has one Host header");
    if (n_codings > 1 || n_lengths > 1 || (n_codings && n_lengths))
        return refuse(h, 400, "the length of the body is given twice");
    if (n_codings && (strcasecmp(lmf_http_header(h, "transfer-encoding"), "chunked") || h->parser.http_minor == 0))
        return refuse(h, 400, "the only transfer coding that is taken is chunked, in HTTP/1.1");
    if (n_lengths && h->parser.content_length > h->limits.body_bytes)
        return refuse(h, 413, "the body is too long");
    if (expect && strcasecmp(expect, "100-continue"))
        return refuse(h, 417, "the only expectation that is met is 100-continue");
    h->expects = expect && h->parser.http_minor == 1;
    return 0;
}

static int on_head(llhttp_t *p)
{
    lmf_http *h = p->data;
    int rc = check_head(h);
    h->head_done = true;
    h->keep_alive = llhttp_should_keep_alive(p);
    p->upgrade = 0; /* an offer that is not taken */
    return rc ? -1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    lmf_http *h = p->data;
    if (lmf_buf_append(&h->body, at, n))
        return h->body.status == LMF_E_LIMIT ? refuse(h, 413, "the body is too long") : refuse(h, 500, "there is no memory for the body");
    return 0;
}

static int on_chunk_extension(llhttp_t *p, const char *at, size_t n)
{
    (void)at, (void)n;
    return refuse(p->data, 400, "chunk extensions are not taken");
}

static int on_complete(llhttp_t *p)
{
    ((lmf_http *)p->data)->state = LMF_HTTP_DONE;
    return HPE_PAUSED;
}

void lmf_http_init(lmf_http *h, lmf_ctx *ctx, const lmf_http_limits *limits)
{
    *h = (lmf_http){ .ctx = ctx };
    if (limits)
        h->limits = *limits;
    h->limits.head_bytes = h->limits.head_bytes ? h->limits.head_bytes : HEAD_BYTES;
    h->limits.line_bytes = h->limits.line_bytes ? h->limits.line_bytes : LINE_BYTES;
    h->limits.body_bytes = h->limits.body_bytes ? h->limits.body_bytes : BODY_BYTES;
    lmf_buf_init(&h->head, ctx, h->limits.head_bytes);
    lmf_buf_init(&h->body, ctx, h->limits.body_bytes);
    llhttp_settings_init(&h->settings);
    h->settings.on_message_begin = on_begin;
    h->settings.on_url = on_url, h->settings.on_url_complete = end_text;
    h->settings.on_header_field = on_field, h->settings.on_header_field_complete = on_field_complete;
    h->settings.on_header_value = on_value, h->settings.on_header_value_complete = on_value_complete;
    h->settings.on_headers_complete = on_head, h->settings.on_body = on_body;
    h->settings.on_chunk_extension_name = on_chunk_extension;
    h->settings.on_message_complete = on_complete;
    llhttp_init(&h->parser, HTTP_REQUEST, &h->settings);
    h->parser.data = h;
}

void lmf_http_clear(lmf_http *h)
{
    lmf_buf_clear(&h->head);
    lmf_buf_clear(&h->body);
}

void lmf_http_reset(lmf_http *h)
{
    lmf_ctx *ctx = h->ctx;
    lmf_http_limits limits = h->limits;
    lmf_http_clear(h); /* an idle connection holds no large buffer */
    lmf_http_init(h, ctx, &limits);
}

lmf_http_state lmf_http_push(lmf_http *h, const char *data, size_t n, size_t *used)
{
    *used = 0;
    if (h->state != LMF_HTTP_MORE || n == 0)
        return h->state;
    llhttp_errno_t e = llhttp_execute(&h->parser, data, n);
    *used = e == HPE_OK ? n : (size_t)(llhttp_get_error_pos(&h->parser) - data);
    h->raw_bytes += *used;
    if (h->state == LMF_HTTP_DONE)
        return h->state;
    if (e != HPE_OK)
        refuse(h, 400, "the request is not well-formed HTTP/1.1");
    else if (!h->head_done && h->raw_bytes > h->limits.head_bytes)
        refuse(h, 431, "the headers are too long"); /* white space that is not kept counts, too */
    else if (h->raw_bytes > h->limits.head_bytes + 8 * h->limits.body_bytes)
        refuse(h, 413, "the body is too long"); /* in sizes of chunks */
    if (h->status)
        h->state = LMF_HTTP_BAD;
    return h->state;
}

const char *lmf_http_method(const lmf_http *h) { return llhttp_method_name((llhttp_method_t)h->parser.method); }
const char *lmf_http_target(const lmf_http *h) { return lmf_buf_str(&h->head); }

const char *lmf_http_header(const lmf_http *h, const char *name)
{
    for (int i = 0; i < h->n_headers; i++)
        if (strcasecmp(h->head.data + h->header[i].name, name) == 0)
            return h->head.data + h->header[i].value;
    return NULL;
}

int lmf_http_header_count(const lmf_http *h, const char *name)
{
    int n = 0;
    for (int i = 0; i < h->n_headers; i++)
        n += strcasecmp(h->head.data + h->header[i].name, name) == 0;
    return n;
}
