/* SPDX-License-Identifier: Apache-2.0 */
/* What a server needs of the engine: waiting, masks, likeliest tokens, penalties; each against one pass over the whole sequence. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "infer/engine_test.h"

enum { PROMPT = 50, NEW = 16, WORDS = (TINY_VOCAB + 31) / 32 };

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_engine *e; int n_masks; } fixture;
typedef struct grammar { int first, step; lmf_status fails; } grammar; /* tokens first, first + step, ...; step 0: none */

static lmf_status every_nth(void *user, void *g, const int32_t *tok, int n_tok, uint32_t *bits)
{
    const grammar *of = g;
    ((fixture *)user)->n_masks++;
    for (int i = 0; i < WORDS; i++)
        if (bits[i])
            return LMF_E_INTERNAL; /* it comes zeroed */
    for (int v = of->first + (n_tok & 1); of->step && v < TINY_VOCAB; v += of->step)
        bits[v / 32] |= 1u << v % 32;
    return tok[n_tok - 1] < 0 ? LMF_E_INTERNAL : of->fails;
}

static void setup(fixture *f, int max_seqs, int chunk)
{
    *f = (fixture){ .ctx = lmf_test_ctx() };
    f->m = tiny_open(f->ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    o.max_seqs = max_seqs, o.prefill_chunk = chunk, o.compute = 0, o.mask = every_nth, o.mask_user = f, o.score = true;
    assert_ok(f->ctx, lmf_engine_create(f->ctx, f->m, &o, &f->e));
}

static void teardown(fixture *f)
{
    lmf_engine_destroy(f->e);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

static lmf_session *queue(fixture *f, int k, const lmf_gen_opts *gen)
{
    int32_t tok[PROMPT];
    lmf_session *s;
    tiny_prompt(tok, k, PROMPT);
    assert_ok(f->ctx, lmf_session_create(f->e, NULL, &s));
    assert_ok(f->ctx, lmf_session_append(s, tok, PROMPT, NULL));
    assert_ok(f->ctx, lmf_session_generate(s, gen));
    return s;
}

static lmf_gen_opts greedy(int n)
{
    lmf_gen_opts g = lmf_gen_opts_default();
    g.max_tok = n, g.ignore_eos = true;
    return g;
}

/* Each of tok[begin .. n) is the best of its row by the rule of penalties and allowed tokens, or as good as the best. */
static void check_answer(fixture *f, const int32_t *tok, int begin, int n, const lmf_gen_opts *o)
{
    static float logits[TINY_CONTEXT * TINY_VOCAB];
    const grammar *g = o->grammar;
    tiny_logits(f->ctx, f->m, tok, n - 1, logits);
    for (int t = begin; t < n; t++) {
        double best = -INFINITY, mine = 0;
        for (int v = 0; v < TINY_VOCAB; v++) {
            double x = (double)logits[(t - 1) * TINY_VOCAB + v];
            int in_prompt = 0, in_answer = 0;
            for (int i = 0; i < t; i++)
                in_prompt += i < begin && tok[i] == v, in_answer += i >= begin && tok[i] == v;
            if (in_prompt + in_answer)
                x = x > 0 ? x / (double)o->repetition_penalty : x * (double)o->repetition_penalty;
            x -= in_answer * (double)o->frequency_penalty + (in_answer ? (double)o->presence_penalty : 0);
            bool allowed = !g || (v >= g->first + (t & 1) && (v - g->first - (t & 1)) % g->step == 0);
            if (v == tok[t]) {
                assert_true(allowed);
                mine = x;
            }
            best = allowed && x > best ? x : best;
        }
        if (best - mine > 1e-4)
            fail_msg("token %d is %g below the best", t, best - mine);
    }
}

static void masks(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 3, 24);
    grammar seven = { 3, 7, LMF_OK }, none = { 0, 0, LMF_OK }, broken = { 0, 1, LMF_E_LIMIT };
    lmf_gen_opts plain = greedy(NEW), by_seven = greedy(NEW), drawn = greedy(NEW), by_none = greedy(NEW), by_broken = greedy(NEW);
    by_seven.grammar = &seven, by_none.grammar = &none, by_broken.grammar = &broken;
    drawn.grammar = &seven, drawn.temperature = 2;
    lmf_session *s[5] = { queue(&f, 1, &plain), queue(&f, 1, &by_seven), queue(&f, 2, &drawn), queue(&f, 3, &by_none), queue(&f, 4, &by_broken) };
    lmf_token out[NEW + 1];
    int32_t tok[PROMPT + NEW];
    int n;
    run_all(f.ctx, f.e);
    assert_int_equal(f.n_masks, 2 * NEW + 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lmf_session_tokens(s[i], tok, PROMPT + NEW), PROMPT + NEW);
        check_answer(&f, tok, PROMPT, PROMPT + NEW, i ? &by_seven : &plain);
    }
    assert_int_equal(read_all(f.ctx, s[2], out, NEW + 1), NEW);
    for (int i = 0; i < NEW; i++) {
        assert_int_equal(out[i].i_tok, PROMPT + i);
        assert_int_equal((out[i].id - 3 - ((PROMPT + i) & 1)) % 7, 0);
    }
    assert_refused(f.ctx, LMF_E_ARG, "the mask allows no token", lmf_session_read(s[3], out, NEW, &n));
    assert_refused(f.ctx, LMF_E_LIMIT, "mask could not be made", lmf_session_read(s[4], out, NEW, &n));
    for (int i = 3; i < 5; i++)
        assert_int_equal(lmf_session_n_tok(s[i]), PROMPT); /* and not a random token */
    lmf_engine *bare = tiny_engine(f.ctx, f.m, 1, 8, 8);
    lmf_session *q;
    assert_ok(f.ctx, lmf_session_create(bare, NULL, &q));
    assert_ok(f.ctx, lmf_session_append(q, tok, 3, NULL));
    assert_refused(f.ctx, LMF_E_UNSUPPORTED, "without a maker of masks", lmf_session_generate(q, &by_seven));
    lmf_engine_destroy(bare);
    teardown(&f);
}

