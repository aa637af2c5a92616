/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sine and cosine of an angle are computed once for all heads of a row. */
#include "device/cuda/angle.cuh"

/* One block a row. */
LMF_KERNEL_EARLY(rope_fwd_f32)(const float *x, const int *pos, const float *freq, float *y, int64_t x_stride, int width, int head_size,
                               int half, float scale, int inverse)
{
    LMF_AFTER();
    const float *xt = x + blockIdx.x * x_stride;
    float *yt = y + (int64_t)blockIdx.x * width;
    double p = (double)pos[blockIdx.x];
    for (int k = threadIdx.x; k < half; k += blockDim.x) {
        float s, c;
        lmf_sine_cosine(p * (double)freq[k], &s, &c);
        c *= scale, s *= inverse ? -scale : scale;
        for (int h = 0; h < width; h += head_size) {
            float a = xt[h + k], b = xt[h + k + half];
            yt[h + k] = fmaf(a, c, -(b * s));
            yt[h + k + half] = fmaf(b, c, a * s);
        }
    }
    int rest = head_size - 2 * half;
    for (int i = threadIdx.x; rest && i < width / head_size * rest; i += blockDim.x) {
        int at = i / rest * head_size + 2 * half + i % rest;
        yt[at] = xt[at];
    }
}

/* ---- bf16: one warp a row; V neighbouring pairs of a head a lane. sine: half pairs (cos, sin) a warp. ---- */
template <int V>
static __device__ __forceinline__ void rope16(const __nv_bfloat16 *x, const int *pos, const float *freq, __nv_bfloat16 *y, int64_t x_stride,
                                              int rows, int width, int head_size, int half, float scale, int inverse)
{
    extern __shared__ float2 turns[];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, t = blockIdx.x * (blockDim.x >> 5) + warp;
    float2 *turn = turns + warp * half;
    if (t >= rows)
        return;
    double p = (double)pos[t];
    for (int k = lane; k < half; k += 32) {
        float s, c;
        lmf_sine_cosine(p * (double)freq[k], &s, &c);
        turn[k] = make_float2(c * scale, s * (inverse ? -scale : scale));
    }
    __syncwarp();
    const __nv_bfloat16 *xt = x + t * x_stride;
    __nv_bfloat16 *yt = y + (int64_t)t * width;
    int each = half / V, n = each ? width / head_size * each : 0;
    for (int i = lane; i < n; i += 32) {
        int h = i / each * head_size, k = i % each * V;
        float a[V], b[V];
        lmf_read_n<V>(xt + h + k, a);
        lmf_read_n<V>(xt + h + k + half, b);
#pragma unroll
        for (int v = 0; v < V; v++) {
            float2 r = turn[k + v];
            float first = fmaf(a[v], r.x, -(b[v] * r.y));
            b[v] = fmaf(b[v], r.x, a[v] * r.y);
            a[v] = first;
        }
        lmf_write_n<V>(yt + h + k, a);
        lmf_write_n<V>(yt + h + k + half, b);
    }
    int rest = head_size - 2 * half;
    for (int i = lane; rest && i < width / head_size * rest; i += 32) {
        int at = i / rest * head_size + 2 * half + i % rest;
        yt[at] = xt[at];
    }
}
#define ROPE16(V)                                                                                                    \
    LMF_KERNEL(rope_fwd_bf16_##V)(const __nv_bfloat16 *x, const int *pos, const float *freq, __nv_bfloat16 *y, int64_t x_stride, int rows, \
                                  int width, int head_size, int half, float scale, int inverse)                      \
    {                                                                                                                \
        rope16<V>(x, pos, freq, y, x_stride, rows, width, head_size, half, scale, inverse);                          \
    }
ROPE16(1)
ROPE16(4)
