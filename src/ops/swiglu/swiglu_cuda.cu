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

/* ---- bf16: V neighbours a thread. With V of 8 all tensors are dense and n counts all elements; else rows as above. ---- */
typedef __nv_bfloat16 bf16;

template <int V> static __device__ __forceinline__ void gate_up(const float (&g)[V], const float (&u)[V], float (&y)[V])
{
#pragma unroll
    for (int v = 0; v < V; v++)
        y[v] = g[v] / (1.0f + expf(-g[v])) * u[v];
}
template <int V>
static __device__ __forceinline__ void gate_up_back(const float (&g)[V], const float (&u)[V], const float (&d)[V], float (&dg)[V],
                                                    float (&du)[V])
{
#pragma unroll
    for (int v = 0; v < V; v++) {
        float s = 1.0f / (1.0f + expf(-g[v]));
        dg[v] = d[v] * u[v] * s * (1.0f + g[v] * (1.0f - s));
        du[v] = d[v] * g[v] * s;
    }
}

LMF_KERNEL(swiglu_fwd_bf16_8)(const bf16 *gate, const bf16 *up, bf16 *y, int64_t n)
{
    for (int64_t i = lmf_grid_first() * 8; i < n; i += lmf_grid_step() * 8) {
        float g[8], u[8], r[8];
        lmf_read_n<8>(gate + i, g);
        lmf_read_n<8>(up + i, u);
        gate_up<8>(g, u, r);
        lmf_write_n<8>(y + i, r);
    }
}
LMF_KERNEL(swiglu_fwd_bf16)(const bf16 *gate, const bf16 *up, bf16 *y, int64_t gate_stride, int64_t up_stride, int n)
{
    const bf16 *g = gate + blockIdx.x * gate_stride, *u = up + blockIdx.x * up_stride;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x) {
        float a[1] = { lmf_read(g + i) }, b[1] = { lmf_read(u + i) }, r[1];
        gate_up<1>(a, b, r);
        lmf_write(y + (int64_t)blockIdx.x * n + i, r[0]);
    }
}

LMF_KERNEL(swiglu_bwd_bf16_8)(const bf16 *gate, const bf16 *up, const bf16 *dy, bf16 *dgate, bf16 *dup, int64_t n)
{
    for (int64_t i = lmf_grid_first() * 8; i < n; i += lmf_grid_step() * 8) {
        float g[8], u[8], d[8], dg[8], du[8];
        lmf_read_n<8>(gate + i, g);
        lmf_read_n<8>(up + i, u);
        lmf_read_n<8>(dy + i, d);
        gate_up_back<8>(g, u, d, dg, du);
        lmf_write_n<8>(dgate + i, dg);
        lmf_write_n<8>(dup + i, du);
    }
}
LMF_KERNEL(swiglu_bwd_bf16)(const bf16 *gate, const bf16 *up, const bf16 *dy, bf16 *dgate, bf16 *dup, int64_t gate_stride,
                            int64_t up_stride, int64_t dy_stride, int n)
{
    const bf16 *g = gate + blockIdx.x * gate_stride, *u = up + blockIdx.x * up_stride, *d = dy + blockIdx.x * dy_stride;
    int64_t at = (int64_t)blockIdx.x * n;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x) {
        float a[1] = { lmf_read(g + i) }, b[1] = { lmf_read(u + i) }, e[1] = { lmf_read(d + i) }, dg[1], du[1];
        gate_up_back<1>(a, b, e, dg, du);
        lmf_write(dgate + at + i, dg[0]);
        lmf_write(dup + at + i, du[0]);
    }
}
