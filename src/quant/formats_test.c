/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/formats_test.h"
#include "base/cpu.h"
#include "base/half.h"
#include "base/philox.h"
#include "format/types.h"
#include "formula.h"
#include "quant/act.h"
#include <math.h>
#include <stdio.h>

enum { K = 2048, N_X = 8, STRIDE = K / LMF_ACT_BLOCK + 3 };

static float normal(uint64_t seed, uint64_t i) /* sum of uniforms: near enough */
{
    float s = 0;
    for (uint32_t j = 0; j < 4; j++)
        s += lmf_random_f32(seed, j, 0, i) - 0.5f;
    return s * 1.7f;
}

static bool same_number(float a, float b) /* bit for bit; all NaNs are one */
{
    return lmf_f32_bits(a) == lmf_f32_bits(b) || (isnan(a) && isnan(b));
}

static void check_unpack(const lmf_format *f, const lmf_format *ref, const void *bytes, int64_t n)
{
    float *a = malloc((size_t)n * 4), *b = malloc((size_t)n * 4 + 4);
    assert_true(a && b);
    b[n] = 12345;
    ref->unpack(bytes, a, n);
    f->unpack(bytes, b, n);
    for (int64_t i = 0; i < n; i++)
        if (!same_number(a[i], b[i]))
            fail_msg("%s: element %lld of %lld is %a, the reference has %a", f->name, (long long)i, (long long)n, b[i], a[i]);
    assert_true(b[n] == 12345);
    free(a), free(b);
}

/* Random bytes reach every code, scale, NaN and infinity; the odd address shows that alignment isn't asked for. */
static void unpack_random(const lmf_format *f, const lmf_format *ref)
{
    int64_t n = f->block == 1 ? 1021 : (int64_t)f->block * 37;
    size_t bytes = lmf_format_bytes(f, n);
    uint8_t *p = malloc(bytes + 1);
    assert_non_null(p);
    for (uint32_t round = 0; round < 8; round++) {
        uint8_t *at = p + (round & 1); /* a fresh copy at the end of its allocation: ASan sees a read past it */
        for (size_t i = 0; i < bytes; i++)
            at[i] = (uint8_t)lmf_random_u32(7, round, 1, i);
        check_unpack(f, ref, at, n);
        check_unpack(f, ref, at, f->block);
        check_unpack(f, ref, at, 0);
    }
    free(p);
}

/* What export allows for a tensor is more than a bell curve's weights show, and not so much that damage passes. */
static void export_limits(const lmf_format *f, double error)
{
    const lmf_format_written *w = &f->written;
    if (!w->summary)
        return;
    assert_true(f->pack && *w->summary && w->kl > 0 && w->error > 0);
    assert_true(f->file_type || f->dtype == LMF_F32 || f->dtype >= 200); /* GGUF's types have one */
    if (!(error <= w->error && (f->dtype == LMF_F32 || error > w->error / 6)))
        fail_msg("%s: a tensor may be off by %g; it is off by %g", f->name, w->error, error);
}

static void round_trip(const lmf_format *f, const lmf_format_promise *p)
{
    float x[K], y[K];
    uint8_t *w = malloc(lmf_format_bytes(f, K));
    assert_non_null(w);
    const float scales[] = { 1, 1e-3f, 300 };
    for (size_t c = 0; c < sizeof scales / sizeof *scales; c++) {
        for (int i = 0; i < K; i++)
            x[i] = scales[c] * normal(11 + c, (uint64_t)i);
        f->pack(x, w, K);
        f->unpack(w, y, K);
        double error = 0, size = 0;
        for (int i = 0; i < K; i++)
            error += ((double)y[i] - x[i]) * ((double)y[i] - x[i]), size += (double)x[i] * x[i];
        if (c == 0)
            export_limits(f, sqrt(error / size));
        int block = f->block < 32 ? 32 : f->block;
        for (int i = 0; i < K; i++) {
            float lo = 0, hi = 0;
            for (int e = i / block * block; e < i / block * block + block; e++)
                lo = fminf(lo, x[e]), hi = fmaxf(hi, x[e]);
            double bound = p->step * (hi - lo) + p->rel * fabs(x[i]) + p->abs;
            if (!(fabs((double)y[i] - x[i]) <= bound))
                fail_msg("%s: %g came back as %g, allowed is %g", f->name, x[i], y[i], bound);
        }
    }
    memset(x, 0, sizeof x);
    f->pack(x, w, K);
    f->unpack(w, y, K);
    for (int i = 0; i < K; i++)
        assert_true(y[i] == 0);
    free(w);
}

