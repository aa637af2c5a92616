/* SPDX-License-Identifier: Apache-2.0 */
#include "train/batches.h"
#include <math.h>
#include <string.h>

enum { DEFAULT_MICRO_TOK = 2048, ROUND_TOK = 16, SURVEY_STEPS = 4096, TARGET_BUCKETS = 6 };

static lmf_status make_order(lmf_batches *b, uint32_t epoch)
{
    if (b->order_made && b->order_epoch == epoch)
        return LMF_OK;
    if (b->shuffle)
        lmf_shuffle(b->seed, epoch, b->order, b->n_groups);
    else
        for (int64_t i = 0; i < b->n_groups; i++)
            b->order[i] = i;
    b->order_epoch = epoch;
    b->order_made = true;
    return LMF_OK;
}

static int bucket_for(const lmf_batches *b, int32_t n_tok)
{
    int i = 0;
    while (i + 1 < b->n_buckets && b->bucket[i] < n_tok)
        i++;
    return i;
}

/* Groups drawn[0 .. n) of the samples. */
static lmf_status lay(lmf_batches *b, const lmf_samples *samples, const int64_t *drawn, int n, lmf_step_plan *out)
{
    int32_t len[LMF_MAX_STEP_ROWS], scratch[2 * LMF_MAX_STEP_ROWS];
    int bin[LMF_MAX_STEP_ROWS];
    *out = (lmf_step_plan){ .n_groups = n };
    for (int i = 0; i < n; i++) {
        len[i] = lmf_samples_group_tok(samples, drawn[i]);
        out->n_tok += len[i];
        for (int32_t k = 0; k < b->n_trained; k++)
            out->n_learn += samples->items[drawn[i] * b->group_size + k].n_learn;
    }
    out->n_micro = lmf_pack(len, n, b->cap_tok, bin, scratch);
    if (out->n_micro < 0)
        return LMF_NO_MEMORY(b->ctx, 2 * (size_t)n * sizeof *len, "packing a batch");
    int at = 0;
    for (int k = 0; k < out->n_micro; k++) {
        lmf_micro *m = &out->micro[k];
        for (int i = 0; i < n; i++)
            if (bin[i] == k) {
                out->group[at++] = drawn[i];
                m->n_groups++;
                m->n_tok += len[i];
            }
        m->i_bucket = bucket_for(b, m->n_tok);
    }
    return LMF_OK;
}

lmf_status lmf_batches_step(lmf_batches *b, int64_t step, lmf_step_plan *out)
{
    int64_t drawn[LMF_MAX_STEP_ROWS], first = step % b->steps_per_epoch * b->step_rows;
    LMF_TRY(make_order(b, (uint32_t)(step / b->steps_per_epoch)));
    int n = (int)(b->n_groups - first < b->step_rows ? b->n_groups - first : b->step_rows);
    for (int i = 0; i < n; i++)
        drawn[i] = b->order[first + i];
    return lay(b, b->samples, drawn, n, out);
}

lmf_status lmf_batches_lay(lmf_batches *b, const lmf_samples *samples, lmf_step_plan *out)
{
    int64_t drawn[LMF_MAX_STEP_ROWS], n = lmf_samples_n_groups(samples);
    LMF_ASSERT(n <= b->step_rows);
    for (int64_t i = 0; i < n; i++)
        drawn[i] = i;
    return lay(b, samples, drawn, (int)n, out);
}

static int by_size(const void *a, const void *b)
{
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : *(const int32_t *)a > *(const int32_t *)b;
}

/* Sizes [n], rising: the k boundaries (each one of the sizes) under which the fewest rows are padded. Dynamic programming over
 * distinct sizes; cost[j] is the padding when the first j sizes are served. */
