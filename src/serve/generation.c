/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is sent is whole UTF-8 that no later token can take back; a choice that has a finish gets nothing more. */
#include "serve/generation.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "format/json.h"
#include "serve/spans.h"

enum { MAX_ANSWER_BYTES = 1 << 24 };

/* The parser makes texts of NaN, of Infinity and of numbers that no double holds, for files are full of them where nobody looks; in a
 * request such a text would be taken for one. text is JSON. */
static bool check_numbers(const char *text, lmf_fault *f)
{
    const char *string = "", *key = "";
    int n_string = 0, n_key = 0;
    for (const char *p = text; *p;) {
        if (*p == '"') {
            string = ++p;
            while (*p && *p != '"')
                p += *p == '\\' && p[1] ? 2 : 1;
            n_string = (int)(p - string < 60 ? p - string : 60);
            p += *p != 0;
        } else if (*p == '-' || *p == 'N' || *p == 'I' || (*p >= '0' && *p <= '9')) {
            char *end;
            if (!isfinite(strtod(p, &end))) {
                char name[64];
                snprintf(name, sizeof name, "%.*s", n_key, key);
                return lmf__refuse(f, 400, name, NULL, "%s: %.*s is no number that JSON and a double have", name,
                                   (int)(end - p < 40 ? end - p : 40), p);
            }
            p = end > p ? end : p + 1;
        } else {
            if (*p == ':')
                key = string, n_key = n_string;
            p++;
        }
    }
    return true;
}

json_t *lmf__body_parse(lmf_exchange *x, lmf_fault *f)
{
    json_t *body = NULL;
    const lmf_buf *b = &x->http->body;
    lmf_status s = lmf_json_parse(x->server->ctx, lmf_buf_str(b), b->n, "the body", LMF_JSON_SMALL, &body);
    if (s)
        lmf__refuse_status(f, x->server->ctx, s, NULL);
    if (body && !check_numbers(lmf_buf_str(b), f)) {
        json_decref(body);
        body = NULL;
    }
    return body;
}

static void on_gone(void *user);

lmf_generation *lmf__generation_create(lmf_exchange *x, const lmf_shape *shape, json_t *body, lmf_fault *f)
{
    lmf_server *s = x->server;
    lmf_generation *g = lmf_new(s->ctx, lmf_generation);
    if (!g) {
        json_decref(body);
        lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
        return NULL;
    }
    *g = (lmf_generation){ .server = s, .x = x, .tenant = x->tenant, .shape = shape, .body = body, .created = (int64_t)time(NULL),
                            .begun_us = lmf__now_us(), .screen = x->tenant->screen, .adapter = -1 };
    g->next = s->generations;
    if (g->next)
        g->next->prev = g;
    s->generations = g;
    s->n_generations++;
    lmf__server_id(s, shape->id_prefix, g->id, sizeof g->id);
    lmf__request_init(&g->r, s->ctx);
    lmf__spans_begin(g);
    if (lmf__request_read(&g->r, s, body, f)) {
        lmf__served_begin(&s->adapters, g->adapter = g->r.adapter);
        return g;
    }
    lmf__generation_destroy(g);
    return NULL;
}

static size_t n_vector_bytes(const lmf_server *s) { return (size_t)lmf_model_config(s->model)->width * sizeof(float); }

/* What was found is counted once, with the answer's end. */
static void count_guard(lmf_candidate *c)
{
    if (c->guard.ctx)
        lmf__screen_count(c->g->screen, LMF_WAY_OUT, &c->guard);
    if (c->thought_guard.ctx && c->n_thought)
        lmf__screen_count(c->g->screen, LMF_WAY_OUT, &c->thought_guard);
    memset(c->guard.n_found, 0, sizeof c->guard.n_found);
    memset(c->thought_guard.n_found, 0, sizeof c->thought_guard.n_found);
}

static void close_guard(lmf_candidate *c)
{
    if (!c->guard.ctx)
        return;
    if (!c->finish)
        count_guard(c);
    lmf_guard_close(&c->guard);
    lmf_guard_close(&c->thought_guard);
    lmf_buf_clear(&c->clean);
    lmf_buf_clear(&c->clean_thought);
}

