/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is measured twice is measured by the same graph on the same rows, so that equal weights give equal numbers. */
#include "train/guards.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/plain.h"
#include "train/trainer_internal.h"

enum { STEPS_BEHIND = 20, LEAST_STEPS = 8, MAX_ZERO = 3, MAX_RISING = 10, N_COMPARED = 256 };

/* ---- the model ---- */
static double row_norm(const lmf_weight *w, int64_t i, float *row)
{
    int64_t n = w->v.dim[1];
    double sum = 0;
    w->v.fmt->unpack((const char *)w->v.data + lmf_format_bytes(w->v.fmt, n) * (size_t)i, row, n);
    for (int64_t k = 0; k < n; k++)
        sum += (double)row[k] * (double)row[k];
    return sqrt(sum / (double)n);
}

/* Marks the control tokens that samples hold. */
static void mark_used(const lmf_tokenizer *t, const lmf_samples *s, int64_t n_rows, uint8_t *used)
{
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t k = 0; k < s->items[i].n; k++)
            if (s->items[i].id[k] < n_rows && lmf_tokenizer_kind(t, s->items[i].id[k]) == LMF_TOKEN_CONTROL)
                used[s->items[i].id[k]] = 1;
}

static lmf_status look_at_rows(const lmf_model *m, const lmf_dataset *data, const lmf_weight *w, uint8_t *used, float *row, lmf_faults *out)
{
    double mean = 0;
    int64_t n = w->v.dim[0], step = n / N_COMPARED + 1, count = 0;
    for (int64_t i = 0; i < n; i += step, count++)
        mean += row_norm(w, i, row);
    mean /= (double)count;
    mark_used(m->tokenizer, data->train, n, used);
    for (int64_t i = 0; i < n; i++) {
        size_t len;
        char text[64], raw[64];
        if (!used[i] || row_norm(w, i, row) > 1e-3 * mean)
            continue;
        const char *p = (const char *)lmf_tokenizer_piece(m->tokenizer, (int32_t)i, &len);
        snprintf(raw, sizeof raw, "%.*s", (int)(len < 60 ? len : 60), p);
        LMF_TRY(lmf_faults_add(out, "untrained_token", true,
                               "the rows hold %s (token %lld), whose embedding was never trained: it is all but zero. LoRA "
                               "leaves it so; take the instruct model, another template, or --method full", lmf_plain_text(raw, text,
                                   sizeof text),
                               (long long)i));
    }
    return LMF_OK;
}

lmf_status lmf_model_faults(const lmf_model *m, const lmf_dataset *data, bool full, lmf_faults *out)
{
    const lmf_weight *w = lmf_weights_find(m->weights, "embed");
    if (full || !w || w->v.n_dims != 2)
        return LMF_OK;
    size_t bytes = (size_t)w->v.dim[0] + (size_t)w->v.dim[1] * sizeof(float);
    float *row = lmf_alloc(m->ctx, bytes);
    if (!row)
        return LMF_NO_MEMORY(m->ctx, bytes, "looking at embeddings");
    lmf_status s = look_at_rows(m, data, w, (uint8_t *)(row + w->v.dim[1]), row, out);
    lmf_free(m->ctx, row, bytes);
    return s;
}

/* ---- the run ---- */
/* The loss of the rows of the first step, with the weights as they are. */
static lmf_status first_rows_loss(lmf_trainer *t, double *loss)
{
    const lmf_samples *all = t->batches.samples;
    int32_t size = lmf_samples_group_size(all);
    size_t bytes = sizeof(lmf_step_plan);
    lmf_step_plan *plan = lmf_alloc(t->ctx, bytes);
    lmf_samples some = { .ctx = t->ctx, .group_size = size, .n_measured = all->n_measured };
    if (!plan)
        return LMF_NO_MEMORY(t->ctx, bytes, "a batch");
    lmf_status s = lmf_batches_step(&t->batches, 0, plan);
    size_t items = (size_t)plan->n_groups * (size_t)size * sizeof *some.items;
    some.items = s ? NULL : lmf_alloc(t->ctx, items);
    if (!s && !some.items)
        s = LMF_NO_MEMORY(t->ctx, items, "a batch");
    for (int i = 0; !s && i < plan->n_groups; i++)
        for (int32_t k = 0; k < size; k++)
            some.items[some.n++] = all->items[plan->group[i] * size + k];
    if (!s)
        s = lmf_trainer_eval(t, &some, loss);
    lmf_free(t->ctx, some.items, items);
    lmf_free(t->ctx, plan, bytes);
    return s;
}

lmf_status lmf_learning_start(lmf_trainer *t, lmf_learning *l)
{
    int64_t n = t->batches.n_steps;
    *l = (lmf_learning){ .check_at = t->opts.warmup_steps + STEPS_BEHIND < n ? t->opts.warmup_steps + STEPS_BEHIND : n };
    if (t->step || n < LEAST_STEPS)
        return l->check_at = 0, LMF_OK;
    return first_rows_loss(t, &l->first);
}

lmf_status lmf_learning_step(lmf_trainer *t, const lmf_train_stats *s, lmf_learning *l, lmf_faults *out)
{
    double now;
    l->n_zero = s->grad_norm == 0 ? l->n_zero + 1 : 0;
    if (l->n_zero == MAX_ZERO)
        LMF_TRY(lmf_faults_add(out, "zero_gradients", true,
                               "step %lld: for %d steps in a row the gradients were all zero: nothing is learned. Look at "
                               "what is trained (--target-modules, --lora-alpha) and at the rows", (long long)s->step, MAX_ZERO));
    l->n_rising = l->first > 0 && s->loss > 2 * l->first + 1 ? l->n_rising + 1 : 0;
    if (l->n_rising == MAX_RISING && !l->said) {
        l->said = true;
        LMF_TRY(lmf_faults_add(out, "rising", false,
                               "step %lld: for %d steps the loss was far above the first one (%.4g, now %.4g); the learning rate "
                               "is too high for this model", (long long)s->step, MAX_RISING, l->first, s->loss));
    }
    if (s->step != l->check_at || s->n_skipped)
        return LMF_OK;
    LMF_TRY(first_rows_loss(t, &now));
    if (fabs(now - l->first) < 1e-5 * fabs(l->first))
        LMF_TRY(lmf_faults_add(out, "flat", true,
                               "step %lld: the loss of the first rows has not moved (%.8g, now %.8g): with a learning rate of %g%s nothing "
                               "is "
                               "learned", (long long)s->step, l->first, now, t->opts.lr, t->opts.full ? "" : ", this rank and this alpha"));
    return LMF_OK;
}
