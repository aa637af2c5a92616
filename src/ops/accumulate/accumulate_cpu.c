/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/accumulate/accumulate.h"
#include <string.h>
#include "base/team.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t begin, end;
    float *acc = c->out[0].data, keep = *(const float *)c->in[2].data;
    for (int k = 0; k < lmf_accumulate_n(c->n_in); k++) {
        const lmf_view *v = &c->in[lmf_accumulate_at(k)];
        const float *x = v->data;
        lmf_split(lmf_view_count(v), 64, wk->i_worker, wk->n_workers, &begin, &end);
        if (keep == 0 && end > begin)
            memcpy(acc + begin, x + begin, (size_t)(end - begin) * sizeof *acc);
        else
            for (int64_t i = begin; i < end; i++)
                acc[i] = keep * acc[i] + x[i];
        acc += lmf_view_count(v);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(accumulate) = {
    { .name = "accumulate_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