void lmf__generation_destroy(lmf_generation *g)
{
    lmf_server *s = g->server;
    for (int32_t i = 0; i < g->n_parts; i++) {
        lmf_job_destroy(g->part[i].job);
        lmf_free(s->ctx, g->part[i].prompt, (size_t)g->part[i].n_prompt * sizeof(int32_t));
        lmf_free(s->ctx, g->part[i].vector, n_vector_bytes(s));
    }
    lmf_free(s->ctx, g->part, (size_t)g->cap_parts * sizeof *g->part);
    for (int32_t i = 0; i < g->n_choices; i++) {
        lmf_candidate *c = &g->choice[i];
        lmf__constrained_close(&c->form);
        lmf_buf_clear(&c->text);
        lmf_buf_clear(&c->thought);
        close_guard(c);
        json_decref(c->pending);
        json_decref(c->tokens);
        json_decref(c->calls);
    }
    if (g->shape->clear)
        g->shape->clear(g);
    lmf_free(s->ctx, g->choice, (size_t)g->n_choices * sizeof *g->choice);
    if (g->counted)
        lmf__tenant_end(g->tenant);
    lmf__served_end(&s->adapters, g->adapter);
    lmf__constraints_drop(&s->constraints, g->compiled);
    lmf__request_clear(&g->r);
    json_decref(g->body);
    if (g->prev)
        g->prev->next = g->next;
    else
        s->generations = g->next;
    if (g->next)
        g->next->prev = g->prev;
    s->n_generations--;
    lmf_delete(s->ctx, g);
}

bool lmf__generation_add_prompt(lmf_generation *g, const int32_t *tok, size_t n, lmf_fault *f)
{
    lmf_server *s = g->server;
    int32_t context = s->engine_info.context;
    if (n == 0)
        return lmf__refuse(f, 400, "prompt", NULL, "the prompt is empty");
    if (n >= (size_t)context)
        return lmf__refuse(f, 400, g->shape->thought ? "messages" : "prompt", "context_length_exceeded",
                           "the prompt has %zu tokens, and an answer needs one at least; the context holds %d", n, context);
    if (g->screen && g->screen->policy.max_prompt_tok && n > (size_t)g->screen->policy.max_prompt_tok)
        return lmf__refuse(f, 400, g->shape->thought ? "messages" : "prompt", "context_length_exceeded",
                           "the prompt has %zu tokens; the policy of this server lets %lld pass", n,
                           (long long)g->screen->policy.max_prompt_tok);
    if (g->n_parts == (g->shape->embeds ? LMF_MAX_EMBEDDINGS : LMF_MAX_PROMPTS))
        return lmf__refuse(f, 400, g->shape->embeds ? "input" : "prompt", NULL, "there are more than %d prompts", g->n_parts);
    if (g->n_parts == g->cap_parts) {
        int32_t cap = g->cap_parts ? 2 * g->cap_parts : 1;
        lmf_part *more = lmf_alloc(s->ctx, (size_t)cap * sizeof *more);
        if (!more)
            return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the prompt");
        if (g->n_parts)
            memcpy(more, g->part, (size_t)g->n_parts * sizeof *more);
        lmf_free(s->ctx, g->part, (size_t)g->cap_parts * sizeof *more);
        g->part = more, g->cap_parts = cap;
    }
    lmf_part *p = &g->part[g->n_parts];
    p->prompt = lmf_alloc(s->ctx, n * sizeof *p->prompt);
    if (!p->prompt)
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the prompt");
    memcpy(p->prompt, tok, n * sizeof *tok);
    p->n_prompt = (int32_t)n;
    p->g = g;
    g->n_parts++;
    return true;
}

