/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/perplexity.h"
#include <math.h>

static lmf_status run(lmf_scorer *scorer, const lmf_model *m, lmf_ids *ids, float *logp, int32_t context, lmf_eval_progress progress, void *user,
                      lmf_perplexity_stats *out)
{
    const lmf_token_ids *special = lmf_tokenizer_ids(m->tokenizer);
    int32_t first = context / 2 + 1; /* the predictions behind tokens context/2 .. context-2 */
    double sum = 0;
    for (int64_t w = 0; w < out->n_windows; w++) {
        int32_t *id = ids->data + w * context;
        if (special->add_bos && special->bos >= 0)
            id[0] = special->bos;
        LMF_TRY(lmf_scorer_logp(scorer, id, context, first, logp));
        for (int32_t i = first; i < context; i++)
            sum -= (double)logp[i];
        out->n_scored += context - first;
        if (progress && !progress(user, w + 1, out->n_windows))
            return LMF_FAIL(m->ctx, LMF_E_CANCELLED, "stopped after %lld of %lld windows", (long long)(w + 1), (long long)out->n_windows);
    }
    out->mean_nll = sum / (double)out->n_scored;
    out->perplexity = exp(out->mean_nll);
    return LMF_OK;
}

lmf_status lmf_perplexity(lmf_scorer *scorer, const lmf_model *m, const char *text, size_t n, int32_t context, int64_t max_tok,
                          lmf_eval_progress progress, void *user, lmf_perplexity_stats *out)
{
    lmf_ids ids;
    float *logp = NULL;
    *out = (lmf_perplexity_stats){ 0 };
    if (context < 4)
        return LMF_FAIL(m->ctx, LMF_E_ARG, "windows of %d tokens: at least 4 are needed", context);
    lmf_ids_init(&ids, m->ctx, (size_t)1 << 30);
    lmf_status s = lmf_tokenizer_encode(m->tokenizer, text, n, LMF_ENCODE_DEFAULTS, &ids);
    int64_t n_tok = max_tok && max_tok < (int64_t)ids.n ? max_tok : (int64_t)ids.n;
    out->n_windows = n_tok / context;
    out->n_tok = out->n_windows * context;
    if (!s && out->n_windows == 0)
        s = LMF_FAIL(m->ctx, LMF_E_ARG, "the text has %zu tokens and %lld may be used, fewer than one window of %d", ids.n, (long long)n_tok, context);
    if (!s && !(logp = lmf_alloc(m->ctx, (size_t)context * sizeof *logp)))
        s = LMF_NO_MEMORY(m->ctx, (size_t)context * sizeof *logp, "scores");
    if (!s)
        s = run(scorer, m, &ids, logp, context, progress, user, out);
    lmf_free(m->ctx, logp, (size_t)context * sizeof *logp);
    lmf_ids_clear(&ids);
    return s;
}
