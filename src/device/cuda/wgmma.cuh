/* SPDX-License-Identifier: Apache-2.0 */
/* wgmma: products of a warpgroup (four warps, the first a multiple of four) on Hopper's matrix units: bf16 factors, f32 sums.
 * A factor lies in shared memory as a tile: rows of 64 elements, 128 bytes, swizzled (piece c of 16 bytes lies at piece c ^ (row % 8)),
 * from an address on 1,024 bytes. A tile is read by rows (the sum runs along a row: scores) or by_k (the sum runs over rows: what weights
 * are multiplied with). Sums lie in registers as those of mma.m16n8k16, 16 rows a warp, and are factors of the next product as they are.
 * Order: what threads or cp.async wrote is seen after lmf_wg_publish by each writer and a barrier; sums may be touched after
 * lmf_wg_wait and lmf_wg_settle alone.
 * PTX ISA: wgmma.mma_async, matrix descriptors. For sm_90a alone: elsewhere the bodies are empty, and lmf_cuda_has_wgmma says no. */
#ifndef LMF_DEVICE_CUDA_WGMMA_CUH
#define LMF_DEVICE_CUDA_WGMMA_CUH
#include "device/cuda/mma.cuh"

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define LMF_WG 1
#else
#define LMF_WG 0
#endif

enum { LMF_WG_LINE = 128 };                      /* bytes of a row */
typedef float lmf_wg_sums[8][4];                 /* 64 by 64: 8 columns, fragment */

/* Where 16 bytes of a tile lie. */
static __device__ __forceinline__ uint8_t *lmf_wg_at(uint8_t *tile, int row, int piece)
{
    return tile + row * LMF_WG_LINE + ((piece ^ (row & 7)) << 4);
}

/* A tile's address, strides of 1,024 bytes between groups of eight rows, swizzle of 128 bytes. Both ways to read differ in the step alone:
 * 16 elements along a row are 32 bytes, 16 rows 2,048. Addresses count sixteens. */
static __device__ __forceinline__ uint64_t lmf_wg_factor(const void *tile)
{
    uint64_t at = (uint64_t)__cvta_generic_to_shared(tile);
    return (at & 0x3ffff) >> 4 | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}
enum { LMF_WG_ALONG = 32 >> 4, LMF_WG_ROWS = 2048 >> 4 };

/* The lower half of a factor, all that differs between two of them, from an address in shared memory. */
static __device__ __forceinline__ unsigned lmf_wg_low(unsigned at) { return (at & 0x3ffff) >> 4 | 1u << 16; }
#define LMF__WG_HIGH "0x40000040" /* the upper half: (1024 >> 4) | 1 << 30 */

static __device__ __forceinline__ void lmf_wg_publish(void)
{
#if LMF_WG
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
static __device__ __forceinline__ void lmf_wg_begin(void) /* before the first of products whose registers were written */
{
#if LMF_WG
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
static __device__ __forceinline__ void lmf_wg_end(void) /* those since the last end are one group */
{
#if LMF_WG
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int n> static __device__ __forceinline__ void lmf_wg_wait(void) /* for all groups but the newest n */
{
#if LMF_WG
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory");
#endif
}

#define LMF__WG_ROW(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define LMF__WG_SUMS(d)                                                                                              \
    LMF__WG_ROW(d, 0), LMF__WG_ROW(d, 1), LMF__WG_ROW(d, 2), LMF__WG_ROW(d, 3), LMF__WG_ROW(d, 4), LMF__WG_ROW(d, 5), \
    LMF__WG_ROW(d, 6), LMF__WG_ROW(d, 7)
#define LMF__WG_LIST                                                                                                  \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"

/* The compiler keeps whatever uses these sums behind the wait before it. */
static __device__ __forceinline__ void lmf_wg_settle(lmf_wg_sums &d)
{
#if LMF_WG
    asm volatile("" : LMF__WG_SUMS(d)::"memory");
#endif
}

/* d (+)= a b^T over 16 elements along the rows of both. a, b: lower halves. */
static __device__ __forceinline__ void lmf_wg_rows(lmf_wg_sums &d, unsigned a, unsigned b, int add)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\n.reg .b64 x, y;\nsetp.ne.b32 p, %34, 0;\n"
                 "mov.b64 x, {%32, " LMF__WG_HIGH "};\nmov.b64 y, {%33, " LMF__WG_HIGH "};\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " LMF__WG_LIST ", x, y, p, 1, 1, 0, 0;\n}\n"
                 : LMF__WG_SUMS(d)
                 : "r"(a), "r"(b), "r"(add));
#endif
}

/* d += a b, a from registers, over 16 rows of b. b: a lower half. */
static __device__ __forceinline__ void lmf_wg_by_k(lmf_wg_sums &d, const unsigned (&a)[4], unsigned b)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\n.reg .b64 y;\nsetp.eq.b32 p, 0, 0;\nmov.b64 y, {%36, " LMF__WG_HIGH "};\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " LMF__WG_LIST ", {%32,%33,%34,%35}, y, p, 1, 1, 1;\n}\n"
                 : LMF__WG_SUMS(d)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b));
