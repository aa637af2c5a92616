/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/solve.h"
#include "base/cpu.h"

lmf__solve_level lmf__solve_pick(uint64_t features)
{
    (void)features;
#if defined(LMF_X86_LEVELS)
    if ((features & (LMF_CPU_AVX2 | LMF_CPU_AVX512)) == (LMF_CPU_AVX2 | LMF_CPU_AVX512))
        return (lmf__solve_level){ lmf__solve_rows_avx512, lmf__solve_factor_avx512, lmf__solve_floats_avx512 };
    if (features & LMF_CPU_AVX2)
        return (lmf__solve_level){ lmf__solve_rows_avx2, lmf__solve_factor_avx2, lmf__solve_floats_avx2 };
#endif
    return (lmf__solve_level){ lmf__solve_rows_scalar, lmf__solve_factor_scalar, lmf__solve_floats_scalar };
}
