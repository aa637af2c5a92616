/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/policy_loss/policy_loss.h"
#include "test.h"

#define REST " weight:f32[6] share:f32[6]=0.25"
LMF_OP_CASES(policy_loss) = {
    { "policy_loss", "six tokens, against a base", "logp!:f32[6] old:f32[6] base:f32[6] sampled:f32[6] advantage:f32[6]" REST,
      "epsilon=0.2 epsilon_high=0.3 beta=0.5 on_policy=0 kl_ratio=1", "positive", "0x1p-24; 0x1p-24 mag; 0x1p-24" },
    { "policy_loss", "without one", "logp!:f32[6]=-1,-1.3,-1.6,-1.9,-2.2,-2.5 old:f32[6]=-1.1,-1.9,-1.5,-1.9,-1.8,-2.4 "
      "base:f32[6] sampled:f32[6] advantage:f32[6]=1,-1,0.5,2,1,-2" REST,
      "epsilon=0.2 epsilon_high=0.2 beta=0 on_policy=0 kl_ratio=1", "normal" },
    { "policy_loss", "held to it on policy", "logp:f32[6] old:f32[6] base:f32[6] sampled:f32[6] advantage:f32[6]" REST,
      "epsilon=0.2 epsilon_high=0.2 beta=0.1 on_policy=1 kl_ratio=0", "normal" },
    { "policy_loss", "tokens that don't count",
      "logp!:f32[4] old:f32[4] base:f32[4] sampled:f32[4] advantage:f32[4] weight:f32[4] share:f32[4]=0.5,0,0.5,0",
      "epsilon=0.2 epsilon_high=0.2 beta=1 on_policy=0 kl_ratio=0", "small" },
    { "policy_loss", "none", "logp:f32[0] old:f32[0] base:f32[0] sampled:f32[0] advantage:f32[0] weight:f32[0] share:f32[0]",
      "epsilon=0.2 epsilon_high=0.2 beta=1 on_policy=0 kl_ratio=0", "normal" },
    { "policy_loss", "a base short",
      "logp:f32[4] old:f32[4] base:f32[3] sampled:f32[4] advantage:f32[4] weight:f32[4] share:f32[4]",
      "epsilon=0.2 epsilon_high=0.2 beta=1 on_policy=0 kl_ratio=0", "refused:E_SHAPE" },
    { "policy_loss", "integers", "logp:f32[4] old:f32[4] base:i32[4]<2 sampled:f32[4] advantage:f32[4] weight:f32[4] share:f32[4]",
      "epsilon=0.2 epsilon_high=0.2 beta=1 on_policy=0 kl_ratio=0", "refused:E_DTYPE" },
    { 0 }
};

enum { T = 6 };
static void run(lmf_ctx *ctx, float *const in[7], lmf_policy_loss_attrs a, float *loss, float *report, float *d)
{
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    lmf_view v[10];
    for (int i = 0; i < 10; i++) {
        v[i] = (lmf_view){ .data = i < 7 ? in[i] : i == 7 ? loss : i == 8 ? report : d, .fmt = f32, .dtype = f32->dtype, .n_dims = 1,
                           .dim = { i == 7 ? 1 : i == 8 ? LMF_POLICY_LOSS_REPORTS : T } };
        lmf_view_set_dense(&v[i]);
    }
    assert_ok(ctx, lmf_op_policy_loss.ref(&(lmf_call){ .attrs = &a, .in = v, .out = v + 7, .n_in = 7, .n_out = 3 }));
}

/* Ratios 1/2, 1, 2 with either sign: the steps that would go further are cut, those that come back are not. The last place is dead. */
static void by_hand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    float l2 = (float)log(2), loss, report[LMF_POLICY_LOSS_REPORTS], d[T];
    float logp[T] = { -1, -1, -1, -1, -1, NAN }, old[T] = { -1 + l2, -1 + l2, -1, -1 - l2, -1 - l2, NAN };
    float advantage[T] = { 1, -1, 3, 1, -1, NAN }, weight[T] = { 0.1f, 0.2f, 0.3f, 0.4f, 0.5f, NAN };
    float share[T] = { 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0 }, sampled[T] = { -1, -1.5f, -1, -0.5f, -1, NAN }, base[T] = { NAN };
    float *in[] = { logp, old, base, sampled, advantage, weight, share };
    run(ctx, in, (lmf_policy_loss_attrs){ 0.2f, 0.3f, 0, 0, 0 }, &loss, report, d);
    double want_d[] = { -0.1 * 0.5, 0, -0.3 * 3, 0, 0.5 * 2, 0 }, want[] = { 0, 0.2, 0.2, 0.4, 0.2 };
    if (fabs((double)loss - (-0.1 * 0.5 + 0.2 * 0.8 - 0.3 * 3 - 0.4 * 1.3 + 0.5 * 2)) > 1e-6)
        fail_msg("loss %.9g", (double)loss);
    for (int i = 0; i < T; i++)
        if (!(fabs((double)d[i] - want_d[i]) < 1e-6))
            fail_msg("gradient %d: %.9g, not %.9g", i, (double)d[i], want_d[i]);
    for (int i = 0; i < LMF_POLICY_LOSS_REPORTS; i++)
        if (!(fabs((double)report[i] - want[i]) < 1e-6))
            fail_msg("report %d: %.9g, not %.9g", i, (double)report[i], want[i]);
    /* on policy, held to a base that found the token twice as likely: k = 2 - log 2 - 1 */
    for (int i = 0; i < T; i++)
        base[i] = -1 + l2;
    run(ctx, in, (lmf_policy_loss_attrs){ 0.2f, 0.3f, 0.5f, 1, 0 }, &loss, report, d);
    double k = 1 - (double)l2, sum = 0;
    for (int i = 0; i + 1 < T; i++) {
        sum += (double)weight[i] * (-(double)advantage[i] + 0.5 * k);
        if (!(fabs((double)d[i] - (double)weight[i] * (-(double)advantage[i] - 0.5)) < 1e-6))
            fail_msg("gradient %d on policy: %.9g", i, (double)d[i]);
    }
    assert_true(fabs((double)loss - sum) < 1e-6 && fabs((double)report[0] - k) < 1e-6 && report[3] == 0);
    /* with the ratio, which is 2 in the fourth and fifth place */
    run(ctx, in, (lmf_policy_loss_attrs){ 1, 9, 0.5f, 0, 1 }, &loss, report, d);
    if (!(fabs((double)d[4] - 0.5 * 2 * (1 + 0.5 * (k - 1))) < 1e-6 && fabs((double)report[0] - 0.2 * k * (0.5 + 0.5 + 1 + 2 + 2)) < 1e-6))
        fail_msg("with the ratio: gradient %.9g, k %.9g", (double)d[4], (double)report[0]);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(policy_loss) = { { "values by hand", by_hand }, { 0 } };
