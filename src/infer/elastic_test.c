/* SPDX-License-Identifier: Apache-2.0 */
/* An elastic engine beside a plain one: the same answers, whatever was found computed, given up and computed again. */
#include "infer/engine_impl.h"
#include "infer/engine_test.h"

enum { NEW = 40, PROMPT = 100, PAGE = 8 };

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_engine *e; } fixture;

static fixture setup(int max_seqs, int cache_tok)
{
    fixture f = { .ctx = lmf_test_ctx() };
    lmf_engine_opts o = lmf_engine_opts_default();
    f.m = tiny_open(f.ctx, "tiny.gguf", NULL);
    o.max_seqs = max_seqs, o.prefill_chunk = 32, o.page_size = PAGE, o.compute = 0, o.elastic = true, o.cache_tok = cache_tok,
        o.score = o.embed = true;
    o.max_samples = 16;
    assert_ok(f.ctx, lmf_engine_create(f.ctx, f.m, &o, &f.e));
    return f;
}

static lmf_engine_info info(fixture *f)
{
    lmf_engine_info i;
    lmf_engine_get_info(f->e, &i);
    return i;
}

/* Every page can be had again. */
static void teardown(fixture *f)
{
    lmf_engine_info i = info(f);
    assert_true(i.n_sessions == 0 && i.n_pages_free == i.n_pages && i.n_pages_reserved == 0);
    lmf_engine_destroy(f->e);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

/* What a plain engine answers to prompt k. */
static void want(fixture *f, int k, int n_prompt, float temperature, lmf_token *out)
{
    lmf_engine *e = tiny_engine(f->ctx, f->m, 1, 32, PAGE);
    lmf_session *s = start(f->ctx, e, k, n_prompt, NEW, temperature);
    run_all(f->ctx, e);
    assert_int_equal(read_all(f->ctx, s, out, NEW + 1), NEW);
    lmf_engine_destroy(e);
}

static void assert_same(const lmf_token *a, const lmf_token *b, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_true(fabsf(a[i].logp - b[i].logp) < 1e-5f);
    }
}

static void read_one(fixture *f, lmf_session *s, const lmf_token *right)
{
    lmf_token got[NEW + 1];
    assert_int_equal(read_all(f->ctx, s, got, NEW + 1), NEW);
    assert_same(got, right, NEW);
}

static void prefixes(void **state)
{
    (void)state;
    fixture f = setup(4, 0);
    lmf_token right[NEW + 1];
    want(&f, 1, PROMPT, 0.8f, right);
    for (int turn = 0; turn < 3; turn++) {
        int64_t before = info(&f).n_prefill_tok;
        lmf_session *s = start(f.ctx, f.e, 1, PROMPT, NEW, 0.8f);
        run_all(f.ctx, f.e);
        read_one(&f, s, right);
        assert_int_equal(lmf_session_n_cached(s), turn ? PROMPT / PAGE * PAGE : 0);
        assert_int_equal(info(&f).n_prefill_tok - before, turn ? PROMPT % PAGE - 1 : PROMPT - 1); /* the last one's row is the answer's */
        lmf_session_destroy(s);
    }
    /* four at once: the first computes, the others wait for no more than its chunks */
    int64_t before = info(&f).n_prefill_tok;
    lmf_session *s[4];
    want(&f, 2, PROMPT, 0, right);
    for (int i = 0; i < 4; i++)
        s[i] = start(f.ctx, f.e, 2, PROMPT, NEW, 0);
    run_all(f.ctx, f.e);
    for (int i = 0; i < 4; i++) {
        read_one(&f, s[i], right);
        lmf_session_destroy(s[i]);
    }
    assert_true(info(&f).n_prefill_tok - before < PROMPT + 3 * 32);
    teardown(&f);
}

static lmf_session *salted(fixture *f, uint64_t salt, int n)
{
    int32_t tok[PROMPT];
    lmf_session *s;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = 1;
    tiny_prompt(tok, 1, n);
    assert_ok(f->ctx, lmf_session_create(f->e, &(lmf_session_opts){ sizeof(lmf_session_opts), -1, salt }, &s));
    assert_ok(f->ctx, lmf_session_append(s, tok, n, NULL));
    assert_ok(f->ctx, lmf_session_generate(s, &gen));
    run_all(f->ctx, f->e);
    return s;
}