static bool make_choices(lmf_generation *g, lmf_fault *f)
{
    lmf_server *s = g->server;
    int32_t n = g->n_parts * (int32_t)g->r.n;
    g->choice = lmf_alloc(s->ctx, (size_t)n * sizeof *g->choice);
    if (!g->choice)
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the answers");
    g->n_choices = n;
    for (int32_t i = 0; i < n; i++) {
        lmf_candidate *c = &g->choice[i];
        c->g = g, c->index = i;
        c->rule = (lmf_rule){ .only = &g->r.only, .banned = &g->r.banned, .vocab = s->engine_info.vocab };
        c->pending = g->r.logprobs ? json_array() : NULL;
        c->tokens = g->r.logprobs && !g->r.stream ? json_array() : NULL;
        const lmf_part *part = &g->part[i / g->r.n];
        lmf_buf_init(&c->text, s->ctx, MAX_ANSWER_BYTES);
        lmf_buf_init(&c->thought, s->ctx, MAX_ANSWER_BYTES);
        if (g->screen && !g->shape->embeds) {
            lmf_guard_open(&c->guard, s->ctx, &g->screen->policy);
            lmf_guard_open(&c->thought_guard, s->ctx, &g->screen->policy);
            lmf_buf_init(&c->clean, s->ctx, 8 * (size_t)MAX_ANSWER_BYTES); /* a name in place of a short match is longer than it */
            lmf_buf_init(&c->clean_thought, s->ctx, 8 * (size_t)MAX_ANSWER_BYTES);
        }
        c->thinks = c->thought_once = g->shape->thought && lmf__prompt_thinks(&s->constraints, part->prompt, part->n_prompt);
        lmf_status status = lmf_text_stream_init(&c->stream, s->ctx, g->r.stop, g->r.n_stops);
        if (!status)
            status = lmf_text_stream_init(&c->thoughts, s->ctx, NULL, 0);
        if (status)
            return lmf__refuse_status(f, s->ctx, status, "stop");
    }
    return true;
}

static int32_t force(void *form, const int32_t *tok, int n_tok, int32_t *out, int cap)
{
    return lmf__constrained_force(form, tok, n_tok, out, cap);
}

static bool constrain(lmf_generation *g, lmf_fault *f)
{
    lmf_server *s = g->server;
    const lmf_request *r = &g->r;
    if (!lmf__wish_is_any(&r->wish))
        return true;
    lmf_status status = lmf__constraints_get(&s->constraints, &r->wish, &g->compiled);
    if (status)
        return lmf__refuse_status(f, s->ctx, status, r->wish.kind ? r->wish.param : "tools");
    for (int32_t i = 0; i < g->n_choices; i++) {
        lmf_candidate *c = &g->choice[i];
        int32_t n_prompt = g->part[i / r->n].n_prompt, room = s->engine_info.context - n_prompt;
        int32_t n_most = r->max_tok < 0 || r->max_tok > room ? room : (int32_t)r->max_tok;
        status = lmf__constrained_open(&c->form, &s->constraints, g->compiled, r->wish.must_call, c->thinks, n_prompt, n_most);
        if (status)
            return lmf__refuse_status(f, s->ctx, status, status == LMF_E_LIMIT ? "max_tokens" : NULL);
        c->rule.mask = lmf__constrained_mask, c->rule.state = &c->form;
        c->rule.force = r->logprobs ? NULL : force; /* what is not sampled has no log-probability */
    }
    return true;
}

static lmf_status echo_token(lmf_candidate *c, int32_t id, int32_t i_tok);

static void end_jobs(lmf_generation *g)
{
    for (int32_t i = 0; i < g->n_parts; i++)
        if (g->part[i].job)
            lmf_job_end(g->part[i].job, LMF_JOB_ALL);
}

/* The next prompt's turn. */
static bool submit(lmf_generation *g, lmf_fault *f)
{
    lmf_server *s = g->server;
    int32_t i = g->n_begun;
    lmf_part *p = &g->part[i];
    lmf_job_opts o = lmf_job_opts_default();
    bool ruled = g->r.only.n + g->r.banned.n > 0 || lmf__wish_is_any(&g->r.wish);
    void *rule[LMF_REQUEST_MAX_N];
    for (int32_t k = 0; k < g->r.n; k++)
        rule[k] = &g->choice[i * g->r.n + k].rule;
    o.prompt = p->prompt, o.n_prompt = p->n_prompt, o.adapter = g->r.adapter, o.salt = g->tenant->salt, o.n = (int32_t)g->r.n,
        o.gen = lmf__request_gen(&g->r, s), o.user = p;
    o.grammar = ruled ? rule : NULL;
    if (g->shape->embeds && !(o.embed = p->vector = lmf_alloc(s->ctx, n_vector_bytes(s))))
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the answers");
    lmf_status status = lmf_scheduler_submit(s->scheduler, &o, &p->job);
    if (status) {
        lmf__refuse_status(f, s->ctx, status, NULL);
        if (status == LMF_E_BUSY)
            f->status = 429, s->n_shed++;
        return false;
    }
    g->n_begun++;
    g->n_jobs++;
    s->n_prompt_tok += p->n_prompt;
    p->submitted_us = lmf__now_us();
    lmf__tenant_count(g->tenant, g->created, p->n_prompt, 0);
    return true;
}

