/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: vector and tail round alike, so that an element's bits don't depend on where a worker begins. */
#include "ops/scale_by/scale_by.h"
#include "base/simd.h"
#include "base/team.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dtype == LMF_F32 && lmf_view_is_dense(&c->out[0]);
}

static lmf_status fwd(const lmf_call *call, const lmf_worker *wk)
{
    const float *x = call->in[0].data, *c = call->n_in > 2 && call->in[2].n_dims ? call->in[2].data : NULL;
    float *y = call->out[0].data;
    lmf_vf s = lmf_vf_set1(*(const float *)call->in[1].data);
    int64_t i, end;
    lmf_split(lmf_view_count(&call->in[0]), 16, wk->i_worker, wk->n_workers, &i, &end);
    for (; i < end; i += LMF_VF) {
        size_t bytes = (size_t)(end - i < LMF_VF ? end - i : LMF_VF) * sizeof *x;
        if (bytes == sizeof s) {
            lmf_vf_store(y + i, c ? lmf_vf_fma(lmf_vf_load(x + i), s, lmf_vf_load(c + i)) : lmf_vf_load(x + i) * s);
            continue;
        }
        float part[LMF_VF] = { 0 }, add[LMF_VF] = { 0 };
        memcpy(part, x + i, bytes);
        if (c)
            memcpy(add, c + i, bytes);
        lmf_vf_store(part, c ? lmf_vf_fma(lmf_vf_load(part), s, lmf_vf_load(add)) : lmf_vf_load(part) * s);
        memcpy(y + i, part, bytes);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(scale_by) = {
    { .name = "scale_by_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};
