/* SPDX-License-Identifier: Apache-2.0 */
/* lora_product_bwd in one pass over x and dy. A block takes tiles of 64 rows: first u = x p^T and v = dy q, [64, 16] each, then
 * dp += v^T x and dq += u^T dy, whose sums stay in registers to the end; the second reading of a tile comes from L2, where the next
 * tile is called for meanwhile. In the end the blocks' sums are added, in order.
 * Rule: which k of a piece a lane holds is free as long as both factors agree: each lane loads 16 bytes of a row, and that is its share
 * of two steps of mma. For dp and dq rows are the depth, so each 8 by 8 goes through movmatrix; its columns come out as
 * 8 (n / 2) + 2 j + n % 2, so that a lane ends with eight neighbours of a row.
 * From sm_80 on; before that the bodies are empty. */
#include "device/cuda/cluster.cuh"
#include "device/cuda/mma.cuh"
#include "ops/lora_product/lora_product_job.h"

typedef __nv_bfloat16 bf16;
enum { TILE = LMF_LORA_TILE, WARPS = LMF_LORA_WARPS, WIDE = LMF_LORA_WIDE, OWN = LMF_LORA_OWN, RANKS = LMF_LORA_RANKS,
       PITCH = LMF_LORA_PITCH, PARTS = WARPS / (TILE / 16) };

extern __shared__ uint4 shared[];

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

/* ---- rows of x and dy that fit into shared memory: read once ---- */
enum { ROWS = LMF_LORA_ROWS, STRIPE = ROWS * WIDE * 2, LOW = 2 * ROWS * RANKS }; /* bytes of a piece's rows; u and v */

/* 16 bytes of a piece's rows: eight rows of a column of them meet each bank once. */
static __device__ __forceinline__ uint8_t *at16(uint8_t *piece, int row, int c)
{
    return piece + row * (WIDE * 2) + ((c ^ (row >> 1 & 3)) << 4);
}

/* A piece's part of the pair, ranks by columns; a lane has a column. */
static __device__ __forceinline__ void take_pair(const lmf_lora_job &j, uint8_t *to, int piece, int e0)
{
    bool of_x = piece < j.x_pieces;
    int lane = threadIdx.x & 31, column = (of_x ? piece : piece - j.x_pieces) * WIDE + lane;
    const float *from = of_x ? j.p + (int64_t)e0 * j.k + column : j.q + (int64_t)column * j.r + e0;
    int64_t by_rank = of_x ? j.k : 1;
    float f[RANKS];
#pragma unroll
    for (int e = 0; e < RANKS; e++)
        f[e] = column < (of_x ? j.k : j.n) && e0 + e < j.r ? from[e * by_rank] : 0.0f;
#pragma unroll
    for (int e = 0; e < RANKS; e++)
        ((bf16 *)at16(to, e, lane >> 3))[lane & 7] = __float2bfloat16_rn(f[e]);
}

/* u and v of all warps, and of all blocks of a cluster: rounded to low. part_low: where others read this block's. */
static __device__ __forceinline__ void add_up(const lmf_lora_job &j, const float *sums, float *part_low, bf16 *low)
{
    __syncthreads();
    if (threadIdx.x < ROWS * RANKS) {
        int i = threadIdx.x * 2;
        float2 sum = make_float2(0, 0);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            float2 one = *(const float2 *)(sums + w * LOW + i);
            sum.x += one.x, sum.y += one.y;
        }
        if (j.cluster == 1)
            *(unsigned *)(low + i / RANKS * PITCH + i % RANKS) = lmf_pack_bf16(sum.x, sum.y);
        else
            *(float2 *)(part_low + i) = sum;
    }
    if (j.cluster > 1) {
        lmf_cluster_sync(); /* what one reads here is written again behind the sync of the next turn */
        if (threadIdx.x < ROWS * RANKS) {
            int i = threadIdx.x * 2;
            float2 sum = make_float2(0, 0);
            for (int r = 0; r < j.cluster; r++) {
                float2 one = *(const float2 *)lmf_cluster_at(part_low + i, r);
                sum.x += one.x, sum.y += one.y;
            }
            *(unsigned *)(low + i / RANKS * PITCH + i % RANKS) = lmf_pack_bf16(sum.x, sum.y);
        }
    }
}