static void apart(void **state)
{
    (void)state;
    fixture f = setup(2, 0);
    static const struct { uint64_t salt; int n, cached; } asks[] = { { 1, PROMPT, 0 }, { 2, PROMPT, 0 }, { 1, PROMPT, 96 }, { 0, PROMPT,
        0 },
        { 2, 40, 32 }, { 2, 41, 40 } }; /* the last token is always computed */
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
        lmf_session *s = salted(&f, asks[i].salt, asks[i].n);
        assert_int_equal(lmf_session_n_cached(s), asks[i].cached);
        lmf_session_destroy(s);
    }
    assert_ok(f.ctx, lmf_engine_refresh(f.e)); /* other weights */
    lmf_session *s = salted(&f, 1, PROMPT);
    assert_int_equal(lmf_session_n_cached(s), 0);
    lmf_session_destroy(s);
    teardown(&f);
}

/* What is kept is not written: a session that goes back into a page and takes another way computes in one of its own. */
static void rewound(void **state)
{
    (void)state;
    fixture f = setup(2, 0);
    int32_t other[30];
    int kept;
    lmf_token right[NEW + 1];
    lmf_session *a = salted(&f, 0, PROMPT);
    tiny_prompt(other, 9, 30);
    assert_ok(f.ctx, lmf_session_rewind(a, 50, &kept));
    assert_int_equal(kept, 48);
    assert_ok(f.ctx, lmf_session_append(a, other, 30, NULL));
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = 3;
    assert_ok(f.ctx, lmf_session_generate(a, &gen));
    run_all(f.ctx, f.e);
    want(&f, 1, PROMPT, 0, right);
    lmf_session *b = start(f.ctx, f.e, 1, PROMPT, NEW, 0);
    run_all(f.ctx, f.e);
    read_one(&f, b, right);
    assert_int_equal(lmf_session_n_cached(b), 96);
    lmf_session_destroy(a);
    lmf_session_destroy(b);
    teardown(&f);
}

/* Room for a session and a half: the others give way, also in the middle of their answers, with penalties, tops and seeds as they were. */
static void gives_way(void **state)
{
    (void)state;
    fixture f = setup(4, TINY_CONTEXT);
    lmf_session *s[6];
    lmf_token right[6][NEW + 1];
    for (int i = 0; i < 6; i++)
        want(&f, i, PROMPT + i, i % 2 ? 0.9f : 0, right[i]);
    for (int i = 0; i < 6; i++)
        s[i] = start(f.ctx, f.e, i, PROMPT + i, NEW, i % 2 ? 0.9f : 0);
    run_all(f.ctx, f.e);
    for (int i = 0; i < 6; i++) {
        read_one(&f, s[i], right[i]);
        lmf_session_destroy(s[i]);
    }
    assert_true(info(&f).n_preempted > 0);
    assert_int_equal(info(&f).n_decode_tok, 6 * NEW); /* no token twice */
    teardown(&f);
}

static void penalties_survive(void **state)
{
    (void)state;
    lmf_token right[3][NEW + 1], got[NEW + 1];
    for (int turn = 0; turn < 2; turn++) {
        fixture f = setup(3, turn ? TINY_CONTEXT : 3 * TINY_CONTEXT);
        lmf_session *s[3];
        lmf_gen_opts gen = lmf_gen_opts_default();
        gen.max_tok = NEW, gen.ignore_eos = true, gen.presence_penalty = 1, gen.frequency_penalty = 0.5f, gen.repetition_penalty = 1.2f;
        for (int i = 0; i < 3; i++) {
            int32_t tok[PROMPT];
            tiny_prompt(tok, i, PROMPT);
            assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s[i]));
            assert_ok(f.ctx, lmf_session_append(s[i], tok, PROMPT, NULL));
            assert_ok(f.ctx, lmf_session_generate(s[i], &gen));
        }
        run_all(f.ctx, f.e);
        assert_true((info(&f).n_preempted > 0) == (turn == 1));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(read_all(f.ctx, s[i], turn ? got : right[i], NEW + 1), NEW);
            if (turn)
                assert_same(got, right[i], NEW);
            lmf_session_destroy(s[i]);
        }
        teardown(&f);
    }
}