#endif
}

/* d = a b^T over a row of 64; d is not read. */
static __device__ __forceinline__ void lmf_wg_dots(lmf_wg_sums &d, unsigned a, unsigned b)
{
#pragma unroll
    for (int k = 0; k < 4; k++)
        lmf_wg_rows(d, a + k * LMF_WG_ALONG, b + k * LMF_WG_ALONG, k > 0);
}

/* d += p b over 64 rows of b; p as a product left it, rounded here. */
static __device__ __forceinline__ void lmf_wg_weigh(lmf_wg_sums &d, const unsigned (&p)[4][4], unsigned b)
{
#pragma unroll
    for (int k = 0; k < 4; k++)
        lmf_wg_by_k(d, p[k], b + k * LMF_WG_ROWS);
}

/* Sums as a factor in bf16. */
static __device__ __forceinline__ void lmf_wg_round(unsigned (&a)[4][4], const lmf_wg_sums &p)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        a[k][0] = lmf_pack_bf16(p[2 * k][0], p[2 * k][1]);
        a[k][1] = lmf_pack_bf16(p[2 * k][2], p[2 * k][3]);
        a[k][2] = lmf_pack_bf16(p[2 * k + 1][0], p[2 * k + 1][1]);
        a[k][3] = lmf_pack_bf16(p[2 * k + 1][2], p[2 * k + 1][3]);
    }
}

/* ---- large products: a block of 256 threads has a tile of 128 by 128 of y = a b, a warpgroup 64 rows of it ---- */
typedef float lmf_wg_wide[16][4];                /* 64 by 128 */
enum { LMF_WG_DEPTH = 64, LMF_WG_STAGES = 3, LMF_WG_PANEL = 64 * LMF_WG_LINE, LMF_WG_STAGE = 4 * LMF_WG_PANEL };
#define LMF__WG_WIDE(d)                                                                                               \
    LMF__WG_SUMS(d), LMF__WG_ROW(d, 8), LMF__WG_ROW(d, 9), LMF__WG_ROW(d, 10), LMF__WG_ROW(d, 11), LMF__WG_ROW(d, 12), \
    LMF__WG_ROW(d, 13), LMF__WG_ROW(d, 14), LMF__WG_ROW(d, 15)

/* d (+)= a b over 16 of the depth, both from shared memory, each by rows or by k. */
template <bool a_by_k, bool b_by_k>
static __device__ __forceinline__ void lmf_wg_step(lmf_wg_wide &d, uint64_t a, uint64_t b, int add)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"
                 "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,"
                 "%62,%63}, %64, %65, p, 1, 1, %67, %68;\n}\n"
                 : LMF__WG_WIDE(d)
                 : "l"(a), "l"(b), "r"(add), "n"(a_by_k ? 1 : 0), "n"(b_by_k ? 1 : 0));
#endif
}

