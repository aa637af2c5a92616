/* SPDX-License-Identifier: Apache-2.0 */
/* half conversions, Philox, the vector exp: against independent arithmetic or published vectors. */
#include <math.h>
#include <string.h>
#include "base/half.h"
#include "base/philox.h"
#include "base/simd.h"
#include "test.h"

/* The value of a binary float of e exponent and m mantissa bits, by its definition. */
static double by_definition(uint32_t h, int e, int m)
{
    int bias = (1 << (e - 1)) - 1, x = (int)(h >> m & ((1u << e) - 1));
    double man = (double)(h & ((1u << m) - 1)), sign = h >> (e + m) ? -1 : 1;
    if (x == (1 << e) - 1)
        return man > 0 ? (double)NAN : sign * INFINITY;
    return sign * (x ? ldexp(1 + man / (1 << m), x - bias) : ldexp(man / (1 << m), 1 - bias));
}

static void every_half_widens_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double f16 = by_definition(h, 5, 10), bf16 = by_definition(h, 8, 7);
        float a = lmf_f16_to_f32((uint16_t)h), b = lmf_bf16_to_f32((uint16_t)h);
        if (isnan(f16) ? !isnan(a) : (double)a != f16 || !signbit(a) != !signbit(f16))
            fail_msg("f16 %04x is %g, not %g", h, (double)a, f16);
        if (isnan(f16)) /* quiet, with sign and payload */
            assert_int_equal(lmf_f32_bits(a), (h & 0x8000) << 16 | 0x7fc00000u | (h & 0x3ff) << 13);
        if (isnan(bf16) ? !isnan(b) : (double)b != bf16 || !signbit(b) != !signbit(bf16))
            fail_msg("bf16 %04x is %g, not %g", h, (double)b, bf16);
    }
}

static void every_half_comes_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        bool nan16 = isnan(by_definition(h, 5, 10)), nanb = isnan(by_definition(h, 8, 7));
        uint16_t a = lmf_f32_to_f16(lmf_f16_to_f32((uint16_t)h)), b = lmf_f32_to_bf16(lmf_bf16_to_f32((uint16_t)h));
        assert_int_equal(a, nan16 ? h | 0x200 : h); /* NaN becomes quiet and keeps its payload */
        assert_int_equal(b, nanb ? h | 0x40 : h);
    }
}

/* Between every two neighbours: the middle goes to the even one, a hair beside it to the nearer. */
static void check_rounding(uint16_t (*narrow)(float), float (*widen)(uint16_t), uint32_t last)
{
    for (uint32_t h = 0; h < last; h++) {
        double lo = (double)widen((uint16_t)h), hi = h + 1 == last ? 2 * lo - (double)widen((uint16_t)(h - 1)) : (double)widen((uint16_t)(h + 1));
        float mid = (float)((lo + hi) / 2);
        if ((double)mid != (lo + hi) / 2) /* below f32's own smallest step */
            continue;
        for (int sign = 0; sign < 2; sign++) {
            uint16_t bit = sign ? 0x8000 : 0, even = (uint16_t)(h & 1 ? h + 1 : h);
            float s = sign ? -1.0f : 1.0f;
            if (narrow(s * mid) != (bit | even) || narrow(s * nextafterf(mid, INFINITY)) != (bit | (h + 1)) || narrow(s * nextafterf(mid, 0)) != (bit | h))
                fail_msg("rounding between %04x and %04x: %g gives %04x", h, h + 1, (double)(s * mid), narrow(s * mid));
        }
    }
    assert_int_equal(narrow(INFINITY), last);
    assert_int_equal(narrow(-INFINITY), 0x8000 | last);
    assert_int_equal(narrow(3.4e38f), last); /* past the middle between the greatest and the next, in both */
}
static uint16_t to_f16(float f) { return lmf_f32_to_f16(f); }
static uint16_t to_bf16(float f) { return lmf_f32_to_bf16(f); }
static float from_f16(uint16_t h) { return lmf_f16_to_f32(h); }
static float from_bf16(uint16_t h) { return lmf_bf16_to_f32(h); }

static void narrowing_rounds_to_even(void **state)
{
    (void)state;
    check_rounding(to_f16, from_f16, 0x7c00);
    check_rounding(to_bf16, from_bf16, 0x7f80);
    assert_int_equal(to_f16(65519.996f), 0x7bff);
    assert_int_equal(to_f16(65520.0f), 0x7c00);
    assert_int_equal(to_f16(2.98e-8f), 0); /* under half of the smallest */
    assert_int_equal(to_f16(lmf_bits_f32(0xff800001u)), 0xfe00);
    assert_int_equal(to_bf16(lmf_bits_f32(0x7f800001u)), 0x7fc0);
}