/* No input may be undefined behaviour (UBSan looks on); a bad block must not touch its neighbours. */
static void bad_blocks(const lmf_format *f)
{
    const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f, 1e-38f, -0.0f };
    int block = f->block < 32 ? 32 : f->block;
    float x[1024], good[1024], y[1024];
    uint8_t *w = malloc(lmf_format_bytes(f, 1024)), *v = malloc(lmf_format_bytes(f, 1024));
    assert_true(w && v);
    for (size_t c = 0; c < sizeof bad / sizeof *bad; c++)
        for (int fill = 0; fill < 3; fill++) {
            for (int i = 0; i < 1024; i++)
                good[i] = normal(5, (uint64_t)i);
            memcpy(x, good, sizeof x);
            for (int i = 0; i < block; i++)
                if (fill == 1 || i == 5 || (fill == 2 && i > 9))
                    x[block + i] = bad[c];
            f->pack(x, w, 1024);
            f->pack(good, v, 1024);
            size_t b = lmf_format_bytes(f, block);
            assert_memory_equal(w, v, b);
            assert_memory_equal(w + 2 * b, v + 2 * b, lmf_format_bytes(f, 1024) - 2 * b);
            f->unpack(w, y, 1024);
            for (int i = 0; i < block; i++)
                assert_true(isfinite(y[i]));
        }
    free(w), free(v);
}

static uint64_t fnv(const void *data, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    return h;
}

/* The bytes that an independent program packs, and the values that it reads from them. */
static void golden(const lmf_format *f, const lmf_format_promise *p)
{
    float x[K], y[K];
    uint8_t *w = malloc(lmf_format_bytes(f, K));
    assert_non_null(w);
    for (int i = 0; i < K; i++)
        x[i] = ldexpf(lmf_test_signed(12, 0, 0xf7, (uint64_t)i), i / 256 - 4);
    f->pack(x, w, K);
    f->unpack(w, y, K);
    uint64_t packed = fnv(w, lmf_format_bytes(f, K)), values = fnv(y, sizeof y);
    if (packed != p->packed || values != p->values)
        fail_msg("%s: packed bytes have the hash 0x%016llx and values 0x%016llx; tools/golden/formats.py tells what others make of the same numbers", f->name,
                 (unsigned long long)packed, (unsigned long long)values);
    free(w);
}

