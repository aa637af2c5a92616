/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>
#include "infer/engine_test.h"

enum { NEW = 12 };

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_engine *e; } fixture;

static fixture setup(int max_seqs, int page_size)
{
    fixture f = { .ctx = lmf_test_ctx() };
    f.m = tiny_open(f.ctx, "tiny.gguf", NULL);
    f.e = tiny_engine(f.ctx, f.m, max_seqs, 32, page_size);
    return f;
}

/* All sessions are gone by now: every page is free again. */
static void teardown(fixture *f)
{
    lmf_engine_info info;
    lmf_engine_get_info(f->e, &info);
    assert_int_equal(info.n_sessions, 0);
    assert_int_equal(info.n_pages_free, info.n_pages);
    assert_int_equal(info.n_pages_reserved, 0);
    lmf_engine_destroy(f->e);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

static void generate(fixture *f, lmf_session *s, int n)
{
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = n, gen.ignore_eos = true;
    assert_ok(f->ctx, lmf_session_generate(s, &gen));
    run_all(f->ctx, f->e);
}

static void assert_same(const lmf_token *a, const lmf_token *b, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_true(fabsf(a[i].logp - b[i].logp) < 1e-5f);
    }
}

static int pages_used(fixture *f)
{
    lmf_engine_info info;
    lmf_engine_get_info(f->e, &info);
    return info.n_pages - info.n_pages_free;
}

static void fork_shares(void **state)
{
    (void)state;
    fixture f = setup(4, 8);
    lmf_token want[NEW + 1], got[NEW + 1];
    lmf_session *child, *s = start(f.ctx, f.e, 1, 45, NEW, 0);
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, s, want, NEW + 1), NEW);
    /* prompt alone, then two children that answer it: the prompt's five full pages are shared */
    lmf_session *p = start(f.ctx, f.e, 1, 45, 0, 0), *kids[2];
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, p, got, NEW + 1), 1);
    assert_true(got[0].id == -1 && got[0].finish == LMF_FINISH_LENGTH);
    int before = pages_used(&f);
    for (int i = 0; i < 2; i++)
        assert_ok(f.ctx, lmf_session_fork(p, &kids[i]));
    assert_int_equal(pages_used(&f), before);
    for (int i = 0; i < 2; i++) {
        generate(&f, kids[i], NEW);
        assert_int_equal(read_all(f.ctx, kids[i], got, NEW + 1), NEW);
        assert_same(got, want, NEW);
    }
    /* 56 computed tokens: 7 pages, 5 of them the parent's */
    assert_int_equal(pages_used(&f), before + 2 * 2);
    /* a child that goes another way than its parent */
    lmf_session *other, *fresh;
    int32_t tok[65];
    tiny_prompt(tok, 1, 45);
    for (int i = 45; i < 65; i++)
        tok[i] = tiny_token(3, i);
    assert_ok(f.ctx, lmf_session_fork(p, &other));
    assert_ok(f.ctx, lmf_session_append(other, tok + 45, 20, NULL));
    generate(&f, other, 5);
    assert_ok(f.ctx, lmf_session_create(f.e, NULL, &fresh));
    assert_ok(f.ctx, lmf_session_append(fresh, tok, 65, NULL));
    generate(&f, fresh, 5);
    lmf_token mine[NEW];
    assert_int_equal(read_all(f.ctx, other, got, NEW), 5);
    assert_int_equal(read_all(f.ctx, fresh, mine, NEW), 5);
    assert_same(got, mine, 5);
    lmf_session_destroy(other);
    lmf_session_destroy(fresh);
    lmf_session_destroy(p); /* its children keep what they share */
    assert_ok(f.ctx, lmf_session_fork(kids[0], &child));
    generate(&f, kids[0], 5);
    assert_int_equal(read_all(f.ctx, kids[0], want, NEW), 5);
    generate(&f, child, 5);
    assert_int_equal(read_all(f.ctx, child, got, NEW), 5);
    assert_same(got, want, 5);
    lmf_session_destroy(child);
    lmf_session_destroy(kids[0]);
    lmf_session_destroy(kids[1]);
    lmf_session_destroy(s);
    teardown(&f);
}