/* ---- wider, for vocab_wide.cuh; a and b: lower halves, of b by k with the distance of its panels in them ---- */
/* d (+)= a b^T over 16 elements: 64 by 256, a by rows, b by rows. */
static __device__ __forceinline__ void lmf_wg_256(float (&d)[32][4], unsigned a, unsigned b, int add)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\n.reg .b64 x, y;\nsetp.ne.b32 p, %130, 0;\n"
                 "mov.b64 x, {%128, " LMF__WG_HIGH "};\nmov.b64 y, {%129, " LMF__WG_HIGH "};\n"
                 "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,"
                 "%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,"
                 "%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,"
                 "%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,"
                 "%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,"
                 "%121,%122,%123,%124,%125,%126,%127}"
                 ", x, y, p, 1, 1, 0, 0;\n}\n"
                 : LMF__WG_ROW(d, 0), LMF__WG_ROW(d, 1), LMF__WG_ROW(d, 2), LMF__WG_ROW(d, 3), LMF__WG_ROW(d, 4), LMF__WG_ROW(d, 5),
                   LMF__WG_ROW(d, 6), LMF__WG_ROW(d, 7), LMF__WG_ROW(d, 8), LMF__WG_ROW(d, 9), LMF__WG_ROW(d, 10), LMF__WG_ROW(d, 11),
                   LMF__WG_ROW(d, 12), LMF__WG_ROW(d, 13), LMF__WG_ROW(d, 14), LMF__WG_ROW(d, 15), LMF__WG_ROW(d, 16), LMF__WG_ROW(d, 17),
                   LMF__WG_ROW(d, 18), LMF__WG_ROW(d, 19), LMF__WG_ROW(d, 20), LMF__WG_ROW(d, 21), LMF__WG_ROW(d, 22), LMF__WG_ROW(d, 23),
                   LMF__WG_ROW(d, 24), LMF__WG_ROW(d, 25), LMF__WG_ROW(d, 26), LMF__WG_ROW(d, 27), LMF__WG_ROW(d, 28), LMF__WG_ROW(d, 29),
                   LMF__WG_ROW(d, 30), LMF__WG_ROW(d, 31)
                 : "r"(a), "r"(b), "r"(add));
#endif
}

/* d (+)= a b^T over 16 elements: 64 by 192, a by rows, b by k. */
static __device__ __forceinline__ void lmf_wg_192_by_k(float (&d)[24][4], unsigned a, unsigned b, int add)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\n.reg .b64 x, y;\nsetp.ne.b32 p, %98, 0;\n"
                 "mov.b64 x, {%96, " LMF__WG_HIGH "};\nmov.b64 y, {%97, " LMF__WG_HIGH "};\n"
                 "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,"
                 "%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,"
                 "%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,"
                 "%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95}"
                 ", x, y, p, 1, 1, 0, 1;\n}\n"
                 : LMF__WG_ROW(d, 0), LMF__WG_ROW(d, 1), LMF__WG_ROW(d, 2), LMF__WG_ROW(d, 3), LMF__WG_ROW(d, 4), LMF__WG_ROW(d, 5),
                   LMF__WG_ROW(d, 6), LMF__WG_ROW(d, 7), LMF__WG_ROW(d, 8), LMF__WG_ROW(d, 9), LMF__WG_ROW(d, 10), LMF__WG_ROW(d, 11),
                   LMF__WG_ROW(d, 12), LMF__WG_ROW(d, 13), LMF__WG_ROW(d, 14), LMF__WG_ROW(d, 15), LMF__WG_ROW(d, 16), LMF__WG_ROW(d, 17),
                   LMF__WG_ROW(d, 18), LMF__WG_ROW(d, 19), LMF__WG_ROW(d, 20), LMF__WG_ROW(d, 21), LMF__WG_ROW(d, 22), LMF__WG_ROW(d, 23)
                 : "r"(a), "r"(b), "r"(add));
#endif
}

