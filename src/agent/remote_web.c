/* SPDX-License-Identifier: Apache-2.0 */
/* An address as a server: a message a POST; what comes back is one message, or events of which one is the answer. The stream that older
 * revisions offer by GET is not opened: nothing is offered that a server could ask for there. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "agent/frames.h"
#include "agent/remote.h"
#include "agent/tool.h"
#include "base/plain.h"
#include "hub/web.h"

enum { MAX_URL = 2048, N_HEADERS = 8 };

typedef struct web {
    lmf_remote_link link;
    lmf_ctx        *ctx;
    lmf_remote_opts o;
    lmf_web        *curl, *aside;    /* aside: for what is told while an answer comes */
    char            url[MAX_URL];
    char            session[256];    /* of the older revisions; "": none */
    bool            asks;
} web;

typedef struct transfer {
    web       *w;
    lmf_frames frames;
    bool       begun;                /* frames have their form */
    char       type[96];
    lmf_remote_take take;
    void      *user;
    bool       answered;
    lmf_status s;
} transfer;

/* ---- what comes ---- */

static bool on_header(void *user, const char *name, const char *value)
{
    transfer *t = user;
    if (!strcasecmp(name, "content-type"))
        snprintf(t->type, sizeof t->type, "%s", value);
    if (!strcasecmp(name, "mcp-session-id") && strlen(value) < sizeof t->w->session && !value[strspn(value,
            "!\"#$%&'()*+,-./0123456789:;<=>?@"
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~")])
        snprintf(t->w->session, sizeof t->w->session, "%s", value);
    return true;
}

static void hand_over(transfer *t)
{
    const char *text;
    size_t n;
    while (!t->answered && lmf__frames_next(&t->frames, &text, &n))
        t->answered = t->take && t->take(t->user, text, n);
}

static bool on_body(void *user, const char *p, size_t n)
{
    transfer *t = user;
    if (!t->begun)
        t->frames.form = strncasecmp(t->type, "text/event-stream", 17) ? LMF_FRAMES_WHOLE : LMF_FRAMES_EVENTS;
    t->begun = true;
    for (size_t at = 0, k; at < n && !t->answered && !t->s; at += k) {
        k = n - at < 1 << 14 ? n - at : 1 << 14;
        t->s = lmf__frames_push(&t->frames, p + at, k);
        if (!t->s)
            hand_over(t);
        if (!t->s && t->frames.broken)
            t->s = LMF_FAIL(t->w->ctx, LMF_E_LIMIT, "a message is longer than %d bytes", LMF_FRAMES_MAX);
    }
    return !t->answered && !t->s;
}

static bool is_stopped(void *user)
{
    const transfer *t = user;
    return t->w->o.stopped && t->w->o.stopped(t->w->o.user);
}

/* ---- what goes ---- */

/* A value that HTTP would not carry as it is goes as base64, in a form of the protocol's own. */
static void name_header(const char *name, char *out, size_t n)
{
    size_t k = strlen(name);
    bool plain = k && name[0] != ' ' && name[k - 1] != ' ' && strncmp(name, "=?base64?", 9);
    for (size_t i = 0; i < k; i++)
        plain &= name[i] >= 0x20 && name[i] < 0x7F;
    int at = snprintf(out, n, "Mcp-Name: %s", plain ? name : "=?base64?");
    if (!plain && (size_t)at + 4 * (k / 3 + 1) + 4 < n) {
        at += EVP_EncodeBlock((unsigned char *)out + at, (const unsigned char *)name, (int)k);
        snprintf(out + at, n - (size_t)at, "?=");
    }
}

static void post(lmf_web *curl, web *w, const lmf_remote_message *m, const char *verb, double until, transfer *t, lmf_web_reply *r)
{
    char version[64], method[128], name[512], session[300];
    const char *headers[N_HEADERS] = { "Content-Type: application/json", "Accept: application/json, text/event-stream" };
    int n = 2;
    double left = until - lmf_tool_clock_now();
    if (m->version) {
        snprintf(version, sizeof version, "MCP-Protocol-Version: %s", m->version);
        headers[n++] = version;
    }
    if (m->modern && m->method) {
        snprintf(method, sizeof method, "Mcp-Method: %s", m->method);
        headers[n++] = method;
    }
    if (m->modern && m->name) {
        name_header(m->name, name, sizeof name);
        headers[n++] = name;
    }
    if (!m->modern && w->session[0]) {
        snprintf(session, sizeof session, "Mcp-Session-Id: %s", w->session);
        headers[n++] = session;
    }
    headers[n] = NULL;
    lmf_web_ask(curl, &(lmf_web_request){ .method = verb, .url = w->url, .body = m->text, .n = m->n, .headers = headers,
                                          .timeout_ms = left > 0.001 ? (int64_t)(left * 1000) : 1, .header = on_header, .take = on_body,
                                          .stopped = is_stopped, .user = t }, r);
}

/* The sentence of an answer that was none. */
static lmf_status no_answer(web *w, const transfer *t, const lmf_web_reply *r)
{
    char plain[300], head[200];
    size_t n = t->frames.bytes.n < sizeof head - 1 ? t->frames.bytes.n : sizeof head - 1;
    if (!r->status)
        return LMF_FAIL(w->ctx, LMF_E_IO, "nobody answers there: %s", r->why);
    if (r->status >= 300 && r->status < 400)
        return LMF_FAIL(w->ctx, LMF_E_IO, "it sends on to %s, which is not followed; name that address if it is the one that is meant",
                        lmf_plain_text(r->location, plain, sizeof plain));
    if (r->status < 300 && strcmp(r->type, "text/event-stream") == 0)
        return LMF_FAIL(w->ctx, LMF_E_IO, "its stream ended without an answer");
    memcpy(head, t->begun && t->frames.form == LMF_FRAMES_WHOLE ? lmf_buf_str(&t->frames.bytes) : "", n = t->begun &&
           t->frames.form == LMF_FRAMES_WHOLE ? n : 0);
    head[n] = 0;
    return LMF_FAIL(w->ctx, LMF_E_IO, "it answers with HTTP %ld%s%s%s", r->status, r->status == 404 && w->session[0] && r->status != 200
                    ? " (it may have forgotten the session)" : r->status == 404 || r->status == 405
                    ? " (a server of the older HTTP+SSE transport is not spoken to)" : "", n ? ": " : "", lmf_plain_text(head, plain,
                            sizeof plain));
}

static lmf_status ask(lmf_remote_link *l, const lmf_remote_message *m, double until, lmf_remote_take take, void *user, bool *dead)
{
    web *w = (web *)(void *)l;
    lmf_web_reply r;
    transfer t = { .w = w, .take = take, .user = user };
    (void)dead;
    lmf__frames_init(&t.frames, w->ctx, LMF_FRAMES_WHOLE);
    w->asks = true;
    post(w->curl, w, m, NULL, until, &t, &r);
    w->asks = false;
    lmf__frames_end(&t.frames);
    if (!t.s && r.whole)
        hand_over(&t);
    lmf_status s = t.s ? t.s : t.answered ? LMF_OK : r.stopped ? LMF_FAIL(w->ctx, LMF_E_CANCELLED, "stopped by the user")
                 : r.late ? LMF_E_LIMIT : no_answer(w, &t, &r);
    if (s == LMF_E_LIMIT && t.s)
        s = LMF_FAIL(w->ctx, LMF_E_IO, "a message is longer than %d bytes", LMF_FRAMES_MAX);
    lmf__frames_clear(&t.frames);
    return s;
}

static void quietly(web *w, const lmf_remote_message *m, const char *verb, double until)
{
    lmf_web_reply r;
    transfer t = { .w = w };
    if (w->asks && !w->aside && lmf_web_open(w->ctx, &w->aside))
        return;
    lmf__frames_init(&t.frames, w->ctx, LMF_FRAMES_WHOLE);
    post(w->asks ? w->aside : w->curl, w, m, verb, until, &t, &r);
    lmf__frames_clear(&t.frames);
}

static void tell(lmf_remote_link *l, const lmf_remote_message *m, double until)
{
    quietly((web *)(void *)l, m, NULL, until ? until : lmf_tool_clock_now() + 1);
}

static void close_web(lmf_remote_link *l)
{
    web *w = (web *)(void *)l;
    if (w->session[0] && w->curl)
        quietly(w, &(lmf_remote_message){ 0 }, "DELETE", lmf_tool_clock_now() + 1);
    lmf_web_close(w->curl);
    lmf_web_close(w->aside);
    lmf_delete(w->ctx, w);
}

static const lmf_remote_door door = { ask, tell, close_web, .cancels = true };

lmf_status lmf__remote_web(lmf_ctx *ctx, const char *url, const lmf_remote_opts *o, lmf_remote_link **out)
{
    char host[300];
    web *w;
    *out = NULL;
    LMF_TRY(lmf_web_host(ctx, url, host, sizeof host));
    if (strlen(url) >= MAX_URL)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "an address is longer than %d bytes", MAX_URL - 1);
    if (!(w = lmf_new(ctx, web)))
        return LMF_NO_MEMORY(ctx, sizeof *w, "a server");
    *w = (web){ .link = { &door }, .ctx = ctx, .o = *o };
    snprintf(w->url, sizeof w->url, "%s", url);
    lmf_status s = lmf_web_open(ctx, &w->curl);
    if (s)
        close_web(&w->link);
    else
        *out = &w->link;
    return s;
}
