/* SPDX-License-Identifier: Apache-2.0 */
/* Requests whole, byte by byte and cut anywhere: what RFC 9112 allows and this parser takes, and what it must refuse. */
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "serve/http.h"
#include "test.h"

#define POST "POST /p HTTP/1.1\r\nHost: a\r\n"
typedef struct shape { const char *text; int status; const char *body; size_t rest; } shape; /* status 0: taken; rest: bytes behind it */

static const shape shapes[] = {
    { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, "", 0 }, { POST "Content-Length: 3\r\n\r\nabcGET", 0, "abc", 3 },
    { POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nX", 0, "abcde", 1 }, { "GET / HTTP/1.0\r\n\r\n", 0, "", 0 },
    { "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0, "", 0 }, { "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\nXX",
        0, "", 2 },
    { POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400 },
    { POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400 }, { POST "Content-Length: 3, 3\r\n\r\nabc", 400 },
        { POST "Content-Length:\r\n\r\n", 400 },
    { POST "Content-Length: -1\r\n\r\n", 400 }, { POST "Content-Length: 9999999999\r\n\r\n", 413 },
        { POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400 },
    { POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { POST "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", 400 },
    { POST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400 },
        { POST "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", 400 },
    { POST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400 },
        { POST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n", 400 },
    { POST "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n", 400 }, { "GET / HTTP/1.1\nHost: a\n\n", 400 },
        { "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400 }, { "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
        { "GET / HTTP/1.1\r\n\r\n", 400 },
    { "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400 }, { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
        { "GET / HTTP/1.1\r\nHost: a\r\nX: a\001b\r\n\r\n", 400 },
    { "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400 },
        { POST "Expect: magic\r\nContent-Length: 1\r\n\r\na", 417 } };

static void check(lmf_http *h, const shape *s, size_t used)
{
    assert_int_equal(h->state, s->status ? LMF_HTTP_BAD : LMF_HTTP_DONE);
    assert_int_equal(h->status, s->status);
    if (s->status)
        assert_non_null(h->why);
    else {
        assert_string_equal(lmf_buf_str(&h->body), s->body);
        assert_int_equal(used, strlen(s->text) - s->rest);
    }
}

static void table(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_http h;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int cut = 0; cut < 40; cut++) { /* whole; byte by byte; at random places */
            size_t n = strlen(shapes[i].text), at = 0;
            lmf_http_init(&h, ctx, NULL);
            for (int k = 0; at < n && h.state == LMF_HTTP_MORE; k++) {
                size_t left = n - at, part = cut == 0 ? left : cut == 1 ? 1 : 1 + lmf_random_u32(1, (uint32_t)i, (uint32_t)cut,
                    (uint64_t)k) % left, used;
                lmf_http_push(&h, shapes[i].text + at, part, &used);
                at += used;
            }
            check(&h, &shapes[i], at);
            lmf_http_clear(&h);
        }
    lmf_test_ctx_done(ctx);
}

static void parts(void **state)
{
    static const char text[] = "POST /v1/x?y HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-One:  two words \r\n"
                               "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n";
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_http h;
    size_t used;
    lmf_http_init(&h, ctx, NULL);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(lmf_http_push(&h, text, sizeof text - 1, &used), LMF_HTTP_MORE);
        assert_true(h.head_done && h.expects);
        assert_int_equal(lmf_http_push(&h, "{", 1, &used), LMF_HTTP_DONE);
        assert_string_equal(lmf_http_method(&h), "POST");
        assert_string_equal(lmf_http_target(&h), "/v1/x?y");
        assert_string_equal(lmf_http_header(&h, "x-one"), "two words");
        assert_string_equal(lmf_http_header(&h, "x-empty"), "");
        assert_null(lmf_http_header(&h, "x-none"));
        assert_true(h.keep_alive);
        lmf_http_reset(&h);
    }
    lmf_http_clear(&h);
    lmf_test_ctx_done(ctx);
}

/* Each limit holds at its last byte and not one past it. */
static void limits(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_http_limits l = { .head_bytes = 200, .line_bytes = 50, .body_bytes = 10 };
    char text[512];
    size_t used;
    lmf_http h;
    for (int over = 0; over < 2; over++) {
        lmf_http_init(&h, ctx, &l);
        int n = snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n0123456789A", 10 + over);
        lmf_http_push(&h, text, (size_t)n, &used);
        assert_int_equal(h.status, over ? 413 : 0);
        lmf_http_clear(&h);
        lmf_http_init(&h, ctx, &l);
        n = snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%.*s\r\n0\r\n\r\n",
            10 + over, 10 + over,
                     "0123456789A");
        lmf_http_push(&h, text, (size_t)n, &used);
        assert_int_equal(h.status, over ? 413 : 0);
        lmf_http_clear(&h);
        lmf_http_init(&h, ctx, &l);
        n = snprintf(text, sizeof text, "GET /%.*s HTTP/1.1\r\nHost: a\r\n\r\n", 49 + over,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        lmf_http_push(&h, text, (size_t)n, &used);
        assert_int_equal(h.status, over ? 414 : 0);
        lmf_http_clear(&h);
    }
    lmf_http_init(&h, ctx, NULL);
    lmf_http_push(&h, "GET / HTTP/1.1\r\nHost: a\r\n", 25, &used);
    for (int i = 0; i < LMF_HTTP_MAX_HEADERS && h.state == LMF_HTTP_MORE; i++)
        lmf_http_push(&h, "X: y\r\n", 6, &used);
    assert_int_equal(h.status, 431);
    lmf_http_clear(&h);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(http) = { { "shapes that are taken and refused, however they are cut", table }, { "method, target, headers, twice", parts },
                    { "limits, to the byte", limits }, { 0 } };
