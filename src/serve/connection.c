/* SPDX-License-Identifier: Apache-2.0 */
/* connection: bytes in, one exchange at a time, bytes out. Rule: a connection is closed in one place, and whoever works for it hears of it
 * there; after lmf__connection_close nothing of it is touched. */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <event2/buffer.h>
#include "format/json.h"
#include "serve/server.h"

enum { INPUT_BYTES = 64 << 10, OUTPUT_BYTES = 8 << 20, LINGER_SECONDS = 2, HEARTBEAT_SECONDS = 15 };

static const char *status_text(int status)
{
    switch (status) {
#define XX(number, name, text) case number: return #text;
        HTTP_STATUS_MAP(XX)
#undef XX
    }
    return "Unknown";
}

static void set_deadline(lmf_connection *c, lmf_phase phase)
{
    const lmf_serve_opts *o = &c->server->o;
    const int seconds[] = { [LMF_PHASE_IDLE] = o->idle_seconds, [LMF_PHASE_HEAD] = o->head_seconds, [LMF_PHASE_BODY] = o->body_seconds,
                            [LMF_PHASE_ANSWER] = HEARTBEAT_SECONDS, [LMF_PHASE_FLUSH] = o->write_seconds,
                                [LMF_PHASE_LINGER] = LINGER_SECONDS };
    c->phase = phase;
    event_add(c->deadline, &(struct timeval){ .tv_sec = seconds[phase] });
}

void lmf__connection_close(lmf_connection *c)
{
    lmf_server *s = c->server;
    if (c->exchange.on_gone) {
        s->n_gone++;
        c->exchange.on_gone(c->exchange.user);
    }
    if (c->prev)
        c->prev->next = c->next;
    else
        s->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->n_connections--;
    event_free(c->deadline);
    bufferevent_free(c->bev);
    lmf_http_clear(&c->http);
    lmf_delete(s->ctx, c);
}

/* ---- answers ---- */

static struct evbuffer *out(lmf_exchange *x) { return bufferevent_get_output(x->connection->bev); }

static void head(lmf_exchange *x, int status, const char *type)
{
    x->server->n_responses[status < LMF_MAX_STATUS ? status : 500]++;
    evbuffer_add_printf(out(x), "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
        status,
                        status_text(status), type);
    if (x->connection->closes || x->server->draining || x->http->state != LMF_HTTP_DONE || !x->http->keep_alive) {
        x->connection->closes = true;
        evbuffer_add_printf(out(x), "Connection: close\r\n");
    }
    if (x->policy)
        evbuffer_add_printf(out(x), "Content-Security-Policy: %s\r\nReferrer-Policy: no-referrer\r\n", x->policy);
    x->policy = NULL;
    if (x->traceparent[0])
        evbuffer_add_printf(out(x), "Traceparent: %s\r\n", x->traceparent);
    if (x->tenant && x->endpoint && strcmp(x->endpoint->method, "POST") == 0)
        evbuffer_add_printf(out(x), "X-LMFast-Guard: %s\r\n", x->tenant->screen ? x->tenant->screen->told : "off");
    if (status == 429 || status == 503)
        evbuffer_add_printf(out(x), "Retry-After: %d\r\n", x->retry_s > 1 ? x->retry_s : 1);
    if (status == 401)
        evbuffer_add_printf(out(x), "WWW-Authenticate: Bearer\r\n");
}

static void flushed(lmf_connection *c);

/* The answer is complete. */
static void end(lmf_exchange *x)
{
    lmf_connection *c = x->connection;
    x->on_gone = NULL;
    set_deadline(c, LMF_PHASE_FLUSH);
    if (evbuffer_get_length(out(x)) == 0)
        flushed(c);
}

void lmf__reply_bytes(lmf_exchange *x, int status, const char *type, const char *text, size_t n)
{
    head(x, status, type);
    evbuffer_add_printf(out(x), "Content-Length: %zu\r\n\r\n", n);
    evbuffer_add(out(x), text, n);
    end(x);
}

void lmf__reply_json(lmf_exchange *x, int status, json_t *body)
{
    static const char broken[] = "{\"error\":{\"message\":\"the answer could not be put together\","
        "\"type\":\"server_error\",\"param\":null,\"code\":null}}";
    if (x->on_reply) {
        x->on_reply(x, body ? status : 500, body);
        return;
    }
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (text)
        lmf__reply_bytes(x, status, "application/json", text, strlen(text));
    else
        lmf__reply_bytes(x, 500, "application/json", broken, sizeof broken - 1);
    free(text); /* allowed: jansson's own memory */
}

