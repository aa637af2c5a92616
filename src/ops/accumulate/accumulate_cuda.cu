/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: with keep 0 acc is not read: it may hold NaN. */
#include "device/cuda/kernel.cuh"
#include "ops/accumulate/accumulate_job.h"

/* blockIdx.y is the x. */
LMF_KERNEL(accumulate_f32)(lmf_accumulate_job j)
{
    const float *x = j.x[blockIdx.y];
    float k = j.keep[0], *acc = j.acc + j.begin[blockIdx.y];
    int64_t n = j.begin[blockIdx.y + 1] - j.begin[blockIdx.y];
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        acc[i] = k == 0 ? x[i] : fmaf(k, acc[i], x[i]);
}
