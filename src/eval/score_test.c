/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/score.h"
#include "eval/perplexity.h"
#include "models/model_test.h"

enum { N = 41 };

static void make_ids(int32_t *id)
{
    for (int i = 0; i < N; i++)
        id[i] = (i * 37 + 5) % 256;
}

static double logp_of(const float *logits, int32_t id)
{
    double top = -INFINITY, sum = 0;
    for (int v = 0; v < M_VOCAB; v++)
        top = fmax(top, (double)logits[v]);
    for (int v = 0; v < M_VOCAB; v++)
        sum += exp((double)logits[v] - top);
    return (double)logits[id] - top - log(sum);
}

/* Against the body and head run alone, at lengths below, at and above a graph's. */
static void logp_is_softmax_of_logits(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("score.gguf");
    lmf_model *m;
    lmf_scorer *s;
    int32_t id[N];
    static float want[N * M_VOCAB];
    float logp[N];
    const float *logits;
    make_ids(id);
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    assert_ok(ctx, lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .max_tok = N, .logits = true }, &s));
    for (int n = 2; n <= N; n += n == 31 ? 1 : n == 32 ? 9 : 29) {
        assert_ok(ctx, model_logits(ctx, m, id, n, want));
        logp[1] = 7;
        assert_ok(ctx, lmf_scorer_logp(s, id, n, n > 2 ? 2 : 1, logp));
        if (n > 2 && logp[1] != 7)
            fail_msg("logp before first was written");
        for (int i = n > 2 ? 2 : 1; i < n; i++)
            assert_true(fabs((double)logp[i] - logp_of(want + (i - 1) * M_VOCAB, id[i])) < 1e-4);
        assert_ok(ctx, lmf_scorer_logits(s, id, n, &logits));
        for (int i = 0; i < n * M_VOCAB; i++)
            assert_true(fabsf(logits[i] - want[i]) < 1e-4f);
    }
    assert_refused(ctx, LMF_E_LIMIT, "41", lmf_scorer_logp(s, id, N + 1, 1, logp));
    assert_refused(ctx, LMF_E_ARG, "first token", lmf_scorer_logp(s, id, N, 0, logp));
    lmf_scorer_destroy(s);
    assert_refused(ctx, LMF_E_ARG, "nothing to score", lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .max_tok = 1 }, &s));
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static bool stop(void *user, int64_t done, int64_t total)
{
    (void)user, (void)total;
    return done < 1;
}

static void perplexity_counts_second_halves(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("ppl.gguf");
    lmf_model *m;
    lmf_scorer *s;
    lmf_perplexity_stats st;
    lmf_ids ids;
    static const char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    float logp[16];
    double sum = 0;
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    assert_ok(ctx, lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .max_tok = 16 }, &s));
    assert_ok(ctx, lmf_perplexity(s, m, text, strlen(text), 16, 0, NULL, NULL, &st));
    assert_int_equal(st.n_windows, 2);
    assert_int_equal(st.n_tok, 32);
    assert_int_equal(st.n_scored, 2 * (16 - 8 - 1));
    lmf_ids_init(&ids, ctx, 100);
    assert_ok(ctx, lmf_tokenizer_encode(m->tokenizer, text, strlen(text), LMF_ENCODE_DEFAULTS, &ids));
    for (int w = 0; w < 2; w++) {
        if (lmf_tokenizer_ids(m->tokenizer)->add_bos)
            ids.data[w * 16] = lmf_tokenizer_ids(m->tokenizer)->bos;
        assert_ok(ctx, lmf_scorer_logp(s, ids.data + w * 16, 16, 1, logp));
        for (int i = 9; i < 16; i++)
            sum -= (double)logp[i];
    }
    assert_true(fabs(st.perplexity - exp(sum / 14)) < 1e-4 * st.perplexity);
    assert_ok(ctx, lmf_perplexity(s, m, text, strlen(text), 16, 20, NULL, NULL, &st));
    assert_int_equal(st.n_windows, 1);
    assert_refused(ctx, LMF_E_ARG, "fewer than one window", lmf_perplexity(s, m, text, 5, 16, 0, NULL, NULL, &st));
    assert_refused(ctx, LMF_E_CANCELLED, "1 of 2", lmf_perplexity(s, m, text, strlen(text), 16, 0, stop, NULL, &st));
    lmf_ids_clear(&ids);
    lmf_scorer_destroy(s);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(score) = { { "log-probabilities are the softmax of the logits", logp_is_softmax_of_logits }, { "perplexity counts second halves", perplexity_counts_second_halves }, { 0 } };