json_t *lmf__fault_json(const lmf_exchange *x, const lmf_fault *f)
{
    if (x->endpoint && x->endpoint->fault)
        return x->endpoint->fault(f);
    const char *type = f->status == 401 ? "authentication_error" : f->status == 429 ? "rate_limit_error" : f->status >= 500 ? "server_error"
                                                                                                                : "invalid_request_error";
    return json_pack("{s:{s:o, s:s, s:s?, s:s?}}", "error", "message", lmf_json_string(f->message), "type", type, "param",
                     f->param[0] ? f->param : NULL, "code", f->code);
}

void lmf__reply_fault(lmf_exchange *x, const lmf_fault *f)
{
    x->retry_s = f->retry_s;
    lmf__reply_json(x, f->status, lmf__fault_json(x, f));
}

void lmf__stream_begin(lmf_exchange *x, bool lines)
{
    if (x->on_reply) {
        x->streams = true;
        return;
    }
    head(x, 200, lines ? "application/x-ndjson" : "text/event-stream; charset=utf-8");
    x->lines = lines;
    if (x->http->parser.http_minor == 0) { /* its end is the connection's */
        if (!x->connection->closes)
            evbuffer_add_printf(out(x), "Connection: close\r\n");
        x->connection->closes = true;
        evbuffer_add_printf(out(x), "\r\n");
    } else {
        evbuffer_add_printf(out(x), "Transfer-Encoding: chunked\r\n\r\n");
    }
    x->streams = true;
}

static void put_chunk(lmf_exchange *x, const char *before, const char *text, size_t n)
{
    size_t n_after = x->lines ? 1 : 2;
    bool chunked = x->http->parser.http_minor > 0;
    if (evbuffer_get_length(out(x)) > OUTPUT_BYTES) { /* the client does not read; closed from the loop, not from under the caller */
        event_add(x->connection->deadline, &(struct timeval){ 0 });
        return;
    }
    if (chunked)
        evbuffer_add_printf(out(x), "%zx\r\n", strlen(before) + n + n_after);
    evbuffer_add(out(x), before, strlen(before));
    evbuffer_add(out(x), text, n);
    evbuffer_add(out(x), "\n\n", n_after);
    if (chunked)
        evbuffer_add(out(x), "\r\n", 2);
    if (x->connection->phase == LMF_PHASE_ANSWER)
        set_deadline(x->connection, LMF_PHASE_ANSWER);
}

void lmf__stream_event(lmf_exchange *x, const char *name, json_t *body)
{
    char before[96];
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    snprintf(before, sizeof before, "%s%s%sdata: ", name ? "event: " : "", name ? name : "", name ? "\n" : "");
    if (text)
        put_chunk(x, x->lines ? "" : before, text, strlen(text));
    else
        x->connection->closes = true; /* without an end, so that the client sees that it is broken */
    free(text); /* allowed: jansson's own memory */
}

void lmf__stream_end(lmf_exchange *x, bool done)
{
    if (x->on_reply) {
        x->on_reply(x, 200, NULL);
        return;
    }
    if (done)
        put_chunk(x, "data: ", "[DONE]", 6);
    if (x->http->parser.http_minor > 0)
        evbuffer_add_printf(out(x), "0\r\n\r\n");
    end(x);
}

/* ---- requests ---- */

static void refuse_bytes(lmf_connection *c, int status, const char *why)
{
    lmf_fault f;
    c->closes = true;
    c->phase = LMF_PHASE_ANSWER;
    lmf__refuse(&f, status, NULL, NULL, "%s", why);
    lmf__reply_fault(&c->exchange, &f);
}

/* What lies in the input, up to the end of one request. */
static void read_input(lmf_connection *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    while (c->phase <= LMF_PHASE_BODY && evbuffer_get_length(in)) {
        size_t n = evbuffer_get_contiguous_space(in), used;
        const char *data = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
        bool had_head = c->http.head_done;
        lmf_http_state state = lmf_http_push(&c->http, data, n, &used);
        evbuffer_drain(in, state == LMF_HTTP_BAD ? n : used);
        if (state == LMF_HTTP_BAD) {
            refuse_bytes(c, c->http.status, c->http.why);
            return;
        }
        if (state == LMF_HTTP_DONE) {
            set_deadline(c, LMF_PHASE_ANSWER);
            lmf__dispatch(&c->exchange);
            return;
        }
        if (c->http.head_done && !had_head) {
            set_deadline(c, LMF_PHASE_BODY); /* from here on, however slowly it comes */
            if (c->http.expects)
                bufferevent_write(c->bev, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        } else if (c->phase == LMF_PHASE_IDLE && c->http.begun) {
            set_deadline(c, LMF_PHASE_HEAD);
        }
    }
}

static void on_read(struct bufferevent *bev, void *p)
{
    lmf_connection *c = p;
    if (c->phase == LMF_PHASE_LINGER || (c->phase >= LMF_PHASE_ANSWER && c->closes)) {
        struct evbuffer *in = bufferevent_get_input(bev);
        evbuffer_drain(in, evbuffer_get_length(in)); /* nobody reads it any more */
    } else {
        read_input(c);
    }
}

/* All of the answer has been handed to the system. */
static void flushed(lmf_connection *c)
{
    if (c->phase != LMF_PHASE_FLUSH)
        return;
    if (c->closes) { /* what the client still sends is read for a while, or the system would take the answer back */
        shutdown(bufferevent_getfd(c->bev), SHUT_WR);
        set_deadline(c, LMF_PHASE_LINGER);
        return;
    }
    lmf_http_reset(&c->http);
    c->exchange.streams = c->exchange.lines = false;
    c->exchange.endpoint = NULL;
    c->exchange.tenant = NULL;
    c->exchange.retry_s = 0;
    c->exchange.traceparent[0] = 0;
    c->exchange.guard_begin_us = c->exchange.guard_end_us = 0;
    c->exchange.of_messages = false;
    set_deadline(c, LMF_PHASE_IDLE);
    if (evbuffer_get_length(bufferevent_get_input(c->bev))) /* not from here: the stack would grow with each request in the input */
        bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_DEFER_CALLBACKS | BEV_TRIG_IGNORE_WATERMARKS);
}

