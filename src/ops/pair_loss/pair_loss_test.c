/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/pair_loss/pair_loss.h"
#include "test.h"

LMF_OP_CASES(pair_loss) = {
    { "pair_loss", "three pairs", "logp!:f32[6] weight:f32[3] ref:f32[6]", "beta=0.1", "normal", "0x1p-24" },
    { "pair_loss", "steep", "logp!:f32[6] weight:f32[3] ref:f32[6]", "beta=2", "normal" },
    { "pair_loss", "smoothed", "logp!:f32[6] weight:f32[3] ref:f32[6]", "beta=0.5 label_smoothing=0.2", "normal" },
    { "pair_loss", "one in two is wrong", "logp!:f32[4] weight:f32[2] ref:f32[4]", "beta=1 label_smoothing=0.5", "normal" },
    { "pair_loss", "pairs that don't count", "logp!:f32[8] weight:f32[4]=1,0,0.5,0 ref:f32[8]", "beta=1", "normal" },
    { "pair_loss", "far apart", "logp:f32[4]=5000,-5000,-5000,5000 weight:f32[2]=1,1 ref:f32[4]=0", "beta=1 label_smoothing=0.1",
      "normal" },
    { "pair_loss", "no reference, a margin", "logp!:f32[6] weight:f32[3]", "beta=2 gamma=1", "normal" },
    { "pair_loss", "normed", "logp!:f32[6] weight:f32[3] ref:f32[6] norm:f32[6]=0.1,0.2,...", "beta=2 label_smoothing=0.1", "normal" },
    { "pair_loss", "hinge", "logp!:f32[8] weight:f32[4] ref:f32[8]", "beta=0.7 kind=1", "normal" },
    { "pair_loss", "robust", "logp!:f32[6] weight:f32[3] ref:f32[6]", "beta=0.5 label_smoothing=0.2 kind=2", "normal" },
    { "pair_loss", "square, normed", "logp!:f32[6] weight:f32[3] ref:f32[6] norm:f32[6]=0.1,0.2,...", "beta=0.5 kind=3", "normal" },
    { "pair_loss", "no pair", "logp:f32[0] weight:f32[0] ref:f32[0]", "beta=1", "normal" },
    { "pair_loss", "half a pair", "logp:f32[5] weight:f32[2] ref:f32[5]", "beta=1", "refused:E_SHAPE" },
    { "pair_loss", "a reference short", "logp:f32[4] weight:f32[2] ref:f32[2]", "beta=1", "refused:E_SHAPE" },
    { "pair_loss", "a norm short", "logp:f32[4] weight:f32[2] ref:f32[4] norm:f32[2]", "beta=1", "refused:E_SHAPE" },
    { "pair_loss", "integers", "logp:i32[4]<9 weight:f32[2] ref:f32[4]", "beta=1", "refused:E_DTYPE" },
    { "pair_loss", "robust, one in two is wrong", "logp:f32[4] weight:f32[2] ref:f32[4]", "beta=1 label_smoothing=0.5 kind=2",
      "refused:E_ARG" },
    { 0 }
};

static lmf_view vector(const lmf_format *fmt, int64_t n, void *data)
{
    lmf_view v = { .data = data, .fmt = fmt, .dim = { n }, .dtype = fmt->dtype, .n_dims = 1 };
    lmf_view_set_dense(&v);
    return v;
}

static void check(lmf_ctx *ctx, const float *logp, const float *weight, lmf_pair_loss_attrs attrs, double want_loss,
                  const double *want_report)
{
    float ref[4] = { -3, -3, NAN, NAN }, norm[4] = { 1, 1, NAN, NAN }, x[4], w[2], loss, report[6], d[4];
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    for (int i = 0; i < 4; i++)
        x[i] = logp[i], w[i / 2] = weight[i / 2];
    lmf_view in[] = { vector(f32, 4, x), vector(f32, 2, w), vector(f32, 4, ref), vector(f32, 4, norm) };
    lmf_view out[] = { vector(f32, 1, &loss), vector(f32, 6, report),
                       vector(f32, 4, d) };
    assert_ok(ctx, lmf_op_pair_loss.ref(&(lmf_call){ .attrs = &attrs, .in = in, .out = out, .n_in = 4, .n_out = 3 }));
    if (fabs((double)loss - want_loss) > 1e-6 * (1 + fabs(want_loss)))
        fail_msg("loss %.9g, not %.9g", (double)loss, want_loss);
    for (int i = 0; i < 6; i++)
        if (fabs((double)report[i] - want_report[i]) > 1e-6 * (1 + fabs(want_report[i])))
            fail_msg("report %d: %.9g, not %.9g", i, (double)report[i], want_report[i]);
    assert_true(d[0] + d[1] == 0 && d[0] < 0 && d[2] == 0 && d[3] == 0);
}

/* Sigmoid's values where one knows them; the second pair has no weight, and NaN in it touches nothing. */
static void by_hand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    float w[] = { 0.5f, 0 };
    /* rewards 0 and 0: log 2; a tie is no right answer */
    check(ctx, (float[]){ -3, -3, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 1 }, 0.5 * log(2), (double[]){ 0, 0, 0, 0, -1.5, -1.5 });
    /* rewards 2 (0.5 x 4) and -1: sigmoid(3) = 1 / (1 + e^-3) */
    check(ctx, (float[]){ 1, -5, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f }, 0.5 * log(1 + exp(-3)),
          (double[]){ 1, -0.5, 0.5, 1.5, 0.5, -2.5 });
    /* one in 64 wrong */
    check(ctx, (float[]){ 1, -5, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f, .label_smoothing = 1.0f / 64 },
          0.5 * (63 * log(1 + exp(-3)) + log(1 + exp(3))) / 64,
          (double[]){ 1, -0.5, 0.5, 1.5, 0.5, -2.5 });
    static const double same[] = { 1, -0.5, 0.5, 1.5, 0.5, -2.5 }; /* rewards don't know the margin nor the kind */
    check(ctx, (float[]){ 1, -5, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f, .gamma = 2 }, 0.5 * log(1 + exp(-1)), same);
    check(ctx, (float[]){ 1, -5, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f, .gamma = 2.5f, .kind = LMF_PAIR_HINGE }, 0.25, same);
    check(ctx, (float[]){ 1, -5, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f, .label_smoothing = 0.25f, .kind = LMF_PAIR_ROBUST },
          0.5 * (0.75 * log(1 + exp(-3)) - 0.25 * log(1 + exp(3))) / 0.5, same);
    check(ctx, (float[]){ -2, -2.5f, NAN, 1 }, w, (lmf_pair_loss_attrs){ .beta = 0.5f, .kind = LMF_PAIR_SQUARE }, 0.5 * 0.25,
          (double[]){ 0.25, 0.125, 0.5, 0.125, -1, -1.25 });
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(pair_loss) = { { "values by hand", by_hand }, { 0 } };
