/* SPDX-License-Identifier: Apache-2.0 */
/* Packing, partition and edges of the bf16 product, on every machine: the plain kernel stands in for the tiles. */
#include "device/cpu/gemm_bf16.h"
#include "base/philox.h"
#include "test.h"
#include <math.h>
#include <stdlib.h>

typedef struct problem {
    lmf_ctx  *ctx;
    int64_t   m, n, k, pad;      /* pad: elements between rows of a, c and y */
    bool      a_inner, b_inner, turned;
    uint16_t  a_type, b_type;
    int       c_rows;            /* 0: no c, 1: one row, 2: all */
    float     alpha;
} problem;

static void *filled(const lmf_format *f, int64_t rows, int64_t width, uint64_t seed)
{
    float *x = malloc((size_t)width * sizeof *x);
    char *bytes = malloc(lmf_format_bytes(f, rows * width) + 1);
    assert_true(x && bytes);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < width; i++)
            x[i] = lmf_random_f32(seed, 0, 0, (uint64_t)(r * width + i)) - 0.5f;
        if (f->dtype == LMF_F32)
            memcpy(bytes + lmf_format_bytes(f, r * width), x, (size_t)width * sizeof *x);
        else
            f->pack(x, bytes + lmf_format_bytes(f, r * width), width);
    }
    free(x);
    return bytes;
}

/* Element e of row r, rounded as the product rounds it. */
static double rounded(const lmf_gemm_side *s, int64_t r, int64_t e, int64_t width, float *room)
{
    return (double)lmf_bf16_to_f32(lmf_f32_to_bf16(*lmf__gemm_row(s, r, e, 1, width, room)));
}

static void multiply(const lmf_gemm_bf16 *g, int n_workers)
{
    size_t bytes = lmf_gemm_bf16_bytes(g, n_workers);
    char *scratch = aligned_alloc(64, bytes + 64);
    assert_true(scratch && bytes % 64 == 0);
    memset(scratch, 0xff, bytes + 64); /* NaN: what packing leaves out is seen */
    for (int w = 0; w < n_workers; w++)
        lmf_gemm_bf16_pack(g, scratch, w, n_workers);
    for (int w = 0; w < n_workers; w++)
        lmf_gemm_bf16_low(g, scratch, w, n_workers);
    for (int w = 0; w < n_workers; w++)
        lmf_gemm_bf16_run(g, scratch, w, n_workers);
    for (int i = 0; i < 64; i++)
        assert_int_equal((unsigned char)scratch[bytes + (size_t)i], 0xff);
    free(scratch);
}

static void check(const problem *p)
{
    const lmf_format *fa = lmf_format_get(p->ctx, p->a_type), *fb = lmf_format_get(p->ctx, p->b_type), *f32 = lmf_format_get(p->ctx, LMF_F32);
    int64_t rows = p->turned ? p->n : p->m, cols = p->turned ? p->m : p->n, wide = cols + p->pad;
    int64_t a_rows = p->a_inner ? p->m : p->k, a_width = p->a_inner ? p->k : p->m, a_wide = a_width + p->pad;
    int64_t b_rows = p->b_inner ? p->n : p->k, b_wide = p->b_inner ? p->k : p->n;
    void *a = filled(fa, a_rows, a_wide, 1), *b = filled(fb, b_rows, b_wide, 2), *c = filled(f32, rows, wide, 3);
    float *y = malloc((size_t)(rows * wide) * sizeof *y), *again = malloc((size_t)(rows * wide) * sizeof *y), room[1024];
    assert_true(y && again);
    lmf_gemm g = { p->m, p->n, p->k, { a, fa, a_wide, p->a_inner }, { b, fb, b_wide, p->b_inner }, p->alpha, p->c_rows ? c : NULL,
                   p->c_rows == 2 ? wide : 0, y, wide, p->turned };
    for (int64_t i = 0; i < rows * wide; i++)
        y[i] = again[i] = 7;
    multiply(&(lmf_gemm_bf16){ .y = g }, 1);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t col = 0; col < wide; col++) {
            int64_t i = p->turned ? col : row, j = p->turned ? row : col;
            double sum = 0, got = (double)y[row * wide + col];
            if (col >= cols) {
                if (y[row * wide + col] != 7)
                    fail_msg("%lld x %lld x %lld: written past row %lld", (long long)p->m, (long long)p->n, (long long)p->k, (long long)row);
                continue;
            }
            for (int64_t e = 0; e < p->k; e++)
                sum += rounded(&g.a, p->a_inner ? i : e, p->a_inner ? e : i, a_width, room) * rounded(&g.b, p->b_inner ? j : e, p->b_inner ? e : j, b_wide, room);
            sum = (double)p->alpha * sum + (g.c ? (double)g.c[row * g.c_stride + col] : 0);
            if (!(fabs(sum - got) <= 1e-5 * (1 + sqrt((double)p->k))))
                fail_msg("%lld x %lld x %lld, %s: y[%lld, %lld] is %g, not %g", (long long)p->m, (long long)p->n, (long long)p->k, fb->name,
                         (long long)i, (long long)j, got, sum);
        }
    g.y = again;
    for (int w = 2; w <= 7; w = w == 2 ? 3 : w + 4) {
        multiply(&(lmf_gemm_bf16){ .y = g }, w);
        assert_memory_equal(y, again, (size_t)(rows * wide) * sizeof *y);
    }
    free(a), free(b), free(c), free(y), free(again);
}

