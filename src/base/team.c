/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the barrier is generation-counted. A worker that arrives last resets the count before it publishes the
 * new generation, so a fast worker can enter the next barrier while slow ones still leave this one. */
#include "base/team.h"
#include <limits.h>
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

struct lmf_team {
    meeting     meet;
    lmf_ctx    *ctx;
    void       *block;      /* what was allocated: the team itself lies on a cache line in it */
    size_t      block_bytes;
    int         n_workers;
    lmf_team_fn fn;
    void       *arg;
#ifdef LMF_TEAM_PTHREAD
    atomic_uint run;        /* counts up at each lmf_team_run; UINT_MAX ends the threads */
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    int         n_threads;
    pthread_t   thread[256];
#endif
};

enum { SPIN_NS = 20000 };

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
    size_t bytes = sizeof(lmf_team) + 63;
    void *block = lmf_alloc(ctx, bytes);
    if (!block)
        return LMF_NO_MEMORY(ctx, bytes, "the worker team");
    lmf_team *team = (lmf_team *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    team->ctx = ctx;
    team->block = block;
    team->block_bytes = bytes;
    team->n_workers = n_workers;
    lmf_status s = start_threads(team);
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
    stop_threads(team);
    lmf_free(team->ctx, team->block, team->block_bytes);
}
