/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an answer without weight adds nothing anywhere, not even a NaN. */
#include "device/cuda/pairs.cuh"

enum { REPORTS = 6 }; /* kto_loss.h */

static __device__ __forceinline__ double sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }

LMF_KERNEL(kto_loss_f32)(const float *logp, const float *mean, const float *side, const float *share, const float *ref, const float *kl,
                         float *loss, float *report, float *d_logp, int n, float beta)
{
    lmf_pair_sums<1 + REPORTS>(n, loss, report, [&](int s, double *row) {
        double m = mean[s], d = 0;
        for (int k = 0; k <= REPORTS; k++)
            row[k] = 0;
        if (m != 0) {
            double w = side[s], part = share[s], r = (double)logp[s] - (double)ref[s], u = beta * (w > 0 ? r - kl[s] : kl[s] - r);
            row[0] = m * fabs(w) * sigmoid(-u);
            d = -m * w * beta * sigmoid(u) * sigmoid(-u);
            row[w > 0 ? 1 : 2] = part * beta * r;
            row[3] = part * beta * (w > 0 ? r : -r);
            row[w > 0 ? 4 : 5] = part * logp[s];
            row[6] = m * kl[s];
        }
        d_logp[s] = (float)d;
    });
}
