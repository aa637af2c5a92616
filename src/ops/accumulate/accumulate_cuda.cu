/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: with keep 0 acc is not read: it may hold NaN. */
#include "device/cuda/kernel.cuh"

LMF_KERNEL(accumulate_f32)(float *acc, const float *x, const float *keep, int64_t n)
{
    float k = keep[0];
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        acc[i] = k == 0 ? x[i] : fmaf(k, acc[i], x[i]);
}