/* A block's sums of its pieces first, first + WARPS ... */
static __device__ __forceinline__ void put_sums(const lmf_lora_job &j, const float (&acc)[OWN][4][4], int first, int end, int slice)
{
    int g = threadIdx.x >> 2 & 7, c = threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < OWN; i++) {
        int piece = first + i * WARPS;
        if (piece >= end)
            break;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            int64_t rank = (int64_t)(blockIdx.x * (gridDim.z / j.cluster) + slice) * RANKS + g + 8 * e;
            float *at = j.part + rank * j.wide + piece * WIDE + 2 * c;
#pragma unroll
            for (int n = 0; n < 4; n++)
                *(float2 *)(at + 8 * n) = make_float2(acc[i][n][2 * e], acc[i][n][2 * e + 1]);
        }
    }
}

/* As lora_product_bwd_bf16, by tiles of 16 rows that are copied to shared memory ahead of their turn; a warp copies what it reads itself:
 * of the block's pieces each WARPSth. Where all pieces are too many for a block, those of a cluster share them, and add up u and v.
 * Grid: blocks, 1, slices of ranks by blocks of a cluster. */
template <int STAGES> static __device__ __forceinline__ void sum_staged(const lmf_lora_job &j)
{
    float *sums = (float *)shared;                                     /* u, v of each warp's pieces: [WARPS][2][ROWS][RANKS] */
    float *part_low = sums + WARPS * LOW;                              /* of the block, for those of its cluster: [2][LOW] */
    bf16 *low = (bf16 *)(part_low + 2 * LOW);                          /* u, v: [2][ROWS][PITCH] */
    uint8_t *pair = (uint8_t *)(low + 2 * ROWS * PITCH), *stage = pair + j.own * STRIPE;
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, c = lane & 3, stage_bytes = j.own * STRIPE;
    int slice = blockIdx.z / j.cluster, first = blockIdx.z % j.cluster * j.own + warp, end = min(first - warp + j.own, j.pieces);
    int tiles = (j.t + ROWS - 1) / ROWS, slot = 0, turn = 0;
    float acc[OWN][4][4] = { { { 0 } } };
    auto fetch = [&](int tile, int to) {
        int row = tile * ROWS + g, column = first * WIDE + c * 8;
        const bf16 *x = (const bf16 *)j.x + (int64_t)row * j.k + column;
        const bf16 *dy = (const bf16 *)j.dy + (int64_t)row * j.n + column - j.x_pieces * WIDE;
        uint8_t *at = at16(stage + to * stage_bytes + warp * STRIPE, g, c); /* row g + 8 lies 8 rows behind it */
        if (tile < tiles)
#pragma unroll
            for (int i = 0; i < OWN; i++, column += WARPS * WIDE) {
                bool of_x = first + i * WARPS < j.x_pieces;
                if (first + i * WARPS >= end)
                    break;
                int width = of_x ? j.k : j.n;
                bool there = column - (of_x ? 0 : j.x_pieces * WIDE) < width;
                const bf16 *from = (of_x ? x : dy) + i * WARPS * WIDE;
                lmf_copy16(at + i * WARPS * STRIPE, from, there && row < j.t);
                lmf_copy16(at + i * WARPS * STRIPE + 8 * WIDE * 2, from + 8 * width, there && row + 8 < j.t);
            }
        lmf_copies_end();
    };
#pragma unroll
    for (int s = 0; s < STAGES - 1; s++)
        fetch(blockIdx.x + s * j.blocks, s);
    for (int i = 0; first + i * WARPS < end; i++)
        take_pair(j, pair + (warp + i * WARPS) * STRIPE, first + i * WARPS, slice * RANKS);
    for (int tile = blockIdx.x; tile < tiles; tile += j.blocks, slot = slot == STAGES - 1 ? 0 : slot + 1, turn ^= 1) {
        uint8_t *own = stage + slot * stage_bytes + warp * STRIPE, *by = pair + warp * STRIPE;
        float u[2][4] = { { 0 } }, v[2][4] = { { 0 } };
        lmf_copies_wait<STAGES - 2>();
        __syncwarp();
        fetch(tile + (STAGES - 1) * j.blocks, slot ? slot - 1 : STAGES - 1);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            int piece = first + i * WARPS;
            if (piece >= end)
                break;
#pragma unroll
            for (int k = 0; k < 2; k++) {
                unsigned a[4], b[4];
                lmf_ldmatrix<false>(a, at16(own + i * WARPS * STRIPE, lane & 15, 2 * k + (lane >> 4)));
                lmf_ldmatrix<false>(b, at16(by + i * WARPS * STRIPE, (lane & 7) + (lane >> 4) * 8, 2 * k + (lane >> 3 & 1)));
#pragma unroll
                for (int h = 0; h < 2; h++)
                    if (piece < j.x_pieces)
                        lmf_mma(u[h], a, b[2 * h], b[2 * h + 1]);
                    else
                        lmf_mma(v[h], a, b[2 * h], b[2 * h + 1]);
            }
        }
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int e = 0; e < 2; e++) {
                float *at = sums + warp * LOW + (g + 8 * e) * RANKS + 8 * h + 2 * c;
                *(float2 *)at = make_float2(u[h][2 * e], u[h][2 * e + 1]);
                *(float2 *)(at + ROWS * RANKS) = make_float2(v[h][2 * e], v[h][2 * e + 1]);
            }
        add_up(j, sums, part_low + turn * LOW, low);
        __syncthreads(); /* sums are written again behind this one, low behind the next tile's first */
        unsigned by_u[4], by_v[4];
        const bf16 *at = low + ((lane & 7) + (lane >> 4) * 8) * PITCH + (lane >> 3 & 1) * 8;
        lmf_ldmatrix<true>(by_u, at);
        lmf_ldmatrix<true>(by_v, at + ROWS * PITCH);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            int piece = first + i * WARPS;
            if (piece >= end)
                break;