/* What a policy says of a request as a whole. */
static bool follow_policy(lmf_generation *g, lmf_fault *f)
{
    const lmf_guard_policy *p = &g->screen->policy;
    if (g->r.logprobs && g->shape->piece)
        return lmf__refuse(f, 400, "logprobs", NULL, "log-probabilities tell tokens that the policy of this server may hold back; they are "
                           "not told here");
    if (p->max_answer_tok && (g->r.max_tok < 0 || g->r.max_tok > p->max_answer_tok))
        g->r.max_tok = p->max_answer_tok;
    return true;
}

bool lmf__generation_start(lmf_generation *g, lmf_fault *f)
{
    lmf_server *s = g->server;
    if (g->screen && !follow_policy(g, f))
        return false;
    if (!lmf__request_finish(&g->r, f))
        return false;
    if (!lmf__tenant_may_use(g->tenant, g->r.model))
        return lmf__refuse(f, 404, "model", "model_not_found",
                           "the model \"%.100s\" is not served to this key; GET /v1/models lists those that "
                           "are", g->r.model);
    if (!make_choices(g, f) || !constrain(g, f) || !lmf__tenant_begin(g->tenant, g->begun_us, g->created, f))
        return false;
    g->counted = true;
    int32_t at_once = g->shape->embeds && g->n_parts > s->engine_info.max_seqs ? s->engine_info.max_seqs : g->n_parts;
    while (g->n_begun < at_once)
        if (!submit(g, f))
            return false;
    for (int32_t i = 0; g->r.echo && !g->r.logprobs && i < g->n_choices; i++)
        for (int32_t k = 0; k < g->part[i / g->r.n].n_prompt; k++)
            if (echo_token(&g->choice[i], g->part[i / g->r.n].prompt[k], k))
                return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the answers");
    g->n_open = g->n_choices;
    g->x->on_gone = on_gone;
    g->x->user = g;
    return true;
}

void lmf__generation_refuse(lmf_exchange *x, lmf_generation *g, const lmf_fault *f)
{
    if (g)
        lmf__spans_end(g, f->status, f->message);
    else
        lmf__spans_refused(x, f);
    lmf__reply_fault(x, f);
    if (!g)
        return;
    g->x = NULL;
    end_jobs(g); /* those that were taken before one was not */
    if (g->n_jobs == 0)
        lmf__generation_destroy(g);
}

static void on_gone(void *user)
{
    lmf_generation *g = user;
    lmf__spans_end(g, 499, NULL);
    g->x = NULL;
    end_jobs(g);
}

/* ---- the reply ---- */

lmf_usage lmf__generation_usage(const lmf_generation *g)
{
    lmf_usage u = { 0 };
    for (int32_t i = 0; i < g->n_parts; i++) {
        u.prompt += g->part[i].n_prompt;
        u.cached += g->part[i].n_cached;
    }
    for (int32_t i = 0; i < g->n_choices; i++) {
        u.answer += g->choice[i].n_tok;
        u.thought += g->choice[i].n_thought_tok;
    }
    return u;
}

const char *lmf__candidate_text(const lmf_candidate *c, size_t *n)
{
    const char *text = lmf_buf_str(c->guard.ctx ? &c->clean : &c->text);
    *n = c->guard.ctx ? c->clean.n : c->calls ? c->call_begin : c->stream.n_out;
    while (c->calls && *n && strchr(" \n\r\t", text[*n - 1]))
        --*n;
    while (c->thought_once && *n && strchr(" \n\r\t", *text))
        text++, --*n;
    return text;
}

const char *lmf__candidate_thought(const lmf_candidate *c, size_t *n)
{
    *n = c->guard.ctx ? c->clean_thought.n : c->thoughts.n_out;
    return lmf_buf_str(c->guard.ctx ? &c->clean_thought : &c->thought);
}

/* The reply is complete, or has failed; events that still come find nobody. */
static void leave(lmf_generation *g, int status, const char *why)
{
    lmf__spans_end(g, status, why);
    lmf_histogram_add(&g->server->whole, lmf__now_us() - g->begun_us);
    g->x = NULL;
    end_jobs(g);
}

