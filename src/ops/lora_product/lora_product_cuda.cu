/* SPDX-License-Identifier: Apache-2.0 */
/* lora_product_bwd in one pass over x and dy. A block takes tiles of 64 rows: first u = x p^T and v = dy q, [64, 16] each, then
 * dp += v^T x and dq += u^T dy, whose sums stay in registers to the end; the second reading of a tile comes from L2, where the next
 * tile is called for meanwhile. In the end the blocks' sums are added, in order.
 * Rule: which k of a piece a lane holds is free as long as both factors agree: each lane loads 16 bytes of a row, and that is its share
 * of two steps of mma. For dp and dq rows are the depth, so each 8 by 8 goes through movmatrix; its columns come out as
 * 8 (n / 2) + 2 j + n % 2, so that a lane ends with eight neighbours of a row.
 * From sm_80 on; before that the bodies are empty. */
#include "device/cuda/mma.cuh"
#include "ops/lora_product/lora_product_job.h"

typedef __nv_bfloat16 bf16;
enum { TILE = LMF_LORA_TILE, WARPS = LMF_LORA_WARPS, WIDE = LMF_LORA_WIDE, OWN = LMF_LORA_OWN, RANKS = LMF_LORA_RANKS,
       PITCH = LMF_LORA_PITCH, PARTS = WARPS / (TILE / 16) };

static __device__ __forceinline__ unsigned transposed(unsigned x)
{
    unsigned y = 0;
#if __CUDA_ARCH__ >= 750
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
#endif
    return y;
}

/* Eight neighbours of a row, from the piece's column on; zeros where nothing is there. */
static __device__ __forceinline__ uint4 eight(const lmf_lora_job &j, int piece, int row, int lane)
{
    bool of_x = piece < j.x_pieces;
    int width = of_x ? j.k : j.n, column = (of_x ? piece : piece - j.x_pieces) * WIDE + (lane & 3) * 8;
    const bf16 *z = (const bf16 *)(of_x ? j.x : j.dy);
    return row < j.t && column < width ? *(const uint4 *)(z + (int64_t)row * width + column) : make_uint4(0, 0, 0, 0);
}

/* p and q^T as rows of ranks in bf16; a thread has a column, with loads of all its ranks on their way at once. */
static __device__ __forceinline__ void load_pair(const lmf_lora_job &j, bf16 *pair, int e0)
{
    int x_wide = j.x_pieces * WIDE, wide = (int)j.wide;
    for (int column = threadIdx.x; column < wide; column += blockDim.x) {
        bool of_x = column < x_wide;
        int at = of_x ? column : column - x_wide, step = of_x ? j.k : 1;
        bool there = at < (of_x ? j.k : j.n);
        const float *from = of_x ? j.p + (int64_t)e0 * j.k + at : j.q + (int64_t)at * j.r + e0;
        float f[RANKS];
#pragma unroll
        for (int e = 0; e < RANKS; e++)
            f[e] = there && e0 + e < j.r ? from[(int64_t)e * step] : 0.0f;
#pragma unroll
        for (int e = 0; e < RANKS; e++)
            pair[e * j.pitch + column] = __float2bfloat16_rn(f[e]);
    }
}

/* low[16 rows, 16 ranks] += rows of pieces first, first + PARTS ... below end times the pair. */
static __device__ __forceinline__ void add_low(const lmf_lora_job &j, const bf16 *pair, int row, int first, int end, float (&low)[2][4])
{
    int lane = threadIdx.x & 31, g = lane >> 2, c = lane & 3;
#pragma unroll 3
    for (int piece = first; piece < end; piece += PARTS) {
        uint4 a = eight(j, piece, row + g, lane), b = eight(j, piece, row + g + 8, lane);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            uint4 f = *(const uint4 *)(pair + (8 * h + g) * j.pitch + piece * WIDE + 8 * c);
            const unsigned first_step[4] = { a.x, b.x, a.y, b.y }, second[4] = { a.z, b.z, a.w, b.w };
            lmf_mma(low[h], first_step, f.x, f.y);
            lmf_mma(low[h], second, f.z, f.w);
        }
    }
}

static __device__ __forceinline__ void call_for(const void *z, int64_t first, int64_t bytes, int64_t all)
{
#if __CUDA_ARCH__ >= 800
    for (int64_t at = first + threadIdx.x * 128; at < first + bytes && at < all; at += blockDim.x * 128)
        asm volatile("prefetch.global.L2 [%0];" ::"l"((const char *)z + at));
#endif
}

