/* SPDX-License-Identifier: Apache-2.0 */
/* trace: spans to a collector by OTLP over HTTP, from a thread of its own. Who puts a span never waits: it is encoded at once and queued,
 * and where the queue is full it is dropped and counted. A collector that asks to come again (429, 502, 503, 504, or none that answers) is
 * asked again, after its Retry-After or a pause that doubles, LMF_TRACE_TRIES times; then those spans are lost, and counted.
 *
 *     lmf_trace_opts o = lmf_trace_opts_default();
 *     LMF_TRY(lmf_trace_opts_environment(ctx, endpoint, &o));      // OTEL_EXPORTER_OTLP_ENDPOINT and its kin
 *     LMF_TRY(lmf_tracer_open(ctx, &o, &t));
 *     lmf_tracer_put(t, &span);
 *     lmf_tracer_close(t, 5000);                                   // what is queued goes out, for five seconds at most
 *
 * Facts: opentelemetry.io, "OTLP specification 1.9" and "OTLP exporter configuration"; opentelemetry-proto's trace.proto; w3.org's Trace
 * Context. Owner: open/close; a span's texts are the caller's, and not kept. Threads: put and get_info any. */
#ifndef LMF_OBSERVE_TRACE_H
#define LMF_OBSERVE_TRACE_H
#include "base/buf.h"
#include "hub/post.h"

enum { LMF_SPAN_ATTRIBUTES = 48, LMF_SPAN_BYTES = 1 << 20, LMF_TRACE_TRIES = 5 };

typedef struct lmf_trace_id { uint8_t trace[16], span[8]; bool sampled; } lmf_trace_id; /* a span's place; span all zero: none */

typedef enum lmf_attribute_kind { LMF_ATTRIBUTE_TEXT, LMF_ATTRIBUTE_INT, LMF_ATTRIBUTE_DOUBLE, LMF_ATTRIBUTE_BOOL,
                                  LMF_ATTRIBUTE_TEXTS } lmf_attribute_kind;
typedef struct lmf_attribute {
    const char        *key;
    lmf_attribute_kind kind;
    const char        *text;         /* TEXT: [n] bytes of UTF-8 */
    size_t             n;            /* also of texts */
    const char *const *texts;
    int64_t            integer;      /* INT, BOOL */
    double             number;
} lmf_attribute;

typedef enum lmf_span_kind { LMF_SPAN_INTERNAL = 1, LMF_SPAN_SERVER = 2, LMF_SPAN_CLIENT = 3 } lmf_span_kind; /* OTLP's numbers */
typedef struct lmf_trace_span {
    lmf_trace_id  id;
    uint8_t       parent[8];         /* zero: it has none */
    lmf_span_kind kind;
    char          name[160];
    int64_t       begin_ns, end_ns;  /* since 1970 */
    bool          failed;
    char          why[256];          /* of failed */
    lmf_attribute attribute[LMF_SPAN_ATTRIBUTES + 1];
    int32_t       n_attributes, n_dropped; /* n_dropped: those that found no place */
} lmf_trace_span;

/* Adds an attribute; NULL texts are left out. key is static or lives until put. */
void lmf_span_text(lmf_trace_span *s, const char *key, const char *text);
void lmf_span_textn(lmf_trace_span *s, const char *key, const char *text, size_t n);
void lmf_span_texts(lmf_trace_span *s, const char *key, const char *const *texts, size_t n);
void lmf_span_int(lmf_trace_span *s, const char *key, int64_t value);
void lmf_span_double(lmf_trace_span *s, const char *key, double value);
void lmf_span_bool(lmf_trace_span *s, const char *key, bool value);

/* "00-<trace>-<span>-01" as the parent; false: it is none (then a trace begins here). */
bool lmf_traceparent_parse(const char *text, lmf_trace_id *parent);
void lmf_traceparent_format(const lmf_trace_id *id, char text[56]);
/* A new span in the trace of parent, or in a new one where parent is NULL. */
lmf_trace_id lmf_trace_begin(const lmf_trace_id *parent);

typedef void (*lmf_send_fn)(void *sender, const lmf_post *p, lmf_posted *out); /* as lmf_post_send */
typedef struct lmf_trace_opts {
    char        url[2048];           /* "": nothing is traced */
    bool        json;                /* else protocol buffers */
    bool        content;             /* texts of prompts and answers go with the spans */
    char        headers[4096];       /* "name=value,name=value", values percent-encoded */
    char        service[128];        /* service.name; "lmfast" */
    char        resource[4096];      /* further attributes, as headers */
    int64_t     timeout_ms, interval_ms, pause_ms; /* of a request, 10000; a span waits for others, 1000; the first pause, 1000 */
    int32_t     max_queue, max_batch; /* spans: 2048, 512 */
    size_t      max_bytes;           /* of spans that wait; 16 MiB */
    lmf_send_fn send;                /* how; with sender */
    void       *sender;
} lmf_trace_opts;
lmf_trace_opts lmf_trace_opts_default(void);
/* endpoint NULL: the environment's. Reads OTEL_EXPORTER_OTLP[_TRACES]_ENDPOINT, _HEADERS, _PROTOCOL, _TIMEOUT, OTEL_BSP_MAX_QUEUE_SIZE,
 * OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED, OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT. LMF_E_ARG: what can't
 * be followed. */
lmf_status lmf_trace_opts_environment(lmf_ctx *ctx, const char *endpoint, lmf_trace_opts *o);

typedef struct lmf_tracer lmf_tracer;
typedef struct lmf_tracer_info {     /* spans, but for n_retries */
    int64_t n_put, n_sent, n_dropped, n_lost, n_retries; /* n_dropped: the queue was full; n_lost: refused, or never answered for */
    int32_t n_queued;
} lmf_tracer_info;
lmf_status lmf_tracer_open(lmf_ctx *ctx, const lmf_trace_opts *o, lmf_tracer **out);
void       lmf_tracer_put(lmf_tracer *t, const lmf_trace_span *s);
bool       lmf_tracer_has_content(const lmf_tracer *t);
void       lmf_tracer_get_info(lmf_tracer *t, lmf_tracer_info *out);
void       lmf_tracer_close(lmf_tracer *t, int64_t flush_ms); /* NULL is fine */

#endif