/* A depth of a factor on its way: by rows 128 rows of 64; by k two panels of 64 columns, each 64 rows of the depth. */
template <bool by_k> static __device__ __forceinline__ void lmf_wg_fetch(uint8_t *to, const lmf_mma_factor &f, int64_t k0, int64_t n_k)
{
#pragma unroll
    for (int i = threadIdx.x; i < 1024; i += 256) {
        int row = by_k ? i >> 4 : i >> 3, piece = by_k ? i & 15 : i & 7;
        bool there = by_k ? k0 + row < n_k && piece * 8 < f.n : row < f.n && k0 + piece * 8 < (n_k + 31) / 32 * 32;
        const __nv_bfloat16 *from = f.at + (by_k ? (k0 + row) * f.stride + piece * 8 : row * f.stride + k0 + piece * 8);
        uint8_t *at = by_k ? lmf_wg_at(to + (piece >> 3) * LMF_WG_PANEL, row, piece & 7) : lmf_wg_at(to, row, piece);
        lmf_copy16(at, there ? from : f.at, there);
    }
}

/* As lmf_wg_factor; by k, panels of 64 columns stand LMF_WG_PANEL apart. */
template <bool by_k> static __device__ __forceinline__ uint64_t lmf_wg_side(const void *tile)
{
    return lmf_wg_factor(tile) + (by_k ? (uint64_t)((LMF_WG_PANEL >> 4) - 1) << 16 : 0);
}

/* sum = a b over n_k ks, loads two depths ahead; factors as lmf_mma_product takes them. shared: LMF_WG_STAGES * LMF_WG_STAGE bytes on 1,024. */
template <bool a_by_k, bool b_by_k>
static __device__ __forceinline__ void lmf_wg_product(const lmf_mma_factor &a, const lmf_mma_factor &b, int64_t n_k, uint8_t *shared,
                                                      lmf_wg_wide &sum)
{
    int n = (int)((n_k + LMF_WG_DEPTH - 1) / LMF_WG_DEPTH);
#pragma unroll
    for (int i = 0; i < 16; i++)
        sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = 0;
    auto fetch = [&](int i) {
        uint8_t *to = shared + i % LMF_WG_STAGES * LMF_WG_STAGE;
        if (i < n) {
            lmf_wg_fetch<a_by_k>(to, a, (int64_t)i * LMF_WG_DEPTH, n_k);
            lmf_wg_fetch<b_by_k>(to + 2 * LMF_WG_PANEL, b, (int64_t)i * LMF_WG_DEPTH, n_k);
        }
        lmf_copies_end();
    };
    fetch(0);
    fetch(1);
    for (int i = 0; i < n; i++) {
        lmf_copies_wait<1>();
        lmf_wg_publish();
        __syncthreads(); /* all see this stage, and nobody reads the one that is filled next */
        fetch(i + 2);
        uint8_t *stage = shared + i % LMF_WG_STAGES * LMF_WG_STAGE;
        uint64_t x = lmf_wg_side<a_by_k>(stage + (threadIdx.x >> 7) * LMF_WG_PANEL), y = lmf_wg_side<b_by_k>(stage + 2 * LMF_WG_PANEL);
        lmf_wg_begin();
#pragma unroll
        for (int k = 0; k < 4; k++)
            lmf_wg_step<a_by_k, b_by_k>(sum, x + k * (a_by_k ? LMF_WG_ROWS : LMF_WG_ALONG), y + k * (b_by_k ? LMF_WG_ROWS : LMF_WG_ALONG), 1);
        lmf_wg_end();
        lmf_wg_wait<0>();
#if LMF_WG
        asm volatile("" : LMF__WG_WIDE(sum)::"memory");
#endif
    }
    lmf_copies_wait<0>();
}

/* f(row, column, two neighbouring sums) for each of this thread's pairs. */
template <class F> static __device__ __forceinline__ void lmf_wg_each(const lmf_wg_wide &sum, F f)
{
    int m = (threadIdx.x >> 5) * 16 + (threadIdx.x >> 2 & 7), n = (threadIdx.x & 3) * 2;
#pragma unroll
    for (int i = 0; i < 16; i++) {
        f(m, n + 8 * i, sum[i][0], sum[i][1]);
        f(m + 8, n + 8 * i, sum[i][2], sum[i][3]);
    }
}

/* Dynamic shared memory from its first 1,024 on: a launch asks for so many bytes more. */
static __device__ __forceinline__ uint8_t *lmf_wg_room(void *shared)
{
    return (uint8_t *)shared + ((0u - (unsigned)__cvta_generic_to_shared(shared)) & 1023u);
}

#endif