static void check_dot(const lmf_format *f, const lmf_format *ref)
{
    float *x = malloc(sizeof(float) * K * N_X), *wf = malloc(sizeof(float) * K);
    lmf_act *a = malloc(sizeof(lmf_act) * N_X * STRIDE);
    uint8_t *w = malloc(lmf_format_bytes(f, K));
    assert_true(x && wf && a && w);
    for (int i = 0; i < K; i++)
        wf[i] = 0.3f * normal(21, (uint64_t)i) + 0.05f;
    for (int i = 0; i < K * N_X; i++)
        x[i] = normal(22, (uint64_t)i);
    for (int j = 0; j < N_X; j++)
        lmf_act_quantize(x + j * K, a + j * STRIDE, K);
    ref->pack(wf, w, K);
    ref->unpack(w, wf, K);
    const int64_t ks[] = { f->block < 32 ? 32 : f->block, f->block == 256 ? 768 : 96, K };
    for (size_t c = 0; c < 3; c++) {
        float one[N_X];
        for (int j = 0; j < N_X; j++) {
            double sum = 0, size = 0;
            for (int64_t e = 0; e < ks[c]; e++) {
                const lmf_act *b = a + j * STRIDE + e / 32;
                double t = (double)wf[e] * b->d * b->q[e % 32];
                sum += t, size += fabs(t);
            }
            f->dot(w, a + j * STRIDE, STRIDE, 1, ks[c], one + j);
            if (!(fabs(one[j] - sum) <= 1e-6 * size)) /* f32 sums of up to 64 blocks in 8 lanes */
                fail_msg("%s: dot of %lld is %.9g, exact %.9g, off by %g of %g", f->name, (long long)ks[c], one[j], sum, fabs(one[j] - sum), size);
        }
        for (int n = 1; n <= N_X; n++) {
            float out[N_X + 1];
            out[n] = -777;
            f->dot(w, a, STRIDE, n, ks[c], out);
            for (int j = 0; j < n; j++)
                if (lmf_f32_bits(out[j]) != lmf_f32_bits(one[j]))
                    fail_msg("%s: row %d of %d is %a, alone it is %a", f->name, j, n, out[j], one[j]);
            assert_true(out[n] == -777);
        }
    }
    a[1].d = a[1].s = NAN;
    float out[2];
    f->dot(w, a, STRIDE, 2, ks[1], out);
    assert_true(isnan(out[0]) && !isnan(out[1]));
    free(x), free(wf), free(a), free(w);
}

