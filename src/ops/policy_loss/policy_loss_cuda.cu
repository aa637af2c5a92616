/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token without share adds nothing anywhere, not even a NaN. */
#include "device/cuda/pairs.cuh"

enum { REPORTS = 5 }; /* policy_loss.h */

LMF_KERNEL(policy_loss_f32)(const float *logp, const float *old, const float *base, const float *sampled, const float *advantage,
                            const float *weight, const float *share, float *loss, float *report, float *d_logp, int n, float epsilon,
                            float epsilon_high, float beta, int on_policy, int kl_ratio)
{
    double low = 1 - (double)epsilon, high = 1 + (double)epsilon_high, b = beta;
    lmf_pair_sums<1 + REPORTS>(n, loss, report, [&](int t, double *row) {
        double part = share[t], d = 0;
        for (int k = 0; k <= REPORTS; k++)
            row[k] = 0;
        if (part != 0) {
            double l = logp[t], a = advantage[t], w = weight[t], r = on_policy ? 1 : exp(l - old[t]), kl = 0;
            bool is_low = r < low && a < 0, is_high = r > high && a > 0;
            double y = -(is_low ? low : is_high ? high : r) * a;
            d = is_low || is_high ? 0 : -r * a;
            if (b > 0) {
                double x = base[t] - l, by = kl_ratio ? r : 1;
                kl = by * (expm1(x) - x);
                y += b * kl;
                d += b * ((kl_ratio ? kl : 0) - by * expm1(x));
            }
            d *= w;
            row[0] = w * y;
            row[1] = part * kl, row[2] = is_low ? part : 0, row[3] = is_high ? part : 0, row[4] = is_low || is_high ? part : 0;
            row[5] = part * fabs(l - sampled[t]);
        }
        d_logp[t] = (float)d;
    });
}
