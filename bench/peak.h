/* SPDX-License-Identifier: Apache-2.0 */
/* peak: what one core multiplies and adds in f32 with all operands in registers, so that a kernel's speed has something to be a
 * part of. By CPU time of the calling thread: on a busy machine the clock shows others' work. */
#ifndef LMF_BENCH_PEAK_H
#define LMF_BENCH_PEAK_H
#include <stdint.h>
#include <time.h>
#include "base/cpu.h"

#define TARGET(isa) __attribute__((target(isa)))

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* FLOP/s of n independent chains of multiply-add; best of 40. */
#define PEAK(name, width, n, isa)                                                         \
    typedef float name##_v __attribute__((vector_size(width)));                           \
    isa static double name(void)                                                          \
    {                                                                                     \
        name##_v a[n] = { 0 }, x = a[0] + 0.999f, y = a[0] + 1e-3f;                       \
        enum { STEPS = 100000 };                                                          \
        double best = 0;                                                                  \
        for (int r = 0; r < 40; r++) {                                                    \
            double t = now();                                                             \
            for (int s = 0; s < STEPS; s++) {                                             \
                _Pragma("GCC unroll 20") for (int i = 0; i < n; i++) a[i] = a[i] * x + y; \
                __asm__ volatile("" : "+x"(x), "+x"(y));                                  \
            }                                                                             \
            t = 2.0 * STEPS * n * (width / 4) / (now() - t);                              \
            best = t > best ? t : best;                                                   \
        }                                                                                 \
        volatile float keep = 0;                                                          \
        for (int i = 0; i < n; i++)                                                       \
            keep += a[i][0];                                                              \
        return best;                                                                      \
    }
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast", "O3")
#ifdef __x86_64__
PEAK(peak_avx512, 64, 20, TARGET("avx512f"))
PEAK(peak_avx2, 32, 12, TARGET("avx2,fma"))
#endif
PEAK(peak_plain, 16, 12, )
#pragma GCC pop_options

/* The one for these features (lmf_ctx.cpu_features). */
static double (*peak_for(uint64_t features))(void)
{
#ifdef __x86_64__
    return features & LMF_CPU_AVX512 ? peak_avx512 : features & LMF_CPU_AVX2 ? peak_avx2 : peak_plain;
#else
    (void)features;
    return peak_plain;
#endif
}
#endif
