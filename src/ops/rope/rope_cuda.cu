/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the angle is reduced to a turn in f64, so that far positions keep f32 accuracy; its sine and cosine are f32, once for all
 * heads of a row. */
#include "device/cuda/kernel.cuh"

/* Half turns in [-1, 1] in two f32, the second a correction to the first: without it the angle alone would cost a bit. */
static __device__ __forceinline__ void sine_cosine(double angle, float *sn, float *cs)
{
    const double by_turn = 0.15915494309189535, rest = -9.839338337591e-18, pi = 3.141592653589793; /* their sum is 1 / (2 pi) */
    double turn = fma(angle, by_turn, -rint(angle * by_turn)) + angle * rest;
    float high = (float)(2 * turn), low = (float)((2 * turn - (double)high) * pi), s, c;
    sincospif(high, &s, &c);
    *sn = fmaf(low, c, s);
    *cs = fmaf(-low, s, c);
}

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
        sine_cosine(p * (double)freq[k], &s, &c);
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
