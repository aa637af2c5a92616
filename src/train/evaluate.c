/* SPDX-License-Identifier: Apache-2.0 */
/* Forward passes over samples with the score graphs: evaluation, and the reference's log-probabilities.
 * Rule: a reference is made with the parameters that the run starts from, at whatever step: it depends on these and the samples alone. */
#include <string.h>
#include "train/trainer_internal.h"

typedef struct pack { int64_t group[LMF_MAX_STEP_ROWS]; int n, i_graph; int64_t n_tok; } pack; /* of one run of a score graph */

/* As many groups from first as one graph holds, run. */
static lmf_status score_pack(lmf_trainer *t, const lmf_laid *laid, int64_t first, pack *p)
{
    const lmf_samples *samples = laid->samples;
    const lmf_batches *b = &t->batches;
    int64_t cap = lmf__trainer_eval_size(t, b->n_buckets - 1), most = b->max_seqs / b->group_size - 1;
    p->n = 0, p->n_tok = 0;
    for (int64_t g = first; g < lmf_samples_n_groups(samples) && p->n < most && p->n_tok + lmf_samples_group_tok(samples, g) <= cap; g++) {
        p->n_tok += lmf_samples_group_tok(samples, g);
        p->group[p->n++] = g;
    }
    if (p->n == 0)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "an evaluation row of %d tokens is longer than the %lld that this trainer was made for "
                        "(eval_tok)",
                        lmf_samples_group_tok(samples, first), (long long)cap);
    int k = 0;
    while (lmf__trainer_eval_size(t, k) < p->n_tok)
        k++;
    p->i_graph = b->n_buckets + k;
    lmf__trainer_fill(t, p->i_graph, lmf__trainer_eval_size(t, k), laid, p->group, p->n);
    LMF_TRY(lmf_plan_run(t->plan, p->i_graph));
    return lmf_plan_wait(t->plan, p->i_graph);
}

/* ---- reference ---- */
static void drop(lmf_trainer *t, lmf_reference *r)
{
    if (r->logp)
        lmf_free(t->ctx, r->logp, (size_t)r->n * sizeof *r->logp);
    *r = (lmf_reference){ 0 };
}

void lmf__trainer_drop_reference(lmf_trainer *t)
{
    drop(t, &t->reference);
    drop(t, &t->eval_reference);
    if (t->start)
        lmf_free(t->ctx, t->start, (size_t)t->params.n_total * sizeof *t->start);
    t->start = NULL;
}

static lmf_status score_all(lmf_trainer *t, const lmf_samples *samples, float *logp)
{
    pack p;
    lmf_totals totals = lmf_totals_of(samples, NULL, lmf_samples_n_groups(samples));
    lmf_laid laid = { samples, &totals, NULL };
    for (int64_t g = 0; g < lmf_samples_n_groups(samples); g += p.n) {
        LMF_TRY(score_pack(t, &laid, g, &p));
        const float *token = lmf_plan_io(t->plan, p.i_graph, "logp");
        for (int64_t i = g * t->batches.group_size; i < (g + p.n) * t->batches.group_size; i++) {
            double sum = 0;
            for (int32_t k = 0; k < samples->items[i].n; k++)
                sum += (double)*token++;
            logp[i] = (float)sum;
        }
    }
    return LMF_OK;
}

/* With the parameters of the start in place of today's, which are put back. */
static lmf_status score_start(lmf_trainer *t, const lmf_samples *samples, float *logp)
{
    size_t n = (size_t)t->params.n_total, bytes = 2 * n * sizeof(float);
    float *now = lmf_alloc(t->ctx, bytes), *start = now + n;
    if (!now)
        return LMF_NO_MEMORY(t->ctx, bytes, "the parameters");
    lmf_status s = lmf_plan_state_read(t->plan, "train.p", now, bytes / 2);
    if (t->start)
        memcpy(start, t->start, bytes / 2);
    else
        lmf__trainer_init_params(t, start);
    if (!s)
        s = lmf_plan_state_write(t->plan, "train.p", start, bytes / 2);
    if (!s) {
        s = score_all(t, samples, logp);
        lmf_status back = lmf_plan_state_write(t->plan, "train.p", now, bytes / 2);
        s = s ? s : back;
    }
    lmf_free(t->ctx, now, bytes);
    return s;
}

static lmf_status make_reference(lmf_trainer *t, const lmf_samples *samples, lmf_reference *r)
{
    char sha[65];
    LMF_TRY(lmf_samples_sha256(samples, t->ctx, sha));
    if (strcmp(sha, r->data_sha256) == 0)
        return LMF_OK;
    drop(t, r);
    size_t bytes = (size_t)samples->n * sizeof *r->logp;
    float *logp = lmf_alloc(t->ctx, bytes);
    if (!logp)
        return LMF_NO_MEMORY(t->ctx, bytes, "the reference's log-probabilities");
    lmf_status s = score_start(t, samples, logp);
    if (s) {
        lmf_free(t->ctx, logp, bytes);
        return s;
    }
    r->logp = logp, r->n = samples->n;
    memcpy(r->data_sha256, sha, sizeof sha);
    return LMF_OK;
}

lmf_status lmf__trainer_reference(lmf_trainer *t)
{
    return !t->objective->reference || t->reference.logp ? LMF_OK : make_reference(t, t->batches.samples, &t->reference);
}

/* ---- evaluation ---- */
lmf_status lmf_trainer_eval(lmf_trainer *t, const lmf_samples *samples, double *loss)
{
    return lmf_trainer_eval_report(t, samples, loss, NULL);
}

lmf_status lmf_trainer_eval_report(lmf_trainer *t, const lmf_samples *samples, double *loss, double *report)
{
    double sum = 0, sum_logp = 0, reports[LMF_MAX_REPORTS] = { 0 };
    bool own_loss = false;
    pack p;
    if (lmf_samples_group_size(samples) != t->batches.group_size)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "evaluation samples in groups of %d, where those trained on are in groups of %d",
                        lmf_samples_group_size(samples), t->batches.group_size);
    if (t->objective->reference)
        LMF_TRY(make_reference(t, samples, &t->eval_reference));
    lmf_totals totals = lmf_totals_of(samples, NULL, lmf_samples_n_groups(samples));
    lmf_laid laid = { samples, &totals, t->eval_reference.logp };
    for (int64_t g = 0; g < lmf_samples_n_groups(samples); g += p.n) {
        LMF_TRY(score_pack(t, &laid, g, &p));
        const float *logp = lmf_plan_io(t->plan, p.i_graph, "logp"), *own = lmf_plan_io(t->plan, p.i_graph, "loss");
        own_loss = own != NULL;
        for (int64_t r = 0; r < p.n_tok && !own; r++)
            sum_logp += (double)logp[r];
        sum += own ? (double)*own : 0;
        lmf__trainer_take_reports(t, p.i_graph, reports);
    }
    int64_t n_learn = 0;
    for (int k = 0; k < LMF_MAX_GROUP; k++)
        n_learn += totals.n_learn[k];
    *loss = own_loss ? sum : n_learn ? -sum_logp / (double)n_learn : 0;
    if (report)
        memcpy(report, reports, sizeof reports);
    return LMF_OK;
}
