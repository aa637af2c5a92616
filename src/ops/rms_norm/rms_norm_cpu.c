/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/rms_norm/rms_norm.h"
#include "base/simd.h"
#include "base/team.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dtype == LMF_F32;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rms_norm_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[0], begin, end;
    const float *w = c->in[1].data;
    lmf_split(lmf_rms_norm_rows(c), 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *x = (const float *)c->in[0].data + t * d;
        float *y = (float *)c->out[0].data + t * d;
        lmf_vf sum = { 0 };
        int64_t i = 0;
        for (; i + LMF_VF <= d; i += LMF_VF)
            sum = lmf_vf_fma(lmf_vf_load(x + i), lmf_vf_load(x + i), sum);
        float s = lmf_vf_sum(sum);
        for (; i < d; i++)
            s += x[i] * x[i];
        float r = 1 / sqrtf(s / (float)d + a->eps);
        ((float *)c->out[1].data)[t] = r;
        for (i = 0; i + LMF_VF <= d; i += LMF_VF)
            lmf_vf_store(y + i, lmf_vf_load(x + i) * r * lmf_vf_load(w + i));
        for (; i < d; i++)
            y[i] = x[i] * r * w[i];
    }
    return LMF_OK;
}

LMF_CPU_ROWS(rms_norm) = {
    { .name = "rms_norm_fwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};

/* Phase 0: dx by rows. Phase 1: dw by columns, rows in index order. */
static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t d = c->in[1].dim[0], rows = lmf_rms_norm_rows(c), begin, end;
    const float *x = c->in[0].data, *w = c->in[1].data, *rstd = c->in[2].data, *dy = c->in[3].data;
    float *dx = c->out[0].data, *dw = c->out[1].data;
    if (wk->phase == 1) {
        lmf_split(d, 16, wk->i_worker, wk->n_workers, &begin, &end);
        for (int64_t i = begin; i < end; i++)
            dw[i] = 0;
        for (int64_t t = 0; t < rows; t++)
            for (int64_t i = begin; i < end; i++)
                dw[i] += dy[t * d + i] * (x[t * d + i] * rstd[t]);
        return LMF_OK;
    }
    lmf_split(rows, 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *xt = x + t * d, *dyt = dy + t * d;
        lmf_vf sum = { 0 };
        int64_t i = 0;
        for (; i + LMF_VF <= d; i += LMF_VF)
            sum = lmf_vf_fma(lmf_vf_load(dyt + i) * lmf_vf_load(w + i), lmf_vf_load(xt + i), sum);
        float s = lmf_vf_sum(sum), r = rstd[t];
        for (; i < d; i++)
            s += dyt[i] * w[i] * xt[i];
        float k = s * r * r * r / (float)d;
        for (i = 0; i < d; i++)
            dx[t * d + i] = dyt[i] * w[i] * r - xt[i] * k;
    }
    return LMF_OK;
}

LMF_CPU_ROWS(rms_norm_bwd) = {
    { .name = "rms_norm_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .n_phases = 2, .needs = LMF_ISA_NEEDS, .match = fits, .run = bwd },
    { 0 }
};
