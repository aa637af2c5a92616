/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/measure.h"
#include <math.h>
#include <string.h>

uint64_t lmf_measure_bytes(const lmf_model *m)
{
    return 2 * (uint64_t)LMF_MEASURE_WINDOW * (uint64_t)lmf_model_config(m)->vocab * sizeof(float);
}

typedef struct row_of { double max, log_sum; int64_t top; } row_of;

static row_of look_at(const float *logits, int64_t n)
{
    row_of r = { .max = -INFINITY };
    for (int64_t i = 0; i < n; i++)
        if ((double)logits[i] > r.max || isnan(logits[i]))
            r.max = (double)logits[i], r.top = i;
    for (int64_t i = 0; i < n; i++)
        r.log_sum += exp((double)logits[i] - r.max);
    r.log_sum = log(r.log_sum);
    return r;
}

static void add_row(const float *a, const float *b, int64_t n, int32_t next, double nll[2], lmf_measured *out)
{
    row_of p = look_at(a, n), q = look_at(b, n);
    for (int64_t i = 0; i < n; i++) {
        double lp = (double)a[i] - p.max - p.log_sum, lq = (double)b[i] - q.max - q.log_sum;
        out->mean_kl += exp(lp) * (lp - lq);
    }
    nll[0] -= (double)a[next] - p.max - p.log_sum;
    nll[1] -= (double)b[next] - q.max - q.log_sum;
    out->same_top += p.top == q.top;
    out->n_scored++;
}

static lmf_status run(lmf_ctx *ctx, lmf_scorer *a, lmf_scorer *b, const lmf_model *m, const int32_t *id, lmf_eval_progress progress,
                      void *user, lmf_measured *out)
{
    enum { W = LMF_MEASURE_WINDOW };
    const lmf_token_ids *special = lmf_tokenizer_ids(m->tokenizer);
    int64_t V = lmf_model_config(m)->vocab;
    double nll[2] = { 0 };
    for (int64_t w = 0; w < out->n_windows; w++) {
        int32_t window[W];
        const float *la, *lb;
        memcpy(window, id + w * W, sizeof window);
        if (special->add_bos && special->bos >= 0)
            window[0] = special->bos;
        LMF_TRY(lmf_scorer_logits(a, window, W, &la));
        LMF_TRY(lmf_scorer_logits(b, window, W, &lb));
        for (int t = W / 2; t < W - 1; t++)
            add_row(la + t * V, lb + t * V, V, window[t + 1], nll, out);
        if (progress && !progress(user, w + 1, out->n_windows))
            return LMF_FAIL(ctx, LMF_E_CANCELLED, "stopped after %lld of %lld windows; nothing was written", (long long)(w + 1),
                            (long long)out->n_windows);
    }
    double n = (double)out->n_scored;
    out->source_perplexity = exp(nll[0] / n);
    out->perplexity = exp(nll[1] / n);
    out->mean_kl /= n;
    out->same_top /= n;
    if (!isfinite(out->source_perplexity) || !isfinite(out->perplexity) || !isfinite(out->mean_kl))
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the %s gives values that are no numbers: its weights are damaged or too large",
                        isfinite(out->source_perplexity) ? "quantized model" : "model");
    return LMF_OK;
}

lmf_status lmf_measure(lmf_ctx *ctx, const lmf_model *source, const lmf_model *model, const int32_t *id, int64_t n,
                       lmf_eval_progress progress, void *user, lmf_measured *out)
{
    lmf_scorer *a = NULL, *b = NULL;
    *out = (lmf_measured){ .n_windows = n / LMF_MEASURE_WINDOW };
    if (!out->n_windows)
        return LMF_FAIL(ctx, LMF_E_ARG, "the text to measure on has %lld tokens, fewer than one window of %d", (long long)n,
                        LMF_MEASURE_WINDOW);
    if (lmf_model_config(source)->context < LMF_MEASURE_WINDOW)
        return LMF_FAIL(ctx, LMF_E_ARG, "the model was made for %d tokens; measuring takes windows of %d",
                        lmf_model_config(source)->context, LMF_MEASURE_WINDOW);
    lmf_scorer_opts o = { .max_tok = LMF_MEASURE_WINDOW, .logits = true };
    lmf_status s = lmf_scorer_create(ctx, source, &o, &a);
    if (!s)
        s = lmf_scorer_create(ctx, model, &o, &b);
    if (!s)
        s = run(ctx, a, b, source, id, progress, user, out);
    lmf_scorer_destroy(a);
    lmf_scorer_destroy(b);
    return s;
}
