/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sum_rows splits by column, so that each sum has one order whatever the workers. */
#include "ops/add/add.h"
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

static inline void add_to(const float *a, const float *b, float *y, int64_t n)
{
    int64_t i = 0;
    for (; i + LMF_VF <= n; i += LMF_VF)
        lmf_vf_store(y + i, lmf_vf_load(a + i) + lmf_vf_load(b + i));
    for (; i < n; i++)
        y[i] = a[i] + b[i];
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const float *a = c->in[0].data, *b = c->in[1].data;
    float *y = c->out[0].data;
    int64_t n = lmf_view_count(&c->in[0]), nb = lmf_view_count(&c->in[1]), begin, end;
    if (n == nb) {
        lmf_split(n, 16, wk->i_worker, wk->n_workers, &begin, &end);
        add_to(a + begin, b + begin, y + begin, end - begin);
        return LMF_OK;
    }
    lmf_split(lmf_view_rows(&c->in[0]), 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        add_to(a + t * nb, b, y + t * nb, nb);
    return LMF_OK;
}

LMF_CPU_ROWS(add) = {
    { .name = "add_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};

static lmf_status sum(const lmf_call *c, const lmf_worker *wk)
{
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t n = c->out[0].dim[0], rows = lmf_view_rows(&c->in[0]), begin, end;
    lmf_split(n, 16, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t i = begin; i < end; i++)
        y[i] = 0;
    for (int64_t t = 0; t < rows; t++)
        add_to(y + begin, x + t * n + begin, y + begin, end - begin);
    return LMF_OK;
}

LMF_CPU_ROWS(sum_rows) = {
    { .name = "sum_rows_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = fits, .run = sum },
    { 0 }
};
