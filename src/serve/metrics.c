/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"
#include <time.h>

static void put(lmf_buf *b, const char *name, const char *kind, const char *help, int64_t value)
{
    lmf_buf_printf(b, "# HELP lmfast_%s %s\n# TYPE lmfast_%s %s\nlmfast_%s %lld\n", name, help, name, kind, name, (long long)value);
}

/* A counter of each key. */
static void put_tenants(lmf_buf *b, const lmf_tenants *all, const char *name, const char *help, size_t offset)
{
    lmf_buf_printf(b, "# HELP lmfast_%s %s\n# TYPE lmfast_%s counter\n", name, help, name);
    for (int32_t i = 0; i < all->n; i++)
        lmf_buf_printf(b, "lmfast_%s{key=\"%s\"} %lld\n", name, all->of[i].name,
                       (long long)*(const int64_t *)(const void *)((const char *)&all->of[i] + offset));
}

static void put_screens(lmf_buf *b, const lmf_screen *all)
{
    static const char *const way[] = { "in", "out" };
    static const struct { const char *name, *help; size_t at; } rows[] = {
        { "guard_texts_total", "Texts that a policy was asked about.", offsetof(lmf_screen, n_texts) },
        { "guard_blocked_total", "Of them, those that were blocked.", offsetof(lmf_screen, n_blocked) },
        { "guard_failed_total", "Of them, those whose check failed; they were not let through.", offsetof(lmf_screen, n_failed) } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_buf_printf(b, "# HELP lmfast_%s %s\n# TYPE lmfast_%s counter\n", rows[i].name, rows[i].help, rows[i].name);
        for (const lmf_screen *c = all; c; c = c->next)
            for (int w = 0; w < LMF_N_WAYS; w++)
                lmf_buf_printf(b, "lmfast_%s{policy=\"%s\",way=\"%s\"} %lld\n", rows[i].name, c->told, way[w],
                               (long long)((const int64_t *)(const void *)((const char *)c + rows[i].at))[w]);
    }
    lmf_buf_puts(b, "# HELP lmfast_guard_findings_total What was found in them.\n# TYPE lmfast_guard_findings_total counter\n");
    for (const lmf_screen *c = all; c; c = c->next)
        for (int w = 0; w < LMF_N_WAYS; w++)
            for (int k = 0; k < LMF_GUARD_MAX_ENTITIES; k++)
                if (c->n_found[w][k])
                    lmf_buf_printf(b, "lmfast_guard_findings_total{policy=\"%s\",way=\"%s\",entity=\"%s\",operator=\"%s\"} %lld\n",
                                   c->told, way[w], lmf_guard_entity_name(c->ctx, k),
                                   lmf_guard_operator_name((lmf_guard_operator)c->policy.by[k]), (long long)c->n_found[w][k]);
}