/* A fork of a session in the middle of its answer does not disturb it. */
static void fork_while_running(void **state)
{
    (void)state;
    fixture f = setup(4, 4);
    lmf_token want[NEW + 1], got[NEW + 1];
    lmf_session *s = start(f.ctx, f.e, 1, 30, NEW, 0), *child, *again;
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, s, want, NEW + 1), NEW);
    again = start(f.ctx, f.e, 1, 30, NEW, 0);
    int live;
    for (int i = 0; i < 5; i++)
        assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    assert_ok(f.ctx, lmf_session_fork(again, &child));
    int known = lmf_session_n_tok(child) - 30;
    assert_true(known > 0 && known < NEW);
    generate(&f, child, NEW - known);
    assert_int_equal(read_all(f.ctx, child, got, NEW + 1), NEW - known);
    assert_same(got, want + known, NEW - known);
    assert_int_equal(read_all(f.ctx, again, got, NEW + 1), NEW);
    assert_same(got, want, NEW);
    lmf_session_destroy(s);
    lmf_session_destroy(again);
    lmf_session_destroy(child);
    teardown(&f);
}

static void rewind_and_append(void **state)
{
    (void)state;
    fixture f = setup(2, 8);
    lmf_token want[NEW + 1], got[NEW + 1];
    int32_t other[50];
    int kept, cached;
    /* what prompt 2 answers after the first 21 tokens of prompt 1 */
    lmf_session *fresh, *s = start(f.ctx, f.e, 1, 60, NEW, 0), *shared;
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, s, got, NEW + 1), NEW);
    tiny_prompt(other, 1, 50);
    for (int i = 21; i < 50; i++)
        other[i] = tiny_token(2, i);
    assert_ok(f.ctx, lmf_session_create(f.e, NULL, &fresh));
    assert_ok(f.ctx, lmf_session_append(fresh, other, 50, &cached));
    assert_int_equal(cached, 0);
    generate(&f, fresh, NEW);
    assert_int_equal(read_all(f.ctx, fresh, want, NEW + 1), NEW);
    /* alone: 21 of the computed tokens are kept; with a fork on the same pages: the 16 of its full pages */
    for (int with_fork = 0; with_fork < 2; with_fork++) {
        if (with_fork)
            assert_ok(f.ctx, lmf_session_fork(s, &shared));
        assert_ok(f.ctx, lmf_session_rewind(s, 21, &kept));
        assert_int_equal(kept, with_fork ? 16 : 21);
        assert_int_equal(lmf_session_n_tok(s), 21);
        assert_ok(f.ctx, lmf_session_append(s, other + 21, 29, &cached));
        assert_int_equal(cached, kept);
        generate(&f, s, NEW);
        assert_int_equal(read_all(f.ctx, s, got, NEW + 1), NEW);
        assert_same(got, want, NEW);
    }
    /* the fork still answers as its parent did */
    assert_int_equal(lmf_session_n_tok(shared), 50 + NEW);
    assert_ok(f.ctx, lmf_session_rewind(shared, 50, NULL));
    generate(&f, shared, NEW);
    assert_int_equal(read_all(f.ctx, shared, got, NEW + 1), NEW);
    assert_same(got, want, NEW);
    assert_refused(f.ctx, LMF_E_ARG, "there are", lmf_session_rewind(shared, 1000, NULL));
    assert_ok(f.ctx, lmf_session_rewind(shared, 0, &kept));
    assert_int_equal(kept, 0);
    lmf_session_destroy(s);
    lmf_session_destroy(fresh);
    lmf_session_destroy(shared);
    teardown(&f);
}

