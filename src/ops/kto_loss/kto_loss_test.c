/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/kto_loss/kto_loss.h"
#include "test.h"

LMF_OP_CASES(kto_loss) = {
    { "kto_loss", "four answers", "logp!:f32[4] mean:f32[4] side:f32[4]=1,-1,0.5,-2 share:f32[4] ref:f32[4] kl:f32[4]=0.5",
      "beta=0.5", "normal", "0x1p-24; 0x1p-24 mag; 0x1p-24" },
    { "kto_loss", "no drift", "logp!:f32[3] mean:f32[3] side:f32[3]=1,1,-1 share:f32[3] ref:f32[3] kl:f32[3]=0", "beta=2", "normal" },
    { "kto_loss", "far off", "logp:f32[4]=9000,-9000,9000,-9000 mean:f32[4] side:f32[4]=1,1,-1,-1 share:f32[4] ref:f32[4] kl:f32[4]=3",
      "beta=1", "normal" },
    { "kto_loss", "answers that don't count",
      "logp!:f32[4] mean:f32[4]=1,0,0.25,0 side:f32[4]=1,-1,-1,1 share:f32[4] ref:f32[4] kl:f32[4]=1",
      "beta=1", "normal" },
    { "kto_loss", "none", "logp:f32[0] mean:f32[0] side:f32[0] share:f32[0] ref:f32[0] kl:f32[0]", "beta=1", "normal" },
    { "kto_loss", "a side short", "logp:f32[4] mean:f32[4] side:f32[3] share:f32[4] ref:f32[4] kl:f32[4]", "beta=1", "refused:E_SHAPE" },
    { "kto_loss", "integers", "logp:f32[4] mean:f32[4] side:i32[4]<2 share:f32[4] ref:f32[4] kl:f32[4]", "beta=1", "refused:E_DTYPE" },
    { 0 }
};

/* Sigmoid's values where one knows them; the last answer has no weight, and NaN in it touches nothing. */
static void by_hand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    double l3 = log(3);
    float logp[] = { (float)(l3 - 4), (float)(-l3 - 2), NAN }, mean[] = { 0.5f, 0.5f, 0 }, side[] = { 1, -2, NAN }, share[] = { 1, 1, NAN };
    float base[] = { -5, -3, NAN }, kl[] = { 1, 1, NAN }, loss, report[6], d[3];
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    lmf_kto_loss_attrs attrs = { 1 };
    float *data[] = { logp, mean, side, share, base, kl, &loss, report, d };
    static const int64_t n[] = { 3, 3, 3, 3, 3, 3, 1, 6, 3 };
    lmf_view v[9];
    for (int i = 0; i < 9; i++) {
        v[i] = (lmf_view){ .data = data[i], .fmt = f32, .dtype = f32->dtype, .n_dims = 1, .dim = { n[i] } };
        lmf_view_set_dense(&v[i]);
    }
    assert_ok(ctx, lmf_op_kto_loss.ref(&(lmf_call){ .attrs = &attrs, .in = v, .out = v + 6, .n_in = 6, .n_out = 3 }));
    /* good: r = 1 + log 3, u = log 3, sigmoid 3/4; bad: r = 1 - log 3, u = log 3 */
    double want[] = { 1 + l3, 1 - l3, 2 * l3, l3 - 4, -l3 - 2, 1 };
    if (fabs((double)loss - (0.5 * 0.25 + 0.5 * 2 * 0.25)) > 1e-6)
        fail_msg("loss %.9g", (double)loss);
    for (int i = 0; i < 6; i++)
        if (!(fabs((double)report[i] - want[i]) < 1e-5))
            fail_msg("report %d: %.9g, not %.9g", i, (double)report[i], want[i]);
    assert_true(fabs((double)d[0] + 0.5 * 3 / 16) < 1e-6 && fabs((double)d[1] - 0.5 * 2 * 3 / 16) < 1e-6 && d[2] == 0);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(kto_loss) = { { "values by hand", by_hand }, { 0 } };
