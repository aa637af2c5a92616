/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the CPU's draws and its one fma an element: the same bits. */
#include "device/cuda/kernel.cuh"
#include "ops/dropout/dropout_draw.h"

/* One block a row; a thread draws four words at a time, those of four neighbours. c may be NULL. */
LMF_KERNEL(dropout_f32)(const float *x, const int32_t *pos, const int32_t *item, const int32_t *noise, const float *c, float *y, int64_t k,
                        int32_t stream, uint32_t bound, float scale)
{
    __shared__ uint64_t shared_key;
    int64_t at = blockIdx.x * k;
    if (threadIdx.x == 0)
        shared_key = lmf_dropout_row(noise, stream, item[blockIdx.x], pos[blockIdx.x]);
    __syncthreads();
    uint64_t key = shared_key;
    bool wide = k % 4 == 0 && ((uintptr_t)x | (uintptr_t)y | (uintptr_t)c) % 16 == 0;
    x += at, y += at, c = c ? c + at : c;
    for (int64_t j = threadIdx.x * 4; j < k; j += blockDim.x * 4) {
        uint32_t word[4];
        lmf_philox4x32(key, (uint64_t)j / 4, 0, word);
        if (wide) {
            float4 a = *(const float4 *)(x + j), b = c ? *(const float4 *)(c + j) : make_float4(0, 0, 0, 0);
            a.x = fmaf(a.x, word[0] >> 8 >= bound ? scale : 0.0f, b.x), a.y = fmaf(a.y, word[1] >> 8 >= bound ? scale : 0.0f, b.y);
            a.z = fmaf(a.z, word[2] >> 8 >= bound ? scale : 0.0f, b.z), a.w = fmaf(a.w, word[3] >> 8 >= bound ? scale : 0.0f, b.w);
            *(float4 *)(y + j) = a;
            continue;
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (j + i < k)
                y[j + i] = fmaf(x[j + i], word[i] >> 8 >= bound ? scale : 0.0f, c ? c[j + i] : 0.0f);
    }
}
