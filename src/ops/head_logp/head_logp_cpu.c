/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: phase 0 counts the rows (worker 0) and zeroes those that don't count (all), phase 1 takes rows, phase 2 dw.
 * Scratch: the list, then one room a worker. */
#include "ops/head_logp/head_logp.h"
#include "device/cpu/vocab.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return c->in[0].dtype == LMF_F32 && c->in[1].fmt->unpack;
}

static lmf_vocab describe(const lmf_call *c, int i_weight)
{
    const lmf_head_logp_attrs *a = c->attrs;
    int64_t d = c->in[1].dim[1];
    bool weighed = c->n_in > i_weight && c->in[i_weight].n_dims;
    return (lmf_vocab){ .t = lmf_view_rows(&c->in[0]), .d = d, .v = c->in[1].dim[0], .x = c->in[0].data,
                        .w = { c->in[1].data, c->in[1].fmt, d, true }, .target = c->in[2].data,
                        .weight = weighed ? c->in[i_weight].data : NULL, .scale = a->scale, .live = c->scratch, .sign = 1 };
}
static lmf_vocab describe_fwd(const lmf_call *c)
{
    lmf_vocab h = describe(c, 3);
    h.logp = c->out[0].data, h.lse = c->out[1].data;
    return h;
}
static lmf_vocab describe_bwd(const lmf_call *c)
{
    lmf_vocab h = describe(c, 5);
    h.lse = c->in[3].data, h.lse_given = true, h.u = c->in[4].data;
    h.dx = c->out[0].data, h.dw = c->n_out == 2 ? c->out[1].data : NULL;
    return h;
}
static int64_t list_floats(const lmf_vocab *h) { return lmf__gemm_up(h->t + 1, 16); }

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    lmf_vocab h = describe(c, c->n_in);
    return (size_t)(list_floats(&h) + dev->n_workers * lmf_vocab_floats(&h)) * sizeof(float);
}

static lmf_status run(const lmf_vocab *h, const lmf_call *c, const lmf_worker *wk)
{
    float *room = (float *)c->scratch + list_floats(h) + wk->i_worker * lmf_vocab_floats(h);
    if (wk->phase == 0) {
        int64_t begin, end;
        lmf_split(h->t, 1, wk->i_worker, wk->n_workers, &begin, &end);
        lmf_vocab_skip(h, begin, end);
        if (wk->i_worker == 0)
            lmf_vocab_count(h);
    } else if (wk->phase == 1) {
        lmf_vocab_rows(h, wk->i_worker, wk->n_workers, room);
    } else {
        lmf_vocab_weights(h, wk->i_worker, wk->n_workers, room);
    }
    return LMF_OK;
}
static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    lmf_vocab h = describe_fwd(c);
    return run(&h, c, wk);
}
static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    lmf_vocab h = describe_bwd(c);
    return run(&h, c, wk);
}

LMF_CPU_ROWS(head_logp) = {
    { .name = "head_logp_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .n_phases = 2, .needs = LMF_ISA_NEEDS,
      .match = fits, .scratch = scratch, .run = fwd },
    { 0 }
};
LMF_CPU_ROWS(head_logp_bwd) = {
    { .name = "head_logp_bwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .n_phases = 2, .needs = LMF_ISA_NEEDS,
      .match = fits, .scratch = scratch, .run = bwd },
    { 0 }
};
LMF_CPU_ROWS(head_logp_bwd_w) = {
    { .name = "head_logp_bwd_w_f32", .flags = LMF_ROW_ANY_WORKERS, .n_phases = 3, .needs = LMF_ISA_NEEDS,
      .match = fits, .scratch = scratch, .run = bwd },
    { 0 }
};