static void cancel(void **state)
{
    (void)state;
    fixture f = setup(1, 8);
    lmf_engine_info info;
    lmf_token tok[NEW];
    int live;
    lmf_session *a = start(f.ctx, f.e, 1, 10, 100, 0), *b = start(f.ctx, f.e, 2, 10, 3, 0);
    for (int i = 0; i < 4; i++)
        assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    lmf_engine_get_info(f.e, &info);
    assert_true(live == 2 && info.n_running == 1 && info.n_waiting == 1);
    lmf_session_cancel(a);
    assert_ok(f.ctx, lmf_engine_step(f.e, &live)); /* one step: a is out, b is in */
    assert_false(lmf_session_is_busy(a));
    assert_true(lmf_session_is_busy(b));
    int n = read_all(f.ctx, a, tok, NEW);
    assert_true(n == 5 && tok[3].finish == LMF_FINISH_NONE && tok[4].id == -1 && tok[4].finish == LMF_FINISH_CANCELLED);
    lmf_session *c = start(f.ctx, f.e, 3, 10, 3, 0);
    lmf_session_cancel(c); /* while it waits */
    assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    assert_int_equal(read_all(f.ctx, c, tok, NEW), 1);
    assert_int_equal(tok[0].finish, LMF_FINISH_CANCELLED);
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, b, tok, NEW), 3);
    generate(&f, a, 2); /* it can go on */
    assert_int_equal(read_all(f.ctx, a, tok, NEW), 2);
    lmf_session_destroy(a);
    lmf_session_destroy(b);
    lmf_session_destroy(c);
    lmf_session *d = start(f.ctx, f.e, 3, 10, 30, 0);
    assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    lmf_session_destroy(d); /* while it runs */
    teardown(&f);
}

static void admission(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_engine *e;
    lmf_session *a, *b;
    lmf_gen_opts gen = lmf_gen_opts_default();
    int32_t tok[TINY_CONTEXT] = { 0 };
    lmf_token out[64];
    o.max_seqs = 2, o.context = 64, o.cache_tok = 80, o.page_size = 16, o.prefill_chunk = 64;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    assert_ok(ctx, lmf_session_create(e, NULL, &a));
    assert_ok(ctx, lmf_session_create(e, NULL, &b));
    assert_refused(ctx, LMF_E_ARG, "no tokens", lmf_session_generate(a, &gen));
    assert_refused(ctx, LMF_E_LIMIT, "do not fit in a context of 64", lmf_session_append(a, tok, 65, NULL));
    assert_refused(ctx, LMF_E_ARG, "not in the vocabulary", lmf_session_append(a, (int32_t[]){ TINY_VOCAB }, 1, NULL));
    assert_ok(ctx, lmf_session_append(a, tok, 30, NULL));
    assert_ok(ctx, lmf_session_append(b, tok, 30, NULL));
    const lmf_gen_opts bad[] = { { .max_tok = -1 }, { .temperature = -1 }, { .temperature = NAN }, { .top_p = -1 }, { .top_p = 1.5f }, { .min_p = 2 },
                                 { .repetition_penalty = -1 }, { .top_k = -2 } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmf_gen_opts g = bad[i];
        g.struct_bytes = sizeof g;
        g.top_p = g.top_p == 0 ? 1 : g.top_p;
        g.repetition_penalty = g.repetition_penalty == 0 ? 1 : g.repetition_penalty;
        assert_int_equal(lmf_session_generate(a, &g), LMF_E_ARG);
    }
    for (int d = -1; d <= 1; d += 2) {
        lmf_gen_opts g = gen;
        lmf_session_opts so = { sizeof so + (size_t)d, -1 };
        lmf_session *none;
        g.struct_bytes += (size_t)d;
        assert_refused(ctx, LMF_E_ARG, "lmf_gen_opts has", lmf_session_generate(a, &g));
        assert_refused(ctx, LMF_E_ARG, "lmf_session_opts has", lmf_session_create(e, &so, &none));
    }
    gen.max_tok = 100, gen.ignore_eos = true; /* cut to the 34 that fit: 63 computed tokens, 4 of 5 pages */
    assert_ok(ctx, lmf_session_generate(a, &gen));
    assert_refused(ctx, LMF_E_BUSY, "the cache is full", lmf_session_generate(b, &gen));
    assert_refused(ctx, LMF_E_BUSY, "still working", lmf_session_append(a, tok, 1, NULL));
    assert_refused(ctx, LMF_E_BUSY, "still work", lmf_engine_refresh(e));
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, a, out, 64), 34);
    assert_refused(ctx, LMF_E_LIMIT, "context of 64 tokens is full", lmf_session_generate(a, &gen));
    lmf_session_destroy(a);
    assert_ok(ctx, lmf_session_generate(b, &gen));
    run_all(ctx, e);
    assert_ok(ctx, lmf_engine_refresh(e));
    lmf_engine_info info;
    lmf_engine_get_info(e, &info);
    assert_int_equal(info.n_pages_free, 5); /* forgotten, the tokens are not */
    assert_int_equal(lmf_session_n_tok(b), 64);
    lmf_session_destroy(b);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* Each of these alone leaves the likeliest token. A step is one for any number of sessions; one without rows is none. */
