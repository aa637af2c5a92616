/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a slot is one worker's, so that clearing comes before marking without a barrier. */
#include "ops/sample/sample.h"
#include <string.h>
#include "base/simd.h"
#include "base/team.h"
#include "device/device.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]) && lmf_view_is_dense(&c->in[2]) && lmf_view_is_dense(&c->in[3]);
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t V = c->in[0].dim[1], begin, end;
    int32_t *seen = c->out[0].data;
    const int32_t *clear = c->in[1].data, *slot = c->in[2].data, *token = c->in[3].data;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        if (clear[i])
            memset(seen + i * V, 0, (size_t)V * sizeof *seen);
    for (int64_t r = 0; r < c->in[2].dim[0]; r++) {
        if (slot[r] < 0)
            continue;
        if (slot[r] >= c->in[0].dim[0] || token[r] < 0 || token[r] >= V)
            return LMF_E_INTERNAL;
        if (slot[r] >= begin && slot[r] < end)
            seen[slot[r] * V + token[r]] |= LMF_SEEN_PROMPT;
    }
    return LMF_OK;
}

LMF_CPU_ROWS(mark_seen) = {
    { .name = "mark_seen", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
