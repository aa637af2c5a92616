/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the lock is held for a pointer's time only; nothing that may wait happens under it, but for the thread's own sleep. */
#include "observe/trace.h"
#include <math.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include "base/number.h"
#include "base/wire.h"

enum { LONGEST_PAUSE_MS = 60000, MAX_PAIRS = 64, MAX_REQUEST = 64 << 20 };

typedef struct encoded { struct encoded *next; size_t n; char bytes[]; } encoded;

struct lmf_tracer {
    lmf_ctx        *ctx;
    lmf_trace_opts  o;
    lmf_buf         head;            /* what a request begins with, up to its spans */
    char            header[MAX_PAIRS + 1][512];
    const char     *headers[MAX_PAIRS + 2];
    pthread_t       thread;
    pthread_mutex_t lock;            /* all below */
    pthread_cond_t  news;
    encoded        *first, *last;
    size_t          n_bytes;
    int64_t         close_at_ms;     /* 0: it goes on; else how long what is queued may take */
    lmf_tracer_info info;
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- spans ---- */

static lmf_attribute *add(lmf_trace_span *s, const char *key, lmf_attribute_kind kind)
{
    bool fits = s->n_attributes < LMF_SPAN_ATTRIBUTES;
    lmf_attribute *a = &s->attribute[fits ? s->n_attributes++ : LMF_SPAN_ATTRIBUTES]; /* the last is never read */
    s->n_dropped += !fits;
    *a = (lmf_attribute){ .key = key, .kind = kind };
    return a;
}

void lmf_span_textn(lmf_trace_span *s, const char *key, const char *text, size_t n)
{
    if (text) {
        lmf_attribute *a = add(s, key, LMF_ATTRIBUTE_TEXT);
        a->text = text, a->n = n;
    }
}

void lmf_span_text(lmf_trace_span *s, const char *key, const char *text) { lmf_span_textn(s, key, text, text ? strlen(text) : 0); }

void lmf_span_texts(lmf_trace_span *s, const char *key, const char *const *texts, size_t n)
{
    lmf_attribute *a = add(s, key, LMF_ATTRIBUTE_TEXTS);
    a->texts = texts, a->n = n;
}

void lmf_span_int(lmf_trace_span *s, const char *key, int64_t value) { add(s, key, LMF_ATTRIBUTE_INT)->integer = value; }
void lmf_span_bool(lmf_trace_span *s, const char *key, bool value) { add(s, key, LMF_ATTRIBUTE_BOOL)->integer = value; }
void lmf_span_double(lmf_trace_span *s, const char *key, double value) { add(s, key, LMF_ATTRIBUTE_DOUBLE)->number = value; }

static int hex(int c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; } /* W3C: lower case only */

static bool parse_hex(const char *p, uint8_t *out, size_t n)
{
    uint8_t any = 0;
    for (size_t i = 0; i < n; i++) {
        int hi = hex((unsigned char)p[2 * i]), lo = hi < 0 ? -1 : hex((unsigned char)p[2 * i + 1]);
        if (lo < 0)
            return false;
        any |= out[i] = (uint8_t)(hi << 4 | lo);
    }
    return any != 0;
}

static void format_hex(const uint8_t *p, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
}

bool lmf_traceparent_parse(const char *text, lmf_trace_id *parent)
{
    uint8_t version, flags;
    size_t n = text ? strlen(text) : 0;
    if (n < 55 || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return false;
    bool zero = text[0] == '0' && text[1] == '0';
    if ((!zero && (!parse_hex(text, &version, 1) || version == 0xff)) || (zero && n != 55) || (n > 55 && text[55] != '-'))
        return false;
    if (!parse_hex(text + 3, parent->trace, 16) || !parse_hex(text + 36, parent->span, 8))
        return false;
    if (hex((unsigned char)text[53]) < 0 || hex((unsigned char)text[54]) < 0)
        return false;
    flags = (uint8_t)(hex((unsigned char)text[53]) << 4 | hex((unsigned char)text[54]));
    parent->sampled = flags & 1;
    return true;
}

void lmf_traceparent_format(const lmf_trace_id *id, char text[56])
{
    memcpy(text, "00-", 3);
    format_hex(id->trace, 16, text + 3);
    text[35] = '-';
    format_hex(id->span, 8, text + 36);
    snprintf(text + 52, 4, "-%02x", id->sampled);
}

lmf_trace_id lmf_trace_begin(const lmf_trace_id *parent)
{
    lmf_trace_id id = { .sampled = true };
    if (parent)
        id = *parent;
    if ((!parent && RAND_bytes(id.trace, sizeof id.trace) != 1) || RAND_bytes(id.span, sizeof id.span) != 1)
        id.sampled = false; /* no identity, no span */
    return id;
}

/* ---- JSON ---- */

static void json_value(lmf_buf *b, const lmf_attribute *a)
{
    switch (a->kind) {
    case LMF_ATTRIBUTE_INT: lmf_buf_printf(b, "{\"intValue\":\"%lld\"}", (long long)a->integer); return;
    case LMF_ATTRIBUTE_BOOL: lmf_buf_printf(b, "{\"boolValue\":%s}", a->integer ? "true" : "false"); return;
    case LMF_ATTRIBUTE_DOUBLE:
        if (isfinite(a->number))
            lmf_buf_printf(b, "{\"doubleValue\":%.17g}", a->number);
        else /* as protocol buffers' JSON spells them */
            lmf_buf_printf(b, "{\"doubleValue\":\"%s\"}", isnan(a->number) ? "NaN" : a->number > 0 ? "Infinity" : "-Infinity");
        return;
    case LMF_ATTRIBUTE_TEXTS:
        lmf_buf_puts(b, "{\"arrayValue\":{\"values\":[");
        for (size_t i = 0; i < a->n; i++) {
            lmf_buf_puts(b, i ? ",{\"stringValue\":" : "{\"stringValue\":");
            lmf_buf_put_quoted(b, a->texts[i], strlen(a->texts[i]));
            lmf_buf_putc(b, '}');
        }
        lmf_buf_puts(b, "]}}");
        return;
    default:
        lmf_buf_puts(b, "{\"stringValue\":");
        lmf_buf_put_quoted(b, a->text, a->n);
        lmf_buf_putc(b, '}');
    }
}

static void json_attributes(lmf_buf *b, const lmf_attribute *a, int32_t n)
{
    lmf_buf_puts(b, "\"attributes\":[");
    for (int32_t i = 0; i < n; i++) {
        lmf_buf_puts(b, i ? ",{\"key\":" : "{\"key\":");
        lmf_buf_put_quoted(b, a[i].key, strlen(a[i].key));
        lmf_buf_puts(b, ",\"value\":");
        json_value(b, &a[i]);
        lmf_buf_putc(b, '}');
    }
    lmf_buf_putc(b, ']');
}

static bool has_parent(const lmf_trace_span *s)
{
    static const uint8_t none[8];
    return memcmp(s->parent, none, sizeof none) != 0;
}

static void json_span(lmf_buf *b, const lmf_trace_span *s)
{
    char text[33];
    format_hex(s->id.trace, 16, text);
    lmf_buf_printf(b, "{\"traceId\":\"%s\",", text);
    format_hex(s->id.span, 8, text);
    lmf_buf_printf(b, "\"spanId\":\"%s\",\"flags\":%d,", text, s->id.sampled);
    format_hex(s->parent, 8, text);
    if (has_parent(s))
        lmf_buf_printf(b, "\"parentSpanId\":\"%s\",", text);
    lmf_buf_puts(b, "\"name\":");
    lmf_buf_put_quoted(b, s->name, strlen(s->name));
    lmf_buf_printf(b, ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",", (int)s->kind, (long long)s->begin_ns,
                   (long long)s->end_ns);
    json_attributes(b, s->attribute, s->n_attributes);
    if (s->n_dropped)
        lmf_buf_printf(b, ",\"droppedAttributesCount\":%d", s->n_dropped);
    lmf_buf_puts(b, ",\"status\":{");
    if (s->failed) {
        lmf_buf_puts(b, "\"message\":");
        lmf_buf_put_quoted(b, s->why, strlen(s->why));
        lmf_buf_puts(b, ",\"code\":2");
    }
    lmf_buf_puts(b, "}}");
}

/* ---- protocol buffers; numbers of fields are opentelemetry-proto's ---- */

/* A message in a field of another: written behind it, then brought in. */
static void put_message(lmf_buf *b, int field, lmf_buf *inner)
{
    lmf_wire_bytes(b, field, lmf_buf_str(inner), inner->n);
    b->status = b->status ? b->status : inner->status;
    lmf_buf_clear(inner);
}

static void wire_attribute(lmf_buf *b, int field, const lmf_attribute *a)
{
    lmf_buf pair, value, list;
    lmf_buf_init(&pair, b->ctx, b->max);
    lmf_buf_init(&value, b->ctx, b->max);
    switch (a->kind) {
    case LMF_ATTRIBUTE_INT: lmf_wire_int(&value, 3, a->integer); break;
    case LMF_ATTRIBUTE_BOOL: lmf_wire_int(&value, 2, a->integer); break;
    case LMF_ATTRIBUTE_DOUBLE: lmf_wire_double(&value, 4, a->number); break;
    case LMF_ATTRIBUTE_TEXTS:
        lmf_buf_init(&list, b->ctx, b->max);
        for (size_t i = 0; i < a->n; i++) {
            lmf_buf one;
            lmf_buf_init(&one, b->ctx, b->max);
            lmf_wire_bytes(&one, 1, a->texts[i], strlen(a->texts[i]));
            put_message(&list, 1, &one);
        }
        put_message(&value, 5, &list);
        break;
    default: lmf_wire_bytes(&value, 1, a->text, a->n);
    }
    lmf_wire_bytes(&pair, 1, a->key, strlen(a->key));
    put_message(&pair, 2, &value);
    put_message(b, field, &pair);
}

static void wire_span(lmf_buf *b, const lmf_trace_span *s)
{
    lmf_wire_bytes(b, 1, s->id.trace, 16);
    lmf_wire_bytes(b, 2, s->id.span, 8);
    if (has_parent(s))
        lmf_wire_bytes(b, 4, s->parent, 8);
    lmf_wire_bytes(b, 5, s->name, strlen(s->name));
    lmf_wire_int(b, 6, s->kind);
    lmf_wire_fixed64(b, 7, (uint64_t)s->begin_ns);
    lmf_wire_fixed64(b, 8, (uint64_t)s->end_ns);
    for (int32_t i = 0; i < s->n_attributes; i++)
        wire_attribute(b, 9, &s->attribute[i]);
    if (s->n_dropped)
        lmf_wire_int(b, 10, s->n_dropped);
    lmf_buf status;
    lmf_buf_init(&status, b->ctx, b->max);
    if (s->failed) {
        lmf_wire_bytes(&status, 2, s->why, strlen(s->why));
        lmf_wire_int(&status, 3, 2);
    }
    put_message(b, 15, &status);
    lmf_wire_key(b, 16, LMF_WIRE_FIXED32);
    lmf_wire_le(b, s->id.sampled, 4);
}

/* ---- requests ---- */

/* What comes before the spans; of protocol buffers the resource and the scope, as fields of their messages. */
static lmf_status make_head(lmf_tracer *t, const lmf_attribute *a, int32_t n)
{
    lmf_buf *b = &t->head;
    lmf_buf_init(b, t->ctx, MAX_REQUEST);
    if (t->o.json) {
        lmf_buf_puts(b, "{\"resourceSpans\":[{\"resource\":{");
        json_attributes(b, a, n);
        lmf_buf_puts(b, "},\"scopeSpans\":[{\"scope\":{\"name\":\"lmfast\",\"version\":\"" LMF_VERSION "\"},\"spans\":[");
        return b->status;
    }
    lmf_buf resource;
    lmf_buf_init(&resource, t->ctx, MAX_REQUEST);
    for (int32_t i = 0; i < n; i++)
        wire_attribute(&resource, 1, &a[i]);
    put_message(b, 1, &resource);
    return b->status;
}

static lmf_status make_request(lmf_tracer *t, const encoded *e, lmf_buf *out)
{
    if (t->o.json) {
        lmf_buf_append(out, lmf_buf_str(&t->head), t->head.n);
        for (const encoded *at = e; at; at = at->next) {
            if (at != e)
                lmf_buf_putc(out, ',');
            lmf_buf_append(out, at->bytes, at->n);
        }
        lmf_buf_puts(out, "]}]}]}");
        return out->status;
    }
    lmf_buf scope, spans, of_resource;
    lmf_buf_init(&scope, t->ctx, MAX_REQUEST);
    lmf_buf_init(&spans, t->ctx, MAX_REQUEST);
    lmf_buf_init(&of_resource, t->ctx, MAX_REQUEST);
    lmf_wire_bytes(&scope, 1, "lmfast", 6);
    lmf_wire_bytes(&scope, 2, LMF_VERSION, sizeof LMF_VERSION - 1);
    put_message(&spans, 1, &scope);
    for (const encoded *at = e; at; at = at->next)
        lmf_wire_bytes(&spans, 2, at->bytes, at->n);
    lmf_buf_append(&of_resource, lmf_buf_str(&t->head), t->head.n);
    put_message(&of_resource, 2, &spans);
    put_message(out, 1, &of_resource);
    return out->status;
}

/* Spans that a collector took no part of, by its answer: {"partialSuccess": {"rejectedSpans": "2"}}, or its fields 1 and 1. */
static int64_t rejected(const lmf_tracer *t, const lmf_posted *r)
{
    char text[sizeof r->body + 1];
    int64_t n = 0;
    memcpy(text, r->body, r->n_body);
    text[r->n_body] = 0;
    if (t->o.json) {
        const char *p = strstr(text, "\"rejectedSpans\"");
        p = p ? p + 15 + strspn(p + 15, " :\"\t\r\n") : NULL;
        return p && lmf_number_read(&p, &n) ? n : 0;
    }
    const uint8_t *p = (const uint8_t *)r->body;
    if (r->n_body < 4 || p[0] != (1 << 3 | LMF_WIRE_BYTES) || p[2] != (1 << 3 | LMF_WIRE_VARINT))
        return 0;
    for (size_t i = 3, shift = 0; i < r->n_body && shift < 63; i++, shift += 7) {
        n |= (int64_t)(p[i] & 127) << shift;
        if (p[i] < 128)
            break;
    }
    return n;
}

static bool is_over(void *user)
{
    lmf_tracer *t = user;
    pthread_mutex_lock(&t->lock);
    bool over = t->close_at_ms && now_ms() >= t->close_at_ms;
    pthread_mutex_unlock(&t->lock);
    return over;
}

/* Waits, under the lock; less than ms where it is closed meanwhile. */
static void nap(lmf_tracer *t, int64_t ms)
{
    int64_t until = now_ms() + ms;
    bool closing = t->close_at_ms != 0;
    while (now_ms() < until && (t->close_at_ms == 0 || (closing && now_ms() < t->close_at_ms))) {
        int64_t end = t->close_at_ms && t->close_at_ms < until ? t->close_at_ms : until;
        pthread_cond_timedwait(&t->news, &t->lock, &(struct timespec){ end / 1000, end % 1000 * 1000000 });
    }
}

/* Whether the collector has them now. */
static bool deliver(lmf_tracer *t, const lmf_buf *request, int64_t n_spans)
{
    int64_t pause = t->o.pause_ms;
    for (int i = 0; i < LMF_TRACE_TRIES && !is_over(t); i++) {
        lmf_posted r;
        t->o.send(t->o.sender, &(lmf_post){ t->o.url, lmf_buf_str(request), request->n, t->headers, t->o.timeout_ms, is_over, t }, &r);
        int64_t n_rejected = r.status >= 200 && r.status < 300 ? rejected(t, &r) : 0;
        bool again = r.status == 0 || r.status == 429 || r.status == 502 || r.status == 503 || r.status == 504;
        pthread_mutex_lock(&t->lock);
        if (r.status >= 200 && r.status < 300) {
            n_rejected = n_rejected < n_spans ? n_rejected : n_spans;
            t->info.n_lost += n_rejected;
            t->info.n_sent += n_spans - n_rejected;
        } else if (again && i + 1 < LMF_TRACE_TRIES) {
            int64_t asked = r.retry_after >= 0 && r.retry_after < LONGEST_PAUSE_MS / 1000 ? (int64_t)(r.retry_after * 1000)
                : r.retry_after >= 0 ? LONGEST_PAUSE_MS : pause;
            t->info.n_retries++;
            nap(t, asked);
            pause = 2 * pause < LONGEST_PAUSE_MS ? 2 * pause : LONGEST_PAUSE_MS;
        }
        pthread_mutex_unlock(&t->lock);
        if (r.status >= 200 && r.status < 300)
            return true;
        if (!again)
            return false;
    }
    return false;
}

static void free_list(lmf_tracer *t, encoded *e)
{
    for (encoded *next; e; e = next) {
        next = e->next;
        lmf_free(t->ctx, e, sizeof *e + e->n);
    }
}

/* Up to a batch of the queue's spans, under the lock. */
static encoded *take_batch(lmf_tracer *t, int64_t *n)
{
    encoded *first = t->first, *last = first;
    *n = 0;
    for (encoded *e = first; e && *n < t->o.max_batch; e = e->next) {
        last = e;
        t->n_bytes -= e->n;
        ++*n;
    }
    if (first) {
        t->first = last->next;
        t->last = t->first ? t->last : NULL;
        last->next = NULL;
    }
    t->info.n_queued -= (int32_t)*n;
    return first;
}

static void *run(void *p)
{
    lmf_tracer *t = p;
    int64_t n;
    for (;;) {
        pthread_mutex_lock(&t->lock);
        while (!t->first && !t->close_at_ms)
            pthread_cond_wait(&t->news, &t->lock);
        for (int64_t until = now_ms() + t->o.interval_ms, now; !t->close_at_ms && t->info.n_queued < t->o.max_batch &&
             (now = now_ms()) < until;)
            pthread_cond_timedwait(&t->news, &t->lock, &(struct timespec){ until / 1000, until % 1000 * 1000000 });
        encoded *batch = take_batch(t, &n);
        bool closing = t->close_at_ms != 0;
        pthread_mutex_unlock(&t->lock);
        if (!batch && closing)
            return NULL;
        lmf_buf request;
        lmf_buf_init(&request, t->ctx, MAX_REQUEST);
        bool sent = make_request(t, batch, &request) == LMF_OK && deliver(t, &request, n);
        lmf_buf_clear(&request);
        free_list(t, batch);
        pthread_mutex_lock(&t->lock);
        t->info.n_lost += sent ? 0 : n;
        pthread_mutex_unlock(&t->lock);
    }
}

/* ---- options ---- */

lmf_trace_opts lmf_trace_opts_default(void)
{
    return (lmf_trace_opts){ .service = "lmfast", .timeout_ms = 10000, .interval_ms = 1000, .pause_ms = 1000, .max_queue = 2048,
                             .max_batch = 512, .max_bytes = (size_t)16 << 20 };
}

/* OTEL_EXPORTER_OTLP_TRACES_x, or OTEL_EXPORTER_OTLP_x; NULL: neither is set. */
static const char *of_exporter(const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_TRACES_%s", what);
    const char *v = getenv(name);
    if (!v || !*v) {
        snprintf(name, sizeof name, "OTEL_EXPORTER_OTLP_%s", what);
        v = getenv(name);
    }
    return v && *v ? v : NULL;
}

static lmf_status copy(lmf_ctx *ctx, const char *what, const char *from, char *to, size_t n)
{
    if (!from || !*from)
        return LMF_OK;
    if (strlen(from) >= n)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s has over %zu bytes", what, n - 1);
    memcpy(to, from, strlen(from) + 1);
    return LMF_OK;
}

static bool is_true(const char *name)
{
    const char *v = getenv(name);
    return v && strcasecmp(v, "true") == 0;
}

lmf_status lmf_trace_opts_environment(lmf_ctx *ctx, const char *endpoint, lmf_trace_opts *o)
{
    const char *whole = getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), *base = getenv("OTEL_EXPORTER_OTLP_ENDPOINT");
    const char *protocol = of_exporter("PROTOCOL"), *timeout = of_exporter("TIMEOUT");
    int64_t n;
    bool as_is = !endpoint && whole && *whole;
    endpoint = endpoint ? endpoint : as_is ? whole : base;
    if (!endpoint || !*endpoint || is_true("OTEL_SDK_DISABLED")) {
        o->url[0] = 0;
        return LMF_OK;
    }
    if (strncmp(endpoint, "http://", 7) && strncmp(endpoint, "https://", 8))
        return LMF_FAIL(ctx, LMF_E_ARG, "the collector's address \"%.200s\" must begin with http:// or https://", endpoint);
    size_t k = strlen(endpoint);
    const char *rest = as_is ? "" : endpoint[k - 1] == '/' ? "v1/traces" : "/v1/traces";
    if (snprintf(o->url, sizeof o->url, "%s%s", endpoint, rest) >= (int)sizeof o->url)
        return LMF_FAIL(ctx, LMF_E_ARG, "the collector's address has over %zu bytes", sizeof o->url - 16);
    if (protocol && strcmp(protocol, "http/json") && strcmp(protocol, "http/protobuf"))
        return LMF_FAIL(ctx, LMF_E_ARG, "OTEL_EXPORTER_OTLP_PROTOCOL is \"%.60s\"; spans go out as http/protobuf or http/json", protocol);
    o->json = protocol ? strcmp(protocol, "http/json") == 0 : o->json;
    const char *queue = getenv("OTEL_BSP_MAX_QUEUE_SIZE");
    if (queue && *queue && (!lmf_number_is(queue, &n) || n < 1 || n > 1 << 20))
        return LMF_FAIL(ctx, LMF_E_ARG, "OTEL_BSP_MAX_QUEUE_SIZE is \"%.60s\"; it is spans, from 1 on", queue);
    o->max_queue = queue && *queue ? (int32_t)n : o->max_queue;
    if (timeout && (!lmf_number_is(timeout, &n) || n < 1))
        return LMF_FAIL(ctx, LMF_E_ARG, "OTEL_EXPORTER_OTLP_TIMEOUT is \"%.60s\"; it is milliseconds, from 1 on", timeout);
    o->timeout_ms = timeout ? n : o->timeout_ms;
    o->content |= is_true("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT");
    LMF_TRY(copy(ctx, "OTEL_EXPORTER_OTLP_HEADERS", of_exporter("HEADERS"), o->headers, sizeof o->headers));
    LMF_TRY(copy(ctx, "OTEL_SERVICE_NAME", getenv("OTEL_SERVICE_NAME"), o->service, sizeof o->service));
    return copy(ctx, "OTEL_RESOURCE_ATTRIBUTES", getenv("OTEL_RESOURCE_ATTRIBUTES"), o->resource, sizeof o->resource);
}

typedef struct pair { char name[128], value[384]; } pair;

/* "a=b,c=d%20e". LMF_E_ARG: a pair without "=", too many, too long. */
static lmf_status split(lmf_ctx *ctx, const char *what, const char *text, pair *out, int32_t *n)
{
    for (*n = 0; *text;) {
        size_t k = strcspn(text, ","), at = 0, to = 0;
        const char *mark = memchr(text, '=', k);
        while (at < k && text[at] == ' ')
            at++;
        size_t name = mark ? (size_t)(mark - text) : 0;
        while (name > at && text[name - 1] == ' ')
            name--;
        if (!mark || name == at || name - at >= sizeof out->name || k - (size_t)(mark - text) >= sizeof out->value || *n == MAX_PAIRS)
            return LMF_FAIL(ctx, LMF_E_ARG, "%s must be name=value, more behind commas; there is \"%.*s\"", what,
                            (int)(k < 60 ? k : 60), text);
        pair *p = &out[(*n)++];
        *p = (pair){ 0 };
        memcpy(p->name, text + at, name - at);
        for (size_t i = (size_t)(mark - text) + 1; i < k; i++) {
            uint8_t byte;
            char small[3] = { text[i + 1 < k ? i + 1 : i], text[i + 2 < k ? i + 2 : i], 0 };
            for (int d = 0; d < 2; d++)
                small[d] = small[d] >= 'A' && small[d] <= 'F' ? (char)(small[d] + 32) : small[d];
            bool escaped = text[i] == '%' && i + 2 < k && parse_hex(small, &byte, 1);
            p->value[to++] = escaped ? (char)byte : text[i];
            i += escaped ? 2 : 0;
            if (p->value[to - 1] == '\r' || p->value[to - 1] == '\n')
                return LMF_FAIL(ctx, LMF_E_ARG, "%s: the value of %s holds a line's end", what, p->name);
        }
        text += k + (text[k] == ',');
    }
    return LMF_OK;
}

static lmf_status prepare(lmf_tracer *t)
{
    static const char version[] = LMF_VERSION;
    pair *pairs = lmf_alloc(t->ctx, MAX_PAIRS * sizeof *pairs);
    lmf_attribute a[MAX_PAIRS + 3];
    int32_t n = 0, n_a = 0;
    if (!pairs)
        return LMF_NO_MEMORY(t->ctx, MAX_PAIRS * sizeof *pairs, "the tracer's headers");
    lmf_status s = split(t->ctx, "OTEL_EXPORTER_OTLP_HEADERS", t->o.headers, pairs, &n);
    snprintf(t->header[0], sizeof t->header[0], "Content-Type: %s", t->o.json ? "application/json" : "application/x-protobuf");
    for (int32_t i = 0; i <= n; i++) {
        if (i)
            snprintf(t->header[i], sizeof t->header[i], "%.120s: %.383s", pairs[i - 1].name, pairs[i - 1].value);
        t->headers[i] = t->header[i];
    }
    if (!s)
        s = split(t->ctx, "OTEL_RESOURCE_ATTRIBUTES", t->o.resource, pairs, &n);
#define ATTRIBUTE(name, v) a[n_a++] = (lmf_attribute){ .key = (name), .kind = LMF_ATTRIBUTE_TEXT, .text = (v), .n = strlen(v) }
    ATTRIBUTE("service.name", t->o.service);
    ATTRIBUTE("service.version", version);
    ATTRIBUTE("telemetry.sdk.name", "lmfast");
    for (int32_t i = 0; !s && i < n; i++)
        if (strcmp(pairs[i].name, "service.name")) /* OTEL_SERVICE_NAME comes first */
            ATTRIBUTE(pairs[i].name, pairs[i].value);
#undef ATTRIBUTE
    if (!s)
        s = make_head(t, a, n_a);
    lmf_free(t->ctx, pairs, MAX_PAIRS * sizeof *pairs);
    return s;
}

/* ---- any thread ---- */

lmf_status lmf_tracer_open(lmf_ctx *ctx, const lmf_trace_opts *o, lmf_tracer **out)
{
    pthread_condattr_t clock;
    *out = NULL;
    lmf_tracer *t = lmf_new(ctx, lmf_tracer);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a tracer");
    t->ctx = ctx, t->o = *o;
    lmf_status s = prepare(t);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&t->news, &clock);
    pthread_condattr_destroy(&clock);
    if (!s && pthread_create(&t->thread, NULL, run, t))
        s = LMF_FAIL(ctx, LMF_E_LIMIT, "the system gives no further thread");
    if (!s) {
        *out = t;
        return LMF_OK;
    }
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->news);
    lmf_buf_clear(&t->head);
    lmf_delete(ctx, t);
    return s;
}

