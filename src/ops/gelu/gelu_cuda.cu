/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: each element stands alone. */
#include "device/cuda/kernel.cuh"

/* x within 12: beyond, the sigmoid is 0 or 1 in f32 and stays so, and nothing overflows. A NaN passes. */
static __device__ __forceinline__ float within(float x) { return x > 12.0f ? 12.0f : x < -12.0f ? -12.0f : x; }
/* (1 + tanh(u)) / 2 */
static __device__ __forceinline__ float half_of(float x)
{
    float u = x * fmaf(x * x, 2 * 0.79788456f * 0.044715f, 2 * 0.79788456f);
    return 1.0f / (1.0f + expf(-u));
}

LMF_KERNEL(gelu_fwd_f32)(const float *x, float *y, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        y[i] = x[i] * half_of(within(x[i]));
}

LMF_KERNEL(gelu_bwd_f32)(const float *x, const float *dy, float *dx, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float z = within(x[i]), s = half_of(z), slope = fmaf(z * z, 6 * 0.79788456f * 0.044715f, 2 * 0.79788456f);
        dx[i] = dy[i] * fmaf(z * s * (1.0f - s), slope, s);
    }
}

LMF_KERNEL(gelu_fwd_bf16)(const __nv_bfloat16 *x, __nv_bfloat16 *y, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        lmf_write(y + i, lmf_read(x + i) * half_of(within(lmf_read(x + i))));
}

LMF_KERNEL(gelu_bwd_bf16)(const __nv_bfloat16 *x, const __nv_bfloat16 *dy, __nv_bfloat16 *dx, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float z = within(lmf_read(x + i)), s = half_of(z), slope = fmaf(z * z, 6 * 0.79788456f * 0.044715f, 2 * 0.79788456f);
        lmf_write(dx + i, lmf_read(dy + i) * fmaf(z * s * (1.0f - s), slope, s));
    }
}
