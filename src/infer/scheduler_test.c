/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs by the hundred from several threads: each answer is what its prompt alone gives, ends once, and leaves nothing behind. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "infer/engine_test.h"
#include "infer/scheduler.h"

enum { PROMPT = 20, NEW = 12, N_JOBS = 60, MAX_N = 3 };

typedef struct record { lmf_job *job; int32_t tok[MAX_N][NEW]; int n[MAX_N], n_ends[MAX_N], n_failed; atomic_int over; } record;
typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_engine *e; lmf_scheduler *s; record *r; } fixture;

static void on_event(void *user, const lmf_job_event *ev)
{
    record *r = ev->user;
    (void)user;
    if (ev->token.id >= 0 && r->n[ev->answer] < NEW)
        r->tok[ev->answer][r->n[ev->answer]++] = ev->token.id;
    r->n_failed += ev->failure != LMF_OK;
    if (ev->failure || ev->token.finish)
        r->n_ends[ev->answer]++;
    if (ev->last)
        atomic_store(&r->over, 1);
}

static void setup(fixture *f, int slots, int queue)
{
    *f = (fixture){ .ctx = lmf_test_ctx() };
    f->m = tiny_open(f->ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    o.max_seqs = slots, o.prefill_chunk = 16, o.compute = 0, o.cache_tok = 2 * TINY_CONTEXT;
    assert_ok(f->ctx, lmf_engine_create(f->ctx, f->m, &o, &f->e));
    lmf_scheduler_opts so = lmf_scheduler_opts_default();
    so.on_event = on_event, so.max_queue = queue;
    assert_ok(f->ctx, lmf_scheduler_create(f->e, &so, &f->s));
    f->r = lmf_alloc(f->ctx, N_JOBS * sizeof *f->r);
    assert_non_null(f->r);
}

static void teardown(fixture *f)
{
    lmf_scheduler_destroy(f->s);
    for (int i = 0; i < N_JOBS; i++)
        lmf_job_destroy(f->r[i].job);
    lmf_free(f->ctx, f->r, N_JOBS * sizeof *f->r);
    lmf_engine_destroy(f->e);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

static lmf_status submit(fixture *f, int k, int n, int max_tok)
{
    int32_t prompt[PROMPT];
    lmf_job_opts o = lmf_job_opts_default();
    tiny_prompt(prompt, k, PROMPT);
    o.prompt = prompt, o.n_prompt = PROMPT, o.n = n, o.user = &f->r[k];
    o.gen.max_tok = max_tok, o.gen.ignore_eos = true, o.gen.temperature = 1, o.gen.seed = (uint64_t)k;
    return lmf_scheduler_submit(f->s, &o, &f->r[k].job);
}

static void until_over(record *r)
{
    for (int i = 0; !atomic_load(&r->over); i++) {
        assert_true(i < 30000);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static void idle(fixture *f)
{
    lmf_engine_info info;
    lmf_scheduler_info q;
    lmf_engine_get_info(f->e, &info);
    lmf_scheduler_get_info(f->s, &q);
    assert_int_equal(info.n_sessions, 0);
    assert_int_equal(info.n_pages_free, info.n_pages);
    assert_int_equal(info.n_pages_reserved, 0);
    assert_int_equal(q.n_queued + q.n_live, 0);
}

/* The same on a session of its own, stepped here. */
static void check_alone(fixture *f, lmf_engine *e, int k, int answer)
{
    int32_t prompt[PROMPT];
    lmf_token tok[NEW];
    lmf_session *s;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = NEW, gen.ignore_eos = true, gen.temperature = 1, gen.seed = (uint64_t)(k + answer);
    tiny_prompt(prompt, k, PROMPT);
    assert_ok(f->ctx, lmf_session_create(e, NULL, &s));
    assert_ok(f->ctx, lmf_session_append(s, prompt, PROMPT, NULL));
    assert_ok(f->ctx, lmf_session_generate(s, &gen));
    run_all(f->ctx, e);
    assert_int_equal(read_all(f->ctx, s, tok, NEW), NEW);
    for (int i = 0; i < NEW; i++)
        assert_int_equal(tok[i].id, f->r[k].tok[answer][i]);
    lmf_session_destroy(s);
}

static void many(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 4, 200);
    for (int k = 0; k < N_JOBS; k++)
        assert_ok(f.ctx, submit(&f, k, 1 + k % MAX_N, NEW));
    lmf_engine *e = tiny_engine(f.ctx, f.m, 1, 16, 16);
    for (int k = 0; k < N_JOBS; k++) {
        until_over(&f.r[k]);
        assert_int_equal(f.r[k].n_failed, 0);
        for (int i = 0; i < 1 + k % MAX_N; i++) {
            assert_int_equal(f.r[k].n_ends[i], 1);
            assert_int_equal(f.r[k].n[i], NEW);
            check_alone(&f, e, k, i);
        }
    }
    lmf_engine_destroy(e);
    idle(&f);
    teardown(&f);
}

static void ended(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 2, 200);
    for (int k = 0; k < N_JOBS; k++)
        assert_ok(f.ctx, submit(&f, k, 1 + k % MAX_N, 200));
    for (int k = N_JOBS - 1; k >= 0; k -= 1) /* from behind: most have never begun */
        lmf_job_end(f.r[k].job, k % 2 ? LMF_JOB_ALL : 0);
    for (int k = 0; k < N_JOBS; k += 2)
        lmf_job_end(f.r[k].job, LMF_JOB_ALL);
    for (int k = 0; k < N_JOBS; k++) {
        until_over(&f.r[k]);
        for (int i = 0; i < 1 + k % MAX_N; i++)
            assert_int_equal(f.r[k].n_ends[i], 1);
    }
    idle(&f);
    teardown(&f);
}

static void refusals(void **state)
{
    (void)state;
    fixture f;
    int32_t tok[TINY_CONTEXT] = { 0 };
    lmf_job *j;
    setup(&f, 1, 2);
    assert_ok(f.ctx, submit(&f, 0, 1, 250));
    for (lmf_engine_info info = { 0 }; !info.n_running; lmf_engine_get_info(f.e, &info))
        ;
    assert_ok(f.ctx, submit(&f, 1, 2, 4));
    assert_int_equal(submit(&f, 2, 1, 4), LMF_E_BUSY);
    assert_int_equal(submit(&f, 2, 3, 4), LMF_E_LIMIT); /* more than the queue ever holds */
    lmf_job_opts o = lmf_job_opts_default();
    o.prompt = tok, o.n_prompt = TINY_CONTEXT;
    assert_int_equal(lmf_scheduler_submit(f.s, &o, &j), LMF_E_LIMIT);
    o.n_prompt = 0;
    assert_int_equal(lmf_scheduler_submit(f.s, &o, &j), LMF_E_ARG);
    lmf_job_end(f.r[0].job, LMF_JOB_ALL);
    until_over(&f.r[0]);
    until_over(&f.r[1]);
    o.n_prompt = 1, o.gen.top_p = 2, o.user = &f.r[3]; /* the engine's own refusals come as failures */
    assert_ok(f.ctx, lmf_scheduler_submit(f.s, &o, &f.r[3].job));
    until_over(&f.r[3]);
    assert_int_equal(f.r[3].n_failed, 1);
    idle(&f);
    teardown(&f);
}

/* Destroying a scheduler ends what it has, and every job gets its last event. */
static void destroyed(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 2, 200);
    for (int k = 0; k < 20; k++)
        assert_ok(f.ctx, submit(&f, k, 2, 200));
    lmf_scheduler_destroy(f.s);
    f.s = NULL;
    for (int k = 0; k < 20; k++)
        assert_int_equal(atomic_load(&f.r[k].over), 1);
    teardown(&f);
}

LMF_TESTS(scheduler) = { { "each answer is its prompt's alone", many }, { "answers that are ended, queued or not, end once", ended },
                         { "a full queue, and what never fits", refusals }, { "destroy ends all", destroyed }, { 0 } };