static void complete(lmf_generation *g)
{
    lmf_exchange *x = g->x;
    const lmf_shape *shape = g->shape;
    if (g->r.stream) {
        if (shape->end)
            shape->end(g);
        leave(g, 200, NULL);
        lmf__stream_end(x, shape->done_mark);
        return;
    }
    json_t *j = shape->reply(g);
    leave(g, j ? 200 : 500, NULL);
    lmf__reply_json(x, 200, j);
}

static void fail(lmf_generation *g, int status, const char *why)
{
    lmf_exchange *x = g->x;
    lmf_fault f;
    lmf__refuse(&f, status, NULL, NULL, "%s", why);
    if (x->streams && g->shape->broken)
        g->shape->broken(g, &f);
    else if (x->streams)
        lmf__stream_event(x, NULL, lmf__fault_json(x, &f));
    leave(g, status, why);
    if (x->streams)
        lmf__stream_end(x, false);
    else
        lmf__reply_fault(x, &f);
}

/* ---- tokens ---- */

static json_t *token_json(const lmf_server *s, int32_t id, float logp)
{
    size_t n;
    const uint8_t *piece = lmf_tokenizer_piece(s->model->tokenizer, id, &n);
    json_t *bytes = json_array();
    n = piece ? n : 0;
    for (size_t i = 0; i < n; i++)
        json_array_append_new(bytes, json_integer(piece[i]));
    json_t *value = isnan(logp) ? json_null() : json_real(isfinite(logp) ? (double)logp : -9999.0); /* JSON has no infinity */
    return json_pack("{s:o, s:o, s:o}", "token", lmf_json_stringn((const char *)piece, n), "logprob", value, "bytes", bytes);
}

static void note_logprob(lmf_candidate *c, const lmf_job_event *ev)
{
    const lmf_server *s = c->g->server;
    bool first = ev->token.i_tok == 0; /* of a prompt: nothing comes before it */
    json_t *j = token_json(s, ev->token.id, first ? NAN : ev->token.logp), *top = json_array();
    for (int32_t i = 0; i < ev->n_top; i++)
        json_array_append_new(top, token_json(s, ev->top[i], ev->top_logp[i]));
    json_object_set_new(j, "top_logprobs", top);
    json_array_append_new(c->pending, j);
}

/* The pending logprobs; with text that leaves now, or what would never. */
static json_t *take_pending(lmf_candidate *c)
{
    json_t *j = c->pending;
    if (j)
        c->pending = json_array();
    return j;
}

/* Text through a guard: what may go out by now. False: nothing more may, for it is blocked or could not be checked. */
static bool guarded(lmf_candidate *c, lmf_guard_stream *guard, const char *text, size_t n, bool last, lmf_buf *out)
{
    int64_t begin = lmf__now_us();
    c->g->guard_begin_us = c->g->guard_begin_us ? c->g->guard_begin_us : begin;
    c->guard_failed |= lmf_guard_push(guard, text, n, last, out) != LMF_OK;
    c->g->guard_us += lmf__now_us() - begin;
    if (guard->blocked)
        c->finish = "content_filter";
    return !c->guard_failed && !guard->blocked;
}

/* Takes what screen says of JSON that can't be looked at before it is whole. */
static void take_verdict(lmf_candidate *c, lmf_verdict v)
{
    c->guard_failed |= v == LMF_BROKEN;
    if (v == LMF_BLOCKED)
        c->finish = "content_filter";
}

/* Whether what the answer must look like is JSON. */
static bool is_json(const lmf_generation *g) { return g->r.wish.kind == LMF_WISH_SCHEMA; }

/* Text up to n goes out; last: no more will. */
static void show(lmf_candidate *c, size_t n, bool last)
{
    lmf_generation *g = c->g;
    const char *text = lmf_buf_str(&c->text) + c->n_shown;
    size_t fresh = n > c->n_shown ? n - c->n_shown : 0, before = c->clean.n;
    int by;
    if (g->screen && (c->guard_over || c->guard_failed || (is_json(g) && !last)))
        return;
    if (g->screen) {
        if (is_json(g) && fresh)
            take_verdict(c, lmf__screen_json(g->screen, LMF_WAY_OUT, text, fresh, &c->clean, &by));
        else
            guarded(c, &c->guard, text, fresh, last, &c->clean);
        c->guard_over = last;
        c->n_shown += fresh;
        text = lmf_buf_str(&c->clean) + before;
        fresh = c->clean.n - before;
    }
    if (!fresh || c->guard_failed)
        return;
    json_t *logprobs = take_pending(c);
    if (c->tokens) {
        json_array_extend(c->tokens, logprobs);
        json_decref(logprobs);
    }
    if (g->r.stream)
        g->shape->piece(c, text, fresh, logprobs);
    if (!g->screen)
        c->n_shown = n;
}

