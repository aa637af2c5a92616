/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/swiglu/swiglu.h"
#include "device/cuda/cuda.h"

static bool fits_as(const lmf_call *c, uint16_t dtype)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].dtype != dtype || lmf_cuda_row_stride(&c->in[i]) < 0)
            return false;
    for (int j = 0; j < c->n_out; j++)
        if (!lmf_view_is_dense(&c->out[j]))
            return false;
    return c->in[0].dim[c->in[0].n_dims - 1] <= INT32_MAX / 2 && lmf_view_rows(&c->in[0]) <= INT32_MAX;
}
static bool fits(const lmf_call *c, const lmf_device *dev) { return (void)dev, fits_as(c, LMF_F32); }
static bool fits16(const lmf_call *c, const lmf_device *dev) { return (void)dev, fits_as(c, LMF_BF16); }

static lmf_cuda_grid grid(const lmf_call *c, int n)
{
    return (lmf_cuda_grid){ (uint32_t)lmf_view_rows(&c->in[0]), (uint32_t)((n + 1023) / 1024 < 64 ? (n + 1023) / 1024 : 64), 1 };
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *gate = &c->in[0], *up = &c->in[1];
    int64_t gate_stride = lmf_cuda_row_stride(gate), up_stride = lmf_cuda_row_stride(up);
    int n = (int)gate->dim[gate->n_dims - 1];
    return lmf_cuda_launch(wk, "swiglu", "swiglu_fwd_f32", grid(c, n), 256, 0,
                           LMF_CUDA_ARGS(&gate->data, &up->data, &c->out[0].data, &gate_stride, &up_stride, &n));
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *gate = &c->in[0], *up = &c->in[1], *dy = &c->in[2];
    int64_t gate_stride = lmf_cuda_row_stride(gate), up_stride = lmf_cuda_row_stride(up), dy_stride = lmf_cuda_row_stride(dy);
    int n = (int)gate->dim[gate->n_dims - 1];
    return lmf_cuda_launch(wk, "swiglu", "swiglu_bwd_f32", grid(c, n), 256, 0,
                           LMF_CUDA_ARGS(&gate->data, &up->data, &dy->data, &c->out[0].data, &c->out[1].data, &gate_stride, &up_stride,
                                         &dy_stride, &n));
}

/* ---- bf16 ---- */
static bool in_eights(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return lmf_view_count(&c->in[0]) % 8 == 0;
}

static lmf_status fwd16(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *gate = &c->in[0], *up = &c->in[1];
    int64_t gate_stride = lmf_cuda_row_stride(gate), up_stride = lmf_cuda_row_stride(up), all = lmf_view_count(gate);
    int n = (int)gate->dim[gate->n_dims - 1];
    if (in_eights(c))
        return lmf_cuda_launch(wk, "swiglu", "swiglu_fwd_bf16_8", lmf_cuda_blocks(all, 8 * 256), 256, 0,
                               LMF_CUDA_ARGS(&gate->data, &up->data, &c->out[0].data, &all));
    return lmf_cuda_launch(wk, "swiglu", "swiglu_fwd_bf16", grid(c, n), 256, 0,
                           LMF_CUDA_ARGS(&gate->data, &up->data, &c->out[0].data, &gate_stride, &up_stride, &n));
}

static lmf_status bwd16(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *gate = &c->in[0], *up = &c->in[1], *dy = &c->in[2];
    int64_t gate_stride = lmf_cuda_row_stride(gate), up_stride = lmf_cuda_row_stride(up), dy_stride = lmf_cuda_row_stride(dy);
    int64_t all = lmf_view_count(gate);
    int n = (int)gate->dim[gate->n_dims - 1];
    if (in_eights(c))
        return lmf_cuda_launch(wk, "swiglu", "swiglu_bwd_bf16_8", lmf_cuda_blocks(all, 8 * 256), 256, 0,
                               LMF_CUDA_ARGS(&gate->data, &up->data, &dy->data, &c->out[0].data, &c->out[1].data, &all));
    return lmf_cuda_launch(wk, "swiglu", "swiglu_bwd_bf16", grid(c, n), 256, 0,
                           LMF_CUDA_ARGS(&gate->data, &up->data, &dy->data, &c->out[0].data, &c->out[1].data, &gate_stride, &up_stride,
                                         &dy_stride, &n));
}

LMF_CUDA_ROWS(swiglu) = {
    { .name = "swiglu_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits16, .run = fwd16 },
    { .name = "swiglu_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd },
    { 0 }
};
LMF_CUDA_ROWS(swiglu_bwd) = {
    { .name = "swiglu_bwd_bf16", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits16, .run = bwd16 },
    { .name = "swiglu_bwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = bwd },
    { 0 }
};
