/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/philox.h"
#include "test.h"
#include "train/batches.h"

enum { MAX_N = 300 };
typedef struct lengths { lmf_samples s; lmf_sample item[MAX_N]; } lengths;

/* Samples of random lengths; batches look at nothing else. */
static void make(lengths *l, uint32_t seed, int n, int32_t least, int32_t most)
{
    *l = (lengths){ .s = { .n = n } };
    l->s.items = l->item;
    for (int i = 0; i < n; i++) {
        int32_t len = least + (int32_t)(lmf_random_u32(seed, 0, 9, (uint64_t)i) % (uint32_t)(most - least + 1));
        l->item[i] = (lmf_sample){ .n = len, .n_learn = len / 2 + 1 };
        l->s.longest = len > l->s.longest ? len : l->s.longest;
    }
}

typedef struct counts { int seen[MAX_N]; int64_t n_tok, n_padded; } counts;

static void check_step(const lmf_batches *b, const lmf_step_plan *p, counts *c)
{
    int at = 0;
    int64_t n_tok = 0, n_learn = 0;
    for (int k = 0; k < p->n_micro; k++) {
        int32_t sum = 0;
        assert_true(p->micro[k].n_groups >= 1 && p->micro[k].n_groups < b->max_seqs);
        for (int i = 0; i < p->micro[k].n_groups; i++, at++) {
            c->seen[p->group[at]]++;
            sum += b->samples->items[p->group[at]].n;
            n_learn += b->samples->items[p->group[at]].n_learn;
        }
        assert_int_equal(sum, p->micro[k].n_tok);
        assert_in_range(p->micro[k].i_bucket, 0, b->n_buckets - 1);
        assert_true(sum <= b->bucket[p->micro[k].i_bucket]);
        assert_true(p->micro[k].i_bucket == 0 || b->bucket[p->micro[k].i_bucket - 1] < sum); /* the smallest that holds it */
        n_tok += sum;
        c->n_padded += b->bucket[p->micro[k].i_bucket];
    }
    assert_int_equal(at, p->n_groups);
    assert_int_equal(n_tok, p->n_tok);
    assert_int_equal(n_learn, p->n_learn);
    c->n_tok += n_tok;
}

static void once_an_epoch(void **state)
{
    (void)state;
    static lmf_step_plan p, again;
    static lengths l;
    lmf_ctx *ctx = lmf_test_ctx();
    static const struct { int n, rows; int32_t least, most, micro; bool shuffle; } cases[] = {
        { 300, 8, 20, 200, 0, true }, { 300, 16, 20, 200, 256, true }, { 299, 7, 1, 40, 16, true }, { 5, 8, 30, 60, 0, false }, { 1, 1, 100, 100, 0, true },
        { 64, 64, 10, 300, 512, false } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lmf_batches b;
        counts c = { 0 };
        make(&l, (uint32_t)i, cases[i].n, cases[i].least, cases[i].most);
        assert_ok(ctx, lmf_batches_init(&b, ctx, &l.s, 5, cases[i].shuffle, cases[i].rows, cases[i].micro, 3, 0));
        assert_int_equal(b.steps_per_epoch, (cases[i].n + cases[i].rows - 1) / cases[i].rows);
        assert_int_equal(b.n_steps, 3 * b.steps_per_epoch);
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            memset(c.seen, 0, sizeof c.seen);
            for (int64_t s = epoch * b.steps_per_epoch; s < (epoch + 1) * b.steps_per_epoch; s++) {
                assert_ok(ctx, lmf_batches_step(&b, s, &p));
                check_step(&b, &p, &c);
            }
            for (int k = 0; k < cases[i].n; k++)
                assert_int_equal(c.seen[k], 1);
        }
        for (int k = 1; k < b.n_buckets; k++)
            assert_true(b.bucket[k] > b.bucket[k - 1]);
        if (cases[i].n > 100) /* six sizes: less than a tenth is padding */
            assert_true(10 * (c.n_padded - c.n_tok) < c.n_tok || cases[i].micro == 16);
        /* a step depends on its number alone */
        assert_ok(ctx, lmf_batches_step(&b, 0, &p));
        assert_ok(ctx, lmf_batches_step(&b, b.n_steps - 1, &again));
        assert_ok(ctx, lmf_batches_step(&b, 0, &again));
        assert_int_equal(p.n_groups, again.n_groups);
        assert_memory_equal(p.group, again.group, (size_t)p.n_groups * sizeof *p.group);
        lmf_batches_clear(&b);
        lmf_batches_clear(&b);
    }
    lmf_test_ctx_done(ctx);
}