void lmf_tracer_close(lmf_tracer *t, int64_t flush_ms)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->close_at_ms = now_ms() + flush_ms;
    pthread_cond_signal(&t->news);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    free_list(t, t->first);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->news);
    lmf_buf_clear(&t->head);
    lmf_delete(t->ctx, t);
}

void lmf_tracer_put(lmf_tracer *t, const lmf_trace_span *s)
{
    lmf_buf b;
    lmf_buf_init(&b, t->ctx, LMF_SPAN_BYTES);
    if (t->o.json)
        json_span(&b, s);
    else
        wire_span(&b, s);
    encoded *e = b.status ? NULL : lmf_alloc(t->ctx, sizeof *e + b.n);
    if (e) {
        *e = (encoded){ .n = b.n };
        memcpy(e->bytes, lmf_buf_str(&b), b.n);
    }
    lmf_buf_clear(&b);
    pthread_mutex_lock(&t->lock);
    t->info.n_put++;
    bool fits = e && t->info.n_queued < t->o.max_queue && t->n_bytes + e->n <= t->o.max_bytes;
    if (fits) {
        if (t->last)
            t->last->next = e;
        else
            t->first = e;
        t->last = e;
        t->n_bytes += e->n;
        t->info.n_queued++;
        if (t->info.n_queued == 1 || t->info.n_queued == t->o.max_batch)
            pthread_cond_signal(&t->news);
    } else {
        t->info.n_dropped++;
    }
    pthread_mutex_unlock(&t->lock);
    if (e && !fits)
        lmf_free(t->ctx, e, sizeof *e + e->n);
}

bool lmf_tracer_has_content(const lmf_tracer *t) { return t->o.content; }

void lmf_tracer_get_info(lmf_tracer *t, lmf_tracer_info *out)
{
    pthread_mutex_lock(&t->lock);
    *out = t->info;
    pthread_mutex_unlock(&t->lock);
}
