/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sessions and the list of live answers are the stepping thread's alone; the lock guards the queue and the counters, and is held
 * neither during a step nor while on_event runs. */
#include "infer/scheduler.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "infer/engine_impl.h"

struct lmf_job {
    lmf_ctx         *ctx;         /* it may outlive its owner */
    lmf_scheduler   *owner;
    lmf_job         *next;        /* in the queue */
    int32_t         *prompt, n_prompt, adapter, n;
    uint64_t         salt;
    lmf_gen_opts     gen;
    void            *grammar[LMF_JOB_MAX_ANSWERS];
    void            *user;
    float           *embed;       /* NULL: answers are written */
    atomic_uint      ended;       /* bit i: answer i is to end */
    int32_t          n_started, n_finished; /* of n; the stepping thread's */
};

typedef struct live { lmf_session *session; lmf_job *job; int32_t answer; int64_t started_us; } live;

struct lmf_scheduler {
    lmf_ctx           *ctx;
    lmf_engine        *engine;
    lmf_scheduler_opts o;
    lmf_engine_info    fixed;     /* of create: sizes */
    pthread_t          thread;
    live              *live;      /* [max_seqs], oldest first */
    int32_t            n_live;
    pthread_mutex_t    lock;      /* all below */
    lmf_job           *first, *last;
    lmf_scheduler_call *calls;    /* oldest first */
    bool               stop;
    lmf_scheduler_info info;
};

lmf_scheduler_opts lmf_scheduler_opts_default(void) { return (lmf_scheduler_opts){ .struct_bytes = sizeof(lmf_scheduler_opts) }; }
lmf_job_opts lmf_job_opts_default(void)
{
    return (lmf_job_opts){ .struct_bytes = sizeof(lmf_job_opts), .adapter = -1, .n = 1, .gen = lmf_gen_opts_default() };
}

/* ---- the stepping thread ---- */

static bool is_ended(const lmf_job *j, int32_t answer) { return atomic_load(&j->ended) >> answer & 1; }

/* An event that ends an answer. */
static void finish(lmf_scheduler *s, lmf_job *j, lmf_job_event *ev)
{
    pthread_mutex_lock(&s->lock);
    int64_t *n = ev->failure ? &s->info.n_failed : ev->token.finish == LMF_FINISH_CANCELLED ? &s->info.n_ended : &s->info.n_done;
    ++*n;
    s->info.n_live = s->n_live;
    pthread_mutex_unlock(&s->lock);
    ev->last = ++j->n_finished == j->n;
    s->o.on_event(s->o.user, ev); /* j may be destroyed now */
}

static void finish_early(lmf_scheduler *s, lmf_job *j, int32_t answer, lmf_status failure)
{
    lmf_job_event ev = { .user = j->user, .answer = answer, .token = { -1, 0, LMF_FINISH_CANCELLED, -1 }, .failure = failure };
    if (failure) {
        pthread_mutex_lock(&s->ctx->lock); /* another thread may write the next sentence */
        snprintf(ev.why, sizeof ev.why, "%.255s", lmf_error_here(s->ctx)->text);
        pthread_mutex_unlock(&s->ctx->lock);
    }
    finish(s, j, &ev);
}

/* The session goes first: who hears of the end finds its place free. */
static void remove_live(lmf_scheduler *s, int32_t i)
{
    lmf_session_destroy(s->live[i].session);
    memmove(s->live + i, s->live + i + 1, (size_t)(--s->n_live - i) * sizeof *s->live);
}

static void drop_ended(lmf_scheduler *s)
{
    for (int32_t i = s->n_live - 1; i >= 0; i--) {
        live l = s->live[i];
        if (is_ended(l.job, l.answer)) {
            remove_live(s, i);
            finish_early(s, l.job, l.answer, LMF_OK);
        }
    }
}

