/* SPDX-License-Identifier: Apache-2.0 */
/* Forward passes over samples with the score graphs: evaluation, and the reference's log-probabilities.
 * Rule: a reference is made with the parameters that the run starts from, at whatever step: it depends on these and the samples alone. */
#include <string.h>
#include "train/trainer_internal.h"

/* Groups of samples (NULL: all, in order), and which members of each. */
typedef struct range { const int64_t *group; int64_t n; lmf_members of; } range;
typedef struct pack { int64_t group[LMF_MAX_STEP_ROWS]; int n, i_graph; int64_t n_tok; } pack; /* of one run of a score graph */

static int64_t tokens_of(const lmf_samples *samples, int64_t group, lmf_members of)
{
    int64_t n = 0;
    for (int32_t k = 0; k < of.n; k++)
        n += samples->items[group * lmf_samples_group_size(samples) + of.first + k].n;
    return n;
}

/* As many groups of the range from its i-th as one graph holds, run. */
static lmf_status score_pack(lmf_trainer *t, const lmf_laid *laid, const range *r, int64_t i, pack *p)
{
    const lmf_batches *b = &t->batches;
    int64_t cap = lmf__trainer_eval_size(t, b->n_buckets - 1), wide = r->of.n > b->n_trained ? r->of.n : b->n_trained;
    int64_t most = b->max_seqs / wide - 1;
    p->n = 0, p->n_tok = 0;
    for (; i < r->n && p->n < most; i++) {
        int64_t g = r->group ? r->group[i] : i, n = tokens_of(laid->samples, g, r->of);
        if (p->n_tok + n > cap && p->n)
            break;
        if (n > cap)
            return LMF_FAIL(t->ctx, LMF_E_LIMIT, "an evaluation row of %lld tokens is longer than the %lld that this trainer was made for "
                            "(eval_tok)", (long long)n, (long long)cap);
        p->n_tok += n;
        p->group[p->n++] = g;
    }
    int k = 0;
    while (lmf__trainer_eval_size(t, k) < p->n_tok)
        k++;
    p->i_graph = b->n_buckets + k;
    lmf__trainer_fill(t, p->i_graph, lmf__trainer_eval_size(t, k), laid, p->group, p->n, r->of);
    LMF_TRY(lmf_plan_run(t->plan, p->i_graph));
    return lmf_plan_wait(t->plan, p->i_graph);
}

/* Sums over each sample's learned tokens, in the order of the range, to logp[0], logp[step] ...; or, tok not NULL, of each token to its
 * sample's own array. */
static lmf_status score_range(lmf_trainer *t, const lmf_laid *laid, const range *r, float *logp, int64_t step, float *const *tok)
{
    pack p;
    int32_t size = lmf_samples_group_size(laid->samples);
    for (int64_t i = 0; i < r->n; i += p.n) {
        LMF_TRY(score_pack(t, laid, r, i, &p));
        const float *token = lmf_plan_io(t->plan, p.i_graph, "logp");
        for (int64_t k = 0; k < p.n * r->of.n; k++) {
            const lmf_sample *s = &laid->samples->items[p.group[k / r->of.n] * size + r->of.first + k % r->of.n];
            double sum = 0;
            for (int32_t j = 0; j < s->n; j++, token++) {
                sum += (double)*token;
                if (tok && j + 1 < s->n)
                    tok[s - laid->samples->items][j + 1] = *token;
            }
            if (!tok)
                *logp = (float)sum, logp += step;
        }
    }
    return LMF_OK;
}

