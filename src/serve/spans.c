/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/spans.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "format/json.h"

#define GEN_AI_(name) "gen_ai." name     /* still under development there: one place to rename */
enum { MAX_CONTENT = 1 << 19, MOST_TOLD = 64 };

static int64_t unix_ns(const lmf_server *s, int64_t us) { return s->unix_ns + us * 1000; }

static const char *operation(const lmf_shape *shape) { return shape->embeds ? "embeddings" : shape->thought ? "chat" : "text_completion"; }

static lmf_trace_span span_of(const lmf_server *s, const lmf_trace_id *id, const uint8_t *parent, const char *name,
                              int64_t begin_us, int64_t end_us)
{
    lmf_trace_span span = { .id = *id, .kind = LMF_SPAN_INTERNAL, .begin_ns = unix_ns(s, begin_us),
                      .end_ns = unix_ns(s, end_us > begin_us ? end_us : begin_us) };
    if (parent)
        memcpy(span.parent, parent, sizeof span.parent);
    snprintf(span.name, sizeof span.name, "%s", name);
    return span;
}

/* A span below the request's. */
static lmf_trace_span child(const lmf_generation *g, const char *name, int64_t begin_us, int64_t end_us)
{
    lmf_trace_id id = lmf_trace_begin(&g->trace);
    return span_of(g->server, &id, g->trace.span, name, begin_us, end_us);
}

static bool find_parent(const lmf_exchange *x, lmf_trace_id *parent)
{
    return x->http && lmf_http_header_count(x->http, "traceparent") == 1 &&
           lmf_traceparent_parse(lmf_http_header(x->http, "traceparent"), parent);
}

void lmf__spans_begin(lmf_generation *g)
{
    lmf_exchange *x = g->x;
    lmf_trace_id parent;
    if (!g->server->tracer)
        return;
    bool has = find_parent(x, &parent);
    if (has)
        memcpy(g->trace_parent, parent.span, sizeof g->trace_parent);
    g->trace = lmf_trace_begin(has ? &parent : NULL);
    if (x->tool) { /* the call of a tool stands above what it asks of the model */
        snprintf(g->trace_tool, sizeof g->trace_tool, "%s", x->tool);
        g->tool_trace = g->trace;
        g->trace = lmf_trace_begin(&g->tool_trace);
    }
    lmf_traceparent_format(x->tool ? &g->tool_trace : &g->trace, x->traceparent);
    g->traced = g->trace.sampled;
}

/* ---- content ---- */

static json_t *part(const char *type, json_t *content) { return json_pack("{s:s, s:o}", "type", type, "content", content); }

static json_t *message_form(const json_t *m)
{
    json_t *parts = json_array(), *content = json_object_get(m, "content"), *calls = json_object_get(m, "tool_calls");
    const char *role = json_string_value(json_object_get(m, "role"));
    bool result = role && strcmp(role, "tool") == 0;
    if (json_is_string(content) && result)
        json_array_append_new(parts, json_pack("{s:s, s:O?, s:O}", "type", "tool_call_response", "id", json_object_get(m, "tool_call_id"),
                                               "response", content));
    else if (json_is_string(content))
        json_array_append_new(parts, part("text", json_incref(content)));
    for (size_t i = 0; i < json_array_size(content); i++) {
        json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text))
            json_array_append_new(parts, part("text", json_incref(text)));
    }
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i), *f = json_object_get(call, "function");
        f = f ? f : call;
        json_array_append_new(parts, json_pack("{s:s, s:O?, s:O?, s:O?}", "type", "tool_call", "id", json_object_get(call, "id"), "name",
                                               json_object_get(f, "name"), "arguments", json_object_get(f, "arguments")));
    }
    return json_pack("{s:s, s:o}", "role", role ? role : "user", "parts", parts);
}

