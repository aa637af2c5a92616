/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sgd/sgd.h"
#include <math.h>
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
    const float *h = c->in[4].data, *g = c->in[2].data, norm = *(const float *)c->in[3].data;
    float *p = c->out[0].data, *m = c->out[1].data;
    int64_t begin, end;
    if (!isfinite(norm))
        return LMF_OK;
    lmf_split(lmf_view_count(&c->in[0]), 64, wk->i_worker, wk->n_workers, &begin, &end);
    float clip = h[LMF_SGD_MAX_NORM] > 0 ? fminf(1, h[LMF_SGD_MAX_NORM] / (norm + 1e-6f)) : 1;
    for (int64_t i = begin; i < end; i++) {
        m[i] = h[LMF_SGD_MOMENTUM] * m[i] + (g[i] * clip + h[LMF_SGD_DECAY] * p[i]);
        p[i] -= h[LMF_SGD_LR] * m[i];
    }
    return LMF_OK;
}

LMF_CPU_ROWS(sgd) = {
    { .name = "sgd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
