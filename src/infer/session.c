/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: everything here holds the engine's lock; a session that waits or runs is changed by the stepping thread alone (engine.c), but
 * for its flag `cancelled`. */
#include <math.h>
#include <string.h>
#include "infer/engine_impl.h"
#include "ops/sample/sample.h"

void lmf__cond_init(pthread_cond_t *c)
{
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(c, &a);
    pthread_condattr_destroy(&a);
}

const struct timespec *lmf__deadline(struct timespec *t, int timeout_ms)
{
    if (timeout_ms < 0)
        return NULL;
    clock_gettime(CLOCK_MONOTONIC, t);
    t->tv_sec += timeout_ms / 1000;
    t->tv_nsec += timeout_ms % 1000 * 1000000L;
    if (t->tv_nsec >= 1000000000)
        t->tv_sec++, t->tv_nsec -= 1000000000;
    return t;
}

bool lmf__cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, const struct timespec *until)
{
    return until ? pthread_cond_timedwait(c, lock, until) == 0 : pthread_cond_wait(c, lock) == 0;
}

static int32_t pages_for(const lmf_engine *e, int32_t n_tok) { return (n_tok + e->page_size - 1) / e->page_size; }

void lmf__session_drop_kv(lmf_session *s, int32_t n)
{
    lmf_pages *p = &s->e->pages;
    int32_t size = s->e->page_size;
    if (n >= s->n_kv)
        return;
    if (n % size && (p->refs[s->page[n / size]] > 1 || lmf__page_is_kept(p, s->page[n / size])))
        n -= n % size; /* would have to be written, and another session reads it */
    s->n_kv = n;
    s->n_kept = s->n_kept < n / size ? s->n_kept : n / size;
    while (s->n_pages > pages_for(s->e, n))
        lmf__pages_release(p, s->page[--s->n_pages]);
}

static lmf_prefix_space space_of(const lmf_session *s) { return (lmf_prefix_space){ s->adapter, s->salt }; }

void lmf__session_find_prefix(lmf_session *s)
{
    lmf_pages *p = &s->e->pages;
    if (!p->kept || s->score || s->n_scored < s->n_prompt)
        return;
    while (s->n_kv == s->n_kept * p->size && s->n_pages == s->n_kept && s->n_kv + p->size < s->n_tok) {
        int32_t page = lmf__prefix_find(p, space_of(s), s->n_kept ? s->page[s->n_kept - 1] : -1, s->tok + s->n_kv);
        if (page < 0)
            break;
        lmf__pages_retain(p, page);
        s->page[s->n_pages++] = page;
        s->n_kept++;
        s->n_kv += p->size;
        if (s->n_tok == s->n_prompt) /* not after it gave way */
            s->n_cached += p->size, s->e->n_cached_tok += p->size;
    }
}

void lmf__session_keep_prefix(lmf_session *s)
{
    lmf_pages *p = &s->e->pages;
    for (; p->kept && (s->n_kept + 1) * p->size <= s->n_kv; s->n_kept++)
        s->page[s->n_kept] = lmf__prefix_keep(p, space_of(s), s->n_kept ? s->page[s->n_kept - 1] : -1, s->page[s->n_kept],
                                              s->tok + s->n_kept * p->size);
}

static void leave_running(lmf_session *s)
{
    lmf_engine *e = s->e;
    int i = 0;
    while (e->running[i] != s)
        i++;
    memmove(e->running + i, e->running + i + 1, (size_t)(e->n_running - i - 1) * sizeof *e->running);
    e->n_running--;
}

void lmf__session_preempt(lmf_session *s)
{
    lmf_engine *e = s->e;
    leave_running(s);
    while (s->n_pages) /* from the last: see cache.c */
        lmf__pages_release(&e->pages, s->page[--s->n_pages]);
    s->n_kv = s->n_kept = 0;
    s->state = LMF_SESSION_WAITING;
    s->next_waiting = e->first_waiting;
    e->first_waiting = s;
    if (!e->last_waiting)
        e->last_waiting = s;
    e->n_waiting++;
    e->n_preempted++;
}