/* What the model was told: the messages, behind their policy; of a plain prompt the text of its tokens. */
static json_t *input_form(lmf_generation *g, bool messages)
{
    json_t *list = json_array();
    const json_t *from = messages ? json_object_get(g->body, "messages") : NULL;
    for (size_t i = 0; i < json_array_size(from); i++)
        json_array_append_new(list, message_form(json_array_get(from, i)));
    for (int32_t i = 0; !from && i < g->n_parts; i++) {
        lmf_buf text;
        lmf_buf_init(&text, g->server->ctx, MAX_CONTENT);
        if (!lmf_tokenizer_decode(g->server->model->tokenizer, g->part[i].prompt, (size_t)g->part[i].n_prompt, 0, &text))
            json_array_append_new(list, json_pack("{s:s, s:[o]}", "role", "user", "parts",
                                                  part("text", lmf_json_stringn(lmf_buf_str(&text), text.n))));
        lmf_buf_clear(&text);
    }
    return list;
}

static json_t *output_form(lmf_generation *g)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < g->n_choices; i++) {
        lmf_candidate *c = &g->choice[i];
        json_t *parts = json_array();
        size_t n, n_thought;
        const char *text = lmf__candidate_text(c, &n), *thought = lmf__candidate_thought(c, &n_thought);
        if (n_thought)
            json_array_append_new(parts, part("reasoning", lmf_json_stringn(thought, n_thought)));
        if (n)
            json_array_append_new(parts, part("text", lmf_json_stringn(text, n)));
        for (size_t k = 0; k < json_array_size(c->calls); k++) {
            const json_t *call = json_array_get(c->calls, k);
            json_array_append_new(parts, json_pack("{s:s, s:O?, s:O?}", "type", "tool_call", "name", json_object_get(call, "name"),
                                                   "arguments", json_object_get(call, "arguments")));
        }
        json_array_append_new(list, json_pack("{s:s, s:o, s:s}", "role", "assistant", "parts", parts, "finish_reason",
                                              c->finish ? c->finish : "error"));
    }
    return list;
}

/* Takes j; its text, or NULL. Freed by the caller. */
static char *text_of(json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text;
}

/* ---- attributes ---- */

static void put_request(lmf_trace_span *s, const lmf_generation *g)
{
    const lmf_request *r = &g->r;
    lmf_span_text(s, GEN_AI_("operation.name"), operation(g->shape));
    lmf_span_text(s, GEN_AI_("provider.name"), "lmfast");
    lmf_span_text(s, GEN_AI_("request.model"), r->model);
    if (g->shape->embeds)
        return;
    lmf_span_double(s, GEN_AI_("request.temperature"), r->temperature);
    lmf_span_double(s, GEN_AI_("request.top_p"), r->top_p);
    lmf_span_int(s, GEN_AI_("request.top_k"), r->top_k);
    lmf_span_double(s, GEN_AI_("request.frequency_penalty"), r->frequency_penalty);
    lmf_span_double(s, GEN_AI_("request.presence_penalty"), r->presence_penalty);
    lmf_span_bool(s, GEN_AI_("request.stream"), r->stream);
    if (r->max_tok >= 0)
        lmf_span_int(s, GEN_AI_("request.max_tokens"), r->max_tok);
    if (r->has_seed)
        lmf_span_int(s, GEN_AI_("request.seed"), r->seed);
    if (r->n > 1)
        lmf_span_int(s, GEN_AI_("request.choice.count"), r->n);
    if (r->n_stops)
        lmf_span_texts(s, GEN_AI_("request.stop_sequences"), r->stop, (size_t)r->n_stops);
    lmf_span_text(s, GEN_AI_("output.type"), r->wish.kind == LMF_WISH_SCHEMA ? "json" : "text");
}