static void tops(void **state)
{
    (void)state;
    static float logits[(PROMPT + NEW) * TINY_VOCAB];
    fixture f;
    setup(&f, 2, 24);
    grammar seven = { 3, 7, LMF_OK };
    lmf_gen_opts gen = greedy(NEW), other = greedy(NEW);
    gen.n_top = 5, gen.grammar = &seven, gen.temperature = 1.5f;
    lmf_session *s = queue(&f, 1, &gen), *q = queue(&f, 2, &other);
    int32_t tok[PROMPT + NEW], id[21];
    float logp[21];
    run_all(f.ctx, f.e);
    assert_int_equal(lmf_session_tokens(s, tok, PROMPT + NEW), PROMPT + NEW);
    tiny_logits(f.ctx, f.m, tok, PROMPT + NEW - 1, logits);
    for (int t = PROMPT; t < PROMPT + NEW; t++) {
        const float *row = logits + (t - 1) * TINY_VOCAB;
        assert_int_equal(lmf_session_top(s, t, id, logp, 21), 5);
        for (int i = 0; i < 5; i++) {
            int better = 0; /* by more than two ways of computing differ */
            for (int v = 0; v < TINY_VOCAB; v++)
                better += row[v] > row[id[i]] + 1e-4f;
            assert_true(better <= i);
            assert_true(fabs((double)logp[i] - tiny_logp(row, id[i])) < 2e-5);
            for (int k = 0; k < i; k++)
                assert_true(id[k] != id[i] && logp[k] >= logp[i]);
        }
    }
    assert_int_equal(lmf_session_top(s, PROMPT, id, logp, 2), 2);
    assert_int_equal(lmf_session_top(s, PROMPT - 1, id, logp, 21), 0);
    assert_int_equal(lmf_session_top(s, PROMPT + NEW, id, logp, 21), 0);
    assert_int_equal(lmf_session_top(q, PROMPT, id, logp, 21), 0);
    assert_ok(f.ctx, lmf_session_rewind(s, PROMPT + 2, NULL));
    assert_int_equal(lmf_session_top(s, PROMPT, id, logp, 21), 0);
    gen.n_top = 21;
    assert_refused(f.ctx, LMF_E_ARG, "n_top is 21", lmf_session_generate(s, &gen));
    gen.n_top = 0, gen.presence_penalty = NAN;
    assert_refused(f.ctx, LMF_E_ARG, "presence_penalty", lmf_session_generate(s, &gen));
    teardown(&f);
}