void lmf__sessions_forget(lmf_engine *e, int32_t adapter)
{
    lmf__prefix_forget(&e->pages, adapter);
    for (lmf_session *s = e->sessions; s; s = s->next)
        if (s->adapter == adapter) {
            s->n_again = s->state == LMF_SESSION_IDLE || e->elastic ? 0 : s->n_pages;
            lmf__session_drop_kv(s, 0);
            s->n_again -= s->n_again ? s->n_pages : 0;
        }
    for (lmf_session *s = e->sessions; s; s = s->next) {
        if (s->adapter != adapter || !s->n_again)
            continue;
        if (lmf__pages_reserve(&e->pages, s->n_again)) {
            s->n_reserved += s->n_again;
        } else {
            lmf__session_end(s, LMF_FINISH_CANCELLED, LMF_E_LIMIT);
            s->failure_text = "the adapter changed, and the cache has no room to compute all answers anew, for they no longer share pages";
        }
        s->n_again = 0;
    }
}

void lmf__session_end(lmf_session *s, int32_t finish, lmf_status failure)
{
    lmf_engine *e = s->e;
    if (s->slot >= 0)
        e->slot_used[s->slot] = false;
    s->slot = -1;
    if (s->state == LMF_SESSION_RUNNING) {
        leave_running(s);
    } else if (s->state == LMF_SESSION_WAITING) {
        lmf_session **at = &e->first_waiting, *before = NULL;
        for (; *at != s; at = &(*at)->next_waiting)
            before = *at;
        *at = s->next_waiting;
        if (e->last_waiting == s)
            e->last_waiting = before;
        e->n_waiting--;
    }
    lmf__pages_unreserve(&e->pages, s->n_reserved);
    s->n_reserved = 0;
    s->state = LMF_SESSION_IDLE;
    s->score = NULL;
    s->finish = finish;
    s->failure = failure;
    s->failure_text = NULL;
    s->finish_pending = true;
    pthread_cond_signal(&s->news);
}

lmf_status lmf_session_create(lmf_engine *e, const lmf_session_opts *opts, lmf_session **out)
{
    *out = NULL;
    lmf_session_opts o = { sizeof o, -1, 0 };
    LMF_TRY(lmf_opts_take(e->ctx, "lmf_session_opts", &o, opts, sizeof o));
    int32_t adapter = o.adapter;
    if (adapter < -1 || adapter >= (e->adapters.set ? e->adapters.n_slots : 0) || (adapter >= 0 && !e->adapters.name[adapter][0]))
        return LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "no adapter is loaded in slot %d", adapter);
    lmf_session *s = lmf_new(e->ctx, lmf_session);
    if (!s)
        return LMF_NO_MEMORY(e->ctx, sizeof *s, "a session");
    s->e = e;
    s->slot = -1;
    s->adapter = adapter;
    s->salt = o.salt;
    lmf__cond_init(&s->news);
    s->tok = lmf_alloc(e->ctx, (size_t)e->context * sizeof *s->tok);
    s->logp = lmf_alloc(e->ctx, (size_t)e->context * sizeof *s->logp);
    s->page = lmf_alloc(e->ctx, (size_t)e->seq_pages * sizeof *s->page);
    pthread_mutex_lock(&e->lock);
    s->next = e->sessions;
    if (s->next)
        s->next->prev = s;
    e->sessions = s;
    e->n_sessions++;
    pthread_mutex_unlock(&e->lock);
    if (!s->tok || !s->logp || !s->page) {
        lmf_session_destroy(s);
        return LMF_NO_MEMORY(e->ctx, (size_t)e->context * 8, "a session's tokens");
    }
    *out = s;
    return LMF_OK;
}

static void drop_tops(lmf_session *s)
{
    size_t n = (size_t)s->n_top_tok * (size_t)s->gen.n_top;
    lmf_free(s->e->ctx, s->top, n * sizeof *s->top);
    lmf_free(s->e->ctx, s->top_logp, n * sizeof *s->top_logp);
    s->top = NULL;
    s->top_logp = NULL;
}

