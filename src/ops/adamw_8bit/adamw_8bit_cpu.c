/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/adamw_8bit/adamw_8bit.h"
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
    const float *h = c->in[6].data, *g = c->in[4].data, norm = *(const float *)c->in[5].data;
    float *p = c->out[0].data, *s = c->out[3].data;
    uint8_t *m = c->out[1].data, *v = c->out[2].data;
    int64_t b, end, count = lmf_view_count(&c->in[0]), blocks = lmf_view_count(&c->in[3]) / 2;
    lmf_maps8 map;
    if (!isfinite(norm))
        return LMF_OK;
    lmf_dynamic8_map(true, map.m), lmf_dynamic8_map(false, map.v);
    float clip = h[LMF_ADAMW_8BIT_MAX_NORM] > 0 ? fminf(1, h[LMF_ADAMW_8BIT_MAX_NORM] / (norm + 1e-6f)) : 1;
    lmf_split(blocks, 1, wk->i_worker, wk->n_workers, &b, &end);
    for (; b < end; b++) {
        int64_t at = b * LMF_ADAMW_8BIT_BLOCK, n = count - at < LMF_ADAMW_8BIT_BLOCK ? count - at : LMF_ADAMW_8BIT_BLOCK;
        lmf_adamw_8bit_block(&map, h, clip, g + at, n, p + at, m + at, v + at, &s[b], &s[blocks + b]);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(adamw_8bit) = {
    { .name = "adamw_8bit_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS, .match = dense, .run = run }, { 0 }
};