/* LMF_E_BUSY: not now. */
static lmf_status start(lmf_scheduler *s, lmf_job *j, int32_t answer)
{
    lmf_session *session;
    lmf_gen_opts gen = j->gen;
    gen.seed += (uint64_t)answer;
    gen.grammar = j->grammar[answer];
    LMF_TRY(lmf_session_create(s->engine, &(lmf_session_opts){ sizeof(lmf_session_opts), j->adapter, j->salt }, &session));
    lmf_status status;
    if (j->embed)
        status = lmf_session_embed(session, j->prompt, j->n_prompt, j->embed);
    else if (!(status = lmf_session_append(session, j->prompt, j->n_prompt, NULL)))
        status = lmf_session_generate(session, &gen);
    if (status) {
        lmf_session_destroy(session);
        return status;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    s->live[s->n_live++] = (live){ session, j, answer, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000 };
    return LMF_OK;
}

static lmf_job *head(lmf_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    lmf_job *j = s->first;
    pthread_mutex_unlock(&s->lock);
    return j; /* only the stepping thread takes jobs out */
}

/* Takes the head's next answer out of the queue; with the job's last one the job. */
static void take(lmf_scheduler *s, lmf_job *j)
{
    pthread_mutex_lock(&s->lock);
    s->info.n_queued--;
    s->info.n_live = s->n_live;
    if (++j->n_started == j->n) {
        s->first = j->next;
        if (!s->first)
            s->last = NULL;
    }
    pthread_mutex_unlock(&s->lock);
}

static void admit(lmf_scheduler *s)
{
    for (lmf_job *j; s->n_live < s->fixed.max_seqs && (j = head(s));) {
        int32_t answer = j->n_started;
        bool ended = is_ended(j, answer);
        lmf_status status = ended ? LMF_OK : start(s, j, answer);
        if (status == LMF_E_BUSY && s->n_live)
            return; /* the cache is full; an answer that ends makes room */
        take(s, j);
        if (status || ended)
            finish_early(s, j, answer, status);
    }
}

/* Those behind the head whose clients have gone need not wait for their turn. */
static void drop_ended_in_queue(lmf_scheduler *s)
{
    lmf_job *gone = NULL;
    pthread_mutex_lock(&s->lock);
    s->last = NULL;
    for (lmf_job **at = &s->first; *at;) {
        lmf_job *j = *at;
        unsigned all = (unsigned)((UINT64_C(1) << j->n) - 1), started = (unsigned)((UINT64_C(1) << j->n_started) - 1);
        if ((atomic_load(&j->ended) | started) == all) {
            *at = j->next;
            s->info.n_queued -= j->n - j->n_started;
            j->next = gone;
            gone = j;
        } else {
            s->last = j;
            at = &j->next;
        }
    }
    pthread_mutex_unlock(&s->lock);
    for (lmf_job *next; gone; gone = next) {
        next = gone->next;
        for (int32_t n = gone->n - gone->n_started; n > 0; n--) { /* with the last event the job may be gone */
            int32_t answer = gone->n_started++;
            finish_early(s, gone, answer, LMF_OK);
        }
    }
}

/* Whether the answer has ended. */
static bool read_one(lmf_scheduler *s, int32_t i)
{
    lmf_token tok[16];
    int n;
    live l = s->live[i];
    do {
        lmf_status status = lmf_session_read(l.session, tok, 16, &n);
        if (status) {
            remove_live(s, i);
            finish_early(s, l.job, l.answer, status);
            return true;
        }
        for (int k = 0; k < n; k++) {
            lmf_job_event ev = { .user = l.job->user, .answer = l.answer, .token = tok[k], .started_us = l.started_us,
                                 .n_cached = lmf_session_n_cached(l.session) };
            if (tok[k].id >= 0 && l.job->gen.n_top)
                ev.n_top = lmf_session_top(l.session, tok[k].i_tok, ev.top, ev.top_logp, LMF_JOB_MAX_TOP);
            if (tok[k].finish) {
                remove_live(s, i);
                finish(s, l.job, &ev);
                return true;
            }
            s->o.on_event(s->o.user, &ev);
        }
    } while (n == 16);
    return false;
}

static void run_calls(lmf_scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    lmf_scheduler_call *call = s->calls;
    s->calls = NULL;
    pthread_mutex_unlock(&s->lock);
    for (lmf_scheduler_call *next; call; call = next) {
        next = call->next;
        call->fn(call->user); /* call may be gone now */
    }
}

static void *run(void *p)
{
    lmf_scheduler *s = p;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        bool stop = s->stop;
        if (stop)
            for (lmf_job *j = s->first; j; j = j->next)
                atomic_store(&j->ended, UINT32_MAX >> (32 - j->n));
        pthread_mutex_unlock(&s->lock);
        for (int32_t i = 0; stop && i < s->n_live; i++)
            lmf_job_end(s->live[i].job, LMF_JOB_ALL);
        drop_ended(s);
        drop_ended_in_queue(s);
        if (!stop)
            run_calls(s);
        admit(s);
        if (s->o.on_step)
            s->o.on_step(s->o.user);
        if (stop)
            return NULL;
        int n;
        if (!lmf_engine_wait(s->engine, -1))
            continue;
        lmf_status status = lmf_engine_step(s->engine, &n); /* a failure ends the sessions that were in the step */
        for (int32_t i = s->n_live - 1; i >= 0; i--)
            if (!read_one(s, i) && status) {
                live l = s->live[i];
                remove_live(s, i);
                finish_early(s, l.job, l.answer, status);
            }
        if (s->o.on_step)
            s->o.on_step(s->o.user);
    }
}