/* More sessions than slots, prompts longer than a chunk, answers that are asked on, a rewind between: counts are those of the text. */
static void penalties(void **state)
{
    (void)state;
    enum { N = 5 };
    fixture f;
    setup(&f, 2, 16);
    lmf_session *s[N];
    lmf_gen_opts gen[N];
    int32_t tok[PROMPT + 2 * NEW];
    for (int i = 0; i < N; i++) {
        gen[i] = greedy(NEW + i);
        gen[i].repetition_penalty = i == 3 ? 1 : 1 + 0.3f * (float)i;
        gen[i].presence_penalty = i == 2 ? 0.8f : 0;
        gen[i].frequency_penalty = i == 3 ? 0.5f : i == 4 ? -0.4f : 0;
        s[i] = queue(&f, 7, &gen[i]);
    }
    run_all(f.ctx, f.e);
    for (int i = 0; i < N; i++) {
        int n = lmf_session_tokens(s[i], tok, PROMPT + 2 * NEW);
        assert_int_equal(n, PROMPT + NEW + i);
        check_answer(&f, tok, PROMPT, n, &gen[i]);
    }
    /* what was written is prompt now, and what was rewound is not there */
    for (int i = 0; i < N; i++) {
        assert_ok(f.ctx, lmf_session_rewind(s[i], PROMPT + 4, NULL));
        gen[i].max_tok = 9;
        assert_ok(f.ctx, lmf_session_generate(s[i], &gen[i]));
    }
    run_all(f.ctx, f.e);
    for (int i = 0; i < N; i++) {
        assert_int_equal(lmf_session_tokens(s[i], tok, PROMPT + 2 * NEW), PROMPT + 13);
        check_answer(&f, tok, PROMPT + 4, PROMPT + 13, &gen[i]);
    }
    teardown(&f);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct server { fixture *f; atomic_bool stop; atomic_int failed, n_idle; } server;

static void *stepper(void *arg)
{
    server *v = arg;
    int live;
    while (!atomic_load(&v->stop)) {
        if (!lmf_engine_wait(v->f->e, -1))
            atomic_fetch_add(&v->n_idle, 1);
        else if (lmf_engine_step(v->f->e, &live))
            atomic_fetch_add(&v->failed, 1);
    }
    return NULL;
}

static void *reader(void *arg)
{
    server *v = arg;
    for (int round = 0; round < 5; round++) {
        lmf_session *s;
        lmf_token tok[4];
        int32_t prompt[20];
        int total = 0, n, finish = 0, n_empty = 0;
        lmf_gen_opts gen = greedy(7);
        tiny_prompt(prompt, round, 20);
        if (lmf_session_create(v->f->e, NULL, &s) || lmf_session_append(s, prompt, 20, NULL) || lmf_session_generate(s, &gen)) {
            atomic_fetch_add(&v->failed, 1);
            return NULL;
        }
        if (round == 2)
            lmf_session_cancel(s);
        while (!finish && lmf_session_wait(s, -1)) {
            if (lmf_session_read(s, tok, 4, &n))
                atomic_fetch_add(&v->failed, 1), finish = 1;
            n_empty += n == 0;
            for (int i = 0; i < n; i++)
                total += tok[i].id >= 0, finish |= tok[i].finish;
        }
        /* woken only for news; and then all is read */
        if (!finish || n_empty || (round != 2 && total != 7) || lmf_session_wait(s, -1))
            atomic_fetch_add(&v->failed, 1);
        lmf_session_destroy(s);
    }
    return NULL;
}

static void waiting(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 2, 8);
    server v = { .f = &f };
    pthread_t t[3], engine;
    double begin = seconds(CLOCK_MONOTONIC);
    assert_false(lmf_engine_wait(f.e, 30));
    assert_true(seconds(CLOCK_MONOTONIC) - begin >= 0.03);
    lmf_session *s = queue(&f, 1, &(lmf_gen_opts){ .struct_bytes = sizeof(lmf_gen_opts), .max_tok = 1, .top_p = 1, .repetition_penalty = 1 });
    assert_true(lmf_engine_wait(f.e, -1));
    begin = seconds(CLOCK_MONOTONIC);
    assert_false(lmf_session_wait(s, 30)); /* nobody steps */
    assert_true(seconds(CLOCK_MONOTONIC) - begin >= 0.03);
    run_all(f.ctx, f.e);
    assert_true(lmf_session_wait(s, -1));
    lmf_session_destroy(s);
    lmf_engine_wake(f.e); /* before the wait: remembered, once */
    assert_false(lmf_engine_wait(f.e, -1));
    assert_false(lmf_engine_wait(f.e, 1));

    assert_int_equal(pthread_create(&engine, NULL, stepper, &v), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, reader, &v), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    /* at rest the stepping thread sleeps: the process uses next to no time */
    double used = seconds(CLOCK_PROCESS_CPUTIME_ID);
    nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    assert_true(seconds(CLOCK_PROCESS_CPUTIME_ID) - used < 0.05);
    assert_int_equal(atomic_load(&v.n_idle), 0);
    atomic_store(&v.stop, true);
    lmf_engine_wake(f.e);
    pthread_join(engine, NULL);
    assert_int_equal(atomic_load(&v.failed), 0);
    teardown(&f);
}

LMF_TESTS(serving) = {
    { "a mask chooses among what it allows, and none ends the answer", masks }, { "likeliest tokens are the plain model's", tops },
    { "penalties count prompt and answer", penalties }, { "who waits sleeps, and wakes for news", waiting }, { 0 } };
