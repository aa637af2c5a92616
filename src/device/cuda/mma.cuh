/* SPDX-License-Identifier: Apache-2.0 */
/* mma: products on the matrix units, bf16 factors and f32 sums. A block of 256 threads has a tile of 128 by 128 of y = a b; eight warps,
 * each 64 by 32. A depth of each factor lies in shared memory as [128][depth] (rows of a, columns of b, k innermost) or, by_k, as
 * [depth][128]. Rows are padded by 16 bytes, so that ldmatrix meets each bank once.
 * PTX ISA: mma.m16n8k16, ldmatrix. From sm_80 on; before that the bodies are empty, and no row that calls them matches. */
#ifndef LMF_DEVICE_CUDA_MMA_CUH
#define LMF_DEVICE_CUDA_MMA_CUH
#include "device/cuda/unpack.cuh"

enum { LMF_MMA_TILE = 128, LMF_MMA_DEPTH = 32, LMF_MMA_PAD = 8, LMF_MMA_STAGES = 3 };
typedef __nv_bfloat16 lmf_mma_rows[LMF_MMA_TILE][LMF_MMA_DEPTH + LMF_MMA_PAD]; /* [row][k]; the larger of the two ways to lie */
typedef float lmf_mma_sums[4][4][4];                                          /* 16 rows, 8 columns, fragment */

template <bool trans> static __device__ __forceinline__ void lmf_ldmatrix(unsigned (&r)[4], const void *p)
{
#if __CUDA_ARCH__ >= 750
    unsigned at = (unsigned)__cvta_generic_to_shared(p);
    if (trans)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at));
#endif
}

static __device__ __forceinline__ void lmf_mma(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

/* sums += a b over one depth. Each lies as rows with k innermost (a's rows, b's columns), or by_k: [k][row or column]. */
template <bool a_by_k, bool b_by_k>
static __device__ __forceinline__ void lmf_mma_tile(const __nv_bfloat16 *a, const __nv_bfloat16 *b, lmf_mma_sums &sum)
{
    constexpr int ROW = LMF_MMA_DEPTH + LMF_MMA_PAD, K = LMF_MMA_TILE + LMF_MMA_PAD;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, m0 = (warp >> 2) * 64, n0 = (warp & 3) * 32;
#pragma unroll
    for (int k = 0; k < LMF_MMA_DEPTH; k += 16) {
        unsigned af[4][4], bf[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) { /* rows 0 to 7, 8 to 15 at k; then both at k + 8 */
            if constexpr (a_by_k)
                lmf_ldmatrix<true>(af[i], a + (k + (lane & 7) + (lane >> 4) * 8) * K + m0 + 16 * i + (lane >> 3 & 1) * 8);
            else
                lmf_ldmatrix<false>(af[i], a + (m0 + 16 * i + (lane & 15)) * ROW + k + (lane >> 4) * 8);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) { /* columns 0 to 7 at k and k + 8; then columns 8 to 15 */
            if constexpr (b_by_k)
                lmf_ldmatrix<true>(bf[i], b + (k + (lane & 7) + (lane >> 3 & 1) * 8) * K + n0 + 16 * i + (lane >> 4) * 8);
            else
                lmf_ldmatrix<false>(bf[i], b + (n0 + 16 * i + (lane & 7) + (lane >> 4) * 8) * ROW + k + (lane >> 3 & 1) * 8);
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                lmf_mma(sum[i][j], af[i], bf[j >> 1][(j & 1) * 2], bf[j >> 1][(j & 1) * 2 + 1]);
    }
}

/* Sixteen bytes on their way to shared memory while the thread goes on; zeroes where nothing is there. Both on 16 bytes. */
static __device__ __forceinline__ void lmf_copy16(void *to, const void *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to), n = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(n) : "memory");
#endif
}
static __device__ __forceinline__ void lmf_copies_end(void) /* what was begun since the last is one group */
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int n> static __device__ __forceinline__ void lmf_copies_wait(void) /* for all groups but the newest n */
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory");
#endif
}

/* A factor in memory as a tile sees it: at is its first element. Rows are `stride` elements apart and on 16 bytes. As rows: n rows from
 * `at` on, each with memory for ks rounded up to 32; by_k: n columns, a multiple of 8. */
typedef struct lmf_mma_factor { const __nv_bfloat16 *at; int64_t stride, n; } lmf_mma_factor;

template <bool by_k>
static __device__ __forceinline__ void lmf_mma_fetch(__nv_bfloat16 *to, const lmf_mma_factor &f, int64_t k0, int64_t n_k)
{
#pragma unroll
    for (int i = threadIdx.x; i < 512; i += 256) {
        int row = by_k ? i >> 4 : i >> 2, column = (by_k ? i & 15 : i & 3) * 8;
        bool there = by_k ? k0 + row < n_k && column < f.n : row < f.n;
        const __nv_bfloat16 *from = f.at + (by_k ? (k0 + row) * f.stride + column : row * f.stride + k0 + column);
        lmf_copy16(to + row * ((by_k ? LMF_MMA_TILE : LMF_MMA_DEPTH) + LMF_MMA_PAD) + column, there ? from : f.at, there);
    }
}

/* sums += a b over n_k ks; a tile of 128 by 128, loads two depths ahead. shared: LMF_MMA_SHARED bytes of dynamic shared memory. */
template <bool a_by_k, bool b_by_k>
static __device__ __forceinline__ void lmf_mma_product(const lmf_mma_factor &a, const lmf_mma_factor &b, int64_t n_k, void *shared,
                                                       lmf_mma_sums &sum)
{
    constexpr int STAGES = LMF_MMA_STAGES, SIDE = sizeof(lmf_mma_rows) / sizeof(__nv_bfloat16);
    __nv_bfloat16 *room = (__nv_bfloat16 *)shared;
    int n = (int)((n_k + LMF_MMA_DEPTH - 1) / LMF_MMA_DEPTH), fill = 0, use = 0;
    for (int i = 0; i < n + STAGES - 1; i++) {
        if (i >= STAGES - 1) {
            lmf_copies_wait<STAGES - 2>();
            __syncthreads(); /* and nobody reads the stage that is filled next */
        }
        if (i < n) {
            __nv_bfloat16 *to = room + fill * 2 * SIDE;
            lmf_mma_fetch<a_by_k>(to, a, (int64_t)i * LMF_MMA_DEPTH, n_k);
            lmf_mma_fetch<b_by_k>(to + SIDE, b, (int64_t)i * LMF_MMA_DEPTH, n_k);
            fill = fill + 1 == STAGES ? 0 : fill + 1;
        }
        lmf_copies_end();
        if (i >= STAGES - 1) {
            lmf_mma_tile<a_by_k, b_by_k>(room + use * 2 * SIDE, room + use * 2 * SIDE + SIDE, sum);
            use = use + 1 == STAGES ? 0 : use + 1;
        }
    }
}

/* f(row, column, two neighbouring sums) for each of this thread's pairs. */
template <class F> static __device__ __forceinline__ void lmf_mma_each(const lmf_mma_sums &sum, F f)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, m0 = (warp >> 2) * 64 + (lane >> 2), n0 = (warp & 3) * 32 + (lane & 3) * 2;
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            f(m0 + 16 * i, n0 + 8 * j, sum[i][j][0], sum[i][j][1]);
            f(m0 + 16 * i + 8, n0 + 8 * j, sum[i][j][2], sum[i][j][3]);
        }
}

#endif
