/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the arithmetic of adamw_cpu.c, operation by operation; a norm that is not finite writes nothing. */
#include "device/cuda/kernel.cuh"

/* h: lr, beta1, beta2, eps, decay, bias1, bias2, max norm (adamw.h) */
LMF_KERNEL(adamw_f32)(float *p, float *m, float *v, const float *g, const float *norm, const float *h, int64_t n)
{
    if (!isfinite(norm[0]))
        return;
    float clip = h[7] > 0 ? fminf(1.0f, h[7] / (norm[0] + 1e-6f)) : 1.0f;
    float b1 = h[1], b2 = h[2], keep = 1 - h[0] * h[4], eps = h[3], rate = h[0] / h[5], root = sqrtf(h[6]);
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float gi = g[i] * clip;
        m[i] = b1 * m[i] + (1 - b1) * gi;
        v[i] = b2 * v[i] + (1 - b2) * gi * gi;
        p[i] = p[i] * keep - rate * m[i] / (sqrtf(v[i]) / root + eps);
    }
}
