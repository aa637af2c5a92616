/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the angle, its sine and cosine are f64, once for all heads of a row. */
#include "device/cuda/kernel.cuh"

/* One block a row. */
LMF_KERNEL(rope_fwd_f32)(const float *x, const int *pos, const float *freq, float *y, int64_t x_stride, int width, int head_size, int half,
                         float scale, int inverse)
{
    const float *xt = x + blockIdx.x * x_stride;
    float *yt = y + (int64_t)blockIdx.x * width;
    double p = (double)pos[blockIdx.x];
    for (int k = threadIdx.x; k < half; k += blockDim.x) {
        double sn, cs;
        sincos(p * (double)freq[k], &sn, &cs);
        float c = (float)(cs * (double)scale), s = (float)((inverse ? -sn : sn) * (double)scale);
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