static void one_likeliest(void **state)
{
    (void)state;
    enum { N = 12 };
    fixture f = setup(2, 16);
    lmf_token out[5][N + 1];
    lmf_session *two[2];
    lmf_engine_info before, after;
    int live, n_steps = 0;
    lmf_gen_opts gen = lmf_gen_opts_default();
    for (int i = 0; i < 5; i++) {
        lmf_session *s;
        gen.temperature = i ? 3 : 0, gen.max_tok = N, gen.ignore_eos = true;
        gen.top_k = i == 1, gen.top_p = i == 2 ? 1e-6f : 1, gen.min_p = i == 3;
        assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s));
        assert_ok(f.ctx, lmf_session_append(s, (int32_t[]){ 65 }, 1, NULL));
        assert_ok(f.ctx, lmf_session_generate(s, &gen));
        run_all(f.ctx, f.e);
        assert_int_equal(read_all(f.ctx, s, out[i], N + 1), N);
        lmf_session_destroy(s);
        int n_same = 0;
        for (int k = 0; k < N; k++)
            n_same += out[i][k].id == out[0][k].id;
        if ((n_same == N) != (i < 4))
            fail_msg("options %d: %d of %d tokens are the likeliest", i, n_same, N);
    }
    lmf_engine_get_info(f.e, &before);
    for (int i = 0; i < 2; i++)
        two[i] = start(f.ctx, f.e, i, 10, N, 0);
    do
        assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    while (n_steps++, live);
    assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    lmf_engine_get_info(f.e, &after);
    assert_int_equal(after.n_steps - before.n_steps, n_steps);
    for (int i = 0; i < 2; i++)
        lmf_session_destroy(two[i]);
    teardown(&f);
}

/* An answer ends with the end-of-answer token unless asked otherwise. */
static void end_token(void **state)
{
    (void)state;
    fixture f = setup(1, 16);
    lmf_token out[301];
    lmf_gen_opts gen = lmf_gen_opts_default();
    lmf_session *s;
    gen.temperature = 3, gen.max_tok = 300;
    int stopped = 0;
    for (int k = 0; k < 8 && !stopped; k++) {
        assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s));
        assert_ok(f.ctx, lmf_session_append(s, (int32_t[]){ 65 + k }, 1, NULL));
        gen.seed = (uint64_t)k;
        assert_ok(f.ctx, lmf_session_generate(s, &gen));
        run_all(f.ctx, f.e);
        int n = read_all(f.ctx, s, out, 301);
        stopped = out[n - 1].finish == LMF_FINISH_STOP;
        assert_int_equal(stopped, out[n - 1].id == TINY_EOS);
        for (int i = 0; i + 1 < n; i++)
            assert_true(out[i].id != TINY_EOS && out[i].finish == LMF_FINISH_NONE);
        lmf_session_destroy(s);
    }
    assert_true(stopped);
    teardown(&f);
}

