/* SPDX-License-Identifier: Apache-2.0 */
/* attention_mma: products of attention on the matrix units: bf16 factors, f32 sums, a warp for 16 M rows. Four warps a block. */
#ifndef LMF_OPS_ATTENTION_MMA_CUH
#define LMF_OPS_ATTENTION_MMA_CUH
#include "device/cuda/mma.cuh"

enum { WARPS = 4, THREADS = 32 * WARPS, PAD = 8 };
static const int FAR = 0x7fffffff;
static const unsigned ALL = 0xffffffffu;

/* A row of a tile; padded by 16 bytes: ldmatrix meets each bank once for C = 64, 96, 128. */
template <int C> struct line { __nv_bfloat16 at[C + PAD]; };

extern __shared__ uint4 attention_shared[];

/* ---- copies that arrive later ---- */
static __device__ __forceinline__ void copy16(void *to, const void *from, bool there) /* zeros where not there */
{
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(there ? 16 : 0) : "memory");
#endif
}
static __device__ __forceinline__ void copy4(void *to, const void *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(there ? 4 : 0) : "memory");
#endif
}
static __device__ __forceinline__ void copies_end(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int pending> static __device__ __forceinline__ void copies_wait(void) /* all groups but the last `pending` */
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}
static __device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
static __device__ __forceinline__ void store_two(float *to, float a, float b) { *(float2 *)to = make_float2(a, b); }
static __device__ __forceinline__ void store_two(__nv_bfloat16 *to, float a, float b) { *(unsigned *)to = lmf_pack_bf16(a, b); }

/* N rows from row0 of one head; from: the head's first channel in row 0, width elements a row; rows past n become zeros. */
template <int C, int N>
static __device__ __forceinline__ void load_rows(line<C> *to, const void *from, int head, int64_t width, int row0, int n)
{
    const __nv_bfloat16 *p = (const __nv_bfloat16 *)from + (int64_t)head * C;
#pragma unroll
    for (int i = threadIdx.x; i < N * (C / 8); i += THREADS) {
        int r = i / (C / 8), c = i % (C / 8) * 8;
        bool there = row0 + r < n;
        copy16(&to[r].at[c], p + (there ? row0 + r : 0) * width + c, there);
    }
}

/* ---- products of a warp ---- */
template <int C, int M> static __device__ __forceinline__ void load_factor(unsigned (&a)[M][C / 16][4], const line<C> *x)
{
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int k = 0; k < C / 16; k++)
            lmf_ldmatrix<false>(a[m][k], &x[16 * m + (lane & 15)].at[16 * k + (lane >> 4) * 8]);
}

/* s[16 M rows, N] = a b^T; b: N lines. */
template <int C, int M, int N>
static __device__ __forceinline__ void dots(float (&s)[M][N / 8][4], const unsigned (&a)[M][C / 16][4], const line<C> *b)
{
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int i = 0; i < N / 8; i++)
            s[m][i][0] = s[m][i][1] = s[m][i][2] = s[m][i][3] = 0;
#pragma unroll
    for (int k = 0; k < C / 16; k++)
#pragma unroll
        for (int i = 0; i < N / 16; i++) {
            unsigned bf[4];
            lmf_ldmatrix<false>(bf, &b[16 * i + (lane & 7) + (lane >> 4) * 8].at[16 * k + (lane >> 3 & 1) * 8]);
#pragma unroll
            for (int m = 0; m < M; m++) {
                lmf_mma(s[m][2 * i], a[m][k], bf[0], bf[1]);
                lmf_mma(s[m][2 * i + 1], a[m][k], bf[2], bf[3]);
            }
        }
}

/* acc[16 M rows, C] += p b; p as dots left it, rounded here; b: N lines. */
template <int C, int M, int N>
static __device__ __forceinline__ void add_weighted(float (&acc)[M][C / 8][4], const float (&p)[M][N / 8][4], const line<C> *b)
{
    int lane = threadIdx.x & 31;
#pragma unroll
    for (int k = 0; k < N / 16; k++) {
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) { /* sums of two tiles of eight columns lie as a factor of depth 16 does */
            a[m][0] = lmf_pack_bf16(p[m][2 * k][0], p[m][2 * k][1]);
            a[m][1] = lmf_pack_bf16(p[m][2 * k][2], p[m][2 * k][3]);
            a[m][2] = lmf_pack_bf16(p[m][2 * k + 1][0], p[m][2 * k + 1][1]);
            a[m][3] = lmf_pack_bf16(p[m][2 * k + 1][2], p[m][2 * k + 1][3]);
        }
#pragma unroll
        for (int i = 0; i < C / 16; i++) {
            unsigned bf[4];
            lmf_ldmatrix<true>(bf, &b[16 * k + (lane & 7) + (lane >> 3 & 1) * 8].at[16 * i + (lane >> 4) * 8]);
#pragma unroll
            for (int m = 0; m < M; m++) {
                lmf_mma(acc[m][2 * i], a[m], bf[0], bf[1]);
                lmf_mma(acc[m][2 * i + 1], a[m], bf[2], bf[3]);
            }
        }
    }
}

/* ---- softmax ---- */

/* Scores of N keys become weights; what was summed before moves to the new greatest score. top: in units of log 2. */
template <int C, int M, int N>
static __device__ __forceinline__ void soften(float (&s)[M][N / 8][4], float (&acc)[M][C / 8][4], float (&top)[M][2], float (&sum)[M][2],
                                              float by)
{
#pragma unroll
    for (int m = 0; m < M; m++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float most = -INFINITY, part = 0;
#pragma unroll
            for (int i = 0; i < N / 8; i++)
                most = fmaxf(most, fmaxf(s[m][i][2 * e], s[m][i][2 * e + 1]));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 1));
            most = fmaxf(most, __shfl_xor_sync(ALL, most, 2));
            float next = fmaxf(top[m][e], most * by), base = next == -INFINITY ? 0.0f : next, keep = exp2_fast(top[m][e] - base);
#pragma unroll
            for (int i = 0; i < N / 8; i++) {
                s[m][i][2 * e] = exp2_fast(fmaf(s[m][i][2 * e], by, -base));
                s[m][i][2 * e + 1] = exp2_fast(fmaf(s[m][i][2 * e + 1], by, -base));
                part += s[m][i][2 * e] + s[m][i][2 * e + 1];
            }
            sum[m][e] = fmaf(sum[m][e], keep, part);
            top[m][e] = next;
#pragma unroll
            for (int i = 0; i < C / 8; i++)
                acc[m][i][2 * e] *= keep, acc[m][i][2 * e + 1] *= keep;
        }
}

#endif