void lmf_session_destroy(lmf_session *s)
{
    if (!s)
        return;
    lmf_engine *e = s->e;
    pthread_mutex_lock(&e->lock);
    while (s->in_flight)
        pthread_cond_wait(&e->landed, &e->lock);
    lmf__session_end(s, LMF_FINISH_CANCELLED, LMF_OK);
    while (s->n_pages)
        lmf__pages_release(&e->pages, s->page[--s->n_pages]);
    if (s->prev)
        s->prev->next = s->next;
    else
        e->sessions = s->next;
    if (s->next)
        s->next->prev = s->prev;
    e->n_sessions--;
    pthread_mutex_unlock(&e->lock);
    drop_tops(s);
    pthread_cond_destroy(&s->news);
    lmf_free(e->ctx, s->tok, (size_t)e->context * sizeof *s->tok);
    lmf_free(e->ctx, s->logp, (size_t)e->context * sizeof *s->logp);
    lmf_free(e->ctx, s->page, (size_t)e->seq_pages * sizeof *s->page);
    lmf_delete(e->ctx, s);
}

static lmf_status busy(lmf_session *s)
{
    return s->state == LMF_SESSION_IDLE ? LMF_OK : LMF_FAIL(s->e->ctx, LMF_E_BUSY, "the session is still working; wait for its answer or cancel it");
}

static lmf_status append(lmf_session *s, const int32_t *tok, int n)
{
    lmf_engine *e = s->e;
    LMF_TRY(busy(s));
    if (n < 0 || n > e->context - s->n_tok)
        return LMF_FAIL(e->ctx, LMF_E_LIMIT, "%d more tokens after %d do not fit in a context of %d tokens", n, s->n_tok, e->context);
    for (int i = 0; i < n; i++)
        if (tok[i] < 0 || tok[i] >= e->vocab)
            return LMF_FAIL(e->ctx, LMF_E_ARG, "token %d is not in the vocabulary of %d", tok[i], e->vocab);
    drop_tops(s);
    memcpy(s->tok + s->n_tok, tok, (size_t)n * sizeof *tok);
    s->n_tok += n;
    s->n_read = s->n_tok;
    s->n_prompt = s->n_scored = 0;
    return LMF_OK;
}

lmf_status lmf_session_append(lmf_session *s, const int32_t *tok, int n, int *n_cached)
{
    pthread_mutex_lock(&s->e->lock);
    if (n_cached)
        *n_cached = s->n_kv;
    lmf_status status = append(s, tok, n);
    pthread_mutex_unlock(&s->e->lock);
    return status;
}

/* Reserves the pages of all tokens that will be computed, and queues. */
static lmf_status enqueue(lmf_session *s, int32_t n_computed)
{
    lmf_engine *e = s->e;
    int32_t need = pages_for(e, n_computed);
    if (need > e->pages.n)
        return LMF_FAIL(e->ctx, LMF_E_LIMIT, "%d tokens need %d pages, the cache has %d", n_computed, need, e->pages.n);
    lmf__session_drop_kv(s, s->n_tok - 1); /* the last token's row is what the next one is read from */
    need = e->elastic ? 0 : need > s->n_pages ? need - s->n_pages : 0;
    if (!lmf__pages_reserve(&e->pages, need))
        return LMF_FAIL(e->ctx, LMF_E_BUSY, "the cache is full: %d pages are needed, %d are free; destroy or finish other sessions first", need,
                        e->pages.n_free - e->pages.n_reserved);
    s->n_reserved = need;
    s->finish_pending = false;
    s->failure = LMF_OK;
    s->n_read = s->n_tok;
    atomic_store(&s->cancelled, false);
    s->state = LMF_SESSION_WAITING;
    s->next_waiting = NULL;
    if (e->last_waiting)
        e->last_waiting->next_waiting = s;
    else
        e->first_waiting = s;
    e->last_waiting = s;
    e->n_waiting++;
    pthread_cond_signal(&e->work);
    return LMF_OK;
}

lmf_gen_opts lmf_gen_opts_default(void)
{
    return (lmf_gen_opts){ .struct_bytes = sizeof(lmf_gen_opts), .max_tok = 256, .top_p = 1, .repetition_penalty = 1 };
}