/* Three samples a group: all of them, side by side, in one micro-batch, as often as the group. */
static void groups_stay_together(void **state)
{
    (void)state;
    static lmf_step_plan p;
    static lengths l;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_batches b;
    int seen[MAX_N / 3] = { 0 };
    make(&l, 3, 300, 5, 60);
    l.s.group_size = 3;
    assert_ok(ctx, lmf_batches_init(&b, ctx, &l.s, 5, true, 8, 256, 2, 0));
    assert_int_equal(b.steps_per_epoch, 13); /* 100 groups, 8 a step */
    for (int64_t s = 0; s < b.n_steps; s++) {
        int64_t n_tok = 0, n_learn = 0;
        int at = 0, most = 0;
        assert_ok(ctx, lmf_batches_step(&b, s, &p));
        assert_int_equal(p.n_groups, s % 13 == 12 ? 4 : 8);
        for (int k = 0; k < p.n_micro; k++) {
            int32_t sum = 0;
            for (int i = 0; i < p.micro[k].n_groups; i++, at++) {
                assert_in_range(p.group[at], 0, 99);
                seen[p.group[at]]++;
                for (int j = 0; j < 3; j++) {
                    sum += l.item[3 * p.group[at] + j].n;
                    n_learn += l.item[3 * p.group[at] + j].n_learn;
                }
            }
            assert_true(sum == p.micro[k].n_tok && sum <= b.bucket[p.micro[k].i_bucket]);
            most = p.micro[k].n_groups > most ? p.micro[k].n_groups : most;
            n_tok += sum;
        }
        assert_true(at == p.n_groups && n_tok == p.n_tok && n_learn == p.n_learn);
        assert_true(3 * most + 3 <= b.max_seqs && b.max_seqs % 3 == 0); /* and a whole group of padding */
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 2);
    lmf_batches_clear(&b);
    lmf_test_ctx_done(ctx);
}

static void order_of_a_step(void **state)
{
    (void)state;
    static lmf_step_plan p;
    static lengths l;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_batches b;
    make(&l, 1, 10, 16, 16);
    assert_ok(ctx, lmf_batches_init(&b, ctx, &l.s, 5, false, 4, 0, 1, 0));
    for (int64_t s = 0; s < 3; s++) {
        assert_ok(ctx, lmf_batches_step(&b, s, &p));
        assert_int_equal(p.n_groups, s == 2 ? 2 : 4); /* the last step of an epoch has what is left */
        for (int i = 0; i < p.n_groups; i++)
            assert_int_equal(p.group[i], 4 * s + i);
    }
    lmf_batches_clear(&b);
    assert_refused(ctx, LMF_E_ARG, "a step of 0 rows", lmf_batches_init(&b, ctx, &l.s, 5, false, 0, 0, 1, 0));
    lmf_batches_clear(&b);
    assert_refused(ctx, LMF_E_ARG, "a step of 4097 rows", lmf_batches_init(&b, ctx, &l.s, 5, false, 4097, 0, 1, 0));
    lmf_batches_clear(&b);
    lmf_test_ctx_done(ctx);
}

/* A part of an epoch is so many of its steps, rounded up: 10 rows in steps of 4 are 3 steps an epoch. */
static void parts_of_epochs(void **state)
{
    (void)state;
    static lengths l;
    static const struct { double epochs; int64_t n_steps; } rows[] = { { 0.1, 1 }, { 0.5, 2 }, { 1, 3 }, { 1.5, 5 }, { 2.01, 7 }, { 2.9, 9 } };
    lmf_ctx *ctx = lmf_test_ctx();
    make(&l, 1, 10, 16, 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_batches b;
        assert_ok(ctx, lmf_batches_init(&b, ctx, &l.s, 5, false, 4, 0, rows[i].epochs, 0));
        assert_int_equal(b.n_steps, rows[i].n_steps);
        lmf_batches_clear(&b);
        assert_ok(ctx, lmf_batches_init_open(&b, ctx, &l.s, 2, 8, 64, 0, rows[i].epochs, 0)); /* each twice, in steps of 8 */
        assert_int_equal(b.n_steps, rows[i].n_steps);
        lmf_batches_clear(&b);
    }
    lmf_test_ctx_done(ctx);
}

/* Steps past those that the survey looks at fit too. */
static void long_runs(void **state)
{
    (void)state;
    static lmf_step_plan p;
    static lengths l;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_batches b;
    counts c = { 0 };
    make(&l, 2, 30, 10, 90);
    assert_ok(ctx, lmf_batches_init(&b, ctx, &l.s, 1, true, 4, 150, 0, 5000));
    assert_int_equal(b.n_steps, 5000);
    for (int64_t s = 4000; s < 5000; s++) {
        assert_ok(ctx, lmf_batches_step(&b, s, &p));
        check_step(&b, &p, &c);
    }
    lmf_batches_clear(&b);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(batches) = { { "parts of epochs", parts_of_epochs }, { "every sample once an epoch, little padding", once_an_epoch },
                       { "rows in their order", order_of_a_step },
                       { "groups stay together", groups_stay_together },
                       { "runs longer than the survey", long_runs }, { 0 } };