static void put_response(lmf_trace_span *s, const lmf_generation *g, const char **reasons)
{
    lmf_usage u = lmf__generation_usage(g);
    int64_t first = 0;
    size_t n = 0;
    for (int32_t i = 0; i < g->n_choices; i++) {
        const lmf_candidate *c = &g->choice[i];
        first = c->first_us && (!first || c->first_us < first) ? c->first_us : first;
        if (c->finish && n < MOST_TOLD)
            reasons[n++] = c->finish;
    }
    lmf_span_text(s, GEN_AI_("response.id"), g->id);
    lmf_span_text(s, GEN_AI_("response.model"), g->r.model);
    if (n && !g->shape->embeds)
        lmf_span_texts(s, GEN_AI_("response.finish_reasons"), reasons, n);
    lmf_span_int(s, GEN_AI_("usage.input_tokens"), u.prompt);
    lmf_span_int(s, GEN_AI_("usage.cache_read.input_tokens"), u.cached);
    if (g->shape->embeds)
        return;
    lmf_span_int(s, GEN_AI_("usage.output_tokens"), u.answer);
    lmf_span_int(s, GEN_AI_("usage.reasoning.output_tokens"), u.thought);
    if (first)
        lmf_span_double(s, GEN_AI_("response.time_to_first_chunk"), (double)(first - g->begun_us) * 1e-6);
}

static void put_http(lmf_trace_span *s, const lmf_server *server, const lmf_exchange *x, int status)
{
    s->kind = LMF_SPAN_SERVER;
    lmf_span_text(s, "server.address", server->o.host);
    lmf_span_int(s, "server.port", server->o.port);
    if (x && x->http && x->endpoint) {
        lmf_span_text(s, "http.request.method", x->endpoint->method);
        lmf_span_text(s, "http.route", x->endpoint->path);
        lmf_span_int(s, "http.response.status_code", status);
    }
}

static void put_error(lmf_trace_span *s, int status, const char *why, char type[16])
{
    if (status < 400 && !why)
        return;
    snprintf(type, 16, status == 499 ? "client_gone" : "%d", status);
    lmf_span_text(s, "error.type", type);
    s->failed = status >= 500;
    snprintf(s->why, sizeof s->why, "%.255s", s->failed && why ? why : "");
}

/* ---- what is below ---- */

static void put_answers(lmf_generation *g, int64_t end_us)
{
    for (int32_t i = 0; i < g->n_choices && i < MOST_TOLD; i++) {
        const lmf_candidate *c = &g->choice[i];
        const lmf_part *p = &g->part[i / g->r.n];
        if (!p->submitted_us)
            continue;
        lmf_trace_span s = child(g, "queue", p->submitted_us, c->started_us ? c->started_us : end_us);
        lmf_span_int(&s, "lmfast.answer", i);
        lmf_tracer_put(g->server->tracer, &s);
        if (!c->started_us)
            continue;
        s = child(g, "prefill", c->started_us, c->first_us ? c->first_us : end_us);
        lmf_span_int(&s, "lmfast.answer", i);
        lmf_span_int(&s, GEN_AI_("usage.input_tokens"), p->n_prompt);
        lmf_span_int(&s, GEN_AI_("usage.cache_read.input_tokens"), p->n_cached);
        lmf_tracer_put(g->server->tracer, &s);
        if (!c->first_us || g->shape->embeds)
            continue;
        s = child(g, "decode", c->first_us, c->last_us);
        lmf_span_int(&s, "lmfast.answer", i);
        lmf_span_int(&s, GEN_AI_("usage.output_tokens"), c->n_tok);
        lmf_tracer_put(g->server->tracer, &s);
    }
}

static void put_guard(lmf_generation *g, const lmf_exchange *x, int64_t end_us)
{
    if (x && x->guard_end_us) {
        lmf_trace_span s = child(g, "guard", x->guard_begin_us, x->guard_end_us);
        lmf_span_text(&s, "lmfast.guard.policy", g->screen->told);
        lmf_span_text(&s, "lmfast.guard.way", "in");
        lmf_tracer_put(g->server->tracer, &s);
    }
    if (g->guard_begin_us) { /* between the tokens of the answers: the time that it took of them is told apart */
        lmf_trace_span s = child(g, "guard", g->guard_begin_us, end_us);
        lmf_span_text(&s, "lmfast.guard.policy", g->screen->told);
        lmf_span_text(&s, "lmfast.guard.way", "out");
        lmf_span_double(&s, "lmfast.guard.seconds", (double)g->guard_us * 1e-6);
        lmf_tracer_put(g->server->tracer, &s);
    }
}

