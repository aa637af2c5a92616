/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the arithmetic of sgd_cpu.c, operation by operation; a norm that is not finite writes nothing. */
#include "device/cuda/kernel.cuh"

/* h: lr, momentum, decay, max norm (sgd.h) */
LMF_KERNEL(sgd_f32)(float *p, float *m, const float *g, const float *norm, const float *h, int64_t n)
{
    if (!isfinite(norm[0]))
        return;
    float clip = h[3] > 0 ? fminf(1.0f, h[3] / (norm[0] + 1e-6f)) : 1.0f, rate = h[0], momentum = h[1], decay = h[2];
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float old = p[i], step = momentum * m[i] + (g[i] * clip + decay * old);
        m[i] = step;
        p[i] = old - rate * step;
    }
}
