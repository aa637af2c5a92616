/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pair without weight adds nothing anywhere, not even a NaN. */
#include "device/cuda/pairs.cuh"

enum { REPORTS = 8 }; /* odds_loss.h */

/* log(1 - exp(x)) for x below 0. */
static __device__ __forceinline__ double log1mexp(double x) { return x > -0.6931471805599453 ? log(-expm1(x)) : log1p(-exp(x)); }

LMF_KERNEL(odds_loss_f32)(const float *logp, const float *weight, float *loss, float *report, float *d_logp, int n, float beta)
{
    lmf_pair_sums<1 + REPORTS>(n, loss, report, [&](int p, double *row) {
        double w = weight[p], d[2] = { 0 }, b = beta;
        for (int k = 0; k <= REPORTS; k++)
            row[k] = 0;
        if (w != 0) {
            double l[2] = { logp[2 * p], logp[2 * p + 1] }, x[2];
            for (int k = 0; k < 2; k++)
                x[k] = l[k] > -0x1p-20 ? -0x1p-20 : l[k];
            double odds = (x[0] - x[1]) - (log1mexp(x[0]) - log1mexp(x[1])), ratio = lmf_log_sigmoid(odds), slope = lmf_sigmoid(-odds);
            d[0] = w * b * slope / expm1(x[0]);
            d[1] = -w * b * slope / expm1(x[1]);
            row[0] = -(w * b * ratio);
            row[1] = w * (b * l[0]), row[2] = w * (b * l[1]), row[3] = b * l[0] > b * l[1] ? w : 0, row[4] = w * (b * (l[0] - l[1]));
            row[5] = w * l[0], row[6] = w * l[1], row[7] = w * ratio, row[8] = w * odds;
        }
        d_logp[2 * p] = (float)d[0];
        d_logp[2 * p + 1] = (float)d[1];
    });
}
