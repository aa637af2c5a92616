/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the arithmetic of adamw_8bit.h, operation by operation, an element a thread: the same bits, codes included. A norm that is not
 * finite writes nothing. */
#include "device/cuda/kernel.cuh"
#include "ops/adamw_8bit/adamw_8bit_job.h"

/* lmf_dynamic8_code, with the table in shared memory. */
static __device__ __forceinline__ uint8_t code_of(const float *map, float x)
{
    int at = 0;
#pragma unroll
    for (int step = 128; step; step >>= 1)
        if (at + step < 256 && (map[at + step - 1] + map[at + step]) / 2 < x)
            at += step;
    return (uint8_t)at;
}

/* 256 threads; a block of codes at a time, several one after the other. */
LMF_KERNEL(adamw_8bit_f32)(const __grid_constant__ lmf_adamw_8bit_job j)
{
    __shared__ float map_m[256], map_v[256], part[32];
    const float *h = j.hyper;
    float norm = j.norm[0];
    if (!isfinite(norm))
        return;
    map_m[threadIdx.x] = j.map_m[threadIdx.x], map_v[threadIdx.x] = j.map_v[threadIdx.x];
    __syncthreads();
    float clip = h[7] > 0 ? fminf(1.0f, h[7] / (norm + 1e-6f)) : 1.0f;
    float b1 = h[1], b2 = h[2], eps = h[3], keep = 1 - h[0] * h[4], rate = h[0] / h[5], root = sqrtf(h[6]);
    for (int64_t block = blockIdx.x; block < j.blocks; block += gridDim.x) {
        int64_t i = block * 256 + threadIdx.x;
        bool own = i < j.n;
        float a = 0, b = 0;
        if (own) {
            float x = j.g[i] * clip;
            a = b1 * (map_m[j.m[i]] * j.s[block]) + (1 - b1) * x;
            b = b2 * (map_v[j.v[i]] * j.s[j.blocks + block]) + (1 - b2) * x * x;
            j.p[i] = j.p[i] * keep - rate * a / (sqrtf(b) / root + eps);
        }
        float top_a = lmf_block_max(fabsf(a), part), top_b = lmf_block_max(fabsf(b), part); /* all have read the scales */
        if (own) {
            j.m[i] = code_of(map_m, a * (1 / (top_a > 1e-38f ? top_a : 1e-38f)));
            j.v[i] = code_of(map_v, b * (1 / (top_b > 1e-38f ? top_b : 1e-38f)));
        }
        if (threadIdx.x == 0)
            j.s[block] = top_a, j.s[j.blocks + block] = top_b;
    }
}