static lmf_status check_gen(lmf_ctx *ctx, int32_t vocab, const lmf_gen_opts *o)
{
    if (o->max_tok < 0 || o->top_k < 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "max_tok %d and top_k %d must not be negative", o->max_tok, o->top_k);
    if (!(o->temperature >= 0) || !isfinite(o->temperature))
        return LMF_FAIL(ctx, LMF_E_ARG, "temperature %g must be 0 or more", (double)o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1) || !(o->min_p >= 0 && o->min_p <= 1))
        return LMF_FAIL(ctx, LMF_E_ARG, "top_p %g must be above 0 and at most 1, min_p %g from 0 to 1", (double)o->top_p, (double)o->min_p);
    if (!(o->repetition_penalty > 0) || !isfinite(o->repetition_penalty))
        return LMF_FAIL(ctx, LMF_E_ARG, "repetition_penalty %g must be above 0", (double)o->repetition_penalty);
    if (!isfinite(o->presence_penalty) || !isfinite(o->frequency_penalty))
        return LMF_FAIL(ctx, LMF_E_ARG, "presence_penalty and frequency_penalty must be numbers");
    if (o->n_bias < 0 || o->n_bias > LMF_GEN_MAX_BIAS)
        return LMF_FAIL(ctx, LMF_E_ARG, "n_bias is %d, it must lie from 0 to %d", o->n_bias, LMF_GEN_MAX_BIAS);
    for (int32_t i = 0; i < o->n_bias; i++)
        if (o->bias_token[i] < 0 || o->bias_token[i] >= vocab || !isfinite(o->bias[i]))
            return LMF_FAIL(ctx, LMF_E_ARG, "bias %d is of token %d, which is not in the vocabulary of %d, or is no number", i,
                            o->bias_token[i], vocab);
    if (o->n_top < 0 || o->n_top > LMF_SAMPLE_MAX_TOP)
        return LMF_FAIL(ctx, LMF_E_ARG, "n_top is %d, it must lie from 0 to %d", o->n_top, LMF_SAMPLE_MAX_TOP);
    return LMF_OK;
}

/* Room for the likeliest of n tokens from begin on. */
static lmf_status make_tops(lmf_session *s, int32_t begin, int32_t n_tok, int32_t n_top)
{
    size_t n = (size_t)n_tok * (size_t)n_top;
    s->n_top_tok = n_tok;
    s->top_begin = begin;
    if (n == 0)
        return LMF_OK;
    s->top = lmf_alloc(s->e->ctx, n * sizeof *s->top);
    s->top_logp = lmf_alloc(s->e->ctx, n * sizeof *s->top_logp);
    return s->top && s->top_logp ? LMF_OK : LMF_NO_MEMORY(s->e->ctx, n * 8, "the likeliest tokens of an answer");
}

static lmf_status generate(lmf_session *s, const lmf_gen_opts *opts)
{
    lmf_engine *e = s->e;
    LMF_TRY(busy(s));
    lmf_gen_opts o = lmf_gen_opts_default();
    LMF_TRY(lmf_opts_take(e->ctx, "lmf_gen_opts", &o, opts, sizeof o));
    LMF_TRY(check_gen(e->ctx, e->vocab, &o));
    if (s->n_tok == 0)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "there is nothing to answer: the session has no tokens");
    int32_t room = e->context - s->n_tok;
    if (o.max_tok > 0 && room == 0)
        return LMF_FAIL(e->ctx, LMF_E_LIMIT, "the context of %d tokens is full; rewind, or create the engine with a longer one", e->context);
    int32_t n_new = o.max_tok < room ? o.max_tok : room;
    if (o.grammar && !e->make_mask)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without a maker of masks, so it can't follow a grammar");
    drop_tops(s);
    s->gen = o;
    int32_t first = o.echo ? 1 : s->n_tok;
    lmf_status status = make_tops(s, first, s->n_tok + n_new - first, o.n_top);
    if (!status && o.echo)
        lmf__session_drop_kv(s, 0);
    if (!status)
        status = enqueue(s, s->n_tok + n_new - 1);
    if (status) {
        drop_tops(s);
        return status;
    }
    s->score = NULL;
    s->pools = false;
    s->end = s->n_tok + n_new;
    s->n_prompt = s->n_tok;
    s->n_asked = -1;
    s->n_scored = o.echo ? 1 : s->n_tok;
    s->logp[0] = o.echo ? 0 : s->logp[0];
    s->n_cached = 0;
    s->draft_trust = s->draft_back = s->draft_wait = 0;
    lmf__session_find_prefix(s);
    s->n_read = o.echo ? 0 : s->n_tok;
    return LMF_OK;
}