static lmf_status choose(lmf_batches *b, const int32_t *size, int n)
{
    size_t bytes = (size_t)(TARGET_BUCKETS + 1) * ((size_t)n + 1) * (sizeof(double) + sizeof(int));
    double *cost = lmf_alloc(b->ctx, bytes);
    if (!cost)
        return LMF_NO_MEMORY(b->ctx, bytes, "choosing batch sizes");
    int *from = (int *)(cost + (TARGET_BUCKETS + 1) * (n + 1)), w = n + 1;
    for (int j = 1; j <= n; j++)
        cost[j] = INFINITY;
    for (int k = 1; k <= TARGET_BUCKETS; k++)
        for (int j = 0; j <= n; j++) {
            double pad = 0;
            cost[k * w + j] = j ? INFINITY : 0;
            for (int i = j - 1; i >= 0; i--) { /* sizes i .. j-1 in a bucket of size[j-1] */
                pad += size[j - 1] - size[i];
                if (cost[(k - 1) * w + i] + pad < cost[k * w + j]) {
                    cost[k * w + j] = cost[(k - 1) * w + i] + pad;
                    from[k * w + j] = i;
                }
            }
        }
    int k = TARGET_BUCKETS;
    while (k > 1 && cost[(k - 1) * w + n] <= cost[k * w + n])
        k--;
    b->n_buckets = k;
    for (int j = n; k > 0; j = from[k * w + j], k--)
        b->bucket[k - 1] = size[j - 1];
    lmf_free(b->ctx, cost, bytes);
    return LMF_OK;
}

/* The sizes of micro-batches that the run will have (its first steps, if it is long). */
static lmf_status survey(lmf_batches *b)
{
    int64_t n_steps = b->n_steps < SURVEY_STEPS ? b->n_steps : SURVEY_STEPS;
    int n = 0, cap = 4096;
    size_t bytes = (size_t)cap * sizeof(int32_t) + sizeof(lmf_step_plan);
    int32_t *size = lmf_alloc(b->ctx, bytes);
    if (!size)
        return LMF_NO_MEMORY(b->ctx, bytes, "choosing batch sizes");
    lmf_step_plan *plan = (lmf_step_plan *)(size + cap);
    lmf_status s = LMF_OK;
    int32_t largest = 0;
    for (int64_t i = 0; !s && i < n_steps; i++) {
        s = lmf_batches_step(b, i, plan);
        for (int k = 0; !s && k < plan->n_micro; k++) {
            int32_t t = (plan->micro[k].n_tok + ROUND_TOK - 1) / ROUND_TOK * ROUND_TOK;
            largest = t > largest ? t : largest;
            int32_t seqs = (plan->micro[k].n_groups + 1) * b->n_trained;
            b->max_seqs = seqs > b->max_seqs ? seqs : b->max_seqs;
            if (n < 512)
                size[n++] = t;
        }
    }
    if (!s) {
        size[n - 1] = largest > size[n - 1] ? largest : size[n - 1];
        qsort(size, (size_t)n, sizeof *size, by_size);
        s = choose(b, size, n);
    }
    if (!s && n_steps < b->n_steps) { /* steps that were not looked at may fill a micro-batch */
        b->bucket[b->n_buckets - 1] = b->cap_tok;
        b->max_seqs = (b->step_rows + 1) * b->n_trained;
    }
    lmf_free(b->ctx, size, bytes);
    return s;
}

lmf_status lmf_batches_init(lmf_batches *b, lmf_ctx *ctx, const lmf_samples *samples, uint64_t seed, bool shuffle, int32_t step_rows,
                            int32_t micro_tok, double epochs, int64_t n_steps)
{
    *b = (lmf_batches){ .ctx = ctx, .samples = samples, .seed = seed, .shuffle = shuffle, .step_rows = step_rows,
                        .group_size = lmf_samples_group_size(samples), .n_trained = lmf_samples_n_trained(samples),
                        .n_groups = lmf_samples_n_groups(samples) };
    if (step_rows < 1 || step_rows > LMF_MAX_STEP_ROWS)
        return LMF_FAIL(ctx, LMF_E_ARG, "a step of %d rows: 1 to %d are possible (batch size times accumulation)", step_rows, LMF_MAX_STEP_ROWS);
    b->steps_per_epoch = (b->n_groups + step_rows - 1) / step_rows;
    b->n_steps = n_steps ? n_steps : (int64_t)ceil(epochs * (double)b->steps_per_epoch);
    b->cap_tok = micro_tok ? micro_tok : DEFAULT_MICRO_TOK;
    int32_t longest = (lmf_samples_longest_group(samples) + ROUND_TOK - 1) / ROUND_TOK * ROUND_TOK;
    if (b->cap_tok < longest)
        b->cap_tok = longest;
    b->order = lmf_alloc(ctx, (size_t)b->n_groups * sizeof *b->order);
    if (!b->order)
        return LMF_NO_MEMORY(ctx, (size_t)b->n_groups * sizeof *b->order, "the order of samples");
    return survey(b);
}

