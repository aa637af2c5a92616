/* SPDX-License-Identifier: Apache-2.0 */
#include "base/philox.h"
#include "data/samples.h"
#include "test.h"

enum { N = 1000 };

static void is_a_permutation(void **state)
{
    (void)state;
    static const int64_t sizes[] = { 0, 1, 2, 3, 64, N };
    for (uint32_t epoch = 0; epoch < 5; epoch++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            int64_t order[N];
            bool seen[N] = { false };
            lmf_shuffle(7, epoch, order, sizes[i]);
            for (int64_t k = 0; k < sizes[i]; k++) {
                assert_true(order[k] >= 0 && order[k] < sizes[i] && !seen[order[k]]);
                seen[order[k]] = true;
            }
        }
}

/* Values of an independent implementation in Python's integers (tools/golden/formula.py's Philox): the order is part of a run's
 * identity, so it is the same on every machine and for ever. */
static void order_is_fixed(void **state)
{
    (void)state;
    static const struct { uint64_t seed; uint32_t epoch; int64_t n; int64_t want[10]; int n_want; } cases[] = {
        { 42, 0, 1000, { 732, 511, 607, 190, 101, 215, 480, 714, 577, 204 }, 10 },
        { 42, 3, 7, { 6, 4, 3, 1, 5, 2, 0 }, 7 },
        { 0, 0, 278, { 237, 125, 94, 115, 221, 165, 95, 190, 268, 35 }, 10 },
        { (UINT64_C(1) << 40) + 5, 1, 1000, { 992, 556, 733, 333, 404, 688, 813, 249, 846, 150 }, 10 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t order[N];
        lmf_shuffle(cases[i].seed, cases[i].epoch, order, cases[i].n);
        for (int k = 0; k < cases[i].n_want; k++)
            assert_int_equal(order[k], cases[i].want[k]);
    }
}

/* Each value comes to each place about equally often: 4 values, 4,800 epochs, 1,200 expected with a deviation of 30. */
static void is_even(void **state)
{
    (void)state;
    int count[4][4] = { { 0 } };
    for (uint32_t epoch = 0; epoch < 4800; epoch++) {
        int64_t order[4];
        lmf_shuffle(1, epoch, order, 4);
        for (int k = 0; k < 4; k++)
            count[k][order[k]]++;
    }
    for (int i = 0; i < 16; i++)
        assert_in_range(count[i / 4][i % 4], 1050, 1350);
}

/* No bin above the capacity, every item in a bin, no empty bin; best fit decreasing needs at most 11/9 of the best + 1 bins (Johnson
 * 1973), and the best is at least the sum over the capacity. */
static void packs_tightly(void **state)
{
    (void)state;
    int32_t scratch[2 * N];
    for (uint32_t round = 0; round < 50; round++) {
        int32_t len[N], cap = 200 + (int32_t)(lmf_random_u32(3, round, 1, 0) % 2000);
        int bin[N], again[N], n = 1 + (int)(lmf_random_u32(3, round, 2, 0) % N), load[N] = { 0 };
        int64_t sum = 0, lower;
        int32_t n_large = 0;
        for (int i = 0; i < n; i++) {
            len[i] = 1 + (int32_t)(lmf_random_u32(3, round, 3, (uint64_t)i) % (uint32_t)cap);
            sum += len[i];
            n_large += 2 * len[i] > cap;
        }
        int n_bins = lmf_pack(len, n, cap, bin, scratch);
        lower = (sum + cap - 1) / cap > n_large ? (sum + cap - 1) / cap : n_large;
        assert_true(n_bins >= 1 && n_bins <= n);
        for (int i = 0; i < n; i++) {
            assert_in_range(bin[i], 0, n_bins - 1);
            load[bin[i]] += len[i];
        }
        for (int b = 0; b < n_bins; b++)
            assert_in_range(load[b], 1, cap);
        assert_true(9 * (int64_t)n_bins <= 11 * (lower + lower / 8) + 9); /* the best may lie an eighth above the bound */
        assert_int_equal(lmf_pack(len, n, cap, again, scratch), n_bins);
        assert_memory_equal(bin, again, (size_t)n * sizeof *bin);
    }
}

static void packs_as_said(void **state)
{
    (void)state;
    int32_t scratch[8];
    /* by falling length: 7 -> 0, 6 -> 1, 4 -> 1 (room 4, not bin 0's 3), 3 -> 0 */
    int bin[4], want[4] = { 0, 1, 1, 0 };
    assert_int_equal(lmf_pack((int32_t[]){ 3, 4, 6, 7 }, 4, 10, bin, scratch), 2);
    assert_memory_equal(bin, want, sizeof want);
    /* 3 fits into both bins and goes to the fuller one */
    int fuller[3], with_7[3] = { 0, 1, 0 };
    assert_int_equal(lmf_pack((int32_t[]){ 3, 6, 7 }, 3, 10, fuller, scratch), 2);
    assert_memory_equal(fuller, with_7, sizeof with_7);
    assert_int_equal(lmf_pack(NULL, 0, 10, NULL, NULL), 0);
    /* equal lengths keep their order */
    int equal[4], in_order[4] = { 0, 0, 1, 1 };
    assert_int_equal(lmf_pack((int32_t[]){ 5, 5, 5, 5 }, 4, 10, equal, scratch), 2);
    assert_memory_equal(equal, in_order, sizeof in_order);
}

LMF_TESTS(pack) = { { "an order is a permutation", is_a_permutation }, { "orders are the same for ever", order_is_fixed },
                    { "every place is as likely", is_even }, { "bins are full and few", packs_tightly }, { "best fit, decreasing", packs_as_said }, { 0 } };
