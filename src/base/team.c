/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the barrier is generation-counted. A worker that arrives last resets the count before it publishes the
 * new generation, so a fast worker can enter the next barrier while slow ones still leave this one.
 * Steps: the number of a step that was published is the claim on its parts: part i of step s is claimed by raising claimed[i] from s to s + 1,
 * which can succeed once, and only while s is not done. A worker that lost its processor finds its claim taken and goes on with today's step. */
#include "base/team.h"
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifndef LMF_TEAM_PTHREAD
#include <omp.h>
#endif

typedef struct meeting {
    _Alignas(64) atomic_uint n_arrived;
    _Alignas(64) atomic_uint generation;
    atomic_uint n_asleep;
} meeting;

typedef struct part {
    _Alignas(64) atomic_uint claimed;   /* the first step whose part i is free */
    atomic_int   patience_ns;           /* worker i's: how long it waits for others to claim before it helps */
    lmf_team    *team;
    pthread_t    thread;                /* of worker i > 0 */
} part;

typedef struct stairs {
    _Alignas(64) atomic_uint step;      /* counts up over all runs */
    atomic_uint n_asleep;
    _Alignas(64) atomic_uint n_done;    /* parts of this step */
    atomic_uint  end;
    unsigned     first;
    lmf_step_fn  fn;
    void        *arg;
    _Alignas(64) atomic_uint n_opened;  /* runs that the helpers are asked to; odd: none will come any more */
    atomic_uint n_idle;                 /* helpers asleep */
} stairs;

struct lmf_team {
    meeting     meet;
    stairs      stairs;
    lmf_ctx    *ctx;
    void       *block;      /* what was allocated: the team itself lies on a cache line in it */
    size_t      block_bytes;
    int         n_workers, n_helpers;
    lmf_team_fn fn;
    void       *arg;
#ifdef LMF_TEAM_PTHREAD
    atomic_uint run;        /* counts up at each lmf_team_run; UINT_MAX ends the threads */
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    int         n_threads;
    pthread_t   thread[256];
#endif
    part        part[];     /* [n_workers] */
};

enum { SPIN_NS = 20000, PATIENCE_NS = 4000, IDLE_SPIN_NS = 50000 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex(atomic_uint *word, int op, unsigned value)
{
    syscall(SYS_futex, (unsigned *)word, op, value, NULL, NULL, 0);
}

static void meet(meeting *m, unsigned n)
{
    unsigned gen = atomic_load_explicit(&m->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&m->n_arrived, 1, memory_order_acq_rel) + 1 == n) {
        atomic_store_explicit(&m->n_arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&m->generation, gen + 1, memory_order_seq_cst);
        if (atomic_load_explicit(&m->n_asleep, memory_order_seq_cst))
            futex(&m->generation, FUTEX_WAKE_PRIVATE, INT_MAX);
        return;
    }
    int64_t until = 0;
    for (int i = 1; atomic_load_explicit(&m->generation, memory_order_acquire) == gen; i++) {
        relax();
        if (i % 64)
            continue;
        int64_t t = now_ns();
        if (!until) {
            until = t + SPIN_NS;
        } else if (t > until) {
            atomic_fetch_add_explicit(&m->n_asleep, 1, memory_order_seq_cst);
            while (atomic_load_explicit(&m->generation, memory_order_seq_cst) == gen)
                futex(&m->generation, FUTEX_WAIT_PRIVATE, gen);
            atomic_fetch_sub_explicit(&m->n_asleep, 1, memory_order_seq_cst);
            return;
        }
    }
}

void lmf_team_barrier(lmf_team *team)
{
    if (team->n_workers > 1)
        meet(&team->meet, (unsigned)team->n_workers);
}

/* ---- steps ---- */

static bool run_part(lmf_team *team, unsigned step, int i)
{
    stairs *st = &team->stairs;
    unsigned expected = step;
    if (!atomic_compare_exchange_strong_explicit(&team->part[i].claimed, &expected, step + 1, memory_order_acq_rel, memory_order_relaxed))
        return false;
    st->fn(st->arg, (int)(step - st->first), i, team->n_workers);
    if (atomic_fetch_add_explicit(&st->n_done, 1, memory_order_acq_rel) + 1 == (unsigned)team->n_workers) {
        atomic_store_explicit(&st->n_done, 0, memory_order_relaxed);
        atomic_store_explicit(&st->step, step + 1, memory_order_seq_cst);
        if (atomic_load_explicit(&st->n_asleep, memory_order_seq_cst))
            futex(&st->step, FUTEX_WAKE_PRIVATE, INT_MAX);
    }
    return true;
}

static bool is_claimed(lmf_team *team, unsigned step)
{
    for (int i = 0; i < team->n_workers; i++)
        if (atomic_load_explicit(&team->part[i].claimed, memory_order_relaxed) == step)
            return false;
    return true;
}

