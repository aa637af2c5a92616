/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against one pass over the whole sequence: chunks, pages and company change nothing. */
#include "infer/engine_test.h"

enum { PROMPT = 150, NEW = 40 };

/* The answer in out is greedy for one pass over all tokens, and its log-probabilities are that pass's. Returns the greatest error of these. */
static double check_greedy(lmf_ctx *ctx, const lmf_model *m, int k, int n_prompt, const lmf_token *out, int n_new)
{
    int32_t tok[TINY_CONTEXT];
    static float logits[TINY_CONTEXT * TINY_VOCAB];
    double worst = 0;
    tiny_prompt(tok, k, n_prompt);
    for (int i = 0; i < n_new; i++)
        tok[n_prompt + i] = out[i].id;
    tiny_logits(ctx, m, tok, n_prompt + n_new - 1, logits);
    for (int i = 0; i < n_new; i++) {
        const float *row = logits + (n_prompt + i - 1) * TINY_VOCAB;
        int best = 0;
        for (int v = 1; v < TINY_VOCAB; v++)
            if (row[v] > row[best])
                best = v;
        /* a tie within the error of the two ways is no difference */
        if (out[i].id != best && row[best] - row[out[i].id] > 1e-4f)
            fail_msg("token %d of the answer is %d, the whole pass says %d by %g", i, out[i].id, best, (double)(row[best] - row[out[i].id]));
        worst = fmax(worst, fabs((double)out[i].logp - tiny_logp(row, out[i].id)));
    }
    return worst;
}