/* 16 different rows, a gap between them: each output near the exact sum, and the same for any n_x and for another place of the row. */
static void check_tile(const lmf_format *f, const lmf_format *ref)
{
    size_t bytes = lmf_format_bytes(f, K), row = bytes + f->block_bytes;
    enum { ROWS = LMF_TILE + 3 };
    float *x = malloc(sizeof(float) * K * N_X), *wf = malloc(sizeof(float) * K * ROWS);
    lmf_act *a = malloc(sizeof(lmf_act) * N_X * STRIDE);
    uint8_t *w = malloc(row * ROWS);
    assert_true(x && wf && a && w);
    for (int i = 0; i < K * N_X; i++)
        x[i] = normal(31, (uint64_t)i);
    for (int j = 0; j < N_X; j++)
        lmf_act_quantize(x + j * K, a + j * STRIDE, K);
    memset(w, 0xff, row * ROWS);
    for (int r = 0; r < ROWS; r++) {
        for (int i = 0; i < K; i++)
            wf[r * K + i] = 0.2f * (float)(r + 1) * normal(32 + (uint32_t)r, (uint64_t)i) + 0.05f;
        ref->pack(wf + r * K, w + (size_t)r * row, K);
        ref->unpack(w + (size_t)r * row, wf + r * K, K);
    }
    const int64_t ks[] = { f->block < 32 ? 32 : f->block, f->block == 256 ? 768 : 96, K };
    for (size_t c = 0; c < 3; c++) {
        float all[N_X * LMF_TILE], moved[LMF_TILE];
        f->tile(w, row, a, STRIDE, N_X, ks[c], all);
        for (int j = 0; j < N_X; j++)
            for (int r = 0; r < LMF_TILE; r++) {
                double sum = 0, size = 0, got = all[j * LMF_TILE + r];
                for (int64_t e = 0; e < ks[c]; e++) {
                    const lmf_act *b = a + j * STRIDE + e / 32;
                    double t = (double)wf[r * K + e] * b->d * b->q[e % 32];
                    sum += t, size += fabs(t);
                }
                if (!(fabs(got - sum) <= 1e-6 * size))
                    fail_msg("%s: tile of %lld, row %d, is %.9g, exact %.9g, off by %g of %g", f->name, (long long)ks[c], r, got, sum,
                             fabs(got - sum), size);
            }
        for (int j = 0; j < N_X; j++) {
            f->tile(w + 3 * row, row, a + j * STRIDE, STRIDE, 1, ks[c], moved);
            for (int r = 3; r < LMF_TILE; r++)
                assert_int_equal(lmf_f32_bits(moved[r - 3]), lmf_f32_bits(all[j * LMF_TILE + r]));
        }
        for (int n = 1; n < N_X; n++) {
            float some[N_X * LMF_TILE];
            some[n * LMF_TILE] = -777;
            f->tile(w, row, a, STRIDE, n, ks[c], some);
            assert_memory_equal(some, all, (size_t)n * LMF_TILE * sizeof *some);
            assert_true(some[n * LMF_TILE] == -777);
        }
    }
    a[1].d = a[1].s = NAN;
    float out[2 * LMF_TILE];
    f->tile(w, row, a, STRIDE, 2, ks[1], out);
    for (int r = 0; r < LMF_TILE; r++)
        assert_true(isnan(out[r]) && !isnan(out[LMF_TILE + r]));
    free(x), free(wf), free(a), free(w);
}
/* All rows with a tile give the same bits, with VNNI or without. */
static void tiles_agree(const lmf_ctx *ctx, const lmf_format *ref)
{
    enum { N = 512 };
    size_t row = lmf_format_bytes(ref, N);
    uint8_t *w = malloc(row * LMF_TILE);
    float *wf = malloc(sizeof(float) * N * LMF_TILE), first[LMF_TILE], out[LMF_TILE];
    lmf_act a[N / 32];
    assert_true(w && wf);
    for (int i = 0; i < N * LMF_TILE; i++)
        wf[i] = normal(61, (uint64_t)i);
    ref->pack(wf, w, N * LMF_TILE);
    lmf_act_quantize(wf, a, N);
    bool have = false;
    for (const lmf_format_rows *const *set = ctx->tables->format_rows; *set; set++)
        for (const lmf_format_rows *r = *set; r->unpack || r->dot; r++) {
            if (r->dtype != ref->dtype || (r->needs & ~ctx->cpu_features) || !r->tile)
                continue;
            r->tile(w, row, a, N / 32, 1, N, have ? out : first);
            if (have)
                assert_memory_equal(out, first, sizeof out);
            have = true;
        }
    free(w), free(wf);
}

/* Greatest codes on both sides: a saturating product would show. */
static void dot_extremes(const lmf_format *f, const lmf_format *ref)
{
    enum { N = 512 };
    uint8_t *w = malloc(lmf_format_bytes(f, N));
    float *wf = malloc(sizeof(float) * N);
    lmf_act a[N / 32];
    assert_true(w && wf);
    for (int c = 0; c < 4; c++) {
        memset(w, c & 1 ? 0xff : 0x80, lmf_format_bytes(f, N));
        for (int i = 0; i < N; i += f->block) /* finite scales, which half they may be: 1.0 in the first and last 4 bytes */
            for (uint32_t at = 0; at < 4; at += 2) {
                uint8_t *b = w + lmf_format_bytes(f, i);
                b[at] = 0, b[at + 1] = 0x3c;
                b[f->block_bytes - 2 - at] = 0, b[f->block_bytes - 1 - at] = 0x3c;
            }
        for (int i = 0; i < N / 32; i++) {
            memset(a[i].q, c & 2 ? -127 : 127, 32);
            a[i].d = 1, a[i].s = c & 2 ? -127 * 32 : 127 * 32;
            a[i].sum[0] = a[i].sum[1] = c & 2 ? -127 * 16 : 127 * 16;
        }
        ref->unpack(w, wf, N);
        double sum = 0, size = 0;
        for (int e = 0; e < N; e++)
            sum += (double)wf[e] * a[e / 32].q[0], size += fabs((double)wf[e] * 127);
        float out;
        f->dot(w, a, 0, 1, N, &out);
        if (!(fabs(out - sum) <= 1e-6 * size))
            fail_msg("%s: extreme codes give %.9g, exact %.9g", f->name, out, sum);
        float tile[LMF_TILE] = { 0 };
        if (f->tile)
            f->tile(w, 0, a, 0, 1, N, tile);
        for (int r = 0; r < LMF_TILE && f->tile; r++)
            if (!(fabs(tile[r] - sum) <= 1e-6 * size))
                fail_msg("%s: extreme codes give %.9g in a tile, exact %.9g", f->name, tile[r], sum);
    }
    free(w), free(wf);
}

