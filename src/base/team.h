/* SPDX-License-Identifier: Apache-2.0 */
/* team: a fixed number of workers that run one function together and meet at barriers. OpenMP in what ships
 * (oneDNN brings libgomp anyway), pthreads where LMF_TEAM_PTHREAD is defined (TSan, wasm): same interface.
 * A barrier spins about 20 us, then sleeps. Nothing else in the tree includes omp.h.
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