/* White space that an answer begins with behind what was thought. */
static size_t n_skipped(const lmf_candidate *c)
{
    return c->thought_once ? strspn(lmf_buf_str(&c->text), " \n\r\t") : 0;
}

static void show_thought(lmf_candidate *c)
{
    lmf_generation *g = c->g;
    const char *text = lmf_buf_str(&c->thought) + c->n_thought;
    size_t n = c->thoughts.n_out - c->n_thought, before = c->clean_thought.n;
    bool last = !c->thinks || c->finish;
    c->n_thought += n;
    if (g->screen && c->thought_once && !c->thought_over) {
        guarded(c, &c->thought_guard, text, n, last, &c->clean_thought);
        c->thought_over = last;
        text = lmf_buf_str(&c->clean_thought) + before;
        n = c->clean_thought.n - before;
    }
    if (g->r.stream && n && !c->guard_failed)
        g->shape->thought(c, text, n);
}

/* Arguments as the policy wants them. False: they don't go out. */
static bool screen_calls(lmf_candidate *c, json_t *list)
{
    lmf_screen *screen = c->g->screen;
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *call = json_array_get(list, i), *name = json_incref(json_object_get(call, "name"));
        const json_t *arguments = json_object_get(call, "arguments");
        lmf_buf out;
        int by;
        lmf_buf_init(&out, screen->ctx, MAX_ANSWER_BYTES);
        lmf_verdict v = lmf__screen_value(screen, LMF_WAY_OUT, &name, &by);
        json_decref(name);
        v = v == LMF_CHANGED ? LMF_BLOCKED : v; /* a name that is another's is no name of a tool */
        if (v < LMF_BLOCKED)
            v = lmf__screen_json(screen, LMF_WAY_OUT, json_string_value(arguments), json_string_length(arguments), &out, &by);
        if (v < LMF_BLOCKED && json_object_set_new(call, "arguments", lmf_json_stringn(lmf_buf_str(&out), out.n)))
            v = LMF_BROKEN;
        lmf_buf_clear(&out);
        take_verdict(c, v);
        if (v >= LMF_BLOCKED)
            return false;
    }
    return true;
}

/* Calls that were held back, all at once. */
static void send_calls(lmf_candidate *c, json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *call = json_array_get(list, i), *arguments = json_object_get(call, "arguments");
        lmf_tool_piece p = { .i_call = (int32_t)i, .name = json_incref(json_object_get(call, "name")) };
        c->g->shape->call(c, &p);
        p = (lmf_tool_piece){ .i_call = (int32_t)i, .arguments = json_string_value(arguments), .n = json_string_length(arguments) };
        c->g->shape->call(c, &p);
    }
    json_array_clear(list);
}

/* Calls as they come, from the mark at begin on; without a stream, under a policy, or where they come whole, all at the end. False: it only
 * looked like calls. */
static bool show_calls(lmf_candidate *c, size_t begin)
{
    lmf_generation *g = c->g;
    const lmf_tool_form *form = &g->server->tool_form;
    lmf_tool_scan *scan = &c->scan;
    bool streams = g->r.stream && g->shape->call && !g->screen;
    lmf_tool_piece p;
    json_t *list = json_array();
    if (scan->phase == LMF_SCAN_OPEN)
        scan->at = begin;
    while (lmf_tool_scan_next(scan, form, lmf_buf_str(&c->text), c->stream.n_out, &p)) {
        if (streams)
            g->shape->call(c, &p);
        else if (p.name)
            json_array_append_new(list, json_pack("{s:o}", "name", p.name));
        else
            json_object_set_new(json_array_get(list, json_array_size(list) - 1), "arguments", lmf_json_stringn(p.arguments, p.n));
    }
    bool whole = c->finish && lmf_tool_scan_is_whole(scan, form, lmf_buf_str(&c->text), c->stream.n_out);
    if (whole && g->screen) {
        show(c, begin, true);
        if (c->guard_failed || c->guard.blocked || !screen_calls(c, list)) {
            json_decref(list);
            return true;
        }
        if (g->r.stream && g->shape->call)
            send_calls(c, list);
    }
    if (whole) {
        c->calls = list;
        c->call_begin = begin;
        c->finish = strcmp(c->finish, "stop") ? c->finish : "tool_calls";
        return true;
    }
    json_decref(list);
    return streams && (!c->finish || scan->n_calls);
}