static void put_tool(lmf_generation *g, const lmf_trace_span *request, int status, const char *why)
{
    char name[96], type[16];
    snprintf(name, sizeof name, "tools/call %.64s", g->trace_tool);
    lmf_trace_span s = span_of(g->server, &g->tool_trace, g->trace_parent, name, g->begun_us, g->begun_us);
    s.end_ns = request->end_ns;
    s.kind = LMF_SPAN_SERVER;
    lmf_span_text(&s, "mcp.method.name", "tools/call");
    lmf_span_text(&s, GEN_AI_("operation.name"), "execute_tool");
    lmf_span_text(&s, GEN_AI_("tool.name"), g->trace_tool);
    put_error(&s, status, why, type);
    lmf_tracer_put(g->server->tracer, &s);
}

void lmf__spans_end(lmf_generation *g, int status, const char *why)
{
    lmf_server *server = g->server;
    const char *reasons[MOST_TOLD];
    char name[160], type[16];
    if (!g->traced)
        return;
    g->traced = false;
    int64_t now = lmf__now_us();
    snprintf(name, sizeof name, "%s %.120s", operation(g->shape), g->r.model ? g->r.model : "");
    lmf_trace_span s = span_of(server, &g->trace, g->trace_tool[0] ? g->tool_trace.span : g->trace_parent, name, g->begun_us, now);
    put_http(&s, server, g->trace_tool[0] ? NULL : g->x, status);
    if (g->trace_tool[0])
        s.kind = LMF_SPAN_INTERNAL;
    put_request(&s, g);
    put_response(&s, g, reasons);
    put_error(&s, status, why, type);
    lmf_span_text(&s, "lmfast.guard.policy", g->screen ? g->screen->told : "off");
    if (g->tenant->name[0])
        lmf_span_text(&s, "user.id", g->tenant->name);
    bool content = lmf_tracer_has_content(server->tracer) && status < 400;
    char *in = content ? text_of(input_form(g, g->x && g->x->of_messages)) : NULL;
    char *out = content && !g->shape->embeds ? text_of(output_form(g)) : NULL;
    bool fits = (in ? strlen(in) : 0) + (out ? strlen(out) : 0) < MAX_CONTENT;
    if (fits) {
        lmf_span_text(&s, GEN_AI_("input.messages"), in);
        lmf_span_text(&s, GEN_AI_("output.messages"), out);
    } else {
        s.n_dropped += 2;
    }
    lmf_tracer_put(server->tracer, &s);
    free(in); /* allowed: jansson's own memory */
    free(out); /* allowed: jansson's own memory */
    if (g->trace_tool[0])
        put_tool(g, &s, status, why);
    put_guard(g, g->x, now);
    put_answers(g, now);
}

void lmf__spans_refused(lmf_exchange *x, const lmf_fault *f)
{
    lmf_trace_id parent, id;
    char type[16], name[160];
    if (!x->server->tracer || !x->endpoint)
        return;
    bool has = find_parent(x, &parent);
    if (!x->traceparent[0] || !lmf_traceparent_parse(x->traceparent, &id)) /* it was begun, and gave way to the fault */
        id = lmf_trace_begin(has ? &parent : NULL);
    lmf_traceparent_format(&id, x->traceparent);
    if (!id.sampled)
        return;
    int64_t now = lmf__now_us();
    snprintf(name, sizeof name, "%.16s %.120s", x->endpoint->method, x->endpoint->path);
    lmf_trace_span s = span_of(x->server, &id, has ? parent.span : NULL, name, now, now);
    put_http(&s, x->server, x, f->status);
    put_error(&s, f->status, f->message, type);
    lmf_tracer_put(x->server->tracer, &s);
}
