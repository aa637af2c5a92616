/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/embed/embed.h"
#include <string.h>
#include "base/team.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_format *f = c->in[1].fmt;
    int64_t n_vocab = c->in[1].dim[0], d = c->in[1].dim[1], begin, end;
    const int32_t *token = c->in[0].data;
    float *y = c->out[0].data;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        if (token[t] < 0 || token[t] >= n_vocab)
            memset(y + t * d, 0, (size_t)d * sizeof *y);
        else
            f->unpack((const char *)c->in[1].data + lmf_format_bytes(f, token[t] * d), y + t * d, d);
    }
    return LMF_OK;
}

LMF_CPU_ROWS(embed) = {
    { .name = "embed_fwd", .dtypes = (const uint16_t[]){ LMF_I32, LMF_ANY, LMF_F32 }, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT,
      .needs = LMF_ISA_NEEDS, .match = dense, .run = fwd }, { 0 }
};

/* Workers own columns: the rows of a token are added in index order. */
static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t n_vocab = c->out[0].dim[0], d = c->out[0].dim[1], begin, end;
    const int32_t *token = c->in[0].data;
    const float *dy = c->in[1].data;
    float *dw = c->out[0].data;
    lmf_split(d, 16, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t v = 0; v < n_vocab; v++)
        memset(dw + v * d + begin, 0, (size_t)(end - begin) * sizeof *dw);
    for (int64_t t = 0; t < c->in[0].dim[0]; t++)
        for (int64_t i = begin; token[t] >= 0 && token[t] < n_vocab && i < end; i++)
            dw[token[t] * d + i] += dy[t * d + i];
    return LMF_OK;
}

LMF_CPU_ROWS(embed_bwd) = {
    { .name = "embed_bwd_f32", .dtypes = (const uint16_t[]){ LMF_I32, LMF_F32, LMF_F32 }, .flags = LMF_ROW_ANY_WORKERS,
      .needs = LMF_ISA_NEEDS, .match = dense, .run = bwd }, { 0 }
};