static bool all_finite(const lmf_format *f, const uint8_t *p, int64_t n)
{
    float *x = malloc((size_t)n * sizeof *x);
    bool finite = true;
    assert_non_null(x);
    f->unpack(p, x, n);
    for (int64_t i = 0; i < n; i++)
        finite &= isfinite(x[i]) != 0;
    free(x);
    return finite;
}

/* Values are finite exactly where the listed scales are, whatever the other bytes: each scale of each block counts, and nothing else. */
static void scales_decide(const lmf_format *f)
{
    static const uint16_t bad_f16[] = { 0x7c00, 0xfc00, 0x7e00, 0x7c01, 0xffff }, good_f16[] = { 0x7bff, 0xfbff, 0, 0x8000, 1 };
    static const uint16_t bad_f32[] = { 0x7f80, 0xff80, 0x7fc0, 0x7f81, 0xffff }, good_f32[] = { 0x7f7f, 0xff7f, 0, 0x8000, 1 };
    const uint16_t *bad = f->scale_mask ? bad_f32 : bad_f16, *good = f->scale_mask ? good_f32 : good_f16; /* upper halves of f32 */
    enum { BLOCKS = 5 };
    int64_t n = (int64_t)f->block * BLOCKS;
    size_t bytes = lmf_format_bytes(f, n);
    uint8_t *p = malloc(bytes);
    assert_non_null(p);
    assert_int_equal(f->n_scales > 0, (f->flags & LMF_FORMAT_QUANT) != 0);
    for (uint32_t round = 0; round < 5 && f->n_scales; round++) {
        for (size_t i = 0; i < bytes; i++)
            p[i] = round ? (uint8_t)lmf_random_u32(9, round, 1, i) : 0xff;
        for (int b = 0; b < BLOCKS; b++)
            for (int s = 0; s < f->n_scales; s++)
                memcpy(p + b * f->block_bytes + f->scale[s], &good[(round + (uint32_t)(b + s)) % 5], 2);
        assert_true(all_finite(f, p, n) && lmf_scales_are_finite(f, p, bytes));
        for (int b = 0; b < BLOCKS; b++)
            for (int s = 0; s < f->n_scales; s++) {
                uint8_t *at = p + b * f->block_bytes + f->scale[s], keep[2];
                memcpy(keep, at, 2);
                memcpy(at, &bad[(round + (uint32_t)(b + s)) % 5], 2);
                if (all_finite(f, p, n) || lmf_scales_are_finite(f, p, bytes))
                    fail_msg("%s: the scale at byte %d of a block is not finite, and nobody sees it", f->name, f->scale[s]);
                memcpy(at, keep, 2);
            }
    }
    free(p);
}