#pragma unroll
            for (int n = 0; n < 2; n++) {
                unsigned z[4];
                lmf_ldmatrix<true>(z, at16(own + i * WARPS * STRIPE, (lane & 7) + (lane >> 3 & 1) * 8, 2 * n + (lane >> 4)));
#pragma unroll
                for (int h = 0; h < 2; h++)
                    if (piece < j.x_pieces) /* dp = v^T x, dq = u^T dy */
                        lmf_mma(acc[i][2 * n + h], by_v, z[2 * h], z[2 * h + 1]);
                    else
                        lmf_mma(acc[i][2 * n + h], by_u, z[2 * h], z[2 * h + 1]);
            }
        }
        __syncwarp(); /* what this warp read is filled again */
    }
    lmf_copies_wait<0>();
    if (j.cluster > 1)
        lmf_cluster_sync(); /* nobody leaves while another reads its sums */
    put_sums(j, acc, first, end, slice);
}
LMF_KERNEL(__launch_bounds__(WARPS * 32, 1) lora_product_bwd_bf16_staged_2)(lmf_lora_job j) { sum_staged<2>(j); }
LMF_KERNEL(__launch_bounds__(WARPS * 32, 1) lora_product_bwd_bf16_staged_3)(lmf_lora_job j) { sum_staged<3>(j); }
LMF_KERNEL(__launch_bounds__(WARPS * 32, 1) lora_product_bwd_bf16_staged_4)(lmf_lora_job j) { sum_staged<4>(j); }

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
