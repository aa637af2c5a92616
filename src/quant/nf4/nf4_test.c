/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "quant/dynamic8.h"
#include "quant/formats_test.h"
#include "quant/nf4/nf4.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("nf4", &(lmf_format_promise){ LMF_NF4, 64, 36, LMF_FORMAT_QUANT, .step = 0.153,
        .packed = 0x4eb25a67bdf933b3, .values = 0x586c4fd23f676ae6 });
}

static uint64_t fnv(const void *data, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    return h;
}

/* bitsandbytes' two tables, by the hashes that tools/golden/formats.py prints; and each number is its own nearest. */
static void tables(void **state)
{
    (void)state;
    static const uint64_t want[] = { 0x43811b16730a873e, 0xd677f22a96665bc4 };
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        float map[256];
        lmf_dynamic8_map(is_signed, map);
        if (fnv(map, sizeof map) != want[is_signed])
            fail_msg("the %s table has the hash 0x%016llx", is_signed ? "signed" : "unsigned", (unsigned long long)fnv(map, sizeof map));
        for (int i = 0; i < 256; i++)
            assert_int_equal(lmf_dynamic8_code(map, map[i]), i);
        for (int i = 0; i < 255; i++) {
            float middle = (map[i] + map[i + 1]) / 2;
            assert_int_equal(lmf_dynamic8_code(map, middle), i);
            assert_int_equal(lmf_dynamic8_code(map, nextafterf(middle, 2)), i + 1);
        }
        assert_int_equal(lmf_dynamic8_code(map, 9), 255);
        assert_int_equal(lmf_dynamic8_code(map, -9), 0);
        assert_int_equal(lmf_dynamic8_code(map, NAN), 0);
    }
}

/* Scales come back within what 8 bits hold of their distance from the mean: half a step of the widest; blocks of
 * other nested groups are not touched by one; alike ones stay as they are. */
static void doubled(void **state)
{
    (void)state;
    enum { N = 600 };
    static float x[N * LMF_NF4_BLOCK];
    static lmf_nf4 a[N], b[N];
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f = lmf_format_find(ctx, "nf4");
    for (int i = 0; i < N * LMF_NF4_BLOCK; i++)
        x[i] = lmf_random_f32(3, (uint32_t)(i / LMF_NF4_BLOCK % 7), 0, (uint64_t)i) - 0.5f;
    f->pack(x, a, N * LMF_NF4_BLOCK);
    memcpy(b, a, sizeof a);
    assert_ok(ctx, lmf_nf4_double(ctx, b, N));
    double mean = 0, top = 0;
    for (int i = 0; i < N; i++)
        mean += (double)lmf_nf4_scale(&a[i]) / N;
    for (int i = 0; i < N; i++)
        top = fmax(top, fabs((double)lmf_nf4_scale(&a[i]) - mean));
    for (int i = 0; i < N; i++) {
        assert_memory_equal(a[i].qs, b[i].qs, 32);
        assert_true(fabs((double)lmf_nf4_scale(&a[i]) - (double)lmf_nf4_scale(&b[i])) < 0.0071 * top + 1e-7);
    }
    for (int i = 0; i < N; i++)
        a[i] = a[0];
    memcpy(b, a, sizeof a);
    assert_ok(ctx, lmf_nf4_double(ctx, b, N));
    assert_memory_equal(a, b, sizeof a);
    assert_ok(ctx, lmf_nf4_double(ctx, b, 0));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(nf4) = { { "promises", promises }, { "tables of 8 bits", tables }, { "double quantization", doubled }, { 0 } };
