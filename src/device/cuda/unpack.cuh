/* SPDX-License-Identifier: Apache-2.0 */
/* unpack: rows of a matrix in any format that CUDA kernels read, as f32: lmf_load<LMF_Q4_1>(row, i) is an element, and for formats that have
 * it lmf_eight<dtype>(row, i) eight of them in whole words, for products that read a matrix once. The values are those of lmf_format.unpack,
 * bit for bit. A format's are in src/quant/NAME/NAME.cuh; the build finds these files and makes of them the enum of
 * formats, LMF_EACH_FORMAT(X) and LMF_EACH_EIGHT(X), which instantiate a kernel for each: X(q4_1, LMF_Q4_1). Host code makes its tables of
 * kernels by the same macros (device/cuda/formats.h). */
#ifndef LMF_DEVICE_CUDA_UNPACK_CUH
#define LMF_DEVICE_CUDA_UNPACK_CUH
#include "device/cuda/kernel.cuh"
#include "cuda_formats.h" /* LMF_EACH_FORMAT, LMF_EACH_EIGHT */

template <int dtype> __device__ __forceinline__ float lmf_load(const void *row, int64_t i);

static __device__ __forceinline__ float lmf_half_at(const uint8_t *p)
{
    return __half2float(__ushort_as_half((unsigned short)(p[0] | p[1] << 8)));
}

/* Four elements of a row from x0 on and four from x1 on. Which eight the i-th are is up to the format; all i below K / 8 are all of the row. */
typedef struct lmf_eight_t { float w[8]; } lmf_eight_t;
template <int dtype> static __device__ __forceinline__ lmf_eight_t lmf_eight(const uint8_t *row, int i);

/* A block of 32 has its low nibbles first, 16 elements before the high ones: an eight is four and the four 16 further on, else neighbours. */
template <int dtype> constexpr bool lmf_eight_has_halves = false;
template <int dtype> static __device__ __forceinline__ int lmf_eight_x0(int i)
{
    return lmf_eight_has_halves<dtype> ? (i >> 2) * 32 + (i & 3) * 4 : 8 * i;
}
template <int dtype> static __device__ __forceinline__ int lmf_eight_x1(int i)
{
    return lmf_eight_x0<dtype>(i) + (lmf_eight_has_halves<dtype> ? 16 : 4);
}

static __device__ __forceinline__ lmf_eight_t lmf_eight_of(float4 a, float4 b) { return { { a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w } }; }
static __device__ __forceinline__ float2 lmf_halves(unsigned w)
{
    return make_float2(__half2float(__ushort_as_half((unsigned short)w)), __half2float(__ushort_as_half((unsigned short)(w >> 16))));
}
static __device__ __forceinline__ float2 lmf_bhalves(unsigned p)
{
    return make_float2(__uint_as_float(p << 16), __uint_as_float(p & 0xffff0000u));
}
/* A quarter of a block of 32: four low nibbles and four high ones. */
static __device__ __forceinline__ lmf_eight_t lmf_nibbles(unsigned q, float scale, float add, int minus)
{
    lmf_eight_t e;
#pragma unroll
    for (int j = 0; j < 4; j++) {
        e.w[j] = scale * (float)((int)(q >> 8 * j & 15) - minus) + add;
        e.w[4 + j] = scale * (float)((int)(q >> (8 * j + 4) & 15) - minus) + add;
    }
    return e;
}

#include "cuda_formats.cuh" /* the enum, and each format's own */
#endif