static void on_write(struct bufferevent *bev, void *p)
{
    (void)bev;
    flushed(p);
}

static void on_event(struct bufferevent *bev, short what, void *p)
{
    (void)bev, (void)what; /* the end of input is the client's end, too */
    lmf__connection_close(p);
}

static void on_deadline(evutil_socket_t fd, short what, void *p)
{
    (void)fd, (void)what;
    lmf_connection *c = p;
    switch (c->phase) {
    case LMF_PHASE_HEAD:
    case LMF_PHASE_BODY:
        if (!c->http.begun) {
            lmf__connection_close(c);
            break;
        }
        refuse_bytes(c, 408, "the request took too long to come");
        break;
    case LMF_PHASE_ANSWER:
        set_deadline(c, LMF_PHASE_ANSWER);
        if (evbuffer_get_length(bufferevent_get_output(c->bev)) > OUTPUT_BYTES)
            lmf__connection_close(c);
        else if (c->exchange.streams && !c->exchange.lines)
            put_chunk(&c->exchange, ": ", "still here", 10);
        break;
    default:
        lmf__connection_close(c);
    }
}

/* An address of IPv4 as IPv6 writes it. */
static void address_of(const struct sockaddr *from, unsigned char out[16])
{
    static const unsigned char v4[12] = { [10] = 0xff, [11] = 0xff };
    memset(out, 0, 16);
    if (from->sa_family == AF_INET6)
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    else if (from->sa_family == AF_INET) {
        memcpy(out, v4, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    }
}

/* Whether one more connection may come from there. */
static bool has_room(const lmf_server *s, const unsigned char peer[16])
{
    static const unsigned char near[2][16] = { { [15] = 1 }, { [10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1 } };
    int32_t n = 0;
    if (s->n_connections >= s->o.max_connections)
        return false;
    if (memcmp(peer, near[0], 16) == 0 || memcmp(peer, near[1], 16) == 0)
        return true;
    for (const lmf_connection *c = s->connections; c; c = c->next)
        n += memcmp(c->peer, peer, 16) == 0;
    return n < s->o.max_per_peer;
}

void lmf__connection_open(lmf_server *s, evutil_socket_t fd, const struct sockaddr *from)
{
    unsigned char peer[16];
    address_of(from, peer);
    lmf_connection *c = has_room(s, peer) ? lmf_new(s->ctx, lmf_connection) : NULL;
    if (!c) {
        static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        s->n_responses[503]++;
        if (send(fd, full, sizeof full - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            s->n_gone++;
        evutil_closesocket(fd);
        return;
    }
    *c = (lmf_connection){ .server = s };
    memcpy(c->peer, peer, sizeof peer);
    c->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->deadline = c->bev ? event_new(s->base, -1, 0, on_deadline, c) : NULL;
    if (!c->deadline) {
        if (c->bev)
            bufferevent_free(c->bev);
        else
            evutil_closesocket(fd);
        lmf_delete(s->ctx, c);
        return;
    }
    lmf_http_init(&c->http, s->ctx, NULL);
    c->exchange = (lmf_exchange){ .server = s, .connection = c, .http = &c->http };
    c->next = s->connections;
    if (c->next)
        c->next->prev = c;
    s->connections = c;
    s->n_connections++;
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, INPUT_BYTES);
    bufferevent_set_timeouts(c->bev, NULL, &(struct timeval){ .tv_sec = s->o.write_seconds });
    set_deadline(c, LMF_PHASE_HEAD);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}
