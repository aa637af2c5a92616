/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one block a row, so that a row's bits depend on that row and on D alone. dw is summed by pieces of 256 rows, rows
 * in order, then over the pieces in order: both by one thread a column. */
#include "device/cuda/kernel.cuh"

LMF_KERNEL_EARLY(rms_norm_fwd_f32)(const float *x, const float *w, float *y, float *rstd, int64_t x_stride, int d, float eps)
{
    LMF_AFTER();
    __shared__ float part[32];
    const float *xt = x + (int64_t)blockIdx.x * x_stride;
    float *yt = y + (int64_t)blockIdx.x * d;
    float sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        sum = fmaf(xt[i], xt[i], sum);
    float r = 1.0f / sqrtf(lmf_block_sum(sum, part) / (float)d + eps);
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        yt[i] = xt[i] * r * w[i];
    if (threadIdx.x == 0)
        rstd[blockIdx.x] = r;
}

LMF_KERNEL(rms_norm_bwd_f32_dx)(const float *x, const float *w, const float *rstd, const float *dy, float *dx, int d)
{
    __shared__ float part[32];
    int64_t at = (int64_t)blockIdx.x * d;
    float sum = 0, r = rstd[blockIdx.x];
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        sum = fmaf(dy[at + i] * w[i], x[at + i], sum);
    float k = lmf_block_sum(sum, part) * r * r * r / (float)d;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        dx[at + i] = dy[at + i] * w[i] * r - x[at + i] * k;
}

/* part[piece, D]: blockIdx.y is the piece */
template <class T>
static __device__ __forceinline__ void dw_pieces(const T *x, const float *rstd, const T *dy, float *part, int64_t rows, int d)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int64_t t = (int64_t)blockIdx.y * 256, end = t + 256 < rows ? t + 256 : rows;
    if (i >= d)
        return;
    float sum = 0;
    for (; t < end; t++)
        sum += lmf_read(dy + t * d + i) * (lmf_read(x + t * d + i) * rstd[t]);
    part[(int64_t)blockIdx.y * d + i] = sum;
}
LMF_KERNEL(rms_norm_bwd_f32_dw_pieces)(const float *x, const float *rstd, const float *dy, float *part, int64_t rows, int d)
{
    dw_pieces(x, rstd, dy, part, rows, d);
}

LMF_KERNEL(rms_norm_bwd_f32_dw)(const float *part, float *dw, int n_pieces, int d)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= d)
        return;
    float sum = 0;
    for (int p = 0; p < n_pieces; p++)
        sum += part[(int64_t)p * d + i];
    dw[i] = sum;
}

/* ---- bf16: one warp a row, V neighbours a lane at a time (D and the strides are multiples of V) ---- */
typedef __nv_bfloat16 bf16;

static __device__ __forceinline__ int64_t warp_row(void) { return (int64_t)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); }

template <int V>
static __device__ __forceinline__ void norm16(const bf16 *x, const float *w, bf16 *y, float *rstd, int64_t x_stride, int64_t rows, int d,
                                              float eps)
{
    int64_t t = warp_row();
    int lane = threadIdx.x & 31;
    if (t >= rows)
        return;
    const bf16 *xt = x + t * x_stride;
    float sum = 0, e[V];
    for (int i = lane * V; i < d; i += 32 * V) {
        lmf_read_n<V>(xt + i, e);
#pragma unroll
        for (int v = 0; v < V; v++)
            sum = fmaf(e[v], e[v], sum);
    }
    float r = 1.0f / sqrtf(lmf_warp_sum(sum) / (float)d + eps);
    for (int i = lane * V; i < d; i += 32 * V) {
        lmf_read_n<V>(xt + i, e);
#pragma unroll
        for (int v = 0; v < V; v++)
            e[v] = e[v] * r * w[i + v];
        lmf_write_n<V>(y + t * d + i, e);
    }
    if (lane == 0)
        rstd[t] = r;
}

/* c: NULL, or what dx adds to. */
template <int V>
static __device__ __forceinline__ void norm16_dx(const bf16 *x, const float *w, const float *rstd, const bf16 *dy, const bf16 *c, bf16 *dx,
                                                 int64_t rows, int d)
{
    int64_t t = warp_row();
    int lane = threadIdx.x & 31;
    if (t >= rows)
        return;
    float sum = 0, r = rstd[t], a[V], b[V];
    for (int i = lane * V; i < d; i += 32 * V) {
        lmf_read_n<V>(x + t * d + i, a);
        lmf_read_n<V>(dy + t * d + i, b);
#pragma unroll
        for (int v = 0; v < V; v++)
            sum = fmaf(b[v] * w[i + v], a[v], sum);
    }
    float k = lmf_warp_sum(sum) * r * r * r / (float)d;
    for (int i = lane * V; i < d; i += 32 * V) {
        float onto[V] = { 0 };
        lmf_read_n<V>(x + t * d + i, a);
        lmf_read_n<V>(dy + t * d + i, b);
        if (c)
            lmf_read_n<V>(c + t * d + i, onto);
#pragma unroll
        for (int v = 0; v < V; v++)
            b[v] = b[v] * w[i + v] * r - a[v] * k + onto[v];
        lmf_write_n<V>(dx + t * d + i, b);
    }
}

#define EACH_WIDTH(V)                                                                                                \
    LMF_KERNEL(rms_norm_fwd_bf16_##V)(const bf16 *x, const float *w, bf16 *y, float *rstd, int64_t x_stride, int64_t rows, int d, \
                                      float eps)                                                                     \
    {                                                                                                                \
        norm16<V>(x, w, y, rstd, x_stride, rows, d, eps);                                                            \
    }                                                                                                                \
    LMF_KERNEL(rms_norm_dx_bf16_##V)(const bf16 *x, const float *w, const float *rstd, const bf16 *dy, const bf16 *c, bf16 *dx, \
                                     int64_t rows, int d) \
    {                                                                                                                \
        norm16_dx<V>(x, w, rstd, dy, c, dx, rows, d);                                                                \
    }
EACH_WIDTH(1)
EACH_WIDTH(4)

LMF_KERNEL(rms_norm_bwd_bf16_dw_pieces)(const bf16 *x, const float *rstd, const bf16 *dy, float *part, int64_t rows, int d)
{
    dw_pieces(x, rstd, dy, part, rows, d);
}
