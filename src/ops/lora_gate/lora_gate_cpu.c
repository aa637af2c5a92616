/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lora_gate/lora_gate.h"
#include <string.h>
#include "base/team.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]);
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t width = c->in[0].dim[1], rank = ((const lmf_lora_gate_attrs *)c->attrs)->rank, begin, end;
    const int32_t *seq = c->in[1].data, *adapter = c->in[2].data;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *u = (const float *)c->in[0].data + t * width;
        float *y = (float *)c->out[0].data + t * width;
        int64_t slot = seq[t] < 0 ? -1 : adapter[seq[t]];
        memset(y, 0, (size_t)width * sizeof *y);
        if (slot >= 0 && slot < width / rank)
            memcpy(y + slot * rank, u + slot * rank, (size_t)rank * sizeof *y);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(lora_gate) = {
    { .name = "lora_gate_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
