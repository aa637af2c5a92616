/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "test.h"
#include "train/schedule.h"

static void assert_near(double got, double want)
{
    if (!(fabs(got - want) < 1e-12))
        fail_msg("%.15g, not %.15g", got, want);
}

static void closed_form(void **state)
{
    (void)state;
    /* 5 of 105 steps of warm-up, linear to 10 %: 100 steps fall by 0.9 */
    for (int i = 0; i < 105; i++) {
        assert_near(lmf_schedule_factor(LMF_SCHEDULE_LINEAR, i, 105, 5, 0, 0.1), i < 5 ? (i + 1) / 5.0 : 1 - 0.9 * (i - 5) / 100.0);
        assert_near(lmf_schedule_factor(LMF_SCHEDULE_COSINE, i, 105, 5, 0, 0.1), i < 5 ? (i + 1) / 5.0 : 0.55 + 0.45 * cos(acos(-1.0) * (i - 5) / 100.0));
        assert_near(lmf_schedule_factor(LMF_SCHEDULE_CONSTANT, i, 105, 5, 0, 0.1), i < 5 ? (i + 1) / 5.0 : 1);
    }
}

static void corners(void **state)
{
    (void)state;
    for (int kind = LMF_SCHEDULE_LINEAR; kind <= LMF_SCHEDULE_WSD; kind++) {
        assert_near(lmf_schedule_factor((lmf_schedule)kind, 0, 1, 0, 0, 0), 1);   /* one step has the whole rate */
        assert_near(lmf_schedule_factor((lmf_schedule)kind, 0, 10, 0, 0, 0), 1);  /* no warm-up */
        assert_near(lmf_schedule_factor((lmf_schedule)kind, 3, 4, 100, 0, 0), 0.04); /* warm-up longer than the run */
        double before = 2;
        for (int i = 20; i < 1000; i++) { /* falls, never below the least */
            double at = lmf_schedule_factor((lmf_schedule)kind, i, 1000, 20, 100, 0.25);
            assert_true(at <= before && at >= 0.25 && at <= 1);
            before = at;
        }
    }
}

/* transformers' get_wsd_schedule with decay_type "1-sqrt" has the root on the other side; this is the paper's. */
static void stable_then_down(void **state)
{
    (void)state;
    for (int i = 0; i < 105; i++) {
        double want = i < 5 ? (i + 1) / 5.0 : i < 85 ? 1 : 0.1 + 0.9 * (1 - sqrt((i - 85) / 20.0));
        assert_near(lmf_schedule_factor(LMF_SCHEDULE_WSD, i, 105, 5, 20, 0.1), want);
    }
    for (int i = 5; i < 105; i++) /* more decay than there is: it begins behind the warm-up */
        assert_near(lmf_schedule_factor(LMF_SCHEDULE_WSD, i, 105, 5, 500, 0), 1 - sqrt((i - 5) / 100.0));
}

LMF_TESTS(schedule) = { { "closed forms", closed_form }, { "corners", corners }, { "stable, then down", stable_then_down }, { 0 } };