/* A part of the step whose worker has not come. */
static bool help(lmf_team *team, unsigned step, int me)
{
    for (int k = 1; k < team->n_workers; k++) {
        int i = (me + k) % team->n_workers;
        if (atomic_load_explicit(&team->part[i].claimed, memory_order_relaxed) == step && run_part(team, step, i))
            return true;
    }
    return false;
}

static void sleep_until_done(stairs *st, unsigned step)
{
    atomic_fetch_add_explicit(&st->n_asleep, 1, memory_order_seq_cst);
    while (atomic_load_explicit(&st->step, memory_order_seq_cst) == step)
        futex(&st->step, FUTEX_WAIT_PRIVATE, step);
    atomic_fetch_sub_explicit(&st->n_asleep, 1, memory_order_seq_cst);
}

/* Until the step is done, or a part of it was done here. Who had to help once helps at once, until all come by themselves again. */
static void wait_or_help(lmf_team *team, unsigned step, int me)
{
    stairs *st = &team->stairs;
    atomic_int *patience = &team->part[me].patience_ns;
    int64_t begin = 0;
    bool all = is_claimed(team, step);
    if (all)
        atomic_store_explicit(patience, PATIENCE_NS, memory_order_relaxed);
    for (int i = 1; atomic_load_explicit(&st->step, memory_order_acquire) == step; i++) {
        if (!all && atomic_load_explicit(patience, memory_order_relaxed) == 0 && help(team, step, me))
            return;
        relax();
        if (i % 32)
            continue;
        int64_t now = now_ns();
        begin = begin ? begin : now;
        if (!all && now - begin >= atomic_load_explicit(patience, memory_order_relaxed) && help(team, step, me)) {
            atomic_store_explicit(patience, 0, memory_order_relaxed);
            return;
        }
        all = all || is_claimed(team, step);
        if (all && now - begin > SPIN_NS) {
            sleep_until_done(st, step);
            return;
        }
    }
}

static void walk_steps(void *arg, int me, int n_workers)
{
    lmf_team *team = arg;
    stairs *st = &team->stairs;
    (void)n_workers;
    for (;;) {
        unsigned step = atomic_load_explicit(&st->step, memory_order_acquire);
        if ((int)(step - atomic_load_explicit(&st->end, memory_order_acquire)) >= 0)
            return;
        if (!run_part(team, step, me))
            wait_or_help(team, step, me);
    }
}

/* A helper may come late, when the run is over or another has begun: claims tell, and nothing else of a run is looked at before one is won. */
static void *helper_main(void *p)
{
    part *own = p;
    lmf_team *team = own->team;
    stairs *st = &team->stairs;
    for (unsigned seen = 0;;) {
        unsigned now = atomic_load_explicit(&st->n_opened, memory_order_acquire);
        int64_t begin = 0;
        for (int i = 1; now == seen; i++, now = atomic_load_explicit(&st->n_opened, memory_order_acquire)) {
            relax();
            if (i % 64)
                continue;
            int64_t t = now_ns();
            begin = begin ? begin : t;
            if (t - begin < IDLE_SPIN_NS)
                continue;
            atomic_fetch_add_explicit(&st->n_idle, 1, memory_order_seq_cst);
            while (atomic_load_explicit(&st->n_opened, memory_order_seq_cst) == seen)
                futex(&st->n_opened, FUTEX_WAIT_PRIVATE, seen);
            atomic_fetch_sub_explicit(&st->n_idle, 1, memory_order_seq_cst);
        }
        if (now & 1)
            return NULL;
        seen = now;
        walk_steps(team, (int)(own - team->part), team->n_workers);
    }
}

static void open_run(lmf_team *team, unsigned add)
{
    atomic_fetch_add_explicit(&team->stairs.n_opened, add, memory_order_seq_cst);
    if (atomic_load_explicit(&team->stairs.n_idle, memory_order_seq_cst))
        futex(&team->stairs.n_opened, FUTEX_WAKE_PRIVATE, INT_MAX);
}

