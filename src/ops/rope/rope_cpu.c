/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the sines of a row are computed once for all its heads, by the worker that owns the row. */
#include "ops/rope/rope.h"
#include <math.h>
#include <string.h>
#include "base/simd.h"
#include "base/team.h"
#include "device/device.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]) && lmf_view_is_dense(&c->in[2]);
}

/* cos, then sin, of n_rot/2 angles for each worker */
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    return (size_t)((const lmf_rope_attrs *)c->attrs)->n_rot * sizeof(float) * (size_t)dev->n_workers;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rope_attrs *a = c->attrs;
    int64_t width = c->in[0].dim[1], half = a->n_rot / 2, begin, end;
    const float *freq = c->in[2].data;
    const int32_t *pos = c->in[1].data;
    float *cs = (float *)c->scratch + (int64_t)wk->i_worker * a->n_rot, *sn = cs + half;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        for (int64_t i = 0; i < half; i++) {
            double angle = (double)pos[t] * (double)freq[i], s, k;
            sincos(angle, &s, &k);
            cs[i] = (float)(k * (double)a->scale);
            sn[i] = (float)(a->inverse ? -s * (double)a->scale : s * (double)a->scale);
        }
        for (int64_t h = 0; h < width; h += a->head_size) {
            const float *x = (const float *)c->in[0].data + t * width + h;
            float *y = (float *)c->out[0].data + t * width + h;
            int64_t i = 0;
            for (; i + LMF_VF <= half; i += LMF_VF) {
                lmf_vf x0 = lmf_vf_load(x + i), x1 = lmf_vf_load(x + half + i), k = lmf_vf_load(cs + i), s = lmf_vf_load(sn + i);
                lmf_vf_store(y + i, x0 * k - x1 * s);
                lmf_vf_store(y + half + i, x1 * k + x0 * s);
            }
            for (; i < half; i++) {
                float x0 = x[i], x1 = x[half + i];
                y[i] = x0 * cs[i] - x1 * sn[i];
                y[half + i] = x1 * cs[i] + x0 * sn[i];
            }
            memcpy(y + a->n_rot, x + a->n_rot, (size_t)(a->head_size - a->n_rot) * sizeof *y);
        }
    }
    return LMF_OK;
}

LMF_CPU_ROWS(rope) = {
    { .name = "rope_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .scratch = scratch, .run = fwd },
    { 0 }
};