/* Random prompts with common beginnings, of which some are cancelled, over a small cache: counts hold, answers are right. */
static void any_order(void **state)
{
    (void)state;
    fixture f = setup(3, TINY_CONTEXT + 64);
    lmf_session *live[5] = { NULL };
    lmf_token right[4][NEW + 1], got[NEW + 1];
    int kind[5];
    for (int k = 0; k < 4; k++)
        want(&f, k, PROMPT, 0, right[k]);
    for (uint64_t turn = 0; turn < 400; turn++) {
        uint32_t r = lmf_random_u32(3, 1, 0, turn);
        int i = (int)(r % 5), n_live;
        if (live[i] && !lmf_session_is_busy(live[i])) {
            int n = read_all(f.ctx, live[i], got, NEW + 1);
            bool cancelled = n && got[n - 1].finish == LMF_FINISH_CANCELLED;
            assert_same(got, right[kind[i]], cancelled ? n - 1 : n);
            assert_true(cancelled || n == NEW);
            lmf_session_destroy(live[i]);
            live[i] = NULL;
        } else if (live[i] && r >> 8 & 7) {
            assert_ok(f.ctx, lmf_engine_step(f.e, &n_live));
        } else if (live[i]) {
            lmf_session_cancel(live[i]);
        } else {
            kind[i] = (int)(r >> 16 & 3);
            live[i] = start(f.ctx, f.e, kind[i], PROMPT, NEW, 0);
        }
    }
    for (int i = 0; i < 5; i++)
        lmf_session_destroy(live[i]);
    assert_true(info(&f).n_cached_tok > 0 && info(&f).n_preempted > 0);
    teardown(&f);
}

static void echoes(void **state)
{
    (void)state;
    fixture f = setup(2, 0);
    int32_t tok[PROMPT], top[3];
    float *logits = lmf_alloc(f.ctx, sizeof *logits * PROMPT * TINY_VOCAB), logp[3];
    lmf_token got[PROMPT + NEW + 1], right[NEW + 1];
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = NEW, gen.ignore_eos = true, gen.echo = true, gen.n_top = 3, gen.temperature = 0.8f, gen.seed = 6;
    tiny_prompt(tok, 1, PROMPT);
    tiny_logits(f.ctx, f.m, tok, PROMPT, logits);
    want(&f, 1, PROMPT, 0.8f, right);
    for (int turn = 0; turn < 2; turn++) { /* the second time all of it is kept, and is computed all the same */
        lmf_session *s;
        assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s));
        assert_ok(f.ctx, lmf_session_append(s, tok, PROMPT, NULL));
        assert_ok(f.ctx, lmf_session_generate(s, &gen));
        run_all(f.ctx, f.e);
        assert_int_equal(read_all(f.ctx, s, got, PROMPT + NEW + 1), PROMPT + NEW);
        for (int i = 0; i < PROMPT; i++) {
            assert_true(got[i].id == tok[i] && got[i].i_tok == i && got[i].finish == 0);
            if (i == 0)
                continue;
            const float *row = logits + (i - 1) * TINY_VOCAB;
            assert_true(fabs((double)got[i].logp - tiny_logp(row, tok[i])) < 1e-4);
            assert_int_equal(lmf_session_top(s, i, top, logp, 3), 3);
            assert_true(logp[0] >= logp[1] && logp[1] >= logp[2] && fabs((double)logp[2] - tiny_logp(row, top[2])) < 1e-4);
            for (int v = 0; v < TINY_VOCAB; v++)
                assert_true(v == top[0] || v == top[1] || v == top[2] || row[v] <= row[top[2]]);
        }
        assert_same(got + PROMPT, right, NEW);
        lmf_session_destroy(s);
    }
    lmf_free(f.ctx, logits, sizeof *logits * PROMPT * TINY_VOCAB);
    teardown(&f);
}

/* Answers that repeat (a model whose logits hang on little but the last token) and such that don't, several at once, with and without room:
 * the same tokens and log-probabilities, in fewer steps where they repeat. */
