/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/adamw/adamw.h"
#include <math.h>
#include "base/team.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < 6; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const float *h = c->in[5].data, *g = c->in[3].data, norm = *(const float *)c->in[4].data;
    float *p = c->out[0].data, *m = c->out[1].data, *v = c->out[2].data;
    int64_t begin, end;
    if (!isfinite(norm))
        return LMF_OK;
    lmf_split(lmf_view_count(&c->in[0]), 64, wk->i_worker, wk->n_workers, &begin, &end);
    float clip = h[LMF_ADAMW_MAX_NORM] > 0 ? fminf(1, h[LMF_ADAMW_MAX_NORM] / (norm + 1e-6f)) : 1;
    float b1 = h[LMF_ADAMW_BETA1], b2 = h[LMF_ADAMW_BETA2], keep = 1 - h[LMF_ADAMW_LR] * h[LMF_ADAMW_DECAY], eps = h[LMF_ADAMW_EPS];
    float rate = h[LMF_ADAMW_LR] / h[LMF_ADAMW_BIAS1], root = sqrtf(h[LMF_ADAMW_BIAS2]);
    for (int64_t i = begin; i < end; i++) {
        float gi = g[i] * clip;
        m[i] = b1 * m[i] + (1 - b1) * gi;
        v[i] = b2 * v[i] + (1 - b2) * gi * gi;
        p[i] = p[i] * keep - rate * m[i] / (sqrtf(v[i]) / root + eps);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(adamw) = {
    { .name = "adamw_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
