/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: each element stands alone. blockIdx.x is the row, blockIdx.y the part of it. */
#include "device/cuda/kernel.cuh"

LMF_KERNEL_EARLY(swiglu_fwd_f32)(const float *gate, const float *up, float *y, int64_t gate_stride, int64_t up_stride, int n)
{
    LMF_AFTER();
    const float *g = gate + blockIdx.x * gate_stride, *u = up + blockIdx.x * up_stride;
    float *yt = y + (int64_t)blockIdx.x * n;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x)
        yt[i] = g[i] / (1.0f + expf(-g[i])) * u[i];
}

LMF_KERNEL(swiglu_bwd_f32)(const float *gate, const float *up, const float *dy, float *dgate, float *dup, int64_t gate_stride,
                           int64_t up_stride, int64_t dy_stride, int n)
{
    const float *g = gate + blockIdx.x * gate_stride, *u = up + blockIdx.x * up_stride, *d = dy + blockIdx.x * dy_stride;
    int64_t at = (int64_t)blockIdx.x * n;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x) {
        float z = g[i], s = 1.0f / (1.0f + expf(-z));
        dgate[at + i] = d[i] * u[i] * s * (1.0f + z * (1.0f - s));
        dup[at + i] = d[i] * z * s;
    }
}
