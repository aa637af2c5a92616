/* SPDX-License-Identifier: Apache-2.0 */
/* attention_lonely: of rows that attend over pages, those that stand among fewer than LONELY rows of their sequence (decode, beside
 * prompts) go to one kernel, the others to the one on the matrix units, which would waste a tile on each. Both ask here. */
#ifndef LMF_OPS_ATTENTION_LONELY_CUH
#define LMF_OPS_ATTENTION_LONELY_CUH
#include "device/cuda/kernel.cuh"

enum { LONELY = 8 };

static __device__ __forceinline__ bool is_lonely(const int *seq, int t, int n_rows)
{
    int first = t, last = t;
    while (first > 0 && t - first < LONELY - 1 && seq[first - 1] == seq[t])
        first--;
    while (last + 1 < n_rows && last - first < LONELY - 1 && seq[last + 1] == seq[t])
        last++;
    return last - first < LONELY - 1;
}

#endif