/* ---- any thread ---- */

lmf_status lmf_scheduler_create(lmf_engine *e, const lmf_scheduler_opts *opts, lmf_scheduler **out)
{
    lmf_ctx *ctx = e->ctx;
    lmf_scheduler_opts o = lmf_scheduler_opts_default();
    *out = NULL;
    LMF_TRY(lmf_opts_take(ctx, "lmf_scheduler_opts", &o, opts, sizeof o));
    if (o.max_queue < 0 || !o.on_event)
        return LMF_FAIL(ctx, LMF_E_ARG, "max_queue is %d, it must not be negative; and on_event must be given", o.max_queue);
    lmf_scheduler *s = lmf_new(ctx, lmf_scheduler);
    if (!s)
        return LMF_NO_MEMORY(ctx, sizeof *s, "a scheduler");
    s->ctx = ctx, s->engine = e, s->o = o;
    lmf_engine_get_info(e, &s->fixed);
    s->info.max_queue = o.max_queue ? o.max_queue : 4 * s->fixed.max_seqs;
    pthread_mutex_init(&s->lock, NULL);
    s->live = lmf_alloc(ctx, (size_t)s->fixed.max_seqs * sizeof *s->live);
    lmf_status status = s->live ? LMF_OK : LMF_NO_MEMORY(ctx, (size_t)s->fixed.max_seqs * sizeof *s->live, "the scheduler's list");
    if (!status && pthread_create(&s->thread, NULL, run, s))
        status = LMF_FAIL(ctx, LMF_E_LIMIT, "the system gives no further thread");
    if (status) {
        lmf_free(ctx, s->live, (size_t)s->fixed.max_seqs * sizeof *s->live);
        pthread_mutex_destroy(&s->lock);
        lmf_delete(ctx, s);
        return status;
    }
    *out = s;
    return LMF_OK;
}

void lmf_scheduler_destroy(lmf_scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_mutex_unlock(&s->lock);
    lmf_engine_wake(s->engine);
    pthread_join(s->thread, NULL);
    lmf_free(s->ctx, s->live, (size_t)s->fixed.max_seqs * sizeof *s->live);
    pthread_mutex_destroy(&s->lock);
    lmf_delete(s->ctx, s);
}

