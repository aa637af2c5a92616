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
LMF_KERNEL(rms_norm_bwd_f32_dw_pieces)(const float *x, const float *rstd, const float *dy, float *part, int64_t rows, int d)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int64_t t = (int64_t)blockIdx.y * 256, end = t + 256 < rows ? t + 256 : rows;
    if (i >= d)
        return;
    float sum = 0;
    for (; t < end; t++)
        sum += dy[t * d + i] * (x[t * d + i] * rstd[t]);
    part[(int64_t)blockIdx.y * d + i] = sum;
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
