/* SPDX-License-Identifier: Apache-2.0 */
#include "device/cuda/kernel.cuh"

LMF_KERNEL_EARLY(scale_by_fwd_f32)(const float *x, const float *s, const float *c, float *y, int64_t n)
{
    LMF_AFTER();
    float f = s[0];
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        y[i] = c ? fmaf(x[i], f, c[i]) : x[i] * f;
}