/* Nothing more of the text goes out. */
static bool is_shut(const lmf_candidate *c) { return c->guard_failed || c->guard.blocked || c->thought_guard.blocked; }

/* The text with its calls, as far as they are certain. */
static void show_text(lmf_candidate *c)
{
    lmf_generation *g = c->g;
    size_t n = c->stream.n_out, begin = n;
    if (c->n_shown < n_skipped(c))
        c->n_shown = n_skipped(c) < n ? n_skipped(c) : n;
    if (g->with_tools)
        begin = lmf_tool_form_begin(&g->server->tool_form, lmf_buf_str(&c->text), n, c->n_shown);
    if (begin < n && !c->finish && n - begin >= strlen(g->server->tool_form.open))
        c->stream.n_stops = 0; /* stop texts end text; a call has its own end */
    show(c, begin, false);
    if (is_shut(c))
        return;
    if (begin < n && ((g->r.stream && g->shape->call && !g->screen) || c->finish) && !show_calls(c, begin))
        show(c, n, c->finish != NULL);
    else if (c->finish && begin == n)
        show(c, n, true);
}

/* What is certain of the text; all of it with a finish. */
static void show_certain(lmf_candidate *c)
{
    lmf_generation *g = c->g;
    if (g->r.stream && !c->greeted && g->shape->greeting)
        g->shape->greeting(c);
    c->greeted = true;
    show_thought(c);
    if (!is_shut(c))
        show_text(c);
    if (!c->finish || c->guard_failed)
        return;
    if (g->screen)
        count_guard(c);
    json_t *rest = c->stream.i_stop < 0 ? take_pending(c) : NULL; /* of tokens without text of their own; not those of a stop text */
    if (c->tokens && rest)
        json_array_extend(c->tokens, rest);
    if (g->r.stream)
        g->shape->finish(c, json_array_size(rest) ? json_incref(rest) : NULL);
    json_decref(rest);
    g->n_open--;
}

/* A control token that a template begins or ends calls with is text here: the calls are told by it. */
static bool is_of_form(const lmf_generation *g, int32_t id, const uint8_t **p, size_t *n)
{
    const lmf_tool_form *form = &g->server->tool_form;
    const lmf_tokenizer *t = g->server->model->tokenizer;
    if (!g->with_tools || lmf_tokenizer_kind(t, id) != LMF_TOKEN_CONTROL || !(*p = lmf_tokenizer_piece(t, id, n)) || !*n)
        return false;
    const char *const words[] = { form->open, form->between, form->close };
    for (size_t i = 0; i < 3; i++)
        for (size_t at = 0; at + *n <= strlen(words[i]); at++)
            if (memcmp(words[i] + at, *p, *n) == 0)
                return true;
    return false;
}

/* A token that begins or ends what is thought, or is of it. */
static bool is_thought(lmf_candidate *c, int32_t id, lmf_status *status)
{
    const lmf_constraints *all = &c->g->server->constraints;
    lmf_fresh fresh;
    *status = LMF_OK;
    if (!c->g->shape->thought || all->think_open < 0)
        return false;
    if (!c->thinks && id == all->think_open && c->n_tok == 1)
        return c->thinks = c->thought_once = true;
    if (!c->thinks)
        return false;
    if (id == all->think_close) {
        c->thinks = false;
        *status = lmf_text_stream_end(&c->thoughts, &c->thought, &fresh);
    } else {
        *status = lmf_text_stream_push(&c->thoughts, c->g->server->model->tokenizer, id, &c->thought, &fresh);
    }
    return true;
}

static lmf_status push_token(lmf_candidate *c, int32_t id, bool is_prompt)
{
    const lmf_generation *g = c->g;
    const lmf_tokenizer *t = g->server->model->tokenizer;
    const uint8_t *p;
    size_t n = 0;
    lmf_fresh fresh;
    if (is_prompt && lmf_tokenizer_kind(t, id) == LMF_TOKEN_CONTROL && (p = lmf_tokenizer_piece(t, id, &n)))
        return lmf_text_stream_push_bytes(&c->stream, p, n, &c->text, &fresh);
    if (is_of_form(g, id, &p, &n))
        return lmf_text_stream_push_bytes(&c->stream, p, n, &c->text, &fresh);
    return lmf_text_stream_push(&c->stream, t, id, &c->text, &fresh);
}