lmf_status lmf_session_generate(lmf_session *s, const lmf_gen_opts *opts)
{
    pthread_mutex_lock(&s->e->lock);
    lmf_status status = generate(s, opts);
    pthread_mutex_unlock(&s->e->lock);
    return status;
}

static lmf_status score(lmf_session *s, const int32_t *tok, int n, float *logp)
{
    lmf_engine *e = s->e;
    if (e->score_graph < 0)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without opts.score");
    if (n < 1)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "there are no tokens to score");
    int32_t begin = s->n_tok;
    LMF_TRY(append(s, tok, n));
    if (begin > 0)
        lmf__session_drop_kv(s, begin - 1); /* the row that the first scored token is read from */
    lmf_status status = enqueue(s, s->n_tok - 1);
    if (status) {
        s->n_tok = s->n_read = begin;
        return status;
    }
    logp[0] = 0;
    s->score = logp;
    s->pools = false;
    s->score_begin = begin;
    s->end = s->n_tok;
    return LMF_OK;
}

lmf_status lmf_session_score(lmf_session *s, const int32_t *tok, int n, float *logp)
{
    pthread_mutex_lock(&s->e->lock);
    lmf_status status = score(s, tok, n, logp);
    pthread_mutex_unlock(&s->e->lock);
    return status;
}

static lmf_status embed(lmf_session *s, const int32_t *tok, int n, float *mean)
{
    lmf_engine *e = s->e;
    if (e->embed_graph < 0)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without opts.embed");
    if (n < 1 || s->n_tok)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "a mean is taken over one token or more, in a session that has none yet");
    LMF_TRY(append(s, tok, n));
    lmf_status status = enqueue(s, s->n_tok);
    if (status) {
        s->n_tok = s->n_read = 0;
        return status;
    }
    s->score = mean;
    s->pools = true;
    s->end = s->n_tok + 1; /* so that the last token is computed, too */
    return LMF_OK;
}

lmf_status lmf_session_embed(lmf_session *s, const int32_t *tok, int n, float *mean)
{
    pthread_mutex_lock(&s->e->lock);
    lmf_status status = embed(s, tok, n, mean);
    pthread_mutex_unlock(&s->e->lock);
    return status;
}

/* Tokens that may be read: with echo those of the prompt as their log-probabilities come. */
static int32_t n_ready(const lmf_session *s) { return s->n_scored < s->n_prompt ? s->n_scored : s->n_tok; }