static void scoring(void **state)
{
    (void)state;
    fixture f = setup(3, 8);
    static float logits[100 * TINY_VOCAB];
    int32_t tok[100];
    float all[100], tail[40], other[50];
    lmf_token out[4];
    tiny_prompt(tok, 4, 100);
    tiny_logits(f.ctx, f.m, tok, 100, logits);
    lmf_session *a, *b, *c = start(f.ctx, f.e, 2, 20, 3, 0);
    assert_ok(f.ctx, lmf_session_create(f.e, NULL, &a));
    assert_ok(f.ctx, lmf_session_create(f.e, NULL, &b));
    assert_ok(f.ctx, lmf_session_score(a, tok, 100, all));
    assert_ok(f.ctx, lmf_session_append(b, tok, 60, NULL));
    assert_ok(f.ctx, lmf_session_score(b, tok + 60, 40, tail));
    run_all(f.ctx, f.e);
    assert_int_equal(read_all(f.ctx, a, out, 4), 1);
    assert_true(out[0].id == -1 && out[0].finish == LMF_FINISH_LENGTH);
    assert_int_equal(read_all(f.ctx, c, out, 4), 3); /* others write on meanwhile */
    assert_true(all[0] == 0);
    for (int i = 1; i < 100; i++)
        assert_true(fabs((double)all[i] - tiny_logp(logits + (i - 1) * TINY_VOCAB, tok[i])) < 2e-5);
    for (int i = 0; i < 40; i++)
        assert_true(fabsf(tail[i] - all[60 + i]) < 1e-5f);
    /* after a rewind to where everything is known, the first token still has its predecessor's row */
    assert_ok(f.ctx, lmf_session_rewind(b, 50, NULL));
    assert_ok(f.ctx, lmf_session_score(b, tok + 50, 50, other));
    run_all(f.ctx, f.e);
    for (int i = 0; i < 50; i++)
        assert_true(fabsf(other[i] - all[50 + i]) < 1e-5f);
    lmf_session_destroy(a);
    lmf_session_destroy(b);
    lmf_session_destroy(c);
    teardown(&f);
}

typedef struct clients { fixture *f; atomic_int left, failed; } clients;

/* Sessions from another thread than the one that steps. */
static void *client(void *arg)
{
    clients *c = arg;
    for (int round = 0; round < 6; round++) {
        lmf_session *s;
        lmf_token tok[8];
        int32_t prompt[9];
        lmf_gen_opts gen = lmf_gen_opts_default();
        int total = 0, n, finish = 0;
        gen.max_tok = 6, gen.ignore_eos = true;
        tiny_prompt(prompt, round, 9);
        if (lmf_session_create(c->f->e, NULL, &s) || lmf_session_append(s, prompt, 9, NULL) || lmf_session_generate(s, &gen)) {
            atomic_fetch_add(&c->failed, 1);
            break;
        }
        if (round == 2)
            lmf_session_cancel(s);
        while (round != 3 && !finish) { /* the third round's is destroyed at work */
            if (lmf_session_read(s, tok, 8, &n))
                atomic_fetch_add(&c->failed, 1), finish = 1;
            for (int i = 0; i < n; i++)
                total += tok[i].id >= 0, finish |= tok[i].finish;
        }
        if (round != 2 && round != 3 && total != 6)
            atomic_fetch_add(&c->failed, 1);
        lmf_session_destroy(s);
    }
    atomic_fetch_sub(&c->left, 1);
    return NULL;
}

static void threads(void **state)
{
    (void)state;
    fixture f = setup(2, 8);
    clients c = { .f = &f };
    pthread_t t[3];
    int live;
    atomic_store(&c.left, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, client, &c), 0);
    while (atomic_load(&c.left))
        assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(atomic_load(&c.failed), 0);
    teardown(&f);
}

LMF_TESTS(session) = {
    { "a fork shares pages and answers alike", fork_shares }, { "a fork of a running session disturbs nothing", fork_while_running },
    { "rewind keeps what it can", rewind_and_append }, { "cancel frees within one step", cancel }, { "admission", admission },
    { "the end token ends an answer", end_token }, { "one option leaves the likeliest", one_likeliest },
    { "teacher forcing", scoring }, { "sessions of other threads", threads }, { 0 } };
