/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: v is made by rows of w before any row of x is touched; dm is split by columns, each summed by one worker. */
#include "ops/dora/dora.h"
#include <math.h>
#include <string.h>
#include "base/team.h"
#include "device/device.h"

enum { COLUMNS = 64 };

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static size_t row_floats(const lmf_call *c) { return (size_t)(c->in[1].dim[1] + 15) / 16 * 16; }

static size_t scratch(const lmf_call *c, const lmf_device *dev) { return row_floats(c) * sizeof(float) * (size_t)dev->n_workers; }

/* A row of w with its pair's, and one over its length. */
static float inverse_length(const lmf_call *c, int64_t i, float *row)
{
    float scale = ((const lmf_dora_attrs *)c->attrs)->scale;
    int64_t k = c->in[1].dim[1], r = c->in[2].dim[0];
    const lmf_format *f = c->in[1].fmt;
    const float *p = c->in[2].data, *q = (const float *)c->in[3].data + i * r;
    double sum = 0;
    f->unpack((const char *)c->in[1].data + lmf_format_bytes(f, i * k), row, k);
    for (int64_t e = 0; e < r; e++) {
        float by = scale * q[e];
        for (int64_t j = 0; by != 0 && j < k; j++)
            row[j] += by * p[e * k + j];
    }
    for (int64_t j = 0; j < k; j++)
        sum += (double)row[j] * (double)row[j];
    return sum > 0 ? (float)(1 / sqrt(sum)) : 0;
}

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n = c->in[1].dim[0], begin, end;
    const float *m = c->in[4].data, *bias = c->n_in > 5 && c->in[5].n_dims ? c->in[5].data : NULL;
    float *v = c->out[1].data;
    if (wk->phase == 0) {
        lmf_split(n, 1, wk->i_worker, wk->n_workers, &begin, &end);
        for (int64_t i = begin; i < end; i++)
            v[i] = inverse_length(c, i, (float *)c->scratch + (size_t)wk->i_worker * row_floats(c));
        return LMF_OK;
    }
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        const float *x = (const float *)c->in[0].data + t * n;
        float *y = (float *)c->out[0].data + t * n;
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * (m[i] * v[i]) + (bias ? bias[i] : 0);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(dora) = {
    { .name = "dora_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .n_phases = 2, .needs = LMF_ISA_NEEDS, .match = dense,
      .scratch = scratch, .run = run },
    { 0 }
};

static lmf_status run_bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = c->in[0].dim[0], n = c->in[0].dim[1], begin, end;
    const float *dy = c->in[0].data, *x = c->in[1].data, *m = c->in[2].data, *v = c->in[3].data;
    lmf_split(n, COLUMNS, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t at = begin; at < end; at += COLUMNS) {
        double sum[COLUMNS] = { 0 };
        int64_t width = end - at < COLUMNS ? end - at : COLUMNS;
        for (int64_t t = 0; t < rows; t++)
            for (int64_t i = 0; i < width; i++) {
                int64_t o = t * n + at + i;
                sum[i] += (double)dy[o] * (double)x[o];
                ((float *)c->out[0].data)[o] = dy[o] * (m[at + i] * v[at + i]);
            }
        for (int64_t i = 0; i < width; i++)
            ((float *)c->out[1].data)[at + i] = (float)(sum[i] * (double)v[at + i]);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(dora_bwd) = {
    { .name = "dora_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = dense, .run = run_bwd }, { 0 }
};