static void shapes(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const struct { int64_t m, n, k; } size[] = { { 1, 1, 1 }, { 17, 16, 31 }, { 32, 32, 32 }, { 33, 31, 33 }, { 64, 65, 130 }, { 70, 7, 515 }, { 99, 40, 3 } };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        for (int lies = 0; lies < 8; lies++) /* either side either way, y either way */
            for (int c = 0; c < 3; c++)
                check(&(problem){ ctx, size[i].m, size[i].n, size[i].k, c, lies & 1, lies & 2, lies & 4, LMF_F32, LMF_F32, c, c ? 0.5f : 1 });
    lmf_test_ctx_done(ctx);
}

static void formats(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const uint16_t types[] = { LMF_Q4_1, LMF_Q8_0, LMF_Q4_0, LMF_BF16, LMF_F16 };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int inner = 0; inner < 2; inner++)
            for (int m = 19; m < 40; m += 16) /* thin and not; pieces of 512 and a rest */
                check(&(problem){ ctx, m, 768, inner ? 768 : 37, 0, true, inner, false, LMF_F32, types[i], 0, 1 });
    check(&(problem){ ctx, 40, 33, 64, 0, true, true, false, LMF_BF16, LMF_Q4_1, 2, 1 });
    check(&(problem){ ctx, 8, 1200, 700, 0, false, false, true, LMF_F32, LMF_F32, 0, 1 }); /* several chunks of b */
    check(&(problem){ ctx, 33, 420, 1300, 0, true, false, false, LMF_F32, LMF_BF16, 0, 1 }); /* b beyond L2: by columns */
    lmf_test_ctx_done(ctx);
}

