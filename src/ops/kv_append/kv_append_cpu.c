/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/kv_append/kv_append.h"
#include <string.h>
#include "base/half.h"
#include "base/team.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]) && (c->in[0].dtype == LMF_F32 || c->in[0].dtype == LMF_F16 || c->in[0].dtype == LMF_BF16);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = c->in[0].dim[1], w = c->in[0].dim[2], P = c->in[4].dim[1], begin, end;
    const int32_t *seq = c->in[2].data, *pos = c->in[3].data, *pages = c->in[4].data;
    lmf_split(c->in[1].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        if (seq[t] < 0)
            continue;
        int64_t page = pos[t] / rows < P ? pages[seq[t] * P + pos[t] / rows] : -1;
        if (page < 0 || page >= c->in[0].dim[0])
            return LMF_E_INTERNAL;
        const float *x = (const float *)c->in[1].data + t * w;
        int64_t at = (page * rows + pos[t] % rows) * w;
        if (c->in[0].dtype == LMF_F32)
            memcpy((float *)c->out[0].data + at, x, (size_t)w * sizeof *x);
        else if (c->in[0].dtype == LMF_F16)
            for (int64_t i = 0; i < w; i++)
                ((uint16_t *)c->out[0].data)[at + i] = lmf_f32_to_f16(x[i]);
        else
            for (int64_t i = 0; i < w; i++)
                ((uint16_t *)c->out[0].data)[at + i] = lmf_f32_to_bf16(x[i]);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(kv_append) = {
    { .name = "kv_append", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .run = fwd }, { 0 }
};
