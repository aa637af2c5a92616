/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/philox.h"
#include "data/samples.h"

/* Fisher and Yates, drawing below k + 1 without bias: a draw in the last, incomplete range is thrown away. */
void lmf_shuffle(uint64_t seed, uint32_t epoch, int64_t *order, int64_t n)
{
    enum { STREAM_SHUFFLE = 0x5f };
    uint64_t draw = 0;
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t k = n - 1; k > 0; k--) {
        uint32_t range = (uint32_t)k + 1, limit = UINT32_MAX - (uint32_t)((UINT64_C(1) << 32) % range), r;
        do
            r = lmf_random_u32(seed, epoch, STREAM_SHUFFLE, draw++);
        while (r > limit);
        int64_t j = r % range, t = order[k];
        order[k] = order[j];
        order[j] = t;
    }
}

int lmf_pack(const int32_t *len, int n, int32_t cap, int *bin, int32_t *scratch)
{
    int32_t *room = scratch, *order = scratch + n;
    int n_bins = 0;
    for (int i = 0; i < n; i++) { /* by falling length, then index */
        int k = i;
        for (; k > 0 && len[order[k - 1]] < len[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (int i = 0; i < n; i++) {
        int best = -1;
        for (int b = 0; b < n_bins; b++)
            if (room[b] >= len[order[i]] && (best < 0 || room[b] < room[best]))
                best = b;
        if (best < 0) {
            best = n_bins++;
            room[best] = cap;
        }
        room[best] -= len[order[i]];
        bin[order[i]] = best;
    }
    return n_bins;
}
