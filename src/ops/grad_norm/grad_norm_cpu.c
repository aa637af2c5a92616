/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/grad_norm/grad_norm.h"
#include <math.h>
#include "base/team.h"
#include "device/device.h"

enum { PIECE = 16384 };

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]);
}

static int64_t n_pieces(const lmf_call *c) { return (lmf_view_count(&c->in[0]) + PIECE - 1) / PIECE; }

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)n_pieces(c) * sizeof(double);
}

/* Phase 0: the sum of each piece, in 8 lanes. Phase 1: pieces in order. */
static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    double *sums = c->scratch;
    const float *x = c->in[0].data;
    int64_t n = lmf_view_count(&c->in[0]), pieces = n_pieces(c), begin, end;
    if (wk->phase == 1) {
        double sum = 0;
        if (wk->i_worker)
            return LMF_OK;
        for (int64_t p = 0; p < pieces; p++)
            sum += sums[p];
        *(float *)c->out[0].data = (float)sqrt(sum);
        return LMF_OK;
    }
    lmf_split(pieces, 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t p = begin; p < end; p++) {
        double lane[8] = { 0 };
        int64_t i = p * PIECE, stop = i + PIECE < n ? i + PIECE : n;
        for (; i + 8 <= stop; i += 8)
            for (int k = 0; k < 8; k++)
                lane[k] += (double)x[i + k] * (double)x[i + k];
        for (; i < stop; i++)
            lane[0] += (double)x[i] * (double)x[i];
        sums[p] = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
    }
    return LMF_OK;
}

LMF_CPU_ROWS(grad_norm) = {
    { .name = "grad_norm_f32", .flags = LMF_ROW_ANY_WORKERS, .n_phases = 2, .needs = LMF_ISA_NEEDS, .match = dense, .scratch = scratch, .run = run }, { 0 }
};
