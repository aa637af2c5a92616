/* SPDX-License-Identifier: Apache-2.0 */
/* team: a fixed number of workers that run one function together and meet at barriers, or do the parts of steps. Regions are OpenMP's in
 * what ships (oneDNN brings libgomp anyway), pthreads' where LMF_TEAM_PTHREAD is defined (TSan, wasm): same interface. Steps have
 * threads of their own, which the caller need not wait for.
 * Who waits spins about 20 us, then sleeps. Nothing else in the tree includes omp.h.
 *
 * Work that is cut by barriers anyway runs as steps: on a machine that others use too a worker loses its processor for milliseconds, and
 * at a barrier all others wait for it. A step's parts are claimed instead: each worker takes its own first; a part whose worker does
 * not come is done by another. So one worker alone can go on, and only a part that was begun is waited for.
 * Threads: one lmf_team_run at a time on a team. */
#ifndef LMF_BASE_TEAM_H
#define LMF_BASE_TEAM_H
#include "base/ctx.h"

typedef struct lmf_team lmf_team;
typedef void (*lmf_team_fn)(void *arg, int i_worker, int n_workers);

lmf_status lmf_team_create(lmf_ctx *ctx, int n_workers, lmf_team **out); /* 1 .. 256 workers, the caller is worker 0 */
void       lmf_team_destroy(lmf_team *team);                             /* NULL is fine */
int        lmf_team_size(const lmf_team *team);
void       lmf_team_run(lmf_team *team, lmf_team_fn fn, void *arg);      /* returns when every worker has */
void       lmf_team_barrier(lmf_team *team);                             /* inside fn, by every worker */
/* fn(arg, i_step, i_part, n_parts) for each part of each step, n_parts the size of the team: all parts of a step end before any of the next
 * begins. Which thread runs a part is open; the parts, and so the bits of what they compute, are not. fn meets at no barriers.
 * in_region: libgomp's threads do it, for work that takes turns with regions of libgomp: its threads spin for milliseconds behind each. */
typedef void (*lmf_step_fn)(void *arg, int i_step, int i_part, int n_parts);
void       lmf_team_run_steps(lmf_team *team, int n_steps, lmf_step_fn fn, void *arg, bool in_region);
const char *lmf_team_kind(void);                                         /* "openmp" or "pthread" */

/* The part of [0, n) that worker i of n_workers takes, in multiples of grain (the last part takes the rest). */
static inline void lmf_split(int64_t n, int64_t grain, int i, int n_workers, int64_t *begin, int64_t *end)
{
    int64_t units = (n + grain - 1) / grain, each = units / n_workers, more = units % n_workers;
    int64_t b = i * each + (i < more ? i : more), e = b + each + (i < more);
    *begin = b * grain < n ? b * grain : n;
    *end = e * grain < n ? e * grain : n;
}

#endif
