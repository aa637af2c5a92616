/* SPDX-License-Identifier: Apache-2.0 */
/* head_nll_rows: what head_nll's row files share; the products are those that device/cpu/vocab.h was told to use.
 * Rule: phase 0 counts the rows (worker 0) and zeroes those that don't count (all), phase 1 takes rows, phase 2 dw and
 * the loss. Scratch: the list, each row's log sum exp, then one room a worker. */
#ifndef LMF_OPS_HEAD_NLL_ROWS_H
#define LMF_OPS_HEAD_NLL_ROWS_H
#include "ops/head_nll/head_nll.h"
#include "device/cpu/vocab.h"

static bool head_nll_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return c->in[0].dtype == LMF_F32 && c->in[1].fmt->unpack;
}

static lmf_vocab head_nll_vocab(const lmf_call *c)
{
    const lmf_head_nll_attrs *a = c->attrs;
    int64_t t = lmf_view_rows(&c->in[0]), d = c->in[1].dim[1];
    return (lmf_vocab){ .t = t, .d = d, .v = c->in[1].dim[0], .x = c->in[0].data, .w = { c->in[1].data, c->in[1].fmt, d, true },
                        .target = c->in[2].data, .weight = c->in[3].data, .scale = a->scale, .live = c->scratch,
                        .lse = c->scratch ? (float *)c->scratch + lmf__gemm_up(t + 1, 16) : NULL, .logp = c->out[1].data, .dx = c->out[2].data,
                        .dw = c->n_out == 4 ? c->out[3].data : NULL, .u = c->in[3].data, .sign = -1 };
}
static int64_t list_floats(const lmf_vocab *h) { return 2 * lmf__gemm_up(h->t + 1, 16); }

static size_t head_nll_scratch(const lmf_call *c, const lmf_device *dev)
{
    lmf_vocab h = head_nll_vocab(c);
    return (size_t)(list_floats(&h) + dev->n_workers * lmf_vocab_floats(&h)) * sizeof(float);
}

static lmf_status head_nll_run(const lmf_call *c, const lmf_worker *wk)
{
    lmf_vocab h = head_nll_vocab(c);
    float *room = (float *)c->scratch + list_floats(&h) + wk->i_worker * lmf_vocab_floats(&h);
    if (wk->phase == 0) {
        int64_t begin, end;
        lmf_split(h.t, 1, wk->i_worker, wk->n_workers, &begin, &end);
        lmf_vocab_skip(&h, begin, end);
        if (wk->i_worker == 0)
            lmf_vocab_count(&h);
    } else if (wk->phase == 1) {
        lmf_vocab_rows(&h, wk->i_worker, wk->n_workers, room);
    } else {
        if (h.dw)
            lmf_vocab_weights(&h, wk->i_worker, wk->n_workers, room);
        if (wk->i_worker == 0) {
            double loss = 0; /* of up to millions of rows */
            for (int32_t i = 1; i <= h.live[0]; i++)
                loss += (double)h.weight[h.live[i]] * (double)h.logp[h.live[i]];
            *(float *)c->out[0].data = (float)loss;
        }
    }
    return LMF_OK;
}

#define LMF_HEAD_NLL_ROW(row_name, row_flags, row_fits) \
    { .name = row_name, .flags = row_flags, .n_phases = 3, .needs = LMF_ISA_NEEDS, .match = row_fits, .scratch = head_nll_scratch, .run = head_nll_run }

#endif
