/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sum_rows adds pieces of 256 rows, rows in order, then the pieces in order, one thread a column. */
#include "device/cuda/kernel.cuh"

/* blockIdx.x is the row, blockIdx.y the part of it. b_stride 0: b is added to every row. */
LMF_KERNEL_EARLY(add_fwd_f32)(const float *a, const float *b, float *y, int64_t a_stride, int64_t b_stride, int n)
{
    LMF_AFTER();
    const float *at = a + blockIdx.x * a_stride, *bt = b + blockIdx.x * b_stride;
    float *yt = y + (int64_t)blockIdx.x * n;
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x)
        yt[i] = at[i] + bt[i];
}

#define ADD(name, A, B)                                                                                              \
    LMF_KERNEL(add_fwd_##name)(const A *a, const B *b, A *y, int64_t a_stride, int64_t b_stride, int n)              \
    {                                                                                                                \
        const A *at = a + blockIdx.x * a_stride;                                                                     \
        const B *bt = b + blockIdx.x * b_stride;                                                                     \
        A *yt = y + (int64_t)blockIdx.x * n;                                                                         \
        for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < n; i += gridDim.y * blockDim.x)                      \
            lmf_write(yt + i, lmf_read(at + i) + lmf_read(bt + i));                                                  \
    }
ADD(bf16, __nv_bfloat16, __nv_bfloat16)
ADD(bf16_f32, __nv_bfloat16, float)
ADD(f32_bf16, float, __nv_bfloat16)

/* part[piece, N]: blockIdx.y is the piece. One piece: part is the result. */
template <class T> static __device__ __forceinline__ void sum_pieces(const T *x, float *part, int64_t rows, int64_t stride, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int64_t t = (int64_t)blockIdx.y * 256, end = t + 256 < rows ? t + 256 : rows;
    if (i >= n)
        return;
    float sum = 0;
    for (; t < end; t++)
        sum += lmf_read(x + t * stride + i);
    part[(int64_t)blockIdx.y * n + i] = sum;
}
LMF_KERNEL(sum_rows_f32_pieces)(const float *x, float *part, int64_t rows, int64_t stride, int n) { sum_pieces(x, part, rows, stride, n); }
LMF_KERNEL(sum_rows_bf16_pieces)(const __nv_bfloat16 *x, float *part, int64_t rows, int64_t stride, int n)
{
    sum_pieces(x, part, rows, stride, n);
}

LMF_KERNEL(sum_rows_f32)(const float *part, float *y, int n_pieces, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    float sum = 0;
    for (int p = 0; p < n_pieces; p++)
        sum += part[(int64_t)p * n + i];
    y[i] = sum;
}
