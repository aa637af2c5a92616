/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the tail goes through the same vector code, so that an element's bits don't depend on where a worker begins. */
#include "ops/gelu/gelu.h"
#include "base/simd.h"
#include "base/team.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].dtype != LMF_F32 || !lmf_view_is_dense(&c->in[i]))
            return false;
    return lmf_view_is_dense(&c->out[0]);
}

/* x within 12: beyond, sigmoid(2u) is 0 or 1 in f32 and stays so, and nothing overflows. A NaN passes. */
static inline lmf_vf within(lmf_vf x)
{
    lmf_vf most = lmf_vf_set1(12);
    return lmf_vf_select(x > most, most, lmf_vf_select(x < -most, -most, x));
}

static inline lmf_vf half_of(lmf_vf x)
{
    lmf_vf u = x * lmf_vf_fma(x * x, lmf_vf_set1(2 * 0.79788456f * 0.044715f), lmf_vf_set1(2 * 0.79788456f));
    return lmf_vf_set1(1) / (lmf_vf_set1(1) + lmf_vf_exp(-u));
}

static inline lmf_vf load_part(const float *p, int64_t n)
{
    float t[LMF_VF] = { 0 };
    memcpy(t, p, (size_t)n * sizeof *p);
    return lmf_vf_load(t);
}
static inline void store_part(float *p, lmf_vf v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }

static inline lmf_vf forward(lmf_vf x) { return x * half_of(within(x)); }
static inline lmf_vf backward(lmf_vf x, lmf_vf dy)
{
    lmf_vf z = within(x), s = half_of(z), one = lmf_vf_set1(1);
    lmf_vf slope = lmf_vf_fma(z * z, lmf_vf_set1(6 * 0.79788456f * 0.044715f), lmf_vf_set1(2 * 0.79788456f));
    return dy * lmf_vf_fma(z * s * (one - s), slope, s);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t i, end;
    lmf_split(lmf_view_count(&c->in[0]), 16, wk->i_worker, wk->n_workers, &i, &end);
    for (; i + LMF_VF <= end; i += LMF_VF)
        lmf_vf_store(y + i, forward(lmf_vf_load(x + i)));
    if (i < end)
        store_part(y + i, forward(load_part(x + i, end - i)), end - i);
    return LMF_OK;
}

LMF_CPU_ROWS(gelu) = {
    { .name = "gelu_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const float *x = c->in[0].data, *dy = c->in[1].data;
    float *dx = c->out[0].data;
    int64_t i, end;
    lmf_split(lmf_view_count(&c->in[0]), 16, wk->i_worker, wk->n_workers, &i, &end);
    for (; i + LMF_VF <= end; i += LMF_VF)
        lmf_vf_store(dx + i, backward(lmf_vf_load(x + i), lmf_vf_load(dy + i)));
    if (i < end)
        store_part(dx + i, backward(load_part(x + i, end - i), load_part(dy + i, end - i)), end - i);
    return LMF_OK;
}

LMF_CPU_ROWS(gelu_bwd) = {
    { .name = "gelu_bwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = bwd },
    { 0 }
};
