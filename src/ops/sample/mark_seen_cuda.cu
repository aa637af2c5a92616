/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: all slots are cleared before any token is marked. A pair that comes twice is written twice with the same number. */
#include "device/cuda/kernel.cuh"

/* blockIdx.y is the slot. */
LMF_KERNEL(mark_seen_clear)(int *seen, const int *clear, int64_t n_v)
{
    if (!clear[blockIdx.y])
        return;
    for (int64_t v = lmf_grid_first(); v < n_v; v += lmf_grid_step())
        seen[blockIdx.y * n_v + v] = 0;
}

LMF_KERNEL(mark_seen_mark)(int *seen, const int *slot, const int *token, int64_t n_slots, int64_t n_v, int64_t n)
{
    for (int64_t r = lmf_grid_first(); r < n; r += lmf_grid_step())
        if (slot[r] >= 0 && slot[r] < n_slots && token[r] >= 0 && token[r] < n_v)
            seen[slot[r] * n_v + token[r]] |= 1 << 30; /* LMF_SEEN_PROMPT */
}