static void drafts(void **state)
{
    (void)state;
    lmf_token right[4][NEW + 1];
    int64_t steps[3];
    for (int turn = 0; turn < 3; turn++) {
        fixture f = { .ctx = lmf_test_ctx() };
        lmf_engine_opts o = lmf_engine_opts_default();
        f.m = tiny_open(f.ctx, "tiny.gguf", NULL);
        o.max_seqs = 4, o.prefill_chunk = 32, o.page_size = PAGE, o.compute = 0, o.max_samples = 20, o.max_draft = turn ? 7 : 0;
        o.elastic = turn == 2, o.cache_tok = turn == 2 ? TINY_CONTEXT : 0;
        assert_ok(f.ctx, lmf_engine_create(f.ctx, f.m, &o, &f.e));
        lmf_session *s[4];
        for (int i = 0; i < 4; i++) {
            int32_t tok[PROMPT];
            lmf_gen_opts gen = lmf_gen_opts_default();
            gen.max_tok = NEW, gen.ignore_eos = true, gen.n_top = i, gen.temperature = i == 3 ? 1 : 0;
            tiny_prompt(tok, i, PROMPT);
            for (int k = 30; k < PROMPT; k++) /* a prompt that repeats itself */
                tok[k] = tok[k - 30];
            assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s[i]));
            assert_ok(f.ctx, lmf_session_append(s[i], tok, PROMPT, NULL));
            assert_ok(f.ctx, lmf_session_generate(s[i], &gen));
        }
        run_all(f.ctx, f.e);
        for (int i = 0; i < 4; i++) {
            lmf_token got[NEW + 1];
            assert_int_equal(read_all(f.ctx, s[i], turn ? got : right[i], NEW + 1), NEW);
            if (turn)
                assert_same(got, right[i], NEW);
            lmf_session_destroy(s[i]);
        }
        lmf_engine_info now = info(&f);
        steps[turn] = now.n_steps;
        assert_true((now.n_draft_tok > 0) == (turn > 0) && now.n_accepted_tok <= now.n_draft_tok && now.n_decode_tok == 4 * NEW);
        if (turn)
            assert_true(now.n_accepted_tok > 0);
        teardown(&f);
    }
    assert_true(steps[1] <= steps[0]);
}

/* A draft ends where the answer ends, and where the engine says. */
static void lengths_of_drafts(void **state)
{
    (void)state;
    static const struct { int32_t end, most, n; } rows[] = { { 8, 7, 0 }, { 9, 7, 1 }, { 10, 7, 2 }, { 20, 2, 2 }, { 20, 0, 0 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int32_t tok[20] = { 1, 2, 3, 4, 1, 2, 3 };
        lmf_session s = { .tok = tok, .n_tok = 7, .end = rows[i].end, .draft_trust = 7 };
        lmf__session_draft(&s, rows[i].most);
        assert_int_equal(s.n_draft, rows[i].n);
        assert_memory_equal(s.draft, ((int32_t[]){ 4, 1 }), (size_t)s.n_draft * sizeof *s.draft);
    }
}

/* ---- what must come ---- */

typedef struct script { int n_prompt, n_asked; bool ends; } script; /* after each token that is 0 mod 4: 1 2 3, or the end */

static int32_t script_force(void *user, void *grammar, const int32_t *tok, int n_tok, int32_t *out, int cap)
{
    script *c = grammar;
    (void)user;
    c->n_asked++;
    if (n_tok == c->n_prompt || tok[n_tok - 1] % 4)
        return 0;
    int32_t n = cap < 3 ? cap : 3;
    for (int32_t i = 0; i < n; i++)
        out[i] = i + 1;
    if (c->ends && n == 3)
        out[2] = TINY_EOS;
    return n;
}

static lmf_status script_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits)
{
    (void)user, (void)grammar, (void)tok, (void)n_tok;
    for (int v = 0; v < 256; v += 2)
        bits[v / 32] |= 1u << v % 32;
    return LMF_OK;
}

static void forced(void **state)
{
    (void)state;
    fixture f = { .ctx = lmf_test_ctx() };
    lmf_engine_opts o = lmf_engine_opts_default();
    f.m = tiny_open(f.ctx, "tiny.gguf", NULL);
    o.max_seqs = 3, o.prefill_chunk = 32, o.page_size = PAGE, o.compute = 0, o.mask = script_mask, o.force = script_force;
    assert_ok(f.ctx, lmf_engine_create(f.ctx, f.m, &o, &f.e));
    float *logits = lmf_alloc(f.ctx, sizeof *logits * TINY_CONTEXT * TINY_VOCAB);
    for (int ends = 0; ends < 2; ends++) {
        script c[3];
        lmf_session *s[3];
        int64_t steps = info(&f).n_steps, forced_tok = info(&f).n_forced_tok, sampled = info(&f).n_decode_tok;
        for (int i = 0; i < 3; i++) {
            int32_t tok[PROMPT];
            lmf_gen_opts gen = lmf_gen_opts_default();
            c[i] = (script){ .n_prompt = 20 + i, .ends = ends };
            gen.max_tok = NEW, gen.grammar = &c[i], gen.temperature = 1, gen.seed = (uint64_t)i + 3;
            tiny_prompt(tok, i, 20 + i);
            assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s[i]));
            assert_ok(f.ctx, lmf_session_append(s[i], tok, 20 + i, NULL));
            assert_ok(f.ctx, lmf_session_generate(s[i], &gen));
        }
        run_all(f.ctx, f.e);
        for (int i = 0; i < 3; i++) {
            lmf_token got[NEW + 1];
            int32_t all[TINY_CONTEXT];
            int n = read_all(f.ctx, s[i], got, NEW + 1), seen = 0;
            bool over = ends && got[n - 1].id == TINY_EOS;
            assert_true(got[n - 1].finish == (over ? LMF_FINISH_STOP : LMF_FINISH_LENGTH) && (n == NEW || over) && c[i].n_asked > 1);
            lmf_session_tokens(s[i], all, TINY_CONTEXT);
            tiny_logits(f.ctx, f.m, all, 20 + i + n, logits);
            for (int k = 0; k < n; k++) { /* those that were sampled have the log-probability that all before them give */
                seen = k && got[k - 1].id % 4 == 0 ? 3 : seen ? seen - 1 : 0;
                if (seen)
                    assert_true(got[k].id == (over && k == n - 1 ? TINY_EOS : 4 - seen) && got[k].logp == 0);
                else
                    assert_true(got[k].id % 2 == 0 && fabs((double)got[k].logp - tiny_logp(logits + (19 + i + k) * TINY_VOCAB,
                                                                                           got[k].id)) < 1e-4);
            }
            lmf_session_destroy(s[i]);
        }
        forced_tok = info(&f).n_forced_tok - forced_tok, sampled = info(&f).n_decode_tok - sampled;
        assert_true(forced_tok > 5 && info(&f).n_steps - steps <= sampled + 3);
    }
    lmf_free(f.ctx, logits, sizeof *logits * TINY_CONTEXT * TINY_VOCAB);
    teardown(&f);
}