lmf_status lmf_session_read(lmf_session *s, lmf_token *buf, int cap, int *n)
{
    lmf_engine *e = s->e;
    lmf_status status = LMF_OK;
    *n = 0;
    pthread_mutex_lock(&e->lock);
    for (; *n < cap && s->n_read < n_ready(s); s->n_read++)
        buf[(*n)++] = (lmf_token){ s->tok[s->n_read], s->logp[s->n_read], LMF_FINISH_NONE, s->n_read };
    bool all = s->n_read == n_ready(s);
    if (all && s->failure && *n == 0) {
        status = LMF_FAIL(e->ctx, s->failure, "the answer failed: %s", s->failure_text ? s->failure_text : lmf_status_text(s->failure));
        s->failure = LMF_OK;
        s->finish_pending = false;
    } else if (all && s->finish_pending && !s->failure) {
        bool own = s->finish == LMF_FINISH_CANCELLED || *n == 0;
        if (!own || *n < cap) {
            if (own)
                buf[(*n)++] = (lmf_token){ -1, 0, s->finish, -1 };
            else
                buf[*n - 1].finish = s->finish;
            s->finish_pending = false;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return status;
}

/* What read would give something for. */
static bool has_news(const lmf_session *s) { return s->n_read < n_ready(s) || s->failure || s->finish_pending; }

bool lmf_session_wait(lmf_session *s, int timeout_ms)
{
    struct timespec t;
    const struct timespec *until = lmf__deadline(&t, timeout_ms);
    pthread_mutex_lock(&s->e->lock);
    while (!has_news(s) && s->state != LMF_SESSION_IDLE && lmf__cond_wait(&s->news, &s->e->lock, until))
        ;
    bool news = has_news(s);
    pthread_mutex_unlock(&s->e->lock);
    return news;
}

int lmf_session_top(lmf_session *s, int i_tok, int32_t *id, float *logp, int cap)
{
    int n = 0;
    pthread_mutex_lock(&s->e->lock);
    if (s->top && i_tok >= s->top_begin && i_tok < s->n_tok && i_tok - s->top_begin < s->n_top_tok)
        for (const int32_t *top = s->top + (ptrdiff_t)(i_tok - s->top_begin) * s->gen.n_top; n < cap && n < s->gen.n_top && top[n] >= 0; n++) {
            id[n] = top[n];
            logp[n] = s->top_logp[(ptrdiff_t)(i_tok - s->top_begin) * s->gen.n_top + n];
        }
    pthread_mutex_unlock(&s->e->lock);
    return n;
}

lmf_status lmf_session_fork(lmf_session *s, lmf_session **child)
{
    lmf_engine *e = s->e;
    lmf_session *c;
    LMF_TRY(lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), s->adapter, s->salt }, child));
    c = *child;
    pthread_mutex_lock(&e->lock);
    memcpy(c->tok, s->tok, (size_t)s->n_tok * sizeof *s->tok);
    c->n_tok = c->n_read = s->n_tok;
    c->n_pages = s->n_kv / e->page_size;
    c->n_kv = c->n_pages * e->page_size;
    c->n_kept = s->n_kept < c->n_pages ? s->n_kept : c->n_pages;
    for (int32_t i = 0; i < c->n_pages; i++) {
        c->page[i] = s->page[i];
        lmf__pages_retain(&e->pages, c->page[i]);
    }
    pthread_mutex_unlock(&e->lock);
    return LMF_OK;
}

lmf_status lmf_session_become(lmf_session *s, const int32_t *tok, int n)
{
    int same = 0;
    pthread_mutex_lock(&s->e->lock);
    while (same < n && same < s->n_tok && s->tok[same] == tok[same])
        same++;
    pthread_mutex_unlock(&s->e->lock);
    LMF_TRY(lmf_session_rewind(s, same, NULL));
    return lmf_session_append(s, tok + same, n - same, NULL);
}

lmf_status lmf_session_rewind(lmf_session *s, int n_tok, int *n_kept)
{
    pthread_mutex_lock(&s->e->lock);
    lmf_status status = busy(s);
    if (!status && (n_tok < 0 || n_tok > s->n_tok))
        status = LMF_FAIL(s->e->ctx, LMF_E_ARG, "can't rewind to %d tokens: there are %d", n_tok, s->n_tok);
    if (!status) {
        lmf__session_drop_kv(s, n_tok);
        drop_tops(s);
        s->n_tok = n_tok;
        s->n_prompt = s->n_scored = 0;
        if (s->n_read > n_tok)
            s->n_read = n_tok;
    }
    if (n_kept)
        *n_kept = s->n_kv;
    pthread_mutex_unlock(&s->e->lock);
    return status;
}

void lmf_session_cancel(lmf_session *s) { atomic_store(&s->cancelled, true); }

int lmf_session_n_cached(lmf_session *s)
{
    pthread_mutex_lock(&s->e->lock);
    int n = s->n_cached;
    pthread_mutex_unlock(&s->e->lock);
    return n;
}

bool lmf_session_is_busy(lmf_session *s)
{
    pthread_mutex_lock(&s->e->lock);
    bool is = s->state != LMF_SESSION_IDLE;
    pthread_mutex_unlock(&s->e->lock);
    return is;
}

int lmf_session_n_tok(lmf_session *s)
{
    pthread_mutex_lock(&s->e->lock);
    int n = s->n_tok;
    pthread_mutex_unlock(&s->e->lock);
    return n;
}

int lmf_session_tokens(lmf_session *s, int32_t *tok, int cap)
{
    pthread_mutex_lock(&s->e->lock);
    int n = s->n_tok < cap ? s->n_tok : cap;
    memcpy(tok, s->tok, (size_t)n * sizeof *tok);
    pthread_mutex_unlock(&s->e->lock);
    return n;
}