void lmf_batches_widen(lmf_batches *b, int32_t longest)
{
    int64_t rounded = ((int64_t)longest + ROUND_TOK - 1) / ROUND_TOK * ROUND_TOK, all = rounded * b->step_rows;
    int32_t *largest = &b->bucket[b->n_buckets - 1];
    int64_t cap = all < b->cap_tok ? all : b->cap_tok; /* what is packed need not fill more than all of them */
    cap = rounded > cap ? rounded : cap;
    *largest = cap > *largest ? (int32_t)cap : *largest;
    b->cap_tok = *largest;
    b->max_seqs = (b->step_rows + 1) * b->n_trained;
}

lmf_status lmf_batches_init_open(lmf_batches *b, lmf_ctx *ctx, const lmf_samples *of, int64_t times, int32_t step_rows, int32_t longest,
                                 int32_t micro_tok, double epochs, int64_t n_steps)
{
    *b = (lmf_batches){ .ctx = ctx, .samples = of, .step_rows = step_rows, .group_size = lmf_samples_group_size(of),
                        .n_trained = lmf_samples_n_trained(of), .n_groups = lmf_samples_n_groups(of) };
    if (step_rows < 1 || step_rows > LMF_MAX_STEP_ROWS)
        return LMF_FAIL(ctx, LMF_E_ARG, "a step of %d rows: 1 to %d are possible (batch size times accumulation)", step_rows,
            LMF_MAX_STEP_ROWS);
    b->steps_per_epoch = (b->n_groups * times + step_rows - 1) / step_rows;
    b->n_steps = n_steps ? n_steps : (int64_t)ceil(epochs * (double)b->steps_per_epoch);
    b->cap_tok = micro_tok ? micro_tok : DEFAULT_MICRO_TOK;
    int64_t rounded = ((int64_t)longest + ROUND_TOK - 1) / ROUND_TOK * ROUND_TOK, all = rounded * step_rows;
    b->cap_tok = all < b->cap_tok ? (int32_t)all : b->cap_tok;
    b->cap_tok = (int32_t)(rounded > b->cap_tok ? rounded : b->cap_tok);
    for (int k = 1; k <= TARGET_BUCKETS; k++) { /* evenly up to the greatest */
        int32_t size = (int32_t)(((int64_t)b->cap_tok * k / TARGET_BUCKETS + ROUND_TOK - 1) / ROUND_TOK * ROUND_TOK);
        if (!b->n_buckets || size > b->bucket[b->n_buckets - 1])
            b->bucket[b->n_buckets++] = size;
    }
    b->bucket[b->n_buckets - 1] = b->cap_tok > b->bucket[b->n_buckets - 1] ? b->cap_tok : b->bucket[b->n_buckets - 1];
    b->max_seqs = (step_rows + 1) * b->n_trained;
    b->order = lmf_alloc(ctx, (size_t)b->n_groups * sizeof *b->order);
    return b->order ? LMF_OK : LMF_NO_MEMORY(ctx, (size_t)b->n_groups * sizeof *b->order, "the order of samples");
}

void lmf_batches_clear(lmf_batches *b)
{
    if (b->ctx && b->samples)
        lmf_free(b->ctx, b->order, (size_t)b->n_groups * sizeof *b->order);
    *b = (lmf_batches){ 0 };
}
