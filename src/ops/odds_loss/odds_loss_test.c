/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/odds_loss/odds_loss.h"
#include "test.h"

LMF_OP_CASES(odds_loss) = {
    { "odds_loss", "three pairs", "logp!:f32[6]=-0.2,-0.5,... weight:f32[3]", "beta=0.1", "normal", "0x1p-24" },
    { "odds_loss", "the second likelier", "logp!:f32[4]=-3,-2.25,... weight:f32[2]", "beta=2", "normal" },
    { "odds_loss", "near 1", "logp:f32[4]=-1e-4,-0.1,-1e-5,-2e-5 weight:f32[2]=1,0.5", "beta=1", "normal" },
    { "odds_loss", "probability 1, and what rounds above it", "logp:f32[6]=0,-1,-1,0,1e-6,1e-6 weight:f32[3]=1,1,1", "beta=1", "normal" },
    { "odds_loss", "hopeless", "logp:f32[4]=-200,-1,-1,-900 weight:f32[2]=1,1", "beta=1", "normal" },
    { "odds_loss", "pairs that don't count", "logp!:f32[6]=-0.2,-0.7,... weight:f32[3]=0,1,0", "beta=1", "normal" },
    { "odds_loss", "no pair", "logp:f32[0] weight:f32[0]", "beta=1", "normal" },
    { "odds_loss", "half a pair", "logp:f32[5] weight:f32[2]", "beta=1", "refused:E_SHAPE" },
    { "odds_loss", "integers", "logp:i32[4]<9 weight:f32[2]", "beta=1", "refused:E_DTYPE" },
    { 0 }
};

static void check(lmf_ctx *ctx, const float *logp, double want_odds, double want_d0, double want_d1)
{
    float x[] = { logp[0], logp[1], NAN, NAN }, w[] = { 0.5f, 0 }, loss, report[8], d[4];
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    lmf_odds_loss_attrs attrs = { 2 };
    lmf_view v[] = { { .data = x, .dim = { 4 } }, { .data = w, .dim = { 2 } }, { .data = &loss, .dim = { 1 } },
                     { .data = report, .dim = { 8 } }, { .data = d, .dim = { 4 } } };
    for (int i = 0; i < 5; i++) {
        v[i].fmt = f32, v[i].dtype = f32->dtype, v[i].n_dims = 1;
        lmf_view_set_dense(&v[i]);
    }
    assert_ok(ctx, lmf_op_odds_loss.ref(&(lmf_call){ .attrs = &attrs, .in = v, .out = v + 2, .n_in = 2, .n_out = 3 }));
    double want[] = { logp[0], logp[1], 0.5 * (logp[0] > logp[1]), logp[0] - logp[1], 0.5 * logp[0], 0.5 * logp[1],
                      -0.5 * log1p(exp(-want_odds)), 0.5 * want_odds };
    for (int i = 0; i < 8; i++)
        if (!(fabs((double)report[i] - want[i]) <= 1e-6 * (1 + fabs(want[i]))))
            fail_msg("report %d: %.9g, not %.9g", i, (double)report[i], want[i]);
    if (!(fabs((double)loss + 2 * want[6]) <= 1e-6))
        fail_msg("loss %.9g, not %.9g", (double)loss, -2 * want[6]);
    if (!(fabs((double)d[0] - want_d0) <= 1e-5 * fabs(want_d0)) || !(fabs((double)d[1] - want_d1) <= 1e-5 * fabs(want_d1)))
        fail_msg("gradient %.9g %.9g, not %.9g %.9g", (double)d[0], (double)d[1], want_d0, want_d1);
    assert_true(d[2] == 0 && d[3] == 0);
}

/* Odds where one knows them; the second pair has no weight, and NaN in it touches nothing. */
static void by_hand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    double half = (double)(float)log(0.5), fifth = (double)(float)log(0.2);
    /* both even: o = 0; slope 1/2, d log odds / d logp = 1 / (1 - 1/2) */
    check(ctx, (float[]){ (float)half, (float)half }, 0, -1, 1);
    /* odds 1 and 1/4: o = log 4, sigmoid(-o) = 1/5 */
    check(ctx, (float[]){ (float)half, (float)fifth }, log(4), -0.4, 0.25);
    /* what must come down has probability 1: the pull is there, and finite */
    double top = -log(-expm1(-0x1p-20)) - 0x1p-20;
    check(ctx, (float[]){ (float)half, 0 }, -top, -2 / (1 + exp(-top)), 1 / (1 + exp(-top)) / -expm1(-0x1p-20));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(odds_loss) = { { "odds by hand", by_hand }, { 0 } };
