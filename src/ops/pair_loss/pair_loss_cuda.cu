/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pair without weight adds nothing anywhere, not even a NaN. */
#include "device/cuda/pairs.cuh"

enum { SIGMOID, HINGE, ROBUST, SQUARE, REPORTS = 6 }; /* pair_loss.h */

static __device__ __forceinline__ double pair(double beta, double e, double gamma, int kind, double d, double *slope)
{
    double m = beta * d - gamma;
    switch (kind) {
    case SIGMOID:
        *slope = beta * (e * lmf_sigmoid(m) - (1 - e) * lmf_sigmoid(-m));
        return -(1 - e) * lmf_log_sigmoid(m) - e * lmf_log_sigmoid(-m);
    case HINGE:
        *slope = m < 1 ? -beta : 0;
        return m < 1 ? 1 - m : 0;
    case ROBUST:
        *slope = -beta * ((1 - e) * lmf_sigmoid(-m) + e * lmf_sigmoid(m)) / (1 - 2 * e);
        return (-(1 - e) * lmf_log_sigmoid(m) + e * lmf_log_sigmoid(-m)) / (1 - 2 * e);
    default:
        *slope = 2 * (d - 0.5 / beta);
        return (d - 0.5 / beta) * (d - 0.5 / beta);
    }
}

LMF_KERNEL(pair_loss_f32)(const float *logp, const float *weight, const float *ref, const float *norm, float *loss, float *report,
                          float *d_logp, int n, float beta, float smoothing, float gamma, int kind)
{
    lmf_pair_sums<1 + REPORTS>(n, loss, report, [&](int p, double *row) {
        double w = weight[p], gain[2] = { 0 }, scale[2] = { 0 }, slope = 0, b = beta;
        for (int k = 0; k <= REPORTS; k++)
            row[k] = 0;
        if (w != 0) {
            for (int k = 0; k < 2; k++) {
                gain[k] = (double)logp[2 * p + k] - (ref ? (double)ref[2 * p + k] : 0.0);
                scale[k] = norm ? (double)norm[2 * p + k] : 1.0;
            }
            double margin = b * (gain[0] - gain[1]);
            row[0] = w * pair(b, smoothing, gamma, kind, scale[0] * gain[0] - scale[1] * gain[1], &slope);
            row[1] = w * (b * gain[0]), row[2] = w * (b * gain[1]), row[3] = margin > 0 ? w : 0, row[4] = w * margin;
            row[5] = w * (double)logp[2 * p], row[6] = w * (double)logp[2 * p + 1];
        }
        d_logp[2 * p] = (float)(w * slope * scale[0]);
        d_logp[2 * p + 1] = (float)(-w * slope * scale[1]);
    });
}
