/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/act.h"
#include "base/cpu.h"
#include "base/philox.h"
#include "test.h"
#include <math.h>

enum { N = 32 * 64 };
typedef void (*quantize_fn)(const float *x, lmf_act *out, int64_t k);

static void fill(float *x, uint32_t round)
{
    const float bad[] = { NAN, INFINITY, -INFINITY, 3.4e38f, 1e-45f, 1e-38f, 0x1p-100f, 0x0.ffffffp-100f };
    for (uint64_t i = 0; i < N; i++) {
        uint32_t u = lmf_random_u32(3, round, 0, i);
        switch (round % 4) {
        case 0: x[i] = lmf_bits_f32(u); break;                                       /* any bits */
        case 1: x[i] = ((float)(u >> 8) * 0x1p-23f - 1) * (float)(1 + i / 32); break; /* plain */
        case 2: x[i] = (float)((int)(u % 509) - 254) * 0.5f; break;                  /* ties: with amax 127, halves */
        default: x[i] = i % 32 == u % 32 ? bad[u / 32 % 8] : 0; break;
        }
        if (round % 4 == 2 && i % 32 == 0)
            x[i] = 127;
    }
}

static void same_at_all_levels(void **state)
{
    (void)state;
    const struct { quantize_fn fn; uint64_t needs; } levels[] = {
        { lmf__act_quantize_scalar, 0 },
#if defined(__x86_64__)
        { lmf__act_quantize_avx2, LMF_CPU_AVX2 }, { lmf__act_quantize_avx512, LMF_CPU_AVX512 },
#endif
    };
    lmf_ctx *ctx = lmf_test_ctx();
    float *x = malloc(sizeof(float) * N);
    lmf_act *ref = malloc(sizeof(lmf_act) * N / 32), *got = malloc(sizeof(lmf_act) * N / 32);
    assert_true(x && ref && got);
    for (uint32_t round = 0; round < 40; round++) {
        fill(x, round);
        lmf_act_quantize_ref(x, ref, N);
        for (size_t c = 0; c < sizeof levels / sizeof *levels; c++) {
            if (levels[c].needs & ~ctx->cpu_features)
                continue;
            memset(got, 0xa5, sizeof(lmf_act) * N / 32);
            levels[c].fn(x, got, N);
            assert_memory_equal(ref, got, sizeof(lmf_act) * N / 32);
        }
    }
    free(x), free(ref), free(got);
    lmf_test_ctx_done(ctx);
}

static void meaning(void **state)
{
    (void)state;
    float x[N];
    lmf_act a[N / 32];
    for (uint32_t round = 1; round < 3; round++) {
        fill(x, round);
        lmf_act_quantize_ref(x, a, N);
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)a[i / 32].d * a[i / 32].q[i % 32] - x[i]) <= 0.5001 * a[i / 32].d);
        for (int b = 0; b < N / 32; b++) {
            int sum[2] = { 0 }, top = 0;
            for (int e = 0; e < 32; e++)
                sum[e / 16] += a[b].q[e], top = abs(a[b].q[e]) > top ? abs(a[b].q[e]) : top;
            assert_int_equal(top, 127);
            assert_true(a[b].s == a[b].d * (float)(sum[0] + sum[1]));
            assert_true(a[b].sum[0] == sum[0] && a[b].sum[1] == sum[1]);
        }
    }
    float y[64] = { [0] = 127, [1] = 0.5f, [2] = 1.5f, [3] = -2.5f, [40] = NAN };
    lmf_act_quantize_ref(y, a, 64);
    assert_true(a[0].q[1] == 0 && a[0].q[2] == 2 && a[0].q[3] == -2); /* halves to even */
    assert_true(a[0].d == 1 && isnan(a[1].d) && isnan(a[1].s) && a[1].q[0] == 0);
    memset(y, 0, sizeof y);
    y[3] = 0x1p-101f;
    lmf_act_quantize_ref(y, a, 64);
    assert_true(a[0].d == 0 && a[0].s == 0 && a[0].q[3] == 0 && a[1].d == 0);
}

LMF_TESTS(act) = { { "same bits at all ISA levels", same_at_all_levels }, { "scale, sum, rounding, bad blocks", meaning }, { 0 } };
