/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler: the thread that steps an engine, and the queue in front of it. A job is a prompt with one answer or several; each answer is a
 * session of its own from the moment there is room for it until it ends.
 *
 *     lmf_scheduler_opts o = lmf_scheduler_opts_default();
 *     o.on_event = event, o.on_step = step, o.user = server;
 *     LMF_TRY(lmf_scheduler_create(engine, &o, &sched));
 *     LMF_TRY(lmf_scheduler_submit(sched, &job_opts, &job));      // events of the job come until one has last set
 *     lmf_job_end(job, LMF_JOB_ALL);                              // the client has gone; its last event still comes
 *     lmf_job_destroy(job);                                       // after the last event
 *
 * Every answer of a job that was submitted ends with exactly one event that has token.finish or a failure; the last of them has last set.
 * Owner: borrows the engine, which nobody else may step or make sessions on meanwhile; a job belongs to who submitted it. Threads: on_event
 * and on_step are called on the stepping thread, without a lock; all else may be called by any thread, on_event's included. */
#ifndef LMF_INFER_SCHEDULER_H
#define LMF_INFER_SCHEDULER_H
#include "infer/engine.h"

enum { LMF_JOB_MAX_ANSWERS = 32, LMF_JOB_ALL = -1, LMF_JOB_MAX_TOP = 20 };

typedef struct lmf_scheduler lmf_scheduler;
typedef struct lmf_job lmf_job;

typedef struct lmf_job_event {
    void      *user;             /* of the job */
    int32_t    answer;           /* which of the job's */
    bool       last;             /* nothing more comes of this job */
    lmf_token  token;            /* finish CANCELLED with id -1: it was ended from outside */
    int64_t    started_us;       /* when it left the queue, by CLOCK_MONOTONIC; 0: it did not */
    int32_t    n_cached;         /* tokens of the prompt that were found computed */
    int32_t    n_top;
    int32_t    top[LMF_JOB_MAX_TOP];      /* likeliest tokens at its place, likeliest first */
    float      top_logp[LMF_JOB_MAX_TOP];
    lmf_status failure;          /* the answer ended with it; there is no token then */
    char       why[256];         /* the sentence */
} lmf_job_event;

typedef struct lmf_scheduler_opts {
    size_t struct_bytes;         /* sizeof(lmf_scheduler_opts) */
    int32_t max_queue;           /* answers that may wait; 0: 4 times what the engine runs at once */
    void (*on_event)(void *user, const lmf_job_event *ev);
    void (*on_step)(void *user); /* after the events of a step; NULL: none */
    void *user;
} lmf_scheduler_opts;
lmf_scheduler_opts lmf_scheduler_opts_default(void);

typedef struct lmf_job_opts {
    size_t struct_bytes;         /* sizeof(lmf_job_opts) */
    const int32_t *prompt; int32_t n_prompt; /* copied */
    int32_t adapter;             /* slot; -1: the base alone */
    uint64_t salt;               /* what is computed is shared among jobs of the same salt (lmf_session_opts) */
    int32_t n;                   /* answers, 1 to LMF_JOB_MAX_ANSWERS; answer i has the seed gen.seed + i */
    void *const *grammar;        /* [n], of each answer, instead of gen.grammar; NULL: none. Each must live until the last event */
    lmf_gen_opts gen;
    void *user;
    float *embed;                /* instead of an answer the mean of lmf_session_embed; must live until the last event. NULL: an answer */
} lmf_job_opts;
lmf_job_opts lmf_job_opts_default(void);

typedef struct lmf_scheduler_info {
    int32_t n_queued, max_queue, n_live; /* answers */
    int64_t n_done, n_failed, n_ended;   /* answers since create: by themselves, by failure, from outside */
} lmf_scheduler_info;

typedef struct lmf_scheduler_call { /* the caller's storage, which must live until fn has run or the scheduler is destroyed */
    void (*fn)(void *user);
    void  *user;
    struct lmf_scheduler_call *next; /* the scheduler's */
} lmf_scheduler_call;

lmf_status lmf_scheduler_create(lmf_engine *e, const lmf_scheduler_opts *opts, lmf_scheduler **out);
void       lmf_scheduler_destroy(lmf_scheduler *s); /* ends all answers, gives their events, joins the thread. NULL is fine */
/* LMF_E_BUSY: the queue is full. LMF_E_LIMIT: prompt and one token don't fit in the context, or the cache never has room. LMF_E_ARG: no
 * prompt, n out of range. What the engine refuses later comes as a failure. */
lmf_status lmf_scheduler_submit(lmf_scheduler *s, const lmf_job_opts *opts, lmf_job **out);
void       lmf_scheduler_get_info(lmf_scheduler *s, lmf_scheduler_info *out);
/* Ends one answer, or LMF_JOB_ALL, before the next step; one that has ended stays as it is. */
void       lmf_job_end(lmf_job *j, int answer);
/* fn runs on the stepping thread between two steps, where it may change the engine as who steps it may; calls run in their order. One that
 * has not run when the scheduler is destroyed never does. */
void       lmf_scheduler_run(lmf_scheduler *s, lmf_scheduler_call *call);
void       lmf_job_destroy(lmf_job *j);             /* after its last event, also after the scheduler. NULL is fine */

#endif
