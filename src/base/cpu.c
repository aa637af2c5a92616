/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cpu.h"
#include "base/number.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#endif

static const char *const feature_names[LMF_CPU_N_FEATURES] = {
    "avx2", "avx-vnni", "avx512", "avx512-vnni", "avx512-bf16", "amx-bf16", "amx-int8", "avx512-bf16-fast",
};

const char *lmf_cpu_feature_name(int i)
{
    return i >= 0 && i < LMF_CPU_N_FEATURES ? feature_names[i] : NULL;
}

#if defined(__x86_64__)
static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Linux gives tile state only to a process that asks (ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static bool amx_permitted(void)
{
    enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
}

uint64_t lmf_cpu_features(void)
{
    uint32_t a, b, c, d, a1, b1, c1, d1;
    uint64_t f = 0;
    bool amd = __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
        return 0;
    uint64_t x = xgetbv0();
    bool ymm = (x & 6) == 6, zmm = (x & 0xe6) == 0xe6, tile = (x & 0x60000) == 0x60000;
    bool fma = c & bit_FMA, f16c = c & bit_F16C;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    if (!__get_cpuid_count(7, 1, &a1, &b1, &c1, &d1))
        a1 = 0;
    if (ymm && fma && f16c && (b & bit_AVX2) && (b & bit_BMI2))
        f |= LMF_CPU_AVX2;
    if ((f & LMF_CPU_AVX2) && (a1 & 1u << 4))
        f |= LMF_CPU_AVXVNNI;
    if ((f & LMF_CPU_AVX2) && zmm && (b & bit_AVX512F) && (b & bit_AVX512BW) && (b & bit_AVX512DQ) && (b & bit_AVX512VL)) {
        f |= LMF_CPU_AVX512;
        if (c & 1u << 11)
            f |= LMF_CPU_AVX512_VNNI;
        if (a1 & 1u << 5)
            f |= LMF_CPU_AVX512_BF16 | (amd ? LMF_CPU_AVX512_BF16_FAST : 0);
        if (tile && (d & 1u << 24) && amx_permitted()) {
            if (d & 1u << 22)
                f |= LMF_CPU_AMX_BF16;
            if (d & 1u << 25)
                f |= LMF_CPU_AMX_INT8;
        }
    }
    return f;
}
#else
uint64_t lmf_cpu_features(void) { return 0; }
#endif

bool lmf_cpu_level(const char *name, uint64_t *features)
{
    uint64_t avx2 = LMF_CPU_AVX2 | LMF_CPU_AVXVNNI;
    uint64_t avx512 = avx2 | LMF_CPU_AVX512 | LMF_CPU_AVX512_VNNI | LMF_CPU_AVX512_BF16 | LMF_CPU_AVX512_BF16_FAST;
    const struct { const char *name; uint64_t bits; } levels[] = {
        { "scalar", 0 }, { "avx2", avx2 }, { "avx512", avx512 }, { "amx", ~UINT64_C(0) }, { "native", ~UINT64_C(0) },
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(name, levels[i].name) == 0) {
            *features = levels[i].bits;
            return true;
        }
    return false;
}

void lmf_cpu_model(char *text, size_t n)
{
    snprintf(text, n, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f)
        return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(text, n, "%s", colon + 1 + (colon[1] == ' '));
        break;
    }
    fclose(f);
}

/* Reads "max" or a number from a one-line file; -1 where there is none. */
static int64_t read_number(const char *path, int64_t *second)
{
    char line[128];
    FILE *f = fopen(path, "r");
    if (!f)
        return -1;
    int64_t a = -1;
    const char *p = fgets(line, sizeof line, f);
    if (p && lmf_number_read(&p, &a) && *p == ' ' && second) {
        p++;
        lmf_number_read(&p, second); /* where there is none it stays */
    }
    fclose(f);
    return a;
}

int lmf_cpu_workers(void)
{
    cpu_set_t set;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    int64_t period = 100000, quota = read_number("/sys/fs/cgroup/cpu.max", &period);
    if (quota > 0 && period > 0 && (quota + period - 1) / period < n)
        n = (long)((quota + period - 1) / period);
    return n < 1 ? 1 : n > 256 ? 256 : (int)n;
}

uint64_t lmf_memory_limit(void)
{
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    long long max = read_number("/sys/fs/cgroup/memory.max", NULL);
    return max > 0 && (uint64_t)max < total ? (uint64_t)max : total;
}
