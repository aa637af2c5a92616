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
static __device__ __forceinline__ float glu(float x, float up) { return x * half_of(within(x)) * up; }
static __device__ __forceinline__ void back(float x, float up, float dy, float *dgate, float *dup)
{
    float z = within(x), s = half_of(z), slope = fmaf(z * z, 6 * 0.79788456f * 0.044715f, 2 * 0.79788456f);
    *dgate = dy * up * fmaf(z * s * (1.0f - s), slope, s);
    *dup = dy * (x * s);
}

LMF_KERNEL(geglu_fwd_f32)(const float *gate, const float *up, float *y, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        y[i] = glu(gate[i], up[i]);
}

LMF_KERNEL(geglu_bwd_f32)(const float *gate, const float *up, const float *dy, float *dgate, float *dup, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        back(gate[i], up[i], dy[i], dgate + i, dup + i);
}

LMF_KERNEL(geglu_fwd_bf16)(const __nv_bfloat16 *gate, const __nv_bfloat16 *up, __nv_bfloat16 *y, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        lmf_write(y + i, glu(lmf_read(gate + i), lmf_read(up + i)));
}

LMF_KERNEL(geglu_bwd_bf16)(const __nv_bfloat16 *gate, const __nv_bfloat16 *up, const __nv_bfloat16 *dy, __nv_bfloat16 *dgate,
                           __nv_bfloat16 *dup, int64_t n)
{
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step()) {
        float dg, du;
        back(lmf_read(gate + i), lmf_read(up + i), lmf_read(dy + i), &dg, &du);
        lmf_write(dgate + i, dg);
        lmf_write(dup + i, du);
    }
}
