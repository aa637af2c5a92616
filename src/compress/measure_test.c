/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/measure.h"
#include "infer/engine_test.h"

/* Against one pass over each window, and its last half's predictions alone: from the 129th token to the one before the last. */
static void windows(void **state)
{
    (void)state;
    enum { W = LMF_MEASURE_WINDOW, N = 2 * W + 30 };
    static float a[W * TINY_VOCAB], b[W * TINY_VOCAB];
    static const float left[TINY_FFN] = { 3, -2, 1 }, up[TINY_WIDTH] = { 1, 2, -1, 1 };
    const tiny_delta delta = { "blk.1.ffn_down.weight", left, up, 1, 0.7f };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *source = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_model *other = tiny_open(ctx, "other.gguf", &(tiny_spec){ .delta = &delta, .n_delta = 1 });
    const lmf_token_ids *special = lmf_tokenizer_ids(source->tokenizer);
    double nll[2] = { 0 }, kl = 0;
    int n_same = 0, n = 0;
    int32_t id[N];
    lmf_measured got;
    tiny_prompt(id, 3, N);
    for (int w = 0; w < 2; w++) {
        int32_t window[W];
        memcpy(window, id + w * W, sizeof window);
        if (special->add_bos && special->bos >= 0)
            window[0] = special->bos;
        tiny_logits(ctx, source, window, W, a);
        tiny_logits(ctx, other, window, W, b);
        for (int t = 128; t < W - 1; t++, n++) {
            const float *p = a + t * TINY_VOCAB, *q = b + t * TINY_VOCAB;
            int top[2] = { 0 };
            nll[0] -= tiny_logp(p, window[t + 1]), nll[1] -= tiny_logp(q, window[t + 1]);
            for (int i = 0; i < TINY_VOCAB; i++) {
                top[0] = p[i] > p[top[0]] ? i : top[0], top[1] = q[i] > q[top[1]] ? i : top[1];
                kl += exp(tiny_logp(p, i)) * (tiny_logp(p, i) - tiny_logp(q, i));
            }
            n_same += top[0] == top[1];
        }
    }
    assert_ok(ctx, lmf_measure(ctx, source, other, id, N, NULL, NULL, &got));
    assert_int_equal(got.n_windows, 2);
    assert_int_equal(got.n_scored, n);
    assert_true(fabs(got.source_perplexity / exp(nll[0] / n) - 1) < 1e-5 && fabs(got.perplexity / exp(nll[1] / n) - 1) < 1e-5);
    assert_true(kl / n > 1e-4 && fabs(got.mean_kl / (kl / n) - 1) < 1e-3);
    assert_true(n_same < n && n_same > 0 && got.same_top == (double)n_same / n);
    assert_ok(ctx, lmf_measure(ctx, source, source, id, N, NULL, NULL, &got));
    assert_true(got.mean_kl == 0 && got.same_top == 1 && got.perplexity == got.source_perplexity);
    lmf_model_close(source);
    lmf_model_close(other);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(measure) = { { "windows", windows }, { 0 } };