lmf_status lmf__trainer_measure(lmf_trainer *t, const lmf_laid *laid, const int64_t *group, int64_t n, lmf_totals *totals, float *room)
{
    lmf_members of = { t->batches.n_trained, t->objective->n_measured };
    range r = { group, n, of };
    if (!of.n)
        return LMF_OK;
    float *reference = room + n * of.n;
    LMF_TRY(score_range(t, laid, &r, room, 1, NULL));
    for (int64_t k = 0; k < n * of.n; k++) {
        int64_t g = group ? group[k / of.n] : k / of.n;
        reference[k] = laid->reference ? laid->reference[g * t->batches.group_size + of.first + k % of.n] : 0;
    }
    t->objective->measure(room, reference, n * of.n, totals);
    return LMF_OK;
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

/* Of every sample, at its place. */
static lmf_status score_all(lmf_trainer *t, const lmf_samples *samples, float *logp, float *const *tok)
{
    int64_t n = lmf_samples_n_groups(samples);
    int32_t size = lmf_samples_group_size(samples);
    lmf_totals totals = lmf_totals_of(samples, NULL, n);
    lmf_laid laid = { samples, &totals, NULL };
    for (int32_t k = 0; k < size; k++) { /* one member after the other: a measured one may be longer than the trained ones together */
        range r = { NULL, n, { k, 1 } };
        LMF_TRY(score_range(t, &laid, &r, logp ? logp + k : NULL, size, tok));
    }
    return LMF_OK;
}

/* With the parameters of the start in place of today's, which are put back. */
static lmf_status score_start(lmf_trainer *t, const lmf_samples *samples, float *logp, float *const *tok)
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
        s = score_all(t, samples, logp, tok);
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
    lmf_status s = score_start(t, samples, logp, NULL);
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

lmf_status lmf_trainer_logp(lmf_trainer *t, const lmf_samples *samples, bool start, float *const *logp)
{
    return start ? score_start(t, samples, NULL, logp) : score_all(t, samples, NULL, logp);
}

/* ---- evaluation ---- */
lmf_status lmf_trainer_eval(lmf_trainer *t, const lmf_samples *samples, double *loss)
{
    return lmf_trainer_eval_report(t, samples, loss, NULL);
}

static lmf_status check_samples(const lmf_trainer *t, const lmf_samples *samples)
{
    int32_t size = lmf_samples_group_size(samples);
    if (t->objective->takes == LMF_TAKES_PROMPT)
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "the objective \"%s\" learns from answers that are sampled: rows have no loss under it",
                        t->objective->name);
    if (size != t->batches.group_size || lmf_samples_n_trained(samples) != t->batches.n_trained)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "evaluation samples in groups of %d, where those trained on are in groups of %d", size,
                        t->batches.group_size);
    return LMF_OK;
}

/* What the objective measures of all samples. */
static lmf_status measure_all(lmf_trainer *t, const lmf_laid *laid, lmf_totals *totals)
{
    int64_t n = lmf_samples_n_groups(laid->samples);
    size_t bytes = 2 * (size_t)n * (size_t)t->objective->n_measured * sizeof(float);
    if (!bytes)
        return LMF_OK;
    float *room = lmf_alloc(t->ctx, bytes);
    if (!room)
        return LMF_NO_MEMORY(t->ctx, bytes, "log-probabilities");
    lmf_status s = lmf__trainer_measure(t, laid, NULL, n, totals, room);
    lmf_free(t->ctx, room, bytes);
    return s;
}

lmf_status lmf_trainer_eval_report(lmf_trainer *t, const lmf_samples *samples, double *loss, double *report)
{
    double sum = 0, sum_logp = 0, reports[LMF_MAX_REPORTS] = { 0 };
    bool own_loss = false;
    pack p;
    LMF_TRY(check_samples(t, samples));
    if (t->objective->reference)
        LMF_TRY(make_reference(t, samples, &t->eval_reference));
    range all = { NULL, lmf_samples_n_groups(samples), { 0, t->batches.n_trained } };
    lmf_totals totals = lmf_totals_of(samples, NULL, all.n);
    lmf_laid laid = { samples, &totals, t->eval_reference.logp };
    LMF_TRY(measure_all(t, &laid, &totals));
    for (int64_t i = 0; i < all.n; i += p.n) {
        LMF_TRY(score_pack(t, &laid, &all, i, &p));
        const float *logp = lmf_plan_io(t->plan, p.i_graph, "logp"), *own = lmf_plan_io(t->plan, p.i_graph, "loss");
        own_loss = own != NULL;
        for (int64_t r = 0; r < p.n_tok && !own; r++)
            sum_logp += (double)logp[r];
        sum += own ? (double)*own : 0;
        lmf__trainer_take_reports(t, p.i_graph, reports);
    }
    int64_t n_learn = 0;
    for (int k = 0; k < t->batches.n_trained; k++)
        n_learn += totals.n_learn[k];
    *loss = own_loss ? sum : n_learn ? -sum_logp / (double)n_learn : 0;
    if (report)
        memcpy(report, reports, sizeof reports);
    return LMF_OK;
}