static void chunks(void **state)
{
    (void)state;
    static const int chunk[] = { 1, 3, 16, 64, 256 }, page[] = { 16, 1, 5, 64, 16 };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_token first[NEW], out[NEW + 1];
    for (int c = 0; c < 5; c++) {
        lmf_engine *e = tiny_engine(ctx, m, 1, chunk[c], page[c]);
        lmf_session *s = start(ctx, e, 1, PROMPT, NEW, 0);
        run_all(ctx, e);
        assert_int_equal(read_all(ctx, s, out, NEW + 1), NEW);
        assert_int_equal(out[NEW - 1].finish, LMF_FINISH_LENGTH);
        assert_int_equal(out[NEW - 2].finish, LMF_FINISH_NONE);
        double worst = check_greedy(ctx, m, 1, PROMPT, out, NEW);
        if (worst > 2e-5)
            fail_msg("chunk %d: log-probabilities differ by %g from one pass", chunk[c], worst);
        if (c == 0)
            memcpy(first, out, sizeof first);
        for (int i = 0; i < NEW; i++)
            assert_int_equal(out[i].id, first[i].id);
        lmf_engine_destroy(e);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* Seven sessions of different lengths on an engine for three, against each alone; greedy and sampled. */
static void company(void **state)
{
    (void)state;
    enum { N = 7 };
    static const int len[N] = { 1, 17, 90, 16, 33, 2, 64 };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_session *s[N];
    lmf_token together[N][NEW], alone[NEW + 1];
    lmf_engine_info info;
    for (int sampled = 0; sampled < 2; sampled++) {
        float temperature = sampled ? 0.9f : 0;
        lmf_engine *e = tiny_engine(ctx, m, 3, 24, 8);
        for (int i = 0; i < N; i++)
            s[i] = start(ctx, e, i, len[i], 10 + 4 * i, temperature);
        run_all(ctx, e);
        for (int i = 0; i < N; i++)
            assert_int_equal(read_all(ctx, s[i], together[i], NEW), 10 + 4 * i);
        for (int i = 0; i < N; i++)
            lmf_session_destroy(s[i]);
        lmf_engine_get_info(e, &info);
        assert_true(info.n_pages_free == info.n_pages && info.n_pages_reserved == 0 && info.n_sessions == 0);
        lmf_engine_destroy(e);
        e = tiny_engine(ctx, m, 1, 64, 16);
        for (int i = 0; i < N; i++) {
            s[0] = start(ctx, e, i, len[i], 10 + 4 * i, temperature);
            run_all(ctx, e);
            assert_int_equal(read_all(ctx, s[0], alone, NEW + 1), 10 + 4 * i);
            for (int k = 0; k < 10 + 4 * i; k++) {
                assert_int_equal(alone[k].id, together[i][k].id);
                assert_true(fabsf(alone[k].logp - together[i][k].logp) < 1e-5f);
            }
            lmf_session_destroy(s[0]);
        }
        lmf_engine_destroy(e);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static int count_alloc(void *user, lmf_site site)
{
    *(int *)user += site == LMF_SITE_ALLOC;
    return 0;
}

static void no_allocation(void **state)
{
    (void)state;
    int n_alloc = 0, live = 1;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine *e = tiny_engine(ctx, m, 2, 16, 4);
    lmf_session *a = start(ctx, e, 1, 40, 20, 0.5f), *b = start(ctx, e, 2, 3, 20, 0);
    size_t before = ctx->live_bytes;
    ctx->fault = count_alloc;
    ctx->fault_user = &n_alloc;
    while (live)
        assert_ok(ctx, lmf_engine_step(e, &live));
    assert_int_equal(n_alloc, 0);
    assert_true(ctx->live_bytes == before);
    lmf_session_destroy(a);
    assert_ok(ctx, lmf_session_create(e, NULL, &a)); /* the hook does count */
    assert_true(n_alloc > 0);
    ctx->fault = NULL;
    lmf_session_destroy(a);
    lmf_session_destroy(b);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void not_a_number(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "huge.gguf", &(tiny_spec){ .norm = 3e38f });
    lmf_engine *e = tiny_engine(ctx, m, 2, 16, 16);
    lmf_session *s = start(ctx, e, 1, 20, 5, 0);
    lmf_token tok[8];
    lmf_engine_info info;
    int n;
    run_all(ctx, e);
    assert_refused(ctx, LMF_E_INTERNAL, "logits that are not numbers", lmf_session_read(s, tok, 8, &n));
    assert_ok(ctx, lmf_session_read(s, tok, 8, &n));
    assert_true(n == 0 && !lmf_session_is_busy(s));
    lmf_session_destroy(s);
    lmf_engine_get_info(e, &info);
    assert_true(info.n_pages_free == info.n_pages && info.n_pages_reserved == 0);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void refusals(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine *e;
    static const struct { size_t offset; int32_t value; const char *words; } rows[] = {
        { offsetof(lmf_engine_opts, max_seqs), 0, "max_seqs is 0" }, { offsetof(lmf_engine_opts, max_seqs), 257, "max_seqs is 257" },
        { offsetof(lmf_engine_opts, context), TINY_CONTEXT + 1, "what the model was made for" }, { offsetof(lmf_engine_opts, page_size), 0, "page_size" },
        { offsetof(lmf_engine_opts, prefill_chunk), -1, "prefill_chunk" }, { offsetof(lmf_engine_opts, compute), 2, "compute" },
        { offsetof(lmf_engine_opts, n_adapters), -1, "n_adapters" }, { offsetof(lmf_engine_opts, max_rank), -1, "max_rank" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_engine_opts o = lmf_engine_opts_default();
        memcpy((char *)&o + rows[i].offset, &rows[i].value, sizeof rows[i].value);
        assert_refused(ctx, LMF_E_ARG, rows[i].words, lmf_engine_create(ctx, m, &o, &e));
        assert_null(e);
    }
    lmf_engine_opts o = lmf_engine_opts_default();
    o.cache_dtype = LMF_I32;
    assert_refused(ctx, LMF_E_DTYPE, "keys and values", lmf_engine_create(ctx, m, &o, &e));
    o = lmf_engine_opts_default();
    o.need_invariant = true;
    assert_refused(ctx, LMF_E_ARG, "compute 0", lmf_engine_create(ctx, m, &o, &e));
    o = lmf_engine_opts_default();
    o.device = "abacus";
    assert_true(lmf_engine_create(ctx, m, &o, &e) && lmf_error(ctx)[0]);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void cache_types(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_engine *e;
    lmf_token out[NEW + 1];
    o.compute = 0, o.max_seqs = 1, o.cache_dtype = LMF_F16;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    lmf_session *s = start(ctx, e, 3, 60, 8, 0);
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, s, out, NEW), 8);
    double worst = 0;
    int32_t tok[80];
    static float logits[80 * TINY_VOCAB];
    tiny_prompt(tok, 3, 60);
    for (int i = 0; i < 8; i++)
        tok[60 + i] = out[i].id;
    tiny_logits(ctx, m, tok, 67, logits);
    for (int i = 0; i < 8; i++)
        worst = fmax(worst, fabs((double)out[i].logp - tiny_logp(logits + (59 + i) * TINY_VOCAB, out[i].id)));
    assert_true(worst < 1e-2 && worst > 1e-6); /* rounded keys and values show, a little */
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static lmf_status one_answer(lmf_ctx *ctx, void *path)
{
    lmf_model *m = NULL;
    lmf_engine *e = NULL;
    lmf_session *s = NULL, *c = NULL;
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_gen_opts gen = lmf_gen_opts_default();
    lmf_token tok[8];
    int live = 1, n;
    lmf_status st;
    o.max_seqs = 1, o.prefill_chunk = 2, o.context = 32;
    gen.max_tok = 3;
    lmf_fault_fn fault = ctx->fault; /* opening a model has a sweep of its own; a plug-in that can't be opened is done without */
    lmf_device *dev;
    ctx->fault = NULL;
    st = lmf_device_open(ctx, "cpu", &dev);
    if (!st) {
        lmf_device_close(dev);
        st = lmf_model_open(ctx, path, &m);
    }
    ctx->fault = fault;
    if (st || (st = lmf_engine_create(ctx, m, &o, &e)) || (st = lmf_session_create(e, NULL, &s)) ||
        (st = lmf_session_append(s, (int32_t[]){ 1, 2, 3 }, 3, NULL)) || (st = lmf_session_fork(s, &c)) || (st = lmf_session_generate(s, &gen)))
        goto done;
    while (live && !st)
        st = lmf_engine_step(e, &live);
    if (!st)
        st = lmf_session_read(s, tok, 8, &n);
done:
    lmf_session_destroy(c);
    lmf_session_destroy(s);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    return st;
}

static void each_call_fails(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static char path[512];
    static const tiny_spec plain = { 0 };
    snprintf(path, sizeof path, "%s", lmf_test_path("sweep.gguf"));
    assert_ok(ctx, tiny_write(ctx, path, &plain));
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(one_answer, path) > 40);
}

/* With need_invariant the bits of an answer are the same in any company and any chunks. */
static void invariant(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_token first[NEW], out[NEW + 1];
    for (int run = 0; run < 3; run++) {
        lmf_engine *e;
        lmf_engine_opts o = lmf_engine_opts_default();
        o.compute = 0, o.need_invariant = true, o.max_seqs = 1 + run, o.prefill_chunk = 7 + 30 * run;
        assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
        for (int i = 0; i < run; i++)
            start(ctx, e, 10 + i, 20 + 30 * i, 30, 0.5f);
        lmf_session *s = start(ctx, e, 1, 50, NEW, 0.8f);
        run_all(ctx, e);
        assert_int_equal(read_all(ctx, s, out, NEW + 1), NEW);
        if (run == 0)
            memcpy(first, out, sizeof first);
        assert_memory_equal(out, first, sizeof first);
        lmf_engine_destroy(e);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(engine) = {
    { "any chunk and page size gives the answer of one pass", chunks }, { "company changes no answer", company },
    { "invariant: the same bits in any company", invariant },
    { "a step allocates nothing", no_allocation }, { "logits that are not numbers end the session", not_a_number },
    { "options out of range are refused", refusals }, { "keys and values in f16", cache_types }, { "every failing call is survived", each_call_fails }, { 0 } };