static lmf_status check_job(const lmf_scheduler *s, const lmf_job_opts *o)
{
    int64_t cache = (int64_t)s->fixed.n_pages * s->fixed.page_size;
    if (o->n < 1 || o->n > LMF_JOB_MAX_ANSWERS || o->n_prompt < 1)
        return LMF_FAIL(s->ctx, LMF_E_ARG, "a job has %d answers (1 to %d) and %d tokens of prompt (1 or more)", o->n,
            LMF_JOB_MAX_ANSWERS, o->n_prompt);
    if (o->n_prompt >= s->fixed.context)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "the prompt has %d tokens; with an answer, the context of %d tokens does not hold it",
            o->n_prompt,
                        s->fixed.context);
    if (o->n > s->info.max_queue)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "%d answers are asked for at once; the queue holds %d", o->n, s->info.max_queue);
    int64_t room = s->fixed.context - o->n_prompt, n = o->gen.max_tok < room ? o->gen.max_tok : room;
    if (o->n_prompt + n - 1 > cache)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "the prompt has %d tokens, its answer up to %lld; the cache holds %lld", o->n_prompt,
            (long long)n,
                        (long long)cache);
    return LMF_OK;
}

static void push(lmf_scheduler *s, lmf_job *j)
{
    if (s->last)
        s->last->next = j;
    else
        s->first = j;
    s->last = j;
    s->info.n_queued += j->n;
}

lmf_status lmf_scheduler_submit(lmf_scheduler *s, const lmf_job_opts *opts, lmf_job **out)
{
    lmf_job_opts o = lmf_job_opts_default();
    *out = NULL;
    LMF_TRY(lmf_opts_take(s->ctx, "lmf_job_opts", &o, opts, sizeof o));
    LMF_TRY(check_job(s, &o));
    lmf_job *j = lmf_new(s->ctx, lmf_job);
    if (!j)
        return LMF_NO_MEMORY(s->ctx, sizeof *j, "a job");
    *j = (lmf_job){ .ctx = s->ctx, .owner = s, .n_prompt = o.n_prompt, .adapter = o.adapter, .salt = o.salt, .n = o.n,
                    .gen = o.gen, .user = o.user, .embed = o.embed };
    for (int32_t i = 0; i < o.n; i++)
        j->grammar[i] = o.grammar ? o.grammar[i] : o.gen.grammar;
    j->prompt = lmf_alloc(s->ctx, (size_t)o.n_prompt * sizeof *j->prompt);
    lmf_status status = j->prompt ? LMF_OK : LMF_NO_MEMORY(s->ctx, (size_t)o.n_prompt * sizeof *j->prompt, "a prompt");
    if (!status)
        memcpy(j->prompt, o.prompt, (size_t)o.n_prompt * sizeof *j->prompt);
    pthread_mutex_lock(&s->lock);
    if (!status && (s->stop || s->info.n_queued + j->n > s->info.max_queue))
        status = LMF_E_BUSY;
    if (!status)
        push(s, j);
    int n_queued = s->info.n_queued;
    pthread_mutex_unlock(&s->lock);
    if (status == LMF_E_BUSY)
        LMF_FAIL(s->ctx, status, "%d answers wait already; try again later", n_queued);
    if (status) {
        lmf_job_destroy(j);
        return status;
    }
    *out = j;
    lmf_engine_wake(s->engine);
    return LMF_OK;
}

void lmf_scheduler_run(lmf_scheduler *s, lmf_scheduler_call *call)
{
    call->next = NULL;
    pthread_mutex_lock(&s->lock);
    lmf_scheduler_call **at = &s->calls;
    while (*at)
        at = &(*at)->next;
    *at = call;
    pthread_mutex_unlock(&s->lock);
    lmf_engine_wake(s->engine);
}

void lmf_scheduler_get_info(lmf_scheduler *s, lmf_scheduler_info *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->info;
    pthread_mutex_unlock(&s->lock);
}

void lmf_job_end(lmf_job *j, int answer)
{
    atomic_fetch_or(&j->ended, answer == LMF_JOB_ALL ? UINT32_MAX >> (32 - j->n) : 1u << answer);
    lmf_engine_wake(j->owner->engine);
}

void lmf_job_destroy(lmf_job *j)
{
    if (!j)
        return;
    lmf_ctx *ctx = j->ctx;
    lmf_free(ctx, j->prompt, (size_t)j->n_prompt * sizeof *j->prompt);
    lmf_delete(ctx, j);
}