/* A head's logits are linear in the state, so those of the mean are the mean of those that an independent pass gives; in pieces, beside
 * sessions that write, and where one gives way and begins anew. */
static void means(void **state)
{
    enum { N = 100 };
    (void)state;
    fixture f = setup(3, 150); /* two of them and what is written beside don't fit at once */
    static float logits[N * TINY_VOCAB];
    float mean[2][TINY_WIDTH];
    lmf_session *s[2], *other;
    lmf_token out[64];
    int32_t tok[2][N];
    int live = 1, n;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = NEW, gen.ignore_eos = true;
    assert_ok(f.ctx, lmf_session_create(f.e, NULL, &other));
    tiny_prompt(tok[0], 9, 20);
    assert_ok(f.ctx, lmf_session_append(other, tok[0], 20, NULL));
    assert_ok(f.ctx, lmf_session_generate(other, &gen));
    for (int k = 0; k < 2; k++) {
        tiny_prompt(tok[k], 4 + k, N);
        assert_ok(f.ctx, lmf_session_create(f.e, NULL, &s[k]));
        assert_ok(f.ctx, lmf_session_embed(s[k], tok[k], N, mean[k]));
    }
    while (live)
        assert_ok(f.ctx, lmf_engine_step(f.e, &live));
    const lmf_weight *head = lmf_weights_find(f.m->weights, lmf_model_head(f.m).role);
    const float *w = head->v.data;
    for (int k = 0; k < 2; k++) {
        assert_ok(f.ctx, lmf_session_read(s[k], out, 64, &n));
        assert_true(n == 1 && out[0].id == -1 && out[0].finish == LMF_FINISH_LENGTH);
        tiny_logits(f.ctx, f.m, tok[k], N, logits);
        for (int v = 0; v < TINY_VOCAB; v++) {
            double want = 0, got = 0;
            for (int t = 0; t < N; t++)
                want += (double)logits[t * TINY_VOCAB + v] / N;
            for (int i = 0; i < TINY_WIDTH; i++)
                got += (double)mean[k][i] * (double)w[v * TINY_WIDTH + i];
            assert_true(fabs(want - got) < 2e-5);
        }
        assert_int_equal(lmf_session_embed(s[k], tok[k], N, mean[k]), LMF_E_ARG); /* it has tokens */
        lmf_session_destroy(s[k]);
    }
    lmf_session_destroy(other);
    teardown(&f);
}

LMF_TESTS(elastic) = { { "prompts that begin alike are computed once", prefixes }, { "salts and weights are kept apart", apart },
    { "what is kept is not written", rewound }, { "the youngest gives way, and loses nothing", gives_way },
    { "penalties survive", penalties_survive }, { "any order of coming and going", any_order },
    { "a prompt's own log-probabilities", echoes }, { "drafts change nothing but the number of steps", drafts },
    { "lengths of drafts", lengths_of_drafts },
    { "what must come is appended", forced }, { "means of hidden states", means }, { 0 } };