void lmf__metrics_print(lmf_server *s, lmf_buf *b)
{
    lmf_scheduler_info q;
    lmf_engine_info e;
    lmf_scheduler_get_info(s->scheduler, &q);
    lmf_engine_get_info(s->engine, &e);
    lmf_buf_puts(b,
        "# HELP lmfast_http_responses_total Responses that were begun, by status.\n# TYPE lmfast_http_responses_total counter\n");
    for (int i = 0; i < LMF_MAX_STATUS; i++)
        if (s->n_responses[i])
            lmf_buf_printf(b, "lmfast_http_responses_total{code=\"%d\"} %lld\n", i, (long long)s->n_responses[i]);
    lmf_buf_printf(b, "# HELP lmfast_build_info The program's version, always 1.\n# TYPE lmfast_build_info gauge\n"
                   "lmfast_build_info{version=\"%s\"} 1\n", LMF_VERSION);
    put(b, "uptime_seconds", "gauge", "Since the server was ready.", (int64_t)time(NULL) - s->started_unix);
    put(b, "http_connections", "gauge", "Open connections.", s->n_connections);
    put(b, "requests_active", "gauge", "Requests whose answers are queued or written.", s->n_generations);
    put(b, "requests_abandoned_total", "counter", "Clients that went away before their answer was complete.", s->n_gone);
    put(b, "requests_shed_total", "counter", "Requests that were refused because the queue was full.", s->n_shed);
    put(b, "answers_queued", "gauge", "Answers that wait for a slot.", q.n_queued);
    put(b, "answers_queue_limit", "gauge", "Answers that may wait.", q.max_queue);
    put(b, "answers_finished_total", "counter", "Answers that came to their end.", q.n_done);
    put(b, "answers_failed_total", "counter", "Answers that ended with a failure.", q.n_failed);
    put(b, "answers_ended_total", "counter", "Answers that were ended from outside.", q.n_ended);
    put(b, "slots", "gauge", "Answers that are written at once.", e.max_seqs);
    put(b, "slots_free", "gauge", "Slots without an answer.", e.max_seqs - e.n_sessions);
    put(b, "adapters", "gauge", "Adapters that are served.", lmf__served_count(&s->adapters));
    put(b, "adapter_slots", "gauge", "Adapters that there is room for.", s->adapters.n);
    put(b, "cache_tokens", "gauge", "Tokens that the cache of keys and values holds.", (int64_t)e.n_pages * e.page_size);
    put(b, "cache_tokens_free", "gauge", "Of them, those in no session.", (int64_t)(e.n_pages_free - e.n_pages_reserved) * e.page_size);
    put(b, "prompt_tokens_total", "counter", "Tokens of prompts that were accepted.", s->n_prompt_tok);
    put(b, "completion_tokens_total", "counter", "Tokens of answers that were sent.", s->n_answer_tok);
    put(b, "engine_prefill_tokens_total", "counter", "Prompt tokens that were computed.", e.n_prefill_tok);
    put(b, "engine_decode_tokens_total", "counter", "Answer tokens that were computed.", e.n_decode_tok);
    put(b, "engine_cached_tokens_total", "counter", "Prompt tokens that were found computed.", e.n_cached_tok);
    put(b, "engine_draft_tokens_total", "counter", "Answer tokens that were guessed ahead.", e.n_draft_tok);
    put(b, "engine_draft_accepted_tokens_total", "counter", "Of them, those that were right.", e.n_accepted_tok);
    put(b, "engine_preemptions_total", "counter", "Answers that gave their room in the cache up, to be computed again.", e.n_preempted);
    put(b, "engine_forced_tokens_total", "counter", "Answer tokens that a form left no choice for.", e.n_forced_tok);
    put(b, "engine_steps_total", "counter", "Steps of the engine.", e.n_steps);
    if (s->tenants.has_keys) {
        put_tenants(b, &s->tenants, "key_requests_total", "Requests that were begun, by key.", offsetof(lmf_tenant, n_requests));
        put_tenants(b, &s->tenants, "key_refused_total", "Requests beyond what the key may.", offsetof(lmf_tenant, n_refused));
        put_tenants(b, &s->tenants, "key_prompt_tokens_total", "Tokens of prompts, by key.", offsetof(lmf_tenant, n_prompt_tok));
        put_tenants(b, &s->tenants, "key_completion_tokens_total", "Tokens of answers, by key.", offsetof(lmf_tenant, n_answer_tok));
    }
    if (s->screens)
        put_screens(b, s->screens);
    if (s->tracer) {
        lmf_tracer_info t;
        lmf_tracer_get_info(s->tracer, &t);
        put(b, "trace_spans_total", "counter", "Spans that were told.", t.n_put);
        put(b, "trace_spans_sent_total", "counter", "Of them, those that the collector took.", t.n_sent);
        put(b, "trace_spans_dropped_total", "counter", "Of them, those for which the queue had no room.", t.n_dropped);
        put(b, "trace_spans_lost_total", "counter", "Of them, those that the collector refused or did not answer for.", t.n_lost);
        put(b, "trace_retries_total", "counter", "Requests to the collector that were tried again.", t.n_retries);
        put(b, "trace_spans_queued", "gauge", "Spans that wait.", t.n_queued);
    }
    lmf_histogram_print(&s->first_token, "time_to_first_token_seconds", "From the request to an answer's first token.", b);
    lmf_histogram_print(&s->next_token, "time_per_token_seconds", "From one token of an answer to the next.", b);
    lmf_histogram_print(&s->whole, "request_seconds", "From the request to the end of its reply.", b);
}
