/* SPDX-License-Identifier: Apache-2.0 */
/* angle: sine and cosine of far angles, for rotary positions. The angle is reduced to a turn in f64, so that far positions keep f32
 * accuracy. */
#ifndef LMF_DEVICE_CUDA_ANGLE_CUH
#define LMF_DEVICE_CUDA_ANGLE_CUH
#include "device/cuda/kernel.cuh"

/* Half turns in [-1, 1] in two f32, the second a correction to the first: without it the angle alone would cost a bit. */
static __device__ __forceinline__ void lmf_sine_cosine(double angle, float *sn, float *cs)
{
    const double by_turn = 0.15915494309189535, rest = -9.839338337591e-18, pi = 3.141592653589793; /* their sum is 1 / (2 pi) */
    double turn = fma(angle, by_turn, -rint(angle * by_turn)) + angle * rest;
    float high = (float)(2 * turn), low = (float)((2 * turn - (double)high) * pi), s, c;
    sincospif(high, &s, &c);
    *sn = fmaf(low, c, s);
    *cs = fmaf(-low, s, c);
}

#endif
