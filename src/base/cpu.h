/* SPDX-License-Identifier: Apache-2.0 */
/* cpu: what the processor offers, as a bit set (ISAs have no total order), and how many workers to start. */
#ifndef LMF_BASE_CPU_H
#define LMF_BASE_CPU_H
#include <stdint.h>
#include <stddef.h>
#include <stdbool.h>

#define LMF_CPU_AVX2        (UINT64_C(1) << 0) /* AVX2, FMA, F16C, BMI2 */
#define LMF_CPU_AVXVNNI     (UINT64_C(1) << 1) /* VEX-coded vpdpbusd */
#define LMF_CPU_AVX512      (UINT64_C(1) << 2) /* F, BW, DQ, VL */
#define LMF_CPU_AVX512_VNNI (UINT64_C(1) << 3)
#define LMF_CPU_AVX512_BF16 (UINT64_C(1) << 4)
#define LMF_CPU_AMX_BF16    (UINT64_C(1) << 5) /* tiles, and the kernel's permission to use them */
#define LMF_CPU_AMX_INT8    (UINT64_C(1) << 6)
#define LMF_CPU_AVX512_BF16_FAST (UINT64_C(1) << 7) /* vdpbf16ps at f32's rate or above: AMD's; Intel's runs at half of it (bench/limits) */
enum { LMF_CPU_N_FEATURES = 8 };

uint64_t    lmf_cpu_features(void);             /* found on this machine; asks the kernel for AMX once */
const char *lmf_cpu_feature_name(int i);        /* i-th bit: "avx2"; NULL past the end */
/* "scalar", "avx2", "avx512", "amx", "native": the bits that level allows. False for an unknown name. */
bool        lmf_cpu_level(const char *name, uint64_t *features);
void        lmf_cpu_model(char *text, size_t n); /* "AMD EPYC ...", or "unknown" */
/* Processors that this process may really use: affinity and the cgroup's cpu.max, at least 1. */
int         lmf_cpu_workers(void);
uint64_t    lmf_memory_limit(void);             /* bytes: cgroup memory.max or MemTotal, the smaller */

#endif