/* y = x op(w) + alpha u op(q) + c with u = x op(p): both directions, ranks below and above a panel. */
static void low_rank(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    static const struct { int64_t m, n, k, r; bool inner; } size[] = { { 33, 70, 65, 16, true }, { 5, 40, 33, 40, false }, { 70, 700, 1600, 3, true } };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        int64_t m = size[i].m, n = size[i].n, k = size[i].k, r = size[i].r;
        bool inner = size[i].inner;
        float *x = filled(f32, m, k, 1), *w = filled(f32, n, k, 2), *p = filled(f32, r, k, 3), *q = filled(f32, n, r, 4), *c = filled(f32, 1, n, 5);
        float *u = malloc((size_t)(m * r) * sizeof *u), *y = malloc((size_t)(m * n) * sizeof *y), *again = malloc((size_t)(m * n) * sizeof *y), room[4];
        assert_true(u && y && again);
        lmf_gemm gu = { m, r, k, { x, f32, k, true }, { p, f32, inner ? k : r, inner }, 1, NULL, 0, u, r };
        lmf_gemm low = { m, n, r, { u, f32, r, true }, { q, f32, inner ? r : n, inner }, 0.5f, NULL, 0, y, n };
        lmf_gemm_bf16 o = { { m, n, k, gu.a, { w, f32, inner ? k : n, inner }, 1, c, 0, y, n }, &gu, &low };
        multiply(&o, 1);
        float *first = malloc((size_t)(m * r) * sizeof *first);
        assert_true(first);
        memcpy(first, u, (size_t)(m * r) * sizeof *u);
        for (int64_t row = 0; row < m; row++) {
            for (int64_t j = 0; j < r; j++) {
                double sum = 0;
                for (int64_t e = 0; e < k; e++)
                    sum += rounded(&gu.a, row, e, k, room) * rounded(&gu.b, inner ? j : e, inner ? e : j, gu.b.stride, room);
                if (!(fabs(sum - (double)u[row * r + j]) <= 1e-5 * (1 + sqrt((double)k))))
                    fail_msg("u[%lld, %lld] is %g, not %g", (long long)row, (long long)j, (double)u[row * r + j], sum);
            }
            for (int64_t j = 0; j < n; j += 7) {
                double sum = (double)c[j];
                for (int64_t e = 0; e < k; e++)
                    sum += rounded(&o.y.a, row, e, k, room) * rounded(&o.y.b, inner ? j : e, inner ? e : j, o.y.b.stride, room);
                for (int64_t e = 0; e < r; e++)
                    sum += (double)lmf_bf16_to_f32(lmf_f32_to_bf16(u[row * r + e] * low.alpha)) *
                           rounded(&low.b, inner ? j : e, inner ? e : j, low.b.stride, room);
                if (!(fabs(sum - (double)y[row * n + j]) <= 1e-5 * (1 + sqrt((double)k))))
                    fail_msg("y[%lld, %lld] is %g, not %g", (long long)row, (long long)j, (double)y[row * n + j], sum);
            }
        }
        for (int workers = 2; workers <= 7; workers += workers == 3 ? 4 : 1) {
            o.y.y = again;
            memset(u, 0xff, (size_t)(m * r) * sizeof *u);
            multiply(&o, workers);
            assert_memory_equal(u, first, (size_t)(m * r) * sizeof *u);
            assert_memory_equal(y, again, (size_t)(m * n) * sizeof *y);
        }
        free(x), free(w), free(p), free(q), free(c), free(u), free(first), free(y), free(again);
    }
    lmf_test_ctx_done(ctx);
}

/* Who plans scratch for a product and then multiplies with fewer rows, columns or k, as a loss head's last rows do, has enough. */
static void smaller_takes_no_more(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    static const int64_t sizes[][3] = { { 256, 384, 576 }, { 256, 576, 384 }, { 384, 576, 256 }, { 70, 33, 2048 }, { 40, 700, 40 },
        { 33, 1, 1 } };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *most = sizes[i];
        lmf_gemm_bf16 o = { .y = { .a = { NULL, f32, most[2], true }, .b = { NULL, f32, most[2], true } } };
        o.y.m = most[0], o.y.n = most[1], o.y.k = most[2];
        size_t planned = lmf_gemm_bf16_bytes(&o, 1);
        for (o.y.m = 1; o.y.m <= most[0]; o.y.m += o.y.m < 40 ? 1 : 29)
            for (o.y.n = 1; o.y.n <= most[1]; o.y.n += 31)
                for (o.y.k = most[2]; o.y.k > 0; o.y.k -= 61)
                    if (lmf_gemm_bf16_bytes(&o, 1) > planned)
                        fail_msg("%d x %d x %d takes %zu bytes, %d x %d x %d was planned with %zu", (int)o.y.m, (int)o.y.n, (int)o.y.k,
                                 lmf_gemm_bf16_bytes(&o, 1), (int)most[0], (int)most[1], (int)most[2], planned);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(gemm_bf16) = { { "fewer rows, columns or k take no more scratch", smaller_takes_no_more },
    { "a product of low rank on the way", low_rank }, { "shapes, strides and workers", shapes }, { "formats on either side", formats }, { 0 } };