/* The prompt into the text; stop texts are looked for behind it. */
static lmf_status echo_token(lmf_candidate *c, int32_t id, int32_t i_tok)
{
    const lmf_generation *g = c->g;
    if (i_tok == 0 && g->part[c->index / g->r.n].bos_added)
        return LMF_OK;
    c->stream.n_stops = 0;
    lmf_status s = push_token(c, id, true);
    c->stream.n_stops = g->r.n_stops;
    return s;
}

static lmf_status take_token(lmf_candidate *c, const lmf_job_event *ev)
{
    const lmf_token *t = &ev->token;
    lmf_fresh fresh;
    if (t->id >= 0 && t->i_tok < c->g->part[c->index / c->g->r.n].n_prompt) {
        note_logprob(c, ev);
        LMF_TRY(echo_token(c, t->id, t->i_tok));
    } else if (t->id >= 0) {
        lmf_server *s = c->g->server;
        int64_t now = lmf__now_us();
        lmf_histogram_add(c->last_us ? &s->next_token : &s->first_token, now - (c->last_us ? c->last_us : c->g->begun_us));
        c->first_us = c->first_us ? c->first_us : now;
        c->last_us = now;
        c->n_tok++;
        s->n_answer_tok++;
        lmf__tenant_count(c->g->tenant, c->g->created, 0, 1);
        if (c->pending && t->finish != LMF_FINISH_STOP)
            note_logprob(c, ev);
        lmf_status thought;
        if (t->finish != LMF_FINISH_STOP) {
            if (is_thought(c, t->id, &thought))
                c->n_thought_tok++;
            else
                thought = push_token(c, t->id, false);
            LMF_TRY(thought);
        }
    }
    if (t->finish && c->stream.i_stop < 0)
        LMF_TRY(lmf_text_stream_end(&c->stream, &c->text, &fresh));
    if (t->finish && c->thinks)
        LMF_TRY(lmf_text_stream_end(&c->thoughts, &c->thought, &fresh));
    if (c->stream.i_stop >= 0 || t->finish == LMF_FINISH_STOP)
        c->finish = "stop";
    else if (t->finish == LMF_FINISH_LENGTH)
        c->finish = "length";
    return LMF_OK;
}

void lmf__generation_take(lmf_part *part, const lmf_job_event *ev)
{
    lmf_generation *g = part->g;
    lmf_candidate *c = &g->choice[(part - g->part) * g->r.n + ev->answer];
    c->started_us = ev->started_us ? ev->started_us : c->started_us;
    part->n_cached = ev->answer == 0 && ev->n_cached > part->n_cached ? ev->n_cached : part->n_cached;
    if (g->x && !c->finish) {
        bool over = ev->failure || ev->token.finish == LMF_FINISH_CANCELLED;
        lmf_status status = over ? LMF_OK : take_token(c, ev);
        if (!over && !status && g->r.stream && !g->x->streams)
            lmf__stream_begin(g->x, g->shape->lines);
        if (over)
            fail(g, !ev->failure ? 503 : ev->failure == LMF_E_LIMIT || ev->failure == LMF_E_ARG ? 400 : 500,
                 ev->failure ? ev->why : "the server is going down"); /* 400: the form that was asked for can't be followed on */
        else if (status)
            fail(g, 500, lmf_status_text(status));
        else if (g->shape->embeds)
            g->n_open -= c->finish != NULL;
        else
            show_certain(c);
        if (g->x && c->guard_failed) {
            lmf_fault why;
            lmf__refuse_status(&why, g->server->ctx, LMF_E_INTERNAL, NULL);
            fail(g, 500, why.message);
        }
        if (c->finish && !ev->token.finish) /* by a stop text */
            lmf_job_end(part->job, ev->answer);
        if (g->x && g->n_open == 0)
            complete(g);
    }
    if (ev->last) {
        lmf_fault f;
        lmf_job_destroy(part->job);
        part->job = NULL;
        if (g->x && g->n_begun < g->n_parts && !submit(g, &f))
            fail(g, f.status, f.message);
        if (--g->n_jobs == 0)
            lmf__generation_destroy(g);
    }
}
