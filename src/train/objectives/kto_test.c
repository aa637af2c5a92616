/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void recorded(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_kto_weights.json", 0);
    lmf_test_align("tests/parity/align_kto_weights.json", 16); /* as few as fit: what is measured is of the whole step */
}

extern const lmf_objective lmf_objective_kto;

/* TRL clamps the mean of the log-ratios at 0, not each of them. */
static void never_below_zero(void **state)
{
    (void)state;
    const float reference[] = { -3, -3, -3 };
    static const struct { float logp[3]; double want; } rows[] = { { { -2, -4, -1.5f }, 0.5 }, { { -4, -3, -3.5f }, 0 } };
    for (size_t i = 0; i < 2; i++) {
        lmf_totals totals = { .measured = 9 };
        lmf_objective_kto.measure(rows[i].logp, reference, 3, &totals);
        assert_true(fabs(totals.measured - rows[i].want) < 1e-9);
    }
}

LMF_TESTS(kto) = { { "never below zero", never_below_zero }, { "TRL's five steps, kinds weighed", recorded }, { 0 } };