void lmf_format_check(const char *name, const lmf_format_promise *p)
{
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *ref = lmf_format_find(ctx, name);
    assert_non_null(ref);
    assert_ptr_equal(ref, lmf_format_get(ctx, p->dtype));
    assert_int_equal(ref->block, p->block);
    assert_int_equal(ref->block_bytes, p->block_bytes);
    assert_int_equal(ref->flags, p->flags);
    assert_int_equal(lmf_format_bytes(ref, 6 * (int64_t)p->block), 6 * (size_t)p->block_bytes);
    assert_int_equal(ref->dot != NULL, p->has_dot);
    if (ref->unpack) {
        round_trip(ref, p);
        bad_blocks(ref);
        scales_decide(ref);
        if (ref->flags & LMF_FORMAT_QUANT)
            golden(ref, p);
        unpack_random(ref, ref);
        if (ref->dot)
            check_dot(ref, ref), dot_extremes(ref, ref);
    }
    int n_rows = 0;
    for (const lmf_format_rows *const *set = ctx->tables->format_rows; *set; set++)
        for (const lmf_format_rows *row = *set; row->unpack || row->dot; row++) {
            if (row->dtype != p->dtype || (row->needs & ~ctx->cpu_features))
                continue;
            lmf_format f = *ref;
            n_rows++;
            if (row->unpack)
                f.unpack = row->unpack, unpack_random(&f, ref);
            f.tile = row->tile;
            if (row->tile)
                check_tile(&f, ref);
            if (row->dot)
                f.dot = row->dot, check_dot(&f, ref), dot_extremes(&f, ref);
        }
    if (ref->dot)
        tiles_agree(ctx, ref);
    if (ctx->cpu_features & LMF_CPU_AVX2) /* every format that the CPU computes with has a fast row */
        assert_true(n_rows > 0 || !(p->flags & LMF_FORMAT_QUANT));
    lmf_test_ctx_done(ctx);
}

static void plain_formats(void **state)
{
    (void)state;
    const struct { const char *name; lmf_format_promise p; } rows[] = {
        { "f32",  { LMF_F32, 1, 4, LMF_FORMAT_FLOAT, 0, 0, 0, false } },
        { "f64",  { LMF_F64, 1, 8, LMF_FORMAT_FLOAT, 0, 0, 0, false } },
        { "f16",  { LMF_F16, 1, 2, LMF_FORMAT_FLOAT, 0, 0x1p-11, 0x1p-25, false } },
        { "bf16", { LMF_BF16, 1, 2, LMF_FORMAT_FLOAT, 0, 0x1p-8, 0, false } },
        { "i8",   { LMF_I8, 1, 1, LMF_FORMAT_INT, 0, 0, 0, false } },
        { "i16",  { LMF_I16, 1, 2, LMF_FORMAT_INT, 0, 0, 0, false } },
        { "i32",  { LMF_I32, 1, 4, LMF_FORMAT_INT, 0, 0, 0, false } },
        { "i64",  { LMF_I64, 1, 8, LMF_FORMAT_INT, 0, 0, 0, false } },
        { "u64",  { LMF_U64, 1, 8, LMF_FORMAT_INT, 0, 0, 0, false } },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        lmf_format_check(rows[i].name, &rows[i].p);
}

/* Numbers and names are looked up, so two formats may not share one. */
static void no_two_alike(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    int n = 0;
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++, n++)
        for (const lmf_format *const *g = f + 1; *g; g++) {
            assert_int_not_equal((*f)->dtype, (*g)->dtype);
            assert_string_not_equal((*f)->name, (*g)->name);
        }
    assert_true(n >= 12);
    assert_null(lmf_format_get(ctx, 199));
    assert_null(lmf_format_find(ctx, "q4"));
    lmf_test_ctx_done(ctx);
}

static void resolve_obeys_features(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *ref = lmf_format_get(ctx, LMF_Q4_1);
    lmf_format f = lmf_format_resolve(ctx, ref, 0);
    assert_true(f.unpack == ref->unpack && f.dot == ref->dot);
    f = lmf_format_resolve(ctx, ref, LMF_CPU_AVX2);
#if defined(__x86_64__)
    assert_true(f.unpack != ref->unpack && f.dot != ref->dot);
#endif
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(formats) = {
    { "plain formats", plain_formats },
    { "numbers and names are unique", no_two_alike },
    { "resolve takes only what the features allow", resolve_obeys_features },
    { 0 },
};