/* Grid: blocks, slices of columns, slices of ranks. */
LMF_KERNEL(__launch_bounds__(WARPS * 32, 1) lora_product_bwd_bf16)(lmf_lora_job j)
{
    extern __shared__ uint4 shared[];
    float *sums = (float *)shared;                             /* [2][PARTS][TILE][RANKS] */
    bf16 *low = (bf16 *)(sums + 2 * PARTS * TILE * RANKS);     /* u, v: [2][TILE][PITCH] */
    bf16 *pair = low + 2 * TILE * PITCH;                       /* [RANKS][pitch] */
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, c = lane & 3, e0 = blockIdx.z * RANKS;
    int own = blockIdx.y * WARPS * OWN + warp, m0 = (warp & 3) * 16, part = warp >> 2;
    int first_dy = j.x_pieces + ((part - j.x_pieces) % PARTS + PARTS) % PARTS;
    float acc[OWN][4][4] = { { { 0 } } };
    load_pair(j, pair, e0);
    __syncthreads();
    for (int t0 = blockIdx.x * TILE; t0 < j.t; t0 += j.blocks * TILE) {
        float u[2][4] = { { 0 } }, v[2][4] = { { 0 } };
        add_low(j, pair, t0 + m0, part, j.x_pieces, u);
        add_low(j, pair, t0 + m0, first_dy, j.pieces, v);
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float *at = sums + (part * TILE + m0 + g + 8 * e) * RANKS + 8 * h + 2 * c;
                *(float2 *)at = make_float2(u[h][2 * e], u[h][2 * e + 1]);
                *(float2 *)(at + PARTS * TILE * RANKS) = make_float2(v[h][2 * e], v[h][2 * e + 1]);
            }
        __syncthreads();
        for (int i = threadIdx.x * 2; i < 2 * TILE * RANKS; i += WARPS * 64) {
            const float *at = sums + i / (TILE * RANKS) * (PARTS * TILE * RANKS) + i % (TILE * RANKS);
            float2 sum = make_float2(0, 0);
#pragma unroll
            for (int z = 0; z < PARTS; z++) {
                float2 one = *(const float2 *)(at + z * TILE * RANKS);
                sum.x += one.x, sum.y += one.y;
            }
            *(unsigned *)(low + i / RANKS * PITCH + i % RANKS) = lmf_pack_bf16(sum.x, sum.y);
        }
        int64_t next = (int64_t)(t0 + j.blocks * TILE) * 2;
        call_for(j.x, next * j.k, (int64_t)TILE * 2 * j.k, (int64_t)j.t * 2 * j.k);
        call_for(j.dy, next * j.n, (int64_t)TILE * 2 * j.n, (int64_t)j.t * 2 * j.n);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            int piece = own + i * WARPS;
            if (piece >= j.pieces)
                break;
            const bf16 *by = low + (piece < j.x_pieces ? TILE * PITCH : 0); /* v for columns of x, u for those of dy */
#pragma unroll 1
            for (int half = 0; half < TILE; half += 32) { /* both at once would not fit into registers */
                unsigned z[4][4];
#pragma unroll
                for (int rows = 0; rows < 4; rows++)
                    *(uint4 *)z[rows] = eight(j, piece, t0 + half + 8 * rows + g, lane);
#pragma unroll
                for (int k = 0; k < 2; k++) {
                    unsigned a[4];
                    lmf_ldmatrix<true>(a, by + (half + 16 * k + (lane & 7) + (lane >> 4) * 8) * PITCH + (lane >> 3 & 1) * 8);
#pragma unroll
                    for (int n = 0; n < 4; n++)
                        lmf_mma(acc[i][n], a, transposed(z[2 * k][n]), transposed(z[2 * k + 1][n]));
                }
            }
        }
        /* the next tile's sums are written behind this tile's; low only after its next barrier */
    }
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        int piece = own + i * WARPS;
        if (piece >= j.pieces)
            break;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            float *at = j.part + ((int64_t)(blockIdx.x * gridDim.z + blockIdx.z) * RANKS + g + 8 * e) * j.wide + piece * WIDE + 8 * c;
            *(float4 *)at = make_float4(acc[i][0][2 * e], acc[i][0][2 * e + 1], acc[i][1][2 * e], acc[i][1][2 * e + 1]);
            *(float4 *)(at + 4) = make_float4(acc[i][2][2 * e], acc[i][2][2 * e + 1], acc[i][3][2 * e], acc[i][3][2 * e + 1]);
        }
    }
}

/* Blocks of columns; blockIdx.y is the rank. */
LMF_KERNEL(lora_product_bwd_sum)(lmf_lora_job j)
{
    int column = blockIdx.x * blockDim.x + threadIdx.x, e = blockIdx.y, x_wide = j.x_pieces * WIDE, at = column - x_wide;
    int64_t ranks = (j.r + RANKS - 1) / RANKS * RANKS;
    if (column >= j.wide || (column < x_wide ? column >= j.k : at >= j.n))
        return;
    float sum = 0;
    const float *part = j.part + (int64_t)e * j.wide + column;
#pragma unroll 32
    for (int z = 0; z < j.blocks; z++)
        sum += part[z * ranks * j.wide];
    if (column < x_wide)
        j.dp[(int64_t)e * j.k + column] = j.scale * sum;
    else
        j.dq[(int64_t)at * j.r + e] = j.scale * sum;
}

/* A row c in bf16. */
LMF_KERNEL(lora_product_row)(const float *c, bf16 *y, int n)
{
    for (int i = (int)lmf_grid_first(); i < n; i += (int)lmf_grid_step())
        y[i] = __float2bfloat16_rn(c[i]);
}