static lmf_status start_helpers(lmf_team *team)
{
    static const int faults[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL };
    /* Signals are the business of the caller's threads, but for what a thread brings on itself: blocked, that kills at once. */
    sigset_t all, before;
    int e = 0;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (int i = 1; i < team->n_workers && !e; i++) {
        team->part[i].team = team;
        e = pthread_create(&team->part[i].thread, NULL, helper_main, &team->part[i]);
        team->n_helpers += !e;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (e)
        return LMF_FAIL(team->ctx, LMF_E_LIMIT, "the system refused worker thread %d of %d; lower --threads", team->n_helpers + 1, team->n_workers);
    return LMF_OK;
}

static void stop_helpers(lmf_team *team)
{
    open_run(team, 1);
    for (int i = 1; i <= team->n_helpers; i++)
        pthread_join(team->part[i].thread, NULL);
}

void lmf_team_run_steps(lmf_team *team, int n_steps, lmf_step_fn fn, void *arg, bool in_region)
{
    stairs *st = &team->stairs;
    if (team->n_workers == 1) {
        for (int i = 0; i < n_steps; i++)
            fn(arg, i, 0, 1);
        return;
    }
    st->first = atomic_load(&st->step);
    st->fn = fn;
    st->arg = arg;
    atomic_store_explicit(&st->end, st->first + (unsigned)n_steps, memory_order_release);
    if (in_region) {
        lmf_team_run(team, walk_steps, team);
    } else {
        open_run(team, 2);
        walk_steps(team, 0, team->n_workers);
    }
}

int lmf_team_size(const lmf_team *team) { return team->n_workers; }

#ifdef LMF_TEAM_PTHREAD
const char *lmf_team_kind(void) { return "pthread"; }

typedef struct start { lmf_team *team; int i; } start;

static void *worker_main(void *p)
{
    start *s = p;
    lmf_team *team = s->team;
    int i = s->i;
    lmf_free(team->ctx, s, sizeof *s);
    for (unsigned seen = 0;;) {
        pthread_mutex_lock(&team->lock);
        while (atomic_load(&team->run) == seen)
            pthread_cond_wait(&team->wake, &team->lock);
        seen = atomic_load(&team->run);
        pthread_mutex_unlock(&team->lock);
        if (seen == UINT_MAX)
            return NULL;
        team->fn(team->arg, i, team->n_workers);
        meet(&team->meet, (unsigned)team->n_workers);
    }
}

static void publish(lmf_team *team, unsigned run)
{
    pthread_mutex_lock(&team->lock);
    atomic_store(&team->run, run);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

static lmf_status start_threads(lmf_team *team)
{
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->wake, NULL);
    for (int i = 1; i < team->n_workers; i++) {
        start *s = lmf_new(team->ctx, start);
        if (!s)
            return LMF_NO_MEMORY(team->ctx, sizeof *s, "a worker thread");
        *s = (start){ team, i };
        int e = pthread_create(&team->thread[i], NULL, worker_main, s);
        if (e) {
            lmf_delete(team->ctx, s);
            return LMF_FAIL(team->ctx, LMF_E_LIMIT, "the system refused worker thread %d of %d; lower --threads", i, team->n_workers);
        }
        team->n_threads = i;
    }
    return LMF_OK;
}

static void stop_threads(lmf_team *team)
{
    publish(team, UINT_MAX);
    for (int i = 1; i <= team->n_threads; i++)
        pthread_join(team->thread[i], NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
}

void lmf_team_run(lmf_team *team, lmf_team_fn fn, void *arg)
{
    if (team->n_workers == 1) {
        fn(arg, 0, 1);
        return;
    }
    team->fn = fn;
    team->arg = arg;
    unsigned next = atomic_load(&team->run) + 1;
    publish(team, next == UINT_MAX ? 1 : next);
    fn(arg, 0, team->n_workers);
    meet(&team->meet, (unsigned)team->n_workers);
}
#else
const char *lmf_team_kind(void) { return "openmp"; }

static lmf_status start_threads(lmf_team *team) { (void)team; return LMF_OK; }
static void stop_threads(lmf_team *team) { (void)team; }

void lmf_team_run(lmf_team *team, lmf_team_fn fn, void *arg)
{
    int n = team->n_workers;
    if (n == 1) {
        fn(arg, 0, 1);
        return;
    }
    omp_set_dynamic(0); /* a barrier of n workers needs all n */
#pragma omp parallel num_threads(n)
    {
        LMF_ASSERT(omp_get_num_threads() == n);
        fn(arg, omp_get_thread_num(), n);
    }
}
#endif

lmf_status lmf_team_create(lmf_ctx *ctx, int n_workers, lmf_team **out)
{
    *out = NULL;
    if (n_workers < 1 || n_workers > 256)
        return LMF_FAIL(ctx, LMF_E_ARG, "a team has 1 to 256 workers, not %d", n_workers);
    size_t bytes = sizeof(lmf_team) + (size_t)n_workers * sizeof(part) + 63;
    void *block = lmf_alloc(ctx, bytes);
    if (!block)
        return LMF_NO_MEMORY(ctx, bytes, "the worker team");
    lmf_team *team = (lmf_team *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    team->ctx = ctx;
    team->block = block;
    team->block_bytes = bytes;
    team->n_workers = n_workers;
    for (int i = 0; i < n_workers; i++)
        atomic_init(&team->part[i].patience_ns, PATIENCE_NS);
    lmf_status s = start_helpers(team);
    if (!s)
        s = start_threads(team);
    if (s) {
        lmf_team_destroy(team);
        return s;
    }
    *out = team;
    return LMF_OK;
}

void lmf_team_destroy(lmf_team *team)
{
    if (!team)
        return;
    stop_helpers(team);
    stop_threads(team);
    lmf_free(team->ctx, team->block, team->block_bytes);
}
