/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the tail goes through the same vector code, so that an element's bits don't depend on where a worker begins. */
#include "ops/geglu/geglu.h"
#include "base/simd.h"
#include "base/team.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].dtype != LMF_F32 || !lmf_view_is_dense(&c->in[i]))
            return false;
    for (int i = 0; i < c->n_out; i++)
        if (!lmf_view_is_dense(&c->out[i]))
            return false;
    return true;
}

static inline lmf_vf load_part(const float *p, int64_t n)
{
    float t[LMF_VF] = { 0 };
    memcpy(t, p, (size_t)n * sizeof *p);
    return lmf_vf_load(t);
}
static inline void store_part(float *p, lmf_vf v, int64_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }

/* x within 12: beyond, the sigmoid is 0 or 1 in f32 and stays so, and nothing overflows. A NaN passes. */
static inline lmf_vf within(lmf_vf x)
{
    lmf_vf most = lmf_vf_set1(12);
    return lmf_vf_select(x > most, most, lmf_vf_select(x < -most, -most, x));
}

/* (1 + tanh(u)) / 2 */
static inline lmf_vf half_of(lmf_vf x)
{
    lmf_vf u = x * lmf_vf_fma(x * x, lmf_vf_set1(2 * 0.79788456f * 0.044715f), lmf_vf_set1(2 * 0.79788456f));
    return lmf_vf_set1(1) / (lmf_vf_set1(1) + lmf_vf_exp(-u));
}

static inline lmf_vf glu(lmf_vf x, lmf_vf up) { return x * half_of(within(x)) * up; }

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const float *gate = c->in[0].data, *up = c->in[1].data;
    float *y = c->out[0].data;
    int64_t i, end;
    lmf_split(lmf_view_count(&c->in[0]), 16, wk->i_worker, wk->n_workers, &i, &end);
    for (; i + LMF_VF <= end; i += LMF_VF)
        lmf_vf_store(y + i, glu(lmf_vf_load(gate + i), lmf_vf_load(up + i)));
    if (i < end)
        store_part(y + i, glu(load_part(gate + i, end - i), load_part(up + i, end - i)), end - i);
    return LMF_OK;
}

LMF_CPU_ROWS(geglu) = {
    { .name = "geglu_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};

static inline void back(lmf_vf x, lmf_vf up, lmf_vf dy, lmf_vf *dgate, lmf_vf *dup)
{
    lmf_vf z = within(x), s = half_of(z), one = lmf_vf_set1(1);
    lmf_vf slope = lmf_vf_fma(z * z, lmf_vf_set1(6 * 0.79788456f * 0.044715f), lmf_vf_set1(2 * 0.79788456f));
    *dgate = dy * up * lmf_vf_fma(z * s * (one - s), slope, s);
    *dup = dy * (x * s);
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const float *gate = c->in[0].data, *up = c->in[1].data, *dy = c->in[2].data;
    float *dgate = c->out[0].data, *dup = c->out[1].data;
    int64_t i, end;
    lmf_vf dg, du;
    lmf_split(lmf_view_count(&c->in[0]), 16, wk->i_worker, wk->n_workers, &i, &end);
    for (; i + LMF_VF <= end; i += LMF_VF) {
        back(lmf_vf_load(gate + i), lmf_vf_load(up + i), lmf_vf_load(dy + i), &dg, &du);
        lmf_vf_store(dgate + i, dg);
        lmf_vf_store(dup + i, du);
    }
    if (i < end) {
        back(load_part(gate + i, end - i), load_part(up + i, end - i), load_part(dy + i, end - i), &dg, &du);
        store_part(dgate + i, dg, end - i);
        store_part(dup + i, du, end - i);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(geglu_bwd) = {
    { .name = "geglu_bwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = bwd },
    { 0 }
};