/* Random123 1.14, kat_vectors, philox4x32 with 10 rounds. */
static void philox_known_answers(void **state)
{
    (void)state;
    static const struct { uint64_t key, lo, hi; uint32_t want[4]; } kat[] = {
        { 0, 0, 0, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
        { UINT64_MAX, UINT64_MAX, UINT64_MAX, { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
        { UINT64_C(0x299f31d0a4093822), UINT64_C(0x85a308d3243f6a88), UINT64_C(0x0370734413198a2e),
          { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
    };
    for (size_t i = 0; i < sizeof kat / sizeof *kat; i++) {
        uint32_t got[4];
        lmf_philox4x32(kat[i].key, kat[i].lo, kat[i].hi, got);
        assert_memory_equal(got, kat[i].want, sizeof got);
    }
    assert_int_equal(lmf_random_u32(0, 0, 0, 2), 0xbc57ac4c);
    /* seed = key, block of four = first two words, stream = third, step = fourth */
    uint32_t r[4];
    lmf_philox4x32(9, UINT64_C(0x05a308d3243f6a88), UINT64_C(0x0370734413198a2e), r);
    assert_int_equal(lmf_random_u32(9, 0x03707344, 0x13198a2e, (UINT64_C(0x05a308d3243f6a88) << 2) + 3), r[3]);
}

static void uniform_numbers(void **state)
{
    (void)state;
    double mean = 0;
    int bin[16] = { 0 };
    for (uint64_t i = 0; i < 160000; i++) {
        float x = lmf_random_f32(42, 3, 5, i);
        assert_true(x >= 0 && x < 1);
        mean += (double)x / 160000;
        bin[(int)(x * 16)]++;
    }
    assert_true(fabs(mean - 0.5) < 0.004);
    for (int i = 0; i < 16; i++)
        assert_in_range(bin[i], 9500, 10500); /* five standard deviations */
}

static void vector_tanh(void **state)
{
    (void)state;
    float x[LMF_VF], y[LMF_VF];
    double worst = 0;
    for (double at = 1e-30; at < 12; at = at < 1e-3 ? at * 1.01 : at + 0.00013) {
        for (int i = 0; i < LMF_VF; i++)
            x[i] = (float)(i % 2 ? -at : at);
        lmf_vf_store(y, lmf_vf_tanh(lmf_vf_load(x)));
        for (int i = 0; i < LMF_VF; i++) {
            double want = tanh((double)x[i]), ulp = fabs((double)nextafterf((float)want, INFINITY) - (double)(float)want);
            double off = fabs((double)y[i] - want) / ulp;
            worst = off > worst ? off : worst;
        }
    }
    if (worst > 3)
        fail_msg("tanh is off by %.3f ulp", worst);
    const float edge[][2] = { { 0, 0 }, { 30, 1 }, { -30, -1 }, { INFINITY, 1 }, { -INFINITY, -1 } };
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
        assert_true(lmf_vf_tanh(lmf_vf_set1(edge[i][0]))[LMF_VF - 1] == edge[i][1]);
    assert_true(isnan(lmf_vf_tanh(lmf_vf_set1(NAN))[0]));
}

static void vector_exp(void **state)
{
    (void)state;
    float x[LMF_VF], y[LMF_VF];
    double worst = 0;
    for (double at = -87.3; at < 88.7;) {
        for (int i = 0; i < LMF_VF; i++, at += 0.00037)
            x[i] = (float)at;
        lmf_vf_store(y, lmf_vf_exp(lmf_vf_load(x)));
        for (int i = 0; i < LMF_VF; i++) {
            double want = exp((double)x[i]), ulp = fabs((double)nextafterf((float)want, INFINITY) - (double)(float)want);
            double off = fabs((double)y[i] - want) / ulp;
            worst = x[i] < 88.7f && off > worst ? off : worst;
        }
    }
    if (worst > 2)
        fail_msg("exp is off by %.3f ulp", worst);
    const float edge[][2] = { { 0, 1 }, { -88, 0 }, { -INFINITY, 0 }, { 89, INFINITY }, { INFINITY, INFINITY } };
    for (size_t i = 0; i < sizeof edge / sizeof *edge; i++)
        assert_true(lmf_vf_exp(lmf_vf_set1(edge[i][0]))[LMF_VF - 1] == edge[i][1]);
    assert_true(isnan(lmf_vf_exp(lmf_vf_set1(NAN))[0]));
}

static void vector_sums(void **state)
{
    (void)state;
    float x[LMF_VF], sum = 0, big = 0;
    for (int i = 0; i < LMF_VF; i++)
        x[i] = (float)(i * i - 3), sum += x[i], big = x[i] > big ? x[i] : big;
    assert_true(lmf_vf_sum(lmf_vf_load(x)) == sum);
    assert_true(lmf_vf_max(lmf_vf_load(x)) == big);
    assert_true(lmf_vf_fma(lmf_vf_set1(3), lmf_vf_set1(4), lmf_vf_set1(5))[1] == 17);
    lmf_vf m = lmf_vf_maximum(lmf_vf_load(x), lmf_vf_set1(0));
    assert_true(m[0] == 0 && m[2] == 1);
}

LMF_TESTS(base_numbers) = {
    { "every half widens exactly", every_half_widens_exactly }, { "every half comes back", every_half_comes_back },
    { "narrowing rounds to even", narrowing_rounds_to_even }, { "Philox known answers", philox_known_answers }, { "uniform numbers", uniform_numbers },
    { "vector exp", vector_exp },
    { "vector tanh", vector_tanh }, { "vector sums", vector_sums }, { 0 }
};
